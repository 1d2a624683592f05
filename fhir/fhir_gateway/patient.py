# SPDX-License-Identifier: Apache-2.0
"""Who the record is of: identifiers and birth date of the FHIR Patient."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from fhir_gateway.parsing import UnreadableResource, day_of, parse

_SEXES = {"male": "M", "female": "F"}
"""FHIR AdministrativeGender; `other` and `unknown` contradict nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordPatient:
    """The patient as the record names them. `repr` shows nothing of it."""

    patient_id: str = field(repr=False)
    """FHIR id: an address in this record, never a Patient ID of DICOM."""
    identifiers: tuple[tuple[str, str], ...] = field(repr=False)
    """(system, value) of those that are not marked as old and have no end; as written: 00123 is not 123."""
    birth_date: date | None = field(repr=False)
    """None also where only a year or month is known."""
    sex: str | None = field(default=None, repr=False)
    """M or F, as DICOM's Patient's Sex (0010,0040) has it; None for anything else."""
    is_current: bool = True
    """False: the record was merged into another (`replaced-by`), is not active, or may be either."""
    replaces_another: bool = False
    """Another record was merged into this one, so that two numbers of one system may both be theirs."""


def record_patient(prefetch: Mapping[str, Any]) -> RecordPatient:
    """Return the patient of `prefetch`.

    Raises
    ------
    UnreadableResource
        There is none, or it has no id.
    """
    patient = parse(prefetch.get("patient"))
    if patient.get_resource_type() != "Patient" or not patient.id:
        raise UnreadableResource("not a Patient with an id")
    links = _link_types(prefetch["patient"])
    return RecordPatient(
        patient_id=patient.id,
        identifiers=tuple(
            (str(identifier.system), identifier.value.strip())
            for identifier in patient.identifier or ()
            if identifier.system and identifier.value and not _is_over(identifier)
        ),
        birth_date=day_of(patient.birthDate),
        sex=_SEXES.get(patient.gender),
        is_current=(
            prefetch["patient"].get("active", True) is True and not links & {"replaced-by", _UNREADABLE}
        ),
        replaces_another="replaces" in links,
    )


def is_deceased(prefetch: Mapping[str, Any], *, today: date) -> bool:
    """Return whether the patient of `prefetch` is said for certain to have died (`Patient.deceased[x]`).

    It is read from the JSON itself. What is of another type, says both, or names a day to come is no such
    statement: for somebody who may be alive nobody is to stay silent.
    """
    patient = prefetch.get("patient")
    if not isinstance(patient, Mapping):
        return False
    said, died = patient.get("deceasedBoolean"), patient.get("deceasedDateTime")
    if died is None:
        return said is True
    # A year or a month may stand alone; a day of tolerance for time zones.
    latest = (today + timedelta(days=1)).isoformat()
    return (
        said in (None, True)
        and isinstance(died, str)
        and _DATE.match(died) is not None
        and died[: len(latest)] <= latest
    )


_DATE = re.compile(r"[0-9]{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12][0-9]|3[01])(T.+)?)?)?$")
"""A dateTime of FHIR R4, as far as its day."""


def _is_over(identifier: Any) -> bool:
    """Whether an identifier is marked as old, or has an end, past or to come: then it may be another's."""
    period = identifier.period
    return identifier.use == "old" or (period is not None and period.end is not None)


_UNREADABLE = ""


def _link_types(patient: Mapping[str, Any]) -> frozenset[str]:
    """Return the types of `Patient.link`; a link that cannot be read may say that the record was merged.

    Links are read from the JSON itself: a broken one does not make the whole patient unreadable.
    """
    links = patient.get("link")
    if links is None:
        return frozenset()
    types = [each.get("type") for each in links if isinstance(each, dict)] if isinstance(links, list) else []
    if not isinstance(links, list) or len(types) != len(links):
        return frozenset({_UNREADABLE})
    return frozenset(each if each in _LINK_TYPES else _UNREADABLE for each in types)


_LINK_TYPES = ("replaced-by", "replaces", "refer", "seealso")
"""FHIR LinkType; the last two say nothing on whether this record is the patient's."""
