# SPDX-License-Identifier: Apache-2.0
"""The whole main job with real peers: DCMTK sends, Orthanc keeps the reports, an EHR asks for the card."""

import json
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, date, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from pydicom import DataElement, config, dcmread
from pydicom.uid import generate_uid
from pypdf import PdfReader

from cds_service.demo.ehr import DemoPatient, order_request
from dicom_listener.synthetic import write_segmentation
from model.domain import Assessment, RejectionReason, derived_uid
from model.features import definition

BIRTH_DATE = "1951-07-09"
SMALL = derived_uid("small")


def send(peer, environment, port: int, *folders: Path) -> None:
    """Send every DICOM file below `folders` as a PACS would: one association."""
    subprocess.run(
        [peer("dcmsend"), "-aec", "HCC_CDS", "-aet", "PACS", "+sd", "+r", "127.0.0.1", str(port), *folders],
        env=environment,
        check=True,
        capture_output=True,
        timeout=120,
    )


def with_birth_date(source: Path, target: Path) -> list[Path]:
    """Copy an anonymised series and give its patient a birth date, as every hospital's has."""
    target.mkdir(parents=True)
    copies = []
    for path in sorted(source.rglob("*.dcm")):
        ds = dcmread(path)
        ds.PatientBirthDate = BIRTH_DATE.replace("-", "")
        copies.append(target / path.name)
        ds.save_as(copies[-1])
    return sorted(copies, key=lambda each: dcmread(each, stop_before_pixels=True).ImagePositionPatient[2])


def card_text(port: int, patient_id: str) -> str:
    """What an oncologist reads who orders atezolizumab and bevacizumab for that patient."""
    patient = DemoPatient(patient_id=patient_id, birth_date=date.fromisoformat(BIRTH_DATE))
    answer = httpx.post(
        f"http://127.0.0.1:{port}/cds-services/hcc-immunotherapy",
        json=order_request(patient, today=datetime.now(UTC).date()),
        timeout=20,
    )
    assert answer.status_code == 200, answer.text
    return "\n".join(each["summary"] + "\n" + each.get("detail", "") for each in answer.json()["cards"])


def reports_in(orthanc, folder: Path) -> dict[int, list[Path]]:
    """Our objects in the PACS by Series Number: 9101 SR-A, 9102 SR-B, 9103 SEG, 9104 page."""
    found: dict[int, list[Path]] = {}
    for series in orthanc.get("/series?expand"):
        number = int(series["MainDicomTags"].get("SeriesNumber", 0))
        if number >= 9101:
            found[number] = [orthanc.file(each, folder) for each in series["Instances"]]
    return found


def errors_of_dciodvfy(peer, path: Path) -> list[str]:
    answer = subprocess.run(
        [peer("dciodvfy"), str(path)], capture_output=True, text=True, check=False, timeout=100
    )
    return [line for line in (answer.stdout + answer.stderr).splitlines() if line.startswith("Error")]


