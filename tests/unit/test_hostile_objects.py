# SPDX-License-Identifier: Apache-2.0
"""Broken and hostile objects end in a coded rejection: the reader never dies and its memory stays bounded."""

import subprocess
import sys
import zlib
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from struct import pack

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    MRImageStorage,
    RTStructureSetStorage,
    SegmentationStorage,
)

from dicom_listener.instance import StoredInstance
from dicom_listener.measurement import measure_study, read_study
from dicom_listener.series import instance_at
from dicom_listener.syntaxes import LABEL_MAP_SEGMENTATION_STORAGE, TRANSFER_SYNTAXES
from model.domain import Modality, RejectionReason
from model.errors import ArchiveUnavailable, RejectedStudy
from model.radiomics import CT_SETTINGS, MR_SETTINGS

SETTINGS = {Modality.CT: CT_SETTINGS, Modality.MR: MR_SETTINGS}
SOP_CLASSES = [
    *(CTImageStorage, MRImageStorage, EnhancedCTImageStorage, EnhancedMRImageStorage),
    *(SegmentationStorage, LABEL_MAP_SEGMENTATION_STORAGE, RTStructureSetStorage),
]


def outcome(instances, limits):
    """Measure as the worker does; anything but a coded reason is a failure of the test."""
    try:
        measure_study(instances, limits=limits, settings=SETTINGS, default_issuer="")
    except RejectedStudy as rejection:
        return rejection.reason
    return None


def claimed(path, sop_class_uid, transfer_syntax_uid):
    """What the store would remember of `path`, had a peer announced it as this."""
    return StoredInstance(
        study_instance_uid="1.2.3",
        series_instance_uid="1.2.3.77",
        sop_instance_uid="1.2.3.77.1",
        sop_class_uid=sop_class_uid,
        transfer_syntax_uid=transfer_syntax_uid,
        modality="CT",
        path=path,
        sha256="0" * 64,
    )


@pytest.mark.real_data
@pytest.mark.parametrize("folder", ["pydicom", "fuzz"])
def test_every_broken_file_is_rejected_with_a_code_whatever_it_claims_to_be(cases, limits, study, folder):
    study.add_segmentation()
    sound = study.instances
    one_slice = replace(limits, minimum_slices=1)
    paths = [path for path in sorted((cases / "bad_dicom" / folder).rglob("*")) if path.is_file()]

    for path in paths:
        with suppress(RejectedStudy):
            assert outcome([instance_at(path)], one_slice) is not None
        for sop_class_uid in SOP_CLASSES:
            hostile = claimed(path, sop_class_uid, TRANSFER_SYNTAXES[0])
            assert outcome([hostile], one_slice) is not None, path
        # Beside sound objects it changes nothing, but for an outline that may be of something larger.
        beside = [*sound, claimed(path, SegmentationStorage, TRANSFER_SYNTAXES[0])]
        assert outcome(beside, limits) in (None, *RejectionReason), path
        read_study("1.2.3", beside, "")

    assert len(paths) > 30


HEADER_VALUES = {
    "Rows": st.integers(0, 65535),
    "Columns": st.integers(0, 65535),
    "BitsAllocated": st.sampled_from([0, 1, 8, 16, 32, 64, 65535]),
    "BitsStored": st.integers(0, 64),
    "HighBit": st.integers(0, 64),
    "PixelRepresentation": st.integers(0, 3),
    "SamplesPerPixel": st.integers(0, 5),
    "NumberOfFrames": st.sampled_from(["0", "1", "2", "-1", "2147483647", "x"]),
    "PhotometricInterpretation": st.sampled_from(["", "RGB", "PALETTE COLOR", "MONOCHROME1", "YBR_FULL"]),
    "RescaleSlope": st.sampled_from(["0", "-1", "1e38", "nan", "inf", "", "abc", "1\\2"]),
    "RescaleIntercept": st.sampled_from(["0", "-1e308", "nan", "", "abc"]),
    "PixelSpacing": st.sampled_from(["0\\0", "-1\\1", "1", "1e-30\\1e-30", "nan\\1", "abc", "1e30\\1e30"]),
    "ImagePositionPatient": st.sampled_from(["0\\0\\nan", "1e30\\0\\0", "a\\b\\c", "0\\0", ""]),
    "ImageOrientationPatient": st.sampled_from(
        ["0\\0\\0\\0\\0\\0", "1\\0\\0\\1\\0\\0", "x", "1\\0\\0\\0\\1\\1e9"]
    ),
    "SliceThickness": st.sampled_from(["-1", "nan", "1e300", "thick", ""]),
    "GantryDetectorTilt": st.sampled_from(["nan", "1e9", "x", ""]),
    "ImageType": st.text(max_size=20),
    "SeriesDescription": st.text(max_size=80),
    "PatientID": st.text(max_size=80),
    "PatientBirthDate": st.sampled_from(["20260230", "00000000", "x", ""]),
    "AcquisitionTime": st.text(max_size=16),
    "AcquisitionNumber": st.sampled_from(["-1", "2147483648", "x", "1.5", ""]),
    "EchoTime": st.sampled_from(["nan", "x", ""]),
    "PixelPaddingValue": st.integers(-70000, 70000),
    "FrameOfReferenceUID": st.sampled_from(["", "x", "1..2", "0" * 70]),
    "ContrastBolusStartTime": st.text(max_size=8),
    "SegmentationType": st.sampled_from(["", "BINARY", "FRACTIONAL", "LABELMAP", "X"]),
}


