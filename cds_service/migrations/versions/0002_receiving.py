# SPDX-License-Identifier: Apache-2.0
"""Earlier versions of an instance whose content came again changed."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_TIME = sa.String(32)


def upgrade() -> None:
    op.create_table(
        "superseded_instances",
        sa.Column(
            "sop_instance_uid", sa.String(64), sa.ForeignKey("instances.sop_instance_uid"), primary_key=True
        ),
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("transfer_syntax_uid", sa.String(64), nullable=False),
        sa.Column("path", sa.String(255), nullable=False),
        sa.Column("received_at", _TIME, nullable=False),
        sa.Column("superseded_at", _TIME, nullable=False),
    )
