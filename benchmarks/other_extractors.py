# SPDX-License-Identifier: Apache-2.0
"""MIRP and nyxus on the same lesion, for the record: other libraries that IBSI's features can be had from.

Neither is needed for anything else, so neither is installed with the project:
`uv pip install mirp nyxus`. One that is not there is told of and passed over.
"""

import importlib.util
import logging
import os
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its name in every manual
from numpy.typing import NDArray

from model.domain import Volume

_BIN_WIDTH_HU = 25.0
_GRID_MM = 1.0


def time_others(volume: Volume, mask: NDArray[np.bool_]) -> dict[str, float]:
    """Print how long each takes, once, and return seconds by `<name>_s`."""
    results: dict[str, float] = {}
    with TemporaryDirectory(prefix="bench-others-") as folder:
        image, outline = Path(folder) / "image" / "case.nii", Path(folder) / "mask" / "case.nii"
        _write(image, volume, volume.voxels)
        _write(outline, volume, mask.astype(np.uint8))
        for name, extract in (("mirp", _mirp), ("nyxus", _nyxus)):
            if importlib.util.find_spec(name) is None:
                print(f"{name}: not installed, passed over (uv pip install {name})")
                continue
            results |= _timed(name, lambda extract=extract: extract(image, outline))  # type: ignore[misc]
    return results


def _timed(name: str, extract: Callable[[], int]) -> dict[str, float]:
    begun, begun_cpu = time.perf_counter(), time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            count = extract()
    except Exception as error:  # noqa: BLE001 - somebody else's library, for the record: ours are measured all the same
        print(f"{name} {version(name)}: failed ({type(error).__name__}), passed over")
        return {}
    wall_s, cpu_s = time.perf_counter() - begun, time.process_time() - begun_cpu
    print(f"{name} {version(name)}: {count} features in {wall_s:.2f} s ({cpu_s:.2f} s of CPU)")
    return {f"{name}_s": round(wall_s, 2)}


def _write(path: Path, volume: Volume, array: NDArray[np.generic]) -> None:
    path.parent.mkdir()
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(volume.geometry.spacing_mm)  # type: ignore[no-untyped-call]  # SimpleITK's stubs are partial
    sitk.WriteImage(image, path)


def _mirp(image: Path, mask: Path) -> int:
    """Return the number of features on the grid and with the grey levels of `CT_SETTINGS`."""
    from mirp import extract_features

    logging.disable(logging.WARNING)
    try:
        (table,) = extract_features(
            image=str(image),
            mask=str(mask),
            image_modality="ct",
            new_spacing=_GRID_MM,
            base_feature_families="all",
            base_discretisation_method="fixed_bin_size",
            base_discretisation_bin_width=_BIN_WIDTH_HU,
            resegmentation_intensity_range=[-1000.0, 3000.0],
        )
    finally:
        logging.disable(logging.NOTSET)
    return len([name for name in table.columns if not name.startswith(("image_", "sample_"))])


def _nyxus(image: Path, mask: Path) -> int:
    """Return the number of its features of volumes; it measures voxels as they are, without a grid."""
    from nyxus import Nyxus3D

    table = Nyxus3D(["*3D_ALL*"], n_feature_calc_threads=os.cpu_count() or 1).featurize_directory(
        str(image.parent), str(mask.parent), ".*"
    )
    return len([name for name in table.columns if name.isupper()])
