# SPDX-License-Identifier: Apache-2.0
"""An image series by its headers: what each slice says, and the series that they make."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.uid import CTImageStorage, MRImageStorage

from dicom_listener.attributes import number, numbers, read_header, text, texts, uid, untrusted
from dicom_listener.identity import IDENTITY_KEYWORDS, Identity, identity_of
from dicom_listener.instance import StoredInstance
from dicom_listener.outline import says_liver
from model.domain import Geometry, Modality, RejectionReason

MODALITY_OF_SOP_CLASS = {str(CTImageStorage): Modality.CT, str(MRImageStorage): Modality.MR}

_HEADER_KEYWORDS = (
    *IDENTITY_KEYWORDS,
    *("ImageType", "SeriesDescription", "DerivationDescription", "FrameOfReferenceUID", "Rows", "Columns"),
    *(
        "PixelSpacing",
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "SliceThickness",
        "GantryDetectorTilt",
    ),
    *("BitsAllocated", "SpecificCharacterSet"),
)

_PHASES = (
    ("unenhanced", r"\b(non|w/?o|without|pre|native?|plain|sans|ohne|basal|nc|nect|unenhanced)\b"),
    ("arterial", r"\bart(erial)?\b|\bhap\b"),
    ("portal venous", r"portal|\bpvp?\b|venous|\bven\b|\b70 ?s"),
    ("delayed", r"delay|\blate\b(?! ?art)|equil|\bdp\b|\b[35] ?min|\b180 ?s"),
    ("hepatobiliary", r"\bhbp\b|hepatobil|\b20 ?min"),
)
"""Words of series descriptions: hints, never proof."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageHeader:
    """What one slice says of itself; None or '' where it does not say."""

    instance: StoredInstance
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


@dataclass(frozen=True, slots=True, kw_only=True)
class AcquisitionFacts:
    """How the images were made, as far as a model's limits may ask; None or '' where not stated."""

    slice_spacing_mm: float
    """Distance of neighbouring slices, from their positions."""
    slice_thickness_mm: float | None
    pixel_spacing_mm: tuple[float, float]
    """Between columns (x), between rows (y)."""
    kvp: float | None
    convolution_kernel: str
    magnetic_field_strength_t: float | None
    manufacturer: str
    contrast_agent_stated: bool
    lossy_compressed: bool
    """The pixels were once compressed with loss (0028,2110), whatever their transfer syntax is now."""
    phase_hint: str
    """'unenhanced', 'arterial', 'portal venous', 'delayed', 'hepatobiliary'; '' when the series text
    says nothing or contradicts itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSeries:
    """A series whose slices form one regular grid; `images` are in order along its z axis."""

    series_instance_uid: str
    frame_of_reference_uid: str
    modality: Modality
    geometry: Geometry
    images: tuple[StoredInstance, ...]
    acquisition: AcquisitionFacts
    liver_stated: bool
    """Body Part Examined, or the description of study, series or protocol, speaks of the liver."""


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


def read_image_header(instance: StoredInstance) -> ImageHeader:
    """Return the header of one slice; raise RejectedStudy if it cannot be read."""
    with untrusted(RejectionReason.PIXELS, "the header of an image"):
        header = read_header(instance.path, _HEADER_KEYWORDS)
        return ImageHeader(
            instance=instance,
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
            orientation=numbers(header, "ImageOrientationPatient", 6),
            slice_thickness_mm=number(header, "SliceThickness"),
            gantry_tilt_degrees=number(header, "GantryDetectorTilt") or 0.0,
        )


def read_image_series(
    images: tuple[StoredInstance, ...], *, modality: Modality, geometry: Geometry, frame_of_reference_uid: str
) -> ImageSeries:
    """Return the series of `images`, which lie in order on `geometry`; its text is that of the first."""
    with untrusted(RejectionReason.PIXELS, "the header of an image"):
        header = read_header(images[0].path)
        description = text(header, "SeriesDescription")
        places = ("BodyPartExamined", "StudyDescription", "SeriesDescription", "ProtocolName")
        return ImageSeries(
            series_instance_uid=images[0].series_instance_uid,
            frame_of_reference_uid=frame_of_reference_uid,
            modality=modality,
            geometry=geometry,
            images=images,
            acquisition=AcquisitionFacts(
                slice_spacing_mm=geometry.spacing_mm[2],
                slice_thickness_mm=number(header, "SliceThickness"),
                pixel_spacing_mm=geometry.spacing_mm[:2],
                kvp=number(header, "KVP"),
                convolution_kernel=text(header, "ConvolutionKernel"),
                magnetic_field_strength_t=number(header, "MagneticFieldStrength"),
                manufacturer=text(header, "Manufacturer"),
                contrast_agent_stated=bool(
                    text(header, "ContrastBolusAgent") or header.get("ContrastBolusAgentSequence")
                ),
                lossy_compressed=text(header, "LossyImageCompression") == "01",
                phase_hint=phase_hint(description),
            ),
            liver_stated=any(says_liver(text(header, place)) for place in places),
        )


def phase_hint(description: str) -> str:
    """Return the contrast phase that a series description names; '' for none or for several."""
    words = re.sub(r"[_\-]", " ", description.casefold())
    named = [phase for phase, pattern in _PHASES if re.search(pattern, words)]
    return named[0] if len(named) == 1 else ""
