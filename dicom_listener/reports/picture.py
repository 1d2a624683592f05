# SPDX-License-Identifier: Apache-2.0
"""The index lesion's key slice in shades of grey, for people who have no viewer before them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.domain import Modality

_CT_WINDOW_HU = (-110.0, 190.0)
"""Level 40, width 300: liver in the middle, fat and enhanced vessels at its ends."""

_MR_PERCENTILES = (1.0, 99.0)
"""MR has no unit: of the slice itself, without what is brightest and darkest of it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KeySlice:
    """A slice as it is shown: `grey` uint8 of shape (rows, columns), and between which values."""

    grey: NDArray[np.uint8]
    window: str


def key_slice(values: NDArray[np.float32], modality: Modality) -> KeySlice:
    """Return `values`, of shape (rows, columns), from black to white.

    Parameters
    ----------
    values
        CT in Hounsfield units, MR as the scanner scaled it.
    """
    if modality is Modality.CT:
        low, high = _CT_WINDOW_HU
        window = f"{low:g} to {high:g} HU"
    else:
        low, high = (float(each) for each in np.percentile(values, _MR_PERCENTILES))
        window = "percentiles 1 to 99 of the slice"
    # What has no range, as a slice of one value, is black.
    shade = (values - low) / (high - low if high > low else 1.0)
    return KeySlice(grey=np.round(np.clip(shade, 0.0, 1.0) * 255.0).astype(np.uint8), window=window)
