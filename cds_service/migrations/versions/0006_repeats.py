# SPDX-License-Identifier: Apache-2.0
"""A table of which card was shown to whom, so that what somebody dealt with is not shown again at once."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_TIME = sa.String(32)


def upgrade() -> None:
    """Create the table, and find feedback by card and time."""
    op.create_table(
        "card_viewers",
        sa.Column("iss", sa.String(255), primary_key=True),
        sa.Column("tenant", sa.String(255), primary_key=True),
        sa.Column("card", sa.String(64), primary_key=True),
        sa.Column("viewer", sa.String(64), primary_key=True),
        sa.Column("shown_at", _TIME, nullable=False, index=True),
    )
