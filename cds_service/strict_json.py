# SPDX-License-Identifier: Apache-2.0
"""JSON from a client as RFC 8259 has it, of a size and depth that cannot hurt."""

from __future__ import annotations

import json
from typing import Any, NoReturn

MAX_DEPTH = 64
"""FHIR resources in a Bundle in a request nest about twenty deep."""


class MalformedJson(Exception):
    """The body is no JSON that is accepted here; the message quotes nothing of it."""


def parse_json(body: bytes) -> Any:
    """Return `body` as JSON.

    Raises
    ------
    MalformedJson
        Not UTF-8, not JSON, a name twice in one object, NaN or Infinity, or nested too deep.
    """
    try:
        document = json.loads(body.decode("utf-8"), object_pairs_hook=_object, parse_constant=_refuse)
    except UnicodeDecodeError as error:
        raise MalformedJson("the body is not UTF-8") from error
    except RecursionError as error:
        raise MalformedJson("the body is nested too deep") from error
    except ValueError as error:
        # Its message would say at which character, and quote nothing; still, ours is enough.
        raise MalformedJson("the body is not JSON (RFC 8259)") from error
    _require_depth(document)
    return document


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Two readers may take different ones of two equal names: refuse rather than choose.
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedJson("a name stands twice in one object")
    return found


def _refuse(_constant: str) -> NoReturn:
    raise MalformedJson("NaN and Infinity are no JSON")


def _require_depth(document: Any) -> None:
    level = [document]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for each in level
            if isinstance(each, (dict, list))
            for child in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return
    raise MalformedJson("the body is nested too deep")
