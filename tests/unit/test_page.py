# SPDX-License-Identifier: Apache-2.0
"""The tumour board's page: what stands on it, that it stays one, and that it may leave."""

import io
import runpy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import EncapsulatedPDFStorage
from pypdf import PdfReader

from dicom_listener.reports import ReportSettings, check_conformance, findings_report
from dicom_listener.reports.encapsulated import encapsulated_page
from dicom_listener.reports.picture import key_slice
from dicom_listener.reports.sheet import MARGIN, TOP, WIDTH, printable, wrapped
from model.domain import Modality, ModelStatus, NotComputed, NotComputedReason
from model.errors import ReportNotConformant

SETTINGS = ReportSettings()
WITHHELD = NotComputed(reason=NotComputedReason.OUTSIDE_REFERENCE)


@pytest.fixture(scope="module")
def example(request):
    script = Path(request.config.rootpath) / "tests" / "data" / "report_example.py"
    return SimpleNamespace(**runpy.run_path(str(script)))


@pytest.fixture
def picture(example):
    return key_slice(values(example), Modality.CT)


def values(example):
    return np.random.default_rng(3).normal(60.0, 60.0, example.SHAPE[1:]).astype(np.float32)


def pdf(page):
    written = page.EncapsulatedDocument[: page.EncapsulatedDocumentLength]
    assert set(page.EncapsulatedDocument[len(written) :]) <= {0}
    return PdfReader(io.BytesIO(written), strict=True)


def words(page):
    """All text of the only page, with single spaces."""
    (only,) = pdf(page).pages
    return " ".join(only.extract_text().split())


def pieces(page):
    """Each text with its left end and its height on the page."""
    found = []

    def visit(text, _matrix, text_matrix, _font, _size):
        if text.strip():
            found.append((text.strip(), text_matrix[4], text_matrix[5]))

    pdf(page).pages[0].extract_text(visitor_text=visit)
    return found


def comments(report):
    for item in report.ContentSequence:
        if item.ConceptNameCodeSequence[0].CodeValue == "C0034375":
            return [each.TextValue for each in item.ContentSequence if each.ValueType == "TEXT"]
    raise AssertionError("no statements")


def crowded(example, count=60):
    """As much of everything as there may be."""
    first = example.assessment(status=ModelStatus.RESEARCH)
    lesions = tuple(
        replace(
            first.index_lesion,
            number=number,
            tracking_uid=example.uid("crowd", str(number)),
            volume_mm3=90_000.0 / number,
        )
        for number in range(1, count + 1)
    )
    model = replace(first.model, name="model " * 60, higher_means="a long explanation " * 60)
    notes = tuple(f"something is odd about acquisition {number}" for number in range(40))
    return replace(first, lesions=lesions, model=model, notes=notes)


@pytest.mark.parametrize("status", [ModelStatus.DEMONSTRATION, ModelStatus.RESEARCH])
@pytest.mark.parametrize("withheld", [False, True])
def test_the_page_says_what_the_findings_report_says(example, picture, status, withheld):
    assessment = example.assessment(status=status, **({"score": WITHHELD} if withheld else {}))
    report = findings_report(assessment, example.sources(), document=SETTINGS)

    said = words(encapsulated_page(assessment, example.sources(), picture=picture, document=SETTINGS))

    for comment in comments(report):
        assert comment in said
    assert said.startswith("PRELIMINARY, UNVERIFIED Revision 1")
    for expected in (
        "NOT FOR CLINICAL USE",
        "Phantom, Liver",
        "P-0001 (issuer TEST)",
        "1960-01-02, F",
        "2026-03-01, CT LIVER",
        "Lesion 1 (index) 18.0 12.0 1.70 Liver",
        "Lesion 2 7.5 6.0 0.85 Liver",
        "b" * 64,
        "software 0.1.0",
        "shown -110 to 190 HU",
    ):
        assert expected in said
    assert "HCC of Mr Label" not in said, "labels of received outlines are never copied"


