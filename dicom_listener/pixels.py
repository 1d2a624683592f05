# SPDX-License-Identifier: Apache-2.0
"""One frame of stored pixel values, by one named decoder for each transfer syntax (ADR 7).

Never by whichever decoder happens to be installed: the same file gives the same values.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from dicom_listener.attributes import number
from dicom_listener.codestream import declared_size
from model.domain import RejectionReason
from model.errors import RejectedStudy

DECODERS: dict[UID, str] = {
    RLELossless: "pylibjpeg",
    JPEGLosslessSV1: "gdcm",
    JPEGLossless: "gdcm",
    JPEGBaseline8Bit: "gdcm",
    JPEGExtended12Bit: "gdcm",
    JPEGLSLossless: "pyjpegls",
    JPEGLSNearLossless: "pyjpegls",
    JPEG2000Lossless: "pylibjpeg",
    JPEG2000: "pylibjpeg",
    HTJ2KLossless: "pylibjpeg",
    HTJ2KLosslessRPCL: "pylibjpeg",
    HTJ2K: "pylibjpeg",
}
"""pydicom's name of the plugin that decodes each compressed transfer syntax."""


def read_frame(dataset: Dataset, place: int) -> NDArray[np.integer[Any]]:
    """Return frame `place`, from 0, of `dataset` as it is stored, without rescale.

    Raises
    ------
    RejectedStudy
        MIXED_GEOMETRY: the codestream is of another size than the data set says; nothing was decoded.
        SYNTAX: lossy JPEG of 12 bits.
    """
    syntax = UID(dataset.file_meta.TransferSyntaxUID)
    plugin = DECODERS.get(syntax)
    if plugin is not None and syntax != RLELossless:
        _require_size(dataset, place, syntax)
    if syntax == JPEGExtended12Bit and (number(dataset, "BitsStored") or 0) > 8:
        # The only decoder that pydicom knows for these is under the GPL.
        raise RejectedStudy(RejectionReason.SYNTAX, "lossy JPEG of 12 bits cannot be decoded")
    if number(dataset, "SamplesPerPixel") not in (1.0, None):
        raise RejectedStudy(RejectionReason.PIXELS, "pixels have several samples")
    decoded, _ = get_decoder(syntax).as_array(
        dataset, index=place, raw=True, decoding_plugin="" if plugin is None else plugin
    )
    return np.asarray(decoded)


def _require_size(dataset: Dataset, place: int, syntax: UID) -> None:
    count = int(number(dataset, "NumberOfFrames") or 1)
    encoded = get_frame(dataset.PixelData, place, number_of_frames=count)
    declared = declared_size(encoded, syntax)
    if declared is None:
        raise RejectedStudy(RejectionReason.PIXELS, "compressed pixels without a size")
    if (declared.rows, declared.columns, declared.components) != (dataset.Rows, dataset.Columns, 1):
        raise RejectedStudy(
            RejectionReason.MIXED_GEOMETRY, "compressed pixels are of another size than their image"
        )
