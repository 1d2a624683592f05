# SPDX-License-Identifier: Apache-2.0
"""CDS Hooks: what the service offers, what it is asked, and the cards it answers with. Knows no Flask."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cds_service.cards import Card, Decision, cards
from cds_service.config import IdentityConfig
from cds_service.identity import NoImaging, Outcomes, outcome_of
from fhir_gateway.facts import patient_facts
from fhir_gateway.medications import OrderedDrugs, ordered_drugs
from fhir_gateway.parsing import UnreadableResource, Whose
from fhir_gateway.patient import RecordPatient, record_patient
from fhir_gateway.prefetch import PREFETCH, REQUIRED, read_prefetch
from fhir_gateway.units import UnitConverter
from model.domain import Outcome
from model.eligibility.assess import assess
from model.eligibility.regimens import RegimenOrder, ordered_of_late, recognise, taken_beside
from model.patient_facts import DiagnosisStatus, PatientFacts

SERVICE_ID = "hcc-immunotherapy"

_ON_RECORD = frozenset(
    {
        DiagnosisStatus.CONFIRMED,
        DiagnosisStatus.UNSTATED,
        DiagnosisStatus.CONFLICTING,
        DiagnosisStatus.UNCLEAR,
    }
)
"""Whoever looks at this patient may have to decide on HCC; a mere suspicion is no reason to speak up."""

_SUSPECTED = _ON_RECORD | {DiagnosisStatus.UNCONFIRMED}
"""One drug of a pair is given for other diseases as well, so it needs at least this."""


class Hook(StrEnum):
    """The hooks that the service is listed for."""

    PATIENT_VIEW = "patient-view"
    ORDER_SELECT = "order-select"
    ORDER_SIGN = "order-sign"


class MalformedRequest(Exception):
    """The request is no CDS Hooks request of ours; the message names fields and quotes no value."""


class PrefetchLacking(Exception):
    """No useful card is possible with what was sent (CDS Hooks: 412); the message names the keys."""


_FhirId = Annotated[str, Field(pattern=r"^[A-Za-z0-9\-.]{1,64}$")]


class _Wire(BaseModel):
    # Unknown fields and `extension` must be tolerated.
    model_config = ConfigDict(frozen=True, extra="ignore", strict=False)


class HookContext(_Wire):
    """`context`: what the three hooks have in common, and what the two order hooks add."""

    user_id: str = Field(alias="userId", min_length=1)
    patient_id: _FhirId = Field(alias="patientId")
    draft_orders: dict[str, Any] | None = Field(None, alias="draftOrders")
    selections: tuple[str, ...] | None = None


class HookRequest(_Wire):
    """A CDS Hooks request (2.0 and 3.0)."""

    hook: Hook
    hook_instance: UUID = Field(alias="hookInstance")
    context: HookContext
    fhir_server: str | None = Field(None, alias="fhirServer")
    fhir_authorization: dict[str, Any] | None = Field(None, alias="fhirAuthorization", repr=False)
    prefetch: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.fhir_authorization is not None and self.fhir_server is None:
            raise ValueError("fhirAuthorization needs fhirServer (cds-r-1)")
        if self.hook is not Hook.PATIENT_VIEW and self.context.draft_orders is None:
            raise ValueError("context.draftOrders is required by this hook")
        if self.hook is Hook.ORDER_SELECT and self.context.selections is None:
            raise ValueError("context.selections is required by this hook")
        return self


def discovery() -> dict[str, Any]:
    """Return the answer to `GET /cds-services`: one id on every hook, so that new cards replace old ones."""
    return {
        "services": [
            {
                "hook": hook.value,
                "id": SERVICE_ID,
                "title": "Immunotherapy of hepatocellular carcinoma",
                "description": (
                    "Shows what guidelines and trials say of atezolizumab + bevacizumab for this patient, "
                    "what is missing to know it, and what imaging adds."
                ),
                "prefetch": dict(PREFETCH),
            }
            for hook in Hook
        ]
    }


def parse_request(document: Any) -> HookRequest:
    """Return `document`, JSON as parsed, as a request.

    Raises
    ------
    MalformedRequest
        A required field is missing or of another kind, or the hook is none of ours.
    """
    try:
        return HookRequest.model_validate(document)
    except ValidationError as error:
        # Names of fields are ours; those inside the client's own objects are not repeated.
        problems = sorted(
            {".".join(str(p) for p in each["loc"][:2]) or each["msg"] for each in error.errors()}
        )
        raise MalformedRequest(", ".join(problems)) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class CardWriter:
    """Answers requests: everything that stays the same between two of them."""

    outcomes: Outcomes
    identity: IdentityConfig
    converter: UnitConverter
    about_url: str
    shown: Callable[[Outcome], None] | None = None
    """Told which outcome of imaging the cards show; not called when there is none, or it is withheld."""

    def answer(self, request: HookRequest, *, now: datetime) -> list[Card]:
        """Return the cards for `request`; none where there is nothing to say.

        Raises
        ------
        PrefetchLacking
            Patient or conditions were not sent, or the patient is another one than the context's.
        """
        context = request.context
        whose = Whose(patient_id=context.patient_id, fhir_base=request.fhir_server)
        ordered = _ordered(request, whose)
        if request.hook is not Hook.PATIENT_VIEW and recognise(ordered.drugs) is None:
            return []
        prefetch = request.prefetch or {}
        _require(prefetch)
        patient = _patient(prefetch, context.patient_id)
        facts = patient_facts(
            prefetch,
            patient_id=context.patient_id,
            now=now,
            converter=self.converter,
            fhir_base=request.fhir_server,
        )
        order = _regimen_order(ordered, facts, now.date())
        if not _concerns(facts, order):
            return []
        imaging = outcome_of(patient, self.outcomes, self.identity)
        if self.shown is not None and not isinstance(imaging, NoImaging):
            self.shown(imaging)
        return cards(
            Decision(
                patient_id=context.patient_id,
                facts=facts,
                order=order,
                eligibility=assess(facts, order),
                imaging=imaging,
                today=now.date(),
                about_url=self.about_url,
            )
        )


def _require(prefetch: Mapping[str, Any]) -> None:
    absent = read_prefetch(prefetch).absent
    lacking = [key for key in REQUIRED if key in absent or (key == "patient" and prefetch[key] is None)]
    if lacking:
        raise PrefetchLacking(f"prefetch lacks {', '.join(lacking)}")


def _ordered(request: HookRequest, whose: Whose) -> OrderedDrugs:
    if request.hook is Hook.PATIENT_VIEW:
        return OrderedDrugs(drugs=frozenset())
    selections = request.context.selections if request.hook is Hook.ORDER_SELECT else None
    try:
        return ordered_drugs(request.context.draft_orders, whose=whose, selections=selections)
    except UnreadableResource as error:
        raise MalformedRequest("context.draftOrders") from error


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
    that has no criteria here may well be for another disease.
    """
    status = facts.hcc.status
    if order is None:
        return status in _ON_RECORD
    may_be_hcc = order.is_whole or not facts.conditions_complete
    return (order.regimen.has_criteria and may_be_hcc) or status in _SUSPECTED
