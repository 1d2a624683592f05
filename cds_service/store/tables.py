# SPDX-License-Identifier: Apache-2.0
"""Names of the tables and columns that statements use; migrations own the schema."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa


def utc_text(time: datetime) -> str:
    """Return `time` as it is stored: ISO 8601 in UTC, which sorts as text."""
    return time.astimezone(UTC).isoformat(timespec="microseconds")


class UtcTime(sa.types.TypeDecorator[datetime]):
    """Times as `utc_text`: the same in SQLite and PostgreSQL."""

    impl = sa.String(32)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Any) -> str | None:
        """Return `value` as it is stored."""
        return None if value is None else utc_text(value)

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
disputed_instances = _table(
    "disputed_instances", "sop_instance_uid", "sha256", "study_instance_uid", times=("disputed_at",)
)
superseded_instances = _table(
    "superseded_instances",
    "sop_instance_uid",
    "sha256",
    "transfer_syntax_uid",
    "path",
    times=("received_at", "superseded_at"),
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
    "lacks",
    times=("covers_until", "created_at", "published_at"),
)
incomplete_studies = _table(
    "incomplete_studies",
    "study_instance_uid",
    "attempts",
    "owner",
    "reason",
    times=("waiting_since", "looked_at", "next_look_at", "owned_until"),
)
later_looks = _table("later_looks", "study_instance_uid", "done", times=("since", "due_at"))
prior_studies = _table("prior_studies", "study_instance_uid", "prior_of", times=("found_at",))
reports = _table("reports", "sop_instance_uid", "study_instance_uid", "revision", "kind", "path", "sha256")
deliveries = _table(
    "deliveries",
    "sop_instance_uid",
    "destination",
    "state",
    "attempts",
    "reason",
    "owner",
    "rounds",
    "transaction_uid",
    times=("updated_at", "due_at"),
)
commitment_requests = _table(
    "commitment_requests", "transaction_uid", "sop_instance_uid", "destination", times=("requested_at",)
)
asked_commitments = _table(
    "asked_commitments",
    "calling_ae_title",
    "transaction_uid",
    "digest",
    "state",
    "attempts",
    "reason",
    "owner",
    times=("due_at", "requested_at"),
)
asked_commitment_instances = _table(
    "asked_commitment_instances", "calling_ae_title", "transaction_uid", "sop_instance_uid", "sop_class_uid"
)
seen_tokens = _table("seen_tokens", "iss", "jti", times=("expires_at",))
workers = _table("workers", "executor_id", times=("heartbeat_at",))
shown_cards = _table(
    "shown_cards", "iss", "tenant", "card", "study_instance_uid", "revision", times=("shown_at",)
)
card_viewers = _table("card_viewers", "iss", "tenant", "card", "viewer", times=("shown_at",))
feedback = _table(
    "feedback",
    "iss",
    "tenant",
    "item_digest",
    "card",
    "study_instance_uid",
    "revision",
    "outcome",
    "suggestions",
    "reason_system",
    "reason_code",
    "user_comment",
    times=("outcome_at", "received_at"),
)
audit = _table("audit", "seq", "entry", "previous", "digest")
audit_head = _table("audit_head", "only", "seq", "digest")
