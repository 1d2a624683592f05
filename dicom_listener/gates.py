# SPDX-License-Identifier: Apache-2.0
"""The gates that images pass before they are measured, each with the coded reason of who does not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.uid import DeflatedExplicitVRLittleEndian

from dicom_listener.attributes import require_readable_syntax
from dicom_listener.grid import regular_grid
from dicom_listener.outline import LesionRule
from dicom_listener.series import ImageHeader, ImageSeries, read_image_series
from dicom_listener.syntaxes import UNCOMPRESSED_SYNTAXES
from model.acquisition import ContrastPhase
from model.domain import Modality, RejectionReason
from model.errors import RejectedStudy

_DERIVED = re.compile(
    r"\b(MPR|MIP|MINIP|MNIP|AVERAGE|PROJECTION|CSA 3D|SUB|SUBTRACTION|ADC|REFORMATTED|VRT|SSD|CURVED"
    r"|SECONDARY)\b"
)
"""Of what is DERIVED, that which is no longer the texture that was acquired. SECONDARY is Value 2 of
Image Type for pictures made of pictures; DERIVED\\PRIMARY, as filtered originals are, may pass."""
_SPECTRAL = re.compile(
    r"\b(IODINE|JOD|VNC|VIRTUAL NON ?CONTRAST|VIRTUAL UNENHANCED|VUE|MONOENERGETIC|MONO ?E|VMI"
    r"|Z ?EFF(?:ECTIVE)?|ELECTRON DENSITY|RHO ?Z|SPECTRAL|MATERIAL DENSITY|OVERLAY|FUSION)\b"
)
"""Made of several energies, whatever Value 1 of Image Type says."""

_AXIAL_NORMAL = 0.996
"""Cosine of 5 degrees, by which the normal may lean from the patient's long axis."""
_TILT_DEGREES = 0.5
_LARGEST_MATRIX = 4096
_MOST_VOXELS = 2**29
"""2,048 slices of 512 x 512: 2 GiB as they are held in memory."""
_THICK_MM = 3.0
"""Slices thicker than this are told of: textures depend on it."""
_ROUNDING = 1.001
"""A spacing that is 5 mm but for the rounding of positions is 5 mm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLimits:
    """Quality gates; fields and units as in the `image` section of the settings."""

    lesion_codes: tuple[str, ...]
    lesion_names: tuple[str, ...]
    maximum_slice_spacing_mm: float
    minimum_slices: int
    minimum_lesion_voxels: int
    hounsfield_range: tuple[float, float]
    phase: ContrastPhase | None = None
    """What the model was made for; None if it asks for none."""

    @property
    def lesion_rule(self) -> LesionRule:
        """Which outlined things are lesions."""
        return LesionRule(codes=self.lesion_codes, names=self.lesion_names)


def too_few(count: int, limits: ImageLimits) -> RejectedStudy:
    """Return the rejection of a series with `count` slices besides localizers."""
    return RejectedStudy(
        RejectionReason.LOCALIZER,
        f"{count} slices besides localizers, {limits.minimum_slices} are needed",
    )


def gated(
    slices: Sequence[ImageHeader], modality: Modality, limits: ImageLimits, notes: list[str]
) -> ImageSeries:
    """Return the series of `slices`, or raise RejectedStudy at the first gate that it does not pass."""
    if len(slices) < limits.minimum_slices:
        raise too_few(len(slices), limits)
    for header in slices:
        require_readable_syntax(header.instance.transfer_syntax_uid, f"a {modality} image")
    _require_original(slices)
    if any(header.burned_in for header in slices):
        raise RejectedStudy(RejectionReason.BURNED_IN, "Burned In Annotation is YES")
    frames = {header.frame_of_reference_uid for header in slices}
    if "" in frames:
        raise RejectedStudy(RejectionReason.NO_FRAME_OF_REFERENCE)
    if len(frames) > 1:
        raise RejectedStudy(RejectionReason.MIXED_GEOMETRY, "Frame of Reference UID differs")
    _require_pixels_on_disk(slices)
    tilt = max(abs(header.gantry_tilt_degrees) for header in slices)
    if tilt > _TILT_DEGREES:
        raise RejectedStudy(RejectionReason.TILT, f"Gantry/Detector Tilt of {tilt:.1f} degrees")
    ordered, geometry = regular_grid(slices)
    if abs(geometry.direction[8]) < _AXIAL_NORMAL:
        raise RejectedStudy(RejectionReason.ORIENTATION, "the slice normal leans by more than 5 degrees")
    thickness = max(geometry.spacing_mm[2], *(header.slice_thickness_mm or 0.0 for header in slices))
    if thickness > limits.maximum_slice_spacing_mm * _ROUNDING:
        raise RejectedStudy(
            RejectionReason.THICKNESS,
            f"{thickness:.2f} mm, at most {limits.maximum_slice_spacing_mm:g} mm is allowed",
        )
    if thickness > _THICK_MM * _ROUNDING:
        notes.append(f"slices are {thickness:.1f} mm thick or apart, which blurs texture along that axis")
    return read_image_series(
        ordered, modality=modality, geometry=geometry, frame_of_reference_uid=frames.pop()
    )


def _require_original(slices: Sequence[ImageHeader]) -> None:
    for header in slices:
        words = " ".join((*header.image_type, header.description)).replace("_", " ")
        found = _SPECTRAL.search(words)
        if found is None and header.image_type[:1] == ("DERIVED",):
            found = _DERIVED.search(words)
        if found:
            raise RejectedStudy(RejectionReason.DERIVED, f"derived images: {found.group()}")


def _require_pixels_on_disk(slices: Sequence[ImageHeader]) -> None:
    """Raise where the header promises more pixels than the file can hold, before memory is taken for them."""
    for header in slices:
        if not 0 < max(header.rows, header.columns) <= _LARGEST_MATRIX or not min(
            header.rows, header.columns
        ):
            raise RejectedStudy(RejectionReason.PIXELS, "Rows or Columns out of range")
        syntax = header.instance.transfer_syntax_uid
        is_plain = syntax in UNCOMPRESSED_SYNTAXES and syntax != DeflatedExplicitVRLittleEndian
        bits = header.rows * header.columns * header.bits_allocated * header.frame_count
        if is_plain and header.file_bytes * 8 < bits:
            raise RejectedStudy(RejectionReason.PIXELS, "the file is shorter than its pixel data")
    if sum(header.rows * header.columns for header in slices) > _MOST_VOXELS:
        raise RejectedStudy(RejectionReason.PIXELS, f"more than {_MOST_VOXELS} voxels")
