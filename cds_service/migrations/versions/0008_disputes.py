# SPDX-License-Identifier: Apache-2.0
"""Instances that came again, were refused, and name another patient than those that are kept."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_UID = sa.String(64)


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "disputed_instances",
        sa.Column("sop_instance_uid", _UID, sa.ForeignKey("instances.sop_instance_uid"), primary_key=True),
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("study_instance_uid", _UID, nullable=False, index=True),
        sa.Column("disputed_at", sa.String(32), nullable=False),
    )
