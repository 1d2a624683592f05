# SPDX-License-Identifier: Apache-2.0
"""Studies that wait to become whole, priors that were fetched, and what an assessment lacked."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_UID = sa.String(64)
_TIME = sa.String(32)


def upgrade() -> None:
    op.create_table(
        "incomplete_studies",
        sa.Column("study_instance_uid", _UID, primary_key=True),
        sa.Column("waiting_since", _TIME, nullable=False),
        sa.Column("looked_at", _TIME, nullable=False),
        sa.Column("next_look_at", _TIME, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("owned_until", _TIME, nullable=False),
        sa.Column("reason", sa.String(255), nullable=False),
    )
    op.create_table(
        "prior_studies",
        sa.Column("study_instance_uid", _UID, primary_key=True),
        sa.Column("prior_of", _UID, nullable=False),
        sa.Column("found_at", _TIME, nullable=False),
    )
    op.add_column("assessments", sa.Column("lacks", sa.String(255), nullable=False, server_default=""))
    if op.get_bind().dialect.name == "postgresql":
        # A workflow's name holds a UID and a time; SQLite knows no lengths.
        op.alter_column("assessments", "owner", type_=sa.String(255))
