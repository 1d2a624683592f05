# SPDX-License-Identifier: Apache-2.0
"""From the files of an image series to one volume of physical values."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_listener.attributes import number, require_readable_syntax, text, untrusted
from dicom_listener.frames import FRAME_KEYWORDS, frames
from dicom_listener.pixels import read_frame
from dicom_listener.series import ImageSeries, Plane
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

_MOST_THREADS = 4
"""Reading files, copying pixels and rescaling them leave the interpreter free; parsing does not."""


def read_volume(series: ImageSeries, part: tuple[slice, ...] | None = None) -> Volume:
    """Return the voxels of `series` in Hounsfield units (CT) or as the scanner scaled them (MR).

    Parameters
    ----------
    part
        Along (z, y, x), of which voxels are kept; all if None. Every image is read and must be readable.
        What is not kept takes no memory.

    Raises
    ------
    RejectedStudy
        PIXELS, SYNTAX, MIXED_GEOMETRY (a file has another size than its header said), or HOUNSFIELD
        (a CT without rescale).
    """
    kept = part or tuple(slice(0, size) for size in series.geometry.shape)
    voxels = np.empty([each.stop - each.start for each in kept], dtype=np.float32)
    for plane in series.planes:
        require_readable_syntax(plane.instance.transfer_syntax_uid, "an image")

    def write(first: int, planes: Sequence[Plane]) -> None:
        for place, plane in enumerate(_planes(planes, series), first):
            if kept[0].start <= place < kept[0].stop:
                voxels[place - kept[0].start] = plane[kept[1:]]

    # Around the threads and not in them: to ignore warnings is a state of the whole process.
    with untrusted(RejectionReason.PIXELS, "the pixel data of an image"), _threads() as threads:
        for _ in threads.map(write, *zip(*_by_instance(series.planes), strict=True)):
            pass  # in the order of the planes: the first that cannot be read is told
    return Volume(voxels=voxels, geometry=series.geometry, modality=series.modality, part=part)


def read_slice(path: Path, frame_number: int | None, modality: Modality) -> NDArray[np.float32]:
    """Return the values of one image or frame, of shape (rows, columns), as `read_volume` has them.

    Raises
    ------
    RejectedStudy
        As `read_volume`.
    """
    with untrusted(RejectionReason.PIXELS, "the pixel data of an image"):
        dataset = dcmread(path, specific_tags=[*_PIXEL_KEYWORDS, *FRAME_KEYWORDS])
        place = (frame_number or 1) - 1
        header = dataset if frame_number is None else list(frames(dataset))[place]
        stored = read_frame(dataset, place)
        values = np.empty(stored.shape, dtype=np.float32)
        _write_plane(values, stored, header, modality)
    return values


def _by_instance(planes: Sequence[Plane]) -> Iterator[tuple[int, Sequence[Plane]]]:
    """Yield planes of one file that follow each other, and the place of their first: it is opened once."""
    first = 0
    for _, run in groupby(planes, key=lambda plane: plane.instance.path):
        of_one_file = tuple(run)
        yield first, of_one_file
        first += len(of_one_file)


@contextmanager
def _threads() -> Iterator[ThreadPoolExecutor]:
    """Give threads to the body; where it raises, what has not begun is not begun."""
    threads = ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1))
    try:
        yield threads
    finally:
        threads.shutdown(cancel_futures=True)


def _planes(planes: Sequence[Plane], series: ImageSeries) -> Iterator[NDArray[np.float32]]:
    """Yield the values of `planes`, all of one file, each in the same array as the one before."""
    dataset = dcmread(planes[0].instance.path, specific_tags=[*_PIXEL_KEYWORDS, *FRAME_KEYWORDS])
    headers = [dataset] if planes[0].frame_number is None else list(frames(dataset))
    values = np.empty(series.geometry.shape[1:], dtype=np.float32)
    for plane in planes:
        place = (plane.frame_number or 1) - 1
        _write_plane(values, read_frame(dataset, place), headers[place], series.modality)
        yield values


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
    # In double precision, rounded once, when it is written.
    np.add(stored * slope, intercept, out=plane, casting="same_kind")
    padding = _padding(header, stored)
    if padding is not None:
        plane[padding] = AIR_HU if modality is Modality.CT else MR_BACKGROUND
    lowest = float(plane.min())
    if modality is Modality.CT and lowest < _LOWEST_HU:
        plane[plane < _LOWEST_HU] = AIR_HU
        lowest = float(plane.min())
    # The lowest of values one of which is no number is no number.
    if not (math.isfinite(lowest) and math.isfinite(plane.max())):
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
