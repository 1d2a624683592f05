# SPDX-License-Identifier: Apache-2.0
"""What the record holds on a criterion that is unknown, and why it does not count: outdated, or not usable.

"Nothing on record" is said only where there is nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from model.eligibility.finding import Finding, Truth, listed, references
from model.patient_facts import (
    CHILD_PUGH_ANALYTES,
    Analyte,
    BodyMeasure,
    PatientFacts,
    SerologyTest,
    Unused,
)
from model.phrase import phrase

ASCITES, ENCEPHALOPATHY = "ascites", "hepatic encephalopathy"
ECOG, BLOOD_PRESSURE, DIPSTICK = (
    "ECOG performance status",
    "blood pressure",
    "urine protein by test strip",
)
"""Names of what is left aside of a record; a test compares them with those of `fhir_gateway`."""

_OTHERS: Mapping[str, Callable[[PatientFacts], object]] = {
    ASCITES: lambda facts: facts.ascites,
    ENCEPHALOPATHY: lambda facts: facts.encephalopathy,
    ECOG: lambda facts: facts.ecog,
    BLOOD_PRESSURE: lambda facts: facts.blood_pressure,
    DIPSTICK: lambda facts: facts.dipstick,
}
_ANALYTES: Mapping[str, Analyte] = {each.value: each for each in Analyte}
_TESTS: Mapping[str, SerologyTest] = {each.value: each for each in SerologyTest}
_MEASURES: Mapping[str, BodyMeasure] = {each.value: each for each in BodyMeasure}

_CHILD_PUGH = (*(each.value for each in CHILD_PUGH_ANALYTES), ASCITES, ENCEPHALOPATHY)

_RESTS_ON: Mapping[str, tuple[str, ...]] = {
    # By criterion: the facts whose absence leaves it unknown.
    "R02": _CHILD_PUGH,
    "R03": _CHILD_PUGH,
    "R04": _CHILD_PUGH,
    "R06": (ECOG,),
    "R20": (BLOOD_PRESSURE,),
    "R24": (DIPSTICK, Analyte.URINE_PROTEIN_24H.value, Analyte.URINE_PROTEIN_CREATININE.value),
    "R28": (Analyte.PLATELETS.value,),
    "R29": (Analyte.INR.value,),
    "R31": (Analyte.HBV_DNA.value,),
    "R33": (SerologyTest.HBSAG.value, SerologyTest.ANTI_HBC.value),
    "R34": (
        SerologyTest.HBSAG.value,
        SerologyTest.ANTI_HCV.value,
        SerologyTest.HCV_RNA.value,
        Analyte.HCV_RNA.value,
    ),
    "R50": (ENCEPHALOPATHY,),
    "R51": (ASCITES,),
    "R52a": (Analyte.BILIRUBIN.value,),
    "R52b": (Analyte.AST.value,),
    "R52c": (Analyte.ALT.value,),
    "R52d": (Analyte.ALBUMIN.value,),
    "R52e": (Analyte.HAEMOGLOBIN.value,),
    "R52f": (Analyte.NEUTROPHILS.value,),
    "R52g": (Analyte.CREATININE.value,),
    "R52h": (Analyte.LYMPHOCYTES.value,),
    "R52i": (Analyte.ALP.value,),
    "R53": (Analyte.BILIRUBIN.value, Analyte.ALBUMIN.value),
    "R61": (BodyMeasure.WEIGHT.value,),
    "G01": (Analyte.AFP.value,),
}


def left_aside(facts: PatientFacts, *names: str) -> tuple[Unused, ...]:
    """Return the entries on the facts of those names that are not known, each outdated or not usable."""
    return tuple(each for each in facts.unused if each.name in names and not _is_known(facts, each.name))


def with_left_aside(finding: Finding, facts: PatientFacts) -> Finding:
    """Return `finding`, where it is unknown, with what the record holds on it all the same.

    It stays as grave as it is: what is outdated says nothing of now, and what cannot be read nothing at all.
    """
    if finding.truth is not Truth.UNKNOWN:
        return finding
    left = left_aside(facts, *_RESTS_ON.get(finding.criterion.identifier, ()))
    if not left:
        return finding
    told = _told(left)
    topic = phrase(finding.criterion.topic)
    if not finding.silent:
        headline, reason = finding.headline, (*finding.reason, " ", told)
    elif all(each.is_outdated for each in left):
        headline, reason = phrase("{topic}: on record, and outdated", topic=topic), (told,)
    else:
        headline, reason = phrase("{topic}: on record, and not usable", topic=topic), (told,)
    sources = dict.fromkeys((*finding.sources, *references(each.source for each in left)))
    return replace(
        finding, headline=headline, reason=reason, sources=tuple(sources), silent=False, left_aside=left
    )


def _told(left: tuple[Unused, ...]) -> str:
    outdated = [_entry(each) for each in left if each.is_outdated]
    unusable = [_entry(each) for each in left if not each.is_outdated]
    if not unusable:
        return phrase("Outdated: {entries}.", entries=listed(outdated))
    if not outdated:
        return phrase("Not usable: {entries}.", entries=listed(unusable))
    return phrase(
        "Outdated: {outdated}. Not usable: {unusable}.", outdated=listed(outdated), unusable=listed(unusable)
    )


def _entry(each: Unused) -> str:
    on = each.source.on.isoformat() if each.source.on is not None else phrase("day not known")
    return phrase("{name} of {on} ({reason})", name=phrase(each.name), on=on, reason=phrase(each.reason))


def _is_known(facts: PatientFacts, name: str) -> bool:
    if name in _ANALYTES:
        return facts.lab(_ANALYTES[name]) is not None
    if name in _TESTS:
        return facts.result(_TESTS[name]) is not None
    if name in _MEASURES:
        return facts.measure(_MEASURES[name]) is not None
    return _OTHERS[name](facts) is not None
