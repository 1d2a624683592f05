# SPDX-License-Identifier: Apache-2.0
"""Text from outside in GitHub-flavoured Markdown, so that it is text wherever it shows.

Clients render `detail` as Markdown, and the CDS Hooks sandbox renders raw HTML in it.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

_ESCAPES = str.maketrans(
    {character: f"\\{character}" for character in "\\`*_[]{}#!|~@$^"}
    | {character: html.escape(character, quote=True) for character in "<>&\"'"}
)
"""Emphasis, code, links, images, tables, strikethrough and autolinks; what HTML reads becomes entities."""

_ESCAPED = re.compile(f"[{re.escape(''.join(map(chr, _ESCAPES)))}]")

_AUTOLINK = re.compile(r"(:|www)(//|\.)", re.IGNORECASE)

_MAX_LENGTH = 200


def escaped(text: str, limit: int = _MAX_LENGTH) -> str:
    """Return `text` on one line, without control characters, cut to `limit` characters."""
    if not text.isprintable():
        text = "".join(character if character.isprintable() else " " for character in text)
    line = " ".join(text.split())
    if len(line) > limit:
        line = line[: limit - 1] + "…"
    if _ESCAPED.search(line):
        line = line.translate(_ESCAPES)
    # What GitHub-flavoured Markdown links without any brackets; elsewhere a dot or colon is only that.
    return _AUTOLINK.sub(r"\1\\\2", line) if ":" in line or "www" in line.lower() else line


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; its cells are Markdown already."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def bullets(items: Sequence[str]) -> str:
    """Return a list; its items are Markdown already."""
    return "\n".join(f"- {item}" for item in items)


def link(text: str, url: str) -> str:
    """Return a link to a page of ours; `text` is Markdown already, `url` one that we made."""
    return f"[{text}](<{url}>)"
