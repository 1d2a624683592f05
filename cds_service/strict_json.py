# SPDX-License-Identifier: Apache-2.0
"""JSON from a client as RFC 8259 has it, of a size, depth and breadth that cannot hurt.

pydantic's parser reads quickly, and lets names pass that stand twice and numbers that are infinite. What it
has read is counted: as many names as the body has marks for them, no number without end, no nesting beyond
ours. Where that does not come out even, and where it refuses, the standard library's parser reads once more,
with a look at every object, and says what is wrong.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, NoReturn

from pydantic_core import from_json

MAX_DEPTH = 64
"""FHIR resources in a Bundle in a request nest about twenty deep."""

MAX_SEPARATORS = 1_000_000
"""Commas and opening brackets, which bound the number of values: 16 MB of `[[],[],...]` would become more
than 300 MB of objects. A prefetch of 200 resources has about 20,000."""

_HALF_CHARACTER = re.compile(rb"\\u[dD][89a-fA-F]")
"""Half of a UTF-16 surrogate pair, written as an escape."""

_SPACES = (b" ", b"\t", b"\n", b"\r")
"""What may stand between a name and its colon."""


class MalformedJson(Exception):
    """The body is no JSON that is accepted here; the message quotes nothing of it."""


def parse_json(body: bytes) -> Any:
    """Return `body` as JSON.

    Raises
    ------
    MalformedJson
        Not UTF-8, not JSON, a name twice in one object, a number that is none, half a character, nested too
        deep, or too many values.
    """
    if len(body) > MAX_SEPARATORS and _separators(body) > MAX_SEPARATORS:
        raise MalformedJson("the body has too many values")
    try:
        # Its cache of short texts outlives the call, and they may be a patient's.
        document = from_json(body, allow_inf_nan=False, cache_strings="none")
    except ValueError:
        return _examined(body)
    return document if _is_as_written(document, body) else _examined(body)


def _separators(body: bytes) -> int:
    return sum(body.count(each) for each in (b",", b"[", b"{"))


def _is_as_written(document: Any, body: bytes) -> bool:
    """Whether nothing of `body` was lost or is beyond what is allowed; if in doubt, not.

    A quotation mark and a colon stand behind each name, and by chance in texts: where there are no more of
    them than names were read, no name was lost.
    """
    if any(space in body and space + b":" in body for space in _SPACES):
        return False
    names = 0
    for depth, (values, objects) in enumerate(_levels(document)):
        if depth > MAX_DEPTH or any(math.isinf(each) for each in values if type(each) is float):
            return False
        names += sum(map(len, objects))
    return names == body.count(b'":')


def _levels(document: Any) -> Iterator[tuple[list[Any], list[dict[str, Any]]]]:
    """Yield the values that are no text, and the objects among them, by how deep they are nested."""
    values: Iterable[Any] = [document]
    while True:
        # Exact types, for nothing else comes from the parser, and it is faster.
        others = [each for each in values if type(each) is not str]
        objects = [each for each in others if type(each) is dict]
        arrays = [each for each in others if type(each) is list]
        yield others, objects
        if not objects and not arrays:
            return
        values = chain(chain.from_iterable(map(dict.values, objects)), chain.from_iterable(arrays))


def _examined(body: bytes) -> Any:
    """Return `body` as JSON, every object of it looked at; raises as `parse_json`."""
    try:
        document = json.loads(
            body.decode("utf-8"), object_pairs_hook=_object, parse_constant=_refuse, parse_float=_finite
        )
    except UnicodeDecodeError as error:
        raise MalformedJson("the body is not UTF-8") from error
    except RecursionError as error:
        raise MalformedJson("the body is nested too deep") from error
    except ValueError as error:
        # Its message would say at which character, and quote nothing; still, ours is enough.
        raise MalformedJson("the body is not JSON (RFC 8259)") from error
    _require_depth(document)
    if _HALF_CHARACTER.search(body):
        _require_whole_characters(document)
    return document


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Two readers may take different ones of two equal names: refuse rather than choose.
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedJson("a name stands twice in one object")
    return found


def _refuse(_constant: str) -> NoReturn:
    raise MalformedJson("NaN and Infinity are no JSON")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise MalformedJson("a number is too large")
    return value


def _require_whole_characters(document: Any) -> None:
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise MalformedJson("the body holds half a character (RFC 8259 8.2)") from error


def _require_depth(document: Any) -> None:
    if any(depth > MAX_DEPTH for depth, _ in enumerate(_levels(document))):
        raise MalformedJson("the body is nested too deep")
