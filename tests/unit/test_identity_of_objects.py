# SPDX-License-Identifier: Apache-2.0
"""Whose an object says it is."""

import pytest
from pydicom import DataElement, Dataset, config

from dicom_listener.identity import identity_of, one_identity
from model.domain import RejectionReason
from model.errors import RejectedStudy


def header(**values: str) -> Dataset:
    ds = Dataset()
    for keyword, value in values.items():
        ds.add(DataElement(keyword, "LO", value, validation_mode=config.IGNORE))
    return ds


@pytest.mark.parametrize(
    "values",
    [
        {"PatientID": "7" * 65},
        {"PatientID": "7\x007"},
        {"PatientID": "7", "IssuerOfPatientID": "X" * 65},
        {"PatientID": "7", "IssuerOfPatientID": "HOSPI\x07TAL"},
    ],
)
def test_an_identifier_that_no_database_should_hold_is_a_coded_rejection(values: dict[str, str]) -> None:
    with pytest.raises(RejectedStudy) as caught:
        identity_of(header(**values))

    assert caught.value.reason is RejectionReason.NO_PATIENT
    assert values["PatientID"] not in str(caught.value)


def test_leading_zeros_belong_to_a_patient_id() -> None:
    assert identity_of(header(PatientID="0042")).patient_id == "0042"


def test_objects_of_two_patients_are_told_apart() -> None:
    with pytest.raises(RejectedStudy) as caught:
        one_identity([identity_of(header(PatientID="0042")), identity_of(header(PatientID="42"))])

    assert caught.value.reason is RejectionReason.SEVERAL_PATIENTS
