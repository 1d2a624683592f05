# SPDX-License-Identifier: Apache-2.0
"""What is written to a record for one revision of a study: resources without ids, and whose they are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from fhir_gateway.result_terms import Element
from model.domain import Patient, PatientKey, Study, derived_uid

_FORMAT = 1

PATIENT = "urn:uuid:00000000-0000-4000-8000-000000000000"
"""Stands for the patient until a server has said who that is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A resource and the name by which others refer to it."""

    name: str
    """`urn:uuid:...`."""
    resource: Element = field(repr=False)

    @property
    def resource_type(self) -> str:
        """Its type."""
        return str(self.resource["resourceType"])

    @property
    def identifier(self) -> Element:
        """The identifier that is its own; what else it has tells what it belongs to."""
        first: Element = self.resource["identifier"][0]
        return first


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultKeys:
    """UIDs by which a server finds what belongs together."""

    study: str
    """On all that was ever written of a study, whatever its revision and whosever it was said to be."""
    report: str
    """The report's own: there is one for a study of a patient."""
    assessment: str
    """On all that is of one revision."""

    @staticmethod
    def of(study: Study, revision: int) -> ResultKeys:
        """Return the keys of a revision; nothing of the study or the patient can be read from them."""
        uid = study.study_instance_uid
        return ResultKeys(
            study=derived_uid("fhir study", uid),
            report=derived_uid("fhir report", uid, *_whose(study.patient.key)),
            assessment=derived_uid("fhir assessment", uid, str(revision)),
        )

    @staticmethod
    def of_lesion(tracking_uid: str, patient: PatientKey) -> str:
        """Return the UID of a patient's lesion."""
        return derived_uid("fhir lesion", tracking_uid, *_whose(patient))

    def part(self, name: str) -> str:
        """Return the UID that the part `name` of this revision always has."""
        return derived_uid("fhir part", self.assessment, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultDocument:
    """All that one revision writes, in the order in which it is written.

    Parameters
    ----------
    study
        The ImagingStudy, which others keep: found there, or named by its identifier.
    shared
        Of no revision: devices and lesions. Written once, never changed.
    parts
        Of this revision alone.
    report
        The DiagnosticReport of the study, of which there is one: written after all that it names.
    provenance
        Written last; None where nothing was made.
    replaces_only
        Nothing is written where no earlier revision is.
    """

    patient: Patient
    revision: int
    keys: ResultKeys
    study: Element
    """The Reference to it."""
    shared: tuple[Named, ...]
    parts: tuple[Named, ...]
    report: Named
    provenance: Named | None = None
    replaces_only: bool = False

    def to_json(self) -> bytes:
        """Return the document as a file keeps it; the same document, the same bytes."""
        key = self.patient.key
        return json.dumps(
            {
                "format": _FORMAT,
                "patient": {
                    "patient_id": key.patient_id,
                    "issuer": key.issuer,
                    "birth_date": self.patient.birth_date.isoformat() if self.patient.birth_date else None,
                    "sex": self.patient.sex,
                },
                "revision": self.revision,
                "keys": {
                    "study": self.keys.study,
                    "report": self.keys.report,
                    "assessment": self.keys.assessment,
                },
                "study": self.study,
                "replaces_only": self.replaces_only,
                "shared": [_written(each) for each in self.shared],
                "parts": [_written(each) for each in self.parts],
                "report": _written(self.report),
                "provenance": None if self.provenance is None else _written(self.provenance),
            },
            ensure_ascii=False,
            indent=1,
        ).encode()

    @staticmethod
    def from_json(content: bytes) -> ResultDocument:
        """Return the document that `to_json` wrote.

        Raises
        ------
        ValueError
            It is none, or of another version of ours.
        """
        said = json.loads(content)
        if said["format"] != _FORMAT:
            raise ValueError("a result of another version")
        whose = said["patient"]
        born = whose["birth_date"]
        return ResultDocument(
            patient=Patient(
                key=PatientKey(patient_id=whose["patient_id"], issuer=whose["issuer"]),
                birth_date=None if born is None else date.fromisoformat(born),
                sex=whose["sex"],
            ),
            revision=said["revision"],
            keys=ResultKeys(**said["keys"]),
            study=said["study"],
            shared=tuple(_read(each) for each in said["shared"]),
            parts=tuple(_read(each) for each in said["parts"]),
            report=_read(said["report"]),
            provenance=None if said["provenance"] is None else _read(said["provenance"]),
            replaces_only=said["replaces_only"],
        )


def with_references(resource: Element, names: Mapping[str, str | None]) -> Element:
    """Return `resource` with every reference to one of `names` replaced by what it stands for.

    One that stands for nothing (None) is left out: the Reference then names its target by identifier.
    """
    replaced: Element = _replaced(resource, names)
    return replaced


def _replaced(value: Any, names: Mapping[str, str | None]) -> Any:
    if isinstance(value, list):
        return [_replaced(each, names) for each in value]
    if not isinstance(value, dict):
        return value
    replaced = {key: _replaced(each, names) for key, each in value.items()}
    target = replaced.get("reference")
    if isinstance(target, str) and target in names:
        replaced["reference"] = names[target]
        if replaced["reference"] is None:
            del replaced["reference"]
    return replaced


def references(names: Sequence[str]) -> list[Element]:
    """Return a Reference to each of `names`."""
    return [{"reference": each} for each in names]


def _whose(key: PatientKey) -> tuple[str, str]:
    return key.patient_id, key.issuer


def _written(named: Named) -> Element:
    return {"name": named.name, "resource": named.resource}


def _read(said: Element) -> Named:
    return Named(name=said["name"], resource=said["resource"])
