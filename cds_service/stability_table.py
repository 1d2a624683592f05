# SPDX-License-Identifier: Apache-2.0
"""Which features of a cohort are stable: from its perturbed measurements to a table of their ICC."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cds_service.extracting import COLUMNS, PERTURBATION, TableFormat, require_format
from model.errors import ConfigError
from model.training.stability import Stability, stability_of

_FEWEST_LESIONS = 2
"""Below which no correlation is defined."""


def read_stability(table: Path, *, confidence: float = 0.95) -> Stability:
    """Return the stability of every feature in the perturbed measurements of a cohort.

    Parameters
    ----------
    table
        As `extract_cohort` writes it beside a cohort's table; of the training part alone, if what is chosen
        by it is to be tested on the rest.

    Raises
    ------
    ConfigError
        If it is no such table, was measured with several settings, or is of fewer than two lesions.
    """
    rows = _READERS[require_format(table)](table)
    if not rows or PERTURBATION not in rows[0]:
        raise ConfigError("no perturbed measurements: `hcc-cds extract --perturbations` writes them")
    if len({row["settings_digest"] for row in rows}) > 1:
        raise ConfigError("lesions that were measured with several settings, as CT and MR, are no one cohort")
    lesions: dict[tuple[str, str], dict[int, Mapping[str, Any]]] = defaultdict(dict)
    for row in rows:
        lesions[row["case"], row["study_instance_uid"]][int(row[PERTURBATION])] = row
    if len(lesions) < _FEWEST_LESIONS:
        raise ConfigError("stability needs two lesions at least, and means something with some dozens")
    names = list(dict.fromkeys(name for row in rows for name in row if name not in {*COLUMNS, PERTURBATION}))
    looks = 1 + max(number for of_lesion in lesions.values() for number in of_lesion)
    values = np.full((len(lesions), looks, len(names)), np.nan)
    for place, of_lesion in enumerate(lesions.values()):
        for number, row in of_lesion.items():
            values[place, number] = [_number(row.get(name)) for name in names]
    return stability_of(values, names, confidence=confidence)


def write_stability(stability: Stability, out: Path, *, demanded: float) -> tuple[str, ...]:
    """Write a CSV, the most stable feature first, and return the features that reach `demanded`.

    Parameters
    ----------
    demanded
        Lower confidence limit of the ICC.
    """
    stable = stability.at_least(demanded)
    table = [row | {"is_stable": row["feature"] in stable} for row in stability.rows()]
    unfinished = out.with_name(f"{out.name}.part")
    with unfinished.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    unfinished.replace(out)
    return stable


def _number(value: Any) -> float:
    """Return a cell of a table; NaN where it is empty: the feature was not defined."""
    return math.nan if value in (None, "") else float(value)


def _read_csv(path: Path) -> Sequence[Mapping[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def _read_parquet(path: Path) -> Sequence[Mapping[str, Any]]:
    from pyarrow import parquet

    rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    return rows


_READERS = {TableFormat.CSV: _read_csv, TableFormat.PARQUET: _read_parquet}
