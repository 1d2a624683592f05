# SPDX-License-Identifier: Apache-2.0
"""A study of which only a part was routed becomes whole, or does not and says so; the PACS is Orthanc."""

import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

from dicom_listener.synthetic import write_segmentation
from model.domain import Assessment, AwaitedOutcome, PatientKey, Rejection, RejectionReason, derived_uid
from model.training.phantom import phantom

STUDY = derived_uid("half routed")
SLICES = 48
KEY = PatientKey(patient_id="0042", issuer="HOSPITAL")

pytestmark = [pytest.mark.peer("orthanc"), pytest.mark.timeout(400)]


@pytest.fixture
def site_with(installation: Callable) -> Callable[..., Any]:
    """Return a function that configures an installation which asks `pacs` what belongs to a study."""

    def configure(
        pacs: Any, retrieve: str = "c-get", *, reports_to_pacs: bool = False, **complete: Any
    ) -> Any:
        settings = {"first_delay_s": 0.2, "maximum_delay_s": 0.5, "maximum_wait_s": 60, **complete}
        where = (
            f'url = "http://127.0.0.1:{pacs.http_port}/dicom-web"'
            if retrieve == "wado-rs"
            else f'host = "127.0.0.1"\nport = {pacs.dicom_port}\nae_title = "PACS"'
        )
        values = "\n".join(
            f'{name} = "{each}"' if isinstance(each, str) else f"{name} = {each}"
            for name, each in settings.items()
        )
        tables = f"[complete]\n{values}\n[complete.pacs]\n{where}\nnetwork_timeout_s = 5\n"
        return installation(f'{tables}retrieve = "{retrieve}"\n', pacs=pacs if reports_to_pacs else None)

    return configure


def started(site: Any, orthanc: Any, *commands: str) -> Any:
    orthanc.knows("HCC_CDS", site.dicom_port)
    for each in commands or ("listen", "work"):
        site.start(each)
    return site


def outcome(site: Any, study: str = STUDY) -> Any:
    return site.shared().store.assessments.outcome(study)


