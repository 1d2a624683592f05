# SPDX-License-Identifier: Apache-2.0
"""What images state and show, as a coded rejection, as a caution that keeps the score back, or as a note."""

from dataclasses import replace

import numpy as np
import pytest
from pydicom.uid import EncapsulatedPDFStorage, SecondaryCaptureImageStorage

from dicom_listener.measurement import measure_study
from dicom_listener.selection import select
from dicom_listener.series import is_sharp
from dicom_listener.treatment import names_treatment
from dicom_listener.volume import AIR_HU, read_volume
from model.acquisition import AcquisitionCaution
from model.domain import Modality, RejectionReason
from model.errors import RejectedStudy
from model.radiomics import CT_SETTINGS, MR_SETTINGS

SETTINGS = {Modality.CT: CT_SETTINGS, Modality.MR: MR_SETTINGS}


def measured_of(study, limits):
    return measure_study(study.instances, limits=limits, settings=SETTINGS, default_issuer="")


def state(study, edit, **values):
    for path in study.images:
        edit(path, lambda ds: [setattr(ds, keyword, value) for keyword, value in values.items()])


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"BurnedInAnnotation": "YES"}, RejectionReason.BURNED_IN),
        ({"SeriesDescription": "PORTAL MONO_E 55 keV"}, RejectionReason.DERIVED),
        ({"SeriesDescription": "Iodine map portal"}, RejectionReason.DERIVED),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL", "VNC"]}, RejectionReason.DERIVED),
        ({"ImageType": ["DERIVED", "PRIMARY", "ADC"]}, RejectionReason.DERIVED),
        ({"RescaleIntercept": "0", "RescaleSlope": "1"}, RejectionReason.HOUNSFIELD),
        ({"GantryDetectorTilt": "8"}, RejectionReason.TILT),
    ],
)
def test_what_may_not_be_measured_is_rejected_with_its_code(study, limits, edit, values, reason):
    study.add_segmentation()
    state(study, edit, **values)

    with pytest.raises(RejectedStudy) as caught:
        measured_of(study, limits)

    assert caught.value.reason is reason


@pytest.mark.parametrize("sop_class_uid", [SecondaryCaptureImageStorage, EncapsulatedPDFStorage])
def test_a_study_of_captures_only_says_so(study, limits, sop_class_uid):
    captures = [replace(each, sop_class_uid=sop_class_uid, modality="OT") for each in study.instances]

    with pytest.raises(RejectedStudy) as caught:
        select(captures, limits)

    assert caught.value.reason is RejectionReason.SECONDARY_CAPTURE
    assert caught.value.detail == "12 OT"


@pytest.mark.parametrize(
    ("values", "caution"),
    [
        ({"LossyImageCompression": "01"}, AcquisitionCaution.LOSSY),
        ({"ConvolutionKernel": "B70f"}, AcquisitionCaution.SHARP_KERNEL),
        ({"SeriesDescription": "PORTAL O-MAR"}, AcquisitionCaution.METAL),
        ({"StudyDescription": "CT liver post TACE"}, AcquisitionCaution.TREATED),
        (
            {"SeriesDescription": "NATIVE", "ContrastBolusAgent": "IOHEXOL"},
            AcquisitionCaution.PHASE_CONTRADICTION,
        ),
    ],
)
def test_what_the_headers_say_against_a_score_is_a_caution(study, limits, edit, values, caution):
    study.add_segmentation()
    assert measured_of(study, limits).acquisition.cautions == ()

    state(study, edit, **values)

    assert measured_of(study, limits).acquisition.cautions == (caution,)


def outlined(new_study, tmp_path, mask, change, **options):
    """A study whose voxels were changed, with `mask` outlined."""
    study = new_study(tmp_path)
    voxels = np.random.default_rng(7).normal(80.0, 10.0, mask.shape)
    change(voxels)
    study.add_images(voxels=voxels, **options)
    study.add_segmentation(mask)
    return study


def nothing(voxels):
    del voxels