def test_a_score_that_is_withheld_leaves_no_number(example, picture):
    shown = example.assessment(status=ModelStatus.RESEARCH)
    withheld = replace(shown, score=WITHHELD)

    with_score, without = (
        words(encapsulated_page(each, example.sources(), picture=picture, document=SETTINGS))
        for each in (shown, withheld)
    )

    for number in ("0.714", "0.580", "0.830", "percentile", "Conformal"):
        assert number in with_score
        assert number not in without
    assert "not computed, because the lesion lies outside the model's reference cohort" in without


def test_state_and_revision_are_told(example, picture):
    first, second = example.assessment(), example.assessment(revision=2)
    final = ReportSettings(preliminary=False)
    replaced = encapsulated_page(first, example.sources(), picture=picture, document=final)

    page = encapsulated_page(second, example.sources(), picture=picture, document=final, predecessor=first)

    assert words(page).startswith("FINAL, UNVERIFIED Revision 2, replaces revision 1")
    (study,) = page.PredecessorDocumentsSequence
    (series,) = study.ReferencedSeriesSequence
    (earlier,) = series.ReferencedSOPSequence
    assert study.StudyInstanceUID == replaced.StudyInstanceUID
    assert series.SeriesInstanceUID == replaced.SeriesInstanceUID
    assert earlier.ReferencedSOPInstanceUID == replaced.SOPInstanceUID != page.SOPInstanceUID
    assert earlier.ReferencedSOPClassUID == EncapsulatedPDFStorage


def test_sixty_lesions_fit_and_those_left_out_are_counted(example, picture):
    assessment = replace(crowded(example), notes=())

    said = words(encapsulated_page(assessment, example.sources(), picture=picture, document=SETTINGS))

    shown = [number for number in range(1, 61) if f" Lesion {number} " in said.split("Place")[1]]
    assert shown == list(range(1, len(shown) + 1))
    assert f"and {60 - len(shown)} more in the structured report" in said
    assert len(shown) >= 20


@pytest.mark.parametrize("score", ["a score", None])
def test_however_much_there_is_to_say_nothing_overlaps_and_ten_lesions_fit(example, picture, score):
    assessment = crowded(example)
    if score is None:
        assessment = replace(assessment, score=replace(WITHHELD, detail="a detail " * 200))
    sources = example.sources()
    sources[0].PatientName = "W" * 30 + "^" + "W" * 33
    sources[0].StudyDescription = "W" * 64

    page = encapsulated_page(assessment, sources, picture=picture, document=SETTINGS)

    placed = pieces(page)
    assert all(MARGIN <= left <= MARGIN + WIDTH and MARGIN <= height <= TOP for _, left, height in placed)
    heights = {text: height for text, _, height in placed}
    beside = next(left for text, left, _ in placed if text.startswith("State of the score"))
    (more,) = (text for text in heights if text.startswith("and "))
    assert 60 - int(more.split()[1]) >= 10
    lowest_statement = min(height for _, left, height in placed if left == beside)
    quality = next(height for text, height in heights.items() if text.startswith("Image quality"))
    assert lowest_statement > heights["Lesion 1 (index)"] > heights["Lesion 10"] > heights[more] > quality + 8
    # Baselines of one column are a line of the smallest letters apart at least.
    column = sorted(height for _, left, height in placed if abs(left - MARGIN) < 1)
    assert min(np.diff(column)) > 7


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Müller-Şahin^Jürgen^Émile^Dr.", "Müller-Şahin, Jürgen Émile Dr."),
        ("Dvořák^Jiří", "Dvorák, Jirí"),
        ("Dvor\u030ca\u0301k^Jir\u030ci\u0301", "Dvorák, Jirí"),
        ("Иванов^Пётр", "??????, ????"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada, Tarou"),
        ("=山田^太郎", "not stated"),
        ("Only one part", "Only one part"),
        ("<b>&amp;(^%s)", "<b>&amp;(, %s)"),
        ("", "not stated"),
        (None, "not stated"),
    ],
)
def test_any_name_is_written_and_the_header_keeps_it(example, picture, name, shown):
    sources = example.sources()
    sources[0].SpecificCharacterSet = "ISO_IR 192"
    sources[0].PatientName = name

    page = encapsulated_page(example.assessment(), sources, picture=picture, document=SETTINGS)

    assert f"Patient {shown} Patient ID" in words(page)
    assert str(page.PatientName or "") == (name or "")


