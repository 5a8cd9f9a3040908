"""What owners may ask for, on both databases: every action in every state, and what becomes of it."""

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from service import states
from service.errors import Conflict, IllegalTransition, UnknownExperiment
from service.states import TERMINAL, TRANSITIONS, State
from service.store import checkpoints, control, idempotency, queue, registry, results
from service.store.database import writing
from service.store.tables import Base, Evaluation, Experiment
from tests.store.support import (
    EVALUATION,
    EXPIRED,
    MAKE,
    all_rows,
    begun,
    cancelled,
    checkpoint,
    claim,
    epoch,
    event_types,
    events,
    fail,
    give_back,
    history,
    look,
    lose,
    make_trial,
    metrics,
    outcomes,
    reclaim,
    see,
    set_alias,
    start,
    submit,
    succeed,
    transact,
    write,
)

ACTIONS: dict[str, Callable[[Session, int], Experiment]] = {
    "cancels": control.cancel,
    "pauses": control.pause,
    "resumes": control.resume,
    "retries": control.retry,
}

AT_ONCE = {
    (move.source, verb): move.target for move in TRANSITIONS for verb in ACTIONS if move.by == f"its owner {verb} it"
}
"""What an owner's action comes to, where nobody else has a say in it."""

ASKED = {(State.RUNNING, "cancels"): "cancel", (State.RUNNING, "pauses"): "pause"}
"""What an owner's action asks of a worker."""


# The states


@pytest.mark.parametrize(("source", "target"), list(product(State, State)))
def test_only_the_moves_of_the_table_are_legal(source: State, target: State) -> None:
    if any((move.source, move.target) == (source, target) for move in TRANSITIONS):
        states.check(source, target)
    else:
        with pytest.raises(IllegalTransition, match=f"that is {source} cannot become {target}"):
            states.check(source, target)


def test_every_state_can_be_reached_and_all_but_success_can_be_left() -> None:
    assert {move.target for move in TRANSITIONS} == set(State)
    assert {move.source for move in TRANSITIONS} == set(State) - {State.SUCCEEDED}


WORKER_MOVES: dict[tuple[State, State], Callable[[Engine], int]] = {
    (State.QUEUED, State.RUNNING): lambda database: begun(database).experiment_id,
    (State.RUNNING, State.SUCCEEDED): lambda database: write(database, begun(database), succeed),
    (State.RUNNING, State.FAILED): lambda database: write(database, begun(database), fail),
    (State.RUNNING, State.CANCELLED): lambda database: write(database, begun(database), cancelled),
    (State.RUNNING, State.PAUSED): lambda database: write(database, asked_to_pause(database), give_back),
    (State.RUNNING, State.QUEUED): lambda database: write(database, begun(database), lose),
}


def asked_to_pause(database: Engine) -> Any:
    lease = begun(database)
    transact(database, control.pause, lease.experiment_id)
    return lease


def test_each_move_of_the_table_is_an_owner_s_or_a_worker_s() -> None:
    owners = {(source, target) for (source, _), target in AT_ONCE.items()}
    assert owners | WORKER_MOVES.keys() == {(move.source, move.target) for move in TRANSITIONS}


@pytest.mark.parametrize(("source", "target"), WORKER_MOVES)
def test_a_worker_s_moves_are_those_of_the_table(database: Engine, source: State, target: State) -> None:
    experiment_id = WORKER_MOVES[source, target](database)
    assert look(database, experiment_id).state == target
    assert [State(name) for name in event_types(database, experiment_id) if name in set(State)][-2:] == [source, target]


# Every action in every state


@pytest.mark.parametrize(("state", "verb"), list(product(State, ACTIONS)))
def test_an_action_is_carried_out_asked_for_or_refused_as_the_table_says(
    database: Engine, state: State, verb: str
) -> None:
    experiment_id = MAKE[state](database)
    before, told = all_rows(database), events(database, experiment_id)

    if (state, verb) in AT_ONCE:
        target = AT_ONCE[state, verb]
        moved = transact(database, ACTIONS[verb], experiment_id)
        assert moved.state == look(database, experiment_id).state == target
        assert events(database, experiment_id)[: len(told)] == told
        (new,) = event_types(database, experiment_id)[len(told) :]
        assert new == target
        experiment = look(database, experiment_id)
        assert (experiment.finished_at is not None) == (target in TERMINAL)
        assert (experiment.error, experiment.requested, experiment.not_before) == (None, None, None)
    elif (state, verb) in ASKED:
        asked = transact(database, ACTIONS[verb], experiment_id)
        assert (asked.state, asked.requested) == (State.RUNNING, ASKED[state, verb])
        assert look(database, experiment_id).requested == ASKED[state, verb]
        assert events(database, experiment_id) == [*told, (f"{ASKED[state, verb]}_requested", {})]
        assert history(database, experiment_id) == [(1, "worker-1", None, None)]
    else:
        # The error is caught inside the transaction, which is then committed: it must not hold anything.
        with writing(database) as session, pytest.raises(IllegalTransition, match=f"that is {state} cannot be"):
            ACTIONS[verb](session, experiment_id)
        assert all_rows(database) == before


