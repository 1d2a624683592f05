# SPDX-License-Identifier: Apache-2.0
"""MR intensities: shading and normalisation."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from model.domain import Geometry, Modality, Volume
from model.extraction_settings import MR_SETTINGS, BiasCorrection, Normalisation
from model.radiomics import extract
from model.shading import foreground, foreground_z_scores, without_shading

SHAPE = (16, 96, 96)
CORRECTED = replace(MR_SETTINGS, bias_correction=BiasCorrection.N4)
FOREGROUND = replace(MR_SETTINGS, normalisation_margin_mm=None, normalisation=Normalisation.FOREGROUND)


def body():
    _, y, x = np.ix_(*(np.linspace(-1.0, 1.0, n) for n in SHAPE))
    return np.broadcast_to(y**2 + x**2 <= 0.7, SHAPE)


def shaded(strength=0.6, seed=3):
    """Tissue of 200 with fine texture, and a coil at one side."""
    random = np.random.default_rng(seed)
    texture = ndimage.gaussian_filter(random.normal(size=SHAPE), 1.0)
    tissue = np.where(body(), 200.0 + 60.0 * texture, 0.0)
    _, y, x = np.ix_(*(np.linspace(-1.0, 1.0, n) for n in SHAPE))
    field = np.exp(strength * (x + 0.5 * y))
    voxels = np.abs(tissue * field + random.normal(0.0, 2.0, SHAPE)).astype(np.float32)
    return Volume(
        voxels=voxels,
        geometry=Geometry(shape=SHAPE, spacing_mm=(1.5, 1.5, 3.0), origin_mm=(0.0, 0.0, 0.0)),
        modality=Modality.MR,
    )


def lesion():
    mask = np.zeros(SHAPE, dtype=bool)
    mask[4:12, 40:60, 40:60] = True
    return mask


def unevenness(volume):
    inner = ndimage.binary_erosion(body(), iterations=4)
    smooth = ndimage.gaussian_filter(volume.voxels, 5.0)[inner]
    return smooth.std() / smooth.mean()


def test_the_shading_of_a_coil_is_taken_out():
    volume = shaded()

    corrected = without_shading(volume)

    assert unevenness(volume) > 0.25
    assert unevenness(corrected) < 0.08


def test_the_number_of_threads_changes_no_voxel():
    """ITK sums in as many parts as there are threads."""
    script = (
        "import hashlib, SimpleITK as sitk, sys; sys.path.insert(0, 'tests/unit')\n"
        "sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(int(sys.argv[1]))\n"
        "import test_shading as t\n"
        "print(hashlib.sha256(t.without_shading(t.shaded()).voxels.tobytes()).hexdigest())"
    )

    digests = {
        subprocess.run(
            [sys.executable, "-c", script, threads], capture_output=True, text=True, check=True, timeout=120
        ).stdout
        for threads in ("1", "2", "5")
    }

    assert len(digests) == 1


def test_a_volume_too_thin_for_a_field_is_refused():
    volume = shaded()
    thin = replace(volume, voxels=volume.voxels[:3], geometry=replace(volume.geometry, shape=(3, 96, 96)))

    with pytest.raises(ValueError, match="too few slices"):
        without_shading(thin)


def test_the_body_has_mean_zero_and_deviation_one_after_normalisation():
    volume = shaded(strength=0.0)

    normalised = foreground_z_scores(volume)

    inside = normalised.voxels[foreground(volume)]
    assert inside.mean() == pytest.approx(0.0, abs=1e-4)
    assert inside.std() == pytest.approx(1.0, abs=1e-4)
    assert np.count_nonzero(foreground(volume) ^ body()) < 0.01 * body().sum()


def test_a_constant_image_is_all_foreground_and_zero():
    volume = replace(shaded(), voxels=np.full(SHAPE, 7.0, dtype=np.float32))

    assert foreground(volume).all()
    assert not foreground_z_scores(volume).voxels.any()


def test_a_lesion_in_shaded_and_even_images_measures_alike_once_corrected():
    names = ["original_firstorder_Mean", "original_firstorder_Median"]

    even = extract(shaded(strength=0.0), lesion(), FOREGROUND, names=names)
    uneven = extract(shaded(strength=0.6), lesion(), FOREGROUND, names=names)
    corrected = extract(
        shaded(strength=0.6), lesion(), replace(FOREGROUND, bias_correction=BiasCorrection.N4), names=names
    )

    for name in names:
        assert abs(corrected.value(name) - even.value(name)) < abs(uneven.value(name) - even.value(name))


def test_the_scale_of_the_scanner_does_not_matter_to_normalised_intensities():
    volume = shaded()
    scaled = replace(volume, voxels=volume.voxels * np.float32(8.0))

    for settings in (FOREGROUND, CORRECTED):
        assert extract(scaled, lesion(), settings).values == pytest.approx(
            extract(volume, lesion(), settings).values, rel=1e-3, abs=1e-3
        )


def test_how_intensities_were_treated_is_part_of_the_digest():
    digests = {each.digest for each in (MR_SETTINGS, CORRECTED, FOREGROUND)}

    assert len(digests) == 3
    assert CORRECTED.document["bias_correction"]["method"] == "N4"
    assert "Otsu" in FOREGROUND.document["normalisation"]
