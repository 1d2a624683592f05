# SPDX-License-Identifier: Apache-2.0
"""A made-up assessment of two lesions, with the headers of its CT series; also writes the golden tree.

`python tests/data/report_example.py` writes `report_findings.txt` beside this file.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, RTStructureSetStorage, SegmentationStorage

from model.domain import (
    AcquisitionChecks,
    Assessment,
    Axis,
    Code,
    Contribution,
    FeatureVector,
    ImageReference,
    MeasuredLesion,
    MeasuredSeries,
    Modality,
    ModelIdentity,
    ModelStatus,
    NotComputed,
    OutlineSource,
    Patient,
    PatientKey,
    PlanarMeasurement,
    Score,
    Study,
    derived_uid,
)
from model.features import FEATURE_NAMES
from model.planar import outline_polygon

GOLDEN = Path(__file__).with_name("report_findings.txt")

SHAPE = (12, 48, 64)
SPACING_MM = (0.75, 0.75, 2.5)
LIVER = Code(value="10200004", scheme="SCT", meaning="Liver")

SCORE = Score(
    probability=0.714,
    interval=(0.58, 0.83),
    interval_method="95 % bootstrap of the calibration",
    conformal_set=("high", "low"),
    reference_percentile=64.0,
    contributions=(Contribution(feature="original_shape_Sphericity", value=0.8, contribution=0.3),),
    acquisition=AcquisitionChecks(
        agreed=("slice spacing 2.5 mm (the model allows 1.5 to 3 mm)",),
        not_stated=("contrast phase (the model was made for portal venous)",),
    ),
)


def uid(*parts: str) -> str:
    return derived_uid("report example", *parts)


def sources() -> list[Dataset]:
    """Headers of the CT series, from feet to head."""
    headers = []
    for index in range(SHAPE[0]):
        header = Dataset()
        header.SpecificCharacterSet = "ISO_IR 100"
        header.SOPClassUID = CTImageStorage
        header.SOPInstanceUID = uid("image", str(index))
        header.StudyInstanceUID = uid("study")
        header.SeriesInstanceUID = uid("series")
        header.FrameOfReferenceUID = uid("frame of reference")
        header.Modality = "CT"
        header.PatientName = "Phantom^Liver"
        header.PatientID = "P-0001"
        header.IssuerOfPatientID = "TEST"
        header.PatientBirthDate = "19600102"
        header.PatientSex = "F"
        header.StudyDate = "20260301"
        header.StudyTime = "101500"
        header.StudyID = "7"
        header.AccessionNumber = "A1"
        header.ReferringPhysicianName = ""
        header.StudyDescription = "CT LIVER"
        header.Rows, header.Columns = SHAPE[1:]
        header.PixelSpacing = [SPACING_MM[1], SPACING_MM[0]]
        header.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        header.ImagePositionPatient = [-20.0, -15.0, index * SPACING_MM[2]]
        headers.append(header)
    return headers


def masks() -> list[NDArray[np.bool_]]:
    """Two ellipsoids, bool of shape (z, y, x)."""
    z, y, x = np.indices(SHAPE)
    return [
        ((z - 5) / 3) ** 2 + ((y - 20) / 8) ** 2 + ((x - 22) / 12) ** 2 <= 1,
        ((z - 8) / 2) ** 2 + ((y - 34) / 5) ** 2 + ((x - 48) / 4) ** 2 <= 1,
    ]


def features(seed: int) -> FeatureVector:
    """Values of every magnitude and sign that a feature may have."""
    generator = np.random.default_rng(seed)
    exponents = generator.uniform(-9, 11, len(FEATURE_NAMES))
    signs = generator.choice([-1.0, 1.0], len(FEATURE_NAMES))
    return FeatureVector(
        names=FEATURE_NAMES,
        values=tuple(float(sign * 10.0**exponent) for sign, exponent in zip(signs, exponents, strict=True)),
        settings_digest="c" * 64,
    )


def lesion(
    number: int, *, source_class: str = SegmentationStorage, site: Code | None = LIVER
) -> MeasuredLesion:
    slice_index, column, row, long_px, short_px = ((5, 22.5, 20.5, 24.0, 16.0), (8, 48.5, 34.5, 10.0, 8.0))[
        number - 1
    ]
    along_columns = number == 1
    long_half = (long_px / 2, 0.0) if along_columns else (0.0, long_px / 2)
    short_half = (0.0, short_px / 2) if along_columns else (short_px / 2, 0.0)

    def axis(half: tuple[float, float], pixels: float) -> Axis:
        return Axis(
            start=(column - half[0], row - half[1]),
            end=(column + half[0], row + half[1]),
            length_mm=pixels * SPACING_MM[0],
        )

    return MeasuredLesion(
        number=number,
        tracking_uid=uid("lesion", str(number)),
        source=OutlineSource(
            sop_class_uid=source_class,
            sop_instance_uid=uid("outline"),
            series_instance_uid=uid("outline series"),
            number=number + 2,
            label="HCC of Mr Label",
            algorithm_type="MANUAL",
        ),
        finding_site=site,
        volume_mm3=1695.9375 / number,
        planar=PlanarMeasurement(
            image=ImageReference(
                sop_class_uid=CTImageStorage, sop_instance_uid=uid("image", str(slice_index))
            ),
            long_axis=axis(long_half, long_px),
            short_axis=axis(short_half, short_px),
            area_mm2=169.875,
            outline=outline_polygon(masks()[number - 1][slice_index]),
        ),
        features=features(number),
    )


def assessment(
    *,
    score: Score | NotComputed = SCORE,
    status: ModelStatus = ModelStatus.DEMONSTRATION,
    revision: int = 1,
    from_rtstruct: bool = False,
    site: Code | None = LIVER,
) -> Assessment:
    source_class = RTStructureSetStorage if from_rtstruct else SegmentationStorage
    return Assessment(
        study=Study(
            study_instance_uid=uid("study"),
            study_date=date(2026, 3, 1),
            patient=Patient(
                key=PatientKey(patient_id="P-0001", issuer="TEST"), birth_date=date(1960, 1, 2), sex="F"
            ),
        ),
        revision=revision,
        created_at=datetime(2026, 3, 1, 12, 30, 15, 250000, tzinfo=UTC),
        series=MeasuredSeries(
            series_instance_uid=uid("series"),
            frame_of_reference_uid=uid("frame of reference"),
            modality=Modality.CT,
            images=tuple(
                ImageReference(sop_class_uid=CTImageStorage, sop_instance_uid=uid("image", str(index)))
                for index in range(SHAPE[0])
            ),
            spacing_mm=SPACING_MM,
            segmentation_series_instance_uid=uid("outline series"),
        ),
        lesions=(
            lesion(1, source_class=source_class, site=site),
            lesion(2, source_class=source_class, site=site),
        ),
        score=score,
        model=ModelIdentity(
            name="four-feature SVM",
            version="0.1",
            bundle_digest="b" * 64,
            status=status,
            settings_digest="c" * 64,
            higher_means="nothing, it was made from phantoms",
        ),
        software_version="0.1.0",
        predecessor_revision=revision - 1 if revision > 1 else None,
        notes=("slice thickness 2.5 mm",),
    )


def tree(report: Dataset) -> str:
    """Return the content of an SR as an indented text, UIDs replaced by their order of appearance."""
    seen: dict[str, str] = {}

    def short(value: str) -> str:
        return seen.setdefault(value, f"<uid {len(seen) + 1}>")

    def coded(code: Dataset) -> str:
        return f"({code.CodeValue}, {code.CodingSchemeDesignator}, {code.CodeMeaning})"

    def number(measured: Dataset) -> str:
        return f"{measured.NumericValue} {measured.MeasurementUnitsCodeSequence[0].CodeValue}"

    def lines(item: Dataset, depth: int) -> Iterator[str]:
        concept = coded(item.ConceptNameCodeSequence[0])
        yield f"{'  ' * depth}{item.get('RelationshipType', 'ROOT')} {item.ValueType} {concept}{value(item)}"
        for child in item.get("ContentSequence", []):
            yield from lines(child, depth + 1)

    def value(item: Dataset) -> str:
        read = {
            "TEXT": lambda: item.TextValue,
            "UIDREF": lambda: short(item.UID),
            "CODE": lambda: coded(item.ConceptCodeSequence[0]),
            "NUM": lambda: number(item.MeasuredValueSequence[0]),
            "SCOORD": lambda: f"{item.GraphicType} {list(item.GraphicData)}",
            "IMAGE": lambda: short(item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID),
            "CONTAINER": lambda: "",
        }
        text = read[item.ValueType]()
        return f" = {text}" if text else ""

    return "\n".join(lines(report, 0)) + "\n"


if __name__ == "__main__":
    from dicom_listener.reports import ReportSettings, findings_report

    GOLDEN.write_text(
        tree(findings_report(assessment(), sources(), document=ReportSettings())), encoding="utf-8"
    )
