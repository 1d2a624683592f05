# SPDX-License-Identifier: Apache-2.0
"""Walks an encoded data set (PS3.5 7) without building it: whole or not, and its values at the top level.

pydicom builds an object for every element and item, which a few megabytes of empty items turn into
gigabytes, and reads a value that ends early as if it were short. What comes from a stranger is
therefore walked first: in a loop, so that depth costs nothing, over the buffer it arrived in, and up
to limits.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection
from dataclasses import dataclass
from struct import Struct
from typing import TypeAlias

from pydicom.uid import UID

Buffer: TypeAlias = bytes | bytearray | memoryview

_MOST_ELEMENTS = 1_000_000
"""Elements and items of one data set; a segmentation of 5,000 frames has about 300,000."""
_DEEPEST = 100
"""Sequences within sequences; PS3.5 sets no limit, and pydicom recurses."""
_LONGEST_VALUE = 1024
"""Of the few values that are asked for."""

_LONG_VRS = frozenset(
    vr.encode() for vr in ("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV")
)
"""Explicit VRs with a length of 32 bits (PS3.5 7.1.2)."""
_FRAGMENTED_VRS = frozenset((b"OB", b"OW"))
"""Of undefined length: items hold bytes, not elements (PS3.5 A.4)."""
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_PREAMBLE_LENGTH = 132
"""PS3.10 7.1: 128 bytes and DICM."""
_META_GROUP = 0x0002


class MalformedDataSet(Exception):
    """The bytes are no whole data set in the transfer syntax that they claim. Says where, never what."""


class DataSetTooLarge(Exception):
    """The data set is larger than the limit, if only after it is inflated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How elements are written."""

    explicit: bool
    little: bool


EXPLICIT_LITTLE = Encoding(explicit=True, little=True)


def encoding_of(transfer_syntax_uid: str) -> Encoding:
    """Return how elements are written in a transfer syntax (PS3.5 Annex A)."""
    syntax = UID(transfer_syntax_uid)
    return Encoding(explicit=not syntax.is_implicit_VR, little=syntax.is_little_endian)


def inflated(data: Buffer, *, maximum_bytes: int) -> bytes:
    """Return `data` of a deflated transfer syntax (PS3.5 A.5) inflated.

    Raises
    ------
    DataSetTooLarge
        Before more than `maximum_bytes` are held.
    MalformedDataSet
        It is no deflated stream or ends early.
    """
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        whole = inflater.decompress(data, maximum_bytes + 1)
    except zlib.error as error:
        raise MalformedDataSet("not deflated") from error
    if len(whole) > maximum_bytes:
        raise DataSetTooLarge
    if not inflater.eof:
        raise MalformedDataSet("the deflated stream ends early")
    return whole


def split_file(file: Buffer) -> tuple[memoryview, str]:
    """Return the data set of a DICOM file (PS3.10 7.1) and its transfer syntax UID.

    Raises
    ------
    MalformedDataSet
        It has no prefix or no readable File Meta Information.
    """
    view = memoryview(file)
    if bytes(view[_PREAMBLE_LENGTH - 4 : _PREAMBLE_LENGTH]) != b"DICM":
        raise MalformedDataSet("no DICOM file")
    values, end = _walk(
        view, EXPLICIT_LITTLE, frozenset((0x00020010,)), start=_PREAMBLE_LENGTH, only_group=_META_GROUP
    )
    return view[end:], values.get(0x00020010, "")


def top_level_values(data: Buffer, encoding: Encoding, tags: Collection[int]) -> dict[int, str]:
    """Walk the whole of `data` and return the values of `tags` as text, without padding.

    Raises
    ------
    MalformedDataSet
        An element reaches beyond the end, a sequence is not closed, nesting or the number of
        elements is beyond reason, or a wanted tag comes twice.
    """
    return _walk(memoryview(data), encoding, frozenset(tags), start=0, only_group=None)[0]


@dataclass(slots=True, kw_only=True)
class _Open:
    """A sequence or an item that is not closed yet."""

    is_item: bool
    explicit: bool


def _walk(  # noqa: C901, PLR0912, PLR0915 - one state machine, faster and clearer in one piece
    view: memoryview, encoding: Encoding, tags: frozenset[int], *, start: int, only_group: int | None
) -> tuple[dict[int, str], int]:
    head = Struct(("<" if encoding.little else ">") + "HHL").unpack_from
    short_length = Struct(("<" if encoding.little else ">") + "H").unpack_from
    long_length = Struct(("<" if encoding.little else ">") + "L").unpack_from
    end = len(view)
    position = start
    explicit = encoding.explicit
    open_ones: list[_Open] = []
    values: dict[int, str] = {}
    for _ in range(_MOST_ELEMENTS):
        if position == end and not open_ones:
            return values, position
        if position + 8 > end:
            raise MalformedDataSet("ends within an element or a sequence")
        group, element, length = head(view, position)
        tag = group << 16 | element
        inside = open_ones[-1] if open_ones else None
        if inside is not None and not inside.is_item:
            position += 8
            if tag == _SEQUENCE_END:
                open_ones.pop()
                explicit = open_ones[-1].explicit if open_ones else encoding.explicit
            elif tag != _ITEM:
                raise MalformedDataSet("something else than an item in a sequence")
            elif length == _UNDEFINED:
                # An item of an explicit data set may be implicit: UN (PS3.5 6.2.2), and careless writers.
                explicit = encoding.explicit and _looks_explicit(view, position)
                open_ones.append(_Open(is_item=True, explicit=explicit))
            else:
                position += length
        elif tag == _ITEM_END and inside is not None:
            position += 8
            open_ones.pop()
        elif only_group is not None and group != only_group:
            return values, position
        else:
            vr = b""
            position += 8
            if explicit:
                vr = bytes(view[position - 4 : position - 2])
                if vr in _LONG_VRS:
                    if position + 4 > end:
                        raise MalformedDataSet("ends within an element")
                    (length,) = long_length(view, position)
                    position += 4
                elif vr.isalpha() and vr.isupper():
                    (length,) = short_length(view, position - 2)
                # Else no VR at all: as in implicit VR, the way pydicom reads it.
            if length != _UNDEFINED:
                if tag in tags and inside is None:
                    if tag in values:
                        raise MalformedDataSet("an element comes twice")
                    values[tag] = _text(view, position, length)
                position += length
            elif vr in _FRAGMENTED_VRS:
                position = _after_fragments(view, position, head)
            elif len(open_ones) >= 2 * _DEEPEST:
                raise MalformedDataSet("sequences are nested too deep")
            else:
                open_ones.append(_Open(is_item=False, explicit=explicit))
        if position > end:
            raise MalformedDataSet("an element reaches beyond the end")
    raise MalformedDataSet("too many elements")


def _looks_explicit(view: memoryview, position: int) -> bool:
    vr = bytes(view[position + 4 : position + 6])
    # An empty item has a delimiter here; then it does not matter.
    return vr.isalpha() and vr.isupper()


def _text(view: memoryview, position: int, length: int) -> str:
    if length > _LONGEST_VALUE or position + length > len(view):
        raise MalformedDataSet("a value is too long")
    return bytes(view[position : position + length]).decode("latin-1").strip(" \0")


def _after_fragments(view: memoryview, position: int, head: object) -> int:
    """Return where encapsulated frames (PS3.5 A.4) end, behind their delimiter."""
    while True:
        if position + 8 > len(view):
            raise MalformedDataSet("ends within encapsulated frames")
        group, element, length = head(view, position)  # type: ignore[operator]  # bound method of Struct
        position += 8
        if (tag := group << 16 | element) == _SEQUENCE_END:
            return position
        if tag != _ITEM or length == _UNDEFINED:
            raise MalformedDataSet("something else than a fragment in encapsulated frames")
        position += int(length)
