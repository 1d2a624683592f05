# SPDX-License-Identifier: Apache-2.0
"""Writing results to a server that forgets parameters, and of studies whose patient changes."""

import itertools
import json
import runpy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from fhir_gateway.backend import FhirServer, NoToken
from fhir_gateway.backend_auth import HttpAnswer
from fhir_gateway.backend_results import write_result
from fhir_gateway.result_document import ResultDocument
from fhir_gateway.results import result_document
from model.domain import PatientKey, Rejection, RejectionReason
from model.errors import PeerRefused, PeerUnavailable

_EXAMPLE = runpy.run_path(str(Path(__file__).parents[1] / "data" / "report_example.py"))
SYSTEM = "urn:a"


@dataclass
class Record:
    """A FHIR server in memory; of the types in `ignoring` it answers a search with all there are."""

    ignoring: tuple[str, ...] = ()
    resources: dict[str, dict[str, Any]] = field(default_factory=dict)
    numbers: Any = field(default_factory=itertools.count)

    def __call__(self, method: str, url: str, headers: dict[str, str], content: bytes) -> HttpAnswer:
        parts = urlsplit(url)
        kind, *rest = parts.path.removeprefix("/fhir/").split("/")
        if method == "GET" or rest == ["_search"]:
            found = self._found(kind, parts.query or content.decode())
            return self._said({"resourceType": "Bundle", "entry": [{"resource": each} for each in found]})
        resource = json.loads(content)
        if rest:
            return self._said(self.keep(resource, rest[0]))
        found = self._found(kind, headers.get("If-None-Exist", parts.query))
        if method == "POST" and found:
            return self._said(found[0])
        return self._said(self.keep(resource, found[0]["id"] if found else ""), 200 if found else 201)

    def keep(self, resource: dict[str, Any], name: str = "") -> dict[str, Any]:
        kept = resource | {"id": name or f"n{next(self.numbers)}"}
        self.resources[kept["id"]] = kept
        return kept

    def patient(self, number: str, **more: Any) -> dict[str, Any]:
        identifier = [{"system": SYSTEM, "value": number}]
        born = {"birthDate": _EXAMPLE["assessment"]().study.patient.birth_date.isoformat()}
        return self.keep({"resourceType": "Patient", "identifier": identifier} | born | more, f"p{number}")

    def statuses(self, kind: str) -> set[tuple[str, str]]:
        return {
            (each["subject"]["reference"], each["status"])
            for each in self.resources.values()
            if each["resourceType"] == kind
        }

    def _found(self, kind: str, query: str) -> list[dict[str, Any]]:
        (asked,) = parse_qs(query).get("identifier", [""])
        return [
            each
            for each in self.resources.values()
            if each["resourceType"] == kind
            and (
                not asked
                or kind in self.ignoring
                or asked in {f"{one['system']}|{one['value']}" for one in each.get("identifier", [])}
            )
        ]

    @staticmethod
    def _said(resource: dict[str, Any], status: int = 200) -> HttpAnswer:
        return HttpAnswer(status=status, content=json.dumps(resource).encode())


def document(revision: int, number: str) -> ResultDocument:
    made = _EXAMPLE["assessment"](revision=revision)
    whose = replace(made.study.patient, key=PatientKey(patient_id=number, issuer="ONE"))
    made = replace(made, study=replace(made.study, patient=whose))
    return result_document(made, (), preliminary=False)


def withdrawal(revision: int, number: str) -> ResultDocument:
    made = _EXAMPLE["assessment"](revision=revision)
    whose = replace(made.study.patient, key=PatientKey(patient_id=number, issuer="ONE"))
    rejection = Rejection(
        study=replace(made.study, patient=whose),
        revision=revision,
        created_at=made.created_at,
        reason=RejectionReason.NO_LESION,
        detail="",
        software_version="0.1.0",
    )
    return result_document(rejection, (), preliminary=False)


def write(record: Record, what: ResultDocument) -> None:
    write_result(
        FhirServer("https://ehr.example/fhir", record, NoToken()), what, (SYSTEM,), stands=lambda: True
    )


def test_what_is_not_ours_is_not_marked_by_a_server_that_ignores_the_identifier() -> None:
    record = Record(ignoring=("Observation",))
    record.patient("A")
    potassium = {"resourceType": "Observation", "status": "final", "subject": {"reference": "Patient/pB"}}
    record.keep(potassium, "lab")

    with pytest.raises(PeerRefused, match="another resource"):
        # A conditional create of such a server would answer with the first there is.
        FhirServer("https://ehr.example/fhir", record, NoToken()).create_unless(
            potassium | {"identifier": [{"system": "a", "value": "b"}]}, {"identifier": "a|b"}
        )
    write(record, replace(document(1, "A"), parts=(), provenance=None, shared=()))

    assert record.resources["lab"]["status"] == "final"


def test_reports_and_imaging_studies_that_are_not_of_the_study_are_not_taken_for_its_own() -> None:
    record = Record(ignoring=("DiagnosticReport", "ImagingStudy"))
    record.patient("A")
    subject = {"subject": {"reference": "Patient/pB"}}
    record.keep({"resourceType": "ImagingStudy", "status": "available"} | subject, "ct")

    record.keep({"resourceType": "DiagnosticReport", "status": "final"} | subject, "lab")

    with pytest.raises(PeerUnavailable, match="identity"):
        write(record, document(1, "unknown"))

    assert record.resources["lab"]["status"] == "final"
    del record.resources["lab"]
    write(record, document(1, "A"))
    assert record.statuses("DiagnosticReport") == {("Patient/pA", "final")}


def test_a_study_of_somebody_unknown_is_withdrawn_from_whom_it_was_said_to_be() -> None:
    record = Record()
    record.patient("A")
    write(record, document(1, "A"))

    with pytest.raises(PeerUnavailable, match="nobody has the number"):
        write(record, document(2, "B"))

    for kind in ("DiagnosticReport", "Observation", "RiskAssessment"):
        assert record.statuses(kind) == {("Patient/pA", "entered-in-error")}


def test_a_withdrawal_reaches_the_record_of_a_patient_who_was_merged() -> None:
    record = Record()
    record.patient("A")
    write(record, document(1, "A"))
    record.patient("A", link=[{"type": "replaced-by", "other": {"reference": "Patient/pB"}}])

    with pytest.raises(PeerRefused, match="merged"):
        write(record, withdrawal(2, "A"))

    assert record.statuses("DiagnosticReport") == {("Patient/pA", "entered-in-error")}


def test_a_study_that_comes_back_to_its_first_patient_is_written_there_again() -> None:
    record = Record()
    record.patient("A")
    record.patient("B")

    for revision, number in enumerate("ABA", start=1):
        write(record, document(revision, number))

    assert {
        whose for whose, status in record.statuses("DiagnosticReport") if status != "entered-in-error"
    } == {"Patient/pA"}
    assert ("Patient/pB", "entered-in-error") in record.statuses("DiagnosticReport")
