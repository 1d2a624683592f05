# SPDX-License-Identifier: Apache-2.0
"""Synthetic studies as DICOM objects, for the demonstration, training and tests.

What is written says of itself that it is of a phantom: Quality Control Subject
(0010,0200) is YES, and the manufacturer is ours. Every UID follows from the ones given,
so that the same call writes the same objects.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.sr.codedict import codes
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    RTStructureSetStorage,
    SegmentationStorage,
)
from skimage.measure import find_contours

from model.domain import Modality, Volume, derived_uid

_MANUFACTURER = "HCC-CDS"
_MODEL_NAME = "Synthetic phantom"
_SOFTWARE_VERSION = "1"
_SERIAL_NUMBER = "0"

_CT_INTERCEPT = -1024.0
"""Stored values are whole Hounsfield units above this, as most scanners write them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticStudy:
    """The study that the objects claim to belong to. `repr` shows no patient."""

    study_instance_uid: str
    started_at: datetime
    patient_id: str = field(repr=False)
    issuer_of_patient_id: str = field(default="", repr=False)
    patient_name: str = field(default="PHANTOM^HCC", repr=False)
    birth_date: date | None = field(default=None, repr=False)
    sex: str = field(default="", repr=False)
    """'M', 'F', 'O' or ''."""
    description: str = "CT LIVER"
    accession_number: str = ""


def write_ct_series(
    folder: Path,
    volume: Volume,
    *,
    study: SyntheticStudy,
    series_instance_uid: str,
    description: str = "PORTAL VENOUS",
    series_number: int = 1,
    frame_of_reference_uid: str | None = None,
) -> list[Path]:
    """Write `volume`, in Hounsfield units, as CT Image Storage (PS3.3 A.3).

    Parameters
    ----------
    folder
        Made when missing. Files are named by series number and slice.
    frame_of_reference_uid
        Derived from the study when not given, so that its series share one.

    Returns
    -------
    list of pathlib.Path
        One file for each slice, in the order of the volume's z axis.
    """
    stored = np.clip(np.rint(volume.voxels - _CT_INTERCEPT), 0, 4095).astype("<u2")
    template = _image(
        volume,
        study,
        series_instance_uid=series_instance_uid,
        description=description,
        series_number=series_number,
        frame_of_reference_uid=frame_of_reference_uid,
    )
    template.SOPClassUID = CTImageStorage
    template.BitsStored, template.HighBit = 12, 11
    template.RescaleIntercept, template.RescaleSlope, template.RescaleType = _CT_INTERCEPT, 1.0, "HU"
    template.WindowCenter, template.WindowWidth = 60.0, 400.0
    template.KVP = 120.0
    template.GantryDetectorTilt = 0.0
    template.ConvolutionKernel = "STANDARD"
    return _write_slices(folder, template, stored, volume)


def write_mr_series(
    folder: Path,
    volume: Volume,
    *,
    study: SyntheticStudy,
    series_instance_uid: str,
    description: str = "T1 3D GRE PORTAL VENOUS",
    series_number: int = 1,
    frame_of_reference_uid: str | None = None,
) -> list[Path]:
    """Write `volume`, whose values are rounded to [0, 65535], as MR Image Storage (PS3.3 A.4).

    Parameters and the returned files are those of `write_ct_series`.
    """
    stored = np.clip(np.rint(volume.voxels), 0, 65535).astype("<u2")
    template = _image(
        volume,
        study,
        series_instance_uid=series_instance_uid,
        description=description,
        series_number=series_number,
        frame_of_reference_uid=frame_of_reference_uid,
    )
    template.SOPClassUID = MRImageStorage
    template.BitsStored, template.HighBit = 16, 15
    template.ScanningSequence, template.SequenceVariant, template.ScanOptions = "GR", "SP", "FS"
    template.MRAcquisitionType = "3D"
    template.RepetitionTime, template.EchoTime, template.EchoTrainLength = 4.0, 1.9, 1
    template.FlipAngle, template.MagneticFieldStrength = 10.0, 1.5
    return _write_slices(folder, template, stored, volume)


