# SPDX-License-Identifier: Apache-2.0
"""SQLAlchemy engines for SQLite and PostgreSQL; where the system's SQLite is too old, a newer one."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa

_MINIMUM_SQLITE = (3, 42, 0)
"""What the workflow engine needs (ADR 2); Debian 12 has 3.40."""


def sqlite_module() -> Any:
    """Return the DBAPI module for SQLite: the standard one unless it is too old."""
    if sqlite3.sqlite_version_info >= _MINIMUM_SQLITE:
        return sqlite3
    import pysqlite3.dbapi2

    return pysqlite3.dbapi2


_WITHOUT_BEGIN = "without_begin"
"""Option of connections on which each statement is a transaction of its own."""


def create_engine(url: str, *, busy_timeout_s: float) -> sa.Engine:
    """Return an engine whose SQLite transactions take the write lock at once and survive power loss.

    Drivers begin nothing by themselves, so that what is executed on a raw connection waits for no writer.
    """
    parsed = sa.make_url(url)
    if parsed.get_backend_name() != "sqlite":
        engine = sa.create_engine(
            parsed.set(drivername="postgresql+psycopg"), pool_pre_ping=True, isolation_level="AUTOCOMMIT"
        )
        _begin_with(engine, "BEGIN")
        return engine
    if parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(
        parsed,
        module=sqlite_module(),
        connect_args={"timeout": busy_timeout_s, "check_same_thread": False},
        # Values by name, as psycopg takes them.
        paramstyle="named",
    )

    @sa.event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        # pysqlite's own transaction handling would begin too late; see SQLAlchemy, "Serializable isolation".
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    _begin_with(engine, "BEGIN IMMEDIATE")
    return engine


def _begin_with(engine: sa.Engine, statement: str) -> None:
    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        if _WITHOUT_BEGIN not in connection.get_execution_options():
            connection.connection.cursor().execute(statement)


def reading(engine: sa.Engine) -> sa.Engine:
    """Return `engine`, from `create_engine`, for reads that do not wait for writers."""
    return engine.execution_options(**{_WITHOUT_BEGIN: True})


def create_workflow_engine(url: str, *, busy_timeout_s: float) -> sa.Engine:
    """Return the engine that is handed to DBOS, which sets its own transaction mode on SQLite."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return sa.create_engine(parsed.set(drivername="postgresql+psycopg"), pool_pre_ping=True)
    if parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(parsed, module=sqlite_module(), connect_args={"timeout": busy_timeout_s})

    @sa.event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        # Same settings as DBOS gives an engine of its own; it leaves a given engine alone.
        connection.isolation_level = "IMMEDIATE"
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")

    return engine
