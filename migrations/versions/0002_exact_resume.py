"""Pause and resume, the history of attempts, checkpoints, workers and idempotency keys.

Revision ID: 0002
Revises: 0001
"""

from contextlib import contextmanager

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

Time = sa.DateTime(timezone=True)

LAST_ID = "SELECT seq FROM sqlite_sequence WHERE name = 'experiments'"
STATES = "('queued', 'running', 'succeeded', 'failed', 'cancelled')"
STATES_WITH_PAUSED = "('queued', 'running', 'paused', 'succeeded', 'failed', 'cancelled')"


def experiment_key(table: str) -> tuple[sa.Column, sa.ForeignKeyConstraint]:
    return sa.Column("experiment_id", sa.Integer, nullable=False), reference(table)


def reference(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["experiment_id"], ["experiments.id"], name=f"fk_{table}_experiment_id_experiments", ondelete="CASCADE"
    )


def upgrade() -> None:
    drop_indexes()
    with alter_experiments() as table:
        table.add_column(sa.Column("max_attempts", sa.Integer, nullable=False, server_default="3"))
        table.add_column(sa.Column("not_before", Time))
        table.add_column(sa.Column("requested", sa.String(16)))
        table.add_column(sa.Column("fingerprint", sa.String(64)))
    op.execute("UPDATE experiments SET requested = 'cancel' WHERE cancel_requested AND state = 'running'")
    with alter_experiments() as table:
        table.drop_column("cancel_requested")
        # The default was for the rows that were there.
        table.alter_column("max_attempts", server_default=None)
        table.drop_constraint(op.f("ck_experiments_state_known"), type_="check")
        table.create_check_constraint(op.f("ck_experiments_state_known"), f"state IN {STATES_WITH_PAUSED}")
        table.create_check_constraint(
            op.f("ck_experiments_request_is_for_worker"),
            "requested IS NULL OR (state = 'running' AND requested IN ('pause', 'cancel'))",
        )
    create_indexes()
    succeeded = sa.text("state = 'succeeded'")
    op.create_index(
        "ix_experiments_fingerprint",
        "experiments",
        ["fingerprint"],
        postgresql_where=succeeded,
        sqlite_where=succeeded,
    )

    op.create_table(
        "attempts",
        *experiment_key("attempts"),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("worker", sa.String(200), nullable=False),
        sa.Column("started_at", Time, nullable=False),
        sa.Column("ended_at", Time),
        sa.Column("outcome", sa.String(64)),
        sa.Column("message", sa.String),
        sa.PrimaryKeyConstraint("experiment_id", "number", name="pk_attempts"),
        sa.CheckConstraint("(ended_at IS NULL) = (outcome IS NULL)", name=op.f("ck_attempts_ended_has_outcome")),
    )
    # What runs at this moment ends as an attempt, like any other.
    op.execute(
        "INSERT INTO attempts (experiment_id, number, worker, started_at) "
        "SELECT id, 1, worker, started_at FROM experiments WHERE state = 'running'"
    )
    op.create_table(
        "checkpoints",
        *experiment_key("checkpoints"),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("fraction", sa.Double, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("experiment_id", name="pk_checkpoints"),
    )
    op.create_table(
        "workers",
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("host", sa.String(200), nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("device", sa.String(200), nullable=False),
        sa.Column("slots", sa.Integer, nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("started_at", Time, nullable=False),
        sa.Column("last_beat_at", Time, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_workers"),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("request_sha256", sa.String(64), nullable=False),
        sa.Column("token", sa.String(32), nullable=False),
        sa.Column("experiment_id", sa.Integer),
        sa.Column("created_at", Time, nullable=False),
        reference("idempotency_keys"),
        sa.PrimaryKeyConstraint("key", name="pk_idempotency_keys"),
    )
    op.create_index("ix_idempotency_keys_experiment_id", "idempotency_keys", ["experiment_id"])


def downgrade() -> None:
    for table in ("idempotency_keys", "workers", "checkpoints", "attempts"):
        op.drop_table(table)
    op.drop_index("ix_experiments_fingerprint", "experiments")
    drop_indexes()
    # The older version cannot resume; it begins anew.
    op.execute("UPDATE experiments SET state = 'queued' WHERE state = 'paused'")
    with alter_experiments() as table:
        table.add_column(sa.Column("cancel_requested", sa.Boolean, nullable=False, server_default=sa.false()))
    op.execute("UPDATE experiments SET cancel_requested = (requested = 'cancel') WHERE requested IS NOT NULL")
    with alter_experiments() as table:
        table.drop_constraint(op.f("ck_experiments_request_is_for_worker"), type_="check")
        table.drop_constraint(op.f("ck_experiments_state_known"), type_="check")
        table.create_check_constraint(op.f("ck_experiments_state_known"), f"state IN {STATES}")
        table.alter_column("cancel_requested", server_default=None)
        for column in ("fingerprint", "requested", "not_before", "max_attempts"):
            table.drop_column(column)
    create_indexes()


@contextmanager
def alter_experiments():
    """SQLite cannot alter a table in place: there Alembic copies it, and what it does not see must be said. The copy
    counts on from its highest id, which may have been given to rows that are deleted by now."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    last = op.get_bind().exec_driver_sql(LAST_ID).scalar() if sqlite else None
    with op.batch_alter_table("experiments", table_kwargs={"sqlite_autoincrement": True}) as table:
        yield table
    if last is not None:
        op.get_bind().exec_driver_sql("DELETE FROM sqlite_sequence WHERE name = 'experiments'")
        op.get_bind().exec_driver_sql("INSERT INTO sqlite_sequence (name, seq) VALUES ('experiments', ?)", (last,))


def drop_indexes() -> None:
    """A copied table loses the indexes over expressions, so all of them are made anew."""
    for index in ("ix_experiments_claim", "ix_experiments_leases", "ix_experiments_state"):
        op.drop_index(index, "experiments")


def create_indexes() -> None:
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
