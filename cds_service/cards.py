# SPDX-License-Identifier: Apache-2.0
"""CDS Hooks cards from findings: one per severity, reasons first, imaging last. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from cds_service.card_detail import Detail
from cds_service.card_links import CardLinks
from cds_service.identity import NoImaging
from cds_service.imaging_block import imaging_block, says_score
from cds_service.override_reasons import CODE_SYSTEM, override_reasons
from cds_service.suggestions import Suggester, stable_uuid, without
from cds_service.texts import ENGLISH, Texts
from fhir_gateway.orders import Coding, Orderable
from model.domain import Outcome
from model.eligibility.assess import Eligibility, Finding, Truth
from model.eligibility.criteria.order import CRITERIA_ENCODED, FOR_HCC
from model.eligibility.criterion import RULES_VERSION, Response, Scope, Severity, Strength
from model.eligibility.regimens import RegimenOrder
from model.patient_facts import PatientFacts

Card = dict[str, Any]

SUMMARY_MAX_LENGTH = 139
"""CDS Hooks: fewer than 140 characters."""

_NOT_JUDGED = (CRITERIA_ENCODED.identifier, FOR_HCC.identifier)
"""By identifier: a site's limits make another criterion of the same name."""

_BINDING = (Strength.LABEL, Strength.GUIDELINE)
"""Strengths of sources that a regimen can be in conflict with; outside a trial it is only unproven."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """All that the cards are written from."""

    patient_id: str
    """FHIR id, for the orders that a card suggests."""
    facts: PatientFacts
    order: RegimenOrder | None
    """None on `patient-view`, where nothing is being ordered."""
    eligibility: Eligibility
    imaging: Outcome | NoImaging
    today: date
    about_url: str
    """Absolute URL of the page that says what is checked and on which grounds."""
    smart_launch_url: str = ""
    """Launch URL of a SMART app that explains the cards in the patient's context; '' for none."""
    texts: Texts = ENGLISH
    drafted: frozenset[Coding] = frozenset()
    """Services that the clinician is ordering already: not suggested once more."""
    silent_when_met: bool = False
    """Whether to say nothing where nothing is to be acted on and no score shows (clinical reference 1.11)."""


def cards(decision: Decision) -> list[Card]:
    """Return at most one card of each severity, the gravest first."""
    if decision.order is None:
        return [_Writer(decision).card(Severity.INFO, decision.eligibility.findings, has_inputs=True)]
    if decision.silent_when_met and _has_nothing_to_say(decision):
        return []
    writer = _Writer(decision)
    found: dict[Severity, list[Finding]] = {severity: [] for severity in Severity}
    for finding in decision.eligibility.findings:
        found[finding.severity].append(finding)
    grave = [severity for severity in (Severity.CRITICAL, Severity.WARNING) if found[severity]]
    written = [
        writer.card(severity, found[severity], has_inputs=index == 0) for index, severity in enumerate(grave)
    ]
    return [
        *written,
        writer.card(Severity.INFO, found[Severity.INFO], has_inputs=not grave, follows=bool(grave)),
    ]


def untold_order_card(patient_id: str, *, about_url: str, texts: Texts) -> Card:
    """Return the card on an order that may be of the regimen, and whose drug nobody here can tell."""
    links = CardLinks(about_url=about_url)
    card: Card = {
        "summary": texts.say("HCC is on record, and an order could not be read or its drug told"),
        "indicator": Severity.WARNING.value,
        "detail": texts.say(
            "An order of a drug could not be read, or it names its drug neither in words nor by a code that "
            "is known here. If it is immunotherapy or an anti-angiogenic drug, no criterion was asked."
        ),
        "source": _source(links, texts),
        "overrideReasons": override_reasons(Severity.WARNING, texts),
    }
    return _identified(card, patient_id, links, texts)


def _identified(card: Card, patient_id: str, links: CardLinks, texts: Texts) -> Card:
    """Return `card` with the uuid of its content and the links, which may name that."""
    card = {"uuid": stable_uuid(patient_id, card), **card}
    return card | {"links": links.of(card["uuid"], texts)}


