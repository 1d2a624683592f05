# SPDX-License-Identifier: Apache-2.0
"""The tumour board's one page: whose it is, what was measured, what is said of it and what it is not.

Its sentences are those of SR-A. It never has a second page: what does not fit is left to the
structured report, and the page says so.
"""

from __future__ import annotations

from pydicom.dataset import Dataset

from dicom_listener.attributes import text
from dicom_listener.reports import codes, content
from dicom_listener.reports.document import ReportSettings
from dicom_listener.reports.findings import region
from dicom_listener.reports.picture import KeySlice
from dicom_listener.reports.sheet import LEADING, MARGIN, TOP, WIDTH, Sheet, clipped, wrapped
from model.domain import Assessment, Axis, MeasuredLesion, Score
from model.wording import score_term

TITLE = "Liver lesions measured for the tumour board"
"""Document Title (0042,0010)."""

_SIZE, _SMALL = 8.5, 7.0
_ROW = _SIZE * LEADING + 1.5
_PICTURE = 215.0
_GAP = 12.0
_LABEL_LINES, _SCORE_LINES, _NOTE_LINES = 4, 15, 8
"""So many at most, whatever a model or a study says of itself: at least ten lesions always fit."""

_COLUMNS = (
    ("Lesion", 0.0, 110.0),
    ("Long axis, mm", 110.0, 85.0),
    ("Short axis, mm", 195.0, 85.0),
    ("Volume, mL", 280.0, 85.0),
    ("Place", 365.0, WIDTH - 365.0),
)
"""Title, left end and width."""

_OUTLINE, _AXES = (1.0, 0.85, 0.0), (0.2, 0.9, 1.0)


def tumour_board_page(
    assessment: Assessment, header: Dataset, picture: KeySlice, *, document: ReportSettings
) -> bytes:
    """Return the page as PDF, the same bytes on every retry.

    Parameters
    ----------
    header
        The DICOM object that the page is for: patient and study stand on it as they stand there.
    picture
        The key slice of the index lesion.

    Notes
    -----
    What the font lacks is written without its accents or as `?`, see `sheet.printable`; the header of the
    object has the name as it is.
    """
    sheet = Sheet(title=TITLE, author=document.manufacturer)
    top = _head(sheet, assessment, document)
    top = _patient(sheet, header, top)
    top = _picture_and_score(sheet, assessment, picture, top)
    bottom = _foot(sheet, assessment, header, document)
    bottom = _notes(sheet, assessment, bottom)
    _lesions(sheet, assessment, top, bottom)
    return sheet.content()


def _head(sheet: Sheet, assessment: Assessment, document: ReportSettings) -> float:
    """Write what the page is and what it must not be taken for."""
    replaced = assessment.predecessor_revision
    state = f"{'PRELIMINARY' if document.preliminary else 'FINAL'}, UNVERIFIED"
    revision = f"Revision {assessment.revision}" + (
        "" if replaced is None else f", replaces revision {replaced}"
    )
    right = MARGIN + WIDTH
    sheet.text_to(right, state, top=TOP, size=_SIZE, bold=True)
    sheet.text_to(right, revision, top=TOP - _SIZE * LEADING, size=_SMALL)
    top = sheet.text([TITLE], left=MARGIN, top=TOP, size=13.0, bold=True) - 8.0
    label = _limited(content.badge(assessment), WIDTH - 12.0, _LABEL_LINES)
    height = (len(label) + 2) * _SIZE * LEADING + 8.0
    sheet.frame(left=MARGIN, top=top, length=WIDTH, height=height)
    inner = sheet.text(["NOT FOR CLINICAL USE"], left=MARGIN + 6.0, top=top - 3.0, size=_SIZE, bold=True)
    sheet.text([content.NOT_FOR_DIAGNOSIS, *label], left=MARGIN + 6.0, top=inner, size=_SIZE)
    return top - height - _GAP / 2


