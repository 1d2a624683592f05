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

from dbos import DBOS, SetWorkflowID

from cds_service.quiet import ASSESS_STUDY
from cds_service.stages import Stages
from model.domain import RejectionReason
from model.errors import HccCdsError, MeasuringProcessLost, RejectedStudy

DELIVER_REPORTS = "deliver_reports"
DELIVER_QUEUE = "deliver"
_FIRST_RETRY_S = 1.0
_LONGEST_RETRY_S = 300.0
_MEASURING_ATTEMPTS = 3
"""A study whose measuring process dies this often is what kills it."""


def register(stages: Stages) -> None:
    """Tell DBOS of the workflows; before `DBOS.launch`."""
    step = _Steps(stages.log).run

    @DBOS.workflow(name=ASSESS_STUDY)
    def assess_study(study_instance_uid: str) -> None:
        owner = DBOS.workflow_id
        while (opened := step("complete", stages.complete, study_instance_uid, owner))["wait_s"] > 0:
            DBOS.sleep(opened["wait_s"])
        revision = opened["revision"]
        if revision is None:
            return
        try:
            selected = step("select", stages.select, revision)
            measured = step("measure", stages.measure, revision, selected)
            outcome = step("score", stages.score, revision, measured)
            step("report", stages.report, revision, outcome)
        except RejectedStudy as rejected:
            outcome = step("reject", stages.reject, revision, rejected.reason.value, rejected.detail)
        for destination in step("deliver", stages.deliver, revision):
            with SetWorkflowID(f"deliver {destination} {revision['revision']} {study_instance_uid}"):
                DBOS.enqueue_workflow(DELIVER_QUEUE, deliver_reports, revision, destination)
        step("publish", stages.publish, revision, outcome)

    @DBOS.workflow(name=DELIVER_REPORTS)
    def deliver_reports(revision: dict[str, Any], destination: str) -> None:
        attempt = 0
        while (wait_s := step("send", stages.send, revision, destination, attempt)) > 0:
            DBOS.sleep(wait_s)
            attempt += 1


class _Steps:
    """Runs steps: what may succeed later is tried again, durably; what cannot becomes a rejection."""

    def __init__(self, log: Any) -> None:
        self._log = log

    def run(self, name: str, work: Callable[..., Any], *args: Any) -> Any:
        attempt = 0
        while "retry" in (answer := DBOS.run_step({"name": name}, self._answer, name, work, args)):
            attempt += 1
            if answer["retry"] == MeasuringProcessLost.__name__ and attempt >= _MEASURING_ATTEMPTS:
                raise RejectedStudy(RejectionReason.FAULT, answer["retry"])
            DBOS.sleep(min(_LONGEST_RETRY_S, _FIRST_RETRY_S * 2**attempt))
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


def _where(error: BaseException) -> str:
    """File and line of the innermost frame: enough to find a fault, nothing of its values."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return ""
    return f"{traceback.tb_frame.f_code.co_filename.rpartition('/')[2]}:{traceback.tb_lineno}"
