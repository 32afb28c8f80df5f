"""What trusting a sync needs: held deletions, what each table usually looks like, norms and lateness."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add columns, none of which an old row needs a value for, and two tables."""
    op.add_column("run", sa.Column("deleted", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("run", sa.Column("held", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("run", sa.Column("note", sa.String(), nullable=True))
    op.add_column("run", sa.Column("drift", sa.JSON(), nullable=True))
    op.add_column("schedule", sa.Column("recent_rows", sa.JSON(), nullable=True))
    op.add_column("schedule", sa.Column("expected_since", sa.Float(), nullable=True))
    op.add_column("schedule", sa.Column("late_after", sa.Float(), nullable=True))
    op.add_column("schedule", sa.Column("late_since", sa.Float(), nullable=True))
    op.create_table(
        "table_profile",
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("table_name", sa.String(), nullable=False),
        sa.Column("columns", sa.JSON(), nullable=False),
        sa.Column("swept", sa.JSON(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job", "account_id", "table_name"),
    )
    op.create_table(
        "held_change",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("uid", sa.String(), nullable=False),
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("table_name", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("gone", sa.Integer(), nullable=False),
        sa.Column("present", sa.Integer(), nullable=False),
        sa.Column("seen", sa.Integer(), nullable=False),
        sa.Column("sample", sa.JSON(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("held_at", sa.Float(), nullable=False),
        sa.Column("decided_at", sa.Float(), nullable=True),
        sa.Column("decided_by", sa.String(), nullable=False),
        sa.Column("applied", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid"),
    )
    op.create_index("held_change_state", "held_change", ["state", "job", "account_id", "table_name"], unique=False)
