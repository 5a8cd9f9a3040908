"""What the store's tests share: experiments to put in, what workers and owners do with them, and looks at the rows."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, inspect, select, update
from sqlalchemy.orm import Session

from service import schemas
from service.promotion import AliasTarget
from service.specs.experiment import ExperimentSpec
from service.specs.sweep import SweepSpec
from service.states import TRANSITIONS, State
from service.store import aliases, attempts, checkpoints, control, experiments, queue, results, sweeps
from service.store.clock import now
from service.store.database import migrating, migrations, reading, writing
from service.store.leases import Lease
from service.store.tables import Alias, Attempt, Base, Event, Experiment, TrialExperiment

EXPIRED = -1.0
"""Seconds of a lease that has run out when it is given."""

NO_IDS = [0, -1, 1, 2**31 - 1, 2**31, 2**63, 10**30]
"""Ids of no experiment, in an empty database."""

EPOCHS = 4

RESULT = schemas.Result(
    test_loss=0.0277, test_accuracy=0.9903, parameters=4_738_826, train_seconds=96.5, images_per_second=3730.6
)

EVALUATION = schemas.Evaluation(
    loss=0.0277,
    accuracy=0.9903,
    labels=list(range(10)),
    confusion_matrix=[[980 if row == column else 0 for column in range(10)] for row in range(10)],
    per_class=[
        schemas.ClassReport(label=label, precision=0.99, recall=0.98, f1=0.985, support=980) for label in range(10)
    ],
    expected_calibration_error=0.0031,
)

FILES = {"model.keras": b"PK\x03\x04", "model.onnx": bytes(range(256)), "manifest.json": b"{}"}

Step = Callable[[Session, Lease], Any]


def transact(database: Engine, work: Callable[..., Any], *args: Any, **given: Any) -> Any:
    """What `work` returns, in a read-write transaction of its own."""
    with writing(database) as session:
        return work(session, *args, **given)


def see(database: Engine, read: Callable[..., Any], *args: Any, **given: Any) -> Any:
    """What `read` returns, in a transaction that only reads."""
    with reading(database) as session:
        return read(session, *args, **given)


# Putting in, claiming, losing


def spec(**given: Any) -> ExperimentSpec:
    return ExperimentSpec.model_validate({"model": {"layers": [{"type": "flatten"}]}, "epochs": EPOCHS} | given)


def submit(database: Engine, **given: Any) -> int:
    return transact(database, queue.enqueue, spec(**given)).id


def claim(database: Engine, worker: str = "worker-1", lease_seconds: float = 60) -> Lease:
    lease = transact(database, queue.claim, worker, lease_seconds)
    assert lease is not None
    return lease


def begun(database: Engine, lease_seconds: float = 60, **given: Any) -> Lease:
    """The lease of an experiment that has just been put in and claimed, in an otherwise empty queue."""
    experiment_id = submit(database, **given)
    lease = claim(database, lease_seconds=lease_seconds)
    assert lease.experiment_id == experiment_id
    return lease


def reclaim(database: Engine, retry_seconds: float = 0) -> int:
    return transact(database, queue.reclaim_expired, retry_seconds)


def let_expire(database: Engine, experiment_id: int) -> None:
    """The lease of a running experiment has not been renewed for too long."""
    statement = update(Experiment).where(Experiment.id == experiment_id, Experiment.state == State.RUNNING)
    transact(database, Session.execute, statement.values(lease_expires_at=now(EXPIRED)))


def let_pause_pass(database: Engine, experiment_id: int) -> None:
    """The pause before another attempt is over."""
    statement = update(Experiment).where(Experiment.id == experiment_id, Experiment.not_before.is_not(None))
    transact(database, Session.execute, statement.values(not_before=now(-1)))


# What a worker does


def measured(epoch: int, train_loss: float = 0.5) -> schemas.EpochMetrics:
    return schemas.EpochMetrics(
        epoch=epoch,
        train_loss=train_loss,
        train_accuracy=0.85,
        val_loss=0.4,
        val_accuracy=0.88,
        seconds=12.5,
        learning_rate=1.0,
    )


def heartbeat(session: Session, lease: Lease) -> Any:
    return queue.heartbeat(session, lease, 60)


def start(session: Session, lease: Lease) -> None:
    results.start(session, lease, "cpu:0", 7850)


def progress(session: Session, lease: Lease) -> None:
    results.progress(session, lease, 0.3)


def epoch(session: Session, lease: Lease) -> None:
    results.epoch(session, lease, measured(1))


def checkpoint(session: Session, lease: Lease) -> None:
    checkpoints.put(session, lease, b"after epoch 1", 1, 0.25)


def succeed(session: Session, lease: Lease) -> None:
    results.succeed(session, lease, RESULT, EVALUATION, FILES, b"fine\n")


def fail(session: Session, lease: Lease) -> None:
    results.fail(session, lease, "diverged", "The loss became NaN.", b"oh\n")


def cancelled(session: Session, lease: Lease) -> None:
    results.cancelled(session, lease, b"stopped\n")


def lose(session: Session, lease: Lease) -> State:
    return results.lose(session, lease, "process_killed", "The process was killed.", b"ah\n", retry_seconds=0)


def lose_without_log(session: Session, lease: Lease) -> State:
    return queue.lose(session, lease, "worker_lost", "It is gone.", retry_seconds=0)


def give_back(session: Session, lease: Lease) -> State:
    return queue.give_back(session, lease)


WRITES: tuple[Step, ...] = (
    heartbeat,
    start,
    progress,
    epoch,
    checkpoint,
    succeed,
    fail,
    cancelled,
    lose,
    lose_without_log,
    give_back,
)
"""Everything that a worker may write under its lease."""


def write(database: Engine, lease: Lease, *steps: Step) -> int:
    """Each step in a transaction of its own; returns the experiment's id."""
    for step in steps:
        transact(database, step, lease)
    return lease.experiment_id


