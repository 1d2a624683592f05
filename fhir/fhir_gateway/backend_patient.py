# SPDX-License-Identifier: Apache-2.0
"""Which Patient of a server a DICOM patient is: one that has the number, birth date and sex, or none at all.

Decided so: a number is compared as it is written, leading zeros and all; an identifier marked `old` does
not count; a Patient that was merged into another (`link` of type `replaced-by`) or is not active is
nobody to write to; two who have the number are one too many; without a birth date on either side nobody
can be sure. What was written to a Patient before they were merged is of the one they live on as, when a
`link` of either says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fhir_gateway.backend import FhirServer, Stored, token_of
from model.domain import Patient
from model.errors import PeerRefused, PeerUnavailable

_GENDERS = {"M": "male", "F": "female"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPatient:
    """A Patient of a server."""

    reference: str
    """`Patient/123`."""
    merged: frozenset[str]
    """References to those that were merged into this one."""

    def is_of(self, reference: str) -> bool:
        """Whether what is of the Patient at `reference` is of this one."""
        return reference == self.reference or reference in self.merged


def find_patient(server: FhirServer, patient: Patient, systems: Sequence[str]) -> FoundPatient:
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
    having = _having(server, patient.key.patient_id.strip(), systems)
    only = _only(having)
    if len(str(only.resource.get("birthDate", ""))) != len("1960-01-02"):
        raise PeerRefused("identity: the record gives no birth date")
    # As texts, which for days of FHIR and of ours is the same.
    if only.resource["birthDate"] != patient.birth_date.isoformat():
        raise PeerRefused("identity: birth date does not agree")
    gender = _GENDERS.get(patient.sex or "")
    if gender and only.resource.get("gender") in set(_GENDERS.values()) - {gender}:
        raise PeerRefused("identity: sex does not agree")
    replaced = {server.local(each) for each in _linked(only, "replaces")}
    replaced |= {
        each.reference
        for each in having
        if only.reference in {server.local(other) for other in _linked(each, "replaced-by")}
    }
    return FoundPatient(reference=only.reference, merged=frozenset(replaced))


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
    return any(True for _ in _linked(stored, "replaced-by")) or stored.resource.get("active") is False


def _linked(stored: Stored, kind: str) -> Iterator[object]:
    """Yield the references of the links of that type, None of one that has none."""
    links = stored.resource.get("link")
    for each in links if isinstance(links, list) else ():
        if isinstance(each, dict) and each.get("type") == kind:
            other = each.get("other")
            yield other.get("reference") if isinstance(other, dict) else None
