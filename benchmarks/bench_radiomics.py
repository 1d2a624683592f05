# SPDX-License-Identifier: Apache-2.0
"""Ours beside stock pyradiomics, as its documentation shows it, on the same phantom in one run.

Then a cohort by one process and by all cores, other libraries where they are installed, and the same
lesion through the whole service: from the moment the study is quiet until Orthanc has its structured
reports. The last line is JSON: `speedup_*` is stock's median time over ours, `cpu_ratio_*` stock's
processor time over ours in one process, which other programs on the machine hardly change;
`max_relative_difference` is that of our values from those of stock's feature classes on the same arrays,
`extract_scaling` the time of one job over that of one for each core, `peak_mb` the most that the
measuring process held, `peak_perturbed_mb` the same where the score's spread is measured as well. What a
machine without Orthanc cannot measure is left out.
"""

import json
import logging
import os
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its name in every manual
from cohort_scaling import cohort_scaling
from numpy.typing import NDArray
from other_extractors import time_others
from radiomics import featureextractor, getFeatureClasses, imageoperations
from whole_service import time_studies

from model.bundle import demonstration_bundle_path, load_bundle
from model.domain import Geometry, Volume
from model.extraction_settings import FULL_CT_SETTINGS
from model.feature_classes import measure
from model.features import ORIGINAL, feature_names
from model.filters import filter_support_mm, filtered, image_types
from model.radiomics import CT_SETTINGS, extract
from model.resampling import resample
from model.training.phantom import LesionModel, phantom

_RUNS = 3
_SHAPE = (119, 512, 512)
_SPACING_MM = (0.74, 0.74, 1.6)
_LONG_STUDY_SLICES = 600
_LEVELS = 32
_PERTURBATIONS = 8
_CORES = os.cpu_count() or 1
_LESION = LesionModel(
    centre_mm=(-80.0, 0.0, 0.0),
    diameter_mm=54.0,
    irregularity=0.1,
    contrast_hu=-30.0,
    texture_sd_hu=12.0,
    texture_length_mm=3.0,
)
_OURS_ON_PURPOSE = frozenset(
    (
        *("MeshVolume", "SurfaceArea", "SurfaceVolumeRatio", "Sphericity"),
        *("MajorAxisLength", "MinorAxisLength", "LeastAxisLength", "Kurtosis"),
    )
)
"""A closed mesh, the sample covariance, and kurtosis without its 3: see docs/ibsi.md."""


def main() -> None:
    """Measure and print."""
    logging.getLogger("radiomics").setLevel(logging.CRITICAL)
    made = phantom(4, shape=_SHAPE, spacing_mm=_SPACING_MM, lesions=[_LESION])
    (mask,) = made.lesions
    print(f"volume {_SHAPE}, lesion {int(mask.sum())} voxels, {_RUNS} runs of each, {_CORES} cores")
    results: dict[str, object] = {"benchmark": "radiomics"}
    results |= _speedups(made.volume, mask)
    results["extract_scaling"] = cohort_scaling(_CORES)
    results |= time_others(made.volume, mask)
    results["max_relative_difference"] = float(f"{_largest_difference(made.volume, mask):.1e}")
    if shutil.which("Orthanc") is None:
        print("the whole service is not timed: needs Orthanc (sh scripts/install-peers.sh)")
    else:
        results |= _whole_service(made.volume, mask)
    print(json.dumps(results))


def _speedups(volume: Volume, mask: NDArray[np.bool_]) -> dict[str, float]:
    four = load_bundle(demonstration_bundle_path()).manifest.features
    speedups = {}
    for key, title, ours, alone, stock in (
        (
            "four",
            "four features",
            lambda: extract(volume, mask, CT_SETTINGS, names=four),
            lambda: extract(volume, mask, CT_SETTINGS, names=four),
            lambda: _stock(volume, mask, names=four),
        ),
        (
            "107",
            "107 features",
            lambda: extract(volume, mask, CT_SETTINGS),
            lambda: extract(volume, mask, CT_SETTINGS),
            lambda: _stock(volume, mask),
        ),
        (
            "full",
            "1,130 features",
            lambda: extract(volume, mask, FULL_CT_SETTINGS, workers=_CORES),
            lambda: extract(volume, mask, FULL_CT_SETTINGS),
            lambda: _stock(volume, mask, filters=True),
        ),
    ):
        (ours_s, _), (alone_s, alone_cpu_s), (stock_s, stock_cpu_s) = map(_medians_s, (ours, alone, stock))
        speedups[f"speedup_{key}"] = round(stock_s / ours_s, 2)
        speedups[f"cpu_ratio_{key}"] = round(stock_cpu_s / alone_cpu_s, 2)
        print(
            f"{title:15} ours {ours_s:6.2f} s   stock {stock_s:6.2f} s   {stock_s / ours_s:5.1f} times;  "
            f"in one process {alone_s:5.2f} s; of CPU {alone_cpu_s:5.2f} s, stock {stock_cpu_s:6.2f} s, "
            f"{stock_cpu_s / alone_cpu_s:5.1f} times"
        )
    return speedups


def _medians_s(work: Callable[[], object]) -> tuple[float, float]:
    """Return the median time of `work` on the clock, and of this process's threads on the processors."""
    work()
    times = []
    for _ in range(_RUNS):
        begun, begun_cpu = time.perf_counter(), time.process_time()
        work()
        times.append((time.perf_counter() - begun, time.process_time() - begun_cpu))
    wall_s, cpu_s = zip(*times, strict=True)
    return statistics.median(wall_s), statistics.median(cpu_s)


