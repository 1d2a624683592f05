# SPDX-License-Identifier: Apache-2.0
"""Rows of the audit trail: only ever added, one after the other over all processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from cds_service.store.database import Database
from cds_service.store.tables import audit as _audit
from cds_service.store.tables import audit_head as _head

_PAGE = 5000

Also = Callable[[Database, sa.Connection], None]
"""What is written in the transaction of a row, or not at all."""

_INSERT = sa.insert(_audit)
_MOVE = sa.update(_head).values(seq=sa.bindparam("seq"), digest=sa.bindparam("digest"))
_LOOK = sa.select(_head.c.seq, _head.c.digest)
_LOCK = _LOOK.with_for_update()


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditHead:
    """Where the trail ends."""

    seq: int
    """Number of the last row; 0 before the first."""
    digest: str

    def __str__(self) -> str:
        return f"{self.seq}:{self.digest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """One row as it is stored."""

    seq: int
    entry: str
    previous: str
    digest: str


class AuditRows:
    """The table, and its head, which is also the lock under which processes take turns."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(
        self,
        make_row: Callable[[AuditHead], AuditRow],
        *,
        also: Also | None = None,
    ) -> AuditRow:
        """Add the row that follows the head, and do what else belongs to the same transaction."""
        with self._database.write() as connection:
            # SQLite's transaction holds the write lock already; PostgreSQL's waits here for its turn.
            ((seq, digest),) = self._database.look_up_within(connection, _LOCK)
            row = make_row(AuditHead(seq=seq, digest=digest))
            self._database.change(
                connection,
                _INSERT,
                {"seq": row.seq, "entry": row.entry, "previous": row.previous, "digest": row.digest},
            )
            self._database.change(connection, _MOVE, {"seq": row.seq, "digest": row.digest})
            if also is not None:
                also(self._database, connection)
            return row

    def last_seq(self) -> int:
        """Return the number of the last row; 0 when there is none."""
        with self._database.read() as connection:
            return connection.execute(sa.select(sa.func.max(_audit.c.seq))).scalar_one() or 0

    def head(self) -> AuditHead:
        """Return where the trail ends."""
        ((seq, digest),) = self._database.look_up(_LOOK)
        return AuditHead(seq=seq, digest=digest)

    def rows(self, *, up_to: int) -> Iterator[AuditRow]:
        """Yield the rows in order of their numbers."""
        last = -1
        while True:
            with self._database.read() as connection:
                found = connection.execute(
                    sa.select(_audit.c.seq, _audit.c.entry, _audit.c.previous, _audit.c.digest)
                    .where(_audit.c.seq > last, _audit.c.seq <= up_to)
                    .order_by(_audit.c.seq)
                    .limit(_PAGE)
                ).all()
            for each in found:
                yield AuditRow(seq=each.seq, entry=each.entry, previous=each.previous, digest=each.digest)
            if len(found) < _PAGE:
                return
            last = found[-1].seq
