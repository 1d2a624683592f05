# SPDX-License-Identifier: Apache-2.0
"""State shared by listener, worker and web; the only package that knows SQL."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from cds_service.store.assessments import Assessments, AssessmentState, Revision
from cds_service.store.audit import AuditRows
from cds_service.store.commitments import AskedState, Commitments
from cds_service.store.completeness import Completeness, LaterLook, Look
from cds_service.store.database import Database, migrate
from cds_service.store.feedback import Feedback
from cds_service.store.outbox import DeliveryState, Errand, Outbox, WrittenReport
from cds_service.store.overview import Overview
from cds_service.store.received import ReceivedInstances
from cds_service.store.repeats import Repeats
from cds_service.store.standing import StandingResults
from cds_service.store.tokens import SeenJwts
from cds_service.store.workers import Workers
from dicom_listener.instance import Recorded

__all__ = [
    "AskedState",
    "AssessmentState",
    "Completeness",
    "DeliveryState",
    "Errand",
    "LaterLook",
    "Look",
    "ReceivedInstances",
    "Recorded",
    "Revision",
    "Store",
    "WrittenReport",
    "migrate",
]


class Store:
    """The tables of one installation, by what they are about.

    Parameters
    ----------
    engine
        From `cds_service.engines.create_engine`, migrated.
    archive_dir
        Paths in the database are relative to it.

    Raises
    ------
    ArchiveUnavailable
        From every method, when the database is locked, full or gone.
    """

    def __init__(self, engine: sa.Engine, archive_dir: Path) -> None:
        self._database = Database(engine, archive_dir)
        self.received = ReceivedInstances(self._database)
        self.completeness = Completeness(self._database)
        self.assessments = Assessments(self._database)
        self.outbox = Outbox(self._database)
        self.standing = StandingResults(self._database)
        self.commitments = Commitments(self._database)
        self.overview = Overview(self._database)
        self.tokens = SeenJwts(self._database)
        self.workers = Workers(self._database)
        self.feedback = Feedback(self._database)
        self.repeats = Repeats(self._database)
        self.audit = AuditRows(self._database)

    def close(self) -> None:
        """Close the connections of this process."""
        self._database.close()