def _patient(sheet: Sheet, header: Dataset, top: float) -> float:
    """Write patient and study as the header of the object has them."""
    issuer = text(header, "IssuerOfPatientID")
    rows = (
        ("Patient", _name(header)),
        ("Patient ID", text(header, "PatientID") + (f" (issuer {issuer})" if issuer else "")),
        (
            "Born, sex",
            ", ".join((_day(header, "PatientBirthDate"), text(header, "PatientSex") or "not stated")),
        ),
        (
            "Study",
            ", ".join(each for each in (_day(header, "StudyDate"), text(header, "StudyDescription")) if each),
        ),
        ("Accession number", text(header, "AccessionNumber") or "not stated"),
    )
    for title, value in rows:
        sheet.text([title], left=MARGIN, top=top, size=_SIZE)
        # Wrapped and not cut short: by the end of a name or number people are told apart.
        lines = _limited(value, WIDTH - 110.0, 2) or ["not stated"]
        top = sheet.text(lines, left=MARGIN + 110.0, top=top, size=_SIZE)
    return top - _GAP


def _name(header: Dataset) -> str:
    """Return the alphabetic name as `family, given middle`, or as it stands where it has no parts."""
    name = header.get("PatientName")
    if not name:
        return "not stated"
    # The first of three ways to write it (PS3.5 6.2.1.2).
    alphabetic = str(name).split("=")[0]
    family, _, others = alphabetic.partition("^")
    given = " ".join(each for each in others.split("^") if each)
    return ", ".join(each for each in (family.strip(), given.strip()) if each) or "not stated"


def _day(header: Dataset, keyword: str) -> str:
    day = text(header, keyword)
    if not day:
        return "not stated"
    return f"{day[:4]}-{day[4:6]}-{day[6:]}" if len(day) == 8 and day.isdigit() else day


def _picture_and_score(sheet: Sheet, assessment: Assessment, picture: KeySlice, top: float) -> float:
    """Draw the key slice; beside it write the score, or why there is none."""
    below = _key_slice(sheet, assessment, picture, top)
    left = MARGIN + _PICTURE + _GAP
    length = MARGIN + WIDTH - left
    # As in SR-A: by its code's meaning, which says of a demonstration that it has no clinical meaning.
    heading = (
        score_term(assessment.model.status)[1]
        if isinstance(assessment.score, Score)
        else "Score not computed"
    )
    beside = top
    for line in wrapped(heading, length=length * 0.85, size=_SIZE):
        beside = sheet.text([line], left=left, top=beside, size=_SIZE, bold=True)
    said = _limited(" ".join(content.score_comments(assessment)), length, _SCORE_LINES)
    beside = sheet.text(said, left=left, top=beside - 2.0, size=_SIZE) - 4.0
    for question, answer in content.evaluations(assessment):
        # Meanings of codes have 64 characters at most: two lines each, and the last one's end is known.
        statement = f"{question.meaning}: {answer.meaning}"
        beside = sheet.text(
            wrapped(statement, length=length, size=_SMALL), left=left, top=beside, size=_SMALL
        )
    return min(below, beside) - _GAP


def _key_slice(sheet: Sheet, assessment: Assessment, picture: KeySlice, top: float) -> float:
    rows, columns = picture.grey.shape
    x_mm, y_mm, _ = assessment.series.spacing_mm
    scale = _PICTURE / max(columns * x_mm, rows * y_mm)
    length, height = columns * x_mm * scale, rows * y_mm * scale
    sheet.image(picture.grey, left=MARGIN, top=top, length=length, height=height)

    def placed(column: float, row: float) -> tuple[float, float]:
        return MARGIN + column * x_mm * scale, top - row * y_mm * scale

    planar = assessment.index_lesion.planar
    for axis in (planar.long_axis, planar.short_axis):
        sheet.lines([placed(*end) for end in _ends(axis)], colour=_AXES)
    sheet.lines([placed(float(column), float(row)) for column, row in region(planar)], colour=_OUTLINE)
    caption = (
        f"{assessment.index_lesion.tracking_identifier}, slice of its largest area, outline and axes. "
        f"{assessment.series.modality.value}, shown {picture.window}."
    )
    return sheet.text(
        wrapped(caption, length=_PICTURE, size=_SMALL), left=MARGIN, top=top - height - 1.0, size=_SMALL
    )


