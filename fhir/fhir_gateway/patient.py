# SPDX-License-Identifier: Apache-2.0
"""Who the record is of: identifiers and birth date of the FHIR Patient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
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
    """(system, value) of those that are not marked as old."""
    birth_date: date | None = field(repr=False)
    """None also where only a year or month is known."""
    sex: str | None = field(default=None, repr=False)
    """M or F, as DICOM's Patient's Sex (0010,0040) has it; None for anything else."""


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
    return RecordPatient(
        patient_id=patient.id,
        identifiers=tuple(
            (str(identifier.system), identifier.value.strip())
            for identifier in patient.identifier or ()
            if identifier.system and identifier.value and identifier.use != "old"
        ),
        birth_date=day_of(patient.birthDate),
        sex=_SEXES.get(patient.gender),
    )