def write_segmentation(
    folder: Path,
    sources: Sequence[Path],
    masks: Sequence[NDArray[np.bool_]],
    *,
    series_instance_uid: str,
    labels: Sequence[str] = (),
    description: str = "Lesions (test region)",
    series_number: int = 100,
) -> Path:
    """Write `masks` as one binary SEG (PS3.3 A.51): each a segment, Neoplasm in Liver.

    Parameters
    ----------
    sources
        The slices, in the order of the z axis of `masks`.
    masks
        Each of shape (z, y, x); they may overlap.
    labels
        One for each mask; 'Lesion 1' and so on when not given.
    """
    headers = [dcmread(source, stop_before_pixels=True) for source in sources]
    sop_instance_uid = derived_uid("synthetic", series_instance_uid, "segmentation")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # highdicom comments on patient names, and quotes them
        segmentation = hd.seg.Segmentation(
            source_images=headers,
            pixel_array=np.stack(masks, axis=-1).astype(np.uint8),
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[
                hd.seg.SegmentDescription(
                    segment_number=number,
                    segment_label=label,
                    segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
                    segmented_property_type=codes.SCT.Neoplasm,
                    algorithm_type=hd.seg.SegmentAlgorithmTypeValues.MANUAL,
                    tracking_uid=derived_uid("synthetic", sop_instance_uid, str(number)),
                    tracking_id=f"Lesion {number}",
                    anatomic_regions=[codes.SCT.Liver],
                )
                for number, label in _numbered(labels, len(masks))
            ],
            series_instance_uid=series_instance_uid,
            series_number=series_number,
            sop_instance_uid=sop_instance_uid,
            instance_number=1,
            manufacturer=_MANUFACTURER,
            manufacturer_model_name=_MODEL_NAME,
            software_versions=_SOFTWARE_VERSION,
            device_serial_number=_SERIAL_NUMBER,
            series_description=description,
            content_label="LESIONS",
        )
    _date_as_source(segmentation, headers[0])
    return _save(folder / f"{series_number:04d}-seg.dcm", segmentation, SegmentationStorage)


def write_rtstruct(
    folder: Path,
    sources: Sequence[Path],
    masks: Sequence[NDArray[np.bool_]],
    *,
    series_instance_uid: str,
    names: Sequence[str] = (),
    description: str = "Lesions (test region)",
    series_number: int = 101,
) -> Path:
    """Write `masks` as one RT Structure Set (PS3.3 A.19): each an ROI of type GTV.

    Parameters are those of `write_segmentation`. Contours run midway between the voxel
    centres inside and outside, so that filling them by voxel centres gives the masks again.
    """
    headers = [dcmread(source, stop_before_pixels=True) for source in sources]
    structure_set = _structure_set(headers, series_instance_uid, description, series_number)
    for number, name in _numbered(names, len(masks)):
        structure_set.StructureSetROISequence.append(
            _item(
                ROINumber=number,
                ReferencedFrameOfReferenceUID=headers[0].FrameOfReferenceUID,
                ROIName=name,
                ROIGenerationAlgorithm="MANUAL",
            )
        )
        structure_set.ROIContourSequence.append(
            _item(
                ReferencedROINumber=number,
                ROIDisplayColor=[255, 0, 0],
                ContourSequence=_contours(headers, masks[number - 1]),
            )
        )
        structure_set.RTROIObservationsSequence.append(
            _item(
                ObservationNumber=number,
                ReferencedROINumber=number,
                RTROIInterpretedType="GTV",
                ROIInterpreter="",
            )
        )
    return _save(folder / f"{series_number:04d}-rtstruct.dcm", structure_set, RTStructureSetStorage)


def _numbered(labels: Sequence[str], count: int) -> list[tuple[int, str]]:
    if labels and len(labels) != count:
        raise ValueError("one label for each mask")
    return [(i, labels[i - 1] if labels else f"Lesion {i}") for i in range(1, count + 1)]


def _item(**attributes: object) -> Dataset:
    """Return a data set of `attributes`, by keyword."""
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item


