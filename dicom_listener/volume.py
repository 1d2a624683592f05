# SPDX-License-Identifier: Apache-2.0
"""From the files of an image series to one volume of physical values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_listener.attributes import number, require_readable_syntax, text, untrusted
from dicom_listener.frames import FRAME_KEYWORDS, frames
from dicom_listener.instance import StoredInstance
from dicom_listener.pixels import read_frame
from dicom_listener.series import ImageSeries
from model.domain import Modality, RejectionReason, Volume
from model.errors import RejectedStudy

_PIXEL_KEYWORDS = (
    *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames"),
    *("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("RescaleSlope", "RescaleIntercept", "RescaleType", "ModalityLUTSequence"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("PixelData", "FloatPixelData", "DoubleFloatPixelData"),
)
"""All that the pixels need: to convert the rest would take as long as the pixels themselves."""

AIR_HU = -1000.0
"""What padding becomes in CT: no measurement itself, it would smear -3000 HU into its neighbours."""
MR_BACKGROUND = 0.0


_LOWEST_HU = -1500.0
"""Below air: padding that no attribute declares, as -2000 or -3024 outside the field of view."""


def read_volume(series: ImageSeries) -> Volume:
    """Return the voxels of `series` in Hounsfield units (CT) or as the scanner scaled them (MR).

    Raises
    ------
    RejectedStudy
        PIXELS, SYNTAX, MIXED_GEOMETRY (a file has another size than its header said), or HOUNSFIELD
        (a CT without rescale).
    """
    voxels = np.empty(series.geometry.shape, dtype=np.float32)
    opened: tuple[StoredInstance, Dataset, Sequence[Dataset]] | None = None
    for voxels_of_plane, plane in zip(voxels, series.planes, strict=True):
        require_readable_syntax(plane.instance.transfer_syntax_uid, "an image")
        with untrusted(RejectionReason.PIXELS, "the pixel data of an image"):
            # Slices of one multi-frame image follow each other: it is opened once.
            if opened is None or opened[0] is not plane.instance:
                dataset: Dataset = dcmread(
                    plane.instance.path, specific_tags=[*_PIXEL_KEYWORDS, *FRAME_KEYWORDS]
                )
                is_single = plane.frame_number is None
                opened = plane.instance, dataset, [dataset] if is_single else list(frames(dataset))
            _, dataset, headers = opened
            place = (plane.frame_number or 1) - 1
            _write_plane(voxels_of_plane, read_frame(dataset, place), headers[place], series.modality)
    return Volume(voxels=voxels, geometry=series.geometry, modality=series.modality)


def _write_plane(
    plane: NDArray[np.float32],
    stored: NDArray[np.integer[Any]],
    header: Dataset,
    modality: Modality,
) -> None:
    """Write the `stored` pixels, rescaled as `header` says, into `plane`."""
    slope, intercept = _rescale(header, modality)
    bits_stored, high_bit = number(header, "BitsStored"), number(header, "HighBit")
    if bits_stored is not None and high_bit is not None and high_bit != bits_stored - 1:
        # Allowed until 2011; the pixels would have to be shifted (PS3.5 8.1.1).
        raise RejectedStudy(RejectionReason.PIXELS, "High Bit is not one less than Bits Stored")
    if stored.shape != plane.shape:
        raise RejectedStudy(RejectionReason.MIXED_GEOMETRY, "an image has not the size of its series")
    plane[...] = stored * slope + intercept
    padding = _padding(header, stored)
    if padding is not None:
        plane[padding] = AIR_HU if modality is Modality.CT else MR_BACKGROUND
    if modality is Modality.CT:
        plane[plane < _LOWEST_HU] = AIR_HU
    if not np.isfinite(plane).all():
        raise RejectedStudy(RejectionReason.PIXELS, "values are not finite")


def _rescale(dataset: Dataset, modality: Modality) -> tuple[float, float]:
    """Return Rescale Slope and Intercept (PS3.3 C.11.1), which CT must have (C.8.2.1) and MR may have."""
    slope, intercept = number(dataset, "RescaleSlope"), number(dataset, "RescaleIntercept")
    if "ModalityLUTSequence" in dataset:
        raise RejectedStudy(RejectionReason.PIXELS, "a Modality LUT is not supported")
    if modality is Modality.CT:
        if slope is None or intercept is None:
            raise RejectedStudy(RejectionReason.HOUNSFIELD, "Rescale Slope or Intercept is missing")
        if text(dataset, "RescaleType") not in ("", "HU"):
            raise RejectedStudy(RejectionReason.HOUNSFIELD, "Rescale Type is not HU")
    slope = 1.0 if slope is None else slope
    if slope == 0.0:
        raise RejectedStudy(RejectionReason.PIXELS, "Rescale Slope is 0")
    return slope, intercept or 0.0


def _padding(dataset: Dataset, stored: NDArray[np.integer[Any]]) -> NDArray[np.bool_] | None:
    """Return where Pixel Padding Value (to Range Limit, PS3.3 C.7.5.1.1.2) stands for no measurement."""
    value, limit = number(dataset, "PixelPaddingValue"), number(dataset, "PixelPaddingRangeLimit")
    if value is None:
        return None
    # Some scanners write -2000 as the unsigned 63536: it is the bits that count.
    ends = [_as_stored(each, stored.dtype) for each in (value, value if limit is None else limit)]
    if ends[0] is None or ends[1] is None:
        return None
    low, high = sorted((ends[0], ends[1]))
    return np.asarray((stored >= low) & (stored <= high))


def _as_stored(value: float, dtype: np.dtype[np.generic]) -> int | None:
    """Return `value` as the same bits read in `dtype`; None if it has more bits than that."""
    bits = 8 * dtype.itemsize
    if not -(1 << (bits - 1)) <= value < 1 << bits:
        return None
    wrapped = int(value) % (1 << bits)
    return wrapped - (1 << bits) if dtype.kind == "i" and wrapped >= 1 << (bits - 1) else wrapped
