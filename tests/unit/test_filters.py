# SPDX-License-Identifier: Apache-2.0
"""Filtered images, and the features that are measured on them."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name everybody knows it by
from radiomics import imageoperations
from radiomics.firstorder import RadiomicsFirstOrder
from radiomics.glcm import RadiomicsGLCM
from radiomics.gldm import RadiomicsGLDM
from radiomics.glrlm import RadiomicsGLRLM
from radiomics.glszm import RadiomicsGLSZM
from radiomics.ngtdm import RadiomicsNGTDM
from scipy import ndimage

from model import feature_classes
from model.domain import Geometry, Modality, Volume
from model.extraction_settings import CT_SETTINGS, FULL_CT_SETTINGS
from model.features import FEATURE_NAMES, definition, feature_names
from model.filters import filtered, image_types
from model.radiomics import extract, names_of
from model.resampling import Region

STOCK = {
    "firstorder": RadiomicsFirstOrder,
    "glcm": RadiomicsGLCM,
    "glrlm": RadiomicsGLRLM,
    "glszm": RadiomicsGLSZM,
    "gldm": RadiomicsGLDM,
    "ngtdm": RadiomicsNGTDM,
}
MILLIMETRE = (1.0, 1.0, 1.0)


def smooth_noise(shape, seed=5):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.2)
    return 80.0 + 30.0 * noise / noise.std()


def study(shape=(40, 60, 64), spacing_mm=(0.8, 0.8, 1.5), radius_mm=9.0):
    axes = [(np.arange(n) - (n - 1) / 2.0) * s for n, s in zip(shape, spacing_mm[::-1], strict=True)]
    z, y, x = np.ix_(*axes)
    volume = Volume(
        voxels=np.rint(smooth_noise(shape)).astype(np.float32),
        geometry=Geometry(shape=shape, spacing_mm=spacing_mm, origin_mm=(0.0, 0.0, 0.0)),
        modality=Modality.CT,
    )
    return volume, (z - 1.1) ** 2 + (y + 2.3) ** 2 + (x - 0.7) ** 2 <= radius_mm**2


def image(array):
    made = sitk.GetImageFromArray(array)
    made.SetSpacing(MILLIMETRE)
    return made


def test_the_full_set_has_1130_features_in_the_order_of_their_images():
    names = names_of(FULL_CT_SETTINGS)

    assert len(names) == len(set(names)) == 1130
    assert names[:107] == FEATURE_NAMES
    assert image_types(FULL_CT_SETTINGS)[1:5] == (
        "log-sigma-1-0-mm-3D",
        "log-sigma-2-0-mm-3D",
        "log-sigma-3-0-mm-3D",
        "wavelet-HHH",
    )
    assert len({definition(name, Modality.CT).title for name in names}) == 1130


def test_every_feature_of_the_full_set_is_measured():
    volume, mask = study()

    vector = extract(volume, mask, FULL_CT_SETTINGS)

    assert vector.names == names_of(FULL_CT_SETTINGS)
    assert vector.settings_digest != CT_SETTINGS.digest
    assert vector.select(FEATURE_NAMES) == extract(volume, mask, CT_SETTINGS).values


@pytest.mark.parametrize("shape", [(31, 32, 36), (30, 33, 37)])
def test_wavelet_sub_bands_are_those_of_pyradiomics(shape):
    array = smooth_noise(shape)
    region = Region(intensities=array, mask=array > 100.0, spacing_mm=MILLIMETRE)
    part = (slice(10, 20), slice(11, 21), slice(12, 20))

    theirs = {
        name: sitk.GetArrayFromImage(made)
        for made, name, _ in imageoperations.getWaveletImage(image(array), None)
    }

    assert len(theirs) == 8
    for name, made in theirs.items():
        assert filtered(region, [name], part)[name] == pytest.approx(made[part], abs=1e-12), name


@pytest.mark.parametrize("sigma_mm", [1.5, 2.0, 3.0])
def test_the_laplacian_of_gaussian_is_that_of_pyradiomics_but_for_its_recursion(sigma_mm):
    """ITK approximates the Gaussian by a recursion; IBSI 2 convolves with it, cut at four sigmas."""
    array = smooth_noise((60, 60, 60))
    region = Region(intensities=array, mask=array > 100.0, spacing_mm=MILLIMETRE)
    part = (slice(20, 40),) * 3

    ((theirs, name, _),) = imageoperations.getLoGImage(image(array), None, sigma=[sigma_mm])

    made = sitk.GetArrayFromImage(theirs)[part]
    ours = filtered(region, [name], part)[name]
    assert np.abs(ours - made).max() < 0.05 * made.std()
    assert np.corrcoef(ours.ravel(), made.ravel())[0, 1] > 0.9999


def test_the_laplacian_of_gaussian_finds_a_bright_ball_of_its_size():
    """Of a Gaussian of width s the response is lowest, in the centre, at sigma = s sqrt(2 / 3)."""
    grid = np.indices((61, 61, 61)) - 30
    array = 100.0 * np.exp(-(grid**2).sum(axis=0) / (2 * 3.0**2))
    region = Region(intensities=array, mask=array > 50.0, spacing_mm=MILLIMETRE)
    centre = (slice(30, 31),) * 3

    for sigma in (2.0, 2.5, 3.5):
        name = f"log-sigma-{str(sigma).replace('.', '-')}-mm-3D"
        response = filtered(region, [name], centre)[name].item()

        # The convolution of two Gaussians is one of variance s^2 + sigma^2; its Laplacian in the centre.
        variance = 3.0**2 + sigma**2
        expected = -3.0 * 100.0 * (3.0**2 / variance) ** 1.5 / variance * sigma**2
        assert response == pytest.approx(expected, rel=0.01)


def test_filtered_features_do_not_depend_on_the_crop():
    """Six voxels of 0.8 mm along y and x are no whole millimetre, thirty are; so for 1.5 mm along z."""
    volume, mask = study(shape=(90, 150, 160), radius_mm=8.0)
    window = (slice(20, -20), slice(30, -30), slice(35, -35))
    voxels = volume.voxels[window]
    cropped = Volume(
        voxels=voxels,
        geometry=replace(volume.geometry, shape=voxels.shape),
        modality=Modality.CT,
    )

    whole = extract(volume, mask, FULL_CT_SETTINGS)
    part = extract(cropped, mask[window], FULL_CT_SETTINGS)

    assert part.names == whole.names
    assert part.values == pytest.approx(whole.values, rel=1e-7, abs=1e-9)


def test_a_wanted_feature_of_one_image_equals_that_of_the_full_set():
    volume, mask = study()
    names = ("wavelet-HLH_glcm_Contrast", "log-sigma-3-0-mm-3D_firstorder_Mean", "original_shape_Sphericity")

    vector = extract(volume, mask, FULL_CT_SETTINGS, names=names)

    assert vector.names == names
    assert vector.values == pytest.approx(extract(volume, mask, FULL_CT_SETTINGS).select(names), rel=1e-12)


@pytest.mark.parametrize("workers", [2, 3])
def test_the_number_of_workers_changes_no_value(workers):
    volume, mask = study()

    alone = extract(volume, mask, FULL_CT_SETTINGS)

    assert extract(volume, mask, FULL_CT_SETTINGS, workers=workers) == alone


def test_a_lesion_at_the_edge_of_the_image_has_filtered_features():
    volume, mask = study()
    mask = np.zeros_like(mask)
    mask[:8, :12, :12] = True

    vector = extract(volume, mask, FULL_CT_SETTINGS)

    assert len(vector.names) == 1130


@pytest.mark.parametrize("image_type", ["original", "wavelet-HLL", "log-sigma-2-0-mm-3D"])
def test_values_are_those_of_pyradiomics_classes_on_the_same_arrays(image_type):
    """Grey levels as pyradiomics makes them; kurtosis differs by the 3 that IBSI takes off."""
    array = smooth_noise((48, 50, 52))
    mask = ndimage.gaussian_filter(np.random.default_rng(2).normal(size=array.shape), 3.0) > 0.02
    mask[:12] = mask[-12:] = mask[:, :12] = mask[:, -12:] = mask[:, :, :12] = mask[:, :, -12:] = False
    region = Region(intensities=array, mask=mask, spacing_mm=MILLIMETRE)
    part = ndimage.find_objects(mask.astype(int))[0]
    images = {"original": array[part], **filtered(region, [image_type], part)}
    intensities = images[image_type]
    binned, _ = imageoperations.binImage(intensities, mask[part], binCount=32)
    names = [name for name in feature_names([image_type]) if "_shape_" not in name]

    ours = feature_classes.measure(
        names=names,
        intensities=intensities,
        grey_levels=np.where(mask[part], binned, 0).astype(np.int64),
        intensity_mask=mask[part],
        morphological_mask=mask[part],
        spacing_mm=MILLIMETRE,
    )

    for feature_class, stock in STOCK.items():
        theirs = stock(image(intensities), image(mask[part].astype(np.uint8)), binCount=32)
        theirs.enableAllFeatures()
        for feature, value in theirs.execute().items():
            correction = 3.0 if feature == "Kurtosis" else 0.0
            assert ours[f"{image_type}_{feature_class}_{feature}"] + correction == pytest.approx(
                float(value), rel=1e-6, abs=1e-12
            ), feature
