# SPDX-License-Identifier: Apache-2.0
"""A series with several acquisitions, time points, echoes or weightings is parted, never mixed."""

import numpy as np
import pytest
from pydicom import dcmread

from dicom_listener.measurement import measure_study
from dicom_listener.selection import select
from model.domain import Geometry, Modality, RejectionReason
from model.errors import RejectedStudy
from model.radiomics import CT_SETTINGS, MR_SETTINGS

SETTINGS = {Modality.CT: CT_SETTINGS, Modality.MR: MR_SETTINGS}
ABOVE = Geometry(shape=(12, 40, 48), spacing_mm=(0.8, 0.9, 2.5), origin_mm=(-20.0, -30.0, 130.0))


def joined(study, edit, *, first, second, again=None):
    """Make one series of two, whose slices state `first` and `second`; return the paths of both."""
    later = again or study.add_images()
    for path in later:
        edit(path, lambda ds: setattr(ds, "SeriesInstanceUID", "1.2.3.1"))
    for paths, values in ((study.images, first), (later, second)):
        for path in paths:
            edit(path, lambda ds, of=values: [setattr(ds, keyword, value) for keyword, value in of.items()])
    return study.images, later


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ({"AcquisitionNumber": 1}, {"AcquisitionNumber": 2}, "acquisition"),
        (
            {"TemporalPositionIdentifier": 1},
            {"TemporalPositionIdentifier": 2},
            "temporal position",
        ),
        ({"AcquisitionTime": "100000"}, {"AcquisitionTime": "100040"}, "acquisition time"),
        ({"TriggerTime": 0}, {"TriggerTime": 40000}, "trigger time"),
        ({"ConvolutionKernel": "B30f"}, {"ConvolutionKernel": "B31f"}, "convolution kernel"),
        (
            {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL", "A"]},
            {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL", "B"]},
            "image type",
        ),
    ],
)
def test_of_two_stacks_at_one_place_the_outlined_one_is_measured(study, limits, edit, first, second, told):
    _, later = joined(study, edit, first=first, second=second)
    study.add_segmentation(of=later)

    measured = measure_study(study.instances, limits=limits, settings=SETTINGS, default_issuer="")

    uids = [dcmread(path).SOPInstanceUID for path in later]
    assert [image.sop_instance_uid for image in measured.series.images] == uids
    assert f"the series holds 2 stacks that differ in {told}; the outlined one was measured" in measured.notes


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ({"EchoTime": 2.3}, {"EchoTime": 4.6}, "echo time"),
        ({"DiffusionBValue": 0.0}, {"DiffusionBValue": 800.0}, "diffusion b-value"),
        (
            {"ImageType": ["ORIGINAL", "PRIMARY", "M"]},
            {"ImageType": ["ORIGINAL", "PRIMARY", "P"]},
            "image type",
        ),
    ],
)
def test_echoes_weightings_and_phase_images_of_mr_are_stacks_of_their_own(
    new_study, tmp_path, limits, edit, first, second, told
):
    study = new_study(tmp_path)
    study.add_images(modality=Modality.MR)
    again = study.add_images(modality=Modality.MR)
    _, later = joined(study, edit, first=first, second=second, again=again)
    study.add_segmentation(of=later)

    selection = select(study.instances, limits)

    assert [image.path for image in selection.series.images] == later
    assert f"differ in {told};" in selection.notes[0]


def test_an_outline_that_does_not_say_which_stack_it_is_of_is_refused(study, limits, edit):
    joined(study, edit, first={"AcquisitionNumber": 1}, second={"AcquisitionNumber": 2})
    path = study.add_rtstruct()

    def forget(structure_set):
        for contour in structure_set.ROIContourSequence[0].ContourSequence:
            del contour.ContourImageSequence
        frame = structure_set.ReferencedFrameOfReferenceSequence[0]
        del frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0].ContourImageSequence

    edit(path, forget)

    with pytest.raises(RejectedStudy) as caught:
        select(study.instances, limits)

    assert caught.value.reason is RejectionReason.SEVERAL_STACKS
    assert caught.value.detail == "2 stacks that differ in acquisition"


def test_an_outline_over_two_acquisitions_one_above_the_other_is_refused(study, limits, edit, box):
    above = study.add_images(ABOVE)
    joined(study, edit, first={"AcquisitionNumber": 1}, second={"AcquisitionNumber": 2}, again=above)
    mask = np.concatenate([box(z=slice(8, 12)), box(z=slice(0, 4))])
    study.add_segmentation(mask, of=[*study.images, *above])

    with pytest.raises(RejectedStudy) as caught:
        select(study.instances, limits)

    assert caught.value.reason is RejectionReason.SEVERAL_STACKS


def test_a_scanner_that_counts_rotations_as_acquisitions_makes_one_stack(study, limits, edit):
    for number, path in enumerate(study.images):
        edit(path, lambda ds, n=number: setattr(ds, "AcquisitionNumber", n // 4))
    study.add_segmentation()

    assert len(select(study.instances, limits).series.images) == 12


def test_slices_that_are_there_twice_and_differ_in_nothing_are_rejected(study, limits, edit):
    joined(study, edit, first={}, second={})
    study.add_segmentation()

    with pytest.raises(RejectedStudy) as caught:
        select(study.instances, limits)

    assert caught.value.reason is RejectionReason.GAP
    assert caught.value.detail == "12 slices at the place of another"


def test_a_stack_that_lacks_a_slice_is_rejected_and_not_completed_from_the_other(study, limits, edit):
    _, later = joined(study, edit, first={"AcquisitionNumber": 1}, second={"AcquisitionNumber": 2})
    study.add_segmentation(of=later)
    later[5].unlink()

    with pytest.raises(RejectedStudy) as caught:
        select(study.instances, limits)

    assert caught.value.reason is RejectionReason.GAP


def test_of_outlined_series_that_of_the_models_phase_is_taken(study, limits, edit):
    from dataclasses import replace

    from model.acquisition import ContrastPhase

    later = study.add_images(description="ARTERIAL")
    study.add_segmentation()
    study.add_segmentation(of=later)

    portal = select(study.instances, replace(limits, phase=ContrastPhase.PORTAL_VENOUS))
    arterial = select(study.instances, replace(limits, phase=ContrastPhase.ARTERIAL))

    assert [image.path for image in portal.series.images] == study.images
    assert [image.path for image in arterial.series.images] == later
