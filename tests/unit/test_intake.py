# SPDX-License-Identifier: Apache-2.0
"""The one door to the archive, over SQLite and real files."""

import json
import resource
import runpy
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.uid import (
    MPEG4HP41,
    CTImageStorage,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    SegmentationStorage,
)

from cds_service.engines import sqlite_module
from dicom_listener.encoded import split_file
from dicom_listener.intake import IntakeLimits, taken_sop_classes
from dicom_listener.status import StorageStatus
from dicom_listener.syntaxes import (
    IMAGE_SOP_CLASSES,
    KNOWN_SOP_CLASSES,
    OUTLINE_SOP_CLASSES,
    TRANSFER_SYNTAXES,
    UNCOMPRESSED_SYNTAXES,
    other_sop_classes,
)
from model.domain import (
    AwaitedOutcome,
    Outcome,
    Patient,
    PatientKey,
    Rejection,
    RejectionReason,
    Study,
    derived_uid,
)

_DATA = Path(__file__).parents[1] / "data"
_made = SimpleNamespace(**runpy.run_path(str(_DATA / "intake_site.py")))
KEY = PatientKey(patient_id="0042", issuer="HOSPITAL")
Site, file, INSTANCE, STUDY = _made.Site, _made.file, _made.INSTANCE, _made.STUDY


@pytest.fixture
def site(tmp_path: Path, empty_database: Path) -> Iterator[Site]:
    with closing(Site(tmp_path, empty_database)) as made:
        yield made


@pytest.fixture
def versioning(tmp_path: Path, empty_database: Path) -> Iterator[Site]:
    with closing(Site(tmp_path, empty_database, versioned=True)) as made:
        yield made


def test_what_is_taken_can_be_read_again_byte_for_byte(site: Site) -> None:
    sent = file()

    taken = site.take(sent)

    (stored,) = site.store.received.instances(STUDY)
    assert taken.status is StorageStatus.SUCCESS
    assert taken.instance == stored
    assert split_file(stored.path.read_bytes())[0] == split_file(sent)[0]
    assert dcmread(stored.path).file_meta.MediaStorageSOPInstanceUID == INSTANCE


def test_the_same_again_is_acknowledged_and_changes_nothing(site: Site) -> None:
    first = site.take(file())
    before = site.store.received.changed_at(STUDY)

    again = site.take(file())

    assert (first.changed, again.changed) == (True, False)
    assert again.status is StorageStatus.SUCCESS
    assert site.store.received.changed_at(STUDY) == before
    assert len(site.files()) == 1


@pytest.mark.parametrize("changed", [file(PatientID="0043"), file(ImplicitVRLittleEndian)])
def test_other_bytes_are_refused_and_the_first_stay(site: Site, changed: bytes) -> None:
    first = site.take(file())

    other = site.take(changed)

    assert other.status is StorageStatus.DUPLICATE_WITH_OTHER_CONTENT
    assert site.store.received.instances(STUDY) == (first.instance,)
    assert [each.read_bytes() for each in site.files()] == [first.instance.path.read_bytes()]


def test_a_corrected_patient_id_becomes_current_and_the_study_is_assessed_anew(versioning: Site) -> None:
    first = versioning.take(file())
    assessments = versioning.store.assessments
    before = assessments.open_revision(STUDY, owner="first", now=datetime.now(UTC))

    corrected = versioning.take(file(PatientID="0043"))

    (current,) = versioning.store.received.instances(STUDY)
    after = assessments.open_revision(STUDY, owner="second", now=datetime.now(UTC))
    assert corrected.changed
    assert current == corrected.instance
    assert dcmread(current.path).PatientID == "0043"
    assert versioning.store.received.superseded(INSTANCE) == (first.instance.path,)
    assert dcmread(first.instance.path).PatientID == "0042"
    assert (before.revision, after.revision) == (1, 2)


def published(site: Site, key: PatientKey = KEY) -> Outcome:
    """Publish an outcome of the study as it is now."""
    opened = site.store.assessments.open_revision(STUDY, owner="first", now=datetime.now(UTC))
    outcome = Rejection(
        study=Study(
            study_instance_uid=STUDY, study_date=None, patient=Patient(key=key, birth_date=None, sex=None)
        ),
        revision=opened.revision,
        created_at=opened.created_at,
        reason=RejectionReason.NO_LESION,
        detail="",
        software_version="0",
    )
    site.store.assessments.record_outcome(outcome)
    site.store.assessments.publish(outcome, now=datetime.now(UTC))
    return outcome


