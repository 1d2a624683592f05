# SPDX-License-Identifier: Apache-2.0
"""CDS Hooks: what the service offers, and the cards it answers with. Knows no Flask."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from cds_service.cards import Card, Decision, cards, untold_order_card
from cds_service.config import IdentityConfig
from cds_service.dispatch import dispatched
from cds_service.fetching import CallersRecord, Completed
from cds_service.hook_request import Hook, HookRequest, MalformedRequest
from cds_service.identity import NoImaging, Outcomes, outcome_of
from cds_service.referenced import Orders, noted, orders_with_referenced, with_referenced
from cds_service.texts import ENGLISH, Texts
from fhir_gateway.facts import patient_facts
from fhir_gateway.medications import OrderedDrugs, ordered_drugs
from fhir_gateway.orders import ordered_services
from fhir_gateway.parsing import UnreadableResource, Whose
from fhir_gateway.patient import RecordPatient, is_deceased, record_patient
from fhir_gateway.prefetch import PREFETCH, REQUIRED, is_absent
from fhir_gateway.terminology import Finding
from fhir_gateway.units import UnitConverter
from model.domain import Outcome
from model.eligibility.assess import Eligibility, assess
from model.eligibility.criterion import Severity
from model.eligibility.regimens import RegimenOrder, ordered_of_late, recognise, taken_beside
from model.eligibility.rulebook import RULE_BOOK, RuleBook
from model.patient_facts import DEFAULT_WINDOWS, DiagnosisStatus, PatientFacts, RecordWindows

SERVICE_ID = "hcc-immunotherapy"

_ON_RECORD = frozenset(
    {
        DiagnosisStatus.CONFIRMED,
        DiagnosisStatus.UNSTATED,
        DiagnosisStatus.CONFLICTING,
        DiagnosisStatus.UNCLEAR,
        DiagnosisStatus.OTHER_KIND,
        DiagnosisStatus.POSSIBLE,
    }
)
"""Whoever looks at this patient may have to decide on HCC; a mere suspicion is no reason to speak up."""

_SUSPECTED = _ON_RECORD | {DiagnosisStatus.UNCONFIRMED, DiagnosisStatus.INACTIVE}
"""One drug of a pair is given for other diseases as well, so it needs at least this."""


SPECIFICATION_VERSION = "3.0.0"
"""Of CDS Hooks; clients of 2.0 are answered as well and read over it."""


_KINDS = tuple(dict.fromkeys(template.replace("?", "/").partition("/")[0] for template in PREFETCH.values()))

_USAGE = (
    "What is not prefetched is read from the client's FHIR server, if the settings of this service list it, "
    f"with the access token of the call: {', '.join(_KINDS)} of the patient, and Medication where an order "
    "refers to one. "
    "Patient and Condition are required; what else is missing is named on the card as not known."
)


class PrefetchLacking(Exception):
    """No useful card is possible with what there is (CDS Hooks: 412).

    Parameters
    ----------
    items
        What is lacking, each with the reason, in words of ours.
    """

    def __init__(self, *items: str) -> None:
        super().__init__("; ".join(items))
        self.items = items


def discovery() -> dict[str, Any]:
    """Return the answer to `GET /cds-services`: one id on every hook, so that new cards replace old ones."""
    return {
        "services": [
            {
                "hook": hook.value,
                "id": SERVICE_ID,
                "version": SPECIFICATION_VERSION,
                "title": "Immunotherapy of hepatocellular carcinoma",
                "description": (
                    "Shows what guidelines and trials say of the regimen that is ordered for this patient, "
                    "what is missing to know it, and what imaging adds."
                ),
                "prefetch": dict(PREFETCH),
                "usageRequirements": _USAGE,
            }
            for hook in Hook
        ]
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class CardWriter:
    """Answers requests: everything that stays the same between two of them."""

    outcomes: Outcomes
    identity: IdentityConfig
    converter: UnitConverter
    about_url: str
    smart_launch_url: str = ""
    texts: Texts = ENGLISH
    book: RuleBook = RULE_BOOK
    windows: RecordWindows = DEFAULT_WINDOWS
    """With the changes of the site."""
    shown: Callable[[Outcome], None] | None = None
    """Told which outcome of imaging the cards show; not called when there is none, or it is withheld."""
    fetched: Callable[[Completed], None] | None = None
    """Told what the answer stands on, when the client's FHIR server was asked for some of it."""

    def answer(
        self, request: HookRequest, *, now: datetime, record: CallersRecord | None = None
    ) -> list[Card]:
        """Return the cards for `request`; none where there is nothing to say.

        Parameters
        ----------
        record
            Where what the call did not bring can be read; None: nowhere.

        Raises
        ------
        PrefetchLacking
            Patient, conditions or dispatched orders were not sent and cannot be had, or the patient is
            another one than the context's.
        """
        context = request.context
        record = record or CallersRecord()
        orders, ordered = Orders(bundle=None), OrderedDrugs(drugs=frozenset())
        if request.hook is not Hook.PATIENT_VIEW:
            orders, unread = _orders(request, record)
            ordered = _ordered(request, orders, unread)
            if recognise(ordered.drugs) is None and not ordered.untold:
                return []
        completed = record.complete(request.prefetch or {}, patient_id=context.patient_id)
        completed = noted(with_referenced(completed, record, fhir_base=request.fhir_server), orders)
        if completed.asked and self.fetched is not None:
            self.fetched(completed)
        prefetch = completed.resources
        _require(completed)
        patient = _patient(prefetch, context.patient_id)
        if is_deceased(prefetch, today=now.date()):
            # Whoever opens the record afterwards has nothing to decide; the call is in the audit trail.
            return []
        return self._cards(request, ordered, completed, patient, now)

    def _cards(
        self,
        request: HookRequest,
        ordered: OrderedDrugs,
        completed: Completed,
        patient: RecordPatient,
        now: datetime,
    ) -> list[Card]:
        """Return the cards on a patient who is alive, from a record that is as complete as it can be had."""
        context = request.context
        is_order = request.hook is not Hook.PATIENT_VIEW
        facts = _with_reasons(
            patient_facts(
                completed.resources,
                patient_id=context.patient_id,
                now=now,
                converter=self.converter,
                fhir_base=request.fhir_server,
                windows=self.windows,
            ),
            completed,
        )
        order = _regimen_order(ordered, facts, now.date())
        if is_order and order is None:
            if facts.hcc.status not in _SUSPECTED:
                return []
            return [untold_order_card(context.patient_id, about_url=self.about_url, texts=self.texts)]
        if not _concerns(facts, order):
            return []
        eligibility = assess(facts, order, today=now.date(), book=self.book)
        if _only_informs(order, eligibility):
            return []
        imaging = outcome_of(patient, self.outcomes, self.identity)
        if self.shown is not None and not isinstance(imaging, NoImaging):
            self.shown(imaging)
        return cards(
            Decision(
                patient_id=context.patient_id,
                facts=facts,
                order=order,
                eligibility=eligibility,
                imaging=imaging,
                today=now.date(),
                about_url=self.about_url,
                smart_launch_url=self.smart_launch_url,
                texts=self.texts,
                drafted=ordered_services(
                    context.draft_orders,
                    whose=Whose(patient_id=context.patient_id, fhir_base=request.fhir_server),
                ),
                silent_when_met=request.hook is Hook.ORDER_SELECT,
            )
        )


