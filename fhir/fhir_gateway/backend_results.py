# SPDX-License-Identifier: Apache-2.0
"""Writing a result to a FHIR server so that a retry makes nothing twice and no older result stays current.

Every step can be repeated: parts are put by their identifier, the rest is created unless it is there. The
report comes after all that it names and stands for the whole: until it is written, the former one holds,
and what is new says of itself that it is preliminary. The report is replaced only as it was read, so of two
revisions that are written at once one has to begin anew, and finds the other. What replaces no report that
there was, as a withdrawal or another patient's, leaves nothing to find: so a writer looks, after all that
it wrote, whether it still is what stands, and takes it back where it is not. Servers differ in what a
transaction may hold (some allow a handful of conditional entries), so none is used.
"""

from __future__ import annotations

from collections.abc import Callable

from fhir_gateway import result_terms as terms
from fhir_gateway.backend import FhirServer, Stored, token_of
from fhir_gateway.backend_patient import FoundPatient, find_patient
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

_STATUS_ELEMENTS = ("status", "docStatus")


def write_result(
    server: FhirServer, document: ResultDocument, systems: tuple[str, ...], *, stands: Callable[[], bool]
) -> None:
    """Write `document`, and mark what it supersedes.

    Parameters
    ----------
    systems
        Identifier systems that hold the numbers of the patient's issuer.
    stands
        Whether no newer revision of the study may be on its way to the server. Once it is not so, it never
        is again; a newer one is written only after that.

    Raises
    ------
    PeerRefused
        It is in doubt whose the result is, a newer revision is there, or the server takes no such thing.
    PeerUnavailable
        The server cannot take it now.
    """
    # Those that were withdrawn are among them: a study that comes back to a patient revives its report.
    reports = _of_study(server, "DiagnosticReport", terms.uid_identifier(document.keys.study))
    try:
        _require(lambda: all(_revision(each) <= document.revision for each in reports))
        if document.replaces_only and all(_is_withdrawn(each) for each in reports):
            _mark_others(server, document, stands)
        else:
            _write(server, document, systems, reports, stands)
    except PeerRefused:
        # Nobody will finish what was begun, or may say any more what was said.
        withdraw_result(server, document)
        raise


def _write(
    server: FhirServer,
    document: ResultDocument,
    systems: tuple[str, ...],
    reports: list[Stored],
    stands: Callable[[], bool],
) -> None:
    own = _own(reports, document.report)
    is_there = own is not None and not _is_withdrawn(own) and _revision(own) == document.revision
    try:
        names = _whose(server, document, own, systems)
    except (PeerRefused, PeerUnavailable):
        # Whosever it is, what older revisions said of it no longer holds.
        _mark_others(server, document, stands)
        raise
    _write_parts(server, document, names, interim=not is_there)
    _require(stands)
    names[document.report.name] = _write_report(server, document.report, own, names)
    if not is_there:
        _finish_parts(server, document, names)
    _mark_others(server, document, stands)
    if document.provenance is not None:
        # A Provenance has no identifier; that of a revision is the one of its RiskAssessment.
        score = next(each for each in document.parts if each.resource_type == "RiskAssessment")
        server.create_unless(
            with_references(document.provenance.resource, names), {"target": str(names[score.name])}
        )


def withdraw_result(server: FhirServer, document: ResultDocument) -> None:
    """Mark whatever was written of the revision of `document`; where nothing was, nothing happens.

    Raises
    ------
    PeerRefused, PeerUnavailable
        The server does not take it, or not now.
    """
    own = terms.assessment_identifier(document.keys.assessment)
    for each, status in _not_yet_marked(server, document):
        if own in _identifiers(each):
            _mark(server, each, status)


def _write_parts(
    server: FhirServer, document: ResultDocument, names: dict[str, str | None], *, interim: bool
) -> None:
    """Write all that the report names, and add to `names` what it is called there."""
    for each in document.shared:
        created = server.create_unless(
            with_references(each.resource, names), {"identifier": token_of(each.identifier)}
        )
        names[each.name] = created.reference
    for each in document.parts:
        resource = _interim(each.resource) if interim else each.resource
        names[each.name] = server.put_by_identifier(
            with_references(resource, names), each.identifier
        ).reference


def _finish_parts(server: FhirServer, document: ResultDocument, names: dict[str, str | None]) -> None:
    """Write what had to be preliminary until the report stands as it is meant."""
    for each in document.parts:
        if each.resource != _interim(each.resource):
            server.put_by_identifier(with_references(each.resource, names), each.identifier)


def _interim(resource: Element) -> Element:
    """Return `resource` as it may stand before its report: not final."""
    return resource | {
        name: "preliminary" for name in _STATUS_ELEMENTS if resource.get(name) in ("final", "amended")
    }


def _require(stands: Callable[[], bool]) -> None:
    if not stands():
        raise PeerRefused(SUPERSEDED)


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


def _imaging_study(server: FhirServer, study: Element, patient: FoundPatient) -> str | None:
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


def _mark_others(server: FhirServer, document: ResultDocument, stands: Callable[[], bool]) -> None:
    """Mark what is of the study and of another revision, unless a newer one is on its way."""
    own = terms.assessment_identifier(document.keys.assessment)
    others = [each for each in _not_yet_marked(server, document) if own not in _identifiers(each[0])]
    # After the last thing that was written, and after the search: a newer revision is either noticed here,
    # or begins later. Then it finds all that stands here, and none of it is among the others.
    _require(stands)
    for each, status in others:
        _mark(server, each, status)


def _not_yet_marked(server: FhirServer, document: ResultDocument) -> list[tuple[Stored, str]]:
    """Return what is of the study and not withdrawn, with the status that it would be withdrawn by."""
    whole_study = terms.uid_identifier(document.keys.study)
    # Read to the end first: what is changed may move between pages.
    return [
        (each, status)
        for resource_type, status in _WITHDRAWN.items()
        for each in _of_study(server, resource_type, whole_study)
        if each.resource.get("status") != status
    ]


def _mark(server: FhirServer, stored: Stored, status: str) -> None:
    server.replace(stored, stored.resource | {"status": status})


def _is_withdrawn(report: Stored) -> bool:
    return bool(report.resource.get("status") == _WITHDRAWN["DiagnosticReport"])


def _identifiers(stored: Stored) -> list[Element]:
    """Return system and value of each identifier: a server may add to them."""
    listed = stored.resource.get("identifier")
    return [
        {"system": each.get("system"), "value": each.get("value")}
        for each in (listed if isinstance(listed, list) else ())
        if isinstance(each, dict)
    ]


def _revision(report: Stored) -> int:
    numbers = [each["value"] for each in _identifiers(report) if each["system"] == terms.REVISION]
    if len(numbers) != 1 or not str(numbers[0]).isdecimal():
        raise PeerRefused("the report there is not ours")
    return int(numbers[0])


def _is_of(server: FhirServer, stored: Stored, patient: FoundPatient) -> bool:
    subject = stored.resource.get("subject")
    return isinstance(subject, dict) and patient.is_of(server.local(subject.get("reference")))
