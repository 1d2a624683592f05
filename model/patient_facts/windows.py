# SPDX-License-Identifier: Apache-2.0
"""How old a fact may be to count (clinical reference 1.12); a site may set other windows."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordWindows:
    """The staleness windows: what is older is told as such and not used."""

    liver_function: timedelta = timedelta(days=28)
    """Bilirubin, albumin, INR, ascites and encephalopathy: 14 days at best, 28 at most."""
    blood: timedelta = timedelta(days=28)
    """Blood count, AST, ALT, ALP, creatinine, sodium."""
    tumour_markers: timedelta = timedelta(days=28)
    """AFP, CRP, DCP."""
    thyroid: timedelta = timedelta(days=90)
    """TSH."""
    viral_load: timedelta = timedelta(days=28)
    """HBV DNA and HCV RNA."""
    negative_serology: timedelta = timedelta(days=365)
    """A test on viral hepatitis that was not positive; a positive one counts at any age."""
    urine_protein: timedelta = timedelta(days=28)
    blood_pressure: timedelta = timedelta(days=14)
    performance_status: timedelta = timedelta(days=28)
    body: timedelta = timedelta(days=90)
    """Weight. Clinical reference 1.12 names none; a quarter of a year is a design choice."""
    height: timedelta = timedelta(days=3650)
    """Of an adult; a design choice."""

    def __post_init__(self) -> None:
        if any(getattr(self, each.name) <= timedelta(0) for each in fields(self)):
            raise ValueError("a window is longer than nothing")


DEFAULT_WINDOWS = RecordWindows()
