# SPDX-License-Identifier: Apache-2.0
"""Which Patient of a server a DICOM patient is: one that has the number, birth date and sex, or none at all.

Decided so: a number is compared as it is written, leading zeros and all; an identifier marked `old` does
not count; a Patient that was merged into another (`link` of type `replaced-by`) or is not active is
nobody to write to; two who have the number are one too many; without a birth date on either side nobody
can be sure.
"""

from __future__ import annotations

from collections.abc import Sequence

from fhir_gateway.backend import FhirServer, Stored, token_of
from model.domain import Patient
from model.errors import PeerRefused, PeerUnavailable

_GENDERS = {"M": "male", "F": "female"}


def find_patient(server: FhirServer, patient: Patient, systems: Sequence[str]) -> Stored:
    """Return the server's Patient that `patient` is.

    Parameters
    ----------
    systems
        Identifier systems that hold the numbers of the patient's issuer.

    Raises
    ------
    PeerUnavailable
        Nobody there has the number yet, or the server cannot answer now.
    PeerRefused
        It is in doubt who is meant; the message says why.
    """
    if not systems:
        raise PeerRefused("identity: no identifier system for the issuer")
    if patient.birth_date is None:
        raise PeerRefused("identity: the images give no birth date")
    only = _only(_having(server, patient.key.patient_id.strip(), systems))
    if len(str(only.resource.get("birthDate", ""))) != len("1960-01-02"):
        raise PeerRefused("identity: the record gives no birth date")
    # As texts, which for days of FHIR and of ours is the same.
    if only.resource["birthDate"] != patient.birth_date.isoformat():
        raise PeerRefused("identity: birth date does not agree")
    gender = _GENDERS.get(patient.sex or "")
    if gender and only.resource.get("gender") in set(_GENDERS.values()) - {gender}:
        raise PeerRefused("identity: sex does not agree")
    return only


def _having(server: FhirServer, number: str, systems: Sequence[str]) -> list[Stored]:
    """Return each Patient that has `number` in one of `systems`."""
    found: dict[str, Stored] = {}
    for system in systems:
        asked = {"system": system, "value": number}
        for each in server.search_without_url("Patient", {"identifier": token_of(asked)}):
            if _has(each, system, number):
                found[each.reference] = each
    if not found:
        raise PeerUnavailable("identity: nobody has the number")
    return list(found.values())


def _only(found: Sequence[Stored]) -> Stored:
    """Return the one who is still a patient of their own."""
    living = [each for each in found if not _is_retired(each)]
    if not living:
        raise PeerRefused("identity: merged into another patient")
    if len(living) > 1:
        raise PeerRefused("identity: several patients have the number")
    return living[0]


def _has(stored: Stored, system: str, number: str) -> bool:
    # A server that does not know the parameter may answer with everybody.
    identifiers = stored.resource.get("identifier")
    return any(
        isinstance(each, dict)
        and each.get("system") == system
        and str(each.get("value", "")).strip() == number
        and each.get("use") != "old"
        for each in (identifiers if isinstance(identifiers, list) else ())
    )


def _is_retired(stored: Stored) -> bool:
    links = stored.resource.get("link")
    replaced = any(
        isinstance(each, dict) and each.get("type") == "replaced-by"
        for each in (links if isinstance(links, list) else ())
    )
    return replaced or stored.resource.get("active") is False
