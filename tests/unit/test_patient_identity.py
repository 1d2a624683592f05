# SPDX-License-Identifier: Apache-2.0
"""Merged records, several numbers, leading zeros, no birth date: each is decided, and doubt shows nothing."""

from datetime import date

import pytest

from cds_service.config import IdentifierSystemConfig, IdentityConfig
from cds_service.identity import NoImaging, outcome_of, patient_keys
from fhir_gateway.parsing import UnreadableResource
from fhir_gateway.patient import is_deceased, record_patient
from model.domain import AwaitedOutcome, Patient, PatientKey, Study

MRN, NATIONAL = "urn:oid:2.999.1", "urn:oid:2.999.2"
BORN = date(1961, 5, 4)
IDENTITY = IdentityConfig(
    identifier_systems=(
        IdentifierSystemConfig(system=MRN, issuer="HOSPITAL"),
        IdentifierSystemConfig(system=NATIONAL, issuer="COUNTRY"),
    )
)


class Archive:
    """Holds one study, found under the numbers that it is asked for, as the store does."""

    def __init__(self, patient_id="00123", issuer="HOSPITAL", birth_date=BORN, sex="F"):
        key = PatientKey(patient_id=patient_id, issuer=issuer)
        self._outcome = AwaitedOutcome(
            study=Study(
                study_instance_uid="1.2.3",
                study_date=date(2026, 5, 1),
                patient=Patient(key=key, birth_date=birth_date, sex=sex),
            )
        )

    def current(self, keys):
        return self._outcome if self._outcome.study.patient.key in keys else None


def number(value="00123", system=MRN, **changes):
    return {"system": system, "value": value} | changes


def patient(*identifiers, **changes):
    return {
        "resourceType": "Patient",
        "id": "p1",
        "identifier": list(identifiers or (number(),)),
        "birthDate": BORN.isoformat(),
        "gender": "female",
    } | changes


def link(kind):
    return [{"other": {"reference": "Patient/p2"}, "type": kind}]


def seen(resource, archive=None):
    return outcome_of(record_patient({"patient": resource}), archive or Archive(), IDENTITY)


def test_the_patient_that_all_agrees_on_is_found():
    assert seen(patient()) is NoImaging.AWAITED


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"link": link("replaced-by")}, NoImaging.NOT_CURRENT),
        ({"link": [*link("replaces"), *link("replaced-by")]}, NoImaging.NOT_CURRENT),
        ({"active": False}, NoImaging.NOT_CURRENT),
        ({"active": "false"}, NoImaging.NOT_CURRENT),
        ({"link": [{"other": {"reference": "Patient/p2"}}]}, NoImaging.NOT_CURRENT),
        ({"link": [{"type": "replaced-with"}]}, NoImaging.NOT_CURRENT),
        ({"link": "Patient/p2"}, NoImaging.NOT_CURRENT),
        ({"link": [7]}, NoImaging.NOT_CURRENT),
        ({"link": [{"type": ["replaces"]}]}, NoImaging.NOT_CURRENT),
        ({"active": True}, NoImaging.AWAITED),
        ({"link": link("replaces")}, NoImaging.AWAITED),
        ({"link": link("seealso")}, NoImaging.AWAITED),
        ({"link": link("refer")}, NoImaging.AWAITED),
    ],
)
def test_a_record_that_was_merged_away_or_closed_shows_nothing_and_the_surviving_one_does(changes, told):
    assert seen(patient(**changes)) is told


def test_a_merged_record_without_a_study_is_told_only_that_there_is_none():
    assert seen(patient(number("999"), link=link("replaced-by"))) is NoImaging.NO_STUDY


@pytest.mark.parametrize("recorded", ["123", "0123", "000123", "00123A", "00 123"])
def test_numbers_are_compared_as_written_so_that_leading_zeros_tell_persons_apart(recorded):
    assert seen(patient(number(recorded))) is NoImaging.NO_STUDY