# What an owner does

SWEEP = SweepSpec.model_validate({"base": {"preset": "baseline"}, "space": {"batch_size": [32]}})


def make_trial(session: Session, *experiment_ids: int) -> None:
    """A sweep with one trial, which these experiments belong to."""
    sweep = sweeps.create(session, SWEEP)
    sweeps.add_trial(session, sweep, {"batch_size": 32}, 1, [])
    for experiment_id in experiment_ids:
        session.add(TrialExperiment(experiment_id=experiment_id, sweep_id=sweep.id, trial=1))
    session.flush()


def set_alias(session: Session, alias: str, experiment_id: int, **given: Any) -> Alias:
    return aliases.promote(session, alias, AliasTarget(experiment_id=experiment_id, **given))


# An experiment in each state


def _queued(database: Engine) -> int:
    return submit(database)


def _running(database: Engine) -> int:
    return write(database, begun(database), start, epoch, checkpoint)


def _paused(database: Engine) -> int:
    experiment_id = _queued(database)
    transact(database, control.pause, experiment_id)
    return experiment_id


def _succeeded(database: Engine) -> int:
    return write(database, begun(database), start, epoch, checkpoint, succeed)


def _failed(database: Engine) -> int:
    return write(database, begun(database), start, epoch, checkpoint, fail)


def _cancelled(database: Engine) -> int:
    return write(database, begun(database), start, epoch, checkpoint, cancelled)


MAKE: dict[State, Callable[[Engine], int]] = {
    State.QUEUED: _queued,
    State.RUNNING: _running,
    State.PAUSED: _paused,
    State.SUCCEEDED: _succeeded,
    State.FAILED: _failed,
    State.CANCELLED: _cancelled,
}
"""For each state, what brings an experiment into it, if nothing else is queued. Returns the experiment's id."""


# Looks


def look(database: Engine, experiment_id: int) -> Experiment:
    return see(database, experiments.get, experiment_id)


