# SPDX-License-Identifier: Apache-2.0
"""What a criterion came to for a patient: met, not met or unknown, with the reason in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Protocol

from model.eligibility.criterion import Criterion, Response, Severity
from model.patient_facts import Source, Unused
from model.phrase import phrase


class Truth(StrEnum):
    """Three-valued: unknown is neither of the others and never becomes met by leaving a fact away."""

    MET = "met"
    NOT_MET = "not met"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quoted:
    """Words of the record within our own: from outside, to be escaped and cut wherever they show."""

    text: str


Reason = tuple[str | Quoted, ...]
"""One or two sentences, in parts: our own words, and those of the record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one criterion came to."""

    criterion: Criterion
    truth: Truth
    headline: str
    """A few words for the card's summary; no patient data but the score."""
    reason: Reason
    sources: tuple[str, ...] = ()
    """References of the entries that decided it."""
    graver: bool = False
    """Not met in the graver form of the criterion."""
    in_doubt: bool = False
    """Unknown although the record has an entry that may decide it: graver than mere silence."""
    silent: bool = False
    """Unknown because nothing is on record, which is no negative; to be told in few words."""
    unread: bool = False
    """Silent, and that part of the record is not known whole: what is sought may be in the rest of it."""
    ask: str = ""
    """What to do to know it, where that is something else than the criterion's own."""
    left_aside: tuple[Unused, ...] = ()
    """Unknown, and on record: what is outdated or cannot be used."""
    severity: Severity = field(init=False)
    """How grave this finding is: it follows from the others."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "severity", self._severity())

    @property
    def response(self) -> Response | None:
        """What it asks of the reader; None unless it is not met."""
        if self.truth is not Truth.NOT_MET:
            return None
        return self.criterion.graver if self.graver and self.criterion.graver else self.criterion.response

    def _severity(self) -> Severity:
        match self.truth:
            case Truth.MET:
                return Severity.INFO
            case Truth.NOT_MET:
                return (self.response or self.criterion.response).severity
            case Truth.UNKNOWN:
                may_matter = self.in_doubt and self.criterion.not_met is not Severity.INFO
                return Severity.WARNING if may_matter else self.criterion.unknown


def met(criterion: Criterion, *reason: str | Quoted, sources: Iterable[Source] = ()) -> Finding:
    """Return that `criterion` holds, and why."""
    return Finding(
        criterion=criterion,
        truth=Truth.MET,
        headline=criterion.topic,
        reason=reason,
        sources=references(sources),
    )


def not_met(
    criterion: Criterion,
    headline: str,
    *reason: str | Quoted,
    sources: Iterable[Source] = (),
    graver: bool = False,
) -> Finding:
    """Return that `criterion` does not hold, and why."""
    return Finding(
        criterion=criterion,
        truth=Truth.NOT_MET,
        headline=headline,
        reason=reason,
        sources=references(sources),
        graver=graver,
    )


def unknown(
    criterion: Criterion,
    headline: str,
    *reason: str | Quoted,
    sources: Iterable[Source] = (),
    in_doubt: bool = False,
    ask: str = "",
) -> Finding:
    """Return that nobody can say whether `criterion` holds, and why."""
    return Finding(
        criterion=criterion,
        truth=Truth.UNKNOWN,
        headline=headline,
        reason=reason,
        sources=references(sources),
        in_doubt=in_doubt,
        ask=ask,
    )


def silent(criterion: Criterion, *, complete: bool = True, reason: str = "") -> Finding:
    """Return that the record says nothing that would decide `criterion`.

    Parameters
    ----------
    complete
        Whether that part of the record was read whole.
    reason
        In place of the general words: ours, and nothing of the patient.
    """
    return _silence(criterion, complete, reason)


@lru_cache(maxsize=512)
def _silence(criterion: Criterion, complete: bool, reason: str) -> Finding:
    """Return the one finding of this silence: most criteria meet it in most records, and it is the same."""
    unread = "" if complete else " Not all of that part of the record could be read."
    return Finding(
        criterion=criterion,
        truth=Truth.UNKNOWN,
        headline=phrase("no record of {topic}", topic=phrase(criterion.topic)),
        reason=(f"{reason or 'Nothing is on record, which is no negative.'}{unread}",),
        silent=True,
        unread=not complete,
    )


class Sourced(Protocol):
    """A fact that stands somewhere in the record."""

    @property
    def source(self) -> Source:
        """Where it stands."""


def sources_of(*groups: Iterable[Sourced]) -> list[Source]:
    """Return where the facts of all groups stand, in their order."""
    return [each.source for group in groups for each in group]


def references(sources: Iterable[Source]) -> tuple[str, ...]:
    """Return the references of `sources`, each once."""
    return tuple(dict.fromkeys([source.reference for source in sources]))


def listed(names: Iterable[str]) -> str:
    """Return `names` as a list in a sentence."""
    each = list(dict.fromkeys(names))
    if len(each) == 1:
        return each[0]
    return phrase("{names} and {last}", names=tuple(each[:-1]), last=each[-1])
