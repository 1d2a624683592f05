# SPDX-License-Identifier: Apache-2.0
"""Lines in a clinician's words, as `patients.toml` has them, become facts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import date, timedelta

from model.patient_facts import (
    ActiveDrug,
    Analyte,
    BloodPressureFact,
    BodyFact,
    BodyMeasure,
    Days,
    Diagnosis,
    DiagnosisStatus,
    DipstickFact,
    DipstickGrade,
    Drug,
    EcogFact,
    LabFact,
    OtherCancer,
    PastDrug,
    PatientFacts,
    Person,
    Problem,
    ProblemFact,
    ProblemStatus,
    ProcedureFact,
    ProcedureKind,
    ProcedureStatus,
    Quantity,
    SerologyFact,
    SerologyResult,
    SerologyTest,
    SignFact,
    SignGrade,
    Source,
)

TODAY = date(2026, 11, 24)
"""The day of every order; labs and signs are of four days before."""

_RECENT = TODAY - timedelta(days=4)

_ANALYTES = {
    "bilirubin": Analyte.BILIRUBIN,
    "AST": Analyte.AST,
    "ALT": Analyte.ALT,
    "AFP": Analyte.AFP,
    **{each.value: each for each in Analyte},
}
_PROCEDURES = {
    "endoscopy": ProcedureKind.UPPER_ENDOSCOPY,
    "banding": ProcedureKind.VARICEAL_BANDING,
    "TACE": ProcedureKind.CHEMOEMBOLISATION,
    **{each.value: each for each in ProcedureKind},
}
_PROBLEM_STATUS = {
    "has": ProblemStatus.ACTIVE,
    "had": ProblemStatus.ACTIVE,
    "past": ProblemStatus.PAST,
    "perhaps": ProblemStatus.UNCONFIRMED,
}
_COMPLETE = {
    "medication list": "drugs_complete",
    "procedures": "procedures_complete",
    "conditions": "conditions_complete",
    "earlier orders": "past_drugs_complete",
}


def facts_of(lines: Iterable[str]) -> PatientFacts:
    """Return the facts that `lines` state, later lines in place of earlier ones."""
    facts = EMPTY
    for line in lines:
        facts = _with(facts, line)
    return facts


EMPTY = PatientFacts(hcc=Diagnosis(status=DiagnosisStatus.ABSENT), conditions_complete=False)


def source(reference: str, on: date | None = _RECENT) -> Source:
    """Return where a line stands."""
    return Source(reference=reference, on=on, status="final")


def _with(facts: PatientFacts, line: str) -> PatientFacts:
    for reader in _READERS:
        changed = reader(facts, line)
        if changed is not None:
            return changed
    raise ValueError(f"not understood: {line}")


def _person(facts: PatientFacts, line: str) -> PatientFacts | None:
    if line == "empty record":
        return EMPTY
    if found := re.fullmatch(r"(man|woman) of (\d+)", line):
        sex = {"man": "M", "woman": "F"}[found[1]]
        born = date(TODAY.year - int(found[2]), 1, 1)
        return replace(facts, person=Person(birth_date=born, sex=sex))
    if found := re.fullmatch(rf"({'|'.join(_COMPLETE)}) (not known|known)", line):
        return replace(facts, **{_COMPLETE[found[1]]: found[2] == "known"})
    return None


def _cancer(facts: PatientFacts, line: str) -> PatientFacts | None:
    if found := re.fullmatch(r"HCC (.+)", line):
        return replace(facts, hcc=Diagnosis(status=DiagnosisStatus(found[1])))
    if found := re.fullmatch(r"cancer of another organ: (.+)", line):
        other = OtherCancer(meaning=found[1], text="", source=source("Condition/other"))
        return replace(facts, cancers_elsewhere=(*facts.cancers_elsewhere, other))
    return None


def _examination(facts: PatientFacts, line: str) -> PatientFacts | None:
    if found := re.fullmatch(r"(ascites|encephalopathy) (.+)", line):
        stated = found[2] != "not stated"
        sign = (
            SignFact(grade=SignGrade(found[2]), source=source(f"Observation/{found[1]}")) if stated else None
        )
        return replace(facts, **{found[1]: sign})
    if found := re.fullmatch(r"ECOG (\d)|no ECOG", line):
        ecog = EcogFact(grade=int(found[1]), source=source("Observation/ecog")) if found[1] else None
        return replace(facts, ecog=ecog)
    if found := re.fullmatch(r"blood pressure (\d+)/(\d+)|no blood pressure", line):
        pressure = (
            BloodPressureFact(
                systolic_mmhg=float(found[1]), diastolic_mmhg=float(found[2]), source=source("Observation/bp")
            )
            if found[1]
            else None
        )
        return replace(facts, blood_pressure=pressure)
    if found := re.fullmatch(r"weight (\d+) kg|no weight", line):
        weight = (
            BodyFact(
                measure=BodyMeasure.WEIGHT,
                quantity=Quantity(value=float(found[1]), unit="kg"),
                source=source("Observation/weight"),
            )
            if found[1]
            else None
        )
        return replace(facts, body=() if weight is None else (weight,))
    if found := re.fullmatch(r"dipstick (.+)|no dipstick", line):
        strip = found[1] and DipstickFact(grade=DipstickGrade(found[1]), source=source("Observation/strip"))
        return replace(facts, dipstick=strip or None)
    return None


def _laboratory(facts: PatientFacts, line: str) -> PatientFacts | None:
    serology = re.fullmatch(r"(HBsAg|anti-HBc|anti-HCV) (\w+)|no (HBsAg|anti-HBc|anti-HCV)", line)
    if serology:
        test = SerologyTest(serology[1] or serology[3])
        others = tuple(each for each in facts.serology if each.test is not test)
        if serology[3]:
            return replace(facts, serology=others)
        result = SerologyFact(
            test=test, result=SerologyResult(serology[2]), source=source(f"Observation/{test.name}")
        )
        return replace(facts, serology=(*others, result))
    absent = re.fullmatch(r"no (.+)", line)
    if absent and absent[1] in _ANALYTES:
        analyte = _ANALYTES[absent[1]]
        return replace(facts, labs=tuple(each for each in facts.labs if each.analyte is not analyte))
    names = "|".join(re.escape(name) for name in sorted(_ANALYTES, key=len, reverse=True))
    value = re.fullmatch(rf"({names}) ([\d.]+)(?: (\S+?))?(?:, upper limit ([\d.]+))?", line)
    if value is None:
        return None
    analyte = _ANALYTES[value[1]]
    lab = LabFact(
        analyte=analyte,
        quantity=Quantity(value=float(value[2]), unit=value[3] or "1"),
        source=source(f"Observation/{analyte.name}"),
        upper_limit=float(value[4]) if value[4] else None,
    )
    return replace(facts, labs=(*(each for each in facts.labs if each.analyte is not analyte), lab))


def _drugs(facts: PatientFacts, line: str) -> PatientFacts | None:
    if found := re.fullmatch(r"takes (.+?)(?: ([\d.]+) mg a day)?( by mouth)?", line):
        drug = Drug(found[1])
        taken = ActiveDrug(
            drug=drug,
            source=source(f"MedicationRequest/{drug.name}", TODAY - timedelta(days=40)),
            daily_dose=Quantity(value=float(found[2]), unit="mg") if found[2] else None,
            is_systemic=True if found[3] else None,
        )
        return replace(facts, drugs=(*facts.drugs, taken))
    if found := re.fullmatch(r"(given|ordered) (.+) (\d+) days ago", line):
        drug = Drug(found[2])
        day = TODAY - timedelta(days=int(found[3]))
        past = PastDrug(
            drug=drug,
            source=source(f"MedicationAdministration/{drug.name}", day),
            was_given=found[1] == "given",
        )
        return replace(facts, past_drugs=(*facts.past_drugs, past))
    return None


def _history(facts: PatientFacts, line: str) -> PatientFacts | None:
    problems = "|".join(re.escape(each.value) for each in Problem)
    if found := re.fullmatch(rf"(has|had|past|perhaps) ({problems})(?: (\d+) days ago)?", line):
        problem = Problem(found[2])
        day = TODAY - timedelta(days=int(found[3])) if found[3] else None
        entry = ProblemFact(
            problem=problem,
            status=_PROBLEM_STATUS[found[1]],
            source=source(f"Condition/{problem.name}", day or _RECENT),
            # Without an onset: not after it was recorded.
            began=Days(first=day, last=day) if day else Days(last=_RECENT),
        )
        return replace(facts, problems=(*facts.problems, entry))
    if found := re.fullmatch(rf"no ({problems})", line):
        problem = Problem(found[1])
        return replace(facts, problems=tuple(each for each in facts.problems if each.problem is not problem))
    kinds = "|".join(re.escape(name) for name in _PROCEDURES)
    if found := re.fullmatch(rf"no ({kinds})", line):
        kind = _PROCEDURES[found[1]]
        return replace(facts, procedures=tuple(each for each in facts.procedures if each.kind is not kind))
    if found := re.fullmatch(rf"({kinds}) (?:(\d+) days ago|planned in (\d+) days)", line):
        kind = _PROCEDURES[found[1]]
        planned = found[3] is not None
        day = TODAY + timedelta(days=int(found[3]) if planned else -int(found[2]))
        operation = ProcedureFact(
            kind=kind,
            status=ProcedureStatus.PLANNED if planned else ProcedureStatus.DONE,
            source=source(f"Procedure/{kind.name}", day),
            performed=Days(first=day, last=day),
        )
        return replace(facts, procedures=(*facts.procedures, operation))
    return None


_READERS = (_person, _cancer, _examination, _laboratory, _drugs, _history)
