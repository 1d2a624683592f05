# SPDX-License-Identifier: Apache-2.0
"""What a compressed frame says of its own size, read before a decoder takes memory for it.

A file of a kilobyte may say in its codestream that it holds an image of 65,535 rows: the
decoder would believe it, whatever Rows and Columns of the data set are.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import unpack_from

from pydicom.uid import JPEG2000TransferSyntaxes

_JPEG_START = b"\xff\xd8"
_CODESTREAM_START = b"\xff\x4f\xff\x51"
"""SOC and SIZ markers (ISO/IEC 15444-1 A.4.1, A.5.1), which HTJ2K has too."""
_LARGEST_BOX_SEARCH = 4096
"""Where a JP2 file was put into a frame, its codestream starts behind a few boxes."""
_NO_FRAME_HEADERS = frozenset((0xC4, 0xC8, 0xCC))
"""DHT, JPG and DAC: within the markers that name the frame (ISO/IEC 10918-1 table B.1)."""
_STANDALONE = frozenset((0x01, *range(0xD0, 0xD8)))
"""Markers without a length."""
_JPEG_LS_FRAME = 0xF7


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredSize:
    """Size of an image by its codestream."""

    rows: int
    columns: int
    components: int


def declared_size(frame: bytes, transfer_syntax_uid: str) -> DeclaredSize | None:
    """Return the size that the codestream `frame` declares; None where it declares none.

    RLE (PS3.5 Annex G) has no size: its decoder takes Rows and Columns.
    """
    if transfer_syntax_uid in JPEG2000TransferSyntaxes:
        return _size_of_jpeg_2000(frame)
    return _size_of_jpeg(frame)


def _size_of_jpeg_2000(frame: bytes) -> DeclaredSize | None:
    start = frame.find(_CODESTREAM_START, 0, _LARGEST_BOX_SEARCH)
    if start < 0 or len(frame) < start + 42:
        return None
    # Behind Lsiz and Rsiz: extent of the reference grid in x and y, and the image's offset in it.
    right, bottom, left, top = unpack_from(">4I", frame, start + 8)
    (components,) = unpack_from(">H", frame, start + 40)
    return DeclaredSize(rows=bottom - top, columns=right - left, components=components)


def _size_of_jpeg(frame: bytes) -> DeclaredSize | None:
    if frame[:2] != _JPEG_START:
        return None
    position = 2
    while position + 10 <= len(frame) and frame[position] == 0xFF:
        marker = frame[position + 1]
        if marker == 0xFF or marker in _STANDALONE:
            position += 1 if marker == 0xFF else 2
            continue
        is_frame = 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME_HEADERS
        if is_frame or marker == _JPEG_LS_FRAME:
            rows, columns, components = unpack_from(">HHB", frame, position + 5)
            return DeclaredSize(rows=rows, columns=columns, components=components)
        (length,) = unpack_from(">H", frame, position + 2)
        position += 2 + length
    return None
