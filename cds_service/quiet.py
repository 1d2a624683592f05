# SPDX-License-Identifier: Apache-2.0
"""The quiet time of a study: DICOM has no end-of-study message, so silence decides."""

from __future__ import annotations

import threading
from typing import Any

import sqlalchemy as sa
from dbos import DBOSClient, DBOSPortableJSONSerializer, DebouncerClient

from cds_service.logs import StudyRef

APPLICATION = "hcc-cds"
ASSESS_STUDY = "assess_study"
ASSESS_QUEUE = "assess"

_RETRY_S = 1.0


class QuietTimer:
    """Starts a study's assessment when nothing arrived for `quiet_s`: DBOS's debouncer.

    The engine may be away, as before the first worker made its tables. Then the study is
    scheduled as soon as it is back; should this process end before, the worker's look at
    what nobody assessed finds the study.

    Parameters
    ----------
    engine
        Of the workflow engine's database.
    """

    def __init__(self, engine: sa.Engine, *, quiet_s: float, study_ref: StudyRef, log: Any) -> None:
        self._engine = engine
        self._quiet_s = quiet_s
        self._study_ref = study_ref
        self._log = log
        self._lock = threading.Lock()
        self._waiting: set[str] = set()

    def touched(self, study_instance_uid: str) -> None:
        """Start the study's quiet time anew. Never raises: the instance is acknowledged already."""
        if not self._schedule(study_instance_uid):
            self._log.warning("study_not_yet_scheduled", study_ref=self._study_ref(study_instance_uid))
            with self._lock:
                first = not self._waiting
                self._waiting.add(study_instance_uid)
            if first:
                threading.Thread(target=self._retry, name="schedule", daemon=True).start()

    def _schedule(self, study_instance_uid: str) -> bool:
        try:
            client = DBOSClient(
                system_database_engine=self._engine,
                serializer=DBOSPortableJSONSerializer(),
                application_name=APPLICATION,
                retry_connection_errors=False,
            )
            DebouncerClient(client, {"workflow_name": ASSESS_STUDY, "queue_name": ASSESS_QUEUE}).debounce(
                study_instance_uid, self._quiet_s, study_instance_uid
            )
        except Exception as error:  # noqa: BLE001 - the edge to the engine: it is asked again
            self._log.debug("engine_away", error=type(error).__name__)
            return False
        self._log.debug("study_scheduled", study_ref=self._study_ref(study_instance_uid))
        return True

    def _retry(self) -> None:
        wait = threading.Event()
        while not wait.wait(_RETRY_S):
            with self._lock:
                waiting = sorted(self._waiting)
            done = {each for each in waiting if self._schedule(each)}
            with self._lock:
                self._waiting -= done
                if not self._waiting:
                    return
