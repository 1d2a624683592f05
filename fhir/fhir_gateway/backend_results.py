# SPDX-License-Identifier: Apache-2.0
"""Writing a result to a FHIR server so that a retry makes nothing twice and no older result stays current.

Every step can be repeated: parts are put by their identifier, the rest is created unless it is there. The
report comes after all that it names and stands for the whole: until it is written, the former one holds.
It is replaced only as it was read, so of two revisions that are written at once one has to begin anew,
and finds the other. Servers differ in what a transaction may hold (some allow a handful of conditional
entries), so none is used.
"""

from __future__ import annotations

from fhir_gateway import result_terms as terms
from fhir_gateway.backend import FhirServer, Stored, token_of
from fhir_gateway.backend_patient import find_patient
from fhir_gateway.result_document import PATIENT, Named, ResultDocument, with_references
from fhir_gateway.result_terms import Element
from model.errors import PeerRefused, PeerUnavailable

SUPERSEDED = "superseded: a newer revision is there"

_WITHDRAWN = {
    "DiagnosticReport": "entered-in-error",
    "Observation": "entered-in-error",
    "RiskAssessment": "entered-in-error",
    "DocumentReference": "superseded",
}
"""What of an older revision is marked, and how: FHIR defines entered-in-error as "withdrawn following a
previous final release", and has no status for what a newer result replaces."""


def write_result(server: FhirServer, document: ResultDocument, systems: tuple[str, ...]) -> None:
    """Write `document`, and mark what it supersedes.

    Parameters
    ----------
    systems
        Identifier systems that hold the numbers of the patient's issuer.

    Raises
    ------
    PeerRefused
        It is in doubt whose the result is, a newer revision is there, or the server takes no such thing.
    PeerUnavailable
        The server cannot take it now.
    """
    keys = document.keys
    whole_study = terms.uid_identifier(keys.study)
    # Those that were withdrawn are among them: a study that comes back to a patient revives its report.
    reports = _of_study(server, "DiagnosticReport", whole_study)
    newest = max(reports, key=_revision, default=None)
    if newest is not None and _revision(newest) > document.revision:
        _mark_others(server, whole_study, keep=_assessment(newest))
        raise PeerRefused(SUPERSEDED)
    if document.replaces_only and all(each.resource.get("status") == "entered-in-error" for each in reports):
        _mark_others(server, whole_study, keep=terms.assessment_identifier(keys.assessment))
        return
    own = _own(reports, document.report)
    try:
        names = _whose(server, document, own, systems)
    except (PeerRefused, PeerUnavailable):
        # Whosever it is, what older revisions said of it no longer holds.
        _mark_others(server, whole_study, keep=terms.assessment_identifier(keys.assessment))
        raise
    for each in document.shared:
        created = server.create_unless(
            with_references(each.resource, names), {"identifier": token_of(each.identifier)}
        )
        names[each.name] = created.reference
    for each in document.parts:
        names[each.name] = server.put_by_identifier(
            with_references(each.resource, names), each.identifier
        ).reference
    names[document.report.name] = _write_report(server, document.report, own, names)
    if document.provenance is not None:
        # A Provenance has no identifier; that of a revision is the one of its RiskAssessment.
        score = next(each for each in document.parts if each.resource_type == "RiskAssessment")
        server.create_unless(
            with_references(document.provenance.resource, names), {"target": str(names[score.name])}
        )
    _mark_others(server, whole_study, keep=terms.assessment_identifier(keys.assessment))


def _whose(
    server: FhirServer, document: ResultDocument, own: Stored | None, systems: tuple[str, ...]
) -> dict[str, str | None]:
    """Return what the names of the patient and of the ImagingStudy stand for."""
    patient = find_patient(server, document.patient, systems)
    if own is not None and not _is_of(server, own, patient):
        raise PeerRefused("identity: the result there is another's")
    names: dict[str, str | None] = {PATIENT: patient.reference}
    if "reference" in document.study:
        names[document.study["reference"]] = _imaging_study(server, document.study, patient)
    return names


def _of_study(server: FhirServer, resource_type: str, whole_study: Element) -> list[Stored]:
    """Return what has the identifier of the study; a server that ignores the parameter adds others."""
    found = server.search(resource_type, {"identifier": token_of(whole_study)})
    return [each for each in found if whole_study in _identifiers(each)]


def _own(reports: list[Stored], report: Named) -> Stored | None:
    own = [each for each in reports if report.identifier in _identifiers(each)]
    if len(own) > 1:
        raise PeerRefused("the report is there more than once")
    return own[0] if own else None


def _imaging_study(server: FhirServer, study: Element, patient: Stored) -> str | None:
    """Return the reference of the ImagingStudy; None where the server has none."""
    uid = study["identifier"]
    found = [
        each
        for each in server.search_without_url("ImagingStudy", {"identifier": token_of(uid)})
        if {"system": uid["system"], "value": uid["value"]} in _identifiers(each)
    ]
    if any(not _is_of(server, each, patient) for each in found):
        raise PeerRefused("identity: the imaging study there is another patient's")
    return found[0].reference if len(found) == 1 else None


def _write_report(server: FhirServer, report: Named, own: Stored | None, names: dict[str, str | None]) -> str:
    resource = with_references(report.resource, names)
    if own is not None:
        return server.replace(own, resource).reference
    stored = server.create_unless(resource, {"identifier": token_of(report.identifier)})
    if not stored.created:
        raise PeerUnavailable("another wrote the report at the same time")
    return stored.reference


def _mark_others(server: FhirServer, whole_study: Element, *, keep: Element) -> None:
    """Mark what is of the study and not of the revision that is identified by `keep`."""
    for resource_type, status in _WITHDRAWN.items():
        # Read to the end first: what is changed may move between pages.
        for each in _of_study(server, resource_type, whole_study):
            if keep not in _identifiers(each) and each.resource.get("status") != status:
                server.replace(each, each.resource | {"status": status})


def _identifiers(stored: Stored) -> list[Element]:
    """Return system and value of each identifier: a server may add to them."""
    listed = stored.resource.get("identifier")
    return [
        {"system": each.get("system"), "value": each.get("value")}
        for each in (listed if isinstance(listed, list) else ())
        if isinstance(each, dict)
    ]


def _assessment(report: Stored) -> Element:
    """Return the identifier that a report shares with its parts."""
    shared = [each for each in _identifiers(report) if terms.is_of_assessment(each)]
    if len(shared) != 1:
        raise PeerRefused("the report there is not ours")
    return shared[0]


def _revision(report: Stored) -> int:
    numbers = [each["value"] for each in _identifiers(report) if each["system"] == terms.REVISION]
    if len(numbers) != 1 or not str(numbers[0]).isdecimal():
        raise PeerRefused("the report there is not ours")
    return int(numbers[0])


def _is_of(server: FhirServer, stored: Stored, patient: Stored) -> bool:
    subject = stored.resource.get("subject")
    return isinstance(subject, dict) and server.is_reference_to(subject.get("reference"), patient)
