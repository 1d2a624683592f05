# SPDX-License-Identifier: Apache-2.0
"""Data sets from strangers: walked to the end, in a loop, or refused."""

import struct
import zlib
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import (
    UID,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from dicom_listener.encoded import (
    DataSetTooLarge,
    MalformedDataSet,
    encoding_of,
    inflated,
    split_file,
    top_level_values,
)
from model.domain import derived_uid

SOP_INSTANCE_UID = 0x00080018
STUDY_INSTANCE_UID = 0x0020000D
PATIENT_ID = 0x00100020


def image() -> Dataset:
    """An image with sequences in sequences."""
    ds = Dataset()
    ds.SOPClassUID = CTImageStorage
    ds.SOPInstanceUID = derived_uid("instance")
    ds.PatientID = "0042"
    ds.StudyInstanceUID = derived_uid("study")
    inner = Dataset()
    inner.SOPInstanceUID = derived_uid("inner")
    inner.CodeValue = "T-62000"
    outer = Dataset()
    outer.PurposeOfReferenceCodeSequence = [inner, inner]
    ds.SourceImageSequence = [outer, Dataset()]
    ds.Rows = ds.Columns = 4
    ds.BitsAllocated = 16
    ds.PixelData = bytes(range(32))
    ds["PixelData"].VR = "OW"
    return ds


def encoded(ds: Dataset, syntax: UID, *, undefined: bool = False) -> bytes:
    """Return a DICOM file."""
    if undefined:
        for element in ds.iterall():
            if element.VR == "SQ":
                element.is_undefined_length = True
                for item in element.value:
                    item.is_undefined_length_sequence_item = True
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    buffer = BytesIO()
    dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue()


@pytest.mark.parametrize("undefined", [False, True], ids=["defined lengths", "undefined lengths"])
@pytest.mark.parametrize(
    "syntax",
    [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian],
    ids=lambda uid: uid.name,
)
def test_values_at_the_top_level_are_read_in_every_encoding(syntax: UID, *, undefined: bool) -> None:
    file = encoded(image(), syntax, undefined=undefined)

    data, named = split_file(file)
    if syntax.is_deflated:
        data = memoryview(inflated(data, maximum_bytes=10_000))
    values = top_level_values(data, encoding_of(named), (SOP_INSTANCE_UID, STUDY_INSTANCE_UID, PATIENT_ID))

    assert named == syntax
    assert values == {
        SOP_INSTANCE_UID: derived_uid("instance"),
        STUDY_INSTANCE_UID: derived_uid("study"),
        PATIENT_ID: "0042",
    }


def test_encapsulated_frames_are_walked() -> None:
    ds = image()
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 15, 0
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.compress(RLELossless, generate_instance_uid=False)

    data, named = split_file(encoded(ds, RLELossless))

    assert named == RLELossless
    assert SOP_INSTANCE_UID in top_level_values(data, encoding_of(named), (SOP_INSTANCE_UID,))
    with pytest.raises(MalformedDataSet):
        top_level_values(data[:-9], encoding_of(named), (SOP_INSTANCE_UID,))


@pytest.mark.parametrize("undefined", [False, True], ids=["defined lengths", "undefined lengths"])
def test_a_data_set_that_ends_early_is_refused_wherever_it_ends(*, undefined: bool) -> None:
    data, _ = split_file(encoded(image(), ExplicitVRLittleEndian, undefined=undefined))
    encoding = encoding_of(ExplicitVRLittleEndian)
    whole = []
    for end in range(1, len(data)):
        try:
            top_level_values(data[:end], encoding, (SOP_INSTANCE_UID,))
        except MalformedDataSet:
            continue
        whole.append(end)

    # Between two elements of the top level nobody can know that more was to come.
    assert len(whole) == len(image()) - 1


def test_a_claimed_length_beyond_the_end_costs_nothing() -> None:
    claims = struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OW", 0, 0xFFFFFFFE)

    with pytest.raises(MalformedDataSet, match="beyond the end"):
        top_level_values(claims, encoding_of(ExplicitVRLittleEndian), ())


@pytest.mark.parametrize("depth", [99, 10_000])
def test_nesting_is_walked_in_a_loop_and_refused_beyond_reason(depth: int) -> None:
    begin = struct.pack("<HH2sHLHHL", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF, 0xFFFE, 0xE000, 0xFFFFFFFF)
    end = struct.pack("<HHLHHL", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    data = begin * depth + end * depth

    if depth < 100:
        assert top_level_values(data, encoding_of(ExplicitVRLittleEndian), ()) == {}
    else:
        with pytest.raises(MalformedDataSet, match="nested"):
            top_level_values(data, encoding_of(ExplicitVRLittleEndian), ())


def test_an_identifier_that_comes_twice_is_refused() -> None:
    data = struct.pack("<HH2sH4s", 0x0008, 0x0018, b"UI", 4, b"1.2\0") * 2

    with pytest.raises(MalformedDataSet, match="twice"):
        top_level_values(data, encoding_of(ExplicitVRLittleEndian), (SOP_INSTANCE_UID,))


def test_a_deflate_bomb_is_not_inflated_beyond_the_limit() -> None:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = deflater.compress(bytes(50_000_000)) + deflater.flush()

    with pytest.raises(DataSetTooLarge):
        inflated(bomb, maximum_bytes=1_000_000)


@pytest.mark.parametrize("data", [b"", b"\xff\xff\xff", zlib.compress(b"with a header")])
def test_what_is_not_deflated_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedDataSet):
        inflated(data, maximum_bytes=1000)


@pytest.mark.parametrize("file", [b"", b"DICM", bytes(128) + b"DICX", bytes(128) + b"DICM\x02\x00"])
def test_what_is_no_dicom_file_is_refused(file: bytes) -> None:
    with pytest.raises(MalformedDataSet):
        split_file(file)


_WHOLE = bytes(split_file(encoded(image(), ExplicitVRLittleEndian, undefined=True))[0])


def _changed(changes: list[tuple[int, int]]) -> bytes:
    data = bytearray(_WHOLE)
    for position, value in changes:
        data[position % len(data)] = value
    return bytes(data)


@given(
    data=st.binary(max_size=400)
    | st.lists(st.tuples(st.integers(0, 399), st.integers(0, 255)), min_size=1, max_size=8).map(_changed),
    syntax=st.sampled_from([ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]),
)
@settings(max_examples=400, deadline=2000)
def test_any_bytes_are_a_data_set_or_refused(data: bytes, syntax: UID) -> None:
    try:
        values = top_level_values(data, encoding_of(syntax), (SOP_INSTANCE_UID,))
    except MalformedDataSet:
        return

    assert all(isinstance(value, str) for value in values.values())