def values_of_tid1500reader(peer, report: Path, folder: Path) -> list[dict[str, Any]]:
    """Each measurement group as dcmqi reads it."""
    output = folder / f"{report.stem}.json"
    subprocess.run(
        [peer("tid1500reader"), "--inputDICOM", str(report), "--outputMetadata", str(output)],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return json.loads(output.read_text())["Measurements"]


def assert_every_value_comes_back(peer, assessment: Assessment, report: Path, folder: Path) -> None:
    groups = values_of_tid1500reader(peer, report, folder)
    assert len(groups) == len(assessment.lesions)
    by_uid = {each["TrackingUniqueIdentifier"]: each["measurementItems"] for each in groups}
    for lesion in assessment.lesions:
        read = {
            (item["quantity"]["CodeValue"], item["units"]["CodeValue"]): float(item["value"])
            for item in by_uid[lesion.tracking_uid]
        }
        values = list(read.values())
        for name, value in zip(lesion.features.names, lesion.features.values, strict=True):
            feature = definition(name, assessment.series.modality)
            if feature.ibsi_code is not None:
                assert read[feature.ibsi_code, feature.unit] == pytest.approx(value, rel=1e-6), name
            else:
                assert any(each == pytest.approx(value, rel=1e-6) for each in values), name
        assert len(lesion.features.names) >= 100


@pytest.mark.real_data
@pytest.mark.peer("dcmtk")
@pytest.mark.peer("orthanc")
def test_the_real_hcc_study_ends_in_reports_in_the_pacs_and_in_a_card(
    installation: Callable, orthanc, peer, dcmtk_environment, cases: Path, tmp_path: Path
) -> None:
    site = installation(pacs=orthanc)
    site.start("serve")
    images = with_birth_date(cases / "hcc048", tmp_path / "hcc048")
    z, y, x = np.ogrid[:89, :512, :512]
    region = ((z - 60) / 8) ** 2 + ((y - 250) / 25) ** 2 + ((x - 150) / 25) ** 2 < 1
    write_segmentation(tmp_path / "hcc048", images, [region], series_instance_uid=derived_uid("test region"))

    send(peer, dcmtk_environment, site.dicom_port, tmp_path / "hcc048")
    site.wait_for("study_assessed")
    site.wait_for("report_delivered", count=2)
    study_instance_uid = dcmread(images[0], stop_before_pixels=True).StudyInstanceUID
    assessment = site.shared().store.assessments.outcome(study_instance_uid)
    (findings,), (radiomics,) = (reports_in(orthanc, tmp_path)[each] for each in (9101, 9102))

    assert isinstance(assessment, Assessment)
    assert assessment.index_lesion.volume_mm3 == pytest.approx(int(region.sum()) * 0.703125**2 * 2.5)
    for report in (findings, radiomics):
        assert errors_of_dciodvfy(peer, report) == []
        assert dcmread(report).StudyInstanceUID == study_instance_uid
    assert_every_value_comes_back(peer, assessment, radiomics, tmp_path)
    text = card_text(site.web_port, "Patient_01")
    assert "1 outlined lesion" in text
    assert "no clinical meaning" in text or "not computed, because" in text
    log = (site.folder / "log").read_text()
    for identifying in ("Patient_01", BIRTH_DATE, BIRTH_DATE.replace("-", ""), str(study_instance_uid)):
        assert identifying not in log


@pytest.mark.real_data
@pytest.mark.peer("dcmtk")
@pytest.mark.peer("orthanc")
@pytest.mark.parametrize("modality", ["CT", "MR_T1"])
def test_a_real_study_with_an_rtstruct_gets_a_seg_of_ours_and_every_value_comes_back(
    installation: Callable, orthanc, peer, dcmtk_environment, cases: Path, tmp_path: Path, modality: str
) -> None:
    site = installation(pacs=orthanc)
    site.start_all()
    folder = cases / "ibsi_validation" / "STS_002" / modality
    study_instance_uid = dcmread(next(folder.rglob("*.dcm")), stop_before_pixels=True).StudyInstanceUID

    send(peer, dcmtk_environment, site.dicom_port, folder)
    site.wait_for("study_assessed")
    site.wait_for("report_delivered", count=3)
    assessment = site.shared().store.assessments.outcome(study_instance_uid)
    found = reports_in(orthanc, tmp_path)

    assert isinstance(assessment, Assessment)
    assert assessment.series.modality.value == modality[:2]
    assert sorted(found) == [9101, 9102, 9103]
    assert all(len(each) == 1 for each in found.values())
    for (report,) in found.values():
        assert errors_of_dciodvfy(peer, report) == []
    assert_every_value_comes_back(peer, assessment, found[9102][0], tmp_path)
    (segmentation,) = (dcmread(each) for each in found[9103])
    voxels = int(np.asarray(segmentation.pixel_array).sum())
    assert voxels * np.prod(assessment.series.spacing_mm) == pytest.approx(assessment.index_lesion.volume_mm3)
    assert not hasattr(assessment.score, "probability"), "a thigh's tumour is scored by no liver model"


def change_all(folder: Path, change: Callable[[int, Any], None]) -> None:
    """Apply `change(number, dataset)` to each CT slice of a study and save it."""
    for number, path in enumerate(sorted(folder.glob("*.dcm"))):
        ds = dcmread(path)
        if ds.Modality == "CT":
            change(number, ds)
            ds.save_as(path)


def without_frame_of_reference(_number: int, ds: Any) -> None:
    del ds.FrameOfReferenceUID


def with_other_pixel_spacing_in_one_slice(number: int, ds: Any) -> None:
    if number == 20:
        ds.PixelSpacing = [1.25, 1.25]


def with_values_that_libraries_warn_about(_number: int, ds: Any) -> None:
    """pydicom and highdicom quote such values in warnings."""
    for keyword, vr in (("AcquisitionDate", "DA"), ("PatientAge", "AS")):
        ds.add(DataElement(keyword, vr, "12/31/1999", validation_mode=config.IGNORE))


@pytest.mark.peer("dcmtk")
def test_a_rejected_study_ends_in_a_stored_reason_and_a_card_that_names_it(
    installation: Callable, peer, dcmtk_environment, phantom_study: Callable, tmp_path: Path
) -> None:
    site = installation()
    site.start_all()
    expected = {
        "0041": ("none", None, RejectionReason.NO_LESION),
        "0042": ("SEG", without_frame_of_reference, RejectionReason.NO_FRAME_OF_REFERENCE),
        "0043": ("SEG", with_other_pixel_spacing_in_one_slice, RejectionReason.MIXED_GEOMETRY),
    }
    for patient_id, (outline, change, _) in expected.items():
        folder = tmp_path / patient_id
        phantom_study(folder, derived_uid(patient_id), outline=outline, patient_id=patient_id)
        if change:
            change_all(folder, change)

        send(peer, dcmtk_environment, site.dicom_port, folder)

    lines = site.wait_for("study_rejected", count=len(expected))
    assert {(line["reason"], line["explanation"]) for line in lines} == {
        (reason.value, reason.explanation) for _, _, reason in expected.values()
    }
    for patient_id, (_, _, reason) in expected.items():
        assert site.shared().store.assessments.outcome(derived_uid(patient_id)).reason is reason
        assert "not computed, because" in card_text(site.web_port, patient_id)
        assert site.shared().store.outbox.reports(derived_uid(patient_id), 1) == ()
    assert not [each for each in site.log() if each["level"] == "error"]


@pytest.mark.peer("dcmtk")
@pytest.mark.peer("orthanc")
def test_a_late_instance_makes_a_revision_that_names_its_predecessor(
    installation: Callable, orthanc, peer, dcmtk_environment, phantom_study: Callable, tmp_path: Path
) -> None:
    site = installation(pacs=orthanc)
    site.start_all()
    folder = tmp_path / "study"
    phantom_study(folder, SMALL)
    late = folder / "late.dcm"
    send(peer, dcmtk_environment, site.dicom_port, folder)
    site.wait_for("report_delivered", count=2)
    site.wait_for("study_assessed")
    shutil.copy(next(folder.glob("*seg*")), late)
    second_look = dcmread(late)
    second_look.SOPInstanceUID = second_look.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    second_look.save_as(late)

    send(peer, dcmtk_environment, site.dicom_port, folder)
    site.wait_for("study_assessed", count=2)
    site.wait_for("report_delivered", count=4)
    newest = site.shared().store.assessments.outcome(SMALL)
    reports = [dcmread(each) for each in reports_in(orthanc, tmp_path)[9101]]

    assert isinstance(newest, Assessment)
    assert (newest.revision, newest.predecessor_revision) == (2, 1)
    first, second = sorted(reports, key=lambda each: int(each.InstanceNumber))
    (predecessor,) = second.PredecessorDocumentsSequence
    named = predecessor.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    assert named == first.SOPInstanceUID


@pytest.mark.peer("dcmtk")
@pytest.mark.peer("orthanc")
def test_the_page_for_the_tumour_board_comes_back_from_the_pacs_as_it_was_written(
    installation: Callable, orthanc, peer, dcmtk_environment, phantom_study: Callable, tmp_path: Path
) -> None:
    site = installation("[report]\npdf = true", pacs=orthanc)
    site.start_all()
    folder = tmp_path / "study"
    phantom_study(folder, SMALL, patient_id="ZZ-778899", patient_name="ZZUNMISTAKABLE^PERSON")

    send(peer, dcmtk_environment, site.dicom_port, folder)
    site.wait_for("study_assessed")
    site.wait_for("report_delivered", count=3)
    (kept,) = (each for each in site.shared().store.outbox.reports(SMALL, 1) if each.kind == "PDF")
    (page,) = reports_in(orthanc, tmp_path)[9104]
    written = dcmread(kept.path)
    pdf = written.EncapsulatedDocument[: written.EncapsulatedDocumentLength]

    assert dcmread(page).EncapsulatedDocument == written.EncapsulatedDocument
    assert orthanc.content(f"/instances/{page.stem}/pdf").rstrip(b"\0") == pdf
    assert errors_of_dciodvfy(peer, page) == []
    (only,) = PdfReader(BytesIO(pdf), strict=True).pages
    text = only.extract_text()
    assert "ZZUNMISTAKABLE, PERSON" in text
    assert "Lesion 2" in text
    log = (site.folder / "log").read_text()
    names = [str(each.relative_to(site.folder)) for each in site.folder.rglob("*")]
    assert not [each for each in [log, *names] if "778899" in each or "ZZUNMISTAKABLE" in each]


@pytest.mark.peer("dcmtk")
def test_no_patient_data_reaches_the_logs_even_at_debug_level(
    installation: Callable, peer, dcmtk_environment, phantom_study: Callable, tmp_path: Path
) -> None:
    site = installation('[log]\nlevel = "debug"')
    site.start("serve")
    folder = tmp_path / "study"
    phantom_study(folder, SMALL, patient_id="ZZ-778899", patient_name="ZZUNMISTAKABLE^PERSON")
    change_all(folder, with_values_that_libraries_warn_about)

    send(peer, dcmtk_environment, site.dicom_port, folder)
    site.wait_for("study_assessed")
    card_text(site.web_port, "ZZ-778899")
    log = (site.folder / "log").read_text()

    assert "study_scheduled" in log, "the log is at debug level"
    for secret in (
        "ZZUNMISTAKABLE",
        "12/31/1999",
        "778899",
        BIRTH_DATE.replace("-", ""),
        BIRTH_DATE,
        SMALL,
    ):
        assert secret not in log
    names = [str(each.relative_to(site.folder)) for each in site.folder.rglob("*")]
    assert not [each for each in names if "778899" in each or SMALL in each]