def lipiodol(voxels):
    voxels[4:6, 14:20, 16:22] = 700.0


def stain(voxels):
    voxels[4:6, 14:22, 14:26] = 180.0


def clip(voxels):
    voxels[4, 33, 20] = 2800.0


@pytest.mark.parametrize(
    ("change", "description", "expected"),
    [
        (lipiodol, "PORTAL", (AcquisitionCaution.TREATED,)),
        (stain, "NATIVE", (AcquisitionCaution.TREATED,)),
        (stain, "ARTERIAL", ()),
        (clip, "PORTAL", (AcquisitionCaution.METAL,)),
    ],
)
def test_what_the_lesion_shows_against_a_score_is_a_caution_and_a_note(
    new_study, tmp_path, box, limits, change, description, expected
):
    study = outlined(new_study, tmp_path, box(), change, description=description)

    measured = measured_of(study, limits)

    assert measured.acquisition.cautions == expected
    for caution in expected:
        assert f"{caution.value}: {caution.explanation}" in measured.notes


@pytest.mark.parametrize("cut", [{"z": slice(6, 12)}, {"y": slice(0, 20)}, {"x": slice(30, 48)}])
def test_a_lesion_that_the_images_cut_off_is_a_caution(study, limits, box, cut):
    study.add_segmentation(box(**cut))

    assert measured_of(study, limits).acquisition.cautions == (AcquisitionCaution.TRUNCATED,)


def test_padding_that_no_attribute_declares_becomes_air(new_study, tmp_path, limits, box, edit):
    study = outlined(new_study, tmp_path, box(), nothing)

    def pad(dataset):
        stored = dataset.pixel_array.astype("<i2")
        stored[:2] = -2000
        dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = 1, 16, 15
        dataset.PixelData = stored.tobytes()

    for path in study.images:
        edit(path, pad)

    voxels = read_volume(select(study.instances, limits).series).voxels

    assert (voxels[:, :2] == AIR_HU).all()
    assert voxels[:, 2:].min() > 0


def test_thick_slices_within_the_limit_are_told(new_study, tmp_path, limits, box, edit):
    study = outlined(new_study, tmp_path, box(), nothing)
    state(study, edit, SliceThickness="4")

    assert "slices are 4.0 mm thick or apart" in " ".join(select(study.instances, limits).notes)


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        (("B50F",), True),
        (("BR64D", "3"), True),
        (("B30F",), False),
        (("BR40", "3"), False),
        (("I30F", "2"), False),
        (("LUNG",), True),
        (("BONEPLUS",), True),
        (("STANDARD",), False),
        (("SOFT",), False),
        (("FC08",), False),
        (("FC13",), False),
        (("FC51",), True),
        (("FC81",), True),
        (("B",), False),
        (("YA",), True),
        (("D",), True),
        ((), False),
    ],
)
def test_a_kernel_is_sharp_by_its_vendors_name(kernel, expected):
    assert is_sharp(kernel) is expected


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("CT liver post TACE", True),
        ("Treated lesion seg 8", True),
        ("ablation zone", True),
        ("Z. n. DEB-TACE", True),
        ("Lipiodol deposit", True),
        ("LR-TR viable", True),
        ("pre TACE", False),
        ("no prior ablation", False),
        ("untreated lesion", False),
        ("planning for RFA", False),
        ("vor TACE", False),
        ("Lesion 1", False),
        ("surface", False),
    ],
)
def test_words_tell_a_treated_lesion_from_one_that_is_to_be_treated(label, expected):
    assert names_treatment(label) is expected


@pytest.mark.parametrize(
    ("kind", "heading"), [(RejectionReason, "Rejections"), (AcquisitionCaution, "Cautions")]
)
def test_the_page_on_selection_lists_every_code_with_its_words(repository, kind, heading):
    page = (repository / "docs" / "selection.md").read_text(encoding="utf-8")
    table = page.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| `")]

    assert [(code.strip("`"), words) for code, _, words in rows] == [
        (each.value, each.explanation) for each in kind
    ]
