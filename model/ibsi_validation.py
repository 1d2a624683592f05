# SPDX-License-Identifier: Apache-2.0
"""Our values beside those of the nine teams of IBSI 1's validation on soft-tissue sarcomas.

Zwanenburg et al., Radiology 2020;295:328, phase III. The images and `nine_teams_values.csv`
are third parties'; none of them is part of this software.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

from model.domain import FeatureVector, Modality
from model.extraction_settings import Aggregation, ExtractionSettings
from model.ibsi import TAGS, code_of, tag, value_of

_CT = ExtractionSettings(
    modality=Modality.CT,
    spacing_mm=1.0,
    round_intensities=True,
    resegmentation_range=(-200.0, 200.0),
    bin_width=10.0,
    aggregation=Aggregation.VOLUME_MERGED,
)

VALIDATION_SETTINGS: Mapping[Modality, ExtractionSettings] = MappingProxyType(
    {
        Modality.CT: _CT,
        Modality.MR: replace(
            _CT, modality=Modality.MR, round_intensities=False, resegmentation_range=(0.0, 1e6)
        ),
    }
)
"""1 mm, tricubic spline; CT rounded, -200 to 200 HU; MR from 0 up; bins of 10 from there; 3D, merged."""

PATIENTS = ("STS_002", "STS_008")
IMAGES: Mapping[str, Modality] = MappingProxyType({"CT": Modality.CT, "MR_T1": Modality.MR})
"""Folder and name in the table of each image that we can measure; PET we cannot."""

_FEWEST_TEAMS = 5
_BESIDE = 1e-4
"""Relative. The teams that follow the same definitions differ among themselves by more: some print five
digits, and a voxel that is interpolated to the edge of a bin falls to either side."""


class Place(StrEnum):
    """Where a value lies."""

    WITHIN = "within"
    BESIDE = "beside"
    OUTSIDE = "outside"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """One feature of one image: ours, and the lowest and highest of the teams."""

    feature: str
    ibsi_code: str
    value: float
    lowest: float
    highest: float
    teams: int

    @property
    def distance(self) -> float:
        """How far the value lies outside the spread, relative to the nearer end; 0 within."""
        if self.lowest <= self.value <= self.highest:
            return 0.0
        end = self.lowest if self.value < self.lowest else self.highest
        return abs(self.value - end) / max(abs(end), abs(self.value))

    @property
    def place(self) -> Place:
        """Where the value lies: within, or no farther beside than the teams' rounding."""
        if self.distance == 0.0:
            return Place.WITHIN
        return Place.BESIDE if self.distance <= _BESIDE else Place.OUTSIDE


def read_teams(path: Path) -> Mapping[tuple[str, str, str], Mapping[str, float]]:
    """Return the value of each team, by tag, patient and image."""
    values: dict[tuple[str, str, str], dict[str, float]] = defaultdict(dict)
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["value"]:
                values[row["tag"], row["id"], row["modality"]][row["team"]] = float(row["value"])
    return values


def spreads(
    vector: FeatureVector,
    teams: Mapping[tuple[str, str, str], Mapping[str, float]],
    patient: str,
    image: str,
) -> Iterator[Spread]:
    """Yield each feature that at least five teams report, in the table's order."""
    for feature in TAGS:
        theirs = teams.get((tag(feature, Aggregation.VOLUME_MERGED), patient, image), {})
        value = value_of(vector, feature)
        if len(theirs) < _FEWEST_TEAMS or value is None:
            continue
        yield Spread(
            feature=feature,
            ibsi_code=code_of(feature),
            value=value,
            lowest=min(theirs.values()),
            highest=max(theirs.values()),
            teams=len(theirs),
        )
