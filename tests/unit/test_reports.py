# SPDX-License-Identifier: Apache-2.0
"""What our DICOM objects say, and that they say the same on every retry."""

import io
import runpy
import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from highdicom.seg import Segmentation
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import Comprehensive3DSRStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian

from dicom_listener.reports import (
    ReportKind,
    ReportSettings,
    codes,
    findings_report,
    lesion_segmentation,
    main_lines,
    radiomics_report,
    sop_instance_uid,
)
from dicom_listener.reports.conformance import template_problems
from dicom_listener.reports.encapsulated import encapsulated_page
from dicom_listener.reports.picture import key_slice
from model.domain import (
    AcquisitionChecks,
    Code,
    ImageReference,
    Modality,
    ModelStatus,
    NotComputed,
    NotComputedReason,
    PatientKey,
    derived_uid,
)
from model.features import FEATURE_NAMES, definition

SETTINGS = ReportSettings()
INDEX = "Lesion 1 is the index lesion, the largest"
DOUBT = (
    "Lesion 1 is the largest of those measured, but a larger one may have been left out, or another outline "
    "of it differs"
)


@pytest.fixture(scope="module")
def example(request):
    script = Path(request.config.rootpath) / "tests" / "data" / "report_example.py"
    return SimpleNamespace(**runpy.run_path(str(script)))


def as_bytes(report):
    buffer = io.BytesIO()
    report.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def read_back(report):
    return dcmread(io.BytesIO(as_bytes(report)))


def items(node):
    for item in node.get("ContentSequence", []):
        yield item
        yield from items(item)


def named(node, value):
    return [item for item in items(node) if item.ConceptNameCodeSequence[0].CodeValue == value]


def groups(report):
    return named(report, "125007")


def comments(report):
    container = named(report, "C0034375")[0]
    return [item.TextValue for item in container.ContentSequence if item.ValueType == "TEXT"]


def test_the_findings_report_reads_as_the_golden_tree(example):
    report = findings_report(example.assessment(), example.sources(), document=SETTINGS)

    assert example.tree(report) == example.GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", list(ReportKind))
def test_the_same_assessment_becomes_the_same_bytes(example, kind):
    def made():
        assessment = example.assessment(from_rtstruct=True)
        segmentation = lesion_segmentation(assessment, example.sources(), example.masks(), document=SETTINGS)
        match kind:
            case ReportKind.FINDINGS:
                return findings_report(assessment, example.sources(), segmentation, document=SETTINGS)
            case ReportKind.RADIOMICS:
                return radiomics_report(assessment, example.sources(), segmentation, document=SETTINGS)
            case ReportKind.SEGMENTATION:
                return segmentation
            case ReportKind.PAGE:
                picture = key_slice(np.zeros(example.SHAPE[1:], dtype=np.float32), Modality.CT)
                return encapsulated_page(
                    assessment, example.sources(), segmentation, picture=picture, document=SETTINGS
                )

    assert as_bytes(made()) == as_bytes(made())


def test_every_uid_is_registered_or_derived(example):
    assessment = example.assessment(from_rtstruct=True)
    segmentation = lesion_segmentation(assessment, example.sources(), example.masks(), document=SETTINGS)
    report = radiomics_report(assessment, example.sources(), segmentation, document=SETTINGS)

    uids = {
        str(element.value)
        for dataset in (segmentation, report)
        for element in dataset.iterall()
        if element.VR == "UI" and element.value
    }

    # highdicom's own UIDs, random and under its root, would show here.
    assert {uid for uid in uids if not uid.startswith(("2.25.", "1.2.840.10008."))} == set()


def test_object_uids_follow_study_revision_and_model(example):
    first = example.assessment()
    other_model = replace(first, model=replace(first.model, bundle_digest="d" * 64))

    uids = {
        sop_instance_uid(kind, assessment)
        for kind in ReportKind
        for assessment in (first, example.assessment(revision=2), other_model)
    }

    assert len(uids) == 12
    assert sop_instance_uid(ReportKind.FINDINGS, first) == derived_uid(
        "SR-A", example.uid("study"), "1", "b" * 64
    )


