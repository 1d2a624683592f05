# SPDX-License-Identifier: Apache-2.0
"""Collect every text that a card may show into the catalogue's template, for translators and tests."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_file
from babel.messages.pofile import write_po

from cds_service.identity import NoImaging
from cds_service.suggestions import Group
from cds_service.texts import CATALOGUES, DOMAIN
from fhir_gateway.orders import Orderable
from fhir_gateway.terminology import Finding
from model.domain import ModelStatus, NotComputedReason, RejectionReason
from model.eligibility.criteria.catalogue import CRITERIA
from model.eligibility.criterion import SHOWN_UNITS, Strength
from model.eligibility.monitoring import MONITORING
from model.eligibility.regimens import NOT_CHECKED, NOT_CHECKED_OF_OTHERS
from model.patient_facts import (
    Analyte,
    DiagnosisStatus,
    Drug,
    Problem,
    ProblemStatus,
    ProcedureKind,
    ProcedureStatus,
    SignGrade,
)

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = CATALOGUES / f"{DOMAIN}.pot"

_KEYWORDS = (
    {"say": None, "phrase": None, "say_many": (1, 2)},
    # Headlines and sentences of findings, where they stand as they are.
    {"now": None, "ever": None, "met": (2,), "not_met": (2,), "unknown": (2,), "judged": (4,)},
    {"multiple_of_normal": (2,), "limit": (2,), "lab_finding": (4,), "not_met": (3,), "unknown": (3,)},
)
"""Which argument of which function is a text of ours, or singular and plural; one pass over the code each."""

_ENUMERATIONS: tuple[type[StrEnum], ...] = (
    Analyte,
    DiagnosisStatus,
    Drug,
    Finding,
    Group,
    ModelStatus,
    NoImaging,
    Orderable,
    Problem,
    ProblemStatus,
    ProcedureKind,
    ProcedureStatus,
    SignGrade,
    Strength,
)

_SOURCES = ("cds_service", "model", "fhir/fhir_gateway")


def _from_sources() -> Iterator[str | tuple[str, ...]]:
    for folder in _SOURCES:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "demo" in path.parts:
                continue  # it speaks to who runs it, in a terminal
            for keywords in _KEYWORDS:
                for _, message, *_ in extract_from_file("python", path, keywords=keywords):
                    yield message


def _from_tables() -> Iterator[str]:
    """Yield the texts that are data: members of enumerations, and what criteria say of themselves."""
    for enumeration in _ENUMERATIONS:
        yield from (each.value for each in enumeration)
    yield from (each.explanation for each in (*RejectionReason, *NotComputedReason))
    yield from (*NOT_CHECKED, *NOT_CHECKED_OF_OTHERS, *SHOWN_UNITS.values(), "ascites", "encephalopathy")
    yield from (each.text for each in MONITORING)
    for criterion in CRITERIA:
        yield from (criterion.wording, criterion.topic, criterion.ask)
        yield from (citation.text for citation in criterion.citations)


def template() -> str:
    """Return the template, sorted and without header, places or dates: it changes with the texts only."""
    catalogue = Catalog()
    texts: Iterable[str | tuple[str, ...]] = (*_from_sources(), *_from_tables())
    for text in texts:
        if text:
            catalogue.add(text)
    written = io.BytesIO()
    write_po(written, catalogue, omit_header=True, sort_output=True, no_location=True, width=0)
    return written.getvalue().decode()


def main() -> int:
    """Write the template, or with `--check` say whether it is current."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if it is out of date")
    arguments = parser.parse_args()
    current = template()
    if not arguments.check:
        TEMPLATE.parent.mkdir(exist_ok=True)
        TEMPLATE.write_text(current, encoding="utf-8")
        return 0
    if TEMPLATE.read_text(encoding="utf-8") == current:
        return 0
    print(f"{TEMPLATE.relative_to(ROOT)} is out of date: run `make format`", file=sys.stderr)  # noqa: T201
    return 1


if __name__ == "__main__":
    sys.exit(main())
