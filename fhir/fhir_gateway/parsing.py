# SPDX-License-Identifier: Apache-2.0
"""One FHIR R4 resource from the wire, checked as far as we read it: by fhir.resources, unless it is plain."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from fhir.resources.R4B.codeableconcept import CodeableConcept
from fhir.resources.R4B.condition import Condition
from fhir.resources.R4B.medication import Medication
from fhir.resources.R4B.medicationadministration import MedicationAdministration
from fhir.resources.R4B.medicationrequest import MedicationRequest
from fhir.resources.R4B.observation import Observation
from fhir.resources.R4B.patient import Patient
from fhir.resources.R4B.procedure import Procedure
from pydantic import BaseModel, ValidationError

from fhir_gateway.plain import PLAIN, plain

_TYPES: Mapping[str, type[BaseModel]] = {
    "Condition": Condition,
    "Medication": Medication,
    "MedicationAdministration": MedicationAdministration,
    "MedicationRequest": MedicationRequest,
    "Observation": Observation,
    "Patient": Patient,
    "Procedure": Procedure,
}

READ_ELEMENTS: Mapping[str, frozenset[str]] = {
    kind: frozenset(model.model_fields) - {"modifierExtension"} for kind, model in PLAIN.items()
}
"""The elements that we read: nothing else of a resource can spoil it."""

OBSERVATION_VALUES = tuple(name for name in PLAIN["Observation"].model_fields if name.startswith("value"))

_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
"""FHIR R4, data type id."""

_EFFECTIVE = ("effectiveDateTime", "effectiveInstant", "effectivePeriod")

_ENVELOPES: tuple[tuple[str, ...], ...] = (
    (*OBSERVATION_VALUES, "component", "dataAbsentReason"),
    (*_EFFECTIVE, "issued"),
)
"""What of a broken Observation is dropped, one after the other, to learn what it is on and of when."""

_PATIENT_REFERENCE = re.compile(
    r"(?:(?P<base>https?://[^\s]+)/)?Patient/(?P<id>[A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?"
)
_OTHER_REFERENCE = re.compile(r"(?:https?://[^\s]+/)?(?:Group|Device|Location|RelatedPerson)/[^\s]+")


class UnusableValue(Exception):
    """What an entry states cannot be relied upon; the message says why, in our words."""


class UnreadableResource(Exception):
    """The resource is no valid FHIR R4 where we would read it; the message holds nothing of it."""


def parse(resource: Any) -> Any:
    """Return `resource`, JSON as parsed, with the elements that we read as fhir.resources has them.

    Elements that FHIR R4 does not know are ignored, as the specification asks of a robust
    reader; a modifier extension is not, because it may turn the meaning around.

    Raises
    ------
    UnreadableResource
        Not an object of a type that we read, or invalid where we read it.
    """
    kind = resource.get("resourceType") if isinstance(resource, Mapping) else None
    if not isinstance(kind, str) or kind not in _TYPES:
        raise UnreadableResource("not a resource of a type that is read here")
    return plain(resource, kind) or validated(resource, kind)


def validated(resource: Mapping[str, Any], kind: str) -> Any:
    """Return `resource`, of type `kind`, by fhir.resources, whatever shape it has; raises as `parse`."""
    if resource.get("modifierExtension"):
        raise UnreadableResource("it carries a modifier extension, which may change its meaning")
    elements = READ_ELEMENTS[kind]
    known = {name: value for name, value in resource.items() if name in elements and value is not None}
    if any(not isinstance(known[name], str) for name in _DATES & known.keys()) or _is_number_as_text(known):
        # fhir.resources takes a number for the seconds since 1970, and a text for the number that it spells.
        raise UnreadableResource("it is no valid FHIR R4")
    try:
        return _TYPES[kind].model_validate(known)
    except ValidationError as error:
        unknown = [problem["loc"] for problem in error.errors() if problem["type"] == "extra_forbidden"]
        if not unknown:
            raise UnreadableResource("it is no valid FHIR R4") from error
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        # What validators of fhir.resources let through on JSON of an unexpected shape.
        raise UnreadableResource("it is no valid FHIR R4") from error
    try:
        return _TYPES[kind].model_validate(_without(known, unknown))
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise UnreadableResource("it is no valid FHIR R4") from error


_DATES = frozenset(
    {
        "abatementDateTime",
        "authoredOn",
        "birthDate",
        "effectiveDateTime",
        "effectiveInstant",
        "issued",
        "onsetDateTime",
        "performedDateTime",
        "recordedDate",
    }
)


def _is_number_as_text(elements: Mapping[str, Any]) -> bool:
    quantity = elements.get("valueQuantity")
    return isinstance(quantity, dict) and isinstance(quantity.get("value"), str | bool)


def parse_envelope(observation: Mapping[str, Any]) -> Any:
    """Return what can be read of an Observation that `parse` refuses, without its value.

    It serves to know that something is stated, of what and when, and never what.

    Raises
    ------
    UnreadableResource
        Not even that can be read.
    """
    rest = {name: content for name, content in observation.items() if name != "modifierExtension"}
    for elements in _ENVELOPES:
        rest = {name: content for name, content in rest.items() if name not in elements}
        try:
            return parse(rest)
        except UnreadableResource as error:
            last = error
    return _salvaged(observation, last)


def _salvaged(observation: Mapping[str, Any], why: UnreadableResource) -> Any:
    """Return the elements of a broken Observation that are valid each by itself, without its value."""
    code, _ = readable_code(observation)
    kept = {"resourceType": "Observation", "status": "unknown", "code": code.model_dump()}
    times = [name for name in _EFFECTIVE if observation.get(name) is not None]
    for name in ("id", "status", "subject", "focus", "issued", *(times if len(times) == 1 else ())):
        if observation.get(name) is None:
            continue
        try:
            parse(kept | {name: observation[name]})
        except UnreadableResource:
            continue
        kept[name] = observation[name]
    try:
        return parse(kept)
    except UnreadableResource:
        raise why from None


def readable_code(resource: Mapping[str, Any]) -> tuple[Any, bool]:
    """Return what of the raw element `code` can be read, and whether that is all of it."""
    code = resource.get("code")
    codings = code.get("coding", []) if isinstance(code, Mapping) else None
    if not isinstance(code, Mapping) or not isinstance(codings, list):
        return CodeableConcept(text="not readable"), False
    readable = []
    for coding in codings:
        pair = [coding.get(name) for name in ("system", "code")] if isinstance(coding, Mapping) else []
        if pair and all(part is None or isinstance(part, str) for part in pair):
            readable.append({name: part for name, part in zip(("system", "code"), pair, strict=True) if part})
    whole = len(readable) == len(codings) and bool(codings or isinstance(code.get("text"), str))
    try:
        return CodeableConcept.model_validate({"coding": readable} if readable else {"text": "none"}), whole
    except ValidationError:
        return CodeableConcept(text="not readable"), False


def _without(resource: Mapping[str, Any], places: Sequence[tuple[int | str, ...]]) -> dict[str, Any]:
    copy = deepcopy(dict(resource))
    for place in places:
        holder: Any = copy
        for step in place[:-1]:
            holder = holder[step]
        del holder[place[-1]]
    return copy


def reference_to(resource: Any, kind: str) -> str:
    """Return `Observation/123`, or `Observation` where the resource has no valid id: safe to show."""
    return f"{kind}/{resource.id}" if resource.id and _ID.fullmatch(resource.id) else kind


class Belonging(StrEnum):
    """Whether a resource is the patient's."""

    OWN = "own"
    DOUBTFUL = "doubtful"
    """It names nobody, or somebody who may be the patient."""
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True, kw_only=True)
class Whose:
    """The patient of the request, to tell whose a resource is."""

    patient_id: str
    fhir_base: str | None = None
    """`fhirServer` of the request: an absolute reference to any other server may mean anybody."""
    _usual: frozenset[str] = field(init=False, repr=False, compare=False)
    """The references that nearly every resource has."""

    def __post_init__(self) -> None:
        by_id = [f"Patient/{self.patient_id}"] if _ID.fullmatch(self.patient_id) else []
        object.__setattr__(self, "_usual", frozenset([f"urn:uuid:{self.patient_id}", *by_id]))

    def owns(self, resource: Any) -> Belonging:
        """Whether `resource` says that it is about this patient, and about nothing else."""
        if getattr(resource, "focus", None):
            return Belonging.FOREIGN  # Observation.focus: about a donor, a fetus, a device ...
        return self._refers(resource.subject.reference if resource.subject else None)

    def owns_raw(self, resource: Mapping[str, Any]) -> Belonging:
        """Return the same of a resource that is JSON as parsed, whatever its shape."""
        if resource.get("focus"):
            return Belonging.FOREIGN
        subject = resource.get("subject")
        reference = subject.get("reference") if isinstance(subject, dict) else None
        if not isinstance(reference, str):
            return Belonging.DOUBTFUL
        return Belonging.OWN if reference in self._usual else self._refers(reference)

    def _refers(self, reference: str | None) -> Belonging:
        if not reference:
            return Belonging.DOUBTFUL
        if reference in self._usual:
            return Belonging.OWN
        match = _PATIENT_REFERENCE.fullmatch(reference)
        if match is None:
            return Belonging.FOREIGN if _OTHER_REFERENCE.fullmatch(reference) else Belonging.DOUBTFUL
        if match["id"] != self.patient_id:
            return Belonging.FOREIGN
        here = self.fhir_base.rstrip("/") if self.fhir_base else None
        return Belonging.OWN if match["base"] in (None, here) else Belonging.DOUBTFUL


def day_of(moment: Any) -> date | None:
    """Return the day of a FHIR date or dateTime as it is written; None when it names no day."""
    if isinstance(moment, datetime):
        return moment.date()
    return moment if isinstance(moment, date) else None
