"""What surviving faults needs: held refusals, alerts, counted crashes, notifications."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add columns, none of which an old row needs a value for, and three tables."""
    op.add_column("grant_", sa.Column("refresh_token_generation", sa.Integer(), nullable=True))
    op.add_column("grant_", sa.Column("refresh_token_spent", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("grant_", sa.Column("held", sa.JSON(), nullable=True))
    op.add_column("grant_", sa.Column("held_since", sa.Float(), nullable=True))
    op.add_column("grant_", sa.Column("alerted_at", sa.Float(), nullable=True))
    op.add_column("key_check", sa.Column("unused_since", sa.Float(), nullable=True))
    op.add_column("refresh_intent", sa.Column("attempted_at", sa.Float(), nullable=True))
    op.add_column("schedule", sa.Column("crashes", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("schedule", sa.Column("failures", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("schedule", sa.Column("failing_since", sa.Float(), nullable=True))
    op.add_column("schedule", sa.Column("not_before", sa.Float(), nullable=True))
    op.create_table(
        "notification",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("uid", sa.String(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("event", sa.String(), nullable=False),
        sa.Column("integration", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=True),
        sa.Column("route", sa.String(), nullable=True),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid"),
    )
    op.create_index("notification_account", "notification", ["integration", "account", "event"], unique=False)
    op.create_index(op.f("ix_notification_created_at"), "notification", ["created_at"], unique=False)
    op.create_table(
        "delivery",
        sa.Column("notification_id", sa.Integer(), nullable=False),
        sa.Column("route", sa.String(), nullable=False),
        sa.Column("delivered_at", sa.Float(), nullable=True),
        sa.Column("given_up_at", sa.Float(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.Float(), nullable=True),
        sa.Column("last_error", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["notification_id"], ["notification.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("notification_id", "route"),
    )
    lineage = op.create_table(
        "lineage",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("mark", sa.String(), nullable=False),
        sa.Column("backed_up_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.bulk_insert(lineage, [{"id": 1, "mark": "", "backed_up_at": None}])
