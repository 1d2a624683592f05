# SPDX-License-Identifier: Apache-2.0
"""What we encode ourselves is what pynetdicom would have encoded."""

from io import BytesIO

import pytest
from pydicom.uid import CTImageStorage
from pynetdicom.dimse_messages import C_STORE_RSP
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import decode

from dicom_listener.status import StorageStatus
from dicom_listener.transport import c_store_response
from model.domain import derived_uid


@pytest.mark.parametrize("status", list(StorageStatus))
@pytest.mark.parametrize("sop_instance_uid", ["1.2.3", "1.2.34", derived_uid("response")])
def test_a_response_is_pynetdicom_s_byte_for_byte(status: StorageStatus, sop_instance_uid: str) -> None:
    primitive = C_STORE()
    primitive.MessageID = primitive.MessageIDBeingRespondedTo = 7
    primitive.AffectedSOPClassUID = CTImageStorage
    primitive.AffectedSOPInstanceUID = sop_instance_uid
    primitive.Status = int(status)
    if status.comment:
        primitive.ErrorComment = status.comment

    ours = c_store_response(primitive)

    message = C_STORE_RSP()
    message.primitive_to_message(primitive)
    (_, theirs) = next(message.encode_msg(1, 16_384)).presentation_data_value_list[0]
    assert b"\x03" + ours == theirs
    assert decode(BytesIO(ours), is_implicit_vr=True, is_little_endian=True).Status == status
