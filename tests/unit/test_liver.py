# SPDX-License-Identifier: Apache-2.0
"""The liver's outline in a study, and what is measured around a lesion because of it."""

from dataclasses import replace

import numpy as np
import pytest
from pydicom.sr.codedict import codes

from dicom_listener.liver import read_liver
from dicom_listener.measurement import measure_study
from dicom_listener.selection import select
from model.domain import Modality
from model.radiomics import CT_SETTINGS, MR_SETTINGS

RING = replace(CT_SETTINGS, ring_mm=6.0)
LIVER = {"z": slice(1, 11), "y": slice(4, 36), "x": slice(4, 44)}


def as_organ(dataset, *, label="Liver", code=codes.SCT.Liver):
    """Write the last segment as an organ, the way segmentations of whole bodies do."""
    segment = dataset.SegmentSequence[-1]
    segment.SegmentLabel = label
    for sequence, concept in (
        (segment.SegmentedPropertyCategoryCodeSequence, codes.SCT.Tissue),
        (segment.SegmentedPropertyTypeCodeSequence, code),
    ):
        sequence[0].CodeValue, sequence[0].CodeMeaning = concept.value, concept.meaning


def liver_of(study, limits):
    return read_liver(select(study.instances, limits), limits.lesion_rule)


def measure(study, limits, settings=RING):
    return measure_study(
        study.instances,
        limits=limits,
        settings={Modality.CT: settings, Modality.MR: MR_SETTINGS},
        default_issuer="DEFAULT",
    )


def test_a_segment_beside_the_lesion_is_the_liver_by_its_code(study, box, limits, edit):
    edit(study.add_segmentation(box(), box(**LIVER)), as_organ)

    np.testing.assert_array_equal(liver_of(study, limits), box(**LIVER))


def test_an_object_of_its_own_may_hold_the_liver(study, box, limits, edit):
    study.add_segmentation(box())
    edit(study.add_segmentation(box(**LIVER)), as_organ)

    np.testing.assert_array_equal(liver_of(study, limits), box(**LIVER))


@pytest.mark.parametrize(
    ("label", "is_liver"),
    [("Liver", True), ("LEBER", True), ("whole liver", True), ("Liver-GTV", False), ("liver vessels", False)],
)
def test_a_contour_is_the_liver_when_its_name_says_nothing_else(study, box, limits, edit, label, is_liver):
    study.add_segmentation(box())
    edit(
        study.add_rtstruct(box(**LIVER), names=[label]),
        lambda dataset: setattr(dataset.RTROIObservationsSequence[0], "RTROIInterpretedType", "ORGAN"),
    )

    found = liver_of(study, limits)

    assert (found is not None) is is_liver


def test_what_the_site_calls_a_lesion_is_no_liver(study, box, limits, edit):
    edit(
        study.add_segmentation(box()),
        lambda dataset: as_organ(dataset, label="Liver lesion", code=codes.SCT.Tissue),
    )

    assert liver_of(study, limits) is None


def test_the_liver_of_another_patient_or_series_is_not_taken(study, box, limits, edit):
    study.add_segmentation(box())
    for change in (
        lambda dataset: setattr(dataset, "PatientID", "P2"),
        lambda dataset: setattr(dataset.ReferencedSeriesSequence[0], "SeriesInstanceUID", "1.2.3.99"),
    ):
        path = study.add_segmentation(box(**LIVER))
        edit(path, as_organ)
        edit(path, change)

    assert liver_of(study, limits) is None


def test_a_liver_that_cannot_be_read_is_none(study, box, limits, edit):
    study.add_segmentation(box())
    path = study.add_segmentation(box(**LIVER))
    edit(path, as_organ)
    edit(path, lambda dataset: setattr(dataset, "PixelData", dataset.PixelData[:10]))

    assert liver_of(study, limits) is None


def test_the_ring_is_measured_where_the_liver_is_outlined(study, box, limits, edit):
    edit(study.add_segmentation(box(), box(**LIVER)), as_organ)

    (lesion,) = measure(study, limits).lesions
    (alone,) = measure(study, limits, CT_SETTINGS).lesions

    of_ring = [name for name in lesion.features.names if name.startswith("ring-")]
    assert len(of_ring) > 80
    assert lesion.features.select(alone.features.names) == alone.features.values


def test_without_the_liver_the_lesion_is_measured_and_the_lack_is_told(study, box, limits):
    study.add_segmentation(box())

    measured = measure(study, limits)

    assert not any(name.startswith("ring-") for name in measured.lesions[0].features.names)
    assert "the liver is not outlined, so that the ring around lesions was not measured" in measured.notes


def test_another_lesion_is_no_part_of_the_ring(new_study, tmp_path, box, limits, edit):
    other = box(z=slice(3, 9), y=slice(10, 30), x=slice(33, 40))
    voxels = np.random.default_rng(7).normal(80.0, 2.0, other.shape)
    voxels[other] = 200.0
    study = new_study(tmp_path / "two")
    study.add_images(voxels=voxels)
    edit(study.add_segmentation(box(), other, box(**LIVER)), as_organ)

    largest = measure(study, limits).lesions[0]

    assert (
        largest.features.value("ring-original_firstorder_Maximum") < 170.0
    )  # between voxels, half of 200 HU
