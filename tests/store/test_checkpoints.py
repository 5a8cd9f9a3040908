"""Checkpoints, on both databases: one for each experiment that has not ended, and where the next attempt begins."""

from typing import Any

import pytest
from sqlalchemy import Engine, select

from service.states import TERMINAL, State
from service.store import checkpoints, control, queue, results
from service.store.database import reading
from service.store.leases import Lease
from service.store.tables import Checkpoint
from tests.store.support import (
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
    let_expire,
    look,
    lose,
    measured,
    metrics,
    reclaim,
    see,
    start,
    submit,
    succeed,
    transact,
    write,
)


def put(database: Engine, lease: Lease, content: bytes, epoch: int, fraction: float) -> None:
    transact(database, checkpoints.put, lease, content, epoch, fraction)


def content(database: Engine, experiment_id: int) -> bytes | None:
    return see(database, checkpoints.content, experiment_id)


def position(database: Engine, experiment_id: int) -> tuple[int, float]:
    return see(database, checkpoints.position, experiment_id)


def begun_with_checkpoint(database: Engine, **given: Any) -> Lease:
    """Three epochs are measured, two of them and half of the third are in the checkpoint."""
    lease = begun(database, **given)
    write(database, lease, start)
    for number in (1, 2):
        transact(database, results.epoch, lease, measured(number))
    put(database, lease, b"after epoch 2 and a half", 2, 0.625)
    transact(database, results.epoch, lease, measured(3))
    assert look(database, lease.experiment_id).progress == {"epoch": 3, "epochs": 4, "fraction": 0.75}
    return lease


# Keeping


def test_there_is_no_checkpoint_before_the_first(database: Engine) -> None:
    experiment_id = begun(database).experiment_id
    assert content(database, experiment_id) is None
    assert position(database, experiment_id) == (0, 0.0)


def test_a_checkpoint_is_what_was_put_byte_for_byte(database: Engine) -> None:
    lease = begun(database)
    bundle = bytes(range(256)) * 4096
    put(database, lease, bundle, 3, 0.75)
    assert content(database, lease.experiment_id) == bundle
    assert position(database, lease.experiment_id) == (3, 0.75)
    with reading(database) as session:
        (row,) = session.scalars(select(Checkpoint)).all()
        assert (row.size, row.created_at.tzinfo is not None) == (len(bundle), True)


def test_a_later_checkpoint_replaces_the_earlier_one(database: Engine) -> None:
    lease = begun(database)
    for epochs, bundle in enumerate((b"first", b"", b"third, longer"), 1):
        put(database, lease, bundle, epochs, epochs / 4)
        assert content(database, lease.experiment_id) == bundle
        assert position(database, lease.experiment_id) == (epochs, epochs / 4)
    assert len(all_rows(database)["checkpoints"]) == 1


def test_a_checkpoint_can_be_replaced_within_a_transaction(database: Engine) -> None:
    lease = begun(database)

    def put_two(session: Any) -> None:
        checkpoints.put(session, lease, b"first", 1, 0.25)
        checkpoints.put(session, lease, b"second", 2, 0.5)

    transact(database, put_two)
    assert content(database, lease.experiment_id) == b"second"


def test_each_experiment_has_a_checkpoint_of_its_own(database: Engine) -> None:
    first, second = begun(database), begun(database)
    put(database, first, b"first", 1, 0.25)
    put(database, second, b"second", 2, 0.5)
    transact(database, cancelled, first)
    assert (content(database, first.experiment_id), content(database, second.experiment_id)) == (None, b"second")


def test_a_checkpoint_leaves_no_event_and_does_not_move_what_is_shown(database: Engine) -> None:
    lease = begun(database)
    write(database, lease, start, epoch)
    before = look(database, lease.experiment_id)
    put(database, lease, b"bundle", 1, 0.2)
    after = look(database, lease.experiment_id)
    assert (after.progress, after.last_event) == (before.progress, before.last_event)
    assert event_types(database, lease.experiment_id) == ["queued", "running", "started", "epoch"]


# Going on


def lost_process(database: Engine, lease: Lease) -> State:
    transact(database, lose, lease)
    return State.QUEUED


def lost_worker(database: Engine, lease: Lease) -> State:
    let_expire(database, lease.experiment_id)
    reclaim(database)
    return State.QUEUED


def given_back(database: Engine, lease: Lease) -> State:
    transact(database, give_back, lease)
    return State.QUEUED


def paused(database: Engine, lease: Lease) -> State:
    transact(database, control.pause, lease.experiment_id)
    transact(database, queue.give_back, lease, "paused")
    return State.PAUSED


def lost_and_paused(database: Engine, lease: Lease) -> State:
    transact(database, control.pause, lease.experiment_id)
    return lost_worker(database, lease) and State.PAUSED


LEFT = [lost_process, lost_worker, given_back, paused, lost_and_paused]


