# SPDX-License-Identifier: Apache-2.0
"""JSON from a client as RFC 8259 has it, of a size, depth and breadth that cannot hurt."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

MAX_DEPTH = 64
"""FHIR resources in a Bundle in a request nest about twenty deep."""

MAX_SEPARATORS = 1_000_000
"""Commas and opening brackets, which bound the number of values: 16 MB of `[[],[],...]` would become more
than 300 MB of objects. A prefetch of 200 resources has about 20,000."""

_NESTING = frozenset({dict, list})

_HALF_CHARACTER = re.compile(rb"\\u[dD][89a-fA-F]")
"""Half of a UTF-16 surrogate pair, written as an escape."""


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
    if sum(body.count(each) for each in (b",", b"[", b"{")) > MAX_SEPARATORS:
        raise MalformedJson("the body has too many values")
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
    # Objects and lists by level; exact types, for nothing else comes from the parser, and it is faster.
    level = [document] if type(document) in _NESTING else []
    for _ in range(MAX_DEPTH):
        if not level:
            return
        level = [
            child
            for each in level
            for child in (each.values() if type(each) is dict else each)
            if type(child) in _NESTING
        ]
    if not level:
        return
    raise MalformedJson("the body is nested too deep")