def test_a_long_name_is_whole(example, picture):
    sources = example.sources()
    sources[0].PatientName = "W" * 63 + "A"

    said = words(encapsulated_page(example.assessment(), sources, picture=picture, document=SETTINGS))

    assert "W" * 63 + "A" in said.replace(" ", "")


def test_lines_hold_all_words_and_part_those_that_are_too_long():
    lines = wrapped(f"one two {'x' * 300} three", length=200.0, size=8.0)

    assert "".join(lines).replace(" ", "") == f"onetwo{'x' * 300}three"
    assert len(lines) > 6
    assert wrapped("  ", length=200.0, size=8.0) == []
    assert printable("a\x00b\u200bc") == "a?b?c"


def test_the_file_tells_nobody_of_the_patient_but_on_the_page(example, picture):
    page = encapsulated_page(example.assessment(), example.sources(), picture=picture, document=SETTINGS)

    metadata = pdf(page).metadata

    assert metadata.title == "Liver lesions measured for the tumour board"
    assert not any("Phantom" in str(each) or "P-0001" in str(each) for each in metadata.values())
    assert metadata.creation_date.year == 2000, "not the clock's"
    fonts = pdf(page).pages[0]["/Resources"]["/Font"].values()
    assert all("/FontFile2" in each.get_object()["/FontDescriptor"] for each in fonts), "embedded"


def test_the_key_slice_is_on_the_page(example, picture):
    page = encapsulated_page(example.assessment(), example.sources(), picture=picture, document=SETTINGS)

    (image,) = pdf(page).pages[0].images

    assert np.array_equal(np.asarray(image.image.convert("L")), picture.grey)


@pytest.mark.parametrize(
    ("modality", "shades"),
    [
        (Modality.CT, [0, 0, 128, 255, 255]),
        # Percentiles 1 and 99 of these five are -940 and 2868.
        (Modality.MR, [0, 58, 66, 74, 255]),
    ],
)
def test_a_slice_is_shown_in_its_window(modality, shades):
    slice_values = np.array([[-1000.0, -110.0, 40.5, 190.0, 3000.0]], dtype=np.float32)

    shown = key_slice(slice_values, modality)

    assert shown.grey.tolist()[0] == pytest.approx(shades, abs=4)
    assert shown.grey.dtype == np.uint8


def test_a_slice_without_contrast_is_black():
    assert not key_slice(np.full((4, 4), 7.0, dtype=np.float32), Modality.MR).grey.any()


def test_the_page_passes_the_gate_and_the_gate_reads_it(example, picture, tmp_path):
    page = encapsulated_page(
        example.assessment(revision=2),
        example.sources(),
        picture=picture,
        document=SETTINGS,
        predecessor=example.assessment(),
    )
    sound, spoiled = tmp_path / "sound.dcm", tmp_path / "spoiled.dcm"
    page.save_as(sound, enforce_file_format=True)
    del page.MIMETypeOfEncapsulatedDocument
    page.save_as(spoiled, enforce_file_format=True)

    check_conformance(sound)
    with pytest.raises(ReportNotConformant, match="MIMETypeOfEncapsulatedDocument"):
        check_conformance(spoiled)

    read = dcmread(sound)
    assert read.BurnedInAnnotation == "YES"
    assert (read.SeriesNumber, read.Modality) == (9104, "DOC")
    assert read.SeriesDescription.startswith("RESEARCH - DEMONSTRATION")
    assert read.PatientName == "Phantom^Liver"
    assert {each.ReferencedSOPInstanceUID for each in read.SourceInstanceSequence} == {
        *(lesion.planar.image.sop_instance_uid for lesion in example.assessment().lesions),
        *(lesion.source.sop_instance_uid for lesion in example.assessment().lesions),
    }
