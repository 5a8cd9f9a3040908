"""Workers and owners at the same moment, on both databases: whoever comes first, one story is told to its end."""

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from service.errors import Conflict, IllegalTransition, LeaseLost, UnknownExperiment
from service.states import TERMINAL, Request, State
from service.store import control, experiments, queue, registry
from service.store.database import reading, writing
from service.store.leases import Lease
from service.store.tables import Experiment
from tests.store.support import (
    EXPIRED,
    MAKE,
    WRITES,
    at_once,
    begun,
    cancelled,
    check_whole,
    claim,
    event_types,
    fail,
    give_back,
    heartbeat,
    let_expire,
    look,
    lose,
    outcomes,
    reclaim,
    see,
    set_alias,
    spec,
    submit,
    succeed,
    transact,
    write,
)

ACTIONS = (control.cancel, control.pause, control.resume, control.retry)

postgres_only = pytest.mark.parametrize("database", ["postgres"], indirect=True)


def submit_many(database: Engine, count: int) -> list[int]:
    with writing(database) as session:
        return [queue.enqueue(session, spec()).id for _ in range(count)]


# Who comes first


def somebody_waits(database: Engine) -> bool:
    """Whether a transaction waits for another one's lock."""
    with reading(database) as session:
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        return bool(session.connection().exec_driver_sql(waiting).scalar_one())


def meanwhile(database: Engine, first: Callable[[Session], Any], second: Callable[[Session], Any]) -> Any:
    """What `second` comes to, whose transaction begins when `first` has been carried out but is not committed."""
    with ThreadPoolExecutor(1) as pool:
        with writing(database) as session:
            first(session)
            later = pool.submit(transact, database, second)
            while not (later.done() or somebody_waits(database)):
                pass
        return later.result()


@postgres_only
@pytest.mark.parametrize(
    ("ask", "event"), [(control.cancel, "cancel_requested"), (control.pause, "pause_requested")], ids=list(Request)
)
def test_a_request_that_had_to_wait_for_a_claim_has_seen_it(
    database: Engine, ask: Callable[[Session, int], Experiment], event: str
) -> None:
    experiment_id = submit(database)
    asked = meanwhile(database, lambda one: queue.claim(one, "worker-1", 60), lambda other: ask(other, experiment_id))
    assert asked.state == State.RUNNING
    assert event_types(database, experiment_id) == ["queued", "running", event]


@postgres_only
@pytest.mark.parametrize("ask", [control.cancel, control.pause, control.delete], ids=lambda ask: ask.__name__)
def test_a_claim_passes_over_what_its_owner_is_just_taking_out(database: Engine, ask: Any) -> None:
    taken_out, next_one = submit(database, priority=1), submit(database)
    lease = meanwhile(database, lambda one: ask(one, taken_out), lambda other: queue.claim(other, "worker-1", 60))
    assert lease.experiment_id == next_one


@postgres_only
@pytest.mark.parametrize("end", [succeed, fail, cancelled, lose, give_back], ids=lambda end: end.__name__)
@pytest.mark.parametrize("ask", [control.cancel, control.pause], ids=list(Request))
def test_a_request_that_had_to_wait_for_the_worker_s_end_finds_what_it_left(
    database: Engine, end: Any, ask: Any
) -> None:
    lease = begun(database)

    def race() -> Experiment:
        return meanwhile(database, lambda one: end(one, lease), lambda other: ask(other, lease.experiment_id))

    if end in (lose, give_back):
        assert race().state == (State.CANCELLED if ask is control.cancel else State.PAUSED)
    else:
        with pytest.raises(IllegalTransition):
            race()
        assert look(database, lease.experiment_id).state in TERMINAL
    check_whole(database)


