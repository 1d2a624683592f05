# SPDX-License-Identifier: Apache-2.0
"""`hcc-cds explain` on studies that came in through the real intake."""

from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from cds_service.build import build_shared
from cds_service.cli import hcc_cds
from cds_service.config import load_config
from cds_service.receiving import build_intake


@pytest.fixture
def site(tmp_path):
    """A configuration file of an installation with an empty store."""
    path = tmp_path / "hcc-cds.toml"
    path.write_text(f'[site]\ndata_dir = "{tmp_path}/var"\n', encoding="utf-8")
    return path


def receive(site, study, *, refused=0):
    shared = build_shared(load_config(site), "test")
    shared.archive.prepare()
    intake = build_intake(shared)
    taken = [
        intake.take_file(path.read_bytes(), source="test") for path in sorted(study.folder.rglob("*.dcm"))
    ]
    assert sum(each.instance is None for each in taken) == refused
    shared.store.close()


def explained(site, *arguments):
    return CliRunner().invoke(hcc_cds, ["--config", str(site), "explain", *arguments])


def test_a_study_that_would_be_measured_is_told_series_by_series(site, study, box):
    study.add_images(description="ARTERIAL")
    study.add_images(description="SCOUT", series_number=3)
    for path in study.series[2][3:]:
        path.unlink()
    study.add_segmentation(box(), box(z=slice(0, 3), x=slice(36, 44)))
    receive(site, study)

    answer = explained(site, study.uid)

    assert answer.exit_code == 0, answer.output
    lines = answer.output.splitlines()
    assert lines[0] == "28 instances: 27 CT, 1 SEG"
    assert any(line.endswith("CT series of 12 images: would be measured") for line in lines)
    assert any(line.endswith("can be measured, but no lesion is outlined on it") for line in lines)
    assert any(
        "CT series of 3 images: cannot be measured. IMG-LOC: Only localizers" in line for line in lines
    )
    assert any(
        "contrast phase portal venous, by the words of the series description, confidence low" in line
        for line in lines
    )
    assert any("SEG: 2 lesions, drawn on " in line for line in lines)
    assert any("the index lesion" in line and "mL" in line for line in lines)
    assert any(
        line.startswith(("No score. SCORE-", "The index lesion would be scored.")) for line in lines[-2:]
    )


def test_a_study_that_would_be_rejected_says_so_with_its_reason_and_exit_code(site, study):
    receive(site, study)

    answer = explained(site, study.uid)

    assert answer.exit_code == 2
    assert "The study would be rejected. IMG-SEG: No lesion is outlined" in answer.output
    assert "can be measured, but no lesion is outlined on it" in answer.output


def test_a_rejected_series_gives_its_figure(site, study, edit):
    study.add_segmentation()
    study.images[5].unlink()
    receive(site, study)

    answer = explained(site, study.uid)

    assert answer.exit_code == 2
    assert answer.output.count("IMG-GAP: Slices are missing") == 2
    assert "slice spacing 2.50 to 5.00 mm" in answer.output


def test_a_study_in_doubt_whose_object_came_again_for_another_patient_says_so(site, study, edit):
    study.add_segmentation()
    receive(site, study)
    edit(study.images[0], lambda ds: setattr(ds, "PatientID", "P2"))
    receive(site, study, refused=1)

    answer = explained(site, study.uid)

    assert answer.exit_code == 2
    assert "IMG-ID: The study is of more than one patient" in answer.output
    assert "came again with another patient, and was refused" in answer.output
    assert "P2" not in answer.output


def test_a_study_that_waits_says_for_what_and_when_the_pacs_is_asked_again(site, study):
    study.add_segmentation()
    receive(site, study)
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)
    store = build_shared(load_config(site), "test").store
    unwaiting = explained(site, study.uid).output

    store.completeness.begin_look(study.uid, owner="a", changed_at=now, now=now, until=now)
    store.completeness.end_look(
        study.uid, owner="a", next_look_at=now, attempts=1, reason="13 of 14 instances arrived"
    )
    waits = explained(site, study.uid).output
    store.completeness.end_wait(study.uid)
    store.completeness.look_later(study.uid, done=0, since=now, due_at=now + timedelta(hours=1))
    went_on = explained(site, study.uid).output

    assert "the PACS" not in unwaiting
    assert waits.splitlines()[-1] == "It waits to become whole: 13 of 14 instances arrived"
    assert went_on.splitlines()[-1].endswith("the PACS is asked again at 2026-11-24 13:00 UTC")


def test_nothing_stored_is_an_exit_code_of_its_own(site):
    answer = explained(site, "1.2.3.4")

    assert answer.exit_code == 3
    assert "Nothing of this study is stored." in answer.output


def test_nobody_is_named_unless_it_is_asked_for(site, study, edit):
    for path in study.images:
        edit(path, lambda ds: setattr(ds, "SeriesDescription", "PORTAL MUELLER"))
    study.add_segmentation()
    receive(site, study)

    quiet, telling = explained(site, study.uid), explained(site, study.uid, "--identifying")

    assert quiet.exit_code == telling.exit_code == 0
    for secret in ("P1", "PHANTOM", "MUELLER", "1.2.3"):
        assert secret not in quiet.output
    assert "Patient ID P1" in telling.output
    assert "'PORTAL MUELLER'" in telling.output
    assert "series 1.2.3.1" in telling.output
