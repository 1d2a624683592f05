# SPDX-License-Identifier: Apache-2.0
"""The durable workflow: what happens to a study from its quiet time to its card.

A step's result is kept by DBOS the moment it returns; a killed worker goes on after the
last finished step. Steps are idempotent, because one may run again after its work was
done and before its result was kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from dbos import DBOS, SetEnqueueOptions, SetWorkflowID

from cds_service.quiet import ASSESS_QUEUE, ASSESS_STUDY
from cds_service.stages import Stages
from model.domain import RejectionReason
from model.errors import HccCdsError, MeasuringProcessLost, RejectedStudy

DELIVER_REPORTS = "deliver_reports"
DELIVER_QUEUE = "deliver"
_FIRST_RETRY_S = 1.0
_LONGEST_RETRY_S = 300.0
_MOST_DOUBLINGS = 9
_MEASURING_ATTEMPTS = 3
"""A study whose measuring process dies this often is what kills it."""


class Pipeline:
    """The workflows, told to DBOS before `DBOS.launch`, and the ways to begin them from outside."""

    def __init__(self, stages: Stages) -> None:
        steps = _Steps(stages.log)

        @DBOS.workflow(name=ASSESS_STUDY)
        def assess_study(study_instance_uid: str) -> None:
            owner = DBOS.workflow_id
            while (opened := steps.sure("complete", stages.complete, study_instance_uid, owner))[
                "wait_s"
            ] > 0:
                DBOS.sleep(opened["wait_s"])
            revision = opened["revision"]
            if revision is None:
                return
            try:
                selected = steps.run("select", stages.select, revision)
                measured = steps.run("measure", stages.measure, revision, selected)
                outcome = steps.run("score", stages.score, revision, measured)
                steps.run("report", stages.report, revision, outcome)
            except RejectedStudy as rejected:
                outcome = steps.sure(
                    "reject", stages.reject, revision, rejected.reason.value, rejected.detail
                )
            for destination in steps.sure("deliver", stages.deliver, revision):
                self.deliver(study_instance_uid, revision["revision"], destination, occasion="assessed")
            steps.sure("publish", stages.publish, revision, outcome)

        @DBOS.workflow(name=DELIVER_REPORTS)
        def deliver_reports(
            study_instance_uid: str, revision: int, destination: str, occasion: str, attempt: int
        ) -> None:
            wait_s = steps.run("send", stages.send, study_instance_uid, revision, destination, attempt)
            if wait_s > 0:
                # Enqueued anew rather than slept: a destination that is down holds no place of another's.
                with SetEnqueueOptions(delay_seconds=wait_s):
                    self.deliver(
                        study_instance_uid, revision, destination, occasion=occasion, attempt=attempt + 1
                    )

        self._assess_study = assess_study
        self._deliver_reports = deliver_reports

    def assess(self, study_instance_uid: str, *, occasion: str) -> None:
        """Enqueue the assessment of a study, once for each `occasion`."""
        with SetWorkflowID(f"assess {study_instance_uid}, {occasion}"):
            DBOS.enqueue_workflow(ASSESS_QUEUE, self._assess_study, study_instance_uid)

    def deliver(
        self, study_instance_uid: str, revision: int, destination: str, *, occasion: str, attempt: int = 0
    ) -> None:
        """Enqueue sending a revision's reports to a destination, once for each `occasion` and attempt."""
        name = f"deliver {study_instance_uid} {revision} to {destination}, {occasion}, attempt {attempt}"
        with SetWorkflowID(name):
            DBOS.enqueue_workflow(
                DELIVER_QUEUE,
                self._deliver_reports,
                study_instance_uid,
                revision,
                destination,
                occasion,
                attempt,
            )


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
