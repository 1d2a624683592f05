# SPDX-License-Identifier: Apache-2.0
"""An image series by its headers: what each slice says, and the series that they make."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    CTImageStorage,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
    MRImageStorage,
)

from dicom_listener.anatomy import study_states_liver
from dicom_listener.attributes import (
    number,
    numbers,
    read_header,
    require_bounded,
    text,
    texts,
    uid,
    untrusted,
)
from dicom_listener.frames import FRAME_KEYWORDS, MULTI_FRAME_SOP_CLASSES, frames
from dicom_listener.identity import IDENTITY_KEYWORDS, Identity, identity_of
from dicom_listener.instance import StoredInstance
from dicom_listener.phase import stated_phase, states_contrast_agent
from dicom_listener.stacks import STACK_KEYWORDS, StackMarks, stack_marks
from dicom_listener.treatment import names_treatment
from model.acquisition import AcquisitionCaution, AcquisitionFacts
from model.domain import Geometry, Modality, RejectionReason

MODALITY_OF_SOP_CLASS = {
    str(CTImageStorage): Modality.CT,
    str(MRImageStorage): Modality.MR,
    **MULTI_FRAME_SOP_CLASSES,
}

_HEADER_KEYWORDS = (
    *IDENTITY_KEYWORDS,
    *STACK_KEYWORDS,
    *("ImageType", "SeriesDescription", "DerivationDescription", "FrameOfReferenceUID", "Rows", "Columns"),
    *("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "SliceThickness"),
    *("GantryDetectorTilt", "BitsAllocated", "SpecificCharacterSet", "BurnedInAnnotation"),
    "LossyImageCompression",
)

_LOSSY_SYNTAXES = frozenset(map(str, (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless)))
_PERHAPS_LOSSY_SYNTAXES = frozenset(map(str, (JPEG2000, HTJ2K)))
"""Lossy unless Lossy Image Compression says 00."""

_METAL_REDUCED = re.compile(r"\b(?:O|I|SE|SMART)?[ _-]?MAR\b|METAL[ _-]?ARTE?I?FACT")
_SHARP_KERNEL = re.compile(
    r"[BIHTU][RVLFP]?[5-9]\d\w*|FC(?:3|5|6|7|8)\d|.*(?:LUNG|BONE|EDGE|ULTRA|SHARP|DETAIL).*|Y[A-D]|[DEL]"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """One slice: an instance, or one frame of it."""

    instance: StoredInstance
    frame_number: int | None
    """From 1; None for a single-frame image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageHeader:
    """What one slice says of itself; None or '' where it does not say."""

    instance: StoredInstance
    frame_number: int | None
    frame_count: int
    """Of the instance."""
    identity: Identity = field(repr=False)
    image_type: tuple[str, ...]
    description: str = field(repr=False)
    """Series Description and Derivation Description, in capitals."""
    frame_of_reference_uid: str
    rows: int
    columns: int
    bits_allocated: int
    file_bytes: int
    pixel_spacing_mm: tuple[float, ...] | None
    """Between rows (y), between columns (x): PS3.3 10.7.1.3."""
    position_mm: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    slice_thickness_mm: float | None
    gantry_tilt_degrees: float
    marks: StackMarks = field(repr=False)
    burned_in: bool
    lossy_compressed: bool

    @property
    def plane(self) -> Plane:
        """The slice without what it says."""
        return Plane(instance=self.instance, frame_number=self.frame_number)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSeries:
    """A series, or a stack of it, whose slices form one regular grid."""

    series_instance_uid: str
    frame_of_reference_uid: str
    modality: Modality
    geometry: Geometry
    planes: tuple[Plane, ...]
    """In order along the grid's z axis."""
    acquisition: AcquisitionFacts
    liver_stated: bool
    """Body Part Examined, or the description of study, series or protocol, speaks of the liver and of no
    other organ."""
    treatment_stated: bool
    """Whether those texts name a local treatment of a lesion as done."""

    @property
    def images(self) -> tuple[StoredInstance, ...]:
        """The instances of `planes`, each once, in their order."""
        return tuple({each.instance.sop_instance_uid: each.instance for each in self.planes}.values())


def instance_at(path: Path) -> StoredInstance:
    """Return what the DICOM file at `path` holds, for files that did not come through the listener.

    Raises
    ------
    RejectedStudy
        If it is no DICOM file with the UIDs that every instance has.
    """
    import hashlib

    with untrusted(RejectionReason.PIXELS, "a file"):
        header = read_header(
            path, ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "Modality")
        )
        return StoredInstance(
            study_instance_uid=text(header, "StudyInstanceUID"),
            series_instance_uid=text(header, "SeriesInstanceUID"),
            sop_instance_uid=text(header, "SOPInstanceUID"),
            sop_class_uid=text(header, "SOPClassUID"),
            transfer_syntax_uid=text(header.file_meta, "TransferSyntaxUID"),
            modality=text(header, "Modality"),
            path=path,
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        )


def read_image_headers(instance: StoredInstance) -> list[ImageHeader]:
    """Return the header of each slice in `instance`; raise RejectedStudy if they cannot be read."""
    subject = "the header of an image"
    require_bounded(instance.path, instance.transfer_syntax_uid, RejectionReason.PIXELS, subject)
    with untrusted(RejectionReason.PIXELS, subject):
        if instance.sop_class_uid not in MULTI_FRAME_SOP_CLASSES:
            return [_image_header(read_header(instance.path, _HEADER_KEYWORDS), instance, None, 1)]
        header = read_header(instance.path, (*_HEADER_KEYWORDS, *FRAME_KEYWORDS))
        slices = list(frames(header))
        return [
            _image_header(each, instance, place, len(slices)) for place, each in enumerate(slices, start=1)
        ]