@pytest.mark.parametrize("state", State)
def test_what_does_not_run_can_be_deleted(database: Engine, state: State) -> None:
    kept = submit(database, priority=-1)
    experiment_id = MAKE[state](database)
    if state == State.SUCCEEDED:
        transact(database, set_alias, "production", write(database, claim(database), succeed))
    before = all_rows(database)
    if state == State.RUNNING:
        with writing(database) as session, pytest.raises(Conflict, match="is running: cancel it before"):
            control.delete(session, experiment_id)
        assert all_rows(database) == before
    else:
        transact(database, control.delete, experiment_id)
        with pytest.raises(UnknownExperiment):
            look(database, experiment_id)
        assert look(database, kept).name == "experiment"


# Cancelling


def test_what_waits_is_cancelled_at_once_and_not_claimed(database: Engine) -> None:
    experiment_id = submit(database)
    transact(database, control.cancel, experiment_id)
    assert event_types(database, experiment_id) == ["queued", "cancelled"]
    assert transact(database, queue.claim, "worker-1", 60) is None


@pytest.mark.parametrize("ask", [control.cancel, control.pause])
def test_asking_twice_is_one_wish(database: Engine, ask: Callable[[Session, int], Experiment]) -> None:
    lease = begun(database)
    transact(database, ask, lease.experiment_id)
    before = all_rows(database)
    assert transact(database, ask, lease.experiment_id).state == State.RUNNING
    assert all_rows(database) == before


def test_a_cancellation_takes_the_place_of_a_pause(database: Engine) -> None:
    lease = asked_to_pause(database)
    transact(database, control.cancel, lease.experiment_id)
    experiment = look(database, lease.experiment_id)
    assert (experiment.cancel_requested, experiment.pause_requested) == (True, False)
    assert transact(database, give_back, lease) == State.CANCELLED
    assert event_types(database, lease.experiment_id)[2:] == ["pause_requested", "cancel_requested", "cancelled"]


@pytest.mark.parametrize("ask", [control.pause, control.resume])
def test_a_cancellation_cannot_be_withdrawn(database: Engine, ask: Callable[[Session, int], Experiment]) -> None:
    lease = begun(database)
    transact(database, control.cancel, lease.experiment_id)
    before = all_rows(database)
    with writing(database) as session, pytest.raises(Conflict):
        ask(session, lease.experiment_id)
    assert all_rows(database) == before


@pytest.mark.parametrize("ask", [control.cancel, control.pause])
def test_a_request_that_comes_too_late_does_not_undo_the_success(database: Engine, ask: Any) -> None:
    lease = begun(database)
    transact(database, ask, lease.experiment_id)
    experiment = look(database, write(database, lease, succeed))
    assert (experiment.state, experiment.requested) == (State.SUCCEEDED, None)


# Pausing


def test_what_is_paused_is_not_claimed_until_it_is_resumed(database: Engine) -> None:
    experiment_id = MAKE[State.PAUSED](database)
    assert not see(database, queue.has_work)
    assert transact(database, queue.claim, "worker-1", 60) is None

    transact(database, control.resume, experiment_id)
    assert see(database, queue.has_work)
    assert claim(database).experiment_id == experiment_id
    assert events(database, experiment_id)[1:3] == [("paused", {}), ("queued", {"reason": "resumed"})]


def test_a_running_experiment_is_paused_by_its_worker_and_its_attempt_does_not_count(database: Engine) -> None:
    lease = asked_to_pause(database)
    assert transact(database, queue.give_back, lease, "paused") == State.PAUSED
    experiment = look(database, lease.experiment_id)
    assert (experiment.attempt, experiment.worker, experiment.finished_at) == (0, None, None)
    assert outcomes(database, lease.experiment_id) == ["paused"]
    assert events(database, lease.experiment_id)[-1] == ("paused", {"reason": "paused"})


