# SPDX-License-Identifier: Apache-2.0
"""The rule book: every criterion and regimen, what a site changed in them, and a digest of all of it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from typing import Any

from model.eligibility.criteria.catalogue import CRITERIA
from model.eligibility.criterion import RULES_VERSION, Criterion, Threshold
from model.eligibility.regimens import REGIMENS, Regimen
from model.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdChange:
    """Another limit at this site."""

    criterion: str
    value: float
    threshold: str = ""
    """Its name; '' for the first one of the criterion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchedOff:
    """A criterion that this site does not ask."""

    criterion: str
    reason: str = ""
    """Why; required where the criterion is critical to safety."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleBook:
    """What is asked, of which regimens, and with which limits."""

    version: str
    criteria: tuple[Criterion, ...]
    """Those in use, with the limits in force."""
    regimens: tuple[Regimen, ...]
    off: tuple[tuple[Criterion, str], ...] = ()
    """Criteria that the site switched off, each with its reason."""
    digest: str = field(init=False, default="")
    """SHA-256 of everything above, hexadecimal: two sites with the same digest ask the same."""

    def __post_init__(self) -> None:
        every = [each.identifier for each in (*self.criteria, *(criterion for criterion, _ in self.off))]
        if len(set(every)) != len(every):
            raise ValueError("an identifier stands for one criterion")
        canonical = json.dumps(
            [self.version, _plain(self.criteria), _plain(self.regimens), _plain(self.off)],
            sort_keys=True,
            ensure_ascii=False,
            separators=(",", ":"),
        )
        object.__setattr__(self, "digest", hashlib.sha256(canonical.encode()).hexdigest())

    def __hash__(self) -> int:
        return hash(self.digest)

    def criterion(self, identifier: str) -> Criterion:
        """Return the criterion in use of that identifier.

        Raises
        ------
        KeyError
            There is none, or the site switched it off.
        """
        for each in self.criteria:
            if each.identifier == identifier:
                return each
        raise KeyError(identifier)

    @property
    def changes(self) -> tuple[str, ...]:
        """What the site changed, in words; none where the rule book is as it was published."""
        limits = [
            f"{criterion.identifier}: {threshold.name} is {threshold} instead of {threshold.default_text}"
            for criterion in self.criteria
            for threshold in criterion.thresholds
            if threshold.default is not None
        ]
        off = [
            f"{criterion.identifier} is switched off" + (f": {reason}" if reason else "")
            for criterion, reason in self.off
        ]
        return (*limits, *off)


def site_rule_book(
    book: RuleBook, *, thresholds: Iterable[ThresholdChange] = (), off: Iterable[SwitchedOff] = ()
) -> RuleBook:
    """Return `book` as a site wants it.

    Raises
    ------
    ConfigError
        A criterion or limit does not exist, is named twice, may not be switched off, or is switched off
        without the reason that it needs.
    """
    criteria = {each.identifier: each for each in book.criteria}
    changed: set[tuple[str, str]] = set()
    for change in thresholds:
        criterion = _known(criteria, change.criterion)
        threshold = _threshold(criterion, change.threshold)
        if (key := (criterion.identifier, threshold.name)) in changed:
            raise ConfigError(f"rules.thresholds: {criterion.identifier}, {threshold.name}, is set twice")
        changed.add(key)
        if not (math.isfinite(change.value) and change.value > 0):
            raise ConfigError(f"rules.thresholds: {criterion.identifier} needs a number above 0")
        criteria[criterion.identifier] = replace(
            criterion,
            thresholds=tuple(
                replace(each, value=change.value, default=each.value) if each is threshold else each
                for each in criterion.thresholds
            ),
        )
    switched_off = []
    for each in off:
        criterion = _known(criteria, each.criterion)
        if criterion.fixed:
            raise ConfigError(f"rules.off: {criterion.identifier} cannot be switched off")
        if criterion.is_safety_critical and not each.reason.strip():
            raise ConfigError(f"rules.off: {criterion.identifier} concerns safety and needs a reason")
        switched_off.append((criteria.pop(criterion.identifier), each.reason.strip()))
    return replace(book, criteria=tuple(criteria.values()), off=tuple(switched_off))


def _known(criteria: dict[str, Criterion], identifier: str) -> Criterion:
    if identifier not in criteria:
        raise ConfigError(f"rules: {identifier} is no criterion of the rule book, or is named twice")
    return criteria[identifier]


def _threshold(criterion: Criterion, name: str) -> Threshold:
    try:
        return criterion.threshold(name)
    except KeyError as error:
        named = f" of the name {name}" if name else ""
        raise ConfigError(f"rules.thresholds: {criterion.identifier} has no limit{named}") from error


def _plain(value: Any) -> Any:
    match value:
        case Enum():
            return value.value
        case tuple():
            return [_plain(each) for each in value]
        case frozenset():
            return sorted(_plain(each) for each in value)
        case None | str() | int() | float():
            return value
    return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}


RULE_BOOK = RuleBook(
    version=RULES_VERSION,
    criteria=CRITERIA,
    regimens=REGIMENS,
)
"""As published, before a site changes anything."""
