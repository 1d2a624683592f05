# SPDX-License-Identifier: Apache-2.0
"""What the PACS holds of a study beside what is here, and the fetching of what is missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from typing import Any

from cds_service.build import Shared
from cds_service.complete_config import CompleteConfig
from cds_service.pacs import build_pacs
from cds_service.receiving import build_intake
from dicom_listener.completeness import Comparison, Ours, compare, in_doubt, our_series, what_lacks
from dicom_listener.intake import taken_sop_classes
from dicom_listener.pacs import Budget, Pacs, Wanted
from dicom_listener.selection import ImageLimits
from model.errors import PeerRefused, PeerUnavailable

_INSTANCES_AT_ONCE = 100
"""Of one C-MOVE or C-GET: what is spent is looked at in between."""
_MOST_SERIES_ASKED = 200
_NOT_ASKED = "the PACS could not be asked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a look at a study found."""

    comparison: Comparison | None
    """None where the PACS could not be asked."""
    lacks: str
    """What the study lacks, in words; '' when it is whole."""
    needs_only: bool = False
    """Whether it is the model that lacks something while all that the PACS holds is here."""
    brought: bool = False
    """Whether something came that was not here before."""

    @property
    def is_whole(self) -> bool:
        """Whether the study lacks nothing."""
        return not self.lacks


class Holdings:
    """Asks the PACS and fetches from it.

    Parameters
    ----------
    limits
        Gates of the selection of images.
    phase
        Contrast phase that the model was made for; None if it asks for none.
    """

    def __init__(
        self,
        shared: Shared,
        settings: CompleteConfig,
        *,
        limits: ImageLimits,
        phase: str | None,
        now: Callable[[], datetime],
    ) -> None:
        if settings.pacs is None:
            raise ValueError("there is no PACS to ask")
        self._settings = settings
        self._store = shared.store
        self._study_ref = shared.study_ref
        self._log: Any = shared.log
        self._limits = limits
        self._phase = phase
        self._now = now
        intake = build_intake(shared)
        self._taken = frozenset(str(each) for each in taken_sop_classes(intake.limits))
        self._is_moved = settings.pacs.retrieve == "c-move"
        self.pacs: Pacs = build_pacs(settings.pacs, intake, calling_ae_title=shared.config.listen.ae_title)

    def find(self, study_instance_uid: str, *, whole_series: bool) -> Finding:
        """Compare with the PACS, fetch what is missing and compare again."""
        comparison: Comparison | None = None
        brought = False
        trouble = ""
        try:
            comparison = self._compare(study_instance_uid)
            if comparison is None:
                trouble = "the PACS does not know the study"
            elif not comparison.is_whole:
                brought, comparison, trouble = self._fetch(
                    study_instance_uid, comparison, whole_series=whole_series
                )
        except (PeerUnavailable, PeerRefused) as error:
            trouble = str(error)
        if comparison is None:
            return Finding(comparison=None, lacks=f"{_NOT_ASKED}: {trouble}")
        if not comparison.is_whole:
            lacks = f"{comparison.in_words}; {trouble}" if trouble else comparison.in_words
            return Finding(comparison=comparison, lacks=lacks, brought=brought)
        if brought:
            return Finding(comparison=comparison, lacks="its objects have just arrived", brought=True)
        return Finding(comparison=comparison, lacks=self._needs(study_instance_uid), needs_only=True)

    def _compare(self, study_instance_uid: str) -> Comparison | None:
        held = self.pacs.study(study_instance_uid)
        if held is None:
            return None
        received = self._store.received.instances(study_instance_uid)
        reports = self._store.completeness.our_reports(study_instance_uid)
        ours = Ours(series_instance_uids=our_series(reports), count=len(reports))
        doubtful = in_doubt(held, received, ours)
        named = {
            each.series_instance_uid: self.pacs.instances(study_instance_uid, each.series_instance_uid)
            for each in islice(doubtful, _MOST_SERIES_ASKED)
        }
        return compare(study_instance_uid, held, received, named, ours=ours, taken_sop_classes=self._taken)

    def _fetch(
        self, study_instance_uid: str, before: Comparison, *, whole_series: bool
    ) -> tuple[bool, Comparison, str]:
        """Fetch what is missing; return whether something came, what is missing now, and what went wrong."""
        lacking = (before.expected or 0) - before.arrived
        if lacking > self._settings.maximum_fetch_instances:
            return False, before, "more than complete.maximum_fetch_instances are missing"
        here = self._held_here(study_instance_uid)
        trouble = ""
        begun = self._now()
        wanted = [replace(each, sop_instance_uids=()) if whole_series else each for each in before.wanted]
        try:
            self.fetch(wanted, study_instance_uid)
        except (PeerUnavailable, PeerRefused) as error:
            trouble = str(error)
        came = self._held_here(study_instance_uid).keys() - here.keys()
        after = Comparison(
            arrived=min(before.arrived + len(came), before.expected or 0),
            expected=before.expected,
        )
        self._log.info(
            "study_fetched",
            study_ref=self._study_ref(study_instance_uid),
            count=len(came),
            arrived=after.arrived,
            expected=after.expected,
            seconds=round((self._now() - begun).total_seconds(), 3),
            explanation=trouble,
        )
        return bool(came), after, trouble

    def fetch(self, wanted: Sequence[Wanted], study_instance_uid: str) -> None:
        """Fetch `wanted` of a study, within the bounds of the settings."""
        budget = Budget(
            seconds=self._settings.maximum_fetch_s,
            maximum_bytes=self._settings.maximum_fetch_mb * 1_000_000,
        )
        here = self._held_here(study_instance_uid) if self._is_moved else {}
        for each in _in_parts(wanted):
            self.pacs.fetch(each, budget)
            if self._is_moved:
                # It came to the listener, another process.
                before, here = here, self._held_here(study_instance_uid)
                budget.spend(sum(size for uid, size in here.items() if uid not in before))
            else:
                budget.check()

    def _held_here(self, study_instance_uid: str) -> dict[str, int]:
        """Return size in bytes of each instance of a study, by SOP Instance UID."""
        return {
            # One that is gone is told by the step that reads it.
            each.sop_instance_uid: each.path.stat().st_size if each.path.exists() else 0
            for each in self._store.received.instances(study_instance_uid)
        }

    def _needs(self, study_instance_uid: str) -> str:
        """Return what the model needs and does not find in the study, in words."""
        try:
            return what_lacks(
                self._store.received.instances(study_instance_uid), self._limits, phase=self._phase
            )
        except Exception as error:  # noqa: BLE001 - a fault on its objects is told by the step that selects them
            self._log.warning("needs_not_known", error=type(error).__name__)
            return ""


def _in_parts(wanted: Sequence[Wanted]) -> list[Wanted]:
    """Return `wanted` with no more instances named in one than are fetched at once."""
    return [
        Wanted(
            study_instance_uid=each.study_instance_uid,
            series_instance_uid=each.series_instance_uid,
            sop_instance_uids=each.sop_instance_uids[start : start + _INSTANCES_AT_ONCE],
        )
        for each in wanted
        for start in range(0, max(1, len(each.sop_instance_uids)), _INSTANCES_AT_ONCE)
    ]