def _image(
    volume: Volume,
    study: SyntheticStudy,
    *,
    series_instance_uid: str,
    description: str,
    series_number: int,
    frame_of_reference_uid: str | None,
) -> Dataset:
    """Return what all slices of a series have in common."""
    day, time = study.started_at.strftime("%Y%m%d"), study.started_at.strftime("%H%M%S")
    modality = volume.modality
    direction = np.asarray(volume.geometry.direction).reshape(3, 3)
    x_mm, y_mm, z_mm = volume.geometry.spacing_mm
    return _item(
        SpecificCharacterSet="ISO_IR 192",
        ImageType=["ORIGINAL", "PRIMARY", "AXIAL"]
        if modality is Modality.CT
        else ["ORIGINAL", "PRIMARY", "OTHER"],
        StudyDate=day,
        SeriesDate=day,
        AcquisitionDate=day,
        ContentDate=day,
        StudyTime=time,
        SeriesTime=time,
        AcquisitionTime=time,
        ContentTime=time,
        AccessionNumber=study.accession_number,
        Modality=modality.value,
        Manufacturer=_MANUFACTURER,
        ManufacturerModelName=_MODEL_NAME,
        SoftwareVersions=_SOFTWARE_VERSION,
        DeviceSerialNumber=_SERIAL_NUMBER,
        ReferringPhysicianName="",
        StudyDescription=study.description,
        SeriesDescription=description,
        PatientName=study.patient_name,
        PatientID=study.patient_id,
        **({"IssuerOfPatientID": study.issuer_of_patient_id} if study.issuer_of_patient_id else {}),
        PatientBirthDate=study.birth_date.strftime("%Y%m%d") if study.birth_date else "",
        PatientSex=study.sex,
        QualityControlSubject="YES",
        BodyPartExamined="LIVER",
        SliceThickness=z_mm,
        PatientPosition="HFS",
        StudyInstanceUID=study.study_instance_uid,
        SeriesInstanceUID=series_instance_uid,
        StudyID="1",
        SeriesNumber=series_number,
        AcquisitionNumber=1,
        FrameOfReferenceUID=frame_of_reference_uid
        or derived_uid("synthetic", study.study_instance_uid, "frame"),
        PositionReferenceIndicator="",
        ImageOrientationPatient=_decimals([*direction[:, 0], *direction[:, 1]]),
        SamplesPerPixel=1,
        PhotometricInterpretation="MONOCHROME2",
        Rows=volume.geometry.shape[1],
        Columns=volume.geometry.shape[2],
        PixelSpacing=_decimals([y_mm, x_mm]),
        BitsAllocated=16,
        PixelRepresentation=0,
    )


def _write_slices(folder: Path, template: Dataset, stored: NDArray[np.uint16], volume: Volume) -> list[Path]:
    direction = np.asarray(volume.geometry.direction).reshape(3, 3)
    paths = []
    for plane, pixels in enumerate(stored):
        image = Dataset(template)
        position = volume.geometry.origin_mm + direction[:, 2] * volume.geometry.spacing_mm[2] * plane
        image.ImagePositionPatient = _decimals(position)
        image.SOPInstanceUID = derived_uid("synthetic", template.SeriesInstanceUID, str(plane))
        image.InstanceNumber = plane + 1
        image.PixelData = pixels.tobytes()
        image["PixelData"].VR = "OW"
        name = f"{template.SeriesNumber:04d}-{plane + 1:04d}.dcm"
        paths.append(_save(folder / name, image, template.SOPClassUID))
    return paths