def _image_header(
    header: Dataset, instance: StoredInstance, frame_number: int | None, frame_count: int
) -> ImageHeader:
    orientation = numbers(header, "ImageOrientationPatient", 6)
    return ImageHeader(
        instance=instance,
        frame_number=frame_number,
        frame_count=frame_count,
        identity=identity_of(header),
        image_type=texts(header, "ImageType"),
        description=" ".join(
            text(header, keyword) for keyword in ("SeriesDescription", "DerivationDescription")
        ).upper(),
        frame_of_reference_uid=uid(header, "FrameOfReferenceUID"),
        rows=int(number(header, "Rows") or 0),
        columns=int(number(header, "Columns") or 0),
        bits_allocated=int(number(header, "BitsAllocated") or 0),
        file_bytes=instance.path.stat().st_size,
        pixel_spacing_mm=numbers(header, "PixelSpacing", 2),
        position_mm=numbers(header, "ImagePositionPatient", 3),
        orientation=orientation,
        slice_thickness_mm=number(header, "SliceThickness"),
        gantry_tilt_degrees=number(header, "GantryDetectorTilt") or 0.0,
        marks=stack_marks(header, MODALITY_OF_SOP_CLASS[instance.sop_class_uid], orientation),
        burned_in=text(header, "BurnedInAnnotation").upper() == "YES",
        lossy_compressed=_was_lossy(header, instance.transfer_syntax_uid),
    )


def _was_lossy(header: Dataset, transfer_syntax_uid: str) -> bool:
    stated = text(header, "LossyImageCompression")
    return (
        stated == "01"
        or transfer_syntax_uid in _LOSSY_SYNTAXES
        or (transfer_syntax_uid in _PERHAPS_LOSSY_SYNTAXES and stated != "00")
    )


def read_image_series(
    slices: Sequence[ImageHeader], *, modality: Modality, geometry: Geometry, frame_of_reference_uid: str
) -> ImageSeries:
    """Return the series of `slices`, which lie in order on `geometry`; its text is that of the first."""
    first = slices[0]
    with untrusted(RejectionReason.PIXELS, "the header of an image"):
        header = read_header(first.instance.path)
        if first.frame_number is not None:
            header = next(islice(frames(header), first.frame_number - 1, None))
        places = ("BodyPartExamined", "StudyDescription", "SeriesDescription", "ProtocolName")
        stated = [text(header, place) for place in places]
        phase = stated_phase(header)
        return ImageSeries(
            series_instance_uid=first.instance.series_instance_uid,
            frame_of_reference_uid=frame_of_reference_uid,
            modality=modality,
            geometry=geometry,
            planes=tuple(each.plane for each in slices),
            acquisition=AcquisitionFacts(
                slice_spacing_mm=geometry.spacing_mm[2],
                slice_thickness_mm=number(header, "SliceThickness"),
                pixel_spacing_mm=geometry.spacing_mm[:2],
                kvp=number(header, "KVP"),
                convolution_kernel=text(header, "ConvolutionKernel"),
                magnetic_field_strength_t=number(header, "MagneticFieldStrength"),
                manufacturer=text(header, "Manufacturer"),
                contrast_agent_stated=states_contrast_agent(header),
                lossy_compressed=any(each.lossy_compressed for each in slices),
                phase_hint="" if phase.phase is None else phase.phase.value,
                phase_sources=phase.sources,
                phase_confidence=phase.confidence,
                cautions=tuple(
                    caution
                    for caution, applies in (
                        (AcquisitionCaution.LOSSY, any(each.lossy_compressed for each in slices)),
                        (AcquisitionCaution.METAL, _is_metal_reduced(first)),
                        (AcquisitionCaution.SHARP_KERNEL, is_sharp(texts(header, "ConvolutionKernel"))),
                        (AcquisitionCaution.PHASE_CONTRADICTION, phase.is_contradictory),
                    )
                    if applies
                ),
            ),
            liver_stated=study_states_liver(stated),
            treatment_stated=any(names_treatment(each) for each in stated),
        )


def _is_metal_reduced(header: ImageHeader) -> bool:
    return bool(_METAL_REDUCED.search(" ".join((*header.image_type, header.description))))


def is_sharp(kernel: Sequence[str]) -> bool:
    """Whether a Convolution Kernel (0018,1210) is one for lung, bone or the inner ear.

    Vendors' names: Siemens B50 and above, Br50 and above; Canon FC30 and FC50 to FC89; GE LUNG, BONE,
    EDGE, DETAIL; Philips D, E, L, YA to YD. The second value of Siemens' is a strength of iteration.
    """
    return bool(kernel) and _SHARP_KERNEL.fullmatch(kernel[0]) is not None


def series_description(instance: StoredInstance) -> str:
    """Return the Series Description of an image: text from outside; raise RejectedStudy if unreadable."""
    with untrusted(RejectionReason.PIXELS, "the header of an image"):
        return text(
            read_header(instance.path, ("SeriesDescription", "SpecificCharacterSet")), "SeriesDescription"
        )
