# SPDX-License-Identifier: Apache-2.0
"""Features are equal whatever the lossless transfer syntax; lossy pixels are measured and told."""

import subprocess
from functools import partial
from struct import pack

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from dicom_listener.codestream import declared_size
from dicom_listener.measurement import measure_study
from dicom_listener.pixels import DECODERS, read_frame
from dicom_listener.selection import select
from dicom_listener.syntaxes import LOSSLESS_SYNTAXES, LOSSY_SYNTAXES
from dicom_listener.volume import read_volume
from model.acquisition import AcquisitionCaution
from model.domain import Modality, RejectionReason
from model.errors import RejectedStudy
from model.radiomics import CT_SETTINGS, MR_SETTINGS


@pytest.fixture
def settings():
    return {Modality.CT: CT_SETTINGS, Modality.MR: MR_SETTINGS}


def compress_with_pydicom(path, syntax, peer):
    dataset = dcmread(path)
    dataset.compress(syntax, generate_instance_uid=False)
    dataset.save_as(path)


def compress_with_dcmtk(path, *options, peer):
    subprocess.run(
        [peer("dcmcjpeg"), *options, "+un", str(path), str(path)],
        check=True,
        capture_output=True,
        timeout=100,
    )


def compress_with_openjph(path, syntax, *options, peer):
    dataset = dcmread(path)
    picture, stream = path.with_suffix(".pgm"), path.with_suffix(".j2c")
    stored = dataset.pixel_array
    header = f"P5 {stored.shape[1]} {stored.shape[0]} 4095\n".encode()
    picture.write_bytes(header + stored.astype(">u2").tobytes())
    subprocess.run(
        [peer("ojph_compress"), "-i", picture, "-o", stream, *options],
        check=True,
        capture_output=True,
        timeout=100,
    )
    dataset.PixelData = encapsulate([stream.read_bytes()])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path)
    picture.unlink()
    stream.unlink()


REVERSIBLE = ("-reversible", "true")
LOSSLESS = {
    RLELossless: partial(compress_with_pydicom, syntax=RLELossless),
    JPEGLSLossless: partial(compress_with_pydicom, syntax=JPEGLSLossless),
    JPEG2000Lossless: partial(compress_with_pydicom, syntax=JPEG2000Lossless),
    HTJ2KLossless: lambda path, peer: compress_with_openjph(path, HTJ2KLossless, *REVERSIBLE, peer=peer),
    HTJ2KLosslessRPCL: lambda path, peer: compress_with_openjph(
        path, HTJ2KLosslessRPCL, *REVERSIBLE, "-prog_order", "RPCL", peer=peer
    ),
    JPEGLosslessSV1: lambda path, peer: compress_with_dcmtk(path, "+e1", peer=peer),
    JPEGLossless: lambda path, peer: compress_with_dcmtk(path, "+el", peer=peer),
}


def compress(study, syntax, peer):
    for path in study.images:
        LOSSLESS[syntax](path, peer=peer)
        assert dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID == syntax


def features_of(study, limits, settings):
    measured = measure_study(study.instances, limits=limits, settings=settings, default_issuer="")
    return measured.lesions[0].features


def test_every_compressed_syntax_that_is_taken_has_one_decoder():
    assert set(DECODERS) == {*LOSSLESS_SYNTAXES, *LOSSY_SYNTAXES}
    assert set(LOSSLESS) == set(LOSSLESS_SYNTAXES)


@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda each: each.keyword)
def test_features_are_equal_whatever_the_lossless_syntax(study, limits, settings, peer, syntax):
    study.add_segmentation()
    plain = features_of(study, limits, settings)

    compress(study, syntax, peer)

    assert features_of(study, limits, settings) == plain
    assert not select(study.instances, limits).series.acquisition.lossy_compressed


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless, JPEGLosslessSV1])
def test_signed_pixels_keep_their_sign_in_every_family_of_codecs(study, limits, peer, syntax):
    study.add_segmentation()
    for path in study.images:
        dataset = dcmread(path)
        signed = dataset.pixel_array.astype("<i2") - 1024
        signed[0, 0] = -2000
        dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = 1, 16, 15
        dataset.RescaleIntercept, dataset.PixelData = "0", signed.tobytes()
        dataset.save_as(path)
    plain = read_volume(select(study.instances, limits).series).voxels

    compress(study, syntax, peer)

    np.testing.assert_array_equal(read_volume(select(study.instances, limits).series).voxels, plain)


