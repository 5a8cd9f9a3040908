"""Whatever workers and owners do one after the other, on both databases: the store does as a small model of it does."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import Engine, delete, func, select
from sqlalchemy.orm import Session

from service.errors import Conflict, IllegalTransition, LeaseLost, UnknownExperiment
from service.states import TERMINAL, Request, State
from service.store import checkpoints, control, queue, results
from service.store.attempts import UNSPENT
from service.store.clock import now
from service.store.database import reading, writing
from service.store.leases import Lease
from service.store.queue import CURABLE
from service.store.tables import Attempt, Checkpoint, EpochMetrics, Event, Experiment
from tests.store import support
from tests.store.support import EPOCHS, WRITES, Step, all_rows, check_whole, let_expire, let_pause_pass, transact

PAUSES = st.sampled_from([0.0, 1000.0])
"""Seconds before another attempt: none, or more than a run of the machine takes."""


MOST = 4
"""Experiments at a time: few, so that each has a long life."""


@dataclass
class Model:
    """What an experiment ought to be."""

    priority: int
    max_attempts: int
    state: State = State.QUEUED
    attempt: int = 0
    waits: bool = False
    requested: Request | None = None
    lease: Lease | None = None
    expired: bool = False
    epoch: int = 0
    checkpoint: int | None = None
    measured: set[int] = field(default_factory=set)
    events: int = 1
    outcomes: list[str | None] = field(default_factory=list)
    error: str | None = None


class Queue(RuleBasedStateMachine):
    """A queue with its workers and owners."""

    def __init__(self, database: Engine) -> None:
        super().__init__()
        self.database = database
        self.models: dict[int, Model] = {}
        self.lost: list[Lease] = []
        self.served: int | None = None

    def teardown(self) -> None:
        check_whole(self.database)
        with self.unchanged():
            for lease in self.lost:
                self.write_with(lease, support.heartbeat)
        # All else goes with them.
        transact(self.database, Session.execute, delete(Experiment))

    # The model

    def those(self, *states: State) -> list[int]:
        return [number for number, model in self.models.items() if model.state in states]

    def held(self, data: st.DataObject) -> tuple[Lease, Model]:
        """The lease of something that runs."""
        model = self.models[data.draw(st.sampled_from(self.those(State.RUNNING)))]
        assert model.lease is not None
        return model.lease, model

    def pick(self, data: st.DataObject, *states: State) -> tuple[int, Model]:
        """Any experiment, but more often one in these states."""
        experiment_id = data.draw(st.sampled_from(sorted(self.models) + 4 * self.those(*states)))
        return experiment_id, self.models[experiment_id]

    def claimable(self) -> list[int]:
        """Best first."""
        waiting = [number for number in self.those(State.QUEUED) if not self.models[number].waits]
        return sorted(waiting, key=lambda number: (-self.models[number].priority, number))

    def move(self, model: Model, target: State, outcome: str | None = None) -> None:
        if model.lease is not None:
            self.lost.append(model.lease)
            model.lease, model.expired = None, False
            model.outcomes[-1] = outcome or target
        model.state, model.requested, model.waits = target, None, False
        model.events += 1
        if target in TERMINAL:
            model.checkpoint = None
        else:
            model.epoch = model.checkpoint or 0

    def leave(self, model: Model, outcome: str, pause: float = 0) -> State:
        wanted = {Request.CANCEL: State.CANCELLED, Request.PAUSE: State.PAUSED, None: State.QUEUED}
        self.move(model, target := wanted[model.requested], outcome)
        model.waits = target == State.QUEUED and pause > 0
        return target

    def fail_or_leave(self, model: Model, code: str, pause: float) -> State:
        if model.requested is not None or model.attempt < model.max_attempts:
            return self.leave(model, code, pause)
        model.error = code
        self.move(model, State.FAILED, code)
        return State.FAILED

    def refused(self, error: type[Exception], work: Callable[..., Any], *args: Any) -> None:
        """It is refused, and nothing has changed although its transaction was committed."""
        with self.unchanged(), writing(self.database) as session, pytest.raises(error):
            work(session, *args)

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        before = all_rows(self.database)
        yield
        assert all_rows(self.database) == before

    # Workers

    def submit(self, data: st.DataObject) -> None:
        priority, max_attempts = data.draw(st.tuples(st.integers(-1, 1), st.integers(1, 3)))
        experiment_id = support.submit(self.database, priority=priority, max_attempts=max_attempts)
        assert experiment_id > max(self.models, default=0)
        self.models[experiment_id] = Model(priority, max_attempts)

    def claim(self, data: st.DataObject) -> None:
        lease = transact(self.database, queue.claim, data.draw(st.sampled_from(["worker-1", "worker-2"])), 600)
        best = next(iter(self.claimable()), None)
        assert (lease and lease.experiment_id) == best
        if lease is None:
            return
        model = self.models[lease.experiment_id]
        model.state, model.lease = State.RUNNING, lease
        model.attempt += 1
        model.events += 1
        model.outcomes.append(None)
        assert lease.attempt == model.attempt

    def heartbeat(self, data: st.DataObject) -> None:
        lease, model = self.held(data)
        assert transact(self.database, queue.heartbeat, lease, 600) == model.requested
        model.expired = False

    def start(self, data: st.DataObject) -> None:
        lease, model = self.held(data)
        model.epoch = model.checkpoint or 0
        model.measured = {epoch for epoch in model.measured if epoch <= model.epoch}
        model.events += 1
        transact(self.database, results.start, lease, "cpu:0", 7850, model.epoch)

    def epoch(self, data: st.DataObject) -> None:
        lease, model = self.held(data)
        model.epoch = min(model.epoch + 1, EPOCHS)
        model.measured.add(model.epoch)
        model.events += 1
        transact(self.database, results.epoch, lease, support.measured(model.epoch))

    def checkpoint(self, data: st.DataObject) -> None:
        lease, model = self.held(data)
        model.checkpoint = data.draw(st.integers(0, EPOCHS))
        transact(self.database, checkpoints.put, lease, b"bundle", model.checkpoint, model.checkpoint / EPOCHS)

    def succeed(self, data: st.DataObject) -> None:
        lease, model = self.held(data)
        transact(self.database, support.succeed, lease)
        self.move(model, State.SUCCEEDED)
        if self.served is None:
            self.served = lease.experiment_id

    def fail(self, data: st.DataObject) -> None:
        lease, model = self.held(data)
        transact(self.database, support.fail, lease)
        model.error = "diverged"
        self.move(model, State.FAILED, "diverged")

    def end_cancelled(self, data: st.DataObject) -> None:
        lease, model = self.held(data)
        transact(self.database, support.cancelled, lease)
        self.move(model, State.CANCELLED)

    def lose(self, data: st.DataObject) -> None:
        lease, model = self.held(data)
        code, pause = data.draw(st.tuples(st.sampled_from(sorted(CURABLE)), PAUSES))
        state = transact(self.database, results.lose, lease, code, "It is gone.", b"ah\n", pause)
        assert state == self.fail_or_leave(model, code, pause)

    def give_back(self, data: st.DataObject) -> None:
        lease, model = self.held(data)
        reason = data.draw(st.sampled_from(sorted(UNSPENT)))
        state = transact(self.database, queue.give_back, lease, reason)
        model.attempt -= 1
        assert state == self.leave(model, reason)

    # Time

    def expire(self, data: st.DataObject) -> None:
        lease, model = self.held(data)
        let_expire(self.database, lease.experiment_id)
        model.expired = True

    def reclaim(self, data: st.DataObject) -> None:
        pause = data.draw(PAUSES)
        expired = [model for model in self.models.values() if model.expired]
        assert support.reclaim(self.database, pause) == len(expired)
        for model in expired:
            self.fail_or_leave(model, "worker_lost", pause)

    def pass_all_pauses(self, data: st.DataObject) -> None:
        for experiment_id, model in self.models.items():
            let_pause_pass(self.database, experiment_id)
            model.waits = False

    # Owners

    def cancel(self, data: st.DataObject) -> None:
        experiment_id, model = self.pick(data, State.QUEUED, State.RUNNING, State.PAUSED)
        if model.state in TERMINAL:
            return self.refused(IllegalTransition, control.cancel, experiment_id)
        transact(self.database, control.cancel, experiment_id)
        if model.state != State.RUNNING:
            self.move(model, State.CANCELLED)
        elif model.requested != Request.CANCEL:
            model.requested = Request.CANCEL
            model.events += 1

    def pause(self, data: st.DataObject) -> None:
        experiment_id, model = self.pick(data, State.QUEUED, State.RUNNING)
        if model.state not in (State.QUEUED, State.RUNNING):
            return self.refused(IllegalTransition, control.pause, experiment_id)
        if model.requested == Request.CANCEL:
            return self.refused(Conflict, control.pause, experiment_id)
        transact(self.database, control.pause, experiment_id)
        if model.state == State.QUEUED:
            self.move(model, State.PAUSED)
        elif model.requested is None:
            model.requested = Request.PAUSE
            model.events += 1

    def resume(self, data: st.DataObject) -> None:
        experiment_id, model = self.pick(data, State.PAUSED, State.RUNNING)
        if model.state != State.PAUSED and model.requested != Request.PAUSE:
            return self.refused(IllegalTransition, control.resume, experiment_id)
        transact(self.database, control.resume, experiment_id)
        if model.state == State.PAUSED:
            self.move(model, State.QUEUED)
        else:
            model.requested = None
            model.events += 1

    def retry(self, data: st.DataObject) -> None:
        experiment_id, model = self.pick(data, State.FAILED, State.CANCELLED)
        if model.state not in (State.FAILED, State.CANCELLED):
            return self.refused(IllegalTransition, control.retry, experiment_id)
        transact(self.database, control.retry, experiment_id)
        model.attempt, model.error = 0, None
        self.move(model, State.QUEUED)

    def delete(self, data: st.DataObject) -> None:
        experiment_id, model = self.pick(data, State.SUCCEEDED)
        if model.state == State.RUNNING or experiment_id == self.served:
            return self.refused(Conflict, control.delete, experiment_id)
        transact(self.database, control.delete, experiment_id)
        del self.models[experiment_id]
        self.refused(UnknownExperiment, control.retry, experiment_id)

    # Those who do not know yet that they have lost

    def write_late(self, data: st.DataObject) -> None:
        # More often what another worker trains by now.
        likely = [lease for lease in self.lost if lease.experiment_id in self.those(State.RUNNING)]
        lease = data.draw(st.sampled_from(self.lost + 4 * likely))
        with self.unchanged():
            self.write_with(lease, *WRITES)

    def write_with(self, lost: Lease, *steps: Step) -> None:
        for step in steps:
            with writing(self.database) as session, pytest.raises(LeaseLost):
                step(session, lost)

    # What happens

    @rule(data=st.data())
    def something_happens(self, data: st.DataObject) -> None:
        # One rule for all of it: of many, Hypothesis leaves most out of a run, and hardly any run gets anywhere.
        deeds = ["reclaim"]
        if len(self.models) < MOST:
            deeds += ["submit"] * 2
        if self.models:
            deeds += ["cancel", "pause", "resume", "retry", "delete"]
        if self.claimable():
            deeds += ["claim"] * 4
        if self.those(State.RUNNING):
            deeds += ["heartbeat", "start", "start", "epoch", "epoch", "epoch", "checkpoint", "checkpoint"]
            deeds += ["cancel", "pause", "resume", "lose", "give_back", "expire"] * 2
            deeds += ["succeed", "fail", "end_cancelled", "reclaim"]
        if any(model.waits for model in self.models.values()):
            deeds += ["claim", "pass_all_pauses"]
        if self.lost:
            deeds += ["write_late"] * 2
        getattr(self, data.draw(st.sampled_from(deeds)))(data)

    # What is always so

    @invariant()
    def the_database_is_as_the_model_says(self) -> None:
        with reading(self.database) as session:
            self.compare_experiments(session)
            self.compare_what_belongs_to_them(session)

    def compare_experiments(self, session: Session) -> None:
        columns = ("id", "state", "attempt", "requested", "lease_token", "epoch", "error_code", "not_before")
        stored = {row.id: row for row in session.execute(select(*(getattr(Experiment, name) for name in columns)))}
        assert stored.keys() == self.models.keys()
        for experiment_id, model in self.models.items():
            row = stored[experiment_id]
            assert (row.state, row.attempt, row.requested) == (model.state, model.attempt, model.requested)
            assert row.lease_token == (model.lease.token if model.lease else None)
            assert (row.epoch, row.error_code) == (model.epoch, model.error)
            assert row.not_before is None or model.state == State.QUEUED
        waiting = session.scalars(select(Experiment.id).where(Experiment.not_before > now())).all()
        assert sorted(waiting) == [number for number, model in self.models.items() if model.waits]
        assert queue.has_work(session) == bool(self.claimable())
        held = {model.lease.token: model.requested for model in self.models.values() if model.lease}
        asked = {token: request for token, request in held.items() if request}
        assert queue.requests(session, [*held, *(lease.token for lease in self.lost)]) == asked

    def compare_what_belongs_to_them(self, session: Session) -> None:
        numbers = (Event.experiment_id, func.min(Event.number), func.max(Event.number), func.count())
        events = {each: tuple(rest) for each, *rest in session.execute(select(*numbers).group_by(numbers[0]))}
        kept = dict(map(tuple, session.execute(select(Checkpoint.experiment_id, Checkpoint.epoch))))
        outcomes, measured = defaultdict(list), defaultdict(set)
        tried = select(Attempt.experiment_id, Attempt.number, Attempt.outcome).order_by(Attempt.number)
        for each, number, outcome in session.execute(tried):
            outcomes[each].append(outcome)
            assert number == len(outcomes[each])
        for each, epoch in session.execute(select(EpochMetrics.experiment_id, EpochMetrics.epoch)):
            measured[each].add(epoch)
        models = self.models.items()
        assert events == {each: (1, model.events, model.events) for each, model in models}
        assert kept == {each: model.checkpoint for each, model in models if model.checkpoint is not None}
        assert outcomes == {each: model.outcomes for each, model in models if model.outcomes}
        assert measured == {each: model.measured for each, model in models if model.measured}


def test_the_store_does_as_the_model_does(database: Engine) -> None:
    run_state_machine_as_test(
        lambda: Queue(database),
        settings=settings(max_examples=30, stateful_step_count=40, derandomize=True, print_blob=True, deadline=None),
    )
