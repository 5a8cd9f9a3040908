"""The tables. CHECK constraints say the same as `service.states`, so that no code can store a state that is none."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    MetaData,
    String,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from service.card import Variant
from service.schemas import AliasAction
from service.states import Request, State, SweepState
from service.store.clock import UtcDateTime, now

# JSON, not JSONB: specs come back with their fields in the order they were stored in.
JsonValue = JSON(none_as_null=True)


class Base(DeclarativeBase):
    """Declarative base with the names that constraints get, the same on every database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcDateTime,
        dict[str, Any]: JsonValue,
        list[Any]: JsonValue,
    }


def _one_of(column: str, values: Iterable[str]) -> str:
    return f"{column} IN ({', '.join(repr(str(value)) for value in values)})"


class Experiment(Base):
    """One experiment: the queue entry and the record are the same row, so they cannot disagree."""

    __tablename__ = "experiments"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    spec: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(16), default=State.QUEUED)
    priority: Mapped[int] = mapped_column(default=0)

    attempt: Mapped[int] = mapped_column(default=0)
    max_attempts: Mapped[int] = mapped_column(default=3)
    not_before: Mapped[datetime | None]
    worker: Mapped[str | None] = mapped_column(String(200))
    lease_token: Mapped[str | None] = mapped_column(String(32))
    lease_expires_at: Mapped[datetime | None]
    requested: Mapped[str | None] = mapped_column(String(16))

    epoch: Mapped[int] = mapped_column(default=0)
    epochs: Mapped[int]
    fraction: Mapped[float] = mapped_column(default=0.0)
    last_event: Mapped[int] = mapped_column(default=0)

    test_loss: Mapped[float | None]
    test_accuracy: Mapped[float | None]
    parameters: Mapped[int | None]
    train_seconds: Mapped[float | None]
    images_per_second: Mapped[float | None]
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None]
    fingerprint: Mapped[str | None] = mapped_column(String(64))

    created_at: Mapped[datetime] = mapped_column(default=now())
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    tag_rows: Mapped[list["Tag"]] = relationship(
        lazy="selectin", cascade="all, delete-orphan", passive_deletes=True, order_by="Tag.position"
    )
    sweep: Mapped["TrialExperiment | None"] = relationship(lazy="selectin", viewonly=True)

    __table_args__ = (
        CheckConstraint(_one_of("state", State), name="state_known"),
        CheckConstraint(
            "(state IN ('succeeded', 'failed', 'cancelled')) = (finished_at IS NOT NULL)", name="terminal_is_finished"
        ),
        CheckConstraint("(state = 'running') = (lease_token IS NOT NULL)", name="running_has_lease"),
        CheckConstraint("(lease_token IS NULL) = (lease_expires_at IS NULL)", name="lease_is_whole"),
        CheckConstraint("(state = 'failed') = (error_code IS NOT NULL)", name="failed_has_error"),
        CheckConstraint("(state = 'succeeded') = (test_accuracy IS NOT NULL)", name="succeeded_has_result"),
        CheckConstraint("attempt >= 0 AND epoch >= 0 AND epoch <= epochs", name="counts_in_range"),
        CheckConstraint(
            "requested IS NULL OR (state = 'running' AND requested IN ('pause', 'cancel'))",
            name="request_is_for_worker",
        ),
        # What a claim looks for: the queued, best first.
        Index("ix_experiments_claim", priority.desc(), "id", postgresql_where=text("state = 'queued'"),
              sqlite_where=text("state = 'queued'")),
        Index("ix_experiments_leases", "lease_expires_at", postgresql_where=text("state = 'running'"),
              sqlite_where=text("state = 'running'")),
        Index("ix_experiments_state", "state", "id"),
        Index("ix_experiments_fingerprint", "fingerprint", postgresql_where=text("state = 'succeeded'"),
              sqlite_where=text("state = 'succeeded'")),
        # Ids are never given out twice, even after the newest experiment was deleted.
        {"sqlite_autoincrement": True},
    )  # fmt: skip

    @property
    def tags(self) -> list[str]:
        """In the order that they were given."""
        return [row.tag for row in self.tag_rows]

    @property
    def cancel_requested(self) -> bool:
        """Whether its owner has asked its worker to end it."""
        return self.requested == Request.CANCEL

    @property
    def pause_requested(self) -> bool:
        """Whether its owner has asked its worker to pause it."""
        return self.requested == Request.PAUSE

    @property
    def progress(self) -> dict[str, Any]:
        """How far the training is."""
        return {"epoch": self.epoch, "epochs": self.epochs, "fraction": self.fraction}

    @property
    def result(self) -> dict[str, Any] | None:
        """What the experiment found, or None until it has succeeded."""
        if self.test_accuracy is None:
            return None
        names = ("test_loss", "test_accuracy", "parameters", "train_seconds", "images_per_second")
        return {name: getattr(self, name) for name in names}

    @property
    def error(self) -> dict[str, Any] | None:
        """Why the experiment failed, or None."""
        return None if self.error_code is None else {"code": self.error_code, "message": self.error_message}