def test_kinds_have_series_of_their_own_and_revisions_share_one(example):
    findings = findings_report(example.assessment(), example.sources(), document=SETTINGS)
    revised = findings_report(example.assessment(revision=2), example.sources(), document=SETTINGS)
    radiomics = radiomics_report(example.assessment(), example.sources(), document=SETTINGS)

    assert findings.SeriesInstanceUID == revised.SeriesInstanceUID != radiomics.SeriesInstanceUID
    assert (findings.SeriesNumber, radiomics.SeriesNumber) == (9101, 9102)
    assert (findings.InstanceNumber, revised.InstanceNumber) == (1, 2)


def test_a_report_is_complete_unverified_and_preliminary_unless_configured(example):
    preliminary = findings_report(example.assessment(), example.sources(), document=SETTINGS)
    final = findings_report(
        example.assessment(), example.sources(), document=ReportSettings(preliminary=False)
    )

    assert (preliminary.CompletionFlag, preliminary.VerificationFlag) == ("COMPLETE", "UNVERIFIED")
    assert (preliminary.PreliminaryFlag, final.PreliminaryFlag) == ("PRELIMINARY", "FINAL")


def test_a_revision_names_its_predecessor(example):
    first, second = example.assessment(), example.assessment(revision=2)
    replaced = findings_report(first, example.sources(), document=SETTINGS)

    report = findings_report(second, example.sources(), document=SETTINGS, predecessor=first)

    study = report.PredecessorDocumentsSequence[0]
    series = study.ReferencedSeriesSequence[0]
    assert study.StudyInstanceUID == replaced.StudyInstanceUID
    assert series.SeriesInstanceUID == replaced.SeriesInstanceUID
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == replaced.SOPInstanceUID
    assert series.ReferencedSOPSequence[0].ReferencedSOPClassUID == Comprehensive3DSRStorage


def test_a_predecessor_that_the_assessment_does_not_name_is_refused(example):
    with pytest.raises(ValueError, match="predecessor"):
        findings_report(
            example.assessment(revision=3),
            example.sources(),
            document=SETTINGS,
            predecessor=example.assessment(),
        )


@pytest.mark.parametrize(
    ("status", "concept", "description"),
    [
        (ModelStatus.DEMONSTRATION, "SCORE-DEMO", "RESEARCH - DEMONSTRATION - HCC-CDS lesion findings"),
        (ModelStatus.RESEARCH, "SCORE-RESEARCH", "RESEARCH - HCC-CDS lesion findings"),
        (ModelStatus.VALIDATED, "SCORE", "HCC-CDS lesion findings"),
    ],
)
def test_scores_of_models_of_different_status_cannot_be_confused(example, status, concept, description):
    report = findings_report(example.assessment(status=status), example.sources(), document=SETTINGS)

    (score,) = named(report, concept)
    assert score.MeasuredValueSequence[0].FloatingPointValue == 0.714
    assert report.SeriesDescription == description
    assert any("INVESTIGATIONAL" in text and "Not FDA-cleared" in text for text in comments(report))


def test_the_percentile_is_said_to_be_among_the_calibration_cases(example):
    report = findings_report(example.assessment(), example.sources(), document=SETTINGS)

    texts = [item.TextValue for item in items(report) if "percentile 64" in str(item.get("TextValue", ""))]
    assert len(texts) == 2
    assert all("percentile 64 among the model's calibration cases" in text for text in texts)


def test_nobody_is_said_to_have_validated_a_model_at_this_installation(example):
    report = findings_report(
        example.assessment(status=ModelStatus.VALIDATED), example.sources(), document=SETTINGS
    )

    (status,) = named(report, "MODEL-STATUS")
    assert (
        status.ConceptCodeSequence[0].CodeMeaning
        == "Validated by its maker: external evidence excludes chance"
    )
    assert "installation" not in example.tree(report)


