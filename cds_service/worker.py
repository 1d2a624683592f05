# SPDX-License-Identifier: Apache-2.0
"""The worker process: runs the pipeline, and looks after studies and workers that were left alone."""

from __future__ import annotations

import atexit
import fcntl
import multiprocessing
import os
import socket
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

import sqlalchemy as sa
from dbos import DBOS, DBOSPortableJSONSerializer

from cds_service.config import AssessConfig
from cds_service.pipeline import DELIVER_QUEUE, register
from cds_service.quiet import APPLICATION, ASSESS_QUEUE, QuietTimer
from cds_service.stages import Stages
from cds_service.store import Store

PIPELINE_VERSION = "pipeline-1"
"""Raised when the order or the results of the steps change; studies begun before are then not resumed."""

_DELIVERIES_AT_ONCE = 16
_HEARTBEATS_TO_DEATH = 3


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
        timer: QuietTimer,
        log: Any,
    ) -> None:
        self._settings = settings
        self._name = name
        self._engine = engine
        self._store = store
        self._stages = stages
        self._timer = timer
        self._log = log
        self._stopped = threading.Event()

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
        register(self._stages)
        DBOS.launch()
        DBOS.register_queue(
            ASSESS_QUEUE,
            worker_concurrency=self._settings.processes,
            polling_interval_sec=self._settings.poll_s,
        )
        DBOS.register_queue(
            DELIVER_QUEUE,
            worker_concurrency=_DELIVERIES_AT_ONCE,
            polling_interval_sec=self._settings.poll_s,
        )
        self._store.beat(self._name.text, now=datetime.now(UTC))
        threading.Thread(target=self._reconcile_for_ever, name="reconcile", daemon=True).start()

    def stop(self, *, grace_s: float) -> None:
        """Let steps under way end for `grace_s`; what does not is resumed by the next worker."""
        self._stopped.set()
        DBOS.destroy(workflow_completion_timeout_sec=round(grace_s))

    def reconcile(self) -> None:
        """Schedule studies that no assessment covers, and take over from workers that fell silent."""
        now = datetime.now(UTC)
        self._store.beat(self._name.text, now=now)
        silent = self._store.bury_silent_workers(
            before=now - timedelta(seconds=_HEARTBEATS_TO_DEATH * self._settings.reconcile_s)
        )
        if silent:
            left = DBOS.list_workflows(status="PENDING", executor_id=list(silent))
            for each in left:
                DBOS.resume_workflow(each.workflow_id)
            self._log.warning("workflows_taken_over", count=len(left))
        unnoticed = now - timedelta(seconds=self._settings.quiet_s + self._settings.reconcile_s)
        for study_instance_uid in self._store.studies_not_covered(before=unnoticed):
            self._timer.overdue(study_instance_uid)

    def _reconcile_for_ever(self) -> None:
        # The first look comes at once: a listener that was killed may have left studies unscheduled.
        while True:
            try:
                self.reconcile()
            except Exception as error:  # noqa: BLE001 - the edge of this thread, which must go on
                self._log.error("reconcile_failed", error=type(error).__name__)
            if self._stopped.wait(self._settings.reconcile_s):
                return


def end_process(exit_code: int) -> None:
    """Leave without waiting for threads that sleep between two attempts: their state is durable."""
    for child in multiprocessing.active_children():
        child.terminate()
    atexit._run_exitfuncs()  # noqa: SLF001 - multiprocessing unlinks its semaphores; the interpreter's own end would wait
    os._exit(exit_code)
