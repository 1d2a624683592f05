# SPDX-License-Identifier: Apache-2.0
"""Outbox with due times and owners; storage commitment, as we ask for it and as we are asked."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_UID = sa.String(64)
_TIME = sa.String(32)
_AE = sa.String(16)


def upgrade() -> None:
    op.add_column("reports", sa.Column("sha256", sa.String(64), nullable=False, server_default=""))
    op.add_column("deliveries", sa.Column("due_at", _TIME))
    op.add_column("deliveries", sa.Column("owner", sa.String(255), nullable=False, server_default=""))
    op.add_column("deliveries", sa.Column("rounds", sa.Integer, nullable=False, server_default="0"))
    op.add_column("deliveries", sa.Column("transaction_uid", _UID, nullable=False, server_default=""))
    op.execute("UPDATE deliveries SET due_at = updated_at WHERE state = 'pending'")
    op.create_index("deliveries_by_due_at", "deliveries", ["due_at"])
    op.create_table(
        "commitment_requests",
        sa.Column("transaction_uid", _UID, primary_key=True),
        sa.Column("sop_instance_uid", _UID, primary_key=True),
        sa.Column("destination", sa.String(64), nullable=False),
        sa.Column("requested_at", _TIME, nullable=False, index=True),
    )
    op.create_table(
        "asked_commitments",
        sa.Column("calling_ae_title", _AE, primary_key=True),
        sa.Column("transaction_uid", _UID, primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("reason", sa.String(64), nullable=False),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("due_at", _TIME, index=True),
        sa.Column("requested_at", _TIME, nullable=False, index=True),
    )
    op.create_table(
        "asked_commitment_instances",
        sa.Column("calling_ae_title", _AE, primary_key=True),
        sa.Column("transaction_uid", _UID, primary_key=True),
        sa.Column("sop_instance_uid", _UID, primary_key=True),
        sa.Column("sop_class_uid", _UID, primary_key=True),
    )
