# SPDX-License-Identifier: Apache-2.0
"""What a feature must not depend on: crop, order of files, workers, threads."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread, dcmwrite
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian
from scipy import ndimage

from cds_service.config import ImageConfig
from cds_service.stages import image_limits
from dicom_listener.measurement import measure_study
from dicom_listener.series import instance_at
from dicom_listener.synthetic import SyntheticStudy, write_ct_series, write_segmentation
from model.domain import Geometry, Modality, Volume, derived_uid
from model.extraction_settings import (
    CT_SETTINGS,
    FULL_CT_SETTINGS,
    MR_SETTINGS,
    BiasCorrection,
    Normalisation,
)
from model.radiomics import extract, part_needed
from model.resampling import resample

SHAPE, SPACING_MM = (64, 120, 120), (0.75, 0.75, 1.5)
LESION_MM = 7.0


def study(modality=Modality.CT, shape=SHAPE):
    noise = ndimage.gaussian_filter(np.random.default_rng(9).normal(size=shape), 1.3)
    volume = Volume(
        voxels=np.rint(85.0 + 25.0 * noise / noise.std()).astype(np.float32),
        geometry=Geometry(shape=shape, spacing_mm=SPACING_MM, origin_mm=(3.0, -4.0, 5.0)),
        modality=modality,
    )
    axes = [(np.arange(n) - (n - 1) / 2.0) * s for n, s in zip(shape, SPACING_MM[::-1], strict=True)]
    z, y, x = np.ix_(*axes)
    return volume, (z - 0.5) ** 2 + (y + 0.7) ** 2 + (x - 1.2) ** 2 <= LESION_MM**2


def cropped(volume, mask, cuts):
    """Cut voxels off both ends of each axis (z, y, x)."""
    window = tuple(slice(first, size - last) for (first, last), size in zip(cuts, mask.shape, strict=True))
    voxels = volume.voxels[window]
    return replace(volume, voxels=voxels, geometry=replace(volume.geometry, shape=voxels.shape)), mask[window]


# Cuts that leave the image's centre on the same grid of 1 mm: the difference of both ends times half the
# spacing is whole millimetres, and so is the sum: along z (1.5 mm) multiples of 4, else (0.75 mm) of 8.
ALONG_Z = st.sampled_from([(0, 0), (4, 4), (0, 4), (8, 0), (8, 4), (4, 8)])
IN_PLANE = st.sampled_from([(0, 0), (8, 8), (0, 8), (16, 0), (16, 8), (8, 24), (24, 24)])


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ALONG_Z, IN_PLANE, IN_PLANE, st.sampled_from([CT_SETTINGS, MR_SETTINGS]))
def test_features_do_not_depend_on_a_crop_that_keeps_the_grid(along_z, along_y, along_x, chosen):
    volume, mask = study(chosen.modality)

    part = extract(*cropped(volume, mask, (along_z, along_y, along_x)), chosen)

    whole = extract(volume, mask, chosen)
    assert part.select(whole.names) == pytest.approx(whole.select(whole.names), rel=1e-8, abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 30), st.floats(0.0, 12.0))
def test_what_is_read_around_the_lesion_changes_nothing_within(support, margin_mm):
    volume, mask = study()
    arguments = {"spacing_mm": (1.0, 1.0, 1.0), "interpolation": CT_SETTINGS.image_interpolation}

    least = resample(volume, mask, **arguments, support_voxels=24 + support)
    more = resample(volume, mask, **arguments, support_voxels=24, margin_mm=margin_mm)

    here, there = (ndimage.find_objects(region.mask.astype(int))[0] for region in (least, more))
    assert np.array_equal(least.mask[here], more.mask[there])
    assert np.abs(least.intensities[here] - more.intensities[there]).max() < 1e-9


@pytest.mark.parametrize("seed", [1, 2])
def test_features_do_not_depend_on_names_or_order_of_files(tmp_path, seed):
    volume, mask = study(shape=(16, 60, 60))
    written = SyntheticStudy(
        study_instance_uid=derived_uid("independence"),
        started_at=datetime(2026, 1, 2, tzinfo=UTC),
        patient_id="P",
    )
    slices = write_ct_series(
        tmp_path / "a", volume, study=written, series_instance_uid=derived_uid("independence", "ct")
    )
    outline = write_segmentation(
        tmp_path / "a", slices, [mask], series_instance_uid=derived_uid("independence", "seg")
    )
    files = [*slices, outline]
    in_order = _features(files)

    order = np.random.default_rng(seed).permutation(len(files))
    renamed = [
        files[place].rename(tmp_path / f"{number:03d}.dcm") for number, place in enumerate(order.tolist())
    ]

    assert _features(renamed) == in_order
    assert _features(renamed[::-1]) == in_order


def _features(files):
    measured = measure_study(
        [instance_at(path) for path in files],
        limits=image_limits(ImageConfig()),
        settings={Modality.CT: CT_SETTINGS, Modality.MR: MR_SETTINGS},
        default_issuer="X",
    )
    return measured.lesions[0].features


def test_features_do_not_depend_on_the_number_of_workers():
    volume, mask = study()

    vectors = {extract(volume, mask, FULL_CT_SETTINGS, workers=workers) for workers in (1, 2, 4)}

    assert len(vectors) == 1


def test_features_do_not_depend_on_the_number_of_threads(repository):
    """Of every library that has threads of its own, each told in its own way."""
    script = (
        "import json, sys, SimpleITK as sitk\n"
        "import test_independence as t\n"
        "sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(int(sys.argv[1]))\n"
        "volume, mask = t.study()\n"
        "print(json.dumps(t.extract(volume, mask, t.FULL_CT_SETTINGS).values))"
    )
    paths = [str(repository), str(repository / "fhir"), str(repository / "tests" / "unit")]
    values = []
    for threads in ("1", "4"):
        told = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads)
        answer = subprocess.run(
            [sys.executable, "-c", script, threads],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env={**os.environ, **told, "PYTHONPATH": os.pathsep.join(paths)},
        )
        assert answer.returncode == 0, answer.stderr[-1000:]
        values.append(json.loads(answer.stdout))

    assert values[0] == values[1]
    assert len(values[0]) == 1130


@pytest.mark.parametrize(
    "chosen",
    [
        CT_SETTINGS,
        MR_SETTINGS,
        FULL_CT_SETTINGS,
        replace(CT_SETTINGS, ring_mm=5.0),
        replace(CT_SETTINGS, spacing_mm=None),
        replace(CT_SETTINGS, spacing_mm=3.0),
    ],
)
def test_features_need_no_voxel_beyond_the_part_that_is_said_to_be_needed(chosen):
    volume, mask = study(chosen.modality, shape=(120, 200, 200))
    liver = ndimage.binary_dilation(mask, iterations=12)
    part = part_needed([mask], SPACING_MM, chosen, margin_mm=0.0)
    assert part is not None

    of_part, of_whole = (
        extract(each, mask, chosen, liver=liver, minimum_voxels=20)
        for each in (replace(volume, voxels=volume.voxels[part], part=part), volume)
    )

    assert part[0] != slice(0, 120)
    assert of_part == of_whole


@pytest.mark.parametrize(
    "chosen",
    [
        replace(MR_SETTINGS, normalisation_margin_mm=None, normalisation=Normalisation.FOREGROUND),
        replace(MR_SETTINGS, bias_correction=BiasCorrection.N4),
    ],
)
def test_what_looks_at_the_whole_image_needs_all_of_it(chosen):
    volume, mask = study(Modality.MR)
    window = (slice(10, 50), slice(10, 110), slice(10, 110))

    assert part_needed([mask], SPACING_MM, chosen, margin_mm=0.0) is None
    with pytest.raises(ValueError, match="not read"):
        extract(replace(volume, voxels=volume.voxels[window], part=window), mask, chosen)


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
def test_features_do_not_depend_on_how_the_data_set_is_encoded(tmp_path, syntax):
    volume, mask = study(shape=(16, 60, 60))
    slices = write_ct_series(
        tmp_path,
        volume,
        study=SyntheticStudy(
            study_instance_uid=derived_uid("independence"),
            started_at=datetime(2026, 1, 2, tzinfo=UTC),
            patient_id="P",
        ),
        series_instance_uid=derived_uid("independence", "ct"),
    )
    outline = write_segmentation(
        tmp_path, slices, [mask], series_instance_uid=derived_uid("independence", "seg")
    )
    as_written = _features([*slices, outline])

    for path in slices:
        dataset = dcmread(path)
        if syntax == ExplicitVRBigEndian:
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
        dataset.file_meta.TransferSyntaxUID = syntax
        dcmwrite(
            path,
            dataset,
            implicit_vr=syntax.is_implicit_VR,
            little_endian=syntax.is_little_endian,
            force_encoding=True,
        )

    assert _features([*slices, outline]) == as_written