@pytest.mark.parametrize(
    ("checks", "applicability", "comment"),
    [
        (
            AcquisitionChecks(agreed=("slice spacing 2.5 mm",), not_stated=()),
            "Inside every limit that the model states",
            "Checked: slice spacing 2.5 mm. Nothing else of the acquisition was compared with the model.",
        ),
        (
            AcquisitionChecks(
                agreed=("slice spacing 2.5 mm",), not_stated=("contrast phase", "tube voltage")
            ),
            "Not every limit that the model states was checked",
            (
                "Not stated by the images and not checked: contrast phase; tube voltage. "
                "Checked: slice spacing 2.5 mm. Nothing else of the acquisition was compared with the model."
            ),
        ),
        (
            None,
            "Not assessed",
            "Which limits of the model the acquisition was compared with is not recorded.",
        ),
    ],
)
def test_only_what_was_checked_is_said_to_be_inside_the_limits(example, checks, applicability, comment):
    assessment = example.assessment(score=replace(example.SCORE, acquisition=checks))

    report = findings_report(assessment, example.sources(), document=SETTINGS)

    (stated,) = named(report, "APPLICABILITY")
    assert stated.ConceptCodeSequence[0].CodeMeaning == applicability
    assert comment in comments(report)


@pytest.mark.parametrize(
    ("reason", "applicability"),
    [
        (NotComputedReason.MODALITY, "Outside the limits of the model"),
        (NotComputedReason.ACQUISITION, "Outside the limits of the model"),
        (NotComputedReason.OUTSIDE_REFERENCE, "Outside the limits of the model"),
        (NotComputedReason.NOT_LIVER, "Outside the limits of the model"),
        (NotComputedReason.SUSPENDED, "Not assessed"),
        (NotComputedReason.INDEX_LESION, "Not assessed"),
    ],
)
def test_a_study_without_a_score_is_never_said_to_be_inside_the_limits(example, reason, applicability):
    report = findings_report(
        example.assessment(score=NotComputed(reason=reason)), example.sources(), document=SETTINGS
    )

    (stated,) = named(report, "APPLICABILITY")
    assert stated.ConceptCodeSequence[0].CodeMeaning == applicability
    assert not any("Checked" in text for text in comments(report))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {},
            f"2 outlined lesions: 2 measured, none left out. {INDEX}, and is scored, and no other.",
        ),
        (
            {"left_out": 3},
            f"5 outlined lesions: 2 measured, 3 left out. {INDEX}, and is scored, and no other.",
        ),
        (
            {"score": NotComputed(reason=NotComputedReason.SUSPENDED)},
            f"2 outlined lesions: 2 measured, none left out. None is scored. {INDEX}.",
        ),
        (
            {
                "left_out": 1,
                "index_in_doubt": True,
                "score": NotComputed(reason=NotComputedReason.INDEX_LESION),
            },
            f"3 outlined lesions: 2 measured, 1 left out. None is scored. {DOUBT}.",
        ),
    ],
)
def test_the_report_says_what_became_of_each_outline(example, changes, sentence):
    report = findings_report(replace(example.assessment(), **changes), example.sources(), document=SETTINGS)

    assert [text for text in comments(report) if "outlined" in text] == [sentence]


def test_a_lone_lesion_is_told_in_the_singular(example):
    assessment = example.assessment()

    report = findings_report(
        replace(assessment, lesions=assessment.lesions[:1]), example.sources(), document=SETTINGS
    )

    assert f"1 outlined lesion: 1 measured, none left out. {INDEX}, and is scored." in comments(report)


def test_an_assessment_cannot_hold_a_score_of_a_lesion_that_is_in_doubt(example):
    with pytest.raises(ValueError, match="in doubt"):
        replace(example.assessment(), left_out=1, index_in_doubt=True)


def test_a_demonstration_score_is_marked_as_meaningless_wherever_it_stands(example):
    report = findings_report(example.assessment(), example.sources(), document=SETTINGS)

    texts = [item.TextValue for item in items(report) if "0.714" in str(item.get("TextValue", ""))]
    names = [
        item.ConceptNameCodeSequence[0].CodeMeaning
        for item in items(report)
        if item.ValueType == "NUM" and item.MeasuredValueSequence[0].NumericValue == 0.714
    ]
    assert len(texts) == 2
    assert len(names) == 1
    assert all("DEMONSTRATION MODEL - NO CLINICAL MEANING" in text for text in texts + names)


def test_only_the_index_lesion_is_scored(example):
    report = findings_report(example.assessment(), example.sources(), document=SETTINGS)

    assert [len(named(group, "SCORE-DEMO")) for group in groups(report)] == [1, 0]