def _stock(
    volume: Volume, mask: NDArray[np.bool_], *, names: Sequence[str] | None = None, filters: bool = False
) -> object:
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
    if filters:
        extractor.enableImageTypeByName("LoG", customArgs={"sigma": list(FULL_CT_SETTINGS.log_sigmas_mm)})
        extractor.enableImageTypeByName("Wavelet")
    return extractor.execute(_image(volume, volume.voxels), _image(volume, mask.astype(np.uint8)))


def _image(volume: Volume, array: NDArray[np.generic]) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(volume.geometry.spacing_mm)
    image.SetOrigin(volume.geometry.origin_mm)
    image.SetDirection(volume.geometry.direction)
    return image


def _largest_difference(volume: Volume, mask: NDArray[np.bool_]) -> float:
    """Compare every feature of every image with stock's class on the same array and grey levels."""
    types = image_types(FULL_CT_SETTINGS)
    region = resample(
        volume,
        mask,
        spacing_mm=(1.0, 1.0, 1.0),
        interpolation=FULL_CT_SETTINGS.image_interpolation,
        margin_mm=filter_support_mm(FULL_CT_SETTINGS, types),
    )
    region = replace(region, intensities=np.rint(region.intensities))
    places = np.nonzero(region.mask)
    part = tuple(slice(int(each.min()), int(each.max()) + 1) for each in places)
    images = {ORIGINAL: region.intensities[part], **filtered(region, types, part)}
    inside = region.mask[part]
    largest, on_purpose, compared = 0.0, 0.0, 0
    for image_type, intensities in images.items():
        binned, _ = imageoperations.binImage(intensities, inside, binCount=_LEVELS)
        names = feature_names([image_type])
        ours = measure(
            names=names,
            intensities=intensities,
            grey_levels=np.where(inside, binned, 0).astype(np.int64),
            intensity_mask=inside,
            morphological_mask=inside,
            spacing_mm=region.spacing_mm,
        )
        stock = _stock_classes(intensities, inside)
        for name in names:
            _, feature_class, feature = name.split("_")
            theirs = stock[feature_class, feature]
            difference = abs(ours[name] - theirs) / max(abs(theirs), 1e-12)
            compared += 1
            if feature in _OURS_ON_PURPOSE:
                on_purpose = max(on_purpose, difference if feature != "Kurtosis" else 0.0)
            else:
                largest = max(largest, difference)
    print(
        f"{compared} values beside stock's classes on the same arrays: at most {largest:.1e} apart, "
        f"relative; mesh and axis lengths, ours on purpose, at most {on_purpose:.1e}; kurtosis 3 less"
    )
    return largest


def _stock_classes(
    intensities: NDArray[np.float64], inside: NDArray[np.bool_]
) -> dict[tuple[str, str], float]:
    image, mask = sitk.GetImageFromArray(intensities), sitk.GetImageFromArray(inside.astype(np.uint8))
    values = {}
    for feature_class, implementation in getFeatureClasses().items():
        if feature_class == "shape2D":
            continue
        calculator = implementation(image, mask, binCount=_LEVELS)
        calculator.enableAllFeatures()
        for feature, value in calculator.execute().items():
            values[feature_class, feature] = float(value)
    return values


def _whole_service(volume: Volume, mask: NDArray[np.bool_]) -> dict[str, float]:
    """Time the case, and a study of 600 slices with the same lesion, through the service and Orthanc."""
    with TemporaryDirectory(prefix="bench-radiomics-") as folder:
        warming, case, long = time_studies(
            Path(folder), [(volume, mask), (volume, mask), _longer(volume, mask)]
        )
    print(f"first study after the start: {warming.quiet_to_sr_s:.2f} s from quiet to its reports in Orthanc")
    with TemporaryDirectory(prefix="bench-radiomics-") as folder:
        (perturbed,) = time_studies(Path(folder), [(volume, mask)], perturbations=_PERTURBATIONS)
    for title, timing in ((f"{_SHAPE[0]} slices", case), (f"{_LONG_STUDY_SLICES} slices", long)):
        steps = ", ".join(f"{step} {seconds:.2f}" for step, seconds in timing.steps_s.items())
        print(f"{title}: {timing.quiet_to_sr_s:.2f} s from quiet to its reports in Orthanc; {steps}")
    limit_mb = 3 * volume.voxels.nbytes / 1e6 + 300
    print(
        f"measuring process: at most {case.peak_mb:.0f} MB on {_SHAPE[0]} slices, {perturbed.peak_mb:.0f} MB "
        f"with {_PERTURBATIONS} perturbations (limit {limit_mb:.0f} MB)"
    )
    return {
        "quiet_to_sr_s": round(case.quiet_to_sr_s, 2),
        "quiet_to_sr_600_s": round(long.quiet_to_sr_s, 2),
        "peak_mb": round(case.peak_mb),
        "peak_perturbed_mb": round(perturbed.peak_mb),
    }


def _longer(volume: Volume, mask: NDArray[np.bool_]) -> tuple[Volume, NDArray[np.bool_]]:
    """Return the volume over and over again along z, with its lesion once, at 1 mm."""
    shape = (_LONG_STUDY_SLICES, *_SHAPE[1:])
    places = np.arange(_LONG_STUDY_SLICES) % _SHAPE[0]
    longer_mask = np.zeros(shape, dtype=np.bool_)
    longer_mask[: _SHAPE[0]] = mask
    spacing_mm = (*_SPACING_MM[:2], 1.0)
    geometry = Geometry(shape=shape, spacing_mm=spacing_mm, origin_mm=volume.geometry.origin_mm)
    return Volume(voxels=volume.voxels[places], geometry=geometry, modality=volume.modality), longer_mask


if __name__ == "__main__":
    main()
