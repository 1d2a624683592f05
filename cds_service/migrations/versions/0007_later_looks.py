# SPDX-License-Identifier: Apache-2.0
"""When a study is looked at again that went on, or was rejected, without something."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_TIME = sa.String(32)


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "later_looks",
        sa.Column("study_instance_uid", sa.String(64), primary_key=True),
        sa.Column("done", sa.Integer, nullable=False),
        sa.Column("since", _TIME, nullable=False),
        sa.Column("due_at", _TIME, nullable=False, index=True),
    )