@pytest.mark.real_data
def test_one_slice_of_a_scanner_is_the_same_in_all_its_syntaxes(cases):
    paths = sorted((cases / "dicom_ct_slice_syntaxes").glob("*.dcm"))
    decoded = [read_frame(dcmread(path), 0) for path in paths]

    assert len({dcmread(path).file_meta.TransferSyntaxUID for path in paths}) == 4
    for each in decoded[1:]:
        np.testing.assert_array_equal(each, decoded[0])


def stated_lossless(dataset):
    dataset.LossyImageCompression = "00"


def relabelled(syntax, change=bool):
    """A syntax that may hold lossy pixels, on pixels that were compressed without loss."""
    exact = JPEGLSLossless if syntax == JPEGLSNearLossless else JPEG2000Lossless

    def write(path, peer):
        compress_with_pydicom(path, exact, peer)
        dataset = dcmread(path)
        change(dataset)
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.save_as(path)

    return write


@pytest.mark.parametrize(
    ("write", "is_lossy"),
    [
        (relabelled(JPEGLSNearLossless), True),
        (relabelled(JPEG2000), True),
        (relabelled(JPEG2000, stated_lossless), False),
        (lambda path, peer: compress_with_openjph(path, HTJ2K, *REVERSIBLE, peer=peer), True),
    ],
    ids=["NearLossless", "JPEG2000", "JPEG2000 stated lossless", "HTJ2K"],
)
def test_lossy_pixels_are_measured_and_told_and_kept_from_the_score(
    study, limits, settings, peer, write, is_lossy
):
    study.add_segmentation()
    for path in study.images:
        write(path, peer=peer)

    measured = measure_study(study.instances, limits=limits, settings=settings, default_issuer="")

    assert measured.acquisition.lossy_compressed is is_lossy
    assert (AcquisitionCaution.LOSSY in measured.acquisition.cautions) is is_lossy
    assert any("with loss" in note for note in measured.notes) is is_lossy


def test_lossy_jpeg_of_twelve_bits_is_refused_for_its_syntax(study, limits, settings, peer):
    study.add_segmentation()
    for path in study.images:
        compress_with_dcmtk(path, "+ee", peer=peer)

    with pytest.raises(RejectedStudy) as caught:
        measure_study(study.instances, limits=limits, settings=settings, default_issuer="")

    assert dcmread(study.images[0], stop_before_pixels=True).file_meta.TransferSyntaxUID == JPEGExtended12Bit
    assert caught.value.reason is RejectionReason.SYNTAX


@pytest.mark.parametrize(
    ("syntax", "marker", "offset"),
    [
        (JPEG2000Lossless, b"\xff\x4f\xff\x51", 8),
        (JPEGLSLossless, b"\xff\xf7", 5),
        (JPEGLosslessSV1, b"\xff\xc3", 5),
    ],
)
def test_a_codestream_that_claims_gigabytes_is_refused_before_it_is_decoded(
    study, limits, settings, peer, syntax, marker, offset
):
    study.add_segmentation()
    compress(study, syntax, peer)
    data = study.images[4].read_bytes()
    place = data.index(marker) + offset
    size = pack(">II", 65000, 65000) if syntax == JPEG2000Lossless else pack(">HH", 65000, 65000)
    study.images[4].write_bytes(data[:place] + size + data[place + len(size) :])

    with pytest.raises(RejectedStudy) as caught:
        measure_study(study.instances, limits=limits, settings=settings, default_issuer="")

    assert caught.value.reason is RejectionReason.MIXED_GEOMETRY
    assert "another size" in caught.value.detail


@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda each: each.keyword)
def test_broken_codestreams_are_rejected_and_nothing_else(study, limits, settings, peer, syntax):
    study.add_segmentation()
    compress(study, syntax, peer)
    dataset = dcmread(study.images[4])
    dataset.PixelData = encapsulate([b"\xff\xd8\xff" + bytes(300)])
    dataset.save_as(study.images[4])

    with pytest.raises(RejectedStudy) as caught:
        measure_study(study.instances, limits=limits, settings=settings, default_issuer="")

    assert caught.value.reason in (RejectionReason.PIXELS, RejectionReason.MIXED_GEOMETRY)


@pytest.mark.parametrize(
    "frame", [b"", b"\xff\xd8", b"\xff\xd8\xff\xc0\x00", b"\xff\x4f\xff\x51" + b"\0" * 4]
)
def test_a_codestream_that_ends_early_declares_no_size(frame):
    assert declared_size(frame, JPEGLossless) is None
    assert declared_size(frame, JPEG2000Lossless) is None
