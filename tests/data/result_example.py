# SPDX-License-Identifier: Apache-2.0
"""Outcomes of one study, revision by revision, as they are written to records."""

from __future__ import annotations

import runpy
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from cds_service.store import WrittenReport
from model.domain import Assessment, ModelStatus, Rejection, RejectionReason

_EXAMPLE = runpy.run_path(str(Path(__file__).with_name("report_example.py")))

assessment = _EXAMPLE["assessment"]
uid = _EXAMPLE["uid"]

MRN = "urn:oid:1.2.36.146"
"""Where the numbers of the patient's issuer are found."""
OURS = ("DiagnosticReport", "Observation", "RiskAssessment", "DocumentReference", "BodyStructure", "Device")
RESEARCH: Assessment = assessment(status=ModelStatus.RESEARCH)


def again(revision: int, **changes: Any) -> Assessment:
    made = assessment(status=ModelStatus.RESEARCH, revision=revision)
    return replace(made, created_at=made.created_at + timedelta(hours=revision), **changes)


def rejection(revision: int) -> Rejection:
    return Rejection(
        study=RESEARCH.study,
        revision=revision,
        created_at=RESEARCH.created_at + timedelta(days=1),
        reason=RejectionReason.NO_LESION,
        detail="",
        software_version="0.1.0",
    )


def dicom_reports(assessment: Assessment) -> tuple[WrittenReport, ...]:
    return tuple(
        WrittenReport(
            study_instance_uid=assessment.study.study_instance_uid,
            revision=assessment.revision,
            sop_instance_uid=uid(kind, str(assessment.revision)),
            kind=kind,
            path=Path("unused"),
            sha256="",
        )
        for kind in ("SR-A", "SR-B", "SEG")
    )


def imaging_study(subject: str) -> dict[str, Any]:
    return {
        "resourceType": "ImagingStudy",
        "status": "available",
        "subject": {"reference": subject},
        "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{RESEARCH.study.study_instance_uid}"}],
    }
