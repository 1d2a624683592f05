# SPDX-License-Identifier: Apache-2.0
"""CDS Hooks cards from findings: one per severity, reasons first, imaging last. Pure."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from cds_service.identity import NoImaging
from cds_service.imaging_block import imaging_block
from cds_service.markdown import bullets, escaped, table
from fhir_gateway.orders import laboratory_order
from model.domain import Outcome, derived_uid
from model.eligibility.assess import Eligibility, Finding, Quoted, Truth
from model.eligibility.regimens import (
    CHECKED,
    CRITERIA_ENCODED,
    FOR_HCC,
    NOT_CHECKED,
    RULES_VERSION,
    RegimenOrder,
    Severity,
)
from model.patient_facts import Analyte, PatientFacts, Source

Card = dict[str, Any]

SUMMARY_MAX_LENGTH = 139
"""CDS Hooks: fewer than 140 characters."""

_QUOTE_MAX_LENGTH = 80
"""Characters of what the record says of one diagnosis."""

_NAME_MAX_LENGTH = 60
_NAMES_SHOWN = 10
"""Drugs that are not recognised: characters of each name, and how many."""

CODE_SYSTEM = f"urn:oid:{derived_uid('code system', 'hcc-cds')}"
"""Our own code system: topic of the cards and reasons to override them."""

_UUID_NAMESPACE = uuid.UUID("b9f322cb-f202-5a23-8c23-fac4fd9552ae")

_OVERRIDE_REASONS = {
    # Clinical reference 6.4.
    "reviewed-no-change": "Reviewed, no change",
    "already-addressed-elsewhere": "Already addressed elsewhere",
    "benefit-outweighs-risk": "Benefit outweighs risk",
    "mdt-decision": "Decision of the tumour board",
    "data-outdated-or-wrong": "Data are outdated or wrong",
    "contraindication-not-applicable": "Contraindication does not apply",
    "clinical-trial-protocol": "Protocol of a clinical trial",
    "patient-preference": "Patient's preference",
    "other": "Other (please comment)",
}

_ASK = {
    "ascites": "state whether there is ascites: none, slight or controlled by diuretics, moderate to severe",
    "encephalopathy": "state whether there is hepatic encephalopathy: none, grade 1 to 2, grade 3 to 4",
}


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


def cards(decision: Decision) -> list[Card]:
    """Return at most one card of each severity, the gravest first."""
    if decision.order is None:
        return [_card(decision, Severity.INFO, decision.eligibility.findings, has_inputs=True)]
    by_severity = {
        severity: tuple(f for f in decision.eligibility.findings if f.severity is severity)
        for severity in (Severity.CRITICAL, Severity.WARNING)
    }
    grave = {severity: findings for severity, findings in by_severity.items() if findings}
    written = [
        _card(decision, severity, findings, has_inputs=index == 0)
        for index, (severity, findings) in enumerate(grave.items())
    ]
    rest = tuple(f for f in decision.eligibility.findings if f.severity is Severity.INFO)
    return [*written, _card(decision, Severity.INFO, rest, has_inputs=not grave, follows=bool(grave))]


def _card(
    decision: Decision,
    severity: Severity,
    findings: Sequence[Finding],
    *,
    has_inputs: bool,
    follows: bool = False,
) -> Card:
    parts = [
        *_lists(decision, findings),
        *_beside(decision),
        *((_inputs(decision), *_left_out(decision.facts)) if has_inputs else ()),
        _scope(decision),
    ]
    if severity is Severity.INFO:
        parts.append(
            imaging_block(
                decision.imaging, decision.order, hcc=decision.facts.hcc.status, today=decision.today
            )
        )
    card: Card = {
        "summary": _summary(decision, findings, follows=follows),
        "indicator": severity.value,
        "detail": "\n\n".join(parts),
        "source": {
            "label": f"HCC-CDS, rules {RULES_VERSION}",
            "url": decision.about_url,
            "topic": {
                "system": CODE_SYSTEM,
                "code": "hcc-immunotherapy",
                "display": "Immunotherapy of hepatocellular carcinoma",
            },
        },
        "overrideReasons": [
            {"system": CODE_SYSTEM, "code": code, "display": display}
            for code, display in _OVERRIDE_REASONS.items()
        ],
    }
    suggestion = _suggestion(decision, findings)
    if suggestion is not None:
        card |= {"suggestions": [suggestion], "selectionBehavior": "any"}
    return {"uuid": _stable_uuid(decision.patient_id, card), **card}


def _stable_uuid(*content: object) -> str:
    """The same card for the same patient has the same uuid, so that feedback can be joined."""
    return str(uuid.uuid5(_UUID_NAMESPACE, json.dumps(content, sort_keys=True, ensure_ascii=False)))


# -- summary: our words only -----------------------------------------------------------------------


def _summary(decision: Decision, findings: Sequence[Finding], *, follows: bool) -> str:
    regimen = decision.order.regimen.name.capitalize() if decision.order else "HCC immunotherapy"
    not_met = [f for f in findings if f.truth is Truth.NOT_MET and f.severity is not Severity.INFO]
    unknown = [f for f in findings if f.truth is Truth.UNKNOWN and f.severity is not Severity.INFO]
    if not_met:
        return _fitting("Outside the trial population: ", not_met, f" – {regimen}")
    if unknown:
        return _fitting("Cannot be assessed: ", unknown, f" – {regimen}")
    if not_judged := [f for f in findings if f.criterion in (CRITERIA_ENCODED, FOR_HCC)]:
        return _fitting("", not_judged, f" – {regimen}")
    company = "" if follows else _company(decision.order)
    if follows or company:
        return f"{company} – {regimen}" if company else f"{regimen}: other data and imaging"
    return f"No exclusion found in available data (diagnosis and Child-Pugh only) – {regimen}"


def _company(order: RegimenOrder | None) -> str:
    if order is not None and order.also_taken:
        others = sorted(order.also_taken)
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        return f"Also on the medication list: {others[0]}{more}"
    if order is not None and order.incomplete:
        return "An order beside the regimen could not be read or told"
    return ""


def _fitting(opening: str, findings: Sequence[Finding], closing: str) -> str:
    """Return a summary with as many headlines as fit, each of them whole."""
    headlines = list(dict.fromkeys(finding.headline for finding in findings))
    for shown in range(len(headlines), 0, -1):
        more = len(headlines) - shown
        listed = "; ".join(headlines[:shown]) + (f"; {more} more" if more else "")
        for end in (closing, ""):
            if len(text := f"{opening}{listed}{end}") <= SUMMARY_MAX_LENGTH:
                return text[0].upper() + text[1:]
    return f"{opening}see the reasons"


# -- detail ----------------------------------------------------------------------------------------


def _lists(decision: Decision, findings: Sequence[Finding]) -> list[str]:
    titles = {Truth.NOT_MET: "Not met", Truth.UNKNOWN: "Unknown", Truth.MET: "Met"}
    lists = []
    for truth, title in titles.items():
        items = [_reason(finding) for finding in findings if finding.truth is truth]
        if truth is Truth.UNKNOWN and any(f.criterion.identifier == "R04" for f in findings):
            items += [f"To know it: {each}" for each in _asks(decision)]
        if items:
            lists.append(f"**{title}**\n\n{bullets(items)}")
    return lists


def _reason(finding: Finding) -> str:
    criterion = finding.criterion
    sources = ", ".join(dict.fromkeys(escaped(source) for source in finding.sources))
    reason = "".join(
        escaped(part.text, _QUOTE_MAX_LENGTH) if isinstance(part, Quoted) else part for part in finding.reason
    )
    return (
        f"{reason} "
        + (f"From {sources}. " if sources else "")
        + f"*{criterion.identifier}: {criterion.statement}. {criterion.strength.value.capitalize()}: "
        f"{criterion.basis}.*"
    )


def _asks(decision: Decision) -> list[str]:
    asks = []
    for part in decision.eligibility.child_pugh.open_parts:
        if part.note:
            asks.append(f"{part.name}: {escaped(part.note)}")
        else:
            asks.append(_ASK.get(part.name, f"order {part.name}"))
    return asks


def _inputs(decision: Decision) -> str:
    """Return the table of what the score was computed from, with dates and sources."""
    facts = decision.facts
    known: dict[str, tuple[str, Source]] = {
        lab.analyte.value: (str(lab.quantity), lab.source) for lab in facts.labs
    }
    for name, sign in (("ascites", facts.ascites), ("encephalopathy", facts.encephalopathy)):
        if sign is not None:
            known[name] = (sign.grade.value, sign.source)
    rows = []
    for part in decision.eligibility.child_pugh.parts:
        low, high = part.points
        value, source = known.get(part.name, ("unknown", None))
        remarks = [
            escaped(text)
            for text in (part.note, part.borderline and f"borderline: {part.borderline}")
            if text
        ]
        rows.append(
            [
                part.name,
                "; ".join([escaped(value), *remarks]),
                source.on.isoformat() if source and source.on else "–",
                f"{low}" if low == high else f"{low} to {high}",
                _source_text(source) if source else "–",
            ]
        )
    lines = [f"**{decision.eligibility.child_pugh}**"]
    if decision.eligibility.child_pugh.inr_confounded:
        lines.append("INR is confounded by an anticoagulant.")
    if facts.cholestatic:
        lines.append(
            "Bilirubin is scored with the cut points for cholestatic disease "
            f"({_source_text(facts.cholestatic)})."
        )
    lines.append(table(["Input", "Value", "Date", "Points", "Source"], rows))
    return "\n\n".join(lines)


def _source_text(source: Source) -> str:
    return escaped(f"{source.reference} ({source.status})" if source.status else source.reference)


def _beside(decision: Decision) -> list[str]:
    """Return what is given or ordered beside the regimen, or may be: on every card, as nothing judges it."""
    order = decision.order
    if order is None:
        return []
    items = [
        f"also on the medication list: {each.drug} ({_source_text(each.source)}"
        f"{', ' + each.source.on.isoformat() if each.source.on else ''})"
        for each in decision.facts.drugs
        if each.drug in order.also_taken
    ]
    if order.incomplete:
        items.append("an order could not be read or names a drug that is not known")
    return [f"**Beside the regimen**\n\n{bullets(items)}"] if items else []


def _left_out(facts: PatientFacts) -> list[str]:
    items = [
        f"{escaped(each.name)}: {escaped(each.reason)}"
        f" ({_source_text(each.source)}{', ' + each.source.on.isoformat() if each.source.on else ''})"
        for each in facts.unused
    ]
    items += facts.gaps
    items += _unrecognised(facts.unrecognised_drugs)
    return [f"**Not used**\n\n{bullets(items)}"] if items else []


def _unrecognised(names: Sequence[str]) -> list[str]:
    """Return what the list names and we do not know: no kind of drug is then certainly not taken."""
    if not names:
        return []
    shown = "; ".join(escaped(name, _NAME_MAX_LENGTH) for name in names[:_NAMES_SHOWN])
    more = f"; and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return [f"medication list, not recognised: {shown}{more}"]


def _scope(decision: Decision) -> str:
    judged = {finding.criterion for finding in decision.eligibility.findings}
    checked = ", ".join(CHECKED) if judged.isdisjoint({CRITERIA_ENCODED, FOR_HCC}) else "nothing"
    return (
        f"Checked: {checked}. **Not checked by this version:** {', '.join(NOT_CHECKED)}. "
        "The software does not select, order or exclude treatment."
    )


# -- suggestions -----------------------------------------------------------------------------------


def _suggestion(decision: Decision, findings: Sequence[Finding]) -> Card | None:
    """Return the orders that would make the score computable, when such are missing."""
    if decision.order is None or not any(f.criterion.identifier == "R04" for f in findings):
        return None
    missing = [analyte for analyte in Analyte if decision.facts.lab(analyte) is None]
    if not missing:
        return None
    names = ", ".join(analyte.value for analyte in missing)
    actions = [
        {
            "type": "create",
            "description": f"Order {analyte.value}",
            "resource": laboratory_order(analyte, decision.patient_id),
        }
        for analyte in missing
    ]
    label = f"Order {names}"
    return {"label": label, "uuid": _stable_uuid(decision.patient_id, label, actions), "actions": actions}
