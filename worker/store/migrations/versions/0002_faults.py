"""What surviving faults needs: held refusals, alerts, counted crashes, notifications."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add columns, none of which an old row needs a value for, and one table."""
    op.add_column("grant_", sa.Column("refresh_token_generation", sa.Integer(), nullable=True))
    op.add_column("grant_", sa.Column("held", sa.JSON(), nullable=True))
    op.add_column("grant_", sa.Column("held_since", sa.Float(), nullable=True))
    op.add_column("grant_", sa.Column("alerted_at", sa.Float(), nullable=True))
    op.add_column("schedule", sa.Column("crashes", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("schedule", sa.Column("not_before", sa.Float(), nullable=True))
    op.create_table(
        "notification",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("event", sa.String(), nullable=False),
        sa.Column("integration", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=True),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("delivered_to", sa.JSON(), nullable=False),
        sa.Column("delivered_at", sa.Float(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.Float(), nullable=False),
        sa.Column("last_error", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("notification_due", "notification", ["delivered_at", "next_at"], unique=False)
