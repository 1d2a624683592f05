# SPDX-License-Identifier: Apache-2.0
"""CDS Hooks requests (2.0 and 3.0) from JSON, checked once."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, model_validator


class Hook(StrEnum):
    """The hooks that the service is listed for."""

    PATIENT_VIEW = "patient-view"
    ORDER_SELECT = "order-select"
    ORDER_SIGN = "order-sign"
    ORDER_DISPATCH = "order-dispatch"

    @property
    def signs(self) -> bool:
        """Whether what is ordered goes out when this hook has been answered."""
        return self in (Hook.ORDER_SIGN, Hook.ORDER_DISPATCH)


class MalformedRequest(Exception):
    """The request is no CDS Hooks request of ours; the message names fields and quotes no value."""


_FhirId = Annotated[str, Field(pattern=r"^[A-Za-z0-9\-.]{1,64}$")]

_B68_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")
"""RFC 6750 2.1: what stands behind `Bearer`; nothing else may reach a header."""

_MOST_REFERENCES = 100


class _Wire(BaseModel):
    # Unknown fields and `extension` must be tolerated.
    model_config = ConfigDict(frozen=True, extra="ignore", strict=False)


class HookContext(_Wire):
    """`context`: what the four hooks have in common, and what the order hooks add."""

    user_id: str | None = Field(None, alias="userId", min_length=1)
    """order-dispatch has none."""
    patient_id: _FhirId = Field(alias="patientId")
    draft_orders: dict[str, Any] | None = Field(None, alias="draftOrders")
    selections: tuple[str, ...] | None = None
    dispatched: Any = Field(
        None,
        # 1.0 says `order`; the example in the text of 1.1 writes the name with a hyphen.
        validation_alias=AliasChoices("dispatchedOrders", "dispatched-orders", "order"),
    )
    performer: Any = None

    @property
    def dispatched_orders(self) -> tuple[str, ...]:
        """References to the orders of order-dispatch; on other hooks nothing is known of these fields."""
        # 1.0 had one, 1.1 has a list.
        listed = [self.dispatched] if isinstance(self.dispatched, str) else self.dispatched
        if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
            return ()
        return tuple(dict.fromkeys(listed))


class HookRequest(_Wire):
    """A CDS Hooks request."""

    hook: Hook
    hook_instance: UUID = Field(alias="hookInstance")
    context: HookContext
    fhir_server: str | None = Field(None, alias="fhirServer")
    fhir_authorization: dict[str, Any] | None = Field(None, alias="fhirAuthorization", repr=False)
    prefetch: dict[str, Any] | None = Field(None, repr=False)

    @property
    def access_token(self) -> str | None:
        """The bearer token for `fhir_server`, transient: never stored, shared or logged.

        None where there is none that can be used for this patient. That is no fault of the request: a call
        that brought all that is needed is answered all the same.
        """
        said = self.fhir_authorization or {}
        token, kind, patient = said.get("access_token"), said.get("token_type"), said.get("patient")
        if not isinstance(token, str) or not _B68_TOKEN.fullmatch(token):
            return None
        if not isinstance(kind, str) or kind.lower() != "bearer":
            return None
        return token if patient in (None, self.context.patient_id) else None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.fhir_authorization is not None and self.fhir_server is None:
            raise ValueError("fhirAuthorization needs fhirServer (cds-r-1)")
        for name, value in self._demanded().items():
            if not value:
                raise ValueError(f"context.{name} is required by this hook")
        return self

    def _demanded(self) -> dict[str, bool]:
        """Return whether each field that the hook's definition requires is there."""
        context = self.context
        if self.hook is Hook.ORDER_DISPATCH:
            return {
                "dispatchedOrders": 0 < len(context.dispatched_orders) <= _MOST_REFERENCES,
                "performer": isinstance(context.performer, str),
            }
        demanded = {"userId": context.user_id is not None}
        if self.hook is not Hook.PATIENT_VIEW:
            demanded["draftOrders"] = context.draft_orders is not None
        if self.hook is Hook.ORDER_SELECT:
            demanded["selections"] = context.selections is not None
        return demanded


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