def _structure_set(
    headers: Sequence[Dataset], series_instance_uid: str, description: str, series_number: int
) -> Dataset:
    """Return a structure set without ROIs on the series of `headers`."""
    source = headers[0]
    structure_set = _item(
        SpecificCharacterSet="ISO_IR 192",
        SOPClassUID=RTStructureSetStorage,
        SOPInstanceUID=derived_uid("synthetic", series_instance_uid, "structures"),
        Modality="RTSTRUCT",
        Manufacturer=_MANUFACTURER,
        ManufacturerModelName=_MODEL_NAME,
        SoftwareVersions=_SOFTWARE_VERSION,
        DeviceSerialNumber=_SERIAL_NUMBER,
        OperatorsName="",
        SeriesDescription=description,
        SeriesInstanceUID=series_instance_uid,
        SeriesNumber=series_number,
        InstanceNumber=1,
        StructureSetLabel="LESIONS",
        StructureSetDate=source.StudyDate,
        StructureSetTime=source.StudyTime,
        StructureSetROISequence=[],
        ROIContourSequence=[],
        RTROIObservationsSequence=[],
        ReferencedFrameOfReferenceSequence=[
            _item(
                FrameOfReferenceUID=source.FrameOfReferenceUID,
                RTReferencedStudySequence=[
                    _item(
                        ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1",
                        ReferencedSOPInstanceUID=source.StudyInstanceUID,
                        RTReferencedSeriesSequence=[
                            _item(
                                SeriesInstanceUID=source.SeriesInstanceUID,
                                ContourImageSequence=[_reference(header) for header in headers],
                            )
                        ],
                    )
                ],
            )
        ],
    )
    for keyword in (
        *("StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyDescription"),
        *("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex"),
        *("QualityControlSubject", "StudyInstanceUID", "StudyID", "FrameOfReferenceUID"),
        "PositionReferenceIndicator",
    ):
        if keyword in source:
            structure_set[keyword] = source[keyword]
    return structure_set


def _reference(header: Dataset) -> Dataset:
    return _item(ReferencedSOPClassUID=header.SOPClassUID, ReferencedSOPInstanceUID=header.SOPInstanceUID)


def _contours(headers: Sequence[Dataset], mask: NDArray[np.bool_]) -> DicomSequence:
    """Return the closed contours of `mask`, one item each; a hole is a contour of its own."""
    contours = DicomSequence()
    for plane in np.flatnonzero(mask.any(axis=(1, 2))):
        header = headers[int(plane)]
        orientation = np.asarray(header.ImageOrientationPatient, dtype=np.float64)
        row_mm, column_mm = (float(each) for each in header.PixelSpacing)
        for outline in _edges(mask[plane]):
            points = (
                np.asarray(header.ImagePositionPatient, dtype=np.float64)
                + np.outer(outline[:, 1] * column_mm, orientation[:3])
                + np.outer(outline[:, 0] * row_mm, orientation[3:])
            )
            contours.append(
                _item(
                    ContourImageSequence=[_reference(header)],
                    ContourGeometricType="CLOSED_PLANAR",
                    NumberOfContourPoints=len(points),
                    ContourData=_decimals(points.ravel()),
                )
            )
    return contours


def _edges(mask: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Return the closed outlines of `mask` as (row, column), voxel centres at whole numbers."""
    found = find_contours(np.pad(mask, 1).astype(np.float64), 0.5)  # type: ignore[no-untyped-call]
    return [outline[:-1] - 1 for outline in found]  # without the first corner again, and the padding


def _decimals(values: Sequence[float] | NDArray[np.float64]) -> list[str]:
    """Return `values` as DS, which has 16 characters (PS3.5 6.2): to a tenth of a micrometre."""
    return [f"{value:.7f}".rstrip("0").rstrip(".") for value in values]


def _date_as_source(dataset: Dataset, source: Dataset) -> None:
    """Date `dataset` as the study, so that writing it again gives the same object."""
    for day, time in (("ContentDate", "ContentTime"), ("InstanceCreationDate", "InstanceCreationTime")):
        setattr(dataset, day, source.StudyDate)
        setattr(dataset, time, source.StudyTime)


def _save(path: Path, dataset: Dataset, sop_class_uid: UID) -> Path:
    """Write `dataset` to `path` as a DICOM file (PS3.10 7), Explicit VR Little Endian."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class_uid
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    FileDataset(path, dataset, file_meta=meta, preamble=b"\0" * 128).save_as(path, enforce_file_format=True)
    return path