def _experiment_key() -> Mapped[int]:
    return mapped_column(ForeignKey("experiments.id", ondelete="CASCADE"), primary_key=True)


class Attempt(Base):
    """One time that a worker held the experiment. `outcome` is what ended it, empty as long as nothing has."""

    __tablename__ = "attempts"

    experiment_id: Mapped[int] = _experiment_key()
    number: Mapped[int] = mapped_column(primary_key=True)
    worker: Mapped[str] = mapped_column(String(200))
    started_at: Mapped[datetime] = mapped_column(default=now())
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str | None] = mapped_column(String(64))
    message: Mapped[str | None]

    __table_args__ = (CheckConstraint("(ended_at IS NULL) = (outcome IS NULL)", name="ended_has_outcome"),)


class Checkpoint(Base):
    """Where an experiment that has not ended can go on: the newest bundle of its training."""

    __tablename__ = "checkpoints"

    experiment_id: Mapped[int] = _experiment_key()
    epoch: Mapped[int]
    fraction: Mapped[float]
    size: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(default=now())
    content: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)


class Worker(Base):
    """A process that trains, as long as it says so."""

    __tablename__ = "workers"

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    host: Mapped[str] = mapped_column(String(200))
    pid: Mapped[int]
    device: Mapped[str] = mapped_column(String(200))
    slots: Mapped[int]
    version: Mapped[str] = mapped_column(String(64))
    started_at: Mapped[datetime] = mapped_column(default=now())
    last_beat_at: Mapped[datetime] = mapped_column(default=now())


class IdempotencyKey(Base):
    """A request that must not be carried out twice; without an experiment as long as it is in flight."""

    __tablename__ = "idempotency_keys"

    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    request_sha256: Mapped[str] = mapped_column(String(64))
    token: Mapped[str] = mapped_column(String(32))
    experiment_id: Mapped[int | None] = mapped_column(ForeignKey("experiments.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(default=now())


class Tag(Base):
    """A word that its owner put on an experiment."""

    __tablename__ = "experiment_tags"

    experiment_id: Mapped[int] = _experiment_key()
    tag: Mapped[str] = mapped_column(String(64), primary_key=True)
    position: Mapped[int]

    __table_args__ = (Index(None, "tag", "experiment_id"),)


class EpochMetrics(Base):
    """One epoch's losses and accuracies; validation is empty where the experiment watches nothing."""

    __tablename__ = "metrics"

    experiment_id: Mapped[int] = _experiment_key()
    epoch: Mapped[int] = mapped_column(primary_key=True)
    train_loss: Mapped[float]
    train_accuracy: Mapped[float]
    val_loss: Mapped[float | None]
    val_accuracy: Mapped[float | None]
    seconds: Mapped[float]
    learning_rate: Mapped[float]


class Evaluation(Base):
    """What the exported model does with the test set."""

    __tablename__ = "evaluations"

    experiment_id: Mapped[int] = _experiment_key()
    loss: Mapped[float]
    accuracy: Mapped[float]
    labels: Mapped[list[Any]]
    confusion_matrix: Mapped[list[Any]]
    per_class: Mapped[list[Any]]
    expected_calibration_error: Mapped[float | None]


class Artifact(Base):
    """A file that an experiment produced. `content` is only read when it is asked for."""

    __tablename__ = "artifacts"

    experiment_id: Mapped[int] = _experiment_key()
    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    media_type: Mapped[str] = mapped_column(String(100))
    size: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(default=now())
    content: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)


class Event(Base):
    """Something that happened to an experiment; numbered from 1 without gaps, per experiment."""

    __tablename__ = "events"

    experiment_id: Mapped[int] = _experiment_key()
    number: Mapped[int] = mapped_column(primary_key=True)
    type: Mapped[str] = mapped_column(String(32))
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=now())


