"""The first tables: experiments, what they measured and produced, and the aliases that models are served under.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Types as they are on this day: a migration must not change when the code does.
Json = sa.JSON(none_as_null=True)
Time = sa.DateTime(timezone=True)


def experiment_key(table: str) -> tuple[sa.Column, sa.ForeignKeyConstraint]:
    return (
        sa.Column("experiment_id", sa.Integer, nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment_id"],
            ["experiments.id"],
            name=f"fk_{table}_experiment_id_experiments",
            ondelete="CASCADE",
        ),
    )


def upgrade() -> None:
    op.create_table(
        "experiments",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("spec", Json, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("worker", sa.String(200)),
        sa.Column("lease_token", sa.String(32)),
        sa.Column("lease_expires_at", Time),
        sa.Column("cancel_requested", sa.Boolean, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("epochs", sa.Integer, nullable=False),
        sa.Column("fraction", sa.Double, nullable=False),
        sa.Column("last_event", sa.Integer, nullable=False),
        sa.Column("test_loss", sa.Double),
        sa.Column("test_accuracy", sa.Double),
        sa.Column("parameters", sa.Integer),
        sa.Column("train_seconds", sa.Double),
        sa.Column("images_per_second", sa.Double),
        sa.Column("error_code", sa.String(64)),
        sa.Column("error_message", sa.String),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("started_at", Time),
        sa.Column("finished_at", Time),
        sa.PrimaryKeyConstraint("id", name="pk_experiments"),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')",
            name=op.f("ck_experiments_state_known"),
        ),
        sa.CheckConstraint(
            "(state IN ('succeeded', 'failed', 'cancelled')) = (finished_at IS NOT NULL)",
            name=op.f("ck_experiments_terminal_is_finished"),
        ),
        sa.CheckConstraint(
            "(state = 'running') = (lease_token IS NOT NULL)", name=op.f("ck_experiments_running_has_lease")
        ),
        sa.CheckConstraint(
            "(lease_token IS NULL) = (lease_expires_at IS NULL)", name=op.f("ck_experiments_lease_is_whole")
        ),
        sa.CheckConstraint(
            "(state = 'failed') = (error_code IS NOT NULL)", name=op.f("ck_experiments_failed_has_error")
        ),
        sa.CheckConstraint(
            "(state = 'succeeded') = (test_accuracy IS NOT NULL)", name=op.f("ck_experiments_succeeded_has_result")
        ),
        sa.CheckConstraint(
            "attempt >= 0 AND epoch >= 0 AND epoch <= epochs", name=op.f("ck_experiments_counts_in_range")
        ),
        sqlite_autoincrement=True,
    )
    queued, running = sa.text("state = 'queued'"), sa.text("state = 'running'")
    op.create_index(
        "ix_experiments_claim",
        "experiments",
        [sa.text("priority DESC"), "id"],
        postgresql_where=queued,
        sqlite_where=queued,
    )
    op.create_index(
        "ix_experiments_leases",
        "experiments",
        ["lease_expires_at"],
        postgresql_where=running,
        sqlite_where=running,
    )
    op.create_index("ix_experiments_state", "experiments", ["state", "id"])

    op.create_table(
        "experiment_tags",
        *experiment_key("experiment_tags"),
        sa.Column("tag", sa.String(64), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("experiment_id", "tag", name="pk_experiment_tags"),
    )
    op.create_index("ix_experiment_tags_tag_experiment_id", "experiment_tags", ["tag", "experiment_id"])

    op.create_table(
        "metrics",
        *experiment_key("metrics"),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("train_loss", sa.Double, nullable=False),
        sa.Column("train_accuracy", sa.Double, nullable=False),
        sa.Column("val_loss", sa.Double),
        sa.Column("val_accuracy", sa.Double),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("learning_rate", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("experiment_id", "epoch", name="pk_metrics"),
    )
    op.create_table(
        "evaluations",
        *experiment_key("evaluations"),
        sa.Column("loss", sa.Double, nullable=False),
        sa.Column("accuracy", sa.Double, nullable=False),
        sa.Column("labels", Json, nullable=False),
        sa.Column("confusion_matrix", Json, nullable=False),
        sa.Column("per_class", Json, nullable=False),
        sa.PrimaryKeyConstraint("experiment_id", name="pk_evaluations"),
    )
    op.create_table(
        "artifacts",
        *experiment_key("artifacts"),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("media_type", sa.String(100), nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("experiment_id", "name", name="pk_artifacts"),
    )
    op.create_table(
        "events",
        *experiment_key("events"),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("type", sa.String(32), nullable=False),
        sa.Column("data", Json, nullable=False),
        sa.Column("created_at", Time, nullable=False),
        sa.PrimaryKeyConstraint("experiment_id", "number", name="pk_events"),
    )
    op.create_table(
        "aliases",
        sa.Column("alias", sa.String(64), nullable=False),
        *experiment_key("aliases"),
        sa.Column("updated_at", Time, nullable=False),
        sa.PrimaryKeyConstraint("alias", name="pk_aliases"),
    )
    op.create_index("ix_aliases_experiment_id", "aliases", ["experiment_id"])


def downgrade() -> None:
    for table in ("aliases", "events", "artifacts", "evaluations", "metrics", "experiment_tags", "experiments"):
        op.drop_table(table)
