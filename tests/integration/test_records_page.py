# SPDX-License-Identifier: Apache-2.0
"""docs/records.md says what the records of others yield, and that is what they yield."""

import importlib.util
import sys

import pytest

from model.patient_facts import Analyte, DiagnosisStatus, DrugRole, Problem

pytestmark = pytest.mark.real_data


@pytest.fixture
def records_page(repository, monkeypatch):
    spec = importlib.util.spec_from_file_location("records_page", repository / "scripts" / "records_page.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # dataclasses look their module up by its name
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def records(records_page, cases):
    return {each.name: each.facts for each in records_page.recorded_facts(cases)}


@pytest.fixture
def of_folder(records_page, cases):
    found = list(records_page.recorded_facts(cases))
    return lambda folder: [each.facts for each in found if each.folder == folder]


def test_the_page_is_what_the_records_yield(repository, records_page, cases):
    assert (repository / "docs" / "records.md").read_text(encoding="utf-8") == records_page.page(cases)


def test_hcc_is_confirmed_in_three_records_and_refuted_in_one(records):
    by_status = {
        status: {name for name, facts in records.items() if facts.hcc.status is status}
        for status in DiagnosisStatus
    }

    assert by_status[DiagnosisStatus.CONFIRMED] == {"UC1_1", "UC1_6", "UC1_7"}
    assert by_status[DiagnosisStatus.REFUTED] == {"UC1_4"}
    assert by_status[DiagnosisStatus.UNCONFIRMED] == {"UC1_2", "UC1_3", "UC1_5", "UC1_8"}
    assert len(by_status[DiagnosisStatus.ABSENT]) == 10


def test_decompensated_cirrhosis_yields_values_drugs_and_its_diagnosis(of_folder):
    for facts in of_folder("fhir_cirrhosis"):
        assert facts.ever_had(Problem.CIRRHOSIS) is True
        assert facts.lab(Analyte.BILIRUBIN).upper_limit == 1.2
        assert facts.lab(Analyte.CREATININE) is not None
        assert facts.lab(Analyte.AFP) is None
        assert facts.drugs_with(DrugRole.DIURETIC)
        assert facts.person.sex in ("F", "M")


def test_patients_without_liver_disease_have_none_of_what_speaks_against_a_regimen(of_folder):
    others = of_folder("fhir_other")

    assert len(others) == 5
    for facts in others:
        assert facts.ever_had(Problem.VARICES, Problem.CIRRHOSIS, Problem.HEPATITIS_B) is False
        assert facts.past_drugs_with(DrugRole.ANTI_ANGIOGENIC) == ()
        assert facts.conditions_complete
        assert facts.procedures_complete


def test_the_page_names_no_person(repository, cases):
    text = (repository / "docs" / "records.md").read_text(encoding="utf-8")

    for path in (cases / "fhir_other").glob("*.json"):
        for name in path.stem[:-37].split("_"):
            assert name not in text
