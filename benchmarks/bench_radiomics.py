# SPDX-License-Identifier: Apache-2.0
"""Ours beside stock pyradiomics, as its documentation shows it, on the same phantom in one run.

The last line is JSON; `speedup_*` is stock's median time over ours.
"""

import json
import logging
import statistics
import time
from collections.abc import Callable

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its name in every manual
from numpy.typing import NDArray
from radiomics import featureextractor

from model.bundle import demonstration_bundle_path, load_bundle
from model.domain import Volume
from model.radiomics import CT_SETTINGS, extract
from model.training.phantom import LesionModel, phantom

_RUNS = 3
_SHAPE = (119, 512, 512)
_SPACING_MM = (0.74, 0.74, 1.6)


def main() -> None:
    """Measure and print."""
    logging.getLogger("radiomics").setLevel(logging.CRITICAL)
    lesion = LesionModel(
        centre_mm=(-80.0, 0.0, 0.0),
        diameter_mm=54.0,
        irregularity=0.1,
        contrast_hu=-30.0,
        texture_sd_hu=12.0,
        texture_length_mm=3.0,
    )
    made = phantom(4, shape=_SHAPE, spacing_mm=_SPACING_MM, lesions=[lesion])
    (mask,) = made.lesions
    four = load_bundle(demonstration_bundle_path()).manifest.features
    print(f"volume {made.volume.geometry.shape}, lesion {int(mask.sum())} voxels, {_RUNS} runs of each")

    ours_all = _median_s(lambda: extract(made.volume, mask, CT_SETTINGS))
    ours_four = _median_s(lambda: extract(made.volume, mask, CT_SETTINGS, names=four))
    stock_all = _median_s(lambda: _stock(made.volume, mask, None))
    stock_four = _median_s(lambda: _stock(made.volume, mask, four))
    for name, ours, stock in (
        ("107 features", ours_all, stock_all),
        ("four features", ours_four, stock_four),
    ):
        print(f"{name:14}  ours {ours:6.2f} s   stock {stock:6.2f} s   {stock / ours:5.1f} times")
    print(
        json.dumps(
            {
                "benchmark": "radiomics",
                "speedup_107": round(stock_all / ours_all, 2),
                "speedup_four": round(stock_four / ours_four, 2),
            }
        )
    )


def _median_s(work: Callable[[], object]) -> float:
    work()
    times = []
    for _ in range(_RUNS):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def _stock(volume: Volume, mask: NDArray[np.bool_], names: tuple[str, ...] | None) -> object:
    extractor = featureextractor.RadiomicsFeatureExtractor(
        binWidth=25, resampledPixelSpacing=[1, 1, 1], interpolator=sitk.sitkBSpline
    )
    if names is not None:
        wanted: dict[str, list[str]] = {}
        for name in names:
            _, feature_class, feature = name.split("_")
            wanted.setdefault(feature_class, []).append(feature)
        extractor.disableAllFeatures()
        extractor.enableFeaturesByName(**wanted)
    return extractor.execute(_image(volume, volume.voxels), _image(volume, mask.astype(np.uint8)))


def _image(volume: Volume, array: NDArray[np.generic]) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(volume.geometry.spacing_mm)
    image.SetOrigin(volume.geometry.origin_mm)
    image.SetDirection(volume.geometry.direction)
    return image


if __name__ == "__main__":
    main()
