"""The fence, on both databases: a worker that has lost its lease, in whatever way, changes nothing any more."""

from collections.abc import Callable

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from service.errors import LeaseLost
from service.states import State
from service.store import attempts, checkpoints, control, queue, results
from service.store.database import writing
from service.store.leases import Lease, fenced, held
from service.store.tables import Experiment
from tests.store.support import (
    EXPIRED,
    WRITES,
    Step,
    all_rows,
    begun,
    cancelled,
    checkpoint,
    claim,
    epoch,
    fail,
    give_back,
    heartbeat,
    let_expire,
    look,
    lose,
    measured,
    progress,
    reclaim,
    start,
    submit,
    succeed,
    transact,
    write,
)

# Ways to lose a lease


def reclaimed(database: Engine, lease: Lease) -> None:
    let_expire(database, lease.experiment_id)
    assert reclaim(database) == 1


def reclaimed_and_waiting(database: Engine, lease: Lease) -> None:
    let_expire(database, lease.experiment_id)
    assert reclaim(database, retry_seconds=100) == 1


def replaced(database: Engine, lease: Lease) -> None:
    reclaimed(database, lease)
    claim(database, "worker-2")


def replaced_by_the_same_worker(database: Engine, lease: Lease) -> None:
    reclaimed(database, lease)
    claim(database, "worker-1")


def replaced_and_checkpointed(database: Engine, lease: Lease) -> None:
    reclaimed(database, lease)
    write(database, claim(database, "worker-2"), start, epoch, checkpoint)


def replaced_by_one_that_succeeded(database: Engine, lease: Lease) -> None:
    reclaimed(database, lease)
    write(database, claim(database, "worker-2"), start, succeed)


def replaced_by_one_with_the_same_number(database: Engine, lease: Lease) -> None:
    transact(database, give_back, lease)
    assert claim(database, "worker-2").attempt == lease.attempt


def given_back(database: Engine, lease: Lease) -> None:
    transact(database, give_back, lease)


def lost(database: Engine, lease: Lease) -> None:
    transact(database, lose, lease)


def given_up(database: Engine, lease: Lease) -> None:
    with writing(database) as session:
        held(session, lease).max_attempts = 1
    assert transact(database, lose, lease) == State.FAILED


def paused(database: Engine, lease: Lease) -> None:
    transact(database, control.pause, lease.experiment_id)
    transact(database, queue.give_back, lease, attempts.PAUSED)


def paused_without_its_worker(database: Engine, lease: Lease) -> None:
    transact(database, control.pause, lease.experiment_id)
    reclaimed(database, lease)


def resumed(database: Engine, lease: Lease) -> None:
    paused(database, lease)
    transact(database, control.resume, lease.experiment_id)


def cancelled_without_its_worker(database: Engine, lease: Lease) -> None:
    transact(database, control.cancel, lease.experiment_id)
    reclaimed(database, lease)


def ended(end: Step) -> Callable[[Engine, Lease], None]:
    def ended(database: Engine, lease: Lease) -> None:
        write(database, lease, end)

    ended.__name__ = f"ended_by_{end.__name__}"
    return ended


def retried(database: Engine, lease: Lease) -> None:
    write(database, lease, fail)
    transact(database, control.retry, lease.experiment_id)


def retried_and_claimed(database: Engine, lease: Lease) -> None:
    retried(database, lease)
    assert claim(database).attempt == lease.attempt


def deleted(database: Engine, lease: Lease) -> None:
    write(database, lease, cancelled)
    transact(database, control.delete, lease.experiment_id)


LOSSES = [
    reclaimed,
    reclaimed_and_waiting,
    replaced,
    replaced_by_the_same_worker,
    replaced_and_checkpointed,
    replaced_by_one_that_succeeded,
    replaced_by_one_with_the_same_number,
    given_back,
    lost,
    given_up,
    paused,
    paused_without_its_worker,
    resumed,
    cancelled_without_its_worker,
    ended(succeed),
    ended(fail),
    ended(cancelled),
    retried,
    retried_and_claimed,
    deleted,
]


@pytest.mark.parametrize("lose_it", LOSSES, ids=lambda lose_it: lose_it.__name__)
def test_a_worker_that_lost_its_lease_is_told_so_and_changes_nothing(
    database: Engine, lose_it: Callable[[Engine, Lease], None]
) -> None:
    bystander = begun(database)
    write(database, bystander, start, epoch, checkpoint)
    lease = begun(database, tags=["one"])
    write(database, lease, start, epoch, checkpoint)
    lose_it(database, lease)
    before = all_rows(database)

    for late in WRITES:
        # The error is caught inside the transaction, which is then committed: it must not hold anything.
        with writing(database) as session, pytest.raises(LeaseLost, match=f"{lease.experiment_id} is no longer"):
            late(session, lease)
        assert all_rows(database) == before, late.__name__


def test_nothing_that_a_worker_can_write_is_left_out_here() -> None:
    # Every function of the store that takes a lease; the last two are what the others are made of.
    takes_lease = {
        function
        for module in (queue, results, checkpoints)
        for function in vars(module).values()
        if callable(function) and "lease" in getattr(function, "__annotations__", {})
    } - {fenced, held}
    called = {name for step in WRITES for name in step.__code__.co_names}
    assert {function.__name__ for function in takes_lease} <= called


def test_a_token_is_only_good_for_its_own_experiment(database: Engine) -> None:
    mine, other = begun(database), begun(database)
    mixed = Lease(other.experiment_id, mine.token, mine.attempt, mine.spec)
    before = all_rows(database)
    for late in WRITES:
        with writing(database) as session, pytest.raises(LeaseLost):
            late(session, mixed)
        assert all_rows(database) == before, late.__name__


def test_a_loss_in_the_middle_of_a_transaction_takes_all_of_it_back(database: Engine) -> None:
    experiment_id = submit(database)
    lost_one = claim(database, lease_seconds=EXPIRED)
    reclaim(database)
    mine = claim(database)
    before = all_rows(database)

    def write_under_both(session: Session) -> None:
        results.epoch(session, mine, measured(1))
        results.epoch(session, lost_one, measured(2))

    with pytest.raises(LeaseLost):
        transact(database, write_under_both)
    assert all_rows(database) == before
    assert look(database, experiment_id).lease_token == mine.token


@pytest.mark.parametrize("late", WRITES, ids=lambda late: late.__name__)
def test_an_expired_lease_holds_as_long_as_nobody_has_taken_it(database: Engine, late: Step) -> None:
    lease = begun(database, lease_seconds=EXPIRED)
    transact(database, late, lease)
    if late in (heartbeat, start, progress, epoch, checkpoint):
        assert look(database, lease.experiment_id).lease_token == lease.token
        assert reclaim(database) == (0 if late is heartbeat else 1)
    else:
        assert look(database, lease.experiment_id).state != State.RUNNING
        assert reclaim(database) == 0


def test_a_lease_does_not_outlast_what_its_worker_ends_however_long_it_was_given(database: Engine) -> None:
    for priority, end in enumerate((succeed, fail, cancelled, lose, give_back)):
        lease = begun(database, lease_seconds=1e6, priority=priority)
        transact(database, end, lease)
        experiment = look(database, lease.experiment_id)
        assert (experiment.lease_token, experiment.lease_expires_at) == (None, None)
    query = select(Experiment.id).where(Experiment.lease_token.is_not(None))
    assert transact(database, lambda session: session.scalars(query).all()) == []