def test_resuming_what_has_not_paused_yet_withdraws_the_request(database: Engine) -> None:
    lease = asked_to_pause(database)
    resumed = transact(database, control.resume, lease.experiment_id)
    assert (resumed.state, resumed.requested) == (State.RUNNING, None)
    assert events(database, lease.experiment_id)[2:] == [("pause_requested", {}), ("pause_withdrawn", {})]
    # The worker may have begun to obey already: then the experiment goes on from where it stopped.
    assert transact(database, queue.give_back, lease, "paused") == State.QUEUED
    with pytest.raises(IllegalTransition):
        transact(database, control.resume, lease.experiment_id)


def test_resuming_ends_the_pause_before_another_attempt(database: Engine) -> None:
    lease = begun(database, lease_seconds=EXPIRED)
    reclaim(database, retry_seconds=100)
    transact(database, control.pause, lease.experiment_id)
    assert look(database, lease.experiment_id).not_before is None
    transact(database, control.resume, lease.experiment_id)
    assert claim(database).attempt == 2


# Retrying


@pytest.mark.parametrize("end", [fail, cancelled])
def test_a_retry_keeps_what_was_measured_until_the_training_begins_anew(database: Engine, end: Any) -> None:
    experiment_id = write(database, begun(database), start, epoch, checkpoint, end)
    retried = transact(database, control.retry, experiment_id)
    assert (retried.state, retried.attempt, retried.error) == (State.QUEUED, 0, None)
    assert (retried.finished_at, retried.worker) == (None, None)
    assert retried.progress == {"epoch": 0, "epochs": 4, "fraction": 0.0}
    assert events(database, experiment_id)[-1] == ("queued", {"reason": "retried"})
    assert len(metrics(database, experiment_id)) == 1

    lease = claim(database)
    assert (lease.experiment_id, lease.attempt) == (experiment_id, 1)
    write(database, lease, start)
    assert metrics(database, experiment_id) == []
    assert look(database, write(database, lease, succeed)).state == State.SUCCEEDED


def test_a_success_after_a_retry_can_be_served(database: Engine) -> None:
    experiment_id = write(database, begun(database), fail)
    transact(database, control.retry, experiment_id)
    write(database, claim(database), start, succeed)
    assert see(database, registry.resolve, "production").id == experiment_id


# Deleting


def refers_to_experiments(table: Any) -> bool:
    return any(key.column.table.name == "experiments" for key in table.foreign_keys)


REFERRING = [table for table in Base.metadata.sorted_tables if refers_to_experiments(table)]


def full(database: Engine) -> int:
    """A paused experiment with a row in every table that refers to experiments, but for the aliases."""
    experiment_id = submit(database, tags=["one", "two"])
    lease = claim(database)
    write(database, lease, start, epoch, checkpoint)
    transact(database, control.pause, experiment_id)
    transact(database, results.lose, lease, "process_exited", "It is gone.", b"ah\n", 0)
    with writing(database) as session:
        session.add(Evaluation(experiment_id=experiment_id, **EVALUATION.model_dump(exclude={"top_confusions"})))
        make_trial(session, experiment_id)
        key = idempotency.claim(session, f"key-{experiment_id}", "0" * 64)
        assert isinstance(key, idempotency.Claim)
        idempotency.complete(session, key, experiment_id)
    return experiment_id


def test_deleting_an_experiment_leaves_nothing_of_it_and_all_of_the_others(database: Engine) -> None:
    gone, kept = full(database), full(database)

    def owned(experiment_id: int) -> dict[str, Any]:
        with writing(database) as session:
            return {
                table.name: session.execute(select(table).where(table.c.experiment_id == experiment_id)).all()
                for table in REFERRING
                if table.name != "aliases"
            }

    assert all(owned(gone).values()), "there is something in each table that could be left"
    before = owned(kept)
    transact(database, control.delete, gone)
    assert not any(owned(gone).values())
    assert owned(kept) == before
    assert see(database, checkpoints.content, gone) is None


def test_a_model_that_is_served_cannot_be_deleted_until_its_aliases_mean_another(database: Engine) -> None:
    first = write(database, begun(database), succeed)
    transact(database, set_alias, "canary", first)
    second = write(database, begun(database), succeed)
    before = all_rows(database)
    with writing(database) as session, pytest.raises(Conflict, match=r"is served as (canary, production|production, )"):
        control.delete(session, first)
    assert all_rows(database) == before

    for alias in ("canary", "production"):
        transact(database, set_alias, alias, second)
    transact(database, control.delete, first)
    assert see(database, registry.resolve, "production").id == second


def test_an_id_is_not_given_out_again_after_its_experiment_was_deleted(database: Engine) -> None:
    newest = submit(database)
    transact(database, control.delete, newest)
    assert submit(database) > newest