class Alias(Base):
    """A name under which a model is served, for example `production`.

    One that shadows another runs its own model, too, on what the other one is asked. `number` counts how often the
    alias was set; the counters begin anew when it, or what it shadows, is set.
    """

    __tablename__ = "aliases"

    alias: Mapped[str] = mapped_column(String(64), primary_key=True)
    experiment_id: Mapped[int] = mapped_column(ForeignKey("experiments.id", ondelete="CASCADE"), index=True)
    variant: Mapped[str] = mapped_column(String(8), default=Variant.FP32)
    number: Mapped[int] = mapped_column(default=1)
    shadows: Mapped[str | None] = mapped_column(ForeignKey("aliases.alias", ondelete="SET NULL"))
    shadow_images: Mapped[int] = mapped_column(BigInteger, default=0)
    shadow_disagreements: Mapped[int] = mapped_column(BigInteger, default=0)
    updated_at: Mapped[datetime] = mapped_column(default=now())

    __table_args__ = (
        CheckConstraint(_one_of("variant", Variant), name="variant_known"),
        CheckConstraint("number >= 1", name="number_counts"),
        CheckConstraint("shadows <> alias", name="shadows_another"),
        CheckConstraint(
            "shadow_disagreements >= 0 AND shadow_disagreements <= shadow_images", name="disagreements_in_range"
        ),
    )


class AliasChange(Base):
    """What an alias has meant since when. It tells what was, so it refers to nothing: neither an experiment that is
    deleted nor the alias's own end takes it along."""

    __tablename__ = "alias_changes"

    alias: Mapped[str] = mapped_column(String(64), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    experiment_id: Mapped[int]
    variant: Mapped[str] = mapped_column(String(8))
    shadows: Mapped[str | None] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(16))
    changed_at: Mapped[datetime] = mapped_column(default=now())

    __table_args__ = (
        CheckConstraint(_one_of("variant", Variant), name="variant_known"),
        CheckConstraint(_one_of("action", AliasAction), name="action_known"),
        CheckConstraint("number >= 1", name="number_counts"),
    )


class Sweep(Base):
    """Experiments that differ in what their trials say."""

    __tablename__ = "sweeps"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    spec: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(16), default=SweepState.RUNNING)
    error_message: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=now())
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint(_one_of("state", SweepState), name="state_known"),
        CheckConstraint("(state = 'running') = (finished_at IS NULL)", name="terminal_is_finished"),
        Index("ix_sweeps_state", "state", "id"),
        {"sqlite_autoincrement": True},
    )


class Trial(Base):
    """A point of a sweep's space. What it came to is in its experiments, unless there could be none."""

    __tablename__ = "trials"

    sweep_id: Mapped[int] = mapped_column(ForeignKey("sweeps.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    params: Mapped[dict[str, Any]]
    pruned_epoch: Mapped[int | None]
    error_message: Mapped[str | None]


class TrialExperiment(Base):
    """An experiment of a trial; there is one for each seed."""

    __tablename__ = "trial_experiments"

    experiment_id: Mapped[int] = _experiment_key()
    sweep_id: Mapped[int]
    trial: Mapped[int]

    point: Mapped[Trial] = relationship(lazy="joined", innerjoin=True, viewonly=True)

    __table_args__ = (
        ForeignKeyConstraint(["sweep_id", "trial"], ["trials.sweep_id", "trials.number"], ondelete="CASCADE"),
        Index(None, "sweep_id", "trial"),
    )

    @property
    def pruned_epoch(self) -> int | None:
        """The epoch after which the sweep ended its trial early, if it did."""
        return self.point.pruned_epoch