def _require(completed: Completed) -> None:
    prefetch = completed.resources
    lacking = [
        key for key in REQUIRED if is_absent(prefetch, key) or (key == "patient" and prefetch[key] is None)
    ]
    if lacking:
        raise PrefetchLacking(
            *(f"prefetch lacks {key}: {completed.lacking.get(key, 'it is empty')}" for key in lacking)
        )


def _with_reasons(facts: PatientFacts, completed: Completed) -> PatientFacts:
    """Return `facts`, with why what was asked for could not be had."""
    if not completed.asked:
        return facts
    reasons = (f"fetching {', '.join(keys)}: {reason}" for reason, keys in completed.reasons.items())
    return replace(facts, gaps=(*facts.gaps, *reasons))


def _orders(request: HookRequest, record: CallersRecord) -> tuple[Orders, tuple[str, ...]]:
    """Return what is being ordered, and why orders that are named could not be read."""
    unread: tuple[str, ...] = ()
    orders = Orders(bundle=request.context.draft_orders)
    if request.hook is Hook.ORDER_DISPATCH:
        references = request.context.dispatched_orders
        found = dispatched(references, request.prefetch or {}, record, fhir_base=request.fhir_server)
        orders, unread = Orders(bundle=found.bundle, read=found.read), found.unread
    along = request.prefetch or {}
    return orders_with_referenced(orders, along, record, fhir_base=request.fhir_server), unread


