# SPDX-License-Identifier: Apache-2.0
"""The liver around a lesion."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def peritumoural_ring(
    lesion: NDArray[np.bool_],
    liver: NDArray[np.bool_],
    spacing_mm: tuple[float, float, float],
    *,
    width_mm: float,
    other_lesions: NDArray[np.bool_] | None = None,
) -> NDArray[np.bool_]:
    """Return the liver within `width_mm` of the lesion, without this lesion and the others.

    Parameters
    ----------
    lesion, liver, other_lesions
        Of shape (z, y, x). Whether the liver's mask covers its lesions or leaves them out
        makes no difference.
    spacing_mm
        Along (x, y, z); the distance is between voxel centres, in millimetres.

    Raises
    ------
    ValueError
        If the masks differ in shape or the width is not positive.
    """
    if lesion.shape != liver.shape or (other_lesions is not None and other_lesions.shape != lesion.shape):
        raise ValueError("masks of one ring have one shape")
    if not width_mm > 0:
        raise ValueError("the width of a ring is positive")
    ring = np.zeros(lesion.shape, dtype=np.bool_)
    if not lesion.any():
        return ring
    found = ndimage.find_objects(lesion.astype(np.int8))[0]
    margins = [int(np.ceil(width_mm / each)) for each in spacing_mm[::-1]]
    window = tuple(
        slice(max(0, part.start - margin), min(size, part.stop + margin))
        for part, margin, size in zip(found, margins, lesion.shape, strict=True)
    )
    distance_mm = ndimage.distance_transform_edt(~lesion[window], sampling=spacing_mm[::-1])
    ring[window] = (distance_mm <= width_mm) & ~lesion[window] & liver[window]
    if other_lesions is not None:
        ring &= ~other_lesions
    return ring
