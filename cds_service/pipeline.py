# SPDX-License-Identifier: Apache-2.0
"""The durable workflow: what happens to a study from its quiet time to its card.

A step's result is kept by DBOS the moment it returns; a killed worker goes on after the
last finished step. Steps are idempotent, because one may run again after its work was
done and before its result was kept.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

from dbos import DBOS, SetEnqueueOptions, SetWorkflowID

from cds_service.delivering import Delivery
from cds_service.quiet import ASSESS_QUEUE, ASSESS_STUDY
from cds_service.stages import Stages
from model.domain import RejectionReason
from model.errors import HccCdsError, MeasuringProcessLost, RejectedStudy

FETCH_PRIOR = "fetch_prior"
DELIVER_REPORTS = "deliver_reports"
TELL_COMMITMENT = "tell_commitment"
DELIVER_QUEUE = "deliver"
_FIRST_RETRY_S = 1.0
_LONGEST_RETRY_S = 300.0
_MOST_DOUBLINGS = 9
_LONGEST_SLEEP_S = 5.0
"""A workflow that waits longer gives its place away."""
_MEASURING_ATTEMPTS = 3
"""A study whose measuring process dies this often is what kills it."""


class Pipeline:
    """The workflows, told to DBOS before `DBOS.launch`, and the ways to begin them from outside."""

    def __init__(self, stages: Stages, delivery: Delivery) -> None:
        steps = _Steps(stages.log)

        @DBOS.workflow(name=ASSESS_STUDY)
        def assess_study(study_instance_uid: str) -> None:
            opened = self._opened(steps, stages, study_instance_uid)
            revision = opened["revision"]
            selected: list[str] = []
            if revision is None:
                return
            if opened["prior"]:
                self.fetch_prior(study_instance_uid, attempt=0)
            try:
                _require_complete(opened)
                selected = steps.run("select", stages.select, revision)
                measured = steps.run("measure", stages.measure, revision, selected)
                outcome = steps.run("score", stages.score, revision, measured)
                steps.run("report", stages.report, revision, outcome)
            except RejectedStudy as rejected:
                outcome = steps.sure(
                    "reject", stages.reject, revision, rejected.reason.value, rejected.detail
                )
            for errand in steps.sure("deliver", delivery.deliver, revision):
                self.deliver(study_instance_uid, revision["revision"], **errand)
            steps.sure("publish", stages.publish, revision, outcome)
            # Last: it takes as long as all that was waited for, and nobody waits for it.
            steps.spare("spread", stages.spread, revision, selected, outcome)

        self._assess_study = assess_study
        self._fetch_prior = self._prior_workflow(steps, stages)
        self._deliver_reports = self._delivering_workflow(steps, delivery)
        self._tell_commitment = self._telling_workflow(steps, delivery)

    def _opened(self, steps: _Steps, stages: Stages, study_instance_uid: str) -> dict[str, Any]:
        """Look at the study until it is whole; return what `Stages.complete` opened, if anything."""
        while True:
            opened: dict[str, Any] = steps.sure(
                "complete", stages.complete, study_instance_uid, DBOS.workflow_id
            )
            if opened["wait_s"] <= 0:
                return opened
            if opened["wait_s"] > _LONGEST_SLEEP_S:
                # Enqueued anew rather than slept: a study that waits for its PACS holds no place of
                # another's. Two that wait for the same moment become one.
                with SetEnqueueOptions(delay_seconds=opened["wait_s"]):
                    self.assess(study_instance_uid, occasion=f"due {opened['due']}")
                return opened
            DBOS.sleep(opened["wait_s"])

    def _prior_workflow(self, steps: _Steps, stages: Stages) -> Callable[[str, int], None]:
        @DBOS.workflow(name=FETCH_PRIOR)
        def fetch_prior(study_instance_uid: str, attempt: int) -> None:
            found = steps.sure("prior", stages.prior, study_instance_uid, DBOS.workflow_id, attempt)
            if found["wait_s"] > 0:
                with SetEnqueueOptions(delay_seconds=found["wait_s"]):
                    self.fetch_prior(study_instance_uid, attempt=attempt + 1)
            elif found["prior"] is not None:
                # What came by C-GET passed no listener that would tell of it.
                self.assess(found["prior"], occasion=f"prior of {study_instance_uid}")

        return fetch_prior

    def assess(self, study_instance_uid: str, *, occasion: str) -> None:
        """Enqueue the assessment of a study, once for each `occasion`."""
        with SetWorkflowID(f"assess {study_instance_uid}, {occasion}"):
            DBOS.enqueue_workflow(ASSESS_QUEUE, self._assess_study, study_instance_uid)

    def fetch_prior(self, study_instance_uid: str, *, attempt: int) -> None:
        """Enqueue the look for a prior of a study, once for each attempt, whatever its revisions."""
        with SetWorkflowID(f"prior of {study_instance_uid}, attempt {attempt}"):
            DBOS.enqueue_workflow(ASSESS_QUEUE, self._fetch_prior, study_instance_uid, attempt)

    @staticmethod
    def _delivering_workflow(steps: _Steps, delivery: Delivery) -> Callable[[str, int, str], None]:
        @DBOS.workflow(name=DELIVER_REPORTS)
        def deliver_reports(study_instance_uid: str, revision: int, destination: str) -> None:
            errand = (study_instance_uid, revision, destination, DBOS.workflow_id)
            steps.run("send", delivery.send, *errand)
            steps.run("commit", delivery.commit, *errand)

        return deliver_reports

    @staticmethod
    def _telling_workflow(steps: _Steps, delivery: Delivery) -> Callable[[str, str], None]:
        @DBOS.workflow(name=TELL_COMMITMENT)
        def tell_commitment(calling_ae_title: str, transaction_uid: str) -> None:
            steps.run("tell", delivery.tell, calling_ae_title, transaction_uid, DBOS.workflow_id)

        return tell_commitment

    def deliver(self, study_instance_uid: str, revision: int, destination: str, due_at: str) -> None:
        """Enqueue what is due of a revision's reports at a destination, once for each time that it is due."""
        # A version of ours begins anew what an older one left, so its name is not the same.
        name = f"deliver {study_instance_uid} {revision} to {destination}, due {due_at}"
        with SetWorkflowID(f"{name}, {DBOS.application_version}"):
            DBOS.enqueue_workflow(
                DELIVER_QUEUE, self._deliver_reports, study_instance_uid, revision, destination
            )

    def tell_commitment(self, calling_ae_title: str, transaction_uid: str, due_at: str) -> None:
        """Enqueue telling a peer what we commit to, once for each time that it is due."""
        name = f"commitment {transaction_uid} of {calling_ae_title}, due {due_at}"
        with SetWorkflowID(f"{name}, {DBOS.application_version}"):
            DBOS.enqueue_workflow(DELIVER_QUEUE, self._tell_commitment, calling_ae_title, transaction_uid)


