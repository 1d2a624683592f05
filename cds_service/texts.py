# SPDX-License-Identifier: Apache-2.0
"""The texts of cards in the reader's language: compiled gettext catalogues, with English behind each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from gettext import GNUTranslations, NullTranslations
from pathlib import Path

from werkzeug.datastructures import LanguageAccept
from werkzeug.http import parse_accept_header

from model.phrase import Phrase, english

CATALOGUES = Path(__file__).parent / "locale"
"""`hcc-cds.pot`, and for each language `TAG/LC_MESSAGES/hcc-cds.mo`."""

DOMAIN = "hcc-cds"

ENGLISH_TAG = "en"


@dataclass(frozen=True, slots=True)
class Texts:
    """One language. A text without a translation stays English."""

    tag: str
    """BCP 47."""
    translations: NullTranslations

    def say(self, text: str, /, **values: object) -> str:
        """Return `text`, ours and in English, in this language, with `values` in the places it names.

        Values are looked up as those of a `Phrase` are.
        """
        if self is ENGLISH:
            # A phrase is its own English text.
            return english(text, values) if values and not isinstance(text, Phrase) else str(text)
        if isinstance(text, Phrase):
            return self._filled(text.template, text.values)
        return self._filled(text, values) if values else self._look_up(text)

    def say_many(self, one: str, many: str, number: int, /, **values: object) -> str:
        """Return `one` or `many`, as this language has it for `number`; `{number}` stands for it."""
        said = {"number": number} | self._said(values)
        try:
            return self.translations.ngettext(one, many, number).format(**said)
        except (LookupError, ValueError):
            return ENGLISH.translations.ngettext(one, many, number).format(**said)

    def _filled(self, template: str, values: Mapping[str, object]) -> str:
        said = self._said(values)
        try:
            return self._look_up(template).format(**said)
        except (LookupError, ValueError):
            # A translator's slip in a brace costs the translation, and not the card.
            return template.format(**said)

    def _look_up(self, text: str) -> str:
        # In a catalogue the empty text is the catalogue's own description.
        return self.translations.gettext(text) if text else ""

    def _said(self, values: Mapping[str, object]) -> dict[str, object]:
        return {name: self._value(value) for name, value in values.items()}

    def _value(self, value: object) -> object:
        if isinstance(value, tuple):
            return ", ".join(str(self._value(each)) for each in value)
        if isinstance(value, Phrase):
            return self.say(value)
        return self._look_up(str(value.value)) if isinstance(value, Enum) else value


ENGLISH = Texts(ENGLISH_TAG, NullTranslations())


@dataclass(frozen=True, slots=True)
class Languages:
    """The languages that cards can be written in; English always."""

    others: tuple[Texts, ...] = ()

    def choose(self, accept_language: str) -> Texts:
        """Return the language that the header `Accept-Language` (RFC 9110 12.5.4) asks for first."""
        known = {each.tag.lower(): each for each in (ENGLISH, *self.others)}
        for asked, quality in parse_accept_header(accept_language, LanguageAccept):
            # Look-up of RFC 4647 3.4 as far as our tags go: de-AT may be answered in de.
            found = known.get(asked.lower()) or known.get(asked.lower().split("-")[0])
            if found is not None and quality > 0:
                return found
        return ENGLISH


def load_languages(folder: Path = CATALOGUES) -> Languages:
    """Return English and what is compiled in `folder`."""
    others = []
    for path in sorted(folder.glob(f"*/LC_MESSAGES/{DOMAIN}.mo")):
        with path.open("rb") as file:
            tag = path.parents[1].name.replace("_", "-")
            others.append(Texts(tag, GNUTranslations(file)))
    return Languages(tuple(others))
