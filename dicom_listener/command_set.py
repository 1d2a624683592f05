# SPDX-License-Identifier: Apache-2.0
"""Command sets of DIMSE messages (PS3.7 6.3): read as far as they decide, and the C-STORE response."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from dicom_listener.status import StorageStatus

C_STORE_RQ = 0x0001
"""Command Field (PS3.7 9.3.1.1)."""

_C_STORE_RSP = 0x8001
_NO_DATA_SET = 0x0101
"""Command Data Set Type (PS3.7 E.1)."""
_P_DATA_TF = 0x04
_COMMAND, _LAST_OF_COMMAND = 0x01, 0x03
"""Message Control Header (PS3.8 E.2): command, not the last fragment; command, the last."""
_PDU_OVERHEAD_BYTES = 6
"""Length, presentation context and control header of a presentation data value (PS3.8 9.3.5.1)."""

_KNOWN_FIELDS = frozenset(
    request | answer
    for request in (0x0001, 0x0010, 0x0020, 0x0021, 0x0030, 0x0100, 0x0110, 0x0120, 0x0130, 0x0140, 0x0150)
    for answer in (0x0000, 0x8000)
) | {0x0FFF}
"""Table PS3.7 E.1-1."""


class MalformedCommand(Exception):
    """The bytes are no command set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What a command set says of its message."""

    field: int
    has_data_set: bool
    message_id: int = 0
    sop_class_uid: str = ""
    """Affected SOP Class UID; whatever text it holds, as the following one."""
    sop_instance_uid: str = ""


def read_command(encoded: bytes | bytearray) -> Command:
    """Return what `encoded`, in implicit VR little endian, says.

    Raises
    ------
    MalformedCommand
        It ends early, or names no message that there is.
    """
    values: dict[int, bytes] = {}
    position = 0
    while position < len(encoded):
        if position + 8 > len(encoded):
            raise MalformedCommand
        group, element, length = struct.unpack_from("<HHL", encoded, position)
        position += 8
        if group != 0x0000 or position + length > len(encoded):
            raise MalformedCommand
        values[element] = bytes(encoded[position : position + length])
        position += length
    field = _number(values, 0x0100)
    if field not in _KNOWN_FIELDS:
        raise MalformedCommand
    return Command(
        field=field,
        has_data_set=_number(values, 0x0800) != _NO_DATA_SET,
        message_id=_number(values, 0x0110) if field == C_STORE_RQ else 0,
        sop_class_uid=_text(values, 0x0002),
        sop_instance_uid=_text(values, 0x1000),
    )


def _number(values: dict[int, bytes], element: int) -> int:
    value = values.get(element, b"")
    if len(value) != 2:
        raise MalformedCommand
    return int.from_bytes(value, "little")


def _text(values: dict[int, bytes], element: int) -> str:
    return values.get(element, b"").decode("ascii", "replace").strip(" \0")


def c_store_response(command: Command, status: StorageStatus) -> bytes:
    """Return the command set of the C-STORE-RSP to a request (PS3.7 9.3.1.2)."""
    elements = [
        (0x0002, _padded(command.sop_class_uid, b"\0")),
        (0x0100, struct.pack("<H", _C_STORE_RSP)),
        (0x0120, struct.pack("<H", command.message_id)),
        (0x0800, struct.pack("<H", _NO_DATA_SET)),
        (0x0900, struct.pack("<H", status)),
        (0x0902, _padded(status.comment, b" ")),
        (0x1000, _padded(command.sop_instance_uid, b"\0")),
    ]
    encoded = b"".join(
        struct.pack("<HHL", 0, element, len(value)) + value for element, value in elements if value
    )
    return struct.pack("<HHLL", 0, 0, 4, len(encoded)) + encoded


def _padded(value: str, padding: bytes) -> bytes:
    encoded = value.encode("ascii", "replace")
    return encoded + padding * (len(encoded) % 2)


def command_pdus(context_id: int, encoded: bytes, *, maximum_length: int) -> Iterator[bytes]:
    """Yield the P-DATA-TF PDUs (PS3.8 9.3.5) that carry a command set.

    Parameters
    ----------
    maximum_length
        Of the data in a PDU that the peer takes, in bytes (PS3.8 D.1); 0 without limit.
    """
    room = max(maximum_length - _PDU_OVERHEAD_BYTES, 1) if maximum_length else len(encoded)
    for start in range(0, len(encoded), room):
        part = encoded[start : start + room]
        control = _LAST_OF_COMMAND if start + room >= len(encoded) else _COMMAND
        yield (
            struct.pack(">BBLLBB", _P_DATA_TF, 0, len(part) + 6, len(part) + 2, context_id, control) + part
        )