class _Steps:
    """Runs steps: what may succeed later is tried again, durably; what cannot becomes a rejection."""

    def __init__(self, log: Any) -> None:
        self._log = log

    def sure(self, name: str, work: Callable[..., Any], *args: Any) -> Any:
        """Run a step that a study cannot do without: a fault of ours is logged and it is tried again."""
        attempt = 0
        while True:
            try:
                return self.run(name, work, *args)
            except RejectedStudy:
                attempt += 1
                DBOS.sleep(_delay_s(attempt))

    def spare(self, name: str, work: Callable[..., Any], *args: Any) -> None:
        """Run a step that nothing depends on: what fails for good is logged, and left undone."""
        with contextlib.suppress(RejectedStudy):
            self.run(name, work, *args)

    def run(self, name: str, work: Callable[..., Any], *args: Any) -> Any:
        """Run a step; raise RejectedStudy, in the workflow, for what it rejected or failed at."""
        attempt = 0
        while "retry" in (answer := DBOS.run_step({"name": name}, self._answer, name, work, args)):
            attempt += 1
            if answer["retry"] == MeasuringProcessLost.__name__ and attempt >= _MEASURING_ATTEMPTS:
                raise RejectedStudy(RejectionReason.FAULT, answer["retry"])
            DBOS.sleep(_delay_s(attempt))
        if "rejected" in answer:
            reason, detail = answer["rejected"]
            raise RejectedStudy(RejectionReason(reason), detail)
        return answer["value"]

    def _answer(self, name: str, work: Callable[..., Any], args: tuple[Any, ...]) -> dict[str, Any]:
        begun = time.monotonic()
        try:
            answer = {"value": work(*args)}
        except RejectedStudy as rejected:
            return {"rejected": [rejected.reason.value, rejected.detail]}
        except Exception as error:  # noqa: BLE001 - the edge: a fault of ours is a stored, shown result
            if isinstance(error, HccCdsError) and error.retryable:
                self._log.warning("step_delayed", step=name, error=type(error).__name__)
                return {"retry": type(error).__name__}
            self._log.error("step_failed", step=name, error=type(error).__name__, source=_where(error))
            return {"rejected": [RejectionReason.FAULT.value, type(error).__name__]}
        else:
            self._log.debug("step_done", step=name, seconds=round(time.monotonic() - begun, 3))
            return answer


def _require_complete(opened: dict[str, Any]) -> None:
    if opened["incomplete"]:
        raise RejectedStudy(RejectionReason.INCOMPLETE, opened["incomplete"])


def _delay_s(attempt: int) -> float:
    return min(_LONGEST_RETRY_S, _FIRST_RETRY_S * 2.0 ** min(attempt, _MOST_DOUBLINGS))


def _where(error: BaseException) -> str:
    """File and line of the innermost frame: enough to find a fault, nothing of its values."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return ""
    return f"{traceback.tb_frame.f_code.co_filename.rpartition('/')[2]}:{traceback.tb_lineno}"
