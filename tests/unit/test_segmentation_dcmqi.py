# SPDX-License-Identifier: Apache-2.0
"""Segmentations are read as dcmqi (segimage2itkimage) reads them: every voxel, on the grid of the images."""

import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
import SimpleITK
from pydicom import dcmread
from pydicom.sr.codedict import codes

from dicom_listener.outline import LesionRule
from dicom_listener.segmentation import read_lesions
from dicom_listener.series import instance_at
from model.domain import Geometry, derived_uid

GEOMETRY = Geometry(shape=(12, 40, 48), spacing_mm=(0.8, 0.9, 2.5), origin_mm=(-20.0, -30.0, 100.0))
FRAME = derived_uid("synthetic", "1.2.3", "frame")


def ours(path: Path, limits) -> list[np.ndarray]:
    rule = LesionRule(codes=limits.lesion_codes, names=limits.lesion_names)
    read = read_lesions(instance_at(path), GEOMETRY, rule, frame_of_reference_uid=FRAME)
    return [each.lesion.mask for each in read.lesions]


@pytest.fixture
def theirs(peer: Callable[[str], str], tmp_path: Path) -> Callable[[Path], list[np.ndarray]]:
    """Return a function that has dcmqi write each segment as an image, and puts it on GEOMETRY."""

    def read(path: Path) -> list[np.ndarray]:
        folder = tmp_path / "dcmqi"
        folder.mkdir()
        subprocess.run(
            [
                *(peer("segimage2itkimage"), "--inputDICOM", str(path), "--outputType", "nrrd"),
                *("--outputDirectory", str(folder), "--prefix", "segment"),
            ],
            check=True,
            capture_output=True,
            timeout=60,
        )
        grid = SimpleITK.Image([*GEOMETRY.shape[::-1]], SimpleITK.sitkUInt8)
        grid.SetSpacing(GEOMETRY.spacing_mm)
        grid.SetOrigin(GEOMETRY.origin_mm)
        return [
            # Nearest neighbour on the same grid moves nothing; outside of what dcmqi wrote there is none.
            SimpleITK.GetArrayFromImage(
                SimpleITK.Resample(
                    SimpleITK.ReadImage(str(each)), grid, SimpleITK.Transform(), SimpleITK.sitkNearestNeighbor
                )
            )
            for each in sorted(folder.glob("segment-*.nrrd"))
        ]

    return read


def fractional(study, pixels: np.ndarray) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        segmentation = hd.seg.Segmentation(
            source_images=[dcmread(path, stop_before_pixels=True) for path in study.images],
            pixel_array=pixels,
            segmentation_type="FRACTIONAL",
            segment_descriptions=[
                hd.seg.SegmentDescription(
                    number,
                    f"Lesion {number}",
                    codes.SCT.MorphologicallyAbnormalStructure,
                    codes.SCT.Neoplasm,
                    "MANUAL",
                )
                for number in range(1, pixels.shape[-1] + 1)
            ],
            series_instance_uid="1.2.3.50",
            series_number=50,
            sop_instance_uid="1.2.3.50.1",
            instance_number=1,
            manufacturer="a",
            manufacturer_model_name="a",
            software_versions="1",
            device_serial_number="1",
        )
    path = study.folder / "fractional.dcm"
    segmentation.save_as(path)
    return path


def ragged(seed: int) -> np.ndarray:
    """A mask without any symmetry, so that no axis can be mixed up."""
    mask = np.zeros(GEOMETRY.shape, dtype=bool)
    mask[2:9, 7:31, 11:40] = np.random.default_rng(seed).random((7, 24, 29)) > 0.5
    return mask


@pytest.mark.peer("dcmqi")
def test_a_binary_segment_has_the_voxels_that_dcmqi_finds(study, limits, theirs) -> None:
    path = study.add_segmentation(ragged(1))

    (mask,) = ours(path, limits)

    (image,) = theirs(path)
    np.testing.assert_array_equal(mask, image != 0)


@pytest.mark.peer("dcmqi")
def test_several_overlapping_segments_have_the_voxels_that_dcmqi_finds(study, limits, theirs) -> None:
    path = study.add_segmentation(ragged(1), ragged(2), ragged(3))

    masks = ours(path, limits)

    images = theirs(path)
    assert len(masks) == len(images) == 3
    for mask, image in zip(masks, images, strict=True):
        np.testing.assert_array_equal(mask, image != 0)


@pytest.mark.peer("dcmqi")
def test_a_fractional_segment_has_the_voxels_where_dcmqi_finds_at_least_half(study, limits, theirs) -> None:
    pixels = np.zeros((*GEOMETRY.shape, 2))
    for place in range(2):
        inside = ragged(place + 1)
        fractions = np.random.default_rng(9 + place).choice([0.2, 0.4, 0.6, 1.0], size=GEOMETRY.shape)
        pixels[..., place] = np.where(inside, fractions, 0.0)
    path = fractional(study, pixels)
    full = dcmread(path).MaximumFractionalValue

    masks = ours(path, limits)

    images = theirs(path)
    assert len(masks) == len(images) == 2
    for mask, image in zip(masks, images, strict=True):
        np.testing.assert_array_equal(mask, image >= 0.5 * full)
