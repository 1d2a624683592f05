# SPDX-License-Identifier: Apache-2.0
"""When a study is whole, what is fetched of it, and what happens when it does not become whole.

Each look is one step of the workflow: it asks the PACS, fetches what is missing and says when the
next look is due, or opens a revision of the assessment. Between two looks nothing is held.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from cds_service.back_off import back_off
from cds_service.build import Shared
from cds_service.complete_config import CompleteConfig
from cds_service.encoding import encode
from cds_service.holdings import Finding, Holdings
from cds_service.store import LaterLook, Look, Revision
from dicom_listener.completeness import images_and_outlines, priors_of, shows_abdomen
from dicom_listener.identity import UNIDENTIFIED_ISSUER
from dicom_listener.measurement import read_study
from dicom_listener.selection import ImageLimits
from model.errors import PeerRefused, PeerUnavailable

_LEASE_MARGIN = timedelta(minutes=5)
"""Beyond the time of a fetch, for the questions before and after it."""
_MOST_PRIORS_LOOKED_AT = 10
_PRIOR_ATTEMPTS = 10


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
        self._now = now
        self._holdings = (
            Holdings(shared, self._settings, limits=limits, phase=phase, now=now)
            if self._settings.pacs is not None
            else None
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
        if self._holdings is None:
            return self._open(study_instance_uid, owner)
        if self._store.assessments.covers(study_instance_uid, changed_at):
            later = self._store.completeness.later_look(study_instance_uid)
            if later is None or later.due_at > self._now():
                return self._open(study_instance_uid, owner)
            return self._look_later(self._holdings, study_instance_uid, owner, changed_at, later)
        return self._look(self._holdings, study_instance_uid, owner, changed_at)

    def prior(self, study_instance_uid: str, owner: str, attempt: int) -> dict[str, Any]:
        """Fetch the newest prior of a study, unless it is one itself.

        Returns
        -------
        dict
            `wait_s` above zero: to be tried again then. `prior`: Study Instance UID of what came.
        """
        if (
            self._holdings is None
            or not self._settings.priors
            or self._store.completeness.is_prior(study_instance_uid)
        ):
            return {"wait_s": 0.0, "prior": None}
        try:
            prior = self._fetch_prior(self._holdings, study_instance_uid, owner)
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

    def _look(
        self, holdings: Holdings, study_instance_uid: str, owner: str, changed_at: datetime
    ) -> dict[str, Any]:
        look = self._begin(study_instance_uid, owner, changed_at)
        if isinstance(look, datetime):
            return self._wait_until(look)
        # Another look may have ended while this one waited for its turn.
        if self._store.assessments.covers(study_instance_uid, changed_at):
            return self._open(study_instance_uid, owner)
        # A PACS that gave nothing when asked for single instances is asked for whole series.
        finding = holdings.find(study_instance_uid, whole_series=look.attempts > 0)
        if not finding.is_whole:
            return self._go_on(study_instance_uid, owner, look, finding)
        self._log_look("info", "study_whole", study_instance_uid, look, finding)
        # Before the revision is opened: killed in between, the study is looked at once more.
        self._store.completeness.look_no_later(study_instance_uid)
        return self._open(study_instance_uid, owner)

    def _begin(self, study_instance_uid: str, owner: str, changed_at: datetime) -> Look | datetime:
        now = self._now()
        return self._store.completeness.begin_look(
            study_instance_uid, owner=owner, changed_at=changed_at, now=now, until=now + self._lease
        )

    @property
    def _lease(self) -> timedelta:
        return timedelta(seconds=self._settings.maximum_fetch_s) + _LEASE_MARGIN

    # -- what follows --------------------------------------------------------------------------------

    def _go_on(self, study_instance_uid: str, owner: str, look: Look, finding: Finding) -> dict[str, Any]:
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
            self._look_once_more(study_instance_uid, done=0, since=now)
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

    def _look_later(
        self,
        holdings: Holdings,
        study_instance_uid: str,
        owner: str,
        changed_at: datetime,
        later: LaterLook,
    ) -> dict[str, Any]:
        """Ask once more about a study that went on, or was rejected, without something.

        What comes is looked at like all that arrives. What turns out to be whole as it is, as when the
        PACS had been away, is assessed once more.
        """
        look = self._begin(study_instance_uid, owner, changed_at)
        if isinstance(look, datetime):
            return self._wait_until(look)
        finding = holdings.find(study_instance_uid, whole_series=later.done > 0)
        outcome = "came" if finding.brought else "whole" if finding.is_whole else "wait"
        self._log_look("info", "study_looked_at_later", study_instance_uid, look, finding, outcome=outcome)
        if finding.is_whole:
            opened = self._open(study_instance_uid, owner, once_more=True)
            self._store.completeness.look_no_later(study_instance_uid)
            return opened
        # The wait of what came begins now, not when the study first waited.
        self._store.completeness.end_wait(study_instance_uid)
        if finding.brought:
            return self._wait_until(self._now() + self._quiet)
        self._look_once_more(study_instance_uid, done=later.done + 1, since=later.since)
        return _answer()

    def _look_once_more(self, study_instance_uid: str, *, done: int, since: datetime) -> None:
        """Note when the study is looked at again after `done` later looks, if it is."""
        delays_s = self._settings.later_looks_s
        if done < len(delays_s):
            due_at = since + timedelta(seconds=delays_s[done])
            self._store.completeness.look_later(study_instance_uid, done=done, since=since, due_at=due_at)
        else:
            self._store.completeness.look_no_later(study_instance_uid)

    def _log_look(
        self, level: str, event: str, study_instance_uid: str, look: Look, finding: Finding, **more: str
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

    def _open(
        self, study_instance_uid: str, owner: str, *, lacks: str = "", once_more: bool = False
    ) -> dict[str, Any]:
        opened = self._store.assessments.open_revision(
            study_instance_uid, owner=owner, now=self._now(), lacks=lacks, once_more=once_more
        )
        self._store.completeness.end_wait(study_instance_uid)
        return _answer(
            revision=None if opened is None else encode(Revision, opened),
            # Of the revision as it was opened: killed since, a worker asks again and knows no more.
            incomplete=opened.lacks if opened and self._settings.when_incomplete == "reject" else "",
            prior=self._holdings is not None and self._settings.priors > 0,
        )

    def _wait_until(self, due: datetime) -> dict[str, Any]:
        # Never nothing: zero means that the wait is over.
        wait_s = max(0.001, (due - self._now()).total_seconds())
        return _answer(wait_s=wait_s, due=due.astimezone(UTC).isoformat())

    def _delay(self, attempts: int) -> timedelta:
        return back_off(
            attempts,
            first_s=self._settings.first_delay_s,
            maximum_s=self._settings.maximum_delay_s,
            chance=random.random(),  # noqa: S311 - spreads load, guards nothing
        )

    # -- priors --------------------------------------------------------------------------------------

    def _fetch_prior(self, holdings: Holdings, study_instance_uid: str, owner: str) -> str | None:
        study = read_study(
            study_instance_uid, self._store.received.instances(study_instance_uid), self._default_issuer
        )
        if study.study_date is None or study.patient.key.issuer == UNIDENTIFIED_ISSUER:
            return None
        found = holdings.pacs.studies_of(study.patient.key.patient_id, before=study.study_date)
        for each in priors_of(study, found)[:_MOST_PRIORS_LOOKED_AT]:
            prior = each.study_instance_uid
            held = holdings.pacs.study(prior)
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
                holdings.fetch(images_and_outlines(prior, held), prior)
            finally:
                self._store.completeness.end_look(
                    prior, owner=owner, next_look_at=self._now(), attempts=0, reason=""
                )
            self._log.info("prior_fetched", study_ref=self._study_ref(study_instance_uid))
            return prior
        return None


def _answer(
    *,
    wait_s: float = 0.0,
    due: str = "",
    revision: dict[str, Any] | None = None,
    incomplete: str = "",
    prior: bool = False,
) -> dict[str, Any]:
    return {"wait_s": wait_s, "due": due, "revision": revision, "incomplete": incomplete, "prior": prior}