def _ends(axis: Axis) -> tuple[tuple[float, float], tuple[float, float]]:
    return axis.start, axis.end


def _lesions(sheet: Sheet, assessment: Assessment, top: float, bottom: float) -> None:
    """Write the table of lesions between `top` and `bottom`, the largest first."""
    for line in wrapped(content.lesions_sentence(assessment), length=WIDTH, size=_SIZE):
        top = sheet.text([line], left=MARGIN, top=top, size=_SIZE)
    top -= 3.0
    _row(sheet, tuple(title for title, _, _ in _COLUMNS), top, bold=True)
    top -= _ROW
    sheet.rule(top)
    space = int((top - bottom) / _ROW)
    lesions = assessment.lesions
    shown = lesions if len(lesions) <= space else lesions[: space - 1]
    for lesion in shown:
        _row(sheet, _cells(lesion, assessment), top)
        top -= _ROW
    if len(shown) < len(lesions):
        more = f"and {len(lesions) - len(shown)} more in the structured report"
        sheet.text([more], left=MARGIN, top=top, size=_SIZE)


def _row(sheet: Sheet, cells: tuple[str, ...], top: float, *, bold: bool = False) -> None:
    for cell, (_, left, length) in zip(cells, _COLUMNS, strict=True):
        written = clipped(cell, length=length - 4.0, size=_SIZE)
        sheet.text([written], left=MARGIN + left, top=top, size=_SIZE, bold=bold)


def _cells(lesion: MeasuredLesion, assessment: Assessment) -> tuple[str, ...]:
    site = codes.stated(lesion.finding_site)
    name = lesion.tracking_identifier
    return (
        f"{name} (index)" if lesion is assessment.index_lesion else name,
        f"{lesion.planar.long_axis.length_mm:.1f}",
        f"{lesion.planar.short_axis.length_mm:.1f}",
        f"{lesion.volume_mm3 / 1000:.2f}",
        "not stated" if site is None else site.meaning,
    )


def _notes(sheet: Sheet, assessment: Assessment, bottom: float) -> float:
    """Write the warnings of the quality gates above `bottom` and return their top."""
    if not assessment.notes:
        return bottom
    lines = _limited("; ".join(content.quality_comments(assessment)), WIDTH, _NOTE_LINES)
    top = bottom + len(lines) * _SIZE * LEADING + _GAP / 2
    sheet.text(lines, left=MARGIN, top=top, size=_SIZE)
    return top + _GAP / 2


def _foot(sheet: Sheet, assessment: Assessment, header: Dataset, document: ReportSettings) -> float:
    """Write which model and software spoke, at the bottom, and return its top."""
    model, status = assessment.model, assessment.model.status.value
    assessed_on = _day(header, "ContentDate")
    lines = [
        line
        for said in (
            f"Model bundle SHA-256 {model.bundle_digest} ({status}): {model.name} {model.version}.",
            f"Extraction settings SHA-256 {model.settings_digest}.",
            f"{document.device_name}, software {assessment.software_version}, assessed on {assessed_on}.",
            f"Study Instance UID {text(header, 'StudyInstanceUID')}.",
        )
        for line in _limited(said, WIDTH, 2, size=_SMALL)
    ]
    top = MARGIN + len(lines) * _SMALL * LEADING + 3.0
    sheet.rule(top)
    sheet.text(lines, left=MARGIN, top=top - 2.0, size=_SMALL)
    return top + _GAP / 2


def _limited(said: str, length: float, most: int, *, size: float = _SIZE) -> list[str]:
    """Return `said` in `most` lines at most; the last one tells where the rest is."""
    lines = wrapped(said, length=length, size=size)
    if len(lines) <= most:
        return lines
    rest = " … more in the structured report"
    last = lines[most - 1]
    while wrapped(last + rest, length=length, size=size)[1:]:
        last = last[:-1].rstrip()
    return [*lines[: most - 1], last + rest]
