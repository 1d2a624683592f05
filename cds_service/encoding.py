# SPDX-License-Identifier: Apache-2.0
"""Domain values to JSON and back: what crosses a workflow step or a database column."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, TypeVar, cast

from pydantic import Field, TypeAdapter

from model.domain import Outcome

T = TypeVar("T")

_Outcome = Annotated[Outcome, Field(union_mode="left_to_right")]
"""Neither kind has all fields of the other, so that the first that can be read is the one that was written;
pydantic would read all of it as the other as well."""


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def encode(kind: Any, value: object) -> dict[str, Any]:
    """Return `value`, a dataclass or union of them named by `kind`, as JSON-ready dictionaries."""
    return cast("dict[str, Any]", _adapter(kind).dump_python(value, mode="json"))


def decode(kind: type[T], value: object) -> T:
    """Return the value of type `kind` that `encode` wrote; it is validated again."""
    return cast("T", _adapter(cast("Any", kind)).validate_python(value))


def decode_outcome(value: object) -> Outcome:
    """Return the outcome that `encode(Outcome, ...)` wrote."""
    return cast("Outcome", _adapter(_Outcome).validate_python(value))


def outcome_to_json(outcome: Outcome) -> str:
    """Return `outcome` as JSON text."""
    return _adapter(_Outcome).dump_json(outcome).decode()


def outcome_from_json(text: str) -> Outcome:
    """Return the outcome that `outcome_to_json` wrote."""
    return cast("Outcome", _adapter(_Outcome).validate_json(text))