def test_a_corrected_patient_id_that_is_refused_withdraws_what_was_said_of_the_study(site: Site) -> None:
    first = site.take(file())
    before = published(site)
    named = site.store.assessments.current([KEY])

    corrected = site.take(file(PatientID="0043"))
    site.log.flush()
    (logged,) = (json.loads(line) for line in Path(site.log.name).read_text().splitlines())
    changed_at = site.store.received.changed_at(STUDY)
    after = site.store.assessments.current([KEY])
    anew = site.store.assessments.open_revision(STUDY, owner="second", now=datetime.now(UTC))
    again = site.take(file(PatientID="0043"))

    assert (corrected.status, again.status) == (StorageStatus.DUPLICATE_WITH_OTHER_CONTENT,) * 2
    assert (named, after) == (before, AwaitedOutcome(study=before.study))
    assert anew.revision == 2
    assert site.store.received.is_disputed(STUDY)
    assert site.store.received.instances(STUDY) == (first.instance,)
    assert site.store.received.changed_at(STUDY) == changed_at, "the same again begins nothing"
    assert logged["explanation"].startswith("It names another patient")
    assert len(site.files()) == 1


@pytest.mark.parametrize("change", [{"SeriesDescription": "other"}, {"IssuerOfPatientID": "HOSPITAL"}])
def test_other_bytes_of_the_same_patient_withdraw_nothing(site: Site, change: dict) -> None:
    site.take(file())
    before = published(site)

    refused = site.take(file(**change))

    assert refused.status is StorageStatus.DUPLICATE_WITH_OTHER_CONTENT
    assert not site.store.received.is_disputed(STUDY)
    assert site.store.assessments.current([KEY]) == before


def test_a_study_sent_again_as_a_new_version_is_in_doubt_no_longer(
    site: Site, tmp_path: Path, empty_database: Path
) -> None:
    site.take(file())
    site.take(file(PatientID="0043"))
    in_doubt = site.store.received.is_disputed(STUDY)

    with closing(Site(tmp_path, empty_database, versioned=True)) as versioning:
        taken = versioning.take(file(PatientID="0043"))
        late = versioning.take(file())

    assert in_doubt
    assert taken.changed
    assert late.status is StorageStatus.DUPLICATE_WITH_OTHER_CONTENT
    assert not site.store.received.is_disputed(STUDY), "a late repeat of the first is no doubt"


def test_a_uid_that_moves_to_another_study_of_another_patient_puts_the_first_in_doubt(
    versioning: Site,
) -> None:
    versioning.take(file())
    before = published(versioning)

    versioning.take(file(StudyInstanceUID=derived_uid("another"), PatientID="0043"))

    assert versioning.store.received.is_disputed(STUDY)
    assert versioning.store.received.changed_at(derived_uid("another")) is None
    assert versioning.store.assessments.current([KEY]) == AwaitedOutcome(study=before.study)


def test_a_corrected_patient_id_that_is_kept_hides_the_result_from_both_until_it_is_made_anew(
    versioning: Site,
) -> None:
    versioning.take(file())
    before = published(versioning)
    other = PatientKey(patient_id="0043", issuer="HOSPITAL")

    versioning.take(file(PatientID="0043"))
    meanwhile = [versioning.store.assessments.current([each]) for each in (KEY, other)]
    anew = published(versioning, other)

    assert meanwhile == [AwaitedOutcome(study=before.study), None]
    assert [versioning.store.assessments.current([each]) for each in (KEY, other)] == [None, anew]


def test_a_version_that_was_superseded_does_not_come_back(versioning: Site) -> None:
    first, second = file(), file(PatientID="0043")
    versioning.take(first)
    current = versioning.take(second)

    late = versioning.take(first)

    assert late.status is StorageStatus.DUPLICATE_WITH_OTHER_CONTENT
    assert versioning.store.received.instances(STUDY) == (current.instance,)
    assert len(versioning.files()) == 2
    assert versioning.take(second).status is StorageStatus.SUCCESS


def test_a_uid_that_moves_to_another_study_is_refused_even_where_versions_are_kept(versioning: Site) -> None:
    versioning.take(file())

    moved = versioning.take(file(StudyInstanceUID=derived_uid("another")))

    assert moved.status is StorageStatus.DUPLICATE_WITH_OTHER_CONTENT
    assert len(versioning.files()) == 1


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"SOPInstanceUID": "1.02.3"}, StorageStatus.INVALID_UID),
        ({"SeriesInstanceUID": "../../etc/passwd"}, StorageStatus.INVALID_UID),
        ({"StudyInstanceUID": "1." + "2" * 63}, StorageStatus.INVALID_UID),
        ({"StudyInstanceUID": None}, StorageStatus.INVALID_UID),
        ({"StudyInstanceUID": ["1.2", "1.3"]}, StorageStatus.INVALID_UID),
        ({"SOPClassUID": "1.2.3"}, StorageStatus.SOP_CLASS_NOT_SUPPORTED),
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR UI", "ignore:The value length")
def test_uids_that_are_none_reach_no_path(site: Site, change: dict, status: StorageStatus) -> None:
    taken = site.take(file(**change))

    assert taken.status is status
    assert site.files() == site.half_written() == []


