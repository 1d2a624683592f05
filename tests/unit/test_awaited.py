# SPDX-License-Identifier: Apache-2.0
"""While newer images are assessed, the older result is not shown; and which settings ask a PACS."""

from datetime import date
from pathlib import Path

import pytest

from cds_service.build import CurrentOutcomes
from cds_service.config import IdentifierSystemConfig, IdentityConfig, parse_config
from cds_service.identity import NoImaging, outcome_of
from cds_service.imaging_block import imaging_block
from fhir_gateway.patient import RecordPatient
from model.domain import AwaitedOutcome, Patient, PatientKey, Study
from model.errors import ConfigError
from model.patient_facts import Diagnosis, DiagnosisStatus, PatientFacts

BORN = date(1951, 7, 9)
SYSTEM = "urn:oid:2.999.1"
AWAITED = AwaitedOutcome(
    study=Study(
        study_instance_uid="1.2.3",
        study_date=date(2026, 5, 1),
        patient=Patient(key=PatientKey(patient_id="42", issuer="HOSPITAL"), birth_date=BORN, sex=None),
    )
)
IDENTITY = IdentityConfig(identifier_systems=(IdentifierSystemConfig(system=SYSTEM, issuer="HOSPITAL"),))


@pytest.mark.parametrize(
    ("birth_date", "said"), [(BORN, NoImaging.AWAITED), (date(1990, 1, 1), NoImaging.DISAGREES)]
)
def test_newer_images_are_told_of_to_those_whose_they_are(birth_date: date, said: NoImaging) -> None:
    patient = RecordPatient(patient_id="p1", identifiers=((SYSTEM, "42"),), birth_date=birth_date)
    outcomes = CurrentOutcomes(lambda _keys: AWAITED, [])

    assert outcome_of(patient, outcomes, IDENTITY) is said


def test_the_card_says_that_a_result_is_pending() -> None:
    facts = PatientFacts(hcc=Diagnosis(status=DiagnosisStatus.CONFIRMED))

    text = imaging_block(NoImaging.AWAITED, None, facts=facts, today=date(2026, 5, 2))

    assert (
        "Imaging result pending: newer images of the last study have arrived and are being assessed." in text
    )


@pytest.mark.parametrize(
    ("complete", "said"),
    [
        ({"pacs": {}}, "c-move needs host and ae_title"),
        ({"pacs": {"retrieve": "c-get", "host": "a"}}, "c-get needs host and ae_title"),
        ({"pacs": {"retrieve": "wado-rs", "host": "a"}}, "wado-rs needs the url"),
        (
            {"priors": 1, "pacs": {"retrieve": "wado-rs", "url": "https://pacs/dicom-web"}},
            "the Patient ID would stand in a URL",
        ),
        ({"when_incomplete": "hope"}, "when_incomplete"),
    ],
)
def test_a_pacs_that_cannot_be_asked_is_refused_by_name(complete: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_config({"complete": complete}, relative_to=Path())


def test_files_of_the_pacs_start_at_the_settings() -> None:
    pacs = {
        "retrieve": "wado-rs",
        "url": "https://pacs/dicom-web",
        "token_path": "token",
        "ca_path": "/ca.pem",
    }

    config = parse_config({"complete": {"pacs": pacs}}, relative_to=Path("/etc/hcc"))

    assert config.complete.pacs is not None
    assert config.complete.pacs.token_path == Path("/etc/hcc/token")
    assert config.complete.pacs.ca_path == Path("/ca.pem")
