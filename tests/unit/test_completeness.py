# SPDX-License-Identifier: Apache-2.0
"""Whether a study is whole, by what the PACS says and what the model needs."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from pydicom import DataElement, Dataset, config

from dicom_listener.completeness import (
    Ours,
    compare,
    in_doubt,
    our_series,
    priors_of,
    shows_abdomen,
    what_lacks,
)
from dicom_listener.identity import Identity
from dicom_listener.instance import StoredInstance
from dicom_listener.pacs import (
    Budget,
    FoundStudy,
    HeldInstance,
    HeldSeries,
    HeldStudy,
    count_of,
    found_studies,
    held_study,
)
from model.domain import Patient, PatientKey, Study
from model.errors import PeerUnavailable

STUDY = "1.2.3"
CT_CLASS, SC_CLASS = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.7"


def series(number: int, count: int | None, modality: str = "CT") -> HeldSeries:
    return HeldSeries(series_instance_uid=f"1.2.3.{number}", modality=modality, text="", instance_count=count)


def held(*every: HeldSeries, count: int | None = None) -> HeldStudy:
    return HeldStudy(instance_count=count, series_count=None, series=every)


def received(series_number: int, *numbers: int) -> list[StoredInstance]:
    return [
        StoredInstance(
            study_instance_uid=STUDY,
            series_instance_uid=f"1.2.3.{series_number}",
            sop_instance_uid=f"1.2.3.{series_number}.{each}",
            sop_class_uid=CT_CLASS,
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            modality="CT",
            path=Path("a"),
            sha256="aa",
        )
        for each in numbers
    ]


def named(
    series_number: int, *numbers: int, sop_class_uid: str = CT_CLASS
) -> dict[str, tuple[HeldInstance, ...]]:
    return {
        f"1.2.3.{series_number}": tuple(
            HeldInstance(sop_instance_uid=f"1.2.3.{series_number}.{each}", sop_class_uid=sop_class_uid)
            for each in numbers
        )
    }


def compared(study: HeldStudy, here: list[StoredInstance], names=None, ours: Ours | None = None):
    return compare(
        STUDY, study, here, names or {}, ours=ours or Ours(), taken_sop_classes={CT_CLASS, "1.2.840.1"}
    )


def test_a_study_is_whole_when_every_series_counts_what_arrived() -> None:
    study, here = held(series(1, 3), series(2, 1, "SEG"), count=4), [*received(1, 1, 2, 3), *received(2, 1)]

    found = compared(study, here)

    assert in_doubt(study, here, Ours()) == ()
    assert (found.is_whole, found.arrived, found.expected, found.wanted) == (True, 4, 4, ())


def test_what_is_missing_of_a_series_is_wanted_by_name_and_a_missing_series_as_a_whole() -> None:
    study = held(series(3, 2, "SR"), series(1, 3), series(2, 1, "SEG"))
    here = received(1, 1)

    found = compared(study, here, named(1, 1, 2, 3) | named(2, 1) | named(3, 1, 2))

    assert [each.series_instance_uid for each in in_doubt(study, here, Ours())] == [
        "1.2.3.3",
        "1.2.3.1",
        "1.2.3.2",
    ]
    assert (found.arrived, found.expected) == (1, 6)
    assert [(each.series_instance_uid, each.sop_instance_uids) for each in found.wanted] == [
        ("1.2.3.1", ("1.2.3.1.2", "1.2.3.1.3")),
        ("1.2.3.2", ()),
        ("1.2.3.3", ()),
    ], "images and outlines first"
    assert found.in_words == "1 of 6 instances arrived"


def test_a_long_series_is_wanted_by_name_so_that_it_comes_in_parts() -> None:
    (wanted,) = compared(held(series(1, 501)), [], named(1, *range(1, 502))).wanted

    assert len(wanted.sop_instance_uids) == 501


def test_a_pacs_that_holds_less_than_arrived_makes_no_study_incomplete() -> None:
    assert compared(held(series(1, 1), count=1), received(1, 1, 2, 3)).is_whole
    assert compared(held(count=1), received(1, 1, 2, 3)).is_whole


@pytest.mark.parametrize("value", [None, "", "0", "-4", "many", "4.5", "99999999999"])
def test_a_count_that_is_missing_empty_or_none_is_unknown_and_never_zero(value: str | None) -> None:
    ds = Dataset()
    if value is not None:
        ds.add(DataElement("NumberOfSeriesRelatedInstances", "LO", value, validation_mode=config.IGNORE))

    assert count_of(ds, "NumberOfSeriesRelatedInstances") is None


def test_without_counts_the_names_decide() -> None:
    study, here = held(series(1, None)), received(1, 1)

    assert [each.series_instance_uid for each in in_doubt(study, here, Ours())] == ["1.2.3.1"]
    assert not compared(study, here, named(1, 1, 2)).is_whole
    assert compared(study, here, named(1, 1)).is_whole


def test_a_pacs_that_tells_neither_counts_nor_names_leaves_it_to_the_quiet_time() -> None:
    found = compared(held(series(1, None)), received(1, 1))

    assert (found.is_whole, found.expected) == (True, None)
    assert found.in_words == "the PACS does not tell how many instances the study has"


def test_the_count_of_the_study_decides_where_its_series_do_not_tell() -> None:
    missing = compared(held(series(1, None), count=3), received(1, 1))
    with_ours = compared(held(series(1, None), count=3), received(1, 1), ours=Ours(count=2))

    assert (missing.is_whole, missing.expected) == (False, 3)
    assert [each.series_instance_uid for each in missing.wanted] == ["1.2.3.1"]
    assert with_ours.is_whole, "our two reports are in the PACS and not expected here"


def test_a_series_that_the_pacs_counts_and_does_not_list_is_missing() -> None:
    study = replace(held(series(1, 2), count=5), series_count=2)

    found = compared(study, received(1, 1, 2))

    assert (found.is_whole, found.arrived, found.expected) == (False, 2, 5)
    assert compared(replace(study, series_count=1), received(1, 1, 2)).is_whole


def test_series_of_ours_are_neither_asked_for_nor_expected() -> None:
    study, ours = held(series(1, 1), series(2, 2, "SEG")), Ours(series_instance_uids=frozenset({"1.2.3.2"}))

    assert in_doubt(study, received(1, 1), ours) == ()
    assert compared(study, received(1, 1), ours=ours).expected == 1


def test_objects_that_we_refuse_are_not_expected() -> None:
    study = held(series(1, 1), series(2, 2, "OT"))

    found = compared(study, received(1, 1), named(2, 1, 2, sop_class_uid=SC_CLASS))

    assert (found.is_whole, found.expected) == (True, 1)


def test_what_is_not_named_is_expected_of_images_and_outlines_only() -> None:
    found = compared(held(series(1, 2), series(2, 2, "OT"), series(3, 1, "SEG")), received(1, 1))

    assert (found.arrived, found.expected) == (1, 3)
    assert [each.series_instance_uid for each in found.wanted] == ["1.2.3.1", "1.2.3.3"]


def test_answers_without_a_uid_and_answers_twice_say_nothing_more() -> None:
    answers = [Dataset() for _ in range(4)]
    for answer, value in zip(answers, ("1.2.3.1", "1.2.3.1", "no uid", ""), strict=True):
        answer.add(DataElement("SeriesInstanceUID", "UI", value, validation_mode=config.IGNORE))

    assert [each.series_instance_uid for each in held_study(Dataset(), answers).series] == ["1.2.3.1"]


def test_our_series_are_read_from_our_files(study) -> None:
    assert our_series(study.images[:2]) == {"1.2.3.1"}


def test_a_fetch_is_bounded_in_time_and_bytes() -> None:
    moment = [0.0]
    budget = Budget(seconds=10, maximum_bytes=100, clock=lambda: moment[0])

    budget.spend(100)
    with pytest.raises(PeerUnavailable, match="maximum_fetch_mb"):
        budget.spend(1)
    moment[0] = 10.1
    with pytest.raises(PeerUnavailable, match="maximum_fetch_s"):
        budget.check()


def test_a_model_needs_an_image_series_and_an_outline_of_it(study, limits) -> None:
    without = what_lacks(study.instances, limits, phase=None)
    study.add_segmentation()

    assert without == "IMG-SEG"
    assert what_lacks(study.instances, limits, phase=None) == ""
    assert what_lacks([], limits, phase=None) == "IMG-NONE"


def test_what_no_other_object_can_mend_is_not_waited_for(study, limits) -> None:
    study.add_segmentation()

    assert what_lacks(study.instances, replace(limits, maximum_slice_spacing_mm=1.0), phase=None) == ""


@pytest.mark.parametrize(
    ("phase", "lacks"),
    [("portal venous", ""), ("arterial", "no outlined series of the arterial phase"), (None, "")],
)
def test_a_model_of_one_phase_needs_a_series_that_states_no_other(study, limits, phase, lacks) -> None:
    study.add_segmentation()

    assert what_lacks(study.instances, limits, phase=phase) == lacks


def test_a_series_that_states_no_phase_may_be_of_any(new_study, tmp_path, limits) -> None:
    study = new_study(tmp_path / "unnamed")
    study.add_images(description="ABDOMEN")
    study.add_segmentation()

    assert what_lacks(study.instances, limits, phase="arterial") == ""


NOW_STUDY = Study(
    study_instance_uid=STUDY,
    study_date=date(2026, 5, 1),
    patient=Patient(key=PatientKey(patient_id="42", issuer="HOSPITAL"), birth_date=date(1951, 7, 9), sex="M"),
)


def earlier(uid: str, day: date | None, *, modalities=("CT",), **identity) -> FoundStudy:
    stated = {
        "patient_id": "42",
        "issuer": "",
        "birth_date": date(1951, 7, 9),
        "sex": None,
        "study_date": day,
        **identity,
    }
    return FoundStudy(
        study_instance_uid=uid, identity=Identity(**stated), modalities=frozenset(modalities), description=""
    )


def test_priors_are_earlier_images_of_the_same_patient_the_newest_first() -> None:
    found = [
        earlier("1.1", date(2025, 1, 1)),
        earlier("1.2", date(2026, 4, 1), modalities=("MR", "SR")),
        earlier("1.3", date(2026, 3, 1), modalities=()),
        earlier("1.4", date(2026, 5, 1)),
        earlier("1.5", date(2026, 4, 2), modalities=("US",)),
        earlier("1.6", date(2026, 4, 2), issuer="ELSEWHERE"),
        earlier("1.7", date(2026, 4, 2), birth_date=date(1990, 1, 1)),
        earlier("1.8", date(2026, 4, 2), patient_id="421"),
        earlier("1.9", None),
        earlier(STUDY, date(2026, 4, 2)),
    ]

    assert [each.study_instance_uid for each in priors_of(NOW_STUDY, found)] == ["1.2", "1.3", "1.1"]
    assert priors_of(replace(NOW_STUDY, study_date=None), found) == []


def test_a_prior_shows_the_abdomen_by_its_words_or_those_of_its_images() -> None:
    def with_text(text: str, modality: str = "CT") -> HeldSeries:
        return HeldSeries(series_instance_uid="1.2.1", modality=modality, text=text, instance_count=1)

    assert shows_abdomen("CT LIVER 3 PHASES", [with_text("axial")])
    assert shows_abdomen("", [with_text("axial ABDOMEN")])
    assert not shows_abdomen("CT HEAD", [with_text("axial")])
    assert not shows_abdomen("MR LEBER", [with_text("", "SR")]), "no images"


def test_a_study_without_a_patient_or_with_an_impossible_one_is_not_found() -> None:
    nobody, impossible = Dataset(), Dataset()
    for each in (nobody, impossible):
        each.StudyInstanceUID = STUDY
    impossible.add(DataElement("PatientID", "LO", "4\x002", validation_mode=config.IGNORE))

    assert found_studies([nobody, impossible]) == ()
