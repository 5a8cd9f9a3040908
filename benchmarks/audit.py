"""What the rows say when all is over: has each job ended, was it carried out once, is its result right?"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import stub
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session, undefer

from service import schemas
from service.specs.experiment import ExperimentSpec
from service.states import TERMINAL, State
from service.store.attempts import UNSPENT
from service.store.database import reading
from service.store.queue import CURABLE
from service.store.tables import Artifact, Attempt, Checkpoint, EpochMetrics, Evaluation, Event, Experiment

OF_A_JOB = (EpochMetrics, Artifact, Event, Attempt, Evaluation, Checkpoint)
LOG = "log.txt"


@dataclass
class Job:
    """An experiment with all that belongs to it."""

    row: Experiment
    rows: dict[type, list[Any]]

    @property
    def attempts(self) -> list[Attempt]:
        """In order."""
        return sorted(self.rows[Attempt], key=lambda attempt: attempt.number)

    @property
    def metrics(self) -> list[schemas.EpochMetrics]:
        """In order."""
        rows = sorted(self.rows[EpochMetrics], key=lambda row: row.epoch)
        return [schemas.EpochMetrics.model_validate(row) for row in rows]

    @property
    def files(self) -> dict[str, bytes]:
        """All files but the log, by name."""
        return {row.name: row.content for row in self.rows[Artifact] if row.name != LOG}


@dataclass
class Verdict:
    """What an audit found. The last four must stay empty."""

    states: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    resumed: int = 0
    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    artifacts_without_job: list[str] = field(default_factory=list)

    @property
    def problems(self) -> dict[str, list[str]]:
        """What must not be, by kind."""
        return {
            "lost": self.lost,
            "duplicated": self.duplicated,
            "wrongly_finished": self.wrong,
            "artifacts_without_job": self.artifacts_without_job,
        }


def audit(database: Engine, jobs: int) -> Verdict:
    """Look at all rows of a database on which at least so many stub jobs have been submitted, and nothing else."""
    verdict = Verdict()
    with reading(database) as session:
        found = _jobs(session)
        verdict.artifacts_without_job += _orphaned(session)
    if len(found) < jobs:
        verdict.lost.append(f"there are {len(found)} rows for {jobs} jobs")
    for job in found:
        verdict.resumed += sum(event.type == "started" and event.data["epoch"] > 0 for event in job.rows[Event])
        verdict.states[job.row.state] += 1
        verdict.failures.update([job.row.error_code] if job.row.state == State.FAILED else [])
        verdict.outcomes.update(attempt.outcome or "open" for attempt in job.attempts)
        for problems, complaints in (
            (verdict.lost, _lost(job)),
            (verdict.duplicated, _duplicated(job)),
            (verdict.wrong, _wrong(job)),
            (verdict.artifacts_without_job, _unearned(job)),
        ):
            problems += [f"job {job.row.id} ({job.row.state}): {complaint}" for complaint in complaints]
    return verdict


def everything_of(session: Session, experiment_id: int) -> set[tuple[str, ...]]:
    """All rows of one experiment in all tables, to be compared with another moment's."""
    keys = {Experiment: Experiment.id} | {table: table.experiment_id for table in OF_A_JOB}
    return {
        (table.__tablename__, *map(repr, row))
        for table, key in keys.items()
        for row in session.execute(select(*table.__table__.columns).where(key == experiment_id))
    }


def _jobs(session: Session) -> list[Job]:
    belonging: dict[int, dict[type, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for table in OF_A_JOB:
        query = select(table).options(undefer(table.content)) if table is Artifact else select(table)
        for row in session.scalars(query):
            belonging[row.experiment_id][table].append(row)
    return [Job(row, belonging[row.id]) for row in session.scalars(select(Experiment).order_by(Experiment.id))]


def _orphaned(session: Session) -> Iterator[str]:
    query = select(Artifact.experiment_id, Artifact.name).where(Artifact.experiment_id.not_in(select(Experiment.id)))
    return (f"{name} of experiment {number}, which there is not" for number, name in session.execute(query))


def _lost(job: Job) -> Iterator[str]:
    if job.row.state not in TERMINAL:
        yield "has not ended"
    ends = [event.type for event in job.rows[Event] if event.type in TERMINAL]
    if ends != [job.row.state]:
        yield f"its events say that it has ended so: {ends}"
    if any(attempt.ended_at is None for attempt in job.attempts):
        yield "has an open attempt"
    if job.row.lease_token or job.row.lease_expires_at or job.row.requested:
        yield "has a lease or a request"
    if job.rows[Checkpoint]:
        yield "has a checkpoint"
    if not _failed_rightly(job):
        yield f"failed with {job.row.error_code} after {job.row.attempt} of {job.row.max_attempts} attempts"


def _failed_rightly(job: Job) -> bool:
    gave_up = job.row.error_code in CURABLE and job.row.attempt == job.row.max_attempts
    return job.row.state != State.FAILED or gave_up


def _duplicated(job: Job) -> Iterator[str]:
    attempts = job.attempts
    if [attempt.number for attempt in attempts] != list(range(1, len(attempts) + 1)):
        yield "its attempts are not numbered from 1 without gaps"
    if sum(attempt.ended_at is None for attempt in attempts) > 1:
        yield "has two open attempts"
    for earlier, later in pairwise(attempts):
        if earlier.ended_at is None or later.started_at < earlier.ended_at:
            yield f"attempt {later.number} began before attempt {earlier.number} had ended"
    spent = sum(attempt.outcome not in UNSPENT for attempt in attempts)
    if spent != job.row.attempt:
        yield f"counts {job.row.attempt} attempts, its history {spent}"
    numbers = sorted(event.number for event in job.rows[Event])
    if numbers != list(range(1, job.row.last_event + 1)):
        yield "its events are not numbered from 1 without gaps"
    epochs = [metrics.epoch for metrics in job.metrics]
    if job.row.state == State.SUCCEEDED and epochs != list(range(1, job.row.epochs + 1)):
        yield f"has the metrics of the epochs {epochs}"


def _wrong(job: Job) -> Iterator[str]:
    spec = ExperimentSpec.model_validate(job.row.spec)
    if job.row.state == State.SUCCEEDED and spec.name in (stub.SUICIDE, stub.ENDLESS):
        yield f"a training that is {spec.name} has succeeded"
    elif job.row.state == State.SUCCEEDED:
        yield from _differences(job, stub.outcome(spec))


def _differences(job: Job, expected: stub.Outcome) -> Iterator[str]:
    if job.metrics != expected.metrics:
        yield "its metrics are not what its spec comes to"
    if job.files != expected.files:
        yield "its files are not what its spec comes to"
    if job.row.result is None or schemas.Result(**job.row.result) != expected.result:
        yield "its result is not what its spec comes to"
    evaluations = [schemas.Evaluation.model_validate(row) for row in job.rows[Evaluation]]
    if evaluations != [expected.evaluation]:
        yield "its evaluation is not what its spec comes to"


def _unearned(job: Job) -> Sequence[str]:
    has_succeeded = job.row.state == State.SUCCEEDED
    return (
        []
        if has_succeeded
        else [f"has {name}" for name in job.files] + ["has an evaluation"] * len(job.rows[Evaluation])
    )