def metrics(database: Engine, experiment_id: int) -> list[schemas.EpochMetrics]:
    rows = see(database, experiments.metrics, experiment_id)
    return [schemas.EpochMetrics.model_validate(row) for row in rows]


def events(database: Engine, experiment_id: int) -> list[tuple[str, dict[str, Any]]]:
    found = see(database, experiments.events, experiment_id)
    assert [event.number for event in found] == list(range(1, len(found) + 1)), "numbered without gaps"
    return [(event.type, event.data) for event in found]


def event_types(database: Engine, experiment_id: int) -> list[str]:
    return [name for name, _ in events(database, experiment_id)]


def history(database: Engine, experiment_id: int) -> list[tuple[int, str, str | None, str | None]]:
    """Number, worker, outcome and message of each attempt."""
    found = see(database, attempts.of, experiment_id)
    assert all((attempt.ended_at is None) == (attempt.outcome is None) for attempt in found)
    return [(attempt.number, attempt.worker, attempt.outcome, attempt.message) for attempt in found]


def outcomes(database: Engine, experiment_id: int) -> list[str | None]:
    return [outcome for _, _, outcome, _ in history(database, experiment_id)]


def all_rows(database: Engine) -> dict[str, Sequence[Any]]:
    """The whole content of the database."""
    with reading(database) as session:
        return {
            table.name: session.execute(select(table).order_by(*table.primary_key)).all()
            for table in Base.metadata.sorted_tables
        }


def check_whole(database: Engine) -> None:
    """Fail if any experiment's events, attempts and state tell different stories."""
    legal = {(move.source, move.target) for move in TRANSITIONS}
    with reading(database) as session:
        for experiment in session.scalars(select(Experiment)):
            told = session.execute(
                select(Event.number, Event.type).where(Event.experiment_id == experiment.id).order_by(Event.number)
            ).all()
            assert [number for number, _ in told] == list(range(1, experiment.last_event + 1))
            passed = [State(name) for _, name in told if name in set(State)]
            assert passed[0] == State.QUEUED
            assert passed[-1] == experiment.state
            assert legal.issuperset(pairwise(passed)), passed
            held = session.scalars(
                select(Attempt).where(Attempt.experiment_id == experiment.id).order_by(Attempt.number)
            ).all()
            assert [attempt.number for attempt in held] == list(range(1, len(held) + 1))
            assert len(held) == passed.count(State.RUNNING)
            still_open = [attempt.number for attempt in held if attempt.ended_at is None]
            assert still_open == ([len(held)] if experiment.state == State.RUNNING else [])


# The schema


def downgrade(engine: Engine, revision: str) -> None:
    """Bring the schema to an older version."""
    config = Config()
    config.set_main_option("script_location", str(migrations()))
    with migrating(engine) as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)


def schema(engine: Engine) -> dict[str, Any]:
    """What the database knows about every table, but not how it spells the columns' types."""
    inspector = inspect(engine)
    return {
        table: {
            "columns": {column["name"]: column["nullable"] for column in inspector.get_columns(table)},
            "defaults": [column["name"] for column in inspector.get_columns(table) if column["default"]],
            "primary key": inspector.get_pk_constraint(table),
            "foreign keys": sorted(inspector.get_foreign_keys(table), key=lambda key: str(key["name"])),
            "checks": sorted((check["name"], check["sqltext"]) for check in inspector.get_check_constraints(table)),
            "indexes": {
                index["name"]: (
                    index.get("expressions", index["column_names"]),
                    {option: str(value) for option, value in index["dialect_options"].items()},
                )
                for index in inspector.get_indexes(table)
            },
            "options": inspector.get_table_options(table),
        }
        for table in inspector.get_table_names()
        if table != "alembic_version"
    }


# Many at once


def at_once(count: int, work: Callable[[], Any]) -> list[Any]:
    """The results of `work` in as many threads, which all begin at the same moment."""
    barrier = threading.Barrier(count)

    def begin(_: int) -> Any:
        barrier.wait()
        return work()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(begin, range(count)))
