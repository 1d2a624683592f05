# SPDX-License-Identifier: Apache-2.0
"""First tables: instances, studies, assessments, reports, deliveries, seen tokens, workers."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_UID = sa.String(64)
_TIME = sa.String(32)


def upgrade() -> None:
    op.create_table(
        "studies",
        sa.Column("study_instance_uid", _UID, primary_key=True),
        sa.Column("changed_at", _TIME, nullable=False, index=True),
    )
    op.create_table(
        "instances",
        sa.Column("sop_instance_uid", _UID, primary_key=True),
        sa.Column(
            "study_instance_uid",
            _UID,
            sa.ForeignKey("studies.study_instance_uid"),
            nullable=False,
            index=True,
        ),
        sa.Column("series_instance_uid", _UID, nullable=False),
        sa.Column("sop_class_uid", _UID, nullable=False),
        sa.Column("transfer_syntax_uid", _UID, nullable=False),
        sa.Column("modality", sa.String(16), nullable=False),
        sa.Column("path", sa.String(255), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("received_at", _TIME, nullable=False),
    )
    op.create_table(
        "assessments",
        sa.Column("study_instance_uid", _UID, sa.ForeignKey("studies.study_instance_uid"), primary_key=True),
        sa.Column("revision", sa.Integer, primary_key=True),
        sa.Column("instances_digest", sa.String(64), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("covers_until", _TIME, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("published_at", _TIME),
        sa.Column("patient_id", sa.String(64)),
        sa.Column("issuer", sa.String(64)),
        sa.Column("study_date", sa.String(10)),
        sa.Column("outcome", sa.Text),
        sa.UniqueConstraint("study_instance_uid", "instances_digest"),
    )
    op.create_index("assessments_by_patient", "assessments", ["patient_id", "issuer", "state"])
    op.create_table(
        "reports",
        sa.Column("sop_instance_uid", _UID, primary_key=True),
        sa.Column("study_instance_uid", _UID, nullable=False, index=True),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("path", sa.String(255), nullable=False),
    )
    op.create_table(
        "deliveries",
        sa.Column("sop_instance_uid", _UID, sa.ForeignKey("reports.sop_instance_uid"), primary_key=True),
        sa.Column("destination", sa.String(64), primary_key=True),
        sa.Column("state", sa.String(16), nullable=False, index=True),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("reason", sa.String(64), nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
    )
    op.create_table(
        "seen_tokens",
        sa.Column("iss", sa.String(255), primary_key=True),
        sa.Column("jti", sa.String(255), primary_key=True),
        sa.Column("expires_at", _TIME, nullable=False, index=True),
    )
    op.create_table(
        "workers",
        sa.Column("executor_id", sa.String(64), primary_key=True),
        sa.Column("heartbeat_at", _TIME, nullable=False),
    )
