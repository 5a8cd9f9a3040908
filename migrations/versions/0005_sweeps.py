"""Sweeps, their trials, and which experiment belongs to which.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sweeps",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("spec", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("error_message", sa.String),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_sweeps"),
        sa.CheckConstraint(
            "state IN ('running', 'succeeded', 'failed', 'cancelled')", name=op.f("ck_sweeps_state_known")
        ),
        sa.CheckConstraint("(state = 'running') = (finished_at IS NULL)", name=op.f("ck_sweeps_terminal_is_finished")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_sweeps_state", "sweeps", ["state", "id"])
    op.create_table(
        "trials",
        sa.Column("sweep_id", sa.Integer, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("params", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("pruned_epoch", sa.Integer),
        sa.Column("error_message", sa.String),
        sa.PrimaryKeyConstraint("sweep_id", "number", name="pk_trials"),
        sa.ForeignKeyConstraint(["sweep_id"], ["sweeps.id"], name="fk_trials_sweep_id_sweeps", ondelete="CASCADE"),
    )
    op.create_table(
        "trial_experiments",
        sa.Column("experiment_id", sa.Integer, nullable=False),
        sa.Column("sweep_id", sa.Integer, nullable=False),
        sa.Column("trial", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("experiment_id", name="pk_trial_experiments"),
        sa.ForeignKeyConstraint(
            ["experiment_id"],
            ["experiments.id"],
            name="fk_trial_experiments_experiment_id_experiments",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["sweep_id", "trial"],
            ["trials.sweep_id", "trials.number"],
            name="fk_trial_experiments_sweep_id_trial_trials",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_trial_experiments_sweep_id_trial", "trial_experiments", ["sweep_id", "trial"])


def downgrade() -> None:
    for table in ("trial_experiments", "trials", "sweeps"):
        op.drop_table(table)
