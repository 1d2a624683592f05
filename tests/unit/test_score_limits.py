# SPDX-License-Identifier: Apache-2.0
"""A score that was computed shows only where all that its gate asks for is known to hold."""

import importlib.util
import json
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pytest

from cds_service.imaging_block import imaging_block, says_score
from fhir_gateway import synthetic
from fhir_gateway.facts import patient_facts
from fhir_gateway.units import unit_converter
from model.patient_facts import (
    ANY_DAY,
    ActiveDrug,
    Days,
    Drug,
    OtherCancer,
    PastDrug,
    Person,
    Problem,
    ProblemFact,
    ProblemStatus,
    ProcedureFact,
    ProcedureKind,
    ProcedureStatus,
    Source,
)

_SPEC = importlib.util.spec_from_file_location(
    "card_example", Path(__file__).parents[1] / "data" / "card_example.py"
)
example = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(example)

TODAY, SCAN = example.TODAY, example.SEEN
BEFORE, SINCE = SCAN - timedelta(days=30), SCAN + timedelta(days=2)


def on(day):
    return ANY_DAY if day is None else Days(first=day, last=day)


def seen(day=SCAN):
    return Source(reference="X/1", on=day, status="")


def procedure(kind, day, status=ProcedureStatus.DOUBTFUL):
    return ProcedureFact(kind=kind, status=status, source=seen(day), performed=on(day), by_words=True)


def problem(kind, status):
    return ProblemFact(problem=kind, status=status, source=seen())


def cancer(is_primary):
    return OtherCancer(meaning="x", text="", source=seen(), is_primary_of_liver=is_primary)


TACE, RESECTION = ProcedureKind.CHEMOEMBOLISATION, ProcedureKind.LIVER_RESECTION

WITHHELD = {
    "17 years old": (
        {"person": Person(birth_date=date(2009, 1, 1))},
        "it was not made for patients under 18 years",
    ),
    "age not known": ({"person": Person()}, "the age of the patient is not known"),
    "liver transplant": (
        {"problems": (problem(Problem.LIVER_TRANSPLANT, ProblemStatus.PAST),)},
        "it was not made for transplant recipients",
    ),
    "perhaps a transplant": (
        {"problems": (problem(Problem.OTHER_TRANSPLANT, ProblemStatus.UNCONFIRMED),)},
        "a transplant is or may be on record",
    ),
    "transplantation": (
        {"procedures": (procedure(ProcedureKind.LIVER_TRANSPLANT, None),)},
        "a transplant is or may be on record",
    ),
    "mixed by another entry": (
        {"other_cancers": (cancer(True),)},
        "another cancer of the liver is on record",
    ),
    "liver metastasis": ({"other_cancers": (cancer(False),)}, "which of them was outlined is not known"),
    "TACE since": (
        {"procedures": (procedure(TACE, SINCE),)},
        f"treated since the scan: transarterial chemoembolisation (TACE) ({SINCE})",
    ),
    "TACE on the day of the scan": ({"procedures": (procedure(TACE, SCAN),)}, "treated since the scan"),
    "TACE before": (
        {"procedures": (procedure(TACE, BEFORE),)},
        f"of the outlined lesion is not known: transarterial chemoembolisation (TACE) ({BEFORE})",
    ),
    "ablation, nobody knows when": (
        {"procedures": (procedure(ProcedureKind.ABLATION, None),)},
        "of the outlined lesion is not known: ablation of a liver tumour",
    ),
    "resection since": ({"procedures": (procedure(RESECTION, SINCE),)}, "treated since the scan: liver res"),
    "resection, nobody knows when": ({"procedures": (procedure(RESECTION, None),)}, "liver resection"),
    "Y90 planned for a day that has come": (
        {"procedures": (procedure(ProcedureKind.RADIOEMBOLISATION, SINCE, status=ProcedureStatus.PLANNED),)},
        "treated since the scan",
    ),
    "TACE in the words of the diagnosis": (
        {"hcc": replace(example.facts().hcc, treatments=frozenset({TACE}))},
        "of the outlined lesion is not known: transarterial chemoembolisation (TACE)",
    ),
    "drug given before": (
        {"past_drugs": (PastDrug(drug=Drug.SORAFENIB, source=seen(BEFORE), was_given=True),)},
        "treated before with sorafenib",
    ),
    "the regimen itself under way": (
        {"drugs": (ActiveDrug(drug=Drug.BEVACIZUMAB, source=seen(BEFORE)),)},
        "treated before with bevacizumab",
    ),
    "conditions not whole": ({"conditions_complete": False}, "not all conditions could be read"),
    "procedures not whole": ({"procedures_complete": False}, "not all procedures are known"),
}


