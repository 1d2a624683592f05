# SPDX-License-Identifier: Apache-2.0
"""Command sets are read and written as pynetdicom reads and writes them."""

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import CTImageStorage
from pynetdicom.dimse_messages import C_ECHO_RQ, C_STORE_RQ, C_STORE_RSP
from pynetdicom.dimse_primitives import C_ECHO, C_STORE
from pynetdicom.dsutils import decode
from pynetdicom.pdu import P_DATA_TF

from dicom_listener.command_set import (
    Command,
    MalformedCommand,
    c_store_response,
    command_pdus,
    read_command,
)
from dicom_listener.status import StorageStatus
from model.domain import derived_uid


def store_request(**values: object) -> C_STORE:
    primitive = C_STORE()
    primitive.MessageID = 7
    primitive.Priority = 2
    primitive.AffectedSOPClassUID = CTImageStorage
    for name, value in values.items():
        setattr(primitive, name, value)
    return primitive


def command_of(message: object, primitive: object) -> bytes:
    message.primitive_to_message(primitive)
    (_, value) = next(message.encode_msg(1, 16_384)).presentation_data_value_list[0]
    return value[1:]


def stored(sop_instance_uid: str) -> Command:
    return Command(
        field=1,
        has_data_set=True,
        message_id=7,
        sop_class_uid=CTImageStorage,
        sop_instance_uid=sop_instance_uid,
    )


@pytest.mark.parametrize("status", list(StorageStatus))
@pytest.mark.parametrize("sop_instance_uid", ["1.2.3", "1.2.34", derived_uid("response")])
def test_a_response_is_pynetdicom_s_byte_for_byte(status: StorageStatus, sop_instance_uid: str) -> None:
    primitive = store_request(
        MessageIDBeingRespondedTo=7, AffectedSOPInstanceUID=sop_instance_uid, Status=int(status)
    )
    if status.comment:
        primitive.ErrorComment = status.comment

    ours = c_store_response(stored(sop_instance_uid), status)

    assert ours == command_of(C_STORE_RSP(), primitive)
    assert decode(BytesIO(ours), is_implicit_vr=True, is_little_endian=True).Status == status


@pytest.mark.parametrize("sop_instance_uid", ["1.2.3", "1.2.34", derived_uid("request")])
def test_a_request_says_what_pynetdicom_wrote(sop_instance_uid: str) -> None:
    primitive = store_request(AffectedSOPInstanceUID=sop_instance_uid, DataSet=BytesIO(b"\0\0"))

    assert read_command(command_of(C_STORE_RQ(), primitive)) == stored(sop_instance_uid)


def test_a_message_without_data_set_is_told_from_one_with() -> None:
    echo = C_ECHO()
    echo.MessageID = 1

    assert not read_command(command_of(C_ECHO_RQ(), echo)).has_data_set


@pytest.mark.parametrize("maximum_length", [0, 7, 64, 16_384])
def test_a_response_fits_into_the_pdus_that_the_peer_takes(maximum_length: int) -> None:
    encoded = c_store_response(stored("1.2.3"), StorageStatus.CANNOT_UNDERSTAND)

    pdus = list(command_pdus(5, encoded, maximum_length=maximum_length))

    assert all(len(each) - 6 <= maximum_length for each in pdus) or not maximum_length
    values = []
    for each in pdus:
        pdu = P_DATA_TF()
        pdu.decode(each)
        values += pdu.to_primitive().presentation_data_value_list
    assert {context for context, _ in values} == {5}
    assert [value[0] for _, value in values] == [1] * (len(values) - 1) + [3]
    assert b"".join(value[1:] for _, value in values) == encoded


@given(st.binary(max_size=64))
def test_bytes_that_are_no_command_are_malformed_and_nothing_worse(encoded: bytes) -> None:
    with pytest.raises(MalformedCommand):
        read_command(encoded)


@pytest.mark.parametrize("missing", [1, 3, 9])
def test_a_command_that_ends_early_is_malformed(missing: int) -> None:
    primitive = store_request(AffectedSOPInstanceUID="1.2.3", DataSet=BytesIO(b"\0\0"))
    whole = command_of(C_STORE_RQ(), primitive)

    with pytest.raises(MalformedCommand):
        read_command(whole[:-missing])
