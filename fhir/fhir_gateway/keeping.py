# SPDX-License-Identifier: Apache-2.0
"""What is kept between calls: what is said of a short term, which comes again; of a longer text nothing."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

_TERM_MAX_LENGTH = 120
"""A longer text is no term that comes again, and may tell of its patient: nothing of it is kept."""

_TERM_MAX_PARTS = 20
"""A concept of more codings is kept as little: what one call leaves behind is to stay small."""

Said = TypeVar("Said")
Asked = TypeVar("Asked", bound=Callable[..., Any])


class _NoTerm(Exception):
    """Raised where nothing may be kept: what raises leaves nothing behind in `functools.lru_cache`."""


def of_terms(function: Asked) -> Asked:
    """Return `function`, of which what it says of terms is kept: of short texts, and of tuples of them."""
    kept = _kept(function)

    @functools.wraps(function)
    def said(*parts: Any) -> Any:
        try:
            return kept(*parts)
        except _NoTerm:
            return function(*parts)

    return cast(Asked, said)  # with the same arguments, which are all given by their places


def of_a_concept(function: Callable[[Any], Said]) -> Callable[[Any], Said]:
    """Return `function` of a CodeableConcept, JSON as parsed; what it says of a single coding is kept.

    Parameters
    ----------
    function
        Looks at the text, and at system, code and display of the codings, and at nothing else; null is to it
        the same as nothing.
    """

    @_kept
    def of_one_coding(system: Any, code: Any, display: Any, text: Any) -> Said:
        return function({"text": text, "coding": [{"system": system, "code": code, "display": display}]})

    @functools.wraps(function)
    def said(concept: Any) -> Said:
        codings = concept.get("coding") if isinstance(concept, dict) else None
        if isinstance(codings, list) and len(codings) == 1 and isinstance(coding := codings[0], dict):
            get = coding.get
            try:
                return of_one_coding(get("system"), get("code"), get("display"), concept.get("text"))
            except (_NoTerm, TypeError):  # a list or an object cannot be looked up
                pass
        return function(concept)

    return said


def _kept(function: Callable[..., Said]) -> Callable[..., Said]:
    @functools.lru_cache(maxsize=4096)
    def kept(*parts: Any) -> Said:
        if not _is_short(parts):
            raise _NoTerm
        return function(*parts)

    return kept


def _is_short(part: Any) -> bool:
    if isinstance(part, tuple):
        return len(part) <= _TERM_MAX_PARTS and all(map(_is_short, part))
    return part is None or (isinstance(part, str) and len(part) <= _TERM_MAX_LENGTH)
