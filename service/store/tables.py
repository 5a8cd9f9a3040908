"""The tables. CHECK constraints say the same as `service.states`, so that no code can store a state that is none."""

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, LargeBinary, MetaData, String, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from service.states import State
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


class Experiment(Base):
    """One experiment: the queue entry and the record are the same row, so they cannot disagree."""

    __tablename__ = "experiments"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    spec: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(16), default=State.QUEUED)
    priority: Mapped[int] = mapped_column(default=0)

    attempt: Mapped[int] = mapped_column(default=0)
    worker: Mapped[str | None] = mapped_column(String(200))
    lease_token: Mapped[str | None] = mapped_column(String(32))
    lease_expires_at: Mapped[datetime | None]
    cancel_requested: Mapped[bool] = mapped_column(default=False)

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

    created_at: Mapped[datetime] = mapped_column(default=now())
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    tag_rows: Mapped[list["Tag"]] = relationship(
        lazy="selectin", cascade="all, delete-orphan", passive_deletes=True, order_by="Tag.position"
    )

    __table_args__ = (
        CheckConstraint(f"state IN ({', '.join(repr(str(state)) for state in State)})", name="state_known"),
        CheckConstraint(
            "(state IN ('succeeded', 'failed', 'cancelled')) = (finished_at IS NOT NULL)", name="terminal_is_finished"
        ),
        CheckConstraint("(state = 'running') = (lease_token IS NOT NULL)", name="running_has_lease"),
        CheckConstraint("(lease_token IS NULL) = (lease_expires_at IS NULL)", name="lease_is_whole"),
        CheckConstraint("(state = 'failed') = (error_code IS NOT NULL)", name="failed_has_error"),
        CheckConstraint("(state = 'succeeded') = (test_accuracy IS NOT NULL)", name="succeeded_has_result"),
        CheckConstraint("attempt >= 0 AND epoch >= 0 AND epoch <= epochs", name="counts_in_range"),
        # What a claim looks for: the queued, best first.
        Index("ix_experiments_claim", priority.desc(), "id", postgresql_where=text("state = 'queued'"),
              sqlite_where=text("state = 'queued'")),
        Index("ix_experiments_leases", "lease_expires_at", postgresql_where=text("state = 'running'"),
              sqlite_where=text("state = 'running'")),
        Index("ix_experiments_state", "state", "id"),
        # Ids are never given out twice, even after the newest experiment was deleted.
        {"sqlite_autoincrement": True},
    )  # fmt: skip

    @property
    def tags(self) -> list[str]:
        """In the order that they were given."""
        return [row.tag for row in self.tag_rows]

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
    """A name under which a model is served, for example `production`."""

    __tablename__ = "aliases"

    alias: Mapped[str] = mapped_column(String(64), primary_key=True)
    experiment_id: Mapped[int] = mapped_column(ForeignKey("experiments.id", ondelete="CASCADE"), index=True)
    updated_at: Mapped[datetime] = mapped_column(default=now(), onupdate=now())