def spoil(path, keyword, value):
    dataset = dcmread(path)
    element = dataset.get_item(keyword)
    if isinstance(value, int):
        vr = "SS" if value < 0 else "US"
        if not -32768 <= value <= 65535:
            return
        raw = pack("<h" if value < 0 else "<H", value)
    else:
        vr = element.VR if element is not None and element.VR not in ("US", "SS", "OW") else "LO"
        raw = value.encode("utf-8", "replace")
        raw += b" " * (len(raw) % 2)
    buffer = BytesIO()
    if element is not None:
        del dataset[keyword]
    dataset.save_as(buffer)
    data = buffer.getvalue()
    # Appended as raw bytes: pydicom would refuse to write what others do write.
    from pydicom.datadict import tag_for_keyword

    tag = tag_for_keyword(keyword)
    elem = pack("<HH", tag >> 16, tag & 0xFFFF) + vr.encode() + pack("<H", len(raw)) + raw
    path.write_bytes(_inserted(data, tag, elem))


def _inserted(data, tag, element):
    """Put `element` where its tag belongs, by the offsets that pydicom reads."""
    for each in dcmread(BytesIO(data)):
        if each.tag > tag:
            return data[: _start(data, each)] + element + data[_start(data, each) :]
    return data + element


def _start(data, element):
    head = pack("<HH", element.tag.group, element.tag.element) + element.VR.encode()
    return data.index(head, 132)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    derandomize=True,
)
@given(
    which=st.sampled_from(["one image", "all images", "outline"]),
    spoilt=st.sampled_from(sorted(HEADER_VALUES)).flatmap(
        lambda keyword: st.tuples(st.just(keyword), HEADER_VALUES[keyword])
    ),
)
def test_no_value_of_a_header_ends_in_anything_but_a_result_or_a_code(
    tmp_path_factory, new_study, limits, which, spoilt
):
    study = new_study(tmp_path_factory.mktemp("fuzz"))
    study.add_images(voxels=np.full((12, 40, 48), 80.0) + np.arange(48))
    outline = study.add_segmentation()
    paths = {"one image": study.images[4:5], "all images": study.images, "outline": [outline]}[which]
    for path in paths:
        spoil(path, *spoilt)

    try:
        instances = study.instances
    except RejectedStudy:
        return  # it would not have been taken

    assert outcome(instances, limits) in (None, *RejectionReason)
    read_study("1.2.3", instances, "")


@settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(
    place=st.floats(0, 1, exclude_max=True), junk=st.binary(min_size=1, max_size=24), kind=st.integers(0, 2)
)
def test_no_bytes_in_a_file_end_in_anything_but_a_result_or_a_code(hostile_bytes, limits, place, junk, kind):
    instances, sources = hostile_bytes
    path, whole = sources[kind]
    at = 132 + int(place * (len(whole) - 132))
    path.write_bytes(whole[:at] + junk + whole[at + len(junk) :])
    try:
        assert outcome(instances, limits) in (None, *RejectionReason)
    finally:
        path.write_bytes(whole)


@pytest.fixture
def hostile_bytes(study):
    outline, contours = study.add_segmentation(), study.add_rtstruct()
    paths = [study.images[4], outline, contours]
    return study.instances, [(path, path.read_bytes()) for path in paths]


GIGABYTES = 2 * 2**30