@pytest.mark.parametrize("order", [example.WHOLE, None])
@pytest.mark.parametrize("name", WITHHELD)
def test_the_score_is_withheld_with_the_reason_in_one_line(name, order):
    changes, reason = WITHHELD[name]
    facts = example.facts(**changes)

    text = imaging_block(example.assessment(), order, facts=facts, today=TODAY)

    line = next(each for each in text.splitlines() if each.startswith("Score not shown, because "))
    assert reason in line
    assert "0.62" not in text
    assert "A score was computed" not in text
    assert not says_score(example.assessment(), order, facts=facts, today=TODAY)


SHOWN = {
    "18 years old on the day of the scan": {"person": Person(birth_date=date(2008, 11, 20))},
    "transplant refuted": {"problems": (problem(Problem.LIVER_TRANSPLANT, ProblemStatus.REFUTED),)},
    "transplantation not done": {
        "procedures": (procedure(ProcedureKind.LIVER_TRANSPLANT, BEFORE, status=ProcedureStatus.NOT_DONE),)
    },
    "resection before": {"procedures": (procedure(RESECTION, BEFORE),)},
    "TACE planned for later": {
        "procedures": (procedure(TACE, TODAY + timedelta(days=9), status=ProcedureStatus.PLANNED),)
    },
    "endoscopy since": {"procedures": (procedure(ProcedureKind.UPPER_ENDOSCOPY, SINCE),)},
    "the other drug of the pair ordered since the scan": {
        "drugs": (ActiveDrug(drug=Drug.BEVACIZUMAB, source=seen(SINCE)),)
    },
    "another drug before": {"drugs": (ActiveDrug(drug=Drug.FUROSEMIDE, source=seen(BEFORE)),)},
}


@pytest.mark.parametrize("name", SHOWN)
def test_the_score_shows_where_none_of_it_is_on_record(name):
    facts = example.facts(**SHOWN[name])

    assert "Score 0.62" in imaging_block(example.assessment(), example.WHOLE, facts=facts, today=TODAY)


def test_the_card_withholds_what_the_block_withholds():
    treated = example.facts(procedures=(procedure(TACE, SINCE),))

    assert "Score 0.62" in json.dumps(example.written(example.facts(), imaging=example.assessment()))
    assert "Score 0.62" not in json.dumps(example.written(treated, imaging=example.assessment()))


@pytest.mark.parametrize(
    ("words", "treatments"),
    [
        ("Hepatocellular carcinoma", set()),
        ("Hepatocellular carcinoma, s/p TACE 2025", {TACE}),
        ("HCC segment VIII after microwave ablation of the liver tumour", {ProcedureKind.ABLATION}),
        ("HCC, recurrence after hepatectomy", {RESECTION}),
        ("Hepatozelluläres Karzinom nach SIRT", {ProcedureKind.RADIOEMBOLISATION}),
        ("No TACE", set()),
    ],
)
def test_treatment_that_only_the_words_of_the_diagnosis_name_is_read(words, treatments):
    hcc = synthetic.condition("p1", "hcc", synthetic.HCC, text=words)
    wound = synthetic.condition("p1", "c", (synthetic.SNOMED, "38341003"), text="after TACE")
    prefetch = synthetic.record_of_hcc("p1", on=SCAN) | {"conditions": synthetic.bundle(hcc, wound)}
    now = datetime.combine(TODAY, time(12), UTC)

    facts = patient_facts(prefetch, patient_id="p1", now=now, converter=unit_converter())

    assert facts.hcc.treatments == treatments
