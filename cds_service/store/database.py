# SPDX-License-Identifier: Apache-2.0
"""Transactions on one database, and its schema."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from cds_service.engines import reading
from cds_service.store.tables import utc_text
from model.errors import ArchiveUnavailable

_MIGRATION_LOCK = 0x4843435F434453
"""Key of the PostgreSQL advisory lock under which one process migrates."""

NEWEST_REVISION = "0008"
"""The last of the migrations."""

_COUNTED = {"preserve_rowcount": True}
"""Of an INSERT, SQLAlchemy does not keep the row count by itself: psycopg has forgotten it, and says -1."""

_AWAY = (OperationalError, InterfaceError, PoolTimeout)
"""Faults that may pass: locked, full, unreachable. Others are faults of ours and are not retried."""


_Statement = sa.Select[Any] | sa.UpdateBase


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compiled:
    """A statement as the driver takes it."""

    text: str
    constants: Mapping[str, object]
    """Values that the statement brings itself."""


_MOST_COMPILED = 64
"""There are a dozen, and one more for each number of identifiers that a patient has."""


class Database:
    """Transactions; what they raise when the database is away is ArchiveUnavailable.

    Parameters
    ----------
    engine
        From `cds_service.engines.create_engine`, migrated.
    archive_dir
        Paths in the database are relative to it.
    """

    def __init__(self, engine: sa.Engine, archive_dir: Path) -> None:
        self._engine = engine
        self._reading = reading(engine)
        driver = engine.dialect.loaded_dbapi
        self._away = (*_AWAY, driver.OperationalError, driver.InterfaceError)
        # SQLite's own waiting looks again only now and then; threads of one process need not.
        self._writing = threading.Lock() if engine.dialect.name == "sqlite" else nullcontext()
        self.archive_dir = archive_dir
        self._statements: dict[tuple[str, ...], sa.Insert] = {}
        self._compiled: dict[tuple[_Statement, tuple[str, ...]], _Compiled] = {}

    def close(self) -> None:
        """Close the connections of this process."""
        self._engine.dispose()

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Begin a transaction that may write."""
        try:
            with self._writing, self._engine.begin() as connection:
                yield connection
        except self._away as error:
            raise _unavailable(error) from error

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Begin reading, without waiting for writers."""
        try:
            with self._reading.connect() as connection:
                yield connection
        except self._away as error:
            raise _unavailable(error) from error

    def look_up(self, statement: sa.Select[Any], **values: object) -> list[Any]:
        """Return the rows that `statement` selects, without waiting for writers.

        For what each call of an EHR asks: executed by the driver itself, a statement takes a tenth of the
        time of `Connection.execute` on SQLite. Rows are as the driver gives them, with times as text. An IN
        needs one statement for each number of values.
        """
        try:
            with closing(self._engine.raw_connection()) as connection:
                return self._fetch(connection, statement, values)
        except self._away as error:
            raise _unavailable(error) from error

    def look_up_within(
        self, connection: sa.Connection, statement: sa.Select[Any], **values: object
    ) -> list[Any]:
        """Return what `look_up` does, within a transaction."""
        return self._fetch(connection.connection, statement, values)

    def _fetch(
        self, connection: sa.PoolProxiedConnection, statement: sa.Select[Any], values: Mapping[str, object]
    ) -> list[Any]:
        asked = self._compile(statement, tuple(values))
        cursor = connection.cursor()
        cursor.execute(asked.text, {**asked.constants, **_stored(values)})
        return list(cursor.fetchall())

    def change(self, connection: sa.Connection, statement: _Statement, *rows: Mapping[str, object]) -> int:
        """Execute `statement` with each of `rows`, as `look_up` does; return how many rows it changed."""
        asked = self._compile(statement, tuple(rows[0]))
        values = [{**asked.constants, **_stored(row)} for row in rows]
        cursor = connection.connection.cursor()
        if len(values) == 1:
            cursor.execute(asked.text, values[0])
        else:
            cursor.executemany(asked.text, values)
        return cursor.rowcount

    def if_absent(self, table: sa.Table) -> sa.Insert:
        """Return the statement that inserts a row, given with its execution, unless its key is taken."""
        statement: sa.Insert = self._insert(table).on_conflict_do_nothing()
        return statement.execution_options(**_COUNTED)

    def insert_if_absent(self, connection: sa.Connection, table: sa.Table, **values: object) -> bool:
        """Insert a row unless its key is taken; tell whether it was inserted."""
        statement = self._kept(("if absent", table.name), lambda: self.if_absent(table))
        return self.change(connection, statement, values) == 1

    def insert_or_update(
        self,
        connection: sa.Connection,
        table: sa.Table,
        rows: Sequence[Mapping[str, object]],
        *,
        key: tuple[str, ...],
    ) -> None:
        """Insert `rows`, which have the same columns, or update what is not the key where it is taken."""

        def build() -> sa.Insert:
            statement = self._insert(table)
            changed = {name: statement.excluded[name] for name in rows[0] if name not in key}
            upsert: sa.Insert = statement.on_conflict_do_update(index_elements=key, set_=changed)
            return upsert

        self.change(connection, self._kept(("or update", table.name, *rows[0]), build), *rows)

    def _compile(self, statement: _Statement, names: tuple[str, ...]) -> _Compiled:
        """Return `statement` for values of these `names`, compiled once."""
        compiled = self._compiled.get((statement, names))
        if compiled is None:
            if len(self._compiled) >= _MOST_COMPILED:
                self._compiled.clear()
            made = statement.compile(dialect=self._engine.dialect, column_keys=names)
            constants = {name: value for name, value in made.params.items() if name not in names}
            compiled = _Compiled(text=str(made), constants=_stored(constants))
            self._compiled[statement, names] = compiled
        return compiled

    def _insert(self, table: sa.Table) -> Any:
        """Return an INSERT that can say what becomes of a key that is taken; SQLAlchemy has one a dialect."""
        return (sqlite if self._engine.dialect.name == "sqlite" else postgresql).insert(table)

    def _kept(self, name: tuple[str, ...], build: Callable[[], sa.Insert]) -> sa.Insert:
        """Return a statement, built once: building takes as long as executing."""
        if name not in self._statements:
            self._statements[name] = build()
        return self._statements[name]


def _unavailable(error: Exception) -> ArchiveUnavailable:
    return ArchiveUnavailable(f"database: {type(error).__name__}")


def _stored(values: Mapping[str, object]) -> dict[str, object]:
    """Return `values` as they are stored."""
    return {name: utc_text(value) if isinstance(value, datetime) else value for name, value in values.items()}


def migrate(engine: sa.Engine) -> None:
    """Bring the schema to this software's version; safe when several processes start at once."""
    if _revision(engine) == NEWEST_REVISION:
        return
    # Takes as long to import as all else that a process starts with, and most starts find nothing to do.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parents[1] / "migrations"))
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _revision(engine: sa.Engine) -> str | None:
    """Return the revision of the schema; None of an empty database."""
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        revision: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return revision