def _source(links: CardLinks, texts: Texts) -> dict[str, Any]:
    return {
        "label": texts.say("HCC-CDS, rules {version}", version=RULES_VERSION),
        "url": links.about_url,
        "topic": {
            "system": CODE_SYSTEM,
            "code": "hcc-immunotherapy",
            "display": texts.say("Immunotherapy of hepatocellular carcinoma"),
        },
    }


def _has_nothing_to_say(decision: Decision) -> bool:
    order, facts = decision.order, decision.facts
    return (
        order is not None
        and all(
            finding.truth is not Truth.NOT_MET and finding.severity is Severity.INFO
            for finding in decision.eligibility.findings
        )
        and not (order.also_taken or order.incomplete or facts.unused or facts.gaps)
        and not facts.unrecognised_drugs
        and not says_score(decision.imaging, order, facts=facts, today=decision.today)
    )


def _is_judged(decision: Decision) -> bool:
    """Whether immunotherapy is ordered that the criteria were applied to."""
    order = decision.order
    return (
        order is not None
        and order.regimen.has_checkpoint_inhibitor
        and not [f for f in decision.eligibility.findings if f.criterion.identifier in _NOT_JUDGED]
    )


class _Writer:
    """Writes the cards of one answer; remembers what it has suggested, to suggest nothing twice."""

    def __init__(self, decision: Decision) -> None:
        self._decision = decision
        self._links = CardLinks(about_url=decision.about_url, smart_launch_url=decision.smart_launch_url)
        self._detail = Detail(
            facts=decision.facts,
            order=decision.order,
            eligibility=decision.eligibility,
            rules_url=self._links.rules_url,
            texts=decision.texts,
        )
        self._suggester = Suggester(
            patient_id=decision.patient_id,
            facts=decision.facts,
            texts=decision.texts,
            drafted=decision.drafted,
        )
        self._suggested: set[Orderable] = set()
        self._is_judged = _is_judged(decision)

    def card(
        self, severity: Severity, findings: Sequence[Finding], *, has_inputs: bool, follows: bool = False
    ) -> Card:
        """Return the card of that severity.

        Parameters
        ----------
        has_inputs
            Whether it is the one that shows what was computed and what was left out.
        follows
            Whether a graver card comes before it.
        """
        decision, texts = self._decision, self._decision.texts
        card: Card = {
            "summary": _Summary(decision).of(findings, follows=follows),
            "indicator": severity.value,
            "detail": "\n\n".join(self._parts(severity, findings, has_inputs=has_inputs)),
            "source": _source(self._links, texts),
        }
        suggestions = self._suggestions(severity, findings)
        if suggestions:
            card |= {"suggestions": suggestions, "selectionBehavior": "any"}
        card["overrideReasons"] = override_reasons(severity, texts)
        return _identified(card, decision.patient_id, self._links, texts)

    def _parts(self, severity: Severity, findings: Sequence[Finding], *, has_inputs: bool) -> list[str]:
        decision, detail = self._decision, self._detail
        parts = [*detail.findings(findings, severity), *detail.beside()]
        if has_inputs:
            parts += [detail.inputs(), *detail.left_out()]
        if severity is Severity.INFO:
            if self._is_judged:
                parts += [detail.monitoring(), detail.alternatives()]
            parts += [
                detail.scope(whole=has_inputs),
                imaging_block(
                    decision.imaging,
                    decision.order,
                    facts=decision.facts,
                    today=decision.today,
                    texts=decision.texts,
                ),
            ]
        else:
            parts.append(detail.scope(whole=has_inputs))
        return parts

    def _suggestions(self, severity: Severity, findings: Sequence[Finding]) -> list[Card]:
        # `patient-view` is looked at in passing; orders are offered where something is being ordered.
        if self._decision.order is None:
            return []
        baseline = severity is Severity.INFO and self._is_judged
        wanted = without(self._suggester.wanted(findings, baseline=baseline), self._suggested)
        self._suggested |= wanted.keys()
        return self._suggester.suggestions(wanted)


