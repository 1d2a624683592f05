# SPDX-License-Identifier: Apache-2.0
"""Texts with as many letters as before, each of one byte, for a validator that counts bytes."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

_OF_CHARACTERS = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
"""VRs whose values may have other letters than ASCII's (PS3.5 6.2)."""


def has_wide_letters(dataset: Dataset) -> bool:
    """Whether a text of `dataset` has letters that need more than a byte in UTF-8."""
    return any(not str(each.value).isascii() for each in _texts(dataset))


def with_narrow_letters(dataset: Dataset) -> Dataset:
    """Return a copy whose texts have an x for each letter that is none of ASCII's.

    Of a name only the longest component group is left: each of the three may have 64 characters
    (PS3.5 6.2.1).
    """
    copy = deepcopy(dataset)
    for each in _texts(copy):
        values = each.value if each.VM > 1 else [each.value]
        narrow = [_narrow(str(value), is_name=each.VR == "PN") for value in values]
        each.value = narrow if len(narrow) > 1 else narrow[0]
    return copy


def _narrow(text: str, *, is_name: bool) -> str:
    whole = max(text.split("="), key=len) if is_name else text
    return "".join(each if each.isascii() else "x" for each in whole)


def _texts(dataset: Dataset) -> Iterator[DataElement]:
    return (
        each for each in dataset.iterall() if each.VR in _OF_CHARACTERS and each.value not in (None, "", [])
    )