@pytest.mark.parametrize(
    "command",
    [(SegmentationStorage, INSTANCE), (CTImageStorage, "1.2.3"), (CTImageStorage, "../x"), ("", "")],
)
def test_a_command_that_disagrees_with_its_data_set_is_refused(site: Site, command: tuple[str, str]) -> None:
    data, _ = split_file(file())

    taken = site.intake.take(data, transfer_syntax_uid=ExplicitVRLittleEndian, source="TEST", command=command)

    assert taken.status is StorageStatus.DATASET_DOES_NOT_MATCH_SOP_CLASS
    assert site.files() == []


def test_an_instance_of_another_study_than_was_named_is_refused(site: Site) -> None:
    taken = site.take(file(), study_instance_uid=derived_uid("another"))

    assert taken.status is StorageStatus.DATASET_DOES_NOT_MATCH_SOP_CLASS


def test_other_sop_classes_are_kept_or_refused_by_setting(tmp_path: Path, empty_database: Path) -> None:
    document = file(sop_class=EncapsulatedPDFStorage)

    with closing(Site(tmp_path, empty_database, other_sop_classes=True)) as keeping:
        kept = keeping.take(document)
    with closing(Site(tmp_path, empty_database, other_sop_classes=False)) as refusing:
        refused = refusing.take(document)
        known = refusing.take(file())

    assert kept.status is StorageStatus.SUCCESS
    assert known.status is StorageStatus.DUPLICATE_WITH_OTHER_CONTENT
    assert refused.status is StorageStatus.SOP_CLASS_NOT_SUPPORTED


def test_a_transfer_syntax_that_is_not_taken_is_refused(site: Site) -> None:
    assert site.take(file(MPEG4HP41)).status is StorageStatus.TRANSFER_SYNTAX_NOT_SUPPORTED


def test_what_is_offered_is_what_is_taken() -> None:
    limits = {"minimum_free_disk_mb": 0, "maximum_object_bytes": 1}

    everything = taken_sop_classes(IntakeLimits(**limits, other_sop_classes=True))
    known = taken_sop_classes(IntakeLimits(**limits, other_sop_classes=False))

    assert len(set(everything)) == len(everything) > 150
    assert set(known) == set(KNOWN_SOP_CLASSES)
    assert set(everything) == set(known) | set(other_sop_classes())
    assert {*IMAGE_SOP_CLASSES, *OUTLINE_SOP_CLASSES} < set(known)
    assert TRANSFER_SYNTAXES[: len(UNCOMPRESSED_SYNTAXES)] == UNCOMPRESSED_SYNTAXES
    assert all(each.is_transfer_syntax and not each.is_private for each in TRANSFER_SYNTAXES)


def test_an_object_beyond_the_limit_is_refused(tmp_path: Path, empty_database: Path) -> None:
    with closing(Site(tmp_path, empty_database, maximum_object_bytes=100)) as small:
        assert small.take(file()).status is StorageStatus.OBJECT_TOO_LARGE


@contextmanager
def full_disk(_site: Site) -> Iterator[None]:
    """Let no file of this process grow, which SQLite and the archive see as a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def archive_gone(site: Site) -> Iterator[None]:
    """As when the volume is not mounted."""
    gone = site.archive.root.with_name("gone")
    site.archive.root.rename(gone)
    try:
        yield
    finally:
        gone.rename(site.archive.root)


@contextmanager
def locked_database(site: Site) -> Iterator[None]:
    with closing(sqlite_module().connect(site.database)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield


@contextmanager
def low_disk(site: Site) -> Iterator[None]:
    free_mb = site.archive.free_mb
    site.archive.free_mb = lambda: -1
    try:
        yield
    finally:
        site.archive.free_mb = free_mb


@pytest.mark.parametrize("trouble", [full_disk, archive_gone, locked_database, low_disk])
def test_trouble_is_told_as_out_of_resources_and_over_when_it_is_over(site: Site, trouble) -> None:
    with trouble(site):
        during = site.take(file())

    assert during.status is StorageStatus.OUT_OF_RESOURCES
    assert site.half_written() == []
    assert site.take(file()).status is StorageStatus.SUCCESS
    assert len(site.files()) == len(site.store.received.instances(STUDY)) == 1


def test_a_refusal_says_which_setting_and_nothing_of_the_patient(site: Site) -> None:
    site.take(file())
    site.take(file(PatientID="UNMISTAKABLE"))
    site.log.flush()
    text = Path(site.log.name).read_text()

    assert "listen.different_content" in text
    assert "0xC002" in text
    assert not any(each in text for each in ("UNMISTAKABLE", INSTANCE, STUDY))


@given(data=st.binary(max_size=300), syntax=st.sampled_from([*TRANSFER_SYNTAXES, "", "../x", "1.2.3"]))
@settings(max_examples=200, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_get_a_status(site: Site, data: bytes, syntax: str) -> None:
    taken = site.intake.take(data, transfer_syntax_uid=syntax, source="TEST")

    assert taken.status is not StorageStatus.SUCCESS
    assert site.files() == site.half_written() == []
