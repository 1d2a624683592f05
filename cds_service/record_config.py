# SPDX-License-Identifier: Apache-2.0
"""Settings of what of the record counts: how old each kind of fact may be."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from cds_service.sections import Section
from model.patient_facts import DEFAULT_WINDOWS, RecordWindows


def _days(window: timedelta, description: str) -> int:
    """Return the field of a window, its default as `RecordWindows` has it."""
    field: int = Field(window.days, ge=1, le=36500, description=description)
    return field


class RecordConfig(Section):
    """How old a fact of the record may be to count, in days; what is older is told as such."""

    liver_function_days: int = _days(
        DEFAULT_WINDOWS.liver_function, "Bilirubin, albumin, INR, ascites and encephalopathy."
    )
    blood_days: int = _days(DEFAULT_WINDOWS.blood, "Blood count, AST, ALT, ALP, creatinine, sodium.")
    tumour_markers_days: int = _days(DEFAULT_WINDOWS.tumour_markers, "AFP, CRP, DCP.")
    thyroid_days: int = _days(DEFAULT_WINDOWS.thyroid, "TSH.")
    viral_load_days: int = _days(DEFAULT_WINDOWS.viral_load, "HBV DNA and HCV RNA.")
    negative_serology_days: int = _days(
        DEFAULT_WINDOWS.negative_serology,
        "A test on viral hepatitis that was not positive; a positive one counts at any age.",
    )
    urine_protein_days: int = _days(
        DEFAULT_WINDOWS.urine_protein, "Test strip, protein in 24 hours, protein/creatinine."
    )
    blood_pressure_days: int = _days(DEFAULT_WINDOWS.blood_pressure, "Blood pressure.")
    performance_status_days: int = _days(DEFAULT_WINDOWS.performance_status, "ECOG performance status.")
    body_days: int = _days(DEFAULT_WINDOWS.body, "Body weight.")
    height_days: int = _days(DEFAULT_WINDOWS.height, "Body height.")

    def windows(self) -> RecordWindows:
        """Return the windows that these settings mean."""
        return RecordWindows(
            **{
                name.removesuffix("_days"): timedelta(days=getattr(self, name))
                for name in type(self).model_fields
            }
        )
