# SPDX-License-Identifier: Apache-2.0
"""Records that others made: EuCanImage HCC, decompensated cirrhosis, patients without liver disease."""

import io
import json
from datetime import UTC, datetime

import pytest

from cds_service.app import create_app
from cds_service.config import parse_config
from cds_service.logs import configure_logs
from fhir_gateway import synthetic
from fhir_gateway.facts import patient_facts
from fhir_gateway.units import unit_converter
from model.eligibility.assess import assess
from model.patient_facts import Analyte, DiagnosisStatus, DrugRole

pytestmark = pytest.mark.real_data

DISCHARGE = datetime(2024, 6, 27, 12, tzinfo=UTC)
SERVICE = "/cds-services/hcc-immunotherapy"


class NoStudies:
    def current(self, _keys):
        return None


@pytest.fixture(scope="module")
def converter():
    return unit_converter()


@pytest.fixture
def client(tmp_path, records):
    config = parse_config({"web": {"development_without_jwt": True}}, relative_to=tmp_path)
    log = configure_logs(level="info", process="web", stream=io.StringIO(), strict=True)
    return create_app(
        config, outcomes=NoStudies(), seen_tokens=None, records=records, now=lambda: DISCHARGE, log=log
    ).test_client()


def by_type(resources, kind):
    return synthetic.bundle(*(each for each in resources if each["resourceType"] == kind))


def prefetch_of(resources):
    (patient,) = [each for each in resources if each["resourceType"] == "Patient"]
    observations = by_type(resources, "Observation")
    return {
        "patient": patient,
        "conditions": by_type(resources, "Condition"),
        "laboratory": observations,
        "findings": observations,
        "medications": by_type(resources, "MedicationRequest"),
    }


def hcc_record(cases, number):
    entries = json.loads((cases / "fhir_hcc" / f"UC1_{number}.json").read_text())["entry"]
    resources = [entry["resource"] for entry in entries]
    # The bundles are not from a server: an EHR would have given the Patient its id.
    for entry in entries:
        if entry["resource"]["resourceType"] == "Patient":
            entry["resource"]["id"] = entry["fullUrl"].removeprefix("urn:uuid:")
    return prefetch_of(resources)


def cirrhosis_records(cases):
    folder = cases / "fhir_cirrhosis"
    resources = [
        json.loads(line)
        for kind in ("Patient", "Condition", "Observation", "MedicationRequest")
        for line in (folder / f"{kind}.ndjson").read_text().splitlines()
    ]
    for patient in [each for each in resources if each["resourceType"] == "Patient"]:
        own = [
            each
            for each in resources
            if each.get("subject", {}).get("reference") == f"Patient/{patient['id']}"
        ]
        yield prefetch_of([patient, *own])


def facts_of(prefetch, converter, now=DISCHARGE):
    return patient_facts(prefetch, patient_id=prefetch["patient"]["id"], now=now, converter=converter)


def ordered(client, prefetch):
    patient_id = prefetch["patient"]["id"]
    request = synthetic.hook_request(
        "order-sign", patient_id, prefetch, orders=synthetic.atezolizumab_bevacizumab(patient_id)
    )
    response = client.post(SERVICE, json=request)
    assert response.status_code == 200
    return response.json["cards"]


def viewed(client, prefetch):
    request = synthetic.hook_request("patient-view", prefetch["patient"]["id"], prefetch)
    response = client.post(SERVICE, json=request)
    assert response.status_code == 200
    return response.json["cards"]


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (1, DiagnosisStatus.CONFIRMED),
        (2, DiagnosisStatus.UNCONFIRMED),
        (3, DiagnosisStatus.UNCONFIRMED),
        (4, DiagnosisStatus.REFUTED),
        (5, DiagnosisStatus.UNCONFIRMED),
        (6, DiagnosisStatus.CONFIRMED),
        (7, DiagnosisStatus.CONFIRMED),
        (8, DiagnosisStatus.UNCONFIRMED),
    ],
)
def test_verification_status_decides_on_hcc_in_the_eucanimage_records(cases, converter, number, status):
    assert facts_of(hcc_record(cases, number), converter).hcc.status is status


@pytest.mark.parametrize("number", range(1, 9))
def test_the_regimen_in_a_eucanimage_record_is_never_said_to_have_no_exclusion(cases, client, number):
    answer = ordered(client, hcc_record(cases, number))

    assert answer[0]["indicator"] == "warning"
    assert not any("No exclusion" in card["summary"] for card in answer)
    refuted = "Outside the trial population: HCC is refuted" in answer[0]["summary"]
    assert refuted is (number == 4)


def test_patient_view_speaks_up_for_the_confirmed_ones_only(cases, client):
    spoken = [n for n in range(1, 9) if viewed(client, hcc_record(cases, n))]

    assert spoken == [1, 6, 7]


def test_the_newest_laboratory_values_of_each_cirrhotic_patient_are_read(cases, converter):
    records = list(cirrhosis_records(cases))

    assert len(records) == 5
    for prefetch in records:
        facts = facts_of(prefetch, converter)
        assert facts.hcc.status is DiagnosisStatus.ABSENT
        assert facts.drugs_with(DrugRole.DIURETIC)
        for analyte, loinc in (
            (Analyte.BILIRUBIN, "1975-2"),
            (Analyte.ALBUMIN, "1751-7"),
            (Analyte.INR, "6301-6"),
        ):
            newest = max(
                (
                    entry["resource"]
                    for entry in prefetch["laboratory"]["entry"]
                    if entry["resource"]["code"]["coding"][0]["code"] == loinc
                ),
                key=lambda each: each["effectiveDateTime"],
            )
            lab = facts.lab(analyte)
            assert lab.source.reference == f"Observation/{newest['id']}"
            assert lab.quantity.value == newest["valueQuantity"]["value"]


def test_decompensated_cirrhosis_is_outside_class_a_although_ascites_is_not_coded(cases, converter):
    for prefetch in cirrhosis_records(cases):
        facts = facts_of(prefetch, converter)

        score = assess(facts, None).child_pugh

        assert facts.ascites is None
        assert score.points[0] >= 7
        assert score.inr_confounded


def test_the_same_values_are_stale_two_months_later(cases, converter):
    for prefetch in cirrhosis_records(cases):
        assert facts_of(prefetch, converter, datetime(2024, 9, 1, tzinfo=UTC)).labs == ()


def test_patients_without_liver_disease_are_met_with_silence(cases, client):
    for path in sorted((cases / "fhir_other").glob("*.json")):
        resources = [entry["resource"] for entry in json.loads(path.read_text())["entry"]]
        prefetch = prefetch_of(resources)
        patient_id = prefetch["patient"]["id"]
        drafts = [
            each | {"status": "draft", "id": f"d{index}"}
            for index, each in enumerate(r for r in resources if r["resourceType"] == "MedicationRequest")
        ]
        request = synthetic.hook_request("order-sign", patient_id, prefetch, orders=drafts)

        assert viewed(client, prefetch) == []
        assert client.post(SERVICE, json=request).json == {"cards": []}


def test_a_synthea_record_is_readable_whole(cases, converter):
    for path in sorted((cases / "fhir_other").glob("*.json")):
        resources = [entry["resource"] for entry in json.loads(path.read_text())["entry"]]

        facts = facts_of(prefetch_of(resources), converter)

        assert facts.gaps == ()
        assert facts.conditions_complete
        assert facts.drugs_complete