class _Summary:
    """Writes the one line that everybody reads: our words only, and nothing of the patient but the score."""

    def __init__(self, decision: Decision) -> None:
        self._order = decision.order
        self._texts = decision.texts
        self._beside = decision.eligibility.beside

    def of(self, findings: Sequence[Finding], *, follows: bool) -> str:
        """Return the summary for `findings`, whole headlines as far as they fit."""
        say = self._texts.say
        regimen = self._order.regimen.name if self._order else say("HCC immunotherapy")
        closing = f" – {regimen[0].upper()}{regimen[1:]}"
        grave = [f for f in findings if f.severity is not Severity.INFO]
        if not_met := [f for f in grave if f.truth is Truth.NOT_MET]:
            # What is as grave and only in doubt is counted, so that the line does not seem to be all.
            doubtful = sum(f.truth is Truth.UNKNOWN for f in grave)
            more = say("; {number} more cannot be assessed", number=doubtful) if doubtful else ""
            return self._fitting(self._opening(not_met), not_met, f"{more}{closing}")
        if unknown := [f for f in grave if f.truth is Truth.UNKNOWN]:
            return self._fitting(say("Cannot be assessed: "), unknown, closing)
        not_judged = [f for f in findings if f.criterion.identifier in _NOT_JUDGED]
        unsupported = [f for f in findings if f.criterion.scope is Scope.UNSUPPORTED]
        if leading := not_judged or unsupported:
            return self._fitting("", leading, closing)
        if company := self._company():
            return f"{company}{closing}"
        if follows:
            others = say("Other data and imaging")
            return f"{others}{closing}"
        return f"{self._no_exclusion(findings)}{closing}"

    def _no_exclusion(self, findings: Sequence[Finding]) -> str:
        # Never "eligible": and who reads one line only is told how much of it rests on silence.
        if self._beside:
            return self._texts.say(
                "Not checked: {areas}", areas=", ".join(map(self._texts.say, self._beside))
            )
        unknown = sum(finding.truth is Truth.UNKNOWN for finding in findings)
        if not unknown:
            return self._texts.say("No exclusion found in available data")
        return self._texts.say(
            "No exclusion found in available data; {unknown} of {number} criteria not known",
            unknown=unknown,
            number=len(findings),
        )

    def _opening(self, findings: Sequence[Finding]) -> str:
        # The words of the clinical reference 6.2.
        if any(
            finding.severity is Severity.CRITICAL and finding.criterion.strength in _BINDING
            for finding in findings
        ):
            return self._texts.say("Label/guideline conflict: ")
        responses = {finding.response for finding in findings}
        if responses == {Response.ACTION}:
            return self._texts.say("To do first: ")
        if not responses <= {Response.OUTSIDE_EVIDENCE, Response.STOP_REVIEW}:
            return self._texts.say("Not met: ")
        return self._texts.say("Outside the trial population: ")

    def _company(self) -> str:
        order, say = self._order, self._texts.say
        if order is not None and order.also_taken:
            others = sorted(order.also_taken)
            if len(others) == 1:
                return say("Also on the medication list: {drug}", drug=others[0])
            return say(
                "Also on the medication list: {drug} and {number} more",
                drug=others[0],
                number=len(others) - 1,
            )
        if order is not None and order.incomplete:
            return say("An order beside the regimen could not be read or told")
        return ""

    def _fitting(self, opening: str, findings: Sequence[Finding], closing: str) -> str:
        headlines = list(dict.fromkeys(self._texts.say(finding.headline) for finding in findings))
        for end in (closing, ""):
            for shown in range(len(headlines), 0, -1):
                rest = len(headlines) - shown
                more = [self._texts.say("{number} more", number=rest)] if rest else []
                listed = "; ".join([*headlines[:shown], *more])
                if len(text := f"{opening}{listed}{end}") <= SUMMARY_MAX_LENGTH:
                    return text[0].upper() + text[1:]
        otherwise = self._texts.say("see the reasons")
        return f"{opening}{otherwise}"