def test_the_report_of_what_is_drawn_has_another_title_than_that_of_what_is_listed(example):
    """OHIF goes by the title, and fails on a report to draw in which nothing is drawn."""
    assessment, sources = example.assessment(), example.sources()

    titles = [
        build(assessment, sources, document=SETTINGS).ConceptNameCodeSequence[0].CodeValue
        for build in (findings_report, radiomics_report)
    ]

    assert titles == ["126000", "126001"]


def test_people_read_the_name_of_a_lesion_once(example, tmp_path):
    """Its group says it twice: by the Tracking Identifier, and by a comment that OHIF shows."""
    report = findings_report(example.assessment(), example.sources(), document=SETTINGS)
    report.save_as(tmp_path / "findings.dcm", enforce_file_format=True)

    lines = [line.strip() for line in main_lines(tmp_path / "findings.dcm")]

    assert [line for line in lines if line.endswith(("Lesion 1", "Lesion 2"))] == ["Lesion 1", "Lesion 2"]


@pytest.mark.parametrize("reason", list(NotComputedReason))
def test_a_score_that_was_not_computed_says_why(example, reason):
    assessment = example.assessment(score=NotComputed(reason=reason, detail="5.0 mm"))

    report = findings_report(assessment, example.sources(), document=SETTINGS)

    (state,) = named(report, "SCORE-STATE")
    assert state.ConceptCodeSequence[0].CodeMeaning.startswith("Not computed: ")
    assert any(
        text.startswith(f"Score not computed, because {reason.explanation} (5.0 mm)")
        for text in comments(report)
    )
    assert named(report, "SCORE-DEMO") == []


def test_a_finding_site_stands_only_where_it_was_stated(example):
    stated = findings_report(example.assessment(), example.sources(), document=SETTINGS)
    unstated = findings_report(example.assessment(site=None), example.sources(), document=SETTINGS)

    assert {item.RelationshipType for item in named(stated, "363698007")} == {"HAS CONCEPT MOD"}
    assert named(unstated, "363698007") == []


@pytest.mark.parametrize(
    "site",
    [
        Code(value="", scheme="SCT", meaning="Liver"),
        Code(value="10200004", scheme=" ", meaning="Liver"),
        Code(value="10200004", scheme="SCT", meaning=""),
        Code(value="10200004", scheme="S" * 17, meaning="Liver"),
    ],
)
def test_a_finding_site_that_is_no_whole_code_is_passed_over(example, site):
    assessment = example.assessment(site=site, from_rtstruct=True)
    segmentation = lesion_segmentation(assessment, example.sources(), example.masks(), document=SETTINGS)

    reports = [
        build(assessment, example.sources(), segmentation, document=SETTINGS)
        for build in (findings_report, radiomics_report)
    ]

    assert all(named(report, "363698007") == [] for report in reports)
    assert all(template_problems(report) == [] for report in reports)
    assert "AnatomicRegionSequence" not in segmentation.SegmentSequence[0]


def test_a_lesion_is_drawn_as_its_outline_on_the_key_slice(example):
    assessment = example.assessment()

    report = read_back(findings_report(assessment, example.sources(), document=SETTINGS))

    for region, lesion in zip(named(report, "111030"), assessment.lesions, strict=True):
        drawn = [tuple(corner) for corner in np.reshape(region.GraphicData, (-1, 2)).tolist()]
        assert region.GraphicType == "POLYLINE"
        assert drawn == [*lesion.planar.outline, lesion.planar.outline[0]]
        assert len(drawn) > 6


def test_a_lesion_whose_outline_was_not_kept_is_drawn_through_the_ends_of_its_axes(example):
    assessment = example.assessment()
    lesions = tuple(
        replace(lesion, planar=replace(lesion.planar, outline=())) for lesion in assessment.lesions
    )

    report = findings_report(replace(assessment, lesions=lesions), example.sources(), document=SETTINGS)

    drawn = np.reshape(named(report, "111030")[0].GraphicData, (-1, 2)).tolist()
    assert drawn == [[10.5, 20.5], [22.5, 12.5], [34.5, 20.5], [22.5, 28.5], [10.5, 20.5]]


def evidence(report):
    """Series Instance UID by SOP Instance UID."""
    return {
        instance.ReferencedSOPInstanceUID: series.SeriesInstanceUID
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    }


