"""The queue, on both databases: who gets which experiment, for how long, and what becomes of it without its worker."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from service.errors import IllegalTransition, LeaseLost, UnknownExperiment
from service.specs.experiment import ExperimentSpec
from service.states import State
from service.store import experiments, queue, results
from service.store.database import reading, writing
from service.store.queue import MAX_ATTEMPTS, Lease
from service.store.tables import Base, Experiment

EXPIRED = -1.0
"""Seconds of a lease that has run out when it is given."""

NO_IDS = [0, -1, 1, 2**31 - 1, 2**31, 2**63, 10**30]
"""Ids of no experiment, in an empty database."""


def spec(**given: Any) -> ExperimentSpec:
    return ExperimentSpec.model_validate({"model": {"layers": [{"type": "flatten"}]}} | given)


def submit(database: Engine, **given: Any) -> int:
    with writing(database) as session:
        return queue.enqueue(session, spec(**given)).id


def claim(database: Engine, worker: str = "worker-1", lease_seconds: float = 60) -> Lease:
    with writing(database) as session:
        lease = queue.claim(session, worker, lease_seconds)
    assert lease is not None
    return lease


def reclaim(database: Engine) -> int:
    with writing(database) as session:
        return queue.reclaim_expired(session)


def cancel(database: Engine, experiment_id: int) -> Experiment:
    with writing(database) as session:
        return queue.cancel(session, experiment_id)


def look(database: Engine, experiment_id: int) -> Experiment:
    with reading(database) as session:
        return experiments.get(session, experiment_id)


def events(database: Engine, experiment_id: int) -> list[tuple[int, str, dict[str, Any]]]:
    with reading(database) as session:
        return [(event.number, event.type, event.data) for event in experiments.events(session, experiment_id)]


def event_types(database: Engine, experiment_id: int) -> list[str]:
    found = events(database, experiment_id)
    assert [number for number, _, _ in found] == list(range(1, len(found) + 1)), "numbered without gaps"
    return [name for _, name, _ in found]


def all_rows(database: Engine) -> dict[str, Sequence[Any]]:
    """The whole content of the database."""
    with reading(database) as session:
        return {
            table.name: session.execute(select(table).order_by(*table.primary_key)).all()
            for table in Base.metadata.sorted_tables
        }


def at_once(count: int, work: Callable[[], Any]) -> list[Any]:
    """The results of `work` in as many threads, which all begin at the same moment."""
    barrier = threading.Barrier(count)

    def begin(_: int) -> Any:
        barrier.wait()
        return work()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(begin, range(count)))


# Putting in


def test_enqueue_keeps_the_experiment_as_it_was_asked_for(database: Engine) -> None:
    wanted = spec(name="first try", priority=7, epochs=3, tags=["zebra", "apple"])
    with writing(database) as session:
        experiment_id = queue.enqueue(session, wanted).id

    experiment = look(database, experiment_id)
    assert experiment.name == "first try"
    assert experiment.priority == 7
    assert experiment.tags == ["zebra", "apple"]
    assert experiment.progress == {"epoch": 0, "epochs": 3, "fraction": 0.0}
    assert (experiment.state, experiment.attempt, experiment.cancel_requested) == (State.QUEUED, 0, False)
    assert (experiment.worker, experiment.started_at, experiment.finished_at) == (None, None, None)
    assert (experiment.result, experiment.error) == (None, None)
    assert ExperimentSpec.model_validate(experiment.spec) == wanted


def test_enqueue_stamps_the_experiment_with_the_database_clock_in_utc(database: Engine) -> None:
    created = look(database, submit(database)).created_at
    assert created.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - created) < timedelta(seconds=30)


def test_the_first_event_says_that_it_is_queued(database: Engine) -> None:
    assert events(database, submit(database)) == [(1, "queued", {})]


def test_nothing_is_queued_when_the_transaction_fails(database: Engine) -> None:
    def submit_and_fail() -> None:
        with writing(database) as session:
            queue.enqueue(session, spec(tags=["one"]))
            raise RuntimeError("afterwards")

    with pytest.raises(RuntimeError, match="afterwards"):
        submit_and_fail()
    assert not any(all_rows(database).values())


# Claiming


def test_claim_returns_none_when_nothing_is_queued(database: Engine) -> None:
    with writing(database) as session:
        assert queue.claim(session, "worker-1", 60) is None


def test_claim_takes_the_highest_priority_and_then_the_oldest(database: Engine) -> None:
    ids = {priority: [submit(database, priority=priority) for _ in range(2)] for priority in (0, 5, -5)}
    assert [claim(database).experiment_id for _ in range(6)] == ids[5] + ids[0] + ids[-5]


def test_claim_makes_the_experiment_the_worker_s_until_the_lease_ends(database: Engine) -> None:
    experiment_id = submit(database, epochs=4)
    lease = claim(database, "worker-7", lease_seconds=60)

    assert (lease.experiment_id, lease.attempt, lease.spec) == (experiment_id, 1, spec(epochs=4))
    experiment = look(database, experiment_id)
    assert (experiment.state, experiment.worker, experiment.attempt) == (State.RUNNING, "worker-7", 1)
    assert experiment.lease_token == lease.token
    assert experiment.started_at is not None
    assert experiment.lease_expires_at is not None
    granted = experiment.lease_expires_at - experiment.started_at
    assert timedelta(seconds=59) < granted < timedelta(seconds=61)
    assert events(database, experiment_id)[1:] == [(2, "running", {"attempt": 1, "worker": "worker-7"})]


def test_what_is_claimed_is_not_claimed_again(database: Engine) -> None:
    submit(database)
    claim(database)
    with writing(database) as session:
        assert queue.claim(session, "worker-2", 60) is None


def test_every_claim_counts_an_attempt_and_has_a_token_of_its_own(database: Engine) -> None:
    submit(database)
    leases = []
    for _ in range(MAX_ATTEMPTS):
        leases.append(claim(database, lease_seconds=EXPIRED))
        reclaim(database)
    assert [lease.attempt for lease in leases] == [1, 2, 3]
    assert len({lease.token for lease in leases}) == 3


def test_a_new_attempt_begins_at_epoch_0(database: Engine) -> None:
    experiment_id = submit(database, epochs=4)
    lease = claim(database, lease_seconds=EXPIRED)
    with writing(database) as session:
        results.progress(session, lease, 0.4)
    reclaim(database)
    claim(database)
    assert look(database, experiment_id).progress == {"epoch": 0, "epochs": 4, "fraction": 0.0}


def test_a_spec_of_another_version_fails_and_does_not_stop_the_queue(database: Engine) -> None:
    strange, fine = submit(database, priority=1), submit(database)
    with writing(database) as session:
        experiments.get(session, strange).spec = {"model": {"layers": [{"type": "hologram"}]}}
    assert claim(database).experiment_id == fine

    experiment = look(database, strange)
    assert experiment.state == State.FAILED
    assert experiment.error is not None
    assert experiment.error["code"] == "invalid_spec"
    assert event_types(database, strange) == ["queued", "failed"]


def test_claimants_at_the_same_moment_get_different_experiments(database: Engine) -> None:
    ids = [submit(database) for _ in range(40)]

    def work_off() -> list[int]:
        taken = []
        while True:
            with writing(database) as session:
                lease = queue.claim(session, threading.current_thread().name, 60)
            if lease is None:
                return taken
            taken.append(lease.experiment_id)

    taken = [experiment_id for share in at_once(8, work_off) for experiment_id in share]
    assert sorted(taken) == ids


# Whether there is work


def test_an_empty_queue_has_no_work(database: Engine) -> None:
    with reading(database) as session:
        assert not queue.has_work(session)


def test_what_is_queued_is_work(database: Engine) -> None:
    submit(database)
    with reading(database) as session:
        assert queue.has_work(session)


@pytest.mark.parametrize(("lease_seconds", "work"), [(60, False), (EXPIRED, True)])
def test_what_runs_is_work_once_its_lease_has_run_out(database: Engine, lease_seconds: float, work: bool) -> None:
    submit(database)
    claim(database, lease_seconds=lease_seconds)
    with reading(database) as session:
        assert queue.has_work(session) is work


def test_what_has_ended_is_no_work(database: Engine) -> None:
    cancel(database, submit(database))
    with reading(database) as session:
        assert not queue.has_work(session)


# Keeping the lease


def test_a_heartbeat_keeps_an_experiment_from_being_reclaimed(database: Engine) -> None:
    submit(database)
    lease = claim(database, lease_seconds=EXPIRED)
    with writing(database) as session:
        queue.heartbeat(session, lease, 60)
    assert reclaim(database) == 0


def test_a_heartbeat_renews_the_lease_from_now_on(database: Engine) -> None:
    experiment_id = submit(database)
    lease = claim(database, lease_seconds=60)
    before = look(database, experiment_id).lease_expires_at
    with writing(database) as session:
        queue.heartbeat(session, lease, 600)
    after = look(database, experiment_id).lease_expires_at
    assert before is not None
    assert after is not None
    assert timedelta(seconds=540) <= after - before < timedelta(seconds=570)


def test_a_heartbeat_tells_when_the_owner_wants_the_end(database: Engine) -> None:
    experiment_id = submit(database)
    lease = claim(database)
    with writing(database) as session:
        assert queue.heartbeat(session, lease, 60) is False
    cancel(database, experiment_id)
    with writing(database) as session:
        assert queue.heartbeat(session, lease, 60) is True


def replaced(database: Engine, lease: Lease) -> None:
    reclaim(database)
    claim(database, "worker-2")


def reclaimed(database: Engine, lease: Lease) -> None:
    reclaim(database)


def given_back(database: Engine, lease: Lease) -> None:
    with writing(database) as session:
        queue.give_back(session, lease)


def ended(database: Engine, lease: Lease) -> None:
    with writing(database) as session:
        results.fail(session, lease, "training_error", "no", b"")


def deleted(database: Engine, lease: Lease) -> None:
    with writing(database) as session:
        session.delete(experiments.get(session, lease.experiment_id))


@pytest.mark.parametrize("lose", [replaced, reclaimed, given_back, ended, deleted])
@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda session, lease: queue.heartbeat(session, lease, 60), id="heartbeat"),
        pytest.param(queue.give_back, id="give_back"),
    ],
)
def test_a_worker_that_lost_its_lease_is_told_so_and_changes_nothing(
    database: Engine, lose: Callable[[Engine, Lease], None], write: Callable[[Session, Lease], Any]
) -> None:
    submit(database)
    lease = claim(database, lease_seconds=EXPIRED)
    lose(database, lease)
    before = all_rows(database)

    # The error is caught inside the transaction, which is then committed: it must not hold anything.
    with writing(database) as session, pytest.raises(LeaseLost):
        write(session, lease)
    assert all_rows(database) == before


# Giving back


def test_giving_back_queues_the_experiment_and_does_not_spend_the_attempt(database: Engine) -> None:
    experiment_id = submit(database)
    given_back(database, claim(database))

    experiment = look(database, experiment_id)
    assert (experiment.state, experiment.attempt, experiment.worker) == (State.QUEUED, 0, None)
    assert events(database, experiment_id)[-1] == (3, "queued", {"reason": "worker_shutdown"})
    assert claim(database).attempt == 1


def test_giving_back_often_never_uses_up_the_attempts(database: Engine) -> None:
    experiment_id = submit(database)
    for _ in range(MAX_ATTEMPTS + 1):
        given_back(database, claim(database))
    claim(database, lease_seconds=EXPIRED)
    reclaim(database)
    assert look(database, experiment_id).state == State.QUEUED


def test_giving_back_what_its_owner_wants_cancelled_cancels_it(database: Engine) -> None:
    experiment_id = submit(database)
    lease = claim(database)
    cancel(database, experiment_id)
    given_back(database, lease)
    assert look(database, experiment_id).state == State.CANCELLED


# Lost workers


def test_only_what_has_an_expired_lease_is_reclaimed(database: Engine) -> None:
    lost, kept, waiting = (submit(database) for _ in range(3))
    claim(database, lease_seconds=EXPIRED)
    claim(database, lease_seconds=60)
    assert reclaim(database) == 1
    assert [look(database, experiment_id).state for experiment_id in (lost, kept, waiting)] == [
        State.QUEUED,
        State.RUNNING,
        State.QUEUED,
    ]


def test_an_experiment_without_its_worker_goes_back_into_the_queue(database: Engine) -> None:
    experiment_id = submit(database)
    claim(database, lease_seconds=EXPIRED)
    reclaim(database)

    experiment = look(database, experiment_id)
    assert (experiment.state, experiment.attempt) == (State.QUEUED, 1)
    assert (experiment.worker, experiment.lease_token, experiment.lease_expires_at) == (None, None, None)
    assert events(database, experiment_id)[-1] == (3, "queued", {"reason": "worker_lost"})


def test_an_experiment_that_lost_every_worker_fails(database: Engine) -> None:
    experiment_id = submit(database)
    for attempt in range(1, MAX_ATTEMPTS + 1):
        claim(database, f"worker-{attempt}", lease_seconds=EXPIRED)
        reclaim(database)

    experiment = look(database, experiment_id)
    assert (experiment.state, experiment.attempt) == (State.FAILED, MAX_ATTEMPTS)
    assert experiment.finished_at is not None
    assert experiment.error is not None
    assert experiment.error["code"] == "worker_lost"
    assert "worker-3" in experiment.error["message"]
    assert events(database, experiment_id)[-1] == (7, "failed", experiment.error)
    assert event_types(database, experiment_id) == ["queued", *["running", "queued"] * 2, "running", "failed"]


def test_an_experiment_to_be_cancelled_is_not_begun_again_when_its_worker_is_lost(database: Engine) -> None:
    experiment_id = submit(database)
    claim(database, lease_seconds=EXPIRED)
    cancel(database, experiment_id)
    reclaim(database)

    experiment = look(database, experiment_id)
    assert (experiment.state, experiment.error) == (State.CANCELLED, None)
    assert experiment.finished_at is not None
    assert event_types(database, experiment_id) == ["queued", "running", "cancel_requested", "cancelled"]


def test_a_lost_worker_is_counted_once_by_workers_that_look_at_the_same_moment(database: Engine) -> None:
    ids = [submit(database) for _ in range(6)]
    for _ in ids:
        claim(database, lease_seconds=EXPIRED)
    assert sum(at_once(4, lambda: reclaim(database))) == 6
    assert {tuple(event_types(database, experiment_id)) for experiment_id in ids} == {("queued", "running", "queued")}


# Cancelling


def test_a_queued_experiment_is_cancelled_at_once(database: Engine) -> None:
    experiment_id = submit(database)
    assert cancel(database, experiment_id).state == State.CANCELLED
    assert look(database, experiment_id).finished_at is not None
    assert event_types(database, experiment_id) == ["queued", "cancelled"]
    with writing(database) as session:
        assert queue.claim(session, "worker-1", 60) is None


def test_a_running_experiment_stays_its_worker_s_until_that_sees_the_wish(database: Engine) -> None:
    experiment_id = submit(database)
    claim(database)
    asked = cancel(database, experiment_id)
    assert (asked.state, asked.cancel_requested) == (State.RUNNING, True)
    assert event_types(database, experiment_id) == ["queued", "running", "cancel_requested"]


def test_asking_twice_for_the_end_of_a_running_experiment_is_one_wish(database: Engine) -> None:
    experiment_id = submit(database)
    claim(database)
    cancel(database, experiment_id)
    cancel(database, experiment_id)
    assert event_types(database, experiment_id) == ["queued", "running", "cancel_requested"]


def fail(session: Session, lease: Lease) -> None:
    results.fail(session, lease, "training_error", "no", b"")


def end_cancelled(session: Session, lease: Lease) -> None:
    results.cancelled(session, lease, b"")


@pytest.mark.parametrize("end", [fail, end_cancelled])
def test_what_has_ended_cannot_be_cancelled(database: Engine, end: Callable[[Session, Lease], None]) -> None:
    experiment_id = submit(database)
    lease = claim(database)
    with writing(database) as session:
        end(session, lease)
    before = all_rows(database)
    with writing(database) as session, pytest.raises(IllegalTransition, match="cannot become cancelled"):
        queue.cancel(session, experiment_id)
    assert all_rows(database) == before


def test_cancelling_while_workers_claim_ends_or_asks_but_never_both(database: Engine) -> None:
    ids = [submit(database) for _ in range(12)]

    def claim_one() -> Lease | None:
        with writing(database) as session:
            return queue.claim(session, "worker-1", 60)

    with ThreadPoolExecutor(6) as pool:
        claims = [pool.submit(claim_one) for _ in ids]
        for cancelled in [pool.submit(cancel, database, experiment_id) for experiment_id in ids]:
            cancelled.result()
        leases = {lease.experiment_id for future in claims if (lease := future.result())}

    for experiment_id in ids:
        experiment = look(database, experiment_id)
        if experiment_id in leases:
            assert (experiment.state, experiment.cancel_requested) == (State.RUNNING, True)
            assert event_types(database, experiment_id) == ["queued", "running", "cancel_requested"]
        else:
            assert experiment.state == State.CANCELLED
            assert event_types(database, experiment_id) == ["queued", "cancelled"]


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_a_cancellation_that_had_to_wait_for_a_claim_has_seen_it(database: Engine) -> None:
    experiment_id = submit(database)

    def somebody_waits() -> bool:
        with reading(database) as session:
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            return bool(session.connection().exec_driver_sql(waiting).scalar_one())

    with ThreadPoolExecutor(1) as pool:
        with writing(database) as session:
            queue.claim(session, "worker-1", 60)
            asked = pool.submit(cancel, database, experiment_id)
            while not (asked.done() or somebody_waits()):
                pass
        assert (asked.result().state, asked.result().cancel_requested) == (State.RUNNING, True)
    assert event_types(database, experiment_id) == ["queued", "running", "cancel_requested"]


@pytest.mark.parametrize(
    "ask", [queue.cancel, experiments.get, experiments.metrics, experiments.evaluation], ids=lambda ask: ask.__name__
)
def test_an_id_that_nothing_has_is_an_unknown_experiment(database: Engine, ask: Callable[[Session, int], Any]) -> None:
    with writing(database) as session:
        for experiment_id in NO_IDS:
            with pytest.raises(UnknownExperiment, match=f"no experiment {experiment_id}"):
                ask(session, experiment_id)


# Many at once


def test_transactions_that_read_and_then_write_do_not_fail_each_other(database: Engine) -> None:
    experiment_id = submit(database)

    def add_tens() -> None:
        for _ in range(10):
            with writing(database) as session:
                experiment = experiments.get(session, experiment_id)
                session.refresh(experiment, with_for_update=True)
                experiment.priority += 1

    at_once(8, add_tens)
    assert look(database, experiment_id).priority == 80