def limited(code, *arguments):
    """Run `code` in a process that may not hold more than two gigabytes."""
    # It limits itself: a `preexec_fn` runs after the fork, where a lock of one of our threads may be held.
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({GIGABYTES}, {GIGABYTES}))\n"
    return subprocess.run(
        [sys.executable, "-c", limit + code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


MEASURE = """
import sys
from pathlib import Path
from cds_service.config import ImageConfig
from cds_service.stages import image_limits
from dataclasses import replace
from dicom_listener.measurement import measure_study
from dicom_listener.series import instance_at
from model.domain import Modality
from model.errors import RejectedStudy
from model.radiomics import CT_SETTINGS, MR_SETTINGS
try:
    instances = [instance_at(Path(each)) for each in sys.argv[1:]]
    limits = replace(image_limits(ImageConfig()), minimum_slices=1)
    measure_study(
        instances,
        limits=limits,
        settings={Modality.CT: CT_SETTINGS, Modality.MR: MR_SETTINGS},
        default_issuer="",
    )
except RejectedStudy as rejection:
    print(rejection.reason.value)
"""


def eight_gigabytes_by_its_size(dataset):
    dataset.Rows = dataset.Columns = 65535
    dataset.PixelData = b"\0" * 16


def eight_gigabytes_by_its_frames(dataset):
    dataset.SOPClassUID = EnhancedCTImageStorage
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = 4096, 4096, 250
    dataset.PixelData = b"\0" * 16


@pytest.mark.parametrize("change", [eight_gigabytes_by_its_size, eight_gigabytes_by_its_frames])
def test_a_file_of_a_kilobyte_that_claims_eight_gigabytes_of_pixels_is_rejected_in_little_memory(
    study, edit, change
):
    study.add_segmentation()
    edit(study.images[4], change)

    answer = limited(MEASURE, *(each.path for each in study.instances))

    assert study.images[4].stat().st_size < 4000
    assert answer.returncode == 0, answer.stderr[-500:]
    assert answer.stdout.strip() == "IMG-PIX"


def test_pixel_data_that_claims_to_be_longer_than_the_file_is_rejected_in_little_memory(study):
    study.add_segmentation()
    path = study.images[4]
    data = path.read_bytes()
    place = data.index(pack("<HH", 0x7FE0, 0x0010) + b"OW")
    path.write_bytes(data[: place + 8] + pack("<L", 0xFFFFFFF0) + data[place + 12 : place + 100])

    answer = limited(MEASURE, *(each.path for each in study.instances))

    assert answer.returncode == 0, answer.stderr[-500:]
    assert answer.stdout.strip() == "IMG-PIX"


def test_a_deflated_bomb_is_rejected_in_little_memory(study):
    study.add_segmentation()
    path = study.images[4]
    dataset = dcmread(path)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(path)
    data = path.read_bytes()
    start = data.index(b"UI", 140)
    meta_end = 132 + 12 + int.from_bytes(data[140:144], "little")
    inflated = zlib.decompress(data[meta_end:], -zlib.MAX_WBITS)
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = [data[:meta_end], deflater.compress(inflated)]
    bomb += [deflater.compress(bytes(2**20)) for _ in range(1100)]
    path.write_bytes(b"".join([*bomb, deflater.flush()]))

    answer = limited(MEASURE, *(each.path for each in study.instances))

    assert start > 0
    assert path.stat().st_size < 2_000_000
    assert answer.returncode == 0, answer.stderr[-500:]
    assert answer.stdout.strip() == "IMG-PIX"


def test_nesting_to_a_depth_of_ten_thousand_is_rejected(study, limits):
    study.add_segmentation()
    instances = study.instances
    path = study.images[4]
    data = path.read_bytes()
    place = data.index(pack("<HH", 0x7FE0, 0x0010) + b"OW")
    sequence = pack("<HH", 0x0040, 0x0275) + b"SQ\0\0" + pack("<L", 0xFFFFFFFF)
    opened = sequence + pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
    path.write_bytes(data[:place] + opened * 10_000 + data[place:])

    assert outcome(instances, limits) is RejectionReason.PIXELS


def test_a_file_that_cannot_be_opened_now_is_no_fault_of_the_study(study, limits):
    study.add_segmentation()
    instances = study.instances
    study.images[3].unlink()
    study.images[3].mkdir()

    with pytest.raises(ArchiveUnavailable):
        outcome(instances, limits)