def of_two_segmentations(example):
    """The example's assessment with its second lesion from a SEG in a series of its own."""
    assessment = example.assessment()
    first, second = assessment.lesions
    source = replace(
        second.source,
        sop_instance_uid=example.uid("second outline"),
        series_instance_uid=example.uid("second outline series"),
    )
    return replace(assessment, lesions=(first, replace(second, source=source)))


@pytest.mark.parametrize("build", [findings_report, radiomics_report])
def test_outlines_of_two_series_stand_in_the_evidence_each_under_its_own(example, build):
    report = build(of_two_segmentations(example), example.sources(), document=SETTINGS)

    listed = evidence(report)
    assert listed[example.uid("outline")] == example.uid("outline series")
    assert listed[example.uid("second outline")] == example.uid("second outline series")


def test_an_outline_from_before_its_series_was_kept_stands_under_the_one_that_was(example):
    assessment = example.assessment()
    lesions = tuple(
        replace(lesion, source=replace(lesion.source, series_instance_uid=""))
        for lesion in assessment.lesions
    )

    report = findings_report(replace(assessment, lesions=lesions), example.sources(), document=SETTINGS)

    assert evidence(report)[example.uid("outline")] == example.uid("outline series")


def test_the_gate_finds_an_instance_under_the_series_of_another(example):
    report = findings_report(of_two_segmentations(example), example.sources(), document=SETTINGS)
    right = evidence(report)
    wrong = right | {example.uid("second outline"): example.uid("outline series")}

    assert template_problems(report, series_of=right) == []
    assert template_problems(report, series_of=wrong) == [
        "an instance stands in the evidence under a series that is not its own"
    ]


def test_free_text_of_a_received_outline_goes_nowhere(example):
    assessment = example.assessment(from_rtstruct=True)
    segmentation = lesion_segmentation(assessment, example.sources(), example.masks(), document=SETTINGS)

    written = [
        as_bytes(segmentation),
        as_bytes(findings_report(assessment, example.sources(), segmentation, document=SETTINGS)),
        as_bytes(radiomics_report(assessment, example.sources(), segmentation, document=SETTINGS)),
    ]

    assert not any(b"Mr Label" in each for each in written)


def test_every_feature_stands_with_its_exact_value_code_and_unit(example):
    assessment = example.assessment()

    report = read_back(radiomics_report(assessment, example.sources(), document=SETTINGS))

    for group, lesion in zip(groups(report), assessment.lesions, strict=True):
        measured = [item for item in group.ContentSequence if item.ValueType == "NUM"][1:]
        assert len(measured) == len(FEATURE_NAMES) > 80
        for item, name, value in zip(measured, FEATURE_NAMES, lesion.features.values, strict=True):
            known = definition(name, Modality.CT)
            code = item.ConceptNameCodeSequence[0]
            number = item.MeasuredValueSequence[0]
            assert number.FloatingPointValue == value
            assert float(number.NumericValue) == pytest.approx(value, rel=1e-7)
            assert number.MeasurementUnitsCodeSequence[0].CodeValue == known.unit
            if known.ibsi_code is None:
                assert code.CodingSchemeDesignator == "99HCCCDS"
                assert item.ContentSequence[0].TextValue.startswith(name)
            else:
                assert (code.CodeValue, code.CodingSchemeDesignator) == (known.ibsi_code, "IBSI")


def test_private_feature_codes_are_short_and_differ(example):
    names = [f"wavelet-{band}_{name}" for band in ("LLH", "HHH") for name in FEATURE_NAMES]

    values = {codes.feature(name, "a title " * 20, None).CodeValue for name in names}

    assert len(values) == len(names)
    assert max(map(len, values)) <= 16


def test_a_lesion_that_came_as_seg_refers_to_the_received_segment(example):
    report = radiomics_report(example.assessment(), example.sources(), document=SETTINGS)

    referenced = [item.ReferencedSOPSequence[0] for item in named(report, "121191")]
    assert [item.ReferencedSOPInstanceUID for item in referenced] == [example.uid("outline")] * 2
    assert [item.ReferencedSegmentNumber for item in referenced] == [3, 4]
    assert [item.UID for item in named(report, "121232")] == [example.uid("series")] * 2


