# SPDX-License-Identifier: Apache-2.0
"""Which code of a Procedure is which procedure (SNOMED CT, clinical reference 3.2), and which only its words.

Band ligation, TIPS, TACE, TARE, ablation and resection have no verified code there: they are known by words,
so that nobody can say for certain that they were done, and nobody says that they were not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from fhir_gateway.problem_words import procedures_in
from fhir_gateway.systems import SNOMED
from model.patient_facts import ProcedureKind

_CODES: Mapping[tuple[str, str], ProcedureKind] = {
    (SNOMED, "76009000"): ProcedureKind.UPPER_ENDOSCOPY,
    (SNOMED, "18027006"): ProcedureKind.LIVER_TRANSPLANT,
    (SNOMED, "313039003"): ProcedureKind.OTHER_TRANSPLANT,
    (SNOMED, "234336002"): ProcedureKind.STEM_CELL_TRANSPLANT,
}

_SURGICAL = (SNOMED, "387713003")
"""Surgical procedure: FHIR R4's own value set procedure-category."""


_FOUND = re.compile(
    r"vari[cz]|mucosa|schleimhaut|o?esophag|ösophag|stomach|magen|gastr|duoden|fundus|ulcer|ulkus|erosion"
    r"|hernia",
    re.IGNORECASE,
)
_NOT_MADE = re.compile(
    r"\bnot\b[^.;,]{0,20}(?:done|made|perform|carried|possible|tolerat|attempt|complet|start|attend|show)"
    r"|n't\b|\bno[- ]show|refus|declin|cancel|abort|incomplete|unable|could not|failed|fasting|postpon"
    r"|reschedul|defer|scheduled|planned|pending|awaiting|nicht (?:durchgef|gemacht|mögl|erfolgt|toler)"
    r"|abgebroch|abgelehnt|verweigert|abgesagt|verschoben|geplant|ausstehend|unvollständig",
    re.IGNORECASE,
)


def says_endoscopy_was_made(texts: Iterable[str]) -> bool:
    """Whether `texts`, the report of an upper endoscopy, tell findings and not that none was made.

    What it found is not read: its words are too free for that.
    """
    told = tuple(texts)
    return any(map(_FOUND.search, told)) and not any(map(_NOT_MADE.search, told))


def procedure_kinds(
    codes: Iterable[tuple[str, str]], texts: Iterable[str], category: Iterable[tuple[str, str]]
) -> Mapping[ProcedureKind, bool]:
    """Return what a procedure is, and of each whether that is known by its words alone."""
    found = {_CODES[code]: False for code in codes if code in _CODES}
    if _SURGICAL in category:
        found[ProcedureKind.SURGERY] = False
    for kind in procedures_in(texts):
        found.setdefault(kind, True)
    return found
