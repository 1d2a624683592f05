# SPDX-License-Identifier: Apache-2.0
"""Which workers are alive."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from cds_service.store.database import Database
from cds_service.store.tables import workers as _workers


class Workers:
    """Heartbeats of the workers of all hosts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def beat(self, executor_id: str, *, now: datetime) -> None:
        """Note that a worker is alive."""
        with self._database.write() as connection:
            if not self._database.insert_if_absent(
                connection, _workers, executor_id=executor_id, heartbeat_at=now
            ):
                connection.execute(
                    sa.update(_workers).where(_workers.c.executor_id == executor_id).values(heartbeat_at=now)
                )

    def silent_workers(self, *, before: datetime) -> tuple[str, ...]:
        """Names of workers that were last alive before that time."""
        with self._database.read() as connection:
            return tuple(
                connection.execute(
                    sa.select(_workers.c.executor_id).where(_workers.c.heartbeat_at < before)
                ).scalars()
            )

    def bury(self, executor_id: str, *, before: datetime) -> None:
        """Forget a worker, unless it came back to life since."""
        with self._database.write() as connection:
            connection.execute(
                sa.delete(_workers)
                .where(_workers.c.executor_id == executor_id)
                .where(_workers.c.heartbeat_at < before)
            )