@pytest.mark.parametrize("retrieve", ["c-move", "c-get", "wado-rs"])
def test_a_study_of_which_half_was_routed_is_fetched_and_assessed_once(
    start_orthanc, site_with, phantom_study, send_all, tmp_path: Path, retrieve, request
) -> None:
    orthanc = start_orthanc(request.getfixturevalue("dicom_web") if retrieve == "wado-rs" else None)
    files = phantom_study(tmp_path / "study", STUDY)
    orthanc.add(files)
    site = started(site_with(orthanc, retrieve), orthanc)

    send_all(site.dicom_port, files[: SLICES // 2])
    site.wait_for("study_assessed")
    (fetched,) = site.events("study_fetched")
    assessed = outcome(site)

    assert (fetched["count"], fetched["arrived"], fetched["expected"]) == (SLICES // 2 + 1, 49, 49)
    assert isinstance(assessed, Assessment)
    assert (assessed.revision, len(assessed.series.images), len(assessed.lesions)) == (1, SLICES, 2)
    assert not [each for each in assessed.notes if "instances" in each]
    assert not [each for each in site.log() if each["level"] == "error"]


def test_a_missing_segmentation_is_fetched_as_soon_as_the_pacs_has_one(
    start_orthanc, site_with, phantom_study, send_all, tmp_path: Path
) -> None:
    orthanc = start_orthanc()
    *images, outline = phantom_study(tmp_path / "study", STUDY)
    orthanc.add(images)
    site = started(site_with(orthanc, "c-move"), orthanc)

    send_all(site.dicom_port, images)
    waiting = site.wait_for("study_incomplete")[0]
    orthanc.add([outline])
    site.wait_for("study_assessed")

    assert (waiting["arrived"], waiting["expected"]) == (SLICES, SLICES)
    assert waiting["explanation"] == RejectionReason.NO_LESION.value
    assert outcome(site).revision == 1


def test_a_pacs_that_is_down_is_asked_again_until_it_is_back(
    start_orthanc, site_with, phantom_study, send_all, free_port, tmp_path: Path
) -> None:
    class Down:
        dicom_port = free_port()

    files = phantom_study(tmp_path / "study", STUDY)
    site = site_with(Down)
    site.start("listen")
    site.start("work")

    send_all(site.dicom_port, files[:10])
    refused = site.wait_for("study_incomplete", count=2)[-1]
    orthanc = start_orthanc(dicom_port=Down.dicom_port)
    orthanc.add(files)
    orthanc.knows("HCC_CDS", site.dicom_port)
    site.wait_for("study_assessed")

    assert "cannot be reached" in refused["explanation"]
    assert refused["attempt"] >= 1
    assert len(outcome(site).series.images) == SLICES


def test_a_pacs_that_holds_less_than_arrived_holds_up_nothing(
    start_orthanc, site_with, phantom_study, send_all, tmp_path: Path
) -> None:
    orthanc = start_orthanc()
    files = phantom_study(tmp_path / "study", STUDY)
    orthanc.add(files[:10])
    site = started(site_with(orthanc), orthanc, "listen")

    send_all(site.dicom_port, files)
    site.start("work")
    site.wait_for("study_assessed")
    (whole,) = site.events("study_whole")

    assert (whole["arrived"], whole["expected"]) == (10, 10)
    assert not site.events("study_incomplete")
    assert not site.events("study_fetched")


def test_our_own_reports_in_the_study_are_neither_missed_nor_assessed_and_late_images_supersede(
    start_orthanc, site_with, phantom_study, send_all, tmp_path: Path
) -> None:
    orthanc = start_orthanc()
    files = phantom_study(tmp_path / "study", STUDY, outline="RTSTRUCT")
    orthanc.add(files)
    site = started(site_with(orthanc, reports_to_pacs=True), orthanc, "listen")
    send_all(site.dicom_port, files)
    site.start("work")
    site.wait_for("study_assessed")
    site.wait_for("report_delivered", count=3)
    first = outcome(site)
    ours = [
        orthanc.file(each, tmp_path)
        for series in orthanc.get("/series?expand")
        if int(series["MainDicomTags"].get("SeriesNumber", 0)) >= 9101
        for each in series["Instances"]
    ]

    # A PACS that routes all it gets sends our reports back; then the radiologist outlines once more.
    send_all(site.dicom_port, ours)
    site.shared()
    late = tmp_path / "late.dcm"
    shutil.copy(files[-1], late)
    second_look = dcmread(late)
    second_look.SOPInstanceUID = second_look.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    second_look.SeriesInstanceUID = generate_uid()
    second_look.save_as(late)
    orthanc.add([late])
    send_all(site.dicom_port, [late])
    stale = site.shared().store.assessments.current([KEY])
    site.wait_for("study_assessed", count=2)
    second = outcome(site)

    assert len(ours) == 3
    assert len(site.shared().store.received.instances(STUDY)) == len(files) + 1, "ours are not kept twice"
    assert stale == awaited(first)
    assert (second.revision, second.predecessor_revision) == (2, 1)
    assert site.shared().store.assessments.current([KEY]) == second
    assert not site.events("study_incomplete")


def test_images_that_come_twice_change_nothing(
    start_orthanc, site_with, phantom_study, send_all, tmp_path: Path
) -> None:
    orthanc = start_orthanc()
    files = phantom_study(tmp_path / "study", STUDY)
    orthanc.add(files)
    site = started(site_with(orthanc), orthanc, "listen")
    send_all(site.dicom_port, files)
    site.start("work")
    site.wait_for("study_assessed")
    first = outcome(site)
    asked = len(site.events("study_whole"))

    send_all(site.dicom_port, files)
    other = phantom_study(tmp_path / "other", derived_uid("another"), patient_id="0043")
    orthanc.add(other)
    send_all(site.dicom_port, other)
    site.wait_for("study_assessed", count=2)

    assert outcome(site) == first
    assert site.shared().store.assessments.current([KEY]) == first
    assert len(site.events("study_whole")) == asked + 1, "the PACS was asked about the other study only"
    assert not site.events("instance_refused")


@pytest.mark.parametrize("policy", ["proceed", "reject"])
def test_what_does_not_become_whole_goes_on_or_is_rejected_and_says_how_much_arrived(
    start_orthanc, site_with, phantom_study, send_all, tmp_path: Path, policy
) -> None:
    orthanc = start_orthanc()
    files = phantom_study(tmp_path / "study", STUDY)
    orthanc.add(files)
    orthanc.add([another_outline(files, tmp_path / "another")])
    site = site_with(orthanc, "c-move", when_incomplete=policy, maximum_wait_s=1.5)
    orthanc.knows("HCC_CDS", 1)
    site.start("listen")

    send_all(site.dicom_port, files)
    site.start("work")
    over = site.wait_for("study_incomplete", count=2)
    site.wait_for("study_assessed" if policy == "proceed" else "study_rejected")
    found = outcome(site)

    assert (over[0]["arrived"], over[0]["expected"]) == (49, 50)
    assert site.events("study_incomplete")[-1]["outcome"] == policy
    if policy == "proceed":
        assert isinstance(found, Assessment)
        assert any(each.startswith("49 of 50 instances arrived") for each in found.notes)
    else:
        assert isinstance(found, Rejection)
        assert found.reason is RejectionReason.INCOMPLETE
        assert found.detail.startswith("49 of 50 instances arrived")


@pytest.mark.parametrize("retrieve", ["c-move", "c-get"])
def test_what_the_pacs_could_not_give_in_time_is_fetched_later_and_makes_a_new_revision(
    start_orthanc, site_with, phantom_study, send_all, tmp_path: Path, retrieve
) -> None:
    orthanc = start_orthanc()
    files = phantom_study(tmp_path / "study", STUDY)
    late = files[20:30]
    in_time = [each for each in files if each not in late]
    orthanc.add(in_time)
    site = site_with(orthanc, retrieve, maximum_wait_s=1.5, later_looks_s=[5, 20])
    orthanc.knows("HCC_CDS", site.dicom_port)
    site.start("listen")

    send_all(site.dicom_port, in_time)
    site.start("work")
    site.wait_for("study_rejected")
    first = outcome(site)
    orthanc.add(late)
    site.wait_for("study_assessed")
    second = outcome(site)

    assert isinstance(first, Rejection)
    assert first.reason is RejectionReason.GAP
    assert (second.revision, len(second.series.images)) == (2, SLICES)
    assert [each["outcome"] for each in site.events("study_looked_at_later")][-1] == "came"


def test_a_worker_killed_after_it_fetched_goes_on_and_assesses_once(
    start_orthanc, site_with, phantom_study, send_all, tmp_path: Path
) -> None:
    orthanc = start_orthanc()
    files = phantom_study(tmp_path / "study", STUDY)
    orthanc.add(files)
    site = site_with(orthanc)
    orthanc.knows("HCC_CDS", site.dicom_port)
    site.start("listen")
    send_all(site.dicom_port, files[:10])

    for _ in ("fetching", "after it"):
        assert dying_worker(site, "complete").wait(150) == -signal.SIGKILL
    site.start("work")
    site.wait_for("study_assessed")

    assert outcome(site).revision == 1
    assert len(outcome(site).series.images) == SLICES
    # Killed at the worst moment, the worker had no time to say that it fetched.
    assert len(site.events("study_fetched")) <= 1


def test_the_newest_prior_is_fetched_assessed_as_its_own_and_is_not_the_current_one(
    start_orthanc, site_with, phantom_study, send_all, tmp_path: Path
) -> None:
    orthanc = start_orthanc()
    prior, older, of_another = (derived_uid(each) for each in ("prior", "older", "of another"))
    files = phantom_study(tmp_path / "study", STUDY)
    orthanc.add(files)
    orthanc.add(phantom_study(tmp_path / "prior", prior, days_ago=90))
    orthanc.add(phantom_study(tmp_path / "older", older, days_ago=400))
    orthanc.add(phantom_study(tmp_path / "of another", of_another, days_ago=10, patient_id="00421"))
    site = started(site_with(orthanc, priors=1), orthanc)

    send_all(site.dicom_port, files)
    site.wait_for("study_assessed", count=2)
    store = site.shared().store

    assert isinstance(outcome(site, prior), Assessment)
    assert store.assessments.current([KEY]) == outcome(site)
    assert store.completeness.is_prior(prior)
    assert store.received.instances(older) == (), "a prior fetches no prior of its own"
    assert store.received.instances(of_another) == ()


def test_a_worker_killed_while_it_fetches_a_prior_fetches_it_once(
    start_orthanc, site_with, phantom_study, send_all, wait_until, tmp_path: Path
) -> None:
    orthanc = start_orthanc()
    prior = derived_uid("prior")
    files = phantom_study(tmp_path / "study", STUDY)
    orthanc.add([*files, *phantom_study(tmp_path / "prior", prior, days_ago=90)])
    site = site_with(orthanc, priors=1)
    orthanc.knows("HCC_CDS", site.dicom_port)
    site.start("listen")
    send_all(site.dicom_port, files)

    assert dying_worker(site, "prior").wait(150) == -signal.SIGKILL
    site.start("work")
    wait_until(lambda: outcome(site, prior) and outcome(site), timeout_s=150, what="both assessments")

    assert outcome(site, prior).revision == outcome(site).revision == 1
    assert len(site.events("prior_fetched")) == 1


def dying_worker(site: Any, step: str) -> Any:
    program = str(Path(__file__).with_name("dying_worker.py"))
    return site.start("work", program=[sys.executable, program, str(site.config_path), step])


def another_outline(files: list[Path], folder: Path) -> Path:
    made = phantom(5, shape=(48, 128, 128), spacing_mm=(1.5, 1.5, 2.5), centre_mm=(-75.0, 10.0, 0.0))
    return write_segmentation(folder, files[:-1], made.lesions, series_instance_uid=derived_uid("another"))


def awaited(assessment: Assessment) -> AwaitedOutcome:
    return AwaitedOutcome(study=assessment.study)