def test_a_lesion_that_came_as_rtstruct_refers_to_our_segment(example):
    assessment = example.assessment(from_rtstruct=True)
    segmentation = lesion_segmentation(assessment, example.sources(), example.masks(), document=SETTINGS)

    report = radiomics_report(assessment, example.sources(), segmentation, document=SETTINGS)

    referenced = [item.ReferencedSOPSequence[0] for item in named(report, "121191")]
    assert {item.ReferencedSOPInstanceUID for item in referenced} == {segmentation.SOPInstanceUID}
    assert [item.ReferencedSegmentNumber for item in referenced] == [1, 2]
    with pytest.raises(ValueError, match="SEG"):
        radiomics_report(assessment, example.sources(), document=SETTINGS)


def test_the_segmentation_holds_the_measured_voxels_under_the_same_tracking_uids(example):
    assessment = example.assessment(from_rtstruct=True)

    segmentation = lesion_segmentation(assessment, example.sources(), example.masks(), document=SETTINGS)

    written = Segmentation.from_dataset(read_back(segmentation))
    pixels = written.get_pixels_by_source_instance(
        [image.sop_instance_uid for image in assessment.series.images],
        ignore_spatial_locations=True,
        assert_missing_frames_are_empty=True,
    )
    assert written.SegmentationType == "BINARY"
    for index, mask in enumerate(example.masks()):
        np.testing.assert_array_equal(pixels[..., index].astype(bool), mask)
    assert [item.TrackingUID for item in written.SegmentSequence] == [
        lesion.tracking_uid for lesion in assessment.lesions
    ]


@pytest.mark.parametrize(
    ("stated", "written", "name"),
    [
        ("MANUAL", "MANUAL", None),
        ("AUTOMATIC", "AUTOMATIC", "RTSTRUCT contours, filled"),
        ("", "SEMIAUTOMATIC", "RTSTRUCT contours of unstated origin, filled"),
    ],
)
def test_a_segment_says_truly_who_drew_it(example, stated, written, name):
    assessment = example.assessment(from_rtstruct=True)
    lesions = tuple(
        replace(lesion, source=replace(lesion.source, algorithm_type=stated)) for lesion in assessment.lesions
    )

    segmentation = lesion_segmentation(
        replace(assessment, lesions=lesions), example.sources(), example.masks(), document=SETTINGS
    )

    segment = segmentation.SegmentSequence[0]
    assert segment.SegmentAlgorithmType == written
    assert segment.get("SegmentAlgorithmName") == name


def test_masks_of_another_grid_are_refused(example):
    assessment = example.assessment(from_rtstruct=True)

    with pytest.raises(ValueError, match="grid"):
        lesion_segmentation(
            assessment, example.sources(), [m[:, :-1] for m in example.masks()], document=SETTINGS
        )
    with pytest.raises(ValueError, match="order"):
        lesion_segmentation(assessment, example.sources()[::-1], example.masks(), document=SETTINGS)


