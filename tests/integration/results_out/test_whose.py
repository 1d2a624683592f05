# SPDX-License-Identifier: Apache-2.0
"""A result is written to the record of its patient, or in doubt to none."""

import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cds_service.store import DeliveryState
from model.domain import (
    PatientKey,
)

pytestmark = pytest.mark.xdist_group("medplum")

_EXAMPLE = runpy.run_path(str(Path(__file__).parents[2] / "data" / "result_example.py"))
MRN, RESEARCH, again, imaging_study = (
    _EXAMPLE[each] for each in ("MRN", "RESEARCH", "again", "imaging_study")
)
PENDING, DELIVERED, _, PUT_ASIDE = DeliveryState


DOUBTS = {
    "identity: birth date does not agree": [{"birthDate": "1960-02-01"}],
    "identity: the record gives no birth date": [{"birthDate": "1960"}],
    "identity: sex does not agree": [{"gender": "male"}],
    "identity: several patients have the number": [{}, {}],
    "identity: merged into another patient": [
        {"link": [{"type": "replaced-by", "other": {"reference": "Patient/x"}}]}
    ],
}


@pytest.mark.parametrize("reason", DOUBTS)
def test_in_doubt_whose_it_is_nothing_is_written_and_the_outbox_says_why(
    reason: str, medplum: Any, office: Any
) -> None:
    for elements in DOUBTS[reason]:
        medplum.patient(**elements)

    office.write(RESEARCH)
    office.work()

    assert office.state() is PUT_ASIDE
    assert office.reasons("report_put_aside") == [reason]
    assert set(medplum.counts().values()) == {0}


@pytest.mark.parametrize(
    "identifier",
    [
        {"system": MRN, "value": "0P-0001"},
        {"system": MRN, "value": "P-0001", "use": "old"},
        {"system": "urn:oid:9.9", "value": "P-0001"},
    ],
)
def test_another_number_an_old_one_or_one_of_another_system_is_not_the_patients(
    identifier: dict[str, str], medplum: Any, office: Any
) -> None:
    medplum.patient(identifier=[identifier])

    office.write(RESEARCH)
    office.work()

    assert office.reasons("report_delayed") == ["identity: nobody has the number"]
    assert set(medplum.counts().values()) == {0}


def test_a_patient_who_was_merged_gets_the_result_where_they_live_on(medplum: Any, office: Any) -> None:
    medplum.patient(link=[{"type": "replaced-by", "other": {"reference": "Patient/x"}}], active=False)
    living = medplum.patient(
        identifier=[{"system": "urn:oid:9.9", "value": "7"}, {"system": MRN, "value": "P-0001"}]
    )

    office.write(RESEARCH)
    office.work()

    (report,) = medplum.all("DiagnosticReport")
    assert report["subject"]["reference"] == f"Patient/{living['id']}"


@pytest.mark.parametrize(
    ("number_stays", "link"),
    [(True, "replaced-by"), (False, "replaces")],
    ids=["the merged one says so", "the living one says so"],
)
def test_a_patient_who_is_merged_later_gets_the_next_revision_where_they_live_on(
    number_stays: bool, link: str, medplum: Any, office: Any
) -> None:
    first = medplum.patient()
    office.write(RESEARCH)
    office.work()
    other = {"type": "replaces", "other": {"reference": f"Patient/{first['id']}"}}
    living = medplum.patient(**({"link": [other]} if link == "replaces" else {}))
    other = {"type": "replaced-by", "other": {"reference": f"Patient/{living['id']}"}}
    medplum.change(
        first
        | {"active": False}
        | ({"link": [other]} if link == "replaced-by" else {})
        | ({} if number_stays else {"identifier": [{"system": "urn:oid:9.9", "value": "7"}]})
    )

    office.write(again(2), predecessor=RESEARCH)
    office.work()

    assert office.state(2) is DELIVERED
    (report,) = medplum.all("DiagnosticReport")
    assert (report["subject"]["reference"], report["status"]) == (f"Patient/{living['id']}", "preliminary")
    standing = medplum.all("Observation", status="preliminary")
    assert {each["subject"]["reference"] for each in standing} == {f"Patient/{living['id']}"}


def test_a_patient_who_is_merged_into_somebody_else_is_not_whoever_has_the_number(
    medplum: Any, office: Any
) -> None:
    first = medplum.patient()
    office.write(RESEARCH)
    office.work()
    medplum.patient()
    medplum.change(
        first | {"link": [{"type": "replaced-by", "other": {"reference": "Patient/x"}}], "active": False}
    )

    office.write(again(2), predecessor=RESEARCH)
    office.work()

    assert office.reasons("report_put_aside") == ["identity: the result there is another's"]
    assert {each["status"] for each in medplum.all("Observation")} == {"entered-in-error"}


def test_a_study_without_birth_date_or_known_issuer_is_written_to_nobody(medplum: Any, office: Any) -> None:
    medplum.patient()
    unborn = replace(RESEARCH.study.patient, birth_date=None)

    office.write(replace(RESEARCH, study=replace(RESEARCH.study, patient=unborn)))
    office.work()
    elsewhere = replace(RESEARCH.study.patient, key=PatientKey(patient_id="P-0001", issuer="ELSEWHERE"))
    office.write(again(2, study=replace(RESEARCH.study, patient=elsewhere)))
    office.work()

    assert office.reasons("report_put_aside") == [
        "identity: the images give no birth date",
        "identity: no identifier system for the issuer",
    ]
    assert set(medplum.counts().values()) == {0}


@pytest.mark.parametrize("subject", ["Patient/{}", "Patient/{}/_history/2", "{base}/Patient/{}"])
def test_an_imaging_study_that_the_record_has_is_referred_to_and_not_changed(
    subject: str, medplum: Any, office: Any
) -> None:
    patient = medplum.patient()
    base = f"http://127.0.0.1:{medplum.port}/fhir"
    known = medplum.add(imaging_study(subject.format(patient["id"], base=base)))

    office.write(RESEARCH)
    office.work()

    (report,) = medplum.all("DiagnosticReport")
    (reference,) = report["imagingStudy"]
    assert reference["reference"] == f"ImagingStudy/{known['id']}"
    assert medplum.all("ImagingStudy") == [known]


@pytest.mark.parametrize("subject", ["Patient/another", "Patient/{}0", "https://other.example/Patient/{}"])
def test_an_imaging_study_of_another_patient_is_a_doubt(subject: str, medplum: Any, office: Any) -> None:
    patient = medplum.patient()
    medplum.add(imaging_study(subject.format(patient["id"])))

    office.write(RESEARCH)
    office.work()

    assert office.reasons("report_put_aside") == ["identity: the imaging study there is another patient's"]
    assert set(medplum.counts().values()) == {0}