@pytest.mark.parametrize("leave", LEFT)
def test_what_goes_on_later_shows_how_far_its_checkpoint_is(database: Engine, leave: Any) -> None:
    lease = begun_with_checkpoint(database)
    state = leave(database, lease)
    experiment = look(database, lease.experiment_id)
    assert experiment.state == state
    assert experiment.progress == {"epoch": 2, "epochs": 4, "fraction": 0.625}
    assert content(database, lease.experiment_id) == b"after epoch 2 and a half"

    if state == State.PAUSED:
        transact(database, control.resume, lease.experiment_id)
    claim(database)
    experiment = look(database, lease.experiment_id)
    assert (experiment.state, experiment.epoch, experiment.fraction) == (State.RUNNING, 2, 0.625)
    assert content(database, lease.experiment_id) == b"after epoch 2 and a half"


@pytest.mark.parametrize("leave", LEFT)
def test_what_goes_on_later_without_a_checkpoint_shows_that_it_begins_anew(database: Engine, leave: Any) -> None:
    lease = begun(database)
    write(database, lease, start, epoch)
    leave(database, lease)
    assert look(database, lease.experiment_id).progress == {"epoch": 0, "epochs": 4, "fraction": 0.0}


def test_a_training_that_goes_on_keeps_the_metrics_up_to_its_checkpoint(database: Engine) -> None:
    lease = begun_with_checkpoint(database, lease_seconds=EXPIRED)
    reclaim(database)
    second = claim(database)
    assert [row.epoch for row in metrics(database, lease.experiment_id)] == [1, 2, 3]

    transact(database, results.start, second, "cuda:0", 7850, 2, "0" * 64)
    assert metrics(database, lease.experiment_id) == [measured(1), measured(2)]
    experiment = look(database, lease.experiment_id)
    assert (experiment.epoch, experiment.fingerprint) == (2, "0" * 64)
    started = ("started", {"device": "cuda:0", "parameters": 7850, "epoch": 2})
    assert events(database, lease.experiment_id)[-1] == started

    transact(database, results.epoch, second, measured(3, train_loss=0.125))
    assert metrics(database, lease.experiment_id) == [measured(1), measured(2), measured(3, train_loss=0.125)]


@pytest.mark.parametrize("kept", range(5))
def test_a_start_drops_the_metrics_of_later_epochs_and_no_others(database: Engine, kept: int) -> None:
    other = begun(database)
    lease = begun(database)
    for number in (1, 2, 3, 4):
        for each in (other, lease):
            transact(database, results.epoch, each, measured(number))
    transact(database, results.start, lease, "cpu:0", 7850, kept)
    assert [row.epoch for row in metrics(database, lease.experiment_id)] == list(range(1, kept + 1))
    assert look(database, lease.experiment_id).progress == {"epoch": kept, "epochs": 4, "fraction": kept / 4}
    assert len(metrics(database, other.experiment_id)) == 4


# Dropping


def cancelled_in_the_queue(database: Engine, lease: Lease) -> None:
    given_back(database, lease)
    transact(database, control.cancel, lease.experiment_id)


def cancelled_while_paused(database: Engine, lease: Lease) -> None:
    paused(database, lease)
    transact(database, control.cancel, lease.experiment_id)


def cancelled_without_its_worker(database: Engine, lease: Lease) -> None:
    transact(database, control.cancel, lease.experiment_id)
    lost_worker(database, lease)


def cancelled_as_it_was_given_back(database: Engine, lease: Lease) -> None:
    transact(database, control.cancel, lease.experiment_id)
    given_back(database, lease)


def given_up(database: Engine, lease: Lease) -> None:
    for _ in range(2):
        transact(database, lose, lease)
        lease = claim(database)
    transact(database, lose, lease)


def unreadable(database: Engine, lease: Lease) -> None:
    given_back(database, lease)
    experiment = look(database, lease.experiment_id)
    experiment.spec = {"model": None}
    transact(database, lambda session: session.merge(experiment))
    assert transact(database, queue.claim, "worker-1", 60) is None


@pytest.mark.parametrize(
    "end",
    [
        lambda database, lease: transact(database, succeed, lease),
        lambda database, lease: transact(database, fail, lease),
        lambda database, lease: transact(database, cancelled, lease),
        cancelled_in_the_queue,
        cancelled_while_paused,
        cancelled_without_its_worker,
        cancelled_as_it_was_given_back,
        given_up,
        unreadable,
    ],
)
def test_what_has_ended_has_no_checkpoint_and_nobody_else_loses_theirs(database: Engine, end: Any) -> None:
    other = begun(database)
    put(database, other, b"other", 1, 0.25)
    lease = begun_with_checkpoint(database)
    end(database, lease)
    assert look(database, lease.experiment_id).state in TERMINAL
    assert content(database, lease.experiment_id) is None
    assert content(database, other.experiment_id) == b"other"


@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_what_failed_shows_how_far_it_came_until_it_is_retried(database: Engine, state: State) -> None:
    experiment_id = MAKE[state](database)
    assert look(database, experiment_id).epoch == 1
    assert position(database, experiment_id) == (0, 0.0)


def test_a_deleted_experiment_s_checkpoint_is_gone(database: Engine) -> None:
    kept = begun(database)
    write(database, kept, checkpoint)
    lease = begun_with_checkpoint(database)
    paused(database, lease)
    transact(database, control.delete, lease.experiment_id)
    assert [row.experiment_id for row in all_rows(database)["checkpoints"]] == [kept.experiment_id]


def test_an_experiment_without_a_row_has_none(database: Engine) -> None:
    assert content(database, submit(database) + 1) is None
