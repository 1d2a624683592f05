# SPDX-License-Identifier: Apache-2.0
"""The `detail` of a card in Markdown: what stands against the regimen first, what is unknown next.

A reader has ten seconds: a bold headline for each finding, its reason in a sentence or two, the sources of
the rule behind a link, and in one line each what is to be done, what is silent, and what is met by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from datetime import date
from functools import cache
from typing import Any, get_args, get_type_hints

from cds_service.markdown import bullets, escaped, link, table
from cds_service.texts import Texts
from model.eligibility.assess import Eligibility, Finding, Quoted, Truth
from model.eligibility.criteria.general import ECOG_KNOWN, LOCOREGIONAL_CONSIDERED
from model.eligibility.criteria.liver import CHILD_PUGH_COMPUTABLE
from model.eligibility.criterion import Criterion, Severity
from model.eligibility.left_aside import ENCEPHALOPATHY, left_aside
from model.eligibility.regimens import RegimenOrder
from model.patient_facts import PatientFacts, Source, Unused
from model.phrase import Phrase, phrase

_QUOTE_MAX_LENGTH = 80
"""Characters of what the record says of one diagnosis."""

_NAME_MAX_LENGTH = 60
_NAMES_SHOWN = 10
"""Drugs that are not recognised: characters of each name, and how many."""

_SOURCES_SHOWN = 6
"""References behind one reason."""

_DIGEST_SHOWN = 12
"""Hexadecimal digits of a digest that a person can compare; the page of the rules has all."""

_ASK = {
    "ascites": phrase(
        "state whether there is ascites: none, slight or controlled by diuretics, moderate to severe"
    ),
    "encephalopathy": phrase(
        "state whether there is hepatic encephalopathy: none, grade 1 to 2, grade 3 to 4"
    ),
}

_OUTDATED = phrase("outdated")

_SIGNS = {"encephalopathy": ENCEPHALOPATHY}
"""Parts of the liver score that have another name among what is left aside."""

_ASKED_FOR = (ECOG_KNOWN.identifier, LOCOREGIONAL_CONSIDERED.identifier)
"""What a reader is asked for where nothing on record tells of it."""

_TITLES = {
    Severity.CRITICAL: phrase("Stop and review"),
    Severity.WARNING: phrase("Not met"),
    Severity.INFO: phrase("Not met"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """What the parts of the details of one answer are written from."""

    facts: PatientFacts
    order: RegimenOrder | None
    eligibility: Eligibility
    rules_url: str
    """Absolute URL of the page of the rule book, where `#R10` is the criterion R10."""
    texts: Texts
    _dates: Mapping[str, date] = field(init=False)
    """Day of what is told, by its reference: a finding names its sources by reference only."""

    def __post_init__(self) -> None:
        dates: dict[str, date] = {}
        _note_dates(self.facts, dates)
        object.__setattr__(self, "_dates", dates)

    def findings(self, findings: Sequence[Finding], severity: Severity) -> list[str]:
        """Return what is not met, what is unknown and what is met, in that order and apart."""
        say = self.texts.say
        sections = []
        if not_met := [self._reason(each) for each in findings if each.truth is Truth.NOT_MET]:
            sections.append(_section(say(_TITLES[severity]), bullets(not_met)))
        told: list[str] = []
        shortly: list[Finding] = []
        for each in findings:
            if each.truth is Truth.UNKNOWN:
                if _is_told_shortly(each):
                    shortly.append(each)
                else:
                    told.append(self._reason(each))
        if told:
            sections.append(_section(say("Unknown"), bullets(told)))
        sections += self._told_shortly(shortly)
        met = [each for each in findings if each.truth is Truth.MET]
        if met:
            # A topic alone, such as ascites, would read as if there were some.
            against = say(
                "nothing speaks against treatment in {topics}", topics="; ".join(map(self._topic, met))
            )
            sections.append(_line(say("Met"), len(met), against))
            # A criterion may be met and something still stand beside it, as other cancers do.
            if remarks := [self._reason(each) for each in met if _has_remark(each)]:
                sections.append(bullets(remarks))
        return sections

    def _told_shortly(self, unknown: Sequence[Finding]) -> Iterator[str]:
        """Yield a line each for what is to be done, does not count, may stand unread, or is silent."""
        say = self.texts.say
        asked = [each for each in unknown if _only_asks(each)]
        if asked:
            short = "; ".join(f"{self._ask(each)} ({each.criterion.identifier})" for each in asked)
            yield _line(say("Not known, and to do"), len(asked), short)
        left = [each for each in unknown if each.left_aside]
        if left:
            short = "; ".join(f"{self._topic(each)} ({self._why_left(each.left_aside)})" for each in left)
            yield _line(say("On record, and outdated or not usable"), len(left), short)
        unread = [each for each in unknown if each.unread]
        if unread:
            short = "; ".join(self._topic(each) for each in unread)
            yield _line(say("Nothing found in a record that was not read whole"), len(unread), short)
        nothing = [each for each in unknown if not (_only_asks(each) or each.left_aside or each.unread)]
        if nothing:
            short = "; ".join(say(each.criterion.topic) for each in nothing)
            yield _line(say("Nothing on record, which is no negative"), len(nothing), short)

    def _topic(self, finding: Finding) -> str:
        return f"{finding.criterion.identifier} {self.texts.say(finding.criterion.topic)}"

    def _why_left(self, left: Sequence[Unused]) -> str:
        """Return why the newest entry of each fact does not count, and its day."""
        say = self.texts.say
        newest = {each.name: each for each in sorted(left, key=lambda each: each.source.on or date.min)}
        told = []
        for each in newest.values():
            why = say(_OUTDATED if each.is_outdated else each.reason)
            told.append(f"{why}, {each.source.on.isoformat()}" if each.source.on else why)
        return "; ".join(told)

    def _reason(self, finding: Finding) -> str:
        say = self.texts.say
        headline = say(finding.headline)
        reason = "".join(
            escaped(part.text, _QUOTE_MAX_LENGTH) if isinstance(part, Quoted) else say(part)
            for part in finding.reason
        ).strip()
        parts = [f"**{_capitalised(headline)}.**"]
        # What the headline has said is not said again, and that nothing is on record needs no sentence.
        if reason.lower().startswith(headline.lower()):
            reason = _capitalised(reason[len(headline) :].lstrip(":. "))
        if reason and not finding.silent:
            parts.append(reason)
        if finding.sources:
            parts.append(say("From {sources}.", sources=_listed_sources(finding.sources, self._dates)))
        if finding.truth is Truth.UNKNOWN and (ask := self._ask(finding)):
            parts.append(say("To do: {ask}.", ask=ask))
        return " ".join([*parts, self._evidence(finding)])

    def _evidence(self, finding: Finding) -> str:
        """Return the rule with its limit and first source; the others are behind the link."""
        criterion, say = finding.criterion, self.texts.say
        if finding.truth is Truth.UNKNOWN and finding.severity is Severity.INFO:
            return f"*{self._rule(criterion)}*"
        first, *others = criterion.citations
        sources = say(first.text) + (f", +{len(others)}" if others else "")
        # Where something is unknown, its limit decides nothing yet.
        statement = f" {self._statement(criterion)}" if finding.truth is not Truth.UNKNOWN else ""
        return f"*{self._rule(criterion)}{statement} ({say(criterion.strength.value)}: {sources})*"

    def _rule(self, criterion: Criterion) -> str:
        return link(criterion.identifier, f"{self.rules_url}#{criterion.identifier}")

    def _statement(self, criterion: Criterion) -> str:
        limits: dict[str, object] = {each.name: each.words for each in criterion.thresholds}
        return self.texts.say(Phrase(criterion.wording, limits))

    def _ask(self, finding: Finding) -> str:
        """Return what to do to know it; for the liver score, what would make it one number."""
        criterion, say = finding.criterion, self.texts.say
        if criterion.identifier != CHILD_PUGH_COMPUTABLE.identifier:
            return say(finding.ask or criterion.ask)
        asks = []
        for part in self.eligibility.child_pugh.open_parts:
            if part.note:
                asks.append(f"{say(part.name)}: {escaped(say(part.note))}")
            elif part.name in _ASK:
                asks.append(say(_ASK[part.name]))
            else:
                asks.append(say("order {name}", name=say(part.name)))
        return "; ".join(asks)

    def inputs(self) -> str:
        """Return the table of what the liver score was computed from, with dates and sources."""
        say, facts, score = self.texts.say, self.facts, self.eligibility.child_pugh
        known: dict[str, tuple[str, Source]] = {
            lab.analyte.value: (str(lab.quantity), lab.source) for lab in facts.labs
        }
        for name, sign in (("ascites", facts.ascites), ("encephalopathy", facts.encephalopathy)):
            if sign is not None:
                known[name] = (say(sign.grade.value), sign.source)
        rows = []
        for part in score.parts:
            low, high = part.points
            value, source = known.get(part.name) or self._unknown_input(part.name)
            remarks = [say(part.note)] if part.note else []
            if part.borderline:
                remarks.append(say("borderline: {why}", why=say(part.borderline)))
            rows.append(
                [
                    say(part.name),
                    "; ".join(escaped(each) for each in (value, *remarks)),
                    source.on.isoformat() if source and source.on else "–",
                    f"{low}" if low == high else say("{low} to {high}", low=low, high=high),
                    source_text(source) if source else "–",
                ]
            )
        lines = [f"**{say(score.words)}**"]
        if score.inr_confounded:
            lines.append(say("INR is confounded by an anticoagulant."))
        if facts.cholestatic:
            lines.append(
                say(
                    "Bilirubin is scored with the cut points for cholestatic disease ({source}).",
                    source=source_text(facts.cholestatic),
                )
            )
        header = [say(each) for each in _HEADER]
        lines.append(table(header, rows))
        return "\n\n".join(lines)

    def _unknown_input(self, name: str) -> tuple[str, Source | None]:
        say = self.texts.say
        left = left_aside(self.facts, _SIGNS.get(name, name))
        if not left:
            return say("unknown"), None
        newest = max(left, key=lambda each: each.source.on or date.min)
        why = say(_OUTDATED) if newest.is_outdated else say("not usable")
        return say("unknown: {why}", why=why), newest.source

    def beside(self) -> list[str]:
        """Return what is given or ordered beside the regimen, or may be.

        It stands on every card, as no criterion judges it.
        """
        if self.order is None:
            return []
        say = self.texts.say
        items = [
            say(
                "also on the medication list: {drug} ({source})",
                drug=each.drug,
                source=_with_date(each.source),
            )
            for each in self.facts.drugs
            if each.drug in self.order.also_taken
        ]
        if self.order.incomplete:
            items.append(say("an order could not be read or names a drug that is not known"))
        return [_section(say("Beside the regimen"), bullets(items))] if items else []

    def left_out(self) -> list[str]:
        """Return what the record holds and was not used, and why."""
        say, facts = self.texts.say, self.facts
        items = [
            f"{escaped(say(each.name))}: {escaped(say(each.reason))} ({_with_date(each.source)})"
            for each in facts.unused
        ]
        items += [say(each) for each in facts.gaps]
        items += self._unrecognised(facts.unrecognised_drugs)
        return [_section(say("Not used"), bullets(items))] if items else []

    def _unrecognised(self, names: Sequence[str]) -> list[str]:
        # No kind of drug is then certainly not taken.
        if not names:
            return []
        shown = "; ".join(escaped(name, _NAME_MAX_LENGTH) for name in names[:_NAMES_SHOWN])
        told = self.texts.say("medication list, not recognised: {names}", names=shown)
        more = len(names) - _NAMES_SHOWN
        return [told + (self.texts.say("; and {number} more", number=more) if more > 0 else "")]

    def monitoring(self) -> str:
        """Return where it stands what is to be watched under treatment: the same for every patient."""
        label = self.texts.say("what to watch under treatment")
        return self.texts.say("See also {page}.", page=link(label, f"{self.rules_url}#under-treatment"))

    def alternatives(self) -> str:
        """Return what guidelines name beside it, in no order of preference (ASCO 2024, 1.1 and 1.2)."""
        return self.texts.say(
            "Also supported in first line (ASCO 2024; Child-Pugh A, ECOG 0 to 1): atezolizumab + "
            "bevacizumab; durvalumab + tremelimumab; where contraindicated sorafenib, lenvatinib or "
            "durvalumab. No order of preference is meant."
        )

    def scope(self, *, whole: bool) -> str:
        """Return what was not checked, so that nobody reads silence as an all-clear; `whole` on one card."""
        say, book = self.texts.say, self.eligibility.book
        areas = ", ".join(say(each) for each in self.eligibility.not_checked)
        more = say("each rule with its sources")
        return " ".join(
            [
                say("**Not checked by this version:** {areas}.", areas=areas)
                if whole
                else say(
                    "**Not everything is checked by this version;** the page of the rules lists what is not."
                ),
                say(
                    "Rules {version} ({digest}), not signed off by clinicians: {link}.",
                    version=book.version,
                    digest=book.digest[:_DIGEST_SHOWN],
                    link=link(more, self.rules_url),
                ),
                say("The software does not select, order or exclude treatment."),
            ]
        )


_HEADER = (
    phrase("Input"),
    phrase("Value"),
    phrase("Date"),
    phrase("Points"),
    phrase("Source"),
)


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def _section(title: str, text: str) -> str:
    return f"**{title}**\n\n{text}"


def _line(title: str, number: int, text: str) -> str:
    return f"**{title}** ({number}): {text}"


def _is_told_shortly(finding: Finding) -> bool:
    """Whether it only informs, and there is no entry on record that says something of today."""
    nothing_counts = finding.silent or bool(finding.left_aside) or _only_asks(finding)
    return nothing_counts and finding.severity is Severity.INFO


def _only_asks(finding: Finding) -> bool:
    """Whether there is nothing to tell but what to do."""
    return finding.criterion.identifier in _ASKED_FOR and not finding.sources


def _has_remark(finding: Finding) -> bool:
    return len(finding.reason) > 1


def source_text(source: Source) -> str:
    """Return a reference with the status of its entry; both come from outside."""
    return escaped(f"{source.reference} ({source.status})" if source.status else source.reference)


def _with_date(source: Source) -> str:
    return source_text(source) + (f", {source.on.isoformat()}" if source.on else "")


def _listed_sources(references: Sequence[str], dates: Mapping[str, date]) -> str:
    """Return `references`, those of one day together with the day once."""
    shown = list(dict.fromkeys(references))[:_SOURCES_SHOWN]
    by_day: dict[date | None, list[str]] = {}
    for each in shown:
        by_day.setdefault(dates.get(each), []).append(escaped(each))
    more = len(set(references)) - len(shown)
    listed = [
        f"{', '.join(each)} ({day.isoformat()})" if day else ", ".join(each) for day, each in by_day.items()
    ]
    return ", ".join(listed) + (f", +{more}" if more > 0 else "")


def _note_dates(fact: Any, dates: dict[str, date]) -> None:
    """Put the day of every source in `fact`, wherever it stands, to its reference in `dates`."""
    if isinstance(fact, Source):
        if fact.on is not None:
            dates[fact.reference] = fact.on
        return
    for name in _told_by_sources(type(fact)):  # type: ignore[arg-type]  # mypy: a class is unhashable
        value = getattr(fact, name)
        for each in value if isinstance(value, tuple) else (value,):
            _note_dates(each, dates)


@cache
def _told_by_sources(kind: type) -> tuple[str, ...]:
    """Return the names of the fields of `kind` that may hold a source, or what holds one."""
    return tuple(name for name, hint in get_type_hints(kind).items() if _may_hold_source(hint))


def _may_hold_source(hint: Any) -> bool:
    if isinstance(hint, type) and is_dataclass(hint):
        return hint is Source or bool(_told_by_sources(hint))
    return any(map(_may_hold_source, get_args(hint)))
