# SPDX-License-Identifier: Apache-2.0
"""Names of the tables and columns that statements use; migrations own the schema."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa


class UtcTime(sa.types.TypeDecorator[datetime]):
    """Times as ISO 8601 text in UTC: sorts as text, the same in SQLite and PostgreSQL."""

    impl = sa.String(32)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Any) -> str | None:
        """Return `value` as it is stored."""
        return None if value is None else value.astimezone(UTC).isoformat(timespec="microseconds")

    def process_result_value(self, value: str | None, _dialect: Any) -> datetime | None:
        """Return what is stored, with time zone."""
        return None if value is None else datetime.fromisoformat(value)


_metadata = sa.MetaData()


def _table(name: str, *columns: str, times: tuple[str, ...] = ()) -> sa.Table:
    # Migrations own the schema; here stand only the names that statements use.
    return sa.Table(
        name, _metadata, *(sa.Column(each) for each in columns), *(sa.Column(t, UtcTime) for t in times)
    )


studies = _table("studies", "study_instance_uid", times=("changed_at",))
instances = _table(
    "instances",
    "sop_instance_uid",
    "study_instance_uid",
    "series_instance_uid",
    "sop_class_uid",
    "transfer_syntax_uid",
    "modality",
    "path",
    "sha256",
    times=("received_at",),
)
assessments = _table(
    "assessments",
    "study_instance_uid",
    "revision",
    "instances_digest",
    "owner",
    "state",
    "patient_id",
    "issuer",
    "study_date",
    "outcome",
    times=("covers_until", "created_at", "published_at"),
)
reports = _table("reports", "sop_instance_uid", "study_instance_uid", "revision", "kind", "path")
deliveries = _table(
    "deliveries", "sop_instance_uid", "destination", "state", "attempts", "reason", times=("updated_at",)
)
seen_tokens = _table("seen_tokens", "iss", "jti", times=("expires_at",))
workers = _table("workers", "executor_id", times=("heartbeat_at",))
