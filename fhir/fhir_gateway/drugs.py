# SPDX-License-Identifier: Apache-2.0
"""Which drug a CodeableConcept means: one that matters, one that certainly does not, or who knows."""

from __future__ import annotations

import re

from fhir_gateway.drug_terms import (
    ATC_DRUGS,
    ATC_GROUPS,
    ATC_SURELY_OTHER,
    ATC_UNSURE,
    DRUG_NAMES,
    RXNORM_DRUGS,
)
from fhir_gateway.keeping import of_terms
from fhir_gateway.other_drugs import OTHER_RXNORM, names_other_drugs_only, words
from fhir_gateway.systems import ATC, RXNORM
from model.patient_facts import Drug, DrugRole

_ATC_SUBSTANCE = re.compile(r"[A-Z][0-9]{2}[A-Z]{2}[0-9]{2}")
"""Level 5 of ATC: a code of a group alone does not tell the drug."""


def certainly_of_no_role(pairs: tuple[tuple[str, str], ...], texts: tuple[str, ...]) -> bool:
    """Whether codes and texts as they came certainly mean a drug that does not matter."""
    return not drugs(pairs, texts) and is_told(pairs, texts)


def certainly_of_no_regimen(pairs: tuple[tuple[str, str], ...], texts: tuple[str, ...]) -> bool:
    """Whether codes and texts as they came certainly mean no drug that treats a tumour."""
    return OF_REGIMENS.isdisjoint(drug.role for drug in drugs(pairs, texts)) and is_told(pairs, texts)


@of_terms
def drugs(pairs: tuple[tuple[str, str], ...], texts: tuple[str, ...]) -> frozenset[Drug]:
    """Return the drugs that matter, by code, and by whole word of the texts."""
    coded = {drug for system, code in pairs if (drug := _coded(system, code)) is not None}
    named: set[Drug] = set()
    for text in texts:
        found = {DRUG_NAMES[word] for word in words(text) if word in DRUG_NAMES}
        if Drug.TENOFOVIR_ALAFENAMIDE in found and "disoproxil" not in words(text):
            found.discard(Drug.TENOFOVIR_DISOPROXIL)  # "tenofovir" is the name of neither alone
        named |= found
    return frozenset(coded | named)


@of_terms
def is_told(pairs: tuple[tuple[str, str], ...], texts: tuple[str, ...]) -> bool:
    """Whether it is certain which of the drugs that matter codes and texts mean, if any.

    An ATC code or an RxNorm code that we know decides. Otherwise each of the texts must be known word for
    word: what is unknown may be a brand of any drug.
    """
    # A drug that may hold a diuretic beside it, as "propranolol comp", must be known word for word as well.
    if any(drug.role not in _ORDINARY for drug in drugs(pairs, texts)):
        return True
    if any(_is_surely_other(system, code) for system, code in pairs):
        return True
    return bool(texts) and all(names_other_drugs_only(text) for text in texts)


ORDER = {drug: place for place, drug in enumerate(Drug)}
"""The place of each drug where they are told one after the other."""

OF_REGIMENS = frozenset({DrugRole.CHECKPOINT_INHIBITOR, DrugRole.ANTI_ANGIOGENIC})
"""Why a drug treats the tumour."""

_ORDINARY = frozenset(
    {
        DrugRole.HBV_ANTIVIRAL,
        DrugRole.BETA_BLOCKER,
        DrugRole.ANTIPLATELET,
        DrugRole.CORTICOSTEROID,
        DrugRole.IMMUNOSUPPRESSANT,
    }
)


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
        and (code in ATC_DRUGS or code.startswith(ATC_SURELY_OTHER) or not code.startswith(ATC_UNSURE))
    )
