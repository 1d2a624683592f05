# SPDX-License-Identifier: Apache-2.0
"""Words of ours that may be shown in another language: English as they stand, and still to be looked up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self


class Phrase(str):
    """A sentence with its values in it; `template` is what a catalogue of texts knows it by.

    It is its own English text, so that whoever knows of no languages can use it as any other text. Values
    that are phrases or members of an enumeration are looked up as well, and so are those in a tuple, which
    stands for a list with commas; any other is data and stays.
    """

    __slots__ = ("template", "values")

    template: str
    values: dict[str, object]

    def __new__(cls, template: str, values: dict[str, object]) -> Self:
        """Put `values` into the places that `template` names in braces."""
        made = str.__new__(cls, english(template, values))
        made.template = template
        made.values = values
        return made


def english(template: str, values: Mapping[str, object]) -> str:
    """Return `template` with `values` in it, lists with commas."""
    if tuple in map(type, values.values()):
        values = {name: _listed(value) for name, value in values.items()}
    return template.format_map(values)


def _listed(value: object) -> object:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else value


def phrase(template: str, /, **values: object) -> str:
    """Return `template` with `values` in it; the name by which texts are collected for the catalogue.

    A phrase is returned as it is, so that whoever gets a text need not know whether it is one.
    """
    return template if isinstance(template, Phrase) else Phrase(template, values)
