# SPDX-License-Identifier: Apache-2.0
"""When a study is whole, what is fetched of it, and what happens when it does not become whole.

Each look is one step of the workflow: it asks the PACS, fetches what is missing and says when the
next look is due, or opens a revision of the assessment. Between two looks nothing is held.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from cds_service.build import Shared
from cds_service.config import CompleteConfig
from cds_service.encoding import encode
from cds_service.pacs import build_pacs
from cds_service.receiving import build_intake
from cds_service.store import Look, Revision
from dicom_listener.completeness import (
    Comparison,
    Ours,
    compare,
    images_and_outlines,
    in_doubt,
    our_series,
    priors_of,
    shows_abdomen,
    what_lacks,
)
from dicom_listener.identity import UNIDENTIFIED_ISSUER
from dicom_listener.intake import taken_sop_classes
from dicom_listener.measurement import read_study
from dicom_listener.pacs import Budget, Pacs, Wanted
from dicom_listener.selection import ImageLimits
from model.errors import PeerRefused, PeerUnavailable

_MOST_DOUBLINGS = 16
_LEASE_MARGIN = timedelta(minutes=5)
"""Beyond the time of a fetch, for the questions before and after it."""
_INSTANCES_AT_ONCE = 100
"""Of one C-MOVE or C-GET: what is spent is looked at in between."""
_MOST_SERIES_ASKED = 200
_MOST_PRIORS_LOOKED_AT = 10
_PRIOR_ATTEMPTS = 10
_NOT_ASKED = "the PACS could not be asked"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finding:
    """What a look found."""

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
        return not self.lacks


class Completing:
    """Looks at studies.

    Parameters
    ----------
    limits
        Gates of the selection of images.
    phase
        Contrast phase that the model was made for; None if it asks for none.
    """

    def __init__(
        self, shared: Shared, *, limits: ImageLimits, phase: str | None, now: Callable[[], datetime]
    ) -> None:
        self._settings: CompleteConfig = shared.config.complete
        self._quiet = timedelta(seconds=shared.config.assess.quiet_s)
        self._default_issuer = shared.config.identity.default_issuer
        self._store = shared.store
        self._study_ref = shared.study_ref
        self._log = shared.log
        self._limits = limits
        self._phase = phase
        self._now = now
        self._pacs: Pacs | None = None
        self._taken: frozenset[str] = frozenset()
        if self._settings.pacs is not None:
            intake = build_intake(shared)
            self._taken = frozenset(str(each) for each in taken_sop_classes(intake.limits))
            self._pacs = build_pacs(
                self._settings.pacs, intake, calling_ae_title=shared.config.listen.ae_title
            )

    def look(self, study_instance_uid: str, owner: str) -> dict[str, Any]:
        """Whether the study is whole, and if so which revision of its assessment begins.

        Returns
        -------
        dict
            `wait_s` above zero: the next look is due then, at `due`. `revision` None: nothing new to
            assess. `incomplete`: the reason to reject the revision, '' for none. `prior`: whether a
            prior is to be looked for. `owner` is the workflow, which gets its revision again when it
            asks again.
        """
        changed_at = self._store.received.changed_at(study_instance_uid)
        if changed_at is None:
            return _answer()
        if changed_at + self._quiet > self._now():
            return self._wait_until(changed_at + self._quiet)
        if self._pacs is None or self._store.assessments.covers(study_instance_uid, changed_at):
            return self._open(study_instance_uid, owner)
        look = self._begin(study_instance_uid, owner, changed_at)
        if isinstance(look, datetime):
            return self._wait_until(look)
        # Another look may have ended while this one waited for its turn.
        if self._store.assessments.covers(study_instance_uid, changed_at):
            finding = None
        else:
            # A PACS that gave nothing when asked for single instances is asked for whole series.
            finding = self._find(self._pacs, study_instance_uid, whole_series=look.attempts > 0)
        if finding is None or finding.is_whole:
            if finding is not None:
                self._log_look("info", "study_whole", study_instance_uid, look, finding)
            return self._open(study_instance_uid, owner)
        return self._go_on(study_instance_uid, owner, look, finding)

    def prior(self, study_instance_uid: str, owner: str, attempt: int) -> dict[str, Any]:
        """Fetch the newest prior of a study, unless it is one itself.

        Returns
        -------
        dict
            `wait_s` above zero: to be tried again then. `prior`: Study Instance UID of what came.
        """
        if (
            self._pacs is None
            or not self._settings.priors
            or self._store.completeness.is_prior(study_instance_uid)
        ):
            return {"wait_s": 0.0, "prior": None}
        try:
            prior = self._fetch_prior(self._pacs, study_instance_uid, owner)
        except (PeerUnavailable, PeerRefused) as error:
            self._log.warning(
                "prior_not_fetched",
                study_ref=self._study_ref(study_instance_uid),
                attempt=attempt,
                explanation=str(error),
            )
            again = error.retryable and attempt + 1 < _PRIOR_ATTEMPTS
            return {"wait_s": self._delay(attempt).total_seconds() if again else 0.0, "prior": None}
        return {"wait_s": 0.0, "prior": prior}

    # -- one look ------------------------------------------------------------------------------------

    def _begin(self, study_instance_uid: str, owner: str, changed_at: datetime) -> Look | datetime:
        now = self._now()
        return self._store.completeness.begin_look(
            study_instance_uid, owner=owner, changed_at=changed_at, now=now, until=now + self._lease
        )

    @property
    def _lease(self) -> timedelta:
        return timedelta(seconds=self._settings.maximum_fetch_s) + _LEASE_MARGIN

    def _find(self, pacs: Pacs, study_instance_uid: str, *, whole_series: bool) -> _Finding:
        """Compare with the PACS, fetch what is missing and compare again."""
        comparison: Comparison | None = None
        brought = False
        trouble = ""
        try:
            comparison = self._compare(pacs, study_instance_uid)
            if comparison is None:
                trouble = "the PACS does not know the study"
            elif not comparison.is_whole:
                brought, comparison, trouble = self._fetch(
                    pacs, study_instance_uid, comparison, whole_series=whole_series
                )
        except (PeerUnavailable, PeerRefused) as error:
            trouble = str(error)
        if comparison is None:
            return _Finding(comparison=None, lacks=f"{_NOT_ASKED}: {trouble}")
        if not comparison.is_whole:
            lacks = f"{comparison.in_words}; {trouble}" if trouble else comparison.in_words
            return _Finding(comparison=comparison, lacks=lacks, brought=brought)
        if brought:
            return _Finding(comparison=comparison, lacks="its objects have just arrived", brought=True)
        return _Finding(comparison=comparison, lacks=self._needs(study_instance_uid), needs_only=True)

    def _compare(self, pacs: Pacs, study_instance_uid: str) -> Comparison | None:
        held = pacs.study(study_instance_uid)
        if held is None:
            return None
        received = self._store.received.instances(study_instance_uid)
        reports = self._store.completeness.our_reports(study_instance_uid)
        ours = Ours(series_instance_uids=our_series(reports), count=len(reports))
        doubtful = in_doubt(held, received, ours)
        named = {
            each.series_instance_uid: pacs.instances(study_instance_uid, each.series_instance_uid)
            for each in islice(doubtful, _MOST_SERIES_ASKED)
        }
        return compare(study_instance_uid, held, received, named, ours=ours, taken_sop_classes=self._taken)

    def _fetch(
        self, pacs: Pacs, study_instance_uid: str, before: Comparison, *, whole_series: bool
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
            self._fetch_all(pacs, wanted, study_instance_uid)
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

    def _fetch_all(self, pacs: Pacs, wanted: Sequence[Wanted], study_instance_uid: str) -> None:
        budget = Budget(
            seconds=self._settings.maximum_fetch_s,
            maximum_bytes=self._settings.maximum_fetch_mb * 1_000_000,
        )
        by_move = self._settings.pacs is not None and self._settings.pacs.retrieve == "c-move"
        here = self._held_here(study_instance_uid) if by_move else {}
        for each in _in_parts(wanted):
            pacs.fetch(each, budget)
            if by_move:
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

    # -- what follows --------------------------------------------------------------------------------

    def _go_on(self, study_instance_uid: str, owner: str, look: Look, finding: _Finding) -> dict[str, Any]:
        """Wait for the next look, or do what the settings say when the time is over."""
        now = self._now()
        over_at = look.waiting_since + timedelta(seconds=self._settings.maximum_wait_s)
        policy = self._settings.when_incomplete
        is_over = now >= over_at and not (
            finding.comparison and finding.comparison.is_whole and finding.brought
        )
        self._log_look(
            "warning",
            "study_incomplete",
            study_instance_uid,
            look,
            finding,
            outcome=policy if is_over else "wait",
            explanation=finding.lacks,
        )
        if is_over and policy != "wait":
            if finding.needs_only:
                # The selection says what is missing, with its own reason.
                return self._open(study_instance_uid, owner)
            return self._open(study_instance_uid, owner, lacks=finding.lacks)
        attempts = 0 if finding.brought else look.attempts + 1
        due = now + (self._quiet if finding.brought else self._delay(look.attempts))
        if not is_over:
            due = min(due, max(over_at, now + timedelta(milliseconds=100)))
        self._store.completeness.end_look(
            study_instance_uid, owner=owner, next_look_at=due, attempts=attempts, reason=finding.lacks
        )
        return self._wait_until(due)

    def _log_look(
        self, level: str, event: str, study_instance_uid: str, look: Look, finding: _Finding, **more: str
    ) -> None:
        comparison = finding.comparison
        write = getattr(self._log, level)
        write(
            event,
            study_ref=self._study_ref(study_instance_uid),
            arrived=comparison.arrived if comparison else None,
            expected=comparison.expected if comparison else None,
            attempt=look.attempts,
            seconds=round((self._now() - look.waiting_since).total_seconds(), 1),
            **more,
        )

    def _open(self, study_instance_uid: str, owner: str, *, lacks: str = "") -> dict[str, Any]:
        opened = self._store.assessments.open_revision(
            study_instance_uid, owner=owner, now=self._now(), lacks=lacks
        )
        self._store.completeness.end_wait(study_instance_uid)
        return _answer(
            revision=None if opened is None else encode(Revision, opened),
            # Of the revision as it was opened: killed since, a worker asks again and knows no more.
            incomplete=opened.lacks if opened and self._settings.when_incomplete == "reject" else "",
            prior=self._pacs is not None and self._settings.priors > 0,
        )

    def _wait_until(self, due: datetime) -> dict[str, Any]:
        # Never nothing: zero means that the wait is over.
        wait_s = max(0.001, (due - self._now()).total_seconds())
        return _answer(wait_s=wait_s, due=due.astimezone(UTC).isoformat())

    def _delay(self, attempts: int) -> timedelta:
        """Return an exponential back-off with jitter: not all that wait for a PACS ask it at once."""
        longest = min(
            self._settings.maximum_delay_s,
            self._settings.first_delay_s * 2.0 ** min(attempts, _MOST_DOUBLINGS),
        )
        return timedelta(seconds=longest * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load, guards nothing

    # -- priors --------------------------------------------------------------------------------------

    def _fetch_prior(self, pacs: Pacs, study_instance_uid: str, owner: str) -> str | None:
        study = read_study(
            study_instance_uid, self._store.received.instances(study_instance_uid), self._default_issuer
        )
        if study.study_date is None or study.patient.key.issuer == UNIDENTIFIED_ISSUER:
            return None
        found = pacs.studies_of(study.patient.key.patient_id, before=study.study_date)
        for each in priors_of(study, found)[:_MOST_PRIORS_LOOKED_AT]:
            prior = each.study_instance_uid
            held = pacs.study(prior)
            if held is None or not shows_abdomen(each.description, held.series):
                continue
            now = self._now()
            if self._store.received.changed_at(prior) is not None:
                # It came before, if only in part, and becomes whole by looks of its own.
                self._store.completeness.end_look(prior, owner=owner, next_look_at=now, attempts=0, reason="")
                return prior
            self._store.completeness.record_prior(prior, prior_of=study_instance_uid, now=now)
            # Taken like a study that is looked at, so that nobody fetches it a second time meanwhile.
            look = self._begin(prior, owner, now)
            if isinstance(look, datetime):
                return None
            try:
                self._fetch_all(pacs, images_and_outlines(prior, held), prior)
            finally:
                self._store.completeness.end_look(
                    prior, owner=owner, next_look_at=self._now(), attempts=0, reason=""
                )
            self._log.info("prior_fetched", study_ref=self._study_ref(study_instance_uid))
            return prior
        return None


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


def _answer(
    *,
    wait_s: float = 0.0,
    due: str = "",
    revision: dict[str, Any] | None = None,
    incomplete: str = "",
    prior: bool = False,
) -> dict[str, Any]:
    return {"wait_s": wait_s, "due": due, "revision": revision, "incomplete": incomplete, "prior": prior}
