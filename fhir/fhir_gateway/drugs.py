# SPDX-License-Identifier: Apache-2.0
"""Which drug a CodeableConcept means: one that matters, one that certainly does not, or who knows."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from fhir_gateway.drug_terms import (
    ATC_DRUGS,
    ATC_GROUPS,
    ATC_SURELY_OTHER,
    ATC_UNSURE,
    DRUG_NAMES,
    RXNORM_DRUGS,
)
from fhir_gateway.other_drugs import OTHER_RXNORM, names_other_drugs_only, words
from fhir_gateway.terminology import ATC, RXNORM, codes
from model.patient_facts import Drug

_ATC_SUBSTANCE = re.compile(r"[A-Z][0-9]{2}[A-Z]{2}[0-9]{2}")
"""Level 5 of ATC: a code of a group alone does not tell the drug."""


def drugs(concept: Any) -> frozenset[Drug]:
    """Return the drugs of `concept` that matter: by code, and by whole word of its text and displays."""
    if concept is None:
        return frozenset()
    coded = {drug for system, code in codes(concept) if (drug := _coded(system, code)) is not None}
    named = {DRUG_NAMES[word] for text in _texts(concept) for word in words(text) if word in DRUG_NAMES}
    return frozenset(coded | named)


def is_told(concept: Any) -> bool:
    """Whether it is certain which of the drugs that matter `concept` means, if any.

    An ATC code or an RxNorm code that we know decides. Otherwise each of its texts must be known word for
    word: what is unknown may be a brand of any drug.
    """
    if drugs(concept):
        return True
    if any(_is_surely_other(system, code) for system, code in codes(concept)):
        return True
    texts = _texts(concept)
    return bool(texts) and all(names_other_drugs_only(text) for text in texts)


def _texts(concept: Any) -> tuple[str, ...]:
    texts: Iterable[str | None] = (
        concept.text,
        *(coding.display for coding in concept.coding or ()),
    )
    return tuple(dict.fromkeys(text for text in texts if text and text.strip()))


def _coded(system: str, code: str) -> Drug | None:
    if system == RXNORM:
        return RXNORM_DRUGS.get(code)
    if system != ATC:
        return None
    code = code.upper()
    return ATC_DRUGS.get(code) or next(
        (drug for group, drug in ATC_GROUPS.items() if code.startswith(group)), None
    )


def _is_surely_other(system: str, code: str) -> bool:
    if system == RXNORM:
        return code in OTHER_RXNORM
    code = code.upper()
    return (
        system == ATC
        and _ATC_SUBSTANCE.fullmatch(code) is not None
        and (code.startswith(ATC_SURELY_OTHER) or not code.startswith(ATC_UNSURE))
    )
