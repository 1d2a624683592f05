# SPDX-License-Identifier: Apache-2.0
"""The documentation of the settings, written from the settings themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from cds_service.config import Config

_HEAD = """# Settings

One TOML file, given with `hcc-cds --config FILE`. Every setting has a default; an unknown one
is refused. Relative paths start at the file. This page is written by `make format`.
"""


def settings_page() -> str:
    """Return every setting with default and description, as Markdown."""
    return "\n".join([_HEAD, *_sections("", Config)])


def _sections(name: str, kind: type[BaseModel]) -> Iterator[str]:
    rows: list[str] = []
    below: list[str] = []
    for key, field in kind.model_fields.items():
        path = f"{name}.{key}" if name else key
        nested = _nested(field.annotation)
        if nested is None:
            rows.append(f"| `{key}` | {_default(field)} | {field.description} |")
        else:
            if field.description:
                table = (
                    f"Each a table `[[{path}]]`"
                    if get_origin(field.annotation) is tuple
                    else f"A table `[{path}]`"
                )
                rows.append(f"| `{key}` | none | {field.description} {table}. |")
            below.extend(_sections(path, nested))
    if name:
        yield f"## `{name}`\n\n{(kind.__doc__ or '').strip()}\n"
        yield "\n".join(["| setting | default | meaning |", "| --- | --- | --- |", *rows, ""])
    yield from below


def _nested(annotation: Any) -> type[BaseModel] | None:
    for each in (annotation, *get_args(annotation)):
        if isinstance(each, type) and issubclass(each, BaseModel):
            return each
    return None


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    return (
        f"`{json.dumps(field.default, default=_plain, ensure_ascii=False)}`"
        if field.default is not None
        else "none"
    )


def _plain(value: object) -> object:
    match value:
        case Enum():
            return value.value
        case Path():
            return str(value)
    raise TypeError(type(value).__name__)