@postgres_only
@pytest.mark.parametrize("ask", [control.cancel, control.pause], ids=list(Request))
@pytest.mark.parametrize("leave", [lose, give_back], ids=lambda leave: leave.__name__)
def test_a_worker_that_had_to_wait_for_a_request_obeys_it(database: Engine, leave: Any, ask: Any) -> None:
    lease = begun(database, max_attempts=1)
    state = meanwhile(database, lambda one: ask(one, lease.experiment_id), lambda other: leave(other, lease))
    assert state == (State.CANCELLED if ask is control.cancel else State.PAUSED)


@postgres_only
@pytest.mark.parametrize("late", WRITES, ids=lambda late: late.__name__)
def test_a_worker_that_had_to_wait_for_its_loss_has_seen_it(database: Engine, late: Any) -> None:
    lease = begun(database, lease_seconds=EXPIRED)
    with pytest.raises(LeaseLost):
        meanwhile(database, lambda one: queue.reclaim_expired(one, 0), lambda other: late(other, lease))
    assert event_types(database, lease.experiment_id) == ["queued", "running", "queued"]


@postgres_only
@pytest.mark.parametrize("write_", [heartbeat, succeed], ids=lambda write_: write_.__name__)
def test_what_its_worker_writes_to_at_this_moment_is_not_reclaimed(database: Engine, write_: Any) -> None:
    lease = begun(database, lease_seconds=EXPIRED)
    assert meanwhile(database, lambda one: write_(one, lease), lambda other: queue.reclaim_expired(other, 0)) == 0
    check_whole(database)


def let_serve(session: Session, experiment_id: int) -> None:
    set_alias(session, "canary", experiment_id)


@postgres_only
@pytest.mark.parametrize("action", [*ACTIONS, control.delete, let_serve], ids=lambda action: action.__name__)
def test_an_experiment_that_is_deleted_while_its_owner_asks_something_is_unknown(database: Engine, action: Any) -> None:
    write(database, begun(database), succeed)
    experiment_id = write(database, begun(database), succeed)
    with pytest.raises(UnknownExperiment):
        meanwhile(database, lambda one: control.delete(one, experiment_id), lambda other: action(other, experiment_id))


@postgres_only
def test_a_model_cannot_be_deleted_while_an_alias_is_let_mean_it(database: Engine) -> None:
    write(database, begun(database), succeed)
    experiment_id = write(database, begun(database), succeed)
    with pytest.raises(Conflict, match="is served as canary"):
        meanwhile(
            database,
            lambda one: set_alias(one, "canary", experiment_id),
            lambda other: control.delete(other, experiment_id),
        )


@postgres_only
def test_what_is_claimed_meanwhile_is_not_deleted(database: Engine) -> None:
    experiment_id = submit(database)
    with pytest.raises(Conflict, match="is running"):
        meanwhile(
            database, lambda one: queue.claim(one, "worker-1", 60), lambda other: control.delete(other, experiment_id)
        )


@postgres_only
def test_two_first_successes_at_the_same_moment_leave_one_default(database: Engine) -> None:
    first, second = begun(database), begun(database)
    meanwhile(database, lambda one: succeed(one, first), lambda other: succeed(other, second))
    assert see(database, registry.resolve, "production").id == first.experiment_id
    assert look(database, second.experiment_id).state == State.SUCCEEDED


# Many at once


def test_claimants_at_the_same_moment_get_different_experiments(database: Engine) -> None:
    ids = submit_many(database, 300)

    def work_off() -> list[int]:
        taken = []
        while (lease := transact(database, queue.claim, threading.current_thread().name, 60)) is not None:
            taken.append(lease.experiment_id)
        return taken

    taken = [experiment_id for share in at_once(8, work_off) for experiment_id in share]
    assert sorted(taken) == ids
    check_whole(database)


def test_a_lost_worker_is_counted_once_by_workers_that_look_at_the_same_moment(database: Engine) -> None:
    ids = submit_many(database, 6)
    for _ in ids:
        claim(database, lease_seconds=EXPIRED)
    assert sum(at_once(4, lambda: reclaim(database))) == 6
    assert {tuple(event_types(database, experiment_id)) for experiment_id in ids} == {("queued", "running", "queued")}
    assert {tuple(outcomes(database, experiment_id)) for experiment_id in ids} == {("worker_lost",)}