def test_blanks_around_a_number_are_not_part_of_it():
    assert seen(patient(number(" 00123 "))) is NoImaging.AWAITED


def test_two_numbers_of_one_kind_are_two_persons_unless_the_record_replaces_another():
    twice = (number("00123"), number("777"))

    assert seen(patient(*twice)) is NoImaging.SEVERAL_NUMBERS
    assert seen(patient(*twice, link=link("replaces"))) is NoImaging.AWAITED


def test_numbers_of_different_kinds_and_the_same_number_twice_are_one_person():
    resource = patient(number(), number(), number("A-1", NATIONAL), number("7", "urn:other"))

    keys = patient_keys(record_patient({"patient": resource}), IDENTITY)

    assert keys == (
        PatientKey(patient_id="00123", issuer="HOSPITAL"),
        PatientKey(patient_id="A-1", issuer="COUNTRY"),
    )
    assert seen(resource) is NoImaging.AWAITED


@pytest.mark.parametrize(
    "changes",
    [
        {"use": "old"},
        {"period": {"end": "2020-01-01"}},
        {"period": {"start": "2020-01-01", "end": "2099-01-01"}},
        {"value": None},
        {"system": None},
    ],
)
def test_a_number_that_is_old_or_ends_or_is_incomplete_finds_nobody(changes):
    left = {name: value for name, value in (number() | changes).items() if value is not None}

    assert seen(patient(left)) is NoImaging.NO_IDENTIFIER


@pytest.mark.parametrize("born", [None, "1961", "1961-05"])
def test_without_a_whole_birth_date_in_the_record_nothing_is_shown(born):
    resource = patient() | {"birthDate": born}

    assert seen(resource) is NoImaging.NO_BIRTH_DATE


def test_without_a_birth_date_in_the_images_nothing_is_shown():
    assert seen(patient(), Archive(birth_date=None)) is NoImaging.NO_BIRTH_DATE


@pytest.mark.parametrize(
    "archive", [Archive(birth_date=date(1961, 4, 5)), Archive(sex="M")], ids=["birth date", "sex"]
)
def test_a_birth_date_or_sex_that_disagrees_shows_nothing(archive):
    assert seen(patient(), archive) is NoImaging.DISAGREES


@pytest.mark.parametrize("gender", ["other", "unknown", None])
def test_a_sex_that_is_not_stated_contradicts_nobody(gender):
    assert seen(patient(gender=gender)) is NoImaging.AWAITED


def test_each_doubt_on_identity_is_told_as_something_withheld():
    doubts = {each for each in NoImaging if "identity" in each.value}

    assert {each for each in NoImaging if each.is_withheld} == doubts
    assert len(doubts) == 4


@pytest.mark.parametrize(
    "resource", [None, {"resourceType": "Patient"}, {"resourceType": "Person", "id": "p1"}]
)
def test_what_is_no_patient_is_refused(resource):
    with pytest.raises(UnreadableResource):
        record_patient({"patient": resource})


@pytest.mark.parametrize(
    ("said", "is_so"),
    [
        ({}, False),
        ({"deceasedBoolean": False}, False),
        ({"deceasedBoolean": True}, True),
        ({"deceasedDateTime": "2026-05-01T10:00:00Z"}, True),
        ({"deceasedDateTime": "2026-05-02"}, True),
        ({"deceasedDateTime": "2026-05"}, True),
        ({"deceasedDateTime": "2025"}, True),
        ({"deceasedDateTime": "2026-05-04"}, False),
        ({"deceasedDateTime": "2027"}, False),
        ({"deceasedDateTime": "yesterday"}, False),
        ({"deceasedDateTime": ""}, False),
        ({"deceasedBoolean": "true"}, False),
        ({"deceasedBoolean": 1}, False),
        ({"deceasedBoolean": False, "deceasedDateTime": "2026-05-01"}, False),
    ],
)
def test_only_a_plain_statement_says_that_a_patient_died(said, is_so):
    assert is_deceased({"patient": patient(**said)}, today=date(2026, 5, 2)) is is_so
