# SPDX-License-Identifier: Apache-2.0
"""Text on one sheet of A4, from top to bottom, in a font that goes with it."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import reportlab
from PIL import Image
from reportlab.lib.pagesizes import A4
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

MARGIN = 40.0
"""In points, as all lengths here."""
WIDTH = A4[0] - 2 * MARGIN
TOP = A4[1] - MARGIN
LEADING = 1.3
"""Height of a line of text, by that of its letters."""

_REGULAR, _BOLD = "Vera", "VeraBd"
"""Bitstream Vera, which comes with reportlab and may be embedded."""


class Sheet:
    """One page; positions are (left, top) from the lower left corner.

    The same calls give the same bytes: nothing is taken from the clock or by chance.
    """

    def __init__(self, *, title: str, author: str) -> None:
        _fonts()
        self._buffer = BytesIO()
        self._canvas: Any = Canvas(
            self._buffer, pagesize=A4, pageCompression=1, invariant=1, lang="en", initialFontName=_REGULAR
        )
        self._canvas.setTitle(title)
        self._canvas.setAuthor(author)
        self._canvas.setSubject("")

    def content(self) -> bytes:
        """Return the finished PDF."""
        self._canvas.showPage()
        self._canvas.save()
        return self._buffer.getvalue()

    def text(
        self, lines: Sequence[str], *, left: float, top: float, size: float, bold: bool = False
    ) -> float:
        """Write `lines` and return where the next one would have its top."""
        self._canvas.setFont(_BOLD if bold else _REGULAR, size)
        for line in lines:
            top -= size * LEADING
            self._canvas.drawString(left, top + 0.3 * size, printable(line))
        return top

    def text_to(self, right: float, line: str, *, top: float, size: float, bold: bool = False) -> None:
        """Write `line` so that it ends at `right`."""
        self.text([line], left=right - width(line, size=size, bold=bold), top=top, size=size, bold=bold)

    def rule(self, top: float, *, left: float = MARGIN, length: float = WIDTH) -> None:
        """Draw a thin horizontal line."""
        self._canvas.setLineWidth(0.5)
        self._canvas.line(left, top, left + length, top)

    def frame(self, *, left: float, top: float, length: float, height: float) -> None:
        """Draw a frame round what stands there."""
        self._canvas.setLineWidth(1.2)
        self._canvas.rect(left, top - height, length, height)

    def image(self, grey: Any, *, left: float, top: float, length: float, height: float) -> None:
        """Draw a uint8 array of shape (rows, columns)."""
        self._canvas.drawImage(
            ImageReader(Image.fromarray(grey)), left, top - height, width=length, height=height
        )

    def lines(self, points: Sequence[tuple[float, float]], *, colour: tuple[float, float, float]) -> None:
        """Draw a line through `points`."""
        path = self._canvas.beginPath()
        path.moveTo(*points[0])
        for point in points[1:]:
            path.lineTo(*point)
        self._canvas.setLineWidth(0.8)
        self._canvas.setStrokeColorRGB(*colour)
        self._canvas.drawPath(path)
        self._canvas.setStrokeColorRGB(0, 0, 0)


@cache
def _fonts() -> dict[str, Any]:
    folder = Path(reportlab.__file__).parent / "fonts"
    fonts = {name: TTFont(name, str(folder / f"{name}.ttf")) for name in (_REGULAR, _BOLD)}
    for font in fonts.values():
        pdfmetrics.registerFont(font)
    return fonts


def printable(text: str) -> str:
    """Return `text` with what the font can write.

    Vera has the letters of Western Europe and Turkish. Of others the accents are left out (Dvořák becomes
    Dvorák); what is then still unknown, as Greek, Cyrillic or Chinese, becomes ?.
    """
    return "".join(each if _is_known(each) else _plain(each) for each in unicodedata.normalize("NFC", text))


def _plain(letter: str) -> str:
    base = unicodedata.normalize("NFKD", letter)
    kept = "".join(each for each in base if not unicodedata.combining(each))
    if kept:
        return "".join(each if _is_known(each) else "?" for each in kept)
    # An accent by itself, whose letter has none such.
    return ""


def _is_known(letter: str) -> bool:
    return letter.isprintable() and ord(letter) in _fonts()[_REGULAR].face.charToGlyph


def width(text: str, *, size: float, bold: bool = False) -> float:
    """Return how long `text` is when it is written."""
    _fonts()
    return float(pdfmetrics.stringWidth(printable(text), _BOLD if bold else _REGULAR, size))


def clipped(text: str, *, length: float, size: float) -> str:
    """Return `text`, of what is longer than `length` the beginning and an ellipsis."""
    if width(text, size=size) <= length:
        return text
    return f"{_beginning(text, length - width('…', size=size), size)}…"


def wrapped(text: str, *, length: float, size: float) -> list[str]:
    """Return `text` in lines no longer than `length`; a word that is longer is parted."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        rest = word
        if line and width(f"{line} {rest}", size=size) <= length:
            line = f"{line} {rest}"
            continue
        if line:
            lines.append(line)
        while width(rest, size=size) > length:
            lines.append(_beginning(rest, length, size))
            rest = rest[len(lines[-1]) :]
        line = rest
    return [*lines, line] if line else lines


def _beginning(text: str, length: float, size: float) -> str:
    """Return as many letters as fit, at least one."""
    count = 1
    while count < len(text) and width(text[: count + 1], size=size) <= length:
        count += 1
    return text[:count]