def with_header(example, **attributes):
    """Return the example's sources with other attributes, as read from a file; None takes one away."""
    sources = example.sources()
    first = sources[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for keyword, value in attributes.items():
            if value is None:
                del first[keyword]
            else:
                setattr(first, keyword, value)
        buffer = io.BytesIO()
        first.save_as(buffer, implicit_vr=False, little_endian=True)
        buffer.seek(0)
        first = dcmread(buffer, force=True)
        first.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return [first, *sources[1:]]


def test_a_name_in_another_character_set_is_written_in_utf_8(example):
    sources = with_header(
        example,
        SpecificCharacterSet=["", "ISO 2022 IR 87"],
        PatientName="Yamada^Tarou=山田^太郎=やまだ^たろう",
        StudyDescription="肝臓",
    )

    report = read_back(findings_report(example.assessment(), sources, document=SETTINGS))

    assert report.SpecificCharacterSet == "ISO_IR 192"
    assert str(report.PatientName) == "Yamada^Tarou=山田^太郎=やまだ^たろう"
    assert report.StudyDescription == "肝臓"


def test_text_inside_sequences_is_written_in_utf_8_too(example):
    other = Dataset()
    other.PatientID = "Nº 7 Ä"
    other.TypeOfPatientID = "TEXT"
    sources = with_header(example, OtherPatientIDsSequence=[other])

    report = read_back(findings_report(example.assessment(), sources, document=SETTINGS))

    assert report.OtherPatientIDsSequence[0].PatientID == "Nº 7 Ä"


def test_missing_patient_and_study_attributes_are_written_empty(example):
    keywords = (
        "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
        "AccessionNumber", "ReferringPhysicianName", "StudyDescription", "IssuerOfPatientID",
    )  # fmt: skip
    sources = with_header(example, **dict.fromkeys(keywords))

    report = read_back(findings_report(example.assessment(), sources, document=SETTINGS))

    assert report.PatientID == "P-0001"
    assert {keyword for keyword in keywords if keyword in report} == set(keywords[:8])
    assert not any(report[keyword].value for keyword in keywords[:8])


@pytest.mark.parametrize("missing", [None, ""])
def test_a_patient_whom_only_another_object_of_the_study_names_stands_in_the_report(example, missing):
    sources = with_header(example, PatientID=missing, IssuerOfPatientID=None)

    report = read_back(findings_report(example.assessment(), sources, document=SETTINGS))

    assert (report.PatientID, report.IssuerOfPatientID) == ("P-0001", "TEST")


def test_the_issuer_of_a_patient_id_is_not_added_where_the_images_have_none(example):
    report = findings_report(
        example.assessment(), with_header(example, IssuerOfPatientID=None), document=SETTINGS
    )

    assert report.PatientID == "P-0001"
    assert "IssuerOfPatientID" not in report


@pytest.mark.parametrize(
    ("keyword", "odd", "written"),
    [
        ("PatientName", "MUSTERMANN", "MUSTERMANN"),
        ("PatientSex", "U", ""),
        ("PatientBirthDate", "12/31/1960", ""),
        ("StudyTime", "half past", ""),
        ("AccessionNumber", "A" * 30, ""),
        ("ReferringPhysicianName", "Weiß^Jürgen", "Weiß^Jürgen"),
    ],
)
def test_an_odd_attribute_neither_stops_the_report_nor_makes_it_invalid(example, keyword, odd, written):
    sources = with_header(example, **{keyword: odd})

    report = findings_report(example.assessment(), sources, document=SETTINGS)

    assert str(read_back(report)[keyword].value or "") == written


def test_a_patient_id_is_never_changed(example):
    long_id = "Ä" * 70
    assessment = example.assessment()
    patient = replace(assessment.study.patient, key=PatientKey(patient_id=long_id, issuer="TEST"))
    assessment = replace(assessment, study=replace(assessment.study, patient=patient))

    report = findings_report(assessment, with_header(example, PatientID=long_id), document=SETTINGS)

    assert report.PatientID == long_id


@pytest.mark.parametrize(("keyword", "other"), [("PatientID", "P-0002"), ("StudyInstanceUID", "1.2.3")])
def test_images_of_another_patient_or_study_are_refused(example, keyword, other):
    sources = with_header(example, **{keyword: other})

    with pytest.raises(ValueError, match="are of another"):
        findings_report(example.assessment(), sources, document=SETTINGS)


def test_mr_is_reported_as_mr(example):
    assessment = example.assessment()
    assessment = replace(assessment, series=replace(assessment.series, modality=Modality.MR))

    report = radiomics_report(assessment, example.sources(), document=SETTINGS)

    (procedure,) = named(report, "121058")
    (modality,) = named(report, "121139")
    units = {
        item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue
        for item in items(report)
        if item.ValueType == "NUM"
    }
    assert procedure.ConceptCodeSequence[0].CodeMeaning == "MRI unspecified body region"
    assert modality.ConceptCodeSequence[0].CodeValue == "MR"
    assert "[hnsf'U]" not in units


def test_frames_of_an_enhanced_image_are_referenced_by_number(example):
    assessment = example.assessment()
    frames = tuple(
        ImageReference(
            sop_class_uid=EnhancedCTImageStorage,
            sop_instance_uid=example.uid("enhanced"),
            frame_number=number,
        )
        for number in range(1, 13)
    )
    lesions = tuple(
        replace(lesion, planar=replace(lesion.planar, image=frames[lesion.number + 4]))
        for lesion in assessment.lesions
    )
    assessment = replace(assessment, series=replace(assessment.series, images=frames), lesions=lesions)

    report = findings_report(assessment, example.sources(), document=SETTINGS)

    regions = [item.ContentSequence[0].ReferencedSOPSequence[0] for item in named(report, "111030")]
    (series,) = (
        series
        for series in report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
        if series.SeriesInstanceUID == example.uid("series")
    )
    assert [region.ReferencedFrameNumber for region in regions] == [6, 7]
    assert [each.ReferencedSOPInstanceUID for each in series.ReferencedSOPSequence] == [
        example.uid("enhanced")
    ]
    assert template_problems(report) == []


def test_the_marks_of_a_de_identified_study_are_kept(example):
    sources = with_header(example, PatientIdentityRemoved="YES", DeidentificationMethod="site profile 3")

    report = findings_report(example.assessment(), sources, document=SETTINGS)

    assert (report.PatientIdentityRemoved, report.DeidentificationMethod) == ("YES", "site profile 3")


def test_dates_are_of_the_assessment_in_universal_time_where_the_study_states_no_zone(example):
    report = findings_report(example.assessment(), example.sources(), document=SETTINGS)

    assert (report.ContentDate, report.ContentTime) == ("20260301", "123015.250000")


@pytest.mark.parametrize(
    ("offset", "day", "time"),
    [
        ("+1300", "20260302", "013015.250000"),
        ("-1300", "20260228", "233015.250000"),
        ("-0330", "20260301", "090015.250000"),
        ("+0545", "20260301", "181515.250000"),
    ],
)
def test_dates_are_of_the_assessment_in_the_time_zone_of_the_study(example, offset, day, time):
    report = findings_report(
        example.assessment(), with_header(example, TimezoneOffsetFromUTC=offset), document=SETTINGS
    )

    assert (report.ContentDate, report.ContentTime) == (day, time)
    assert report.TimezoneOffsetFromUTC == offset


def first_group(report):
    return groups(report)[0]


def without(value):
    def broken(report):
        group = first_group(report)
        group.ContentSequence = [
            item for item in group.ContentSequence if item.ConceptNameCodeSequence[0].CodeValue != value
        ]

    return broken


def no_evidence(report):
    del report.CurrentRequestedProcedureEvidenceSequence


def listed_twice(report):
    study = report.CurrentRequestedProcedureEvidenceSequence[0]
    first, second = study.ReferencedSeriesSequence
    second.ReferencedSOPSequence.append(first.ReferencedSOPSequence[0])


def other_unit(report):
    named(report, "118565006")[0].MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue = "vox"


def no_number(report):
    named(report, "118565006")[0].MeasuredValueSequence[0].FloatingPointValue = float("nan")


def site_as_content(report):
    named(report, "363698007")[0].RelationshipType = "CONTAINS"


def shared_tracking_uid(report):
    uids = named(report, "112040")
    uids[1].UID = uids[0].UID


def axis_without_line(report):
    del named(report, "103339001")[0].ContentSequence


def nameless_item(report):
    del first_group(report).ContentSequence[2].ConceptNameCodeSequence


def title_of_a_list(report):
    report.ConceptNameCodeSequence[0].CodeValue = "126001"


def verified(report):
    report.VerificationFlag = "VERIFIED"


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        (without("112039"), "Tracking Identifier"),
        (without("112040"), "Tracking Unique Identifier"),
        (without("111030"), "neither or both"),
        (no_evidence, "missing from the evidence"),
        (listed_twice, "stands twice in the evidence"),
        (other_unit, "no UCUM unit"),
        (no_number, "no finite value"),
        (site_as_content, "Finding Site"),
        (shared_tracking_uid, "share a Tracking Unique Identifier"),
        (axis_without_line, "no coordinates of its own"),
        (nameless_item, "no concept name"),
        (title_of_a_list, "the root is not (126000, DCM)"),
        (verified, "UNVERIFIED"),
    ],
)
def test_the_template_check_finds_each_broken_rule(example, broken, problem):
    report = read_back(findings_report(example.assessment(), example.sources(), document=SETTINGS))
    assert template_problems(report) == []

    broken(report)

    assert any(problem in each for each in template_problems(report))


def test_the_template_check_survives_an_empty_data_set():
    assert "no Measurement Group (125007, DCM)" in template_problems(Dataset())