def _ordered(request: HookRequest, orders: Orders, unread: tuple[str, ...]) -> OrderedDrugs:
    whose = Whose(patient_id=request.context.patient_id, fhir_base=request.fhir_server)
    selections = request.context.selections if request.hook is Hook.ORDER_SELECT else None
    try:
        ordered = ordered_drugs(orders.bundle, whose=whose, selections=selections)
    except UnreadableResource as error:
        raise MalformedRequest("context.draftOrders") from error
    if not unread:
        return ordered
    if recognise(ordered.drugs) is None:
        # Any of them may be an order of the regimen: nobody may take silence for an answer.
        number, why = len(request.context.dispatched_orders), ", ".join(dict.fromkeys(unread))
        raise PrefetchLacking(f"context.dispatchedOrders: {len(unread)} of {number} could not be read: {why}")
    return replace(ordered, incomplete=True)


def _regimen_order(ordered: OrderedDrugs, facts: PatientFacts, today: date) -> RegimenOrder | None:
    order = recognise(ordered.drugs, ordered_of_late(facts.drugs, today))
    if order is None:
        return None
    return replace(
        order,
        subject_in_doubt=ordered.subject_in_doubt,
        status_in_doubt=ordered.status_in_doubt,
        incomplete=ordered.incomplete,
        also_taken=taken_beside(order.regimen, facts.drugs),
        drafted=ordered.drugs - order.ordered,
    )


def _patient(prefetch: Mapping[str, Any], patient_id: str) -> RecordPatient:
    try:
        patient = record_patient(prefetch)
    except UnreadableResource as error:
        raise PrefetchLacking("prefetch.patient is no readable Patient") from error
    if patient.patient_id != patient_id:
        raise PrefetchLacking("prefetch.patient is not the patient of the context")
    return patient


def _concerns(facts: PatientFacts, order: RegimenOrder | None) -> bool:
    """Whether to speak up: nothing for patients without HCC, unless the whole regimen is ordered.

    Half of it suffices where not every condition could be read: HCC may be among the others. A combination
    that has no criteria here, or is common in other cancers, may well be for another disease, unless a
    cancer of the liver of a kind that is not stated is on record.
    """
    status = facts.hcc.status
    if order is None:
        return status in _ON_RECORD
    if status in _SUSPECTED or not order.regimen.has_criteria:
        return status in _SUSPECTED
    if order.regimen.is_given_elsewhere:
        may_be = not facts.conditions_complete or any(
            each.meaning == Finding.LIVER_CANCER_UNSPECIFIED for each in facts.other_cancers
        )
        return may_be and not facts.cancers_elsewhere
    return order.is_whole or not facts.conditions_complete


def _only_informs(order: RegimenOrder | None, eligibility: Eligibility) -> bool:
    """Whether no immunotherapy is ordered, and nothing has to be done or reviewed before what is."""
    return (
        order is not None
        and not order.regimen.has_checkpoint_inhibitor
        and all(finding.severity is Severity.INFO for finding in eligibility.findings)
    )
