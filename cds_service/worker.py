# SPDX-License-Identifier: Apache-2.0
"""The worker process: runs the pipeline, and looks after studies and workers that were left alone."""

from __future__ import annotations

import atexit
import fcntl
import multiprocessing
import os
import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

import sqlalchemy as sa
from dbos import DBOS, DBOSPortableJSONSerializer

from cds_service.config import AssessConfig
from cds_service.delivering import Delivery
from cds_service.pipeline import DELIVER_QUEUE, Pipeline
from cds_service.quiet import APPLICATION, ASSESS_QUEUE, ASSESS_STUDY
from cds_service.stages import Stages
from cds_service.store import Store

PIPELINE_VERSION = "pipeline-3"
"""Raised when the order or the results of the steps change; what was begun before is then begun anew."""

_WORKFLOWS_AT_ONCE = 64
"""Many more than processes that measure: a study that waits must hold up none that could be measured."""

_HEARTBEATS_TO_DEATH = 3
_UNFINISHED = ["ENQUEUED", "PENDING", "DELAYED"]


class WorkerName:
    """A name that one living worker holds, and that it gets again after it was killed.

    Under the same name, the workflow engine resumes at once what the killed worker had begun.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._lock, self.text = self._first_free(folder)

    @staticmethod
    def _first_free(folder: Path) -> tuple[IO[str], str]:
        number = 1
        while True:
            name = f"{socket.gethostname()}-{number}"[:64]
            file = (folder / f"{name}.lock").open("w")
            try:
                # The kernel frees the lock with the process, however it ends.
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                number += 1
            else:
                return file, name


class Worker:
    """Runs the pipeline in this process.

    Parameters
    ----------
    engine
        Of the workflow engine's database; its tables are made or migrated here.
    """

    def __init__(
        self,
        *,
        settings: AssessConfig,
        name: WorkerName,
        engine: sa.Engine,
        store: Store,
        stages: Stages,
        delivery: Delivery,
        log: Any,
    ) -> None:
        self._settings = settings
        self._name = name
        self._engine = engine
        self._store = store
        self._stages = stages
        self._delivery = delivery
        self._log = log
        self._stopped = threading.Event()
        self._pipeline: Pipeline

    def start(self) -> None:
        """Resume what a killed worker had begun, then take what is due."""
        DBOS(
            config={
                "name": APPLICATION,
                "system_database_engine": self._engine,
                "serializer": DBOSPortableJSONSerializer(),
                "executor_id": self._name.text,
                "application_version": PIPELINE_VERSION,
                "log_level": "CRITICAL",
                "notification_listener_polling_interval_sec": self._settings.poll_s,
            }
        )
        self._pipeline = Pipeline(self._stages, self._delivery)
        # Before anything is begun under this name, so that it can be missed.
        self._store.workers.beat(self._name.text, now=datetime.now(UTC))
        DBOS.launch()
        self._begin_anew_what_an_older_pipeline_began()
        for queue in (ASSESS_QUEUE, DELIVER_QUEUE):
            DBOS.register_queue(
                queue, worker_concurrency=_WORKFLOWS_AT_ONCE, polling_interval_sec=self._settings.poll_s
            )
        for work, every_s in (
            (self.reconcile, self._settings.reconcile_s),
            (self.begin_what_is_due, self._delivery.poll_s),
            (self.follow_suspensions, self._settings.reconcile_s),
        ):
            threading.Thread(
                target=self._repeat, args=(work, every_s), name=work.__name__, daemon=True
            ).start()

    def stop(self, *, grace_s: float) -> None:
        """Let steps under way end for `grace_s`; what does not is resumed by the next worker."""
        self._stopped.set()
        DBOS.destroy(workflow_completion_timeout_sec=round(grace_s))

    def reconcile(self) -> None:
        """Take over from workers that fell silent, and begin what nobody has begun."""
        now = datetime.now(UTC)
        self._store.workers.beat(self._name.text, now=now)
        silent_since = now - timedelta(seconds=_HEARTBEATS_TO_DEATH * self._settings.reconcile_s)
        for name in self._store.workers.silent_workers(before=silent_since):
            left = DBOS.list_workflows(status="PENDING", executor_id=name)
            for each in left:
                DBOS.resume_workflow(each.workflow_id)
            self._log.warning("workflows_taken_over", count=len(left))
            # Last: killed before, this worker's next look, or another's, takes over again.
            self._store.workers.bury(name, before=silent_since)
        unnoticed = now - timedelta(seconds=self._settings.quiet_s + self._settings.reconcile_s)
        for study_instance_uid, changed_at in self._store.received.studies_not_covered(before=unnoticed):
            # The same occasion at each look, so that a study that waits in the queue is not enqueued again.
            self._pipeline.assess(study_instance_uid, occasion=f"quiet since {changed_at.isoformat()}")
        for study_instance_uid, due_at in self._store.completeness.later_looks_due(now=now):
            self._pipeline.assess(study_instance_uid, occasion=f"later look due {due_at.isoformat()}")

    def begin_what_is_due(self) -> None:
        """Begin deliveries, requests for commitment and reports of commitment whose time has come."""
        for errand in self._delivery.due():
            self._pipeline.deliver(
                errand.study_instance_uid, errand.revision, errand.destination, errand.due_at.isoformat()
            )
        for asked in self._delivery.asked_due():
            self._pipeline.tell_commitment(
                asked.calling_ae_title, asked.transaction_uid, asked.due_at.isoformat()
            )

    def follow_suspensions(self) -> None:
        """Take the scores of suspended models back from the records that were told them."""
        self._stages.reporting.follow_suspensions()

    def _begin_anew_what_an_older_pipeline_began(self) -> None:
        for each in DBOS.list_workflows(status=_UNFINISHED):
            if each.app_version not in (None, PIPELINE_VERSION):
                DBOS.cancel_workflow(each.workflow_id)
                self._log.warning("workflow_begun_anew", kind=each.name)
                if each.name == ASSESS_STUDY and each.input is not None:
                    self._store.assessments.abandon(each.workflow_id)
                    self._store.completeness.abandon(each.workflow_id)
                    self._pipeline.assess(each.input["args"][0], occasion=f"instead of {each.workflow_id}")

    def _repeat(self, work: Callable[[], None], every_s: float) -> None:
        # The first look comes at once: a listener that was killed may have left studies unscheduled.
        while True:
            try:
                work()
            except Exception as error:  # noqa: BLE001 - the edge of this thread, which must go on
                self._log.error(f"{work.__name__}_failed", error=type(error).__name__)
            if self._stopped.wait(every_s):
                return


def end_process(exit_code: int) -> None:
    """Leave without waiting for threads that sleep between two attempts: their state is durable."""
    for child in multiprocessing.active_children():
        child.terminate()
    atexit._run_exitfuncs()  # noqa: SLF001 - multiprocessing unlinks its semaphores; the interpreter's own end would wait
    os._exit(exit_code)