def test_cancelling_while_workers_claim_ends_or_asks_but_never_both(database: Engine) -> None:
    ids = submit_many(database, 12)

    def claim_one() -> Lease | None:
        return transact(database, queue.claim, "worker-1", 60)

    with ThreadPoolExecutor(6) as pool:
        claims = [pool.submit(claim_one) for _ in ids]
        for asked in [pool.submit(transact, database, control.cancel, experiment_id) for experiment_id in ids]:
            asked.result()
        leases = {lease.experiment_id for future in claims if (lease := future.result())}

    for experiment_id in ids:
        experiment = look(database, experiment_id)
        if experiment_id in leases:
            assert (experiment.state, experiment.cancel_requested) == (State.RUNNING, True)
            assert event_types(database, experiment_id) == ["queued", "running", "cancel_requested"]
        else:
            assert experiment.state == State.CANCELLED
            assert event_types(database, experiment_id) == ["queued", "cancelled"]


@pytest.mark.parametrize(("action", "state"), [(control.resume, State.PAUSED), (control.retry, State.FAILED)])
def test_what_can_happen_once_happens_once_though_four_ask_for_it(
    database: Engine, action: Callable[[Session, int], Experiment], state: State
) -> None:
    experiment_id = MAKE[state](database)
    told = len(event_types(database, experiment_id))

    def ask() -> bool:
        try:
            transact(database, action, experiment_id)
        except IllegalTransition:
            return False
        return True

    assert sorted(at_once(4, ask)) == [False, False, False, True]
    assert event_types(database, experiment_id)[told:] == ["queued"]


def test_transactions_that_read_and_then_write_do_not_fail_each_other(database: Engine) -> None:
    experiment_id = submit(database)

    def add_tens() -> None:
        for _ in range(10):
            with writing(database) as session:
                experiments.locked(session, experiment_id).priority += 1

    at_once(8, add_tens)
    assert look(database, experiment_id).priority == 80


def test_whatever_workers_and_owners_do_at_once_no_experiment_is_lost_or_ends_twice(database: Engine) -> None:
    ids = submit_many(database, 8)
    seeds = iter(range(6))
    ended: list[int] = []

    def somebody() -> None:
        seed = next(seeds)
        chance = random.Random(seed)
        for _ in range(40):
            try:
                if seed < 2:
                    transact(database, chance.choice(ACTIONS), chance.choice(ids))
                else:
                    work(chance)
            except (LeaseLost, Conflict):
                pass

    def work(chance: random.Random) -> None:
        if chance.random() < 0.2:
            let_expire(database, chance.choice(ids))
            reclaim(database)
        lease = transact(database, queue.claim, threading.current_thread().name, 60)
        while lease is not None and look(database, lease.experiment_id).lease_token == lease.token:
            step = chance.choice(WRITES)
            transact(database, step, lease)
            if step is succeed:
                ended.append(lease.experiment_id)

    at_once(6, somebody)
    check_whole(database)

    # What is left can be brought to its end: nothing is stuck between two states.
    for experiment_id in ids:
        let_expire(database, experiment_id)
    reclaim(database)
    for experiment_id in ids:
        if look(database, experiment_id).state == State.PAUSED:
            transact(database, control.resume, experiment_id)
    while (lease := transact(database, queue.claim, "worker-1", 60)) is not None:
        transact(database, succeed, lease)
        ended.append(lease.experiment_id)
    assert {look(database, experiment_id).state for experiment_id in ids} <= TERMINAL
    successes = [experiment_id for experiment_id in ids if look(database, experiment_id).state == State.SUCCEEDED]
    assert sorted(ended) == successes
    check_whole(database)
