"""What becomes of an experiment without its worker, on both databases: another attempt, and the history of them."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from service.errors import UnknownExperiment
from service.states import Request, State
from service.store import attempts, control, experiments, queue
from service.store.attempts import UNSPENT
from service.store.database import writing
from service.store.leases import Lease
from service.store.queue import CURABLE, MAX_RETRY_SECONDS
from tests.store.support import (
    EXPIRED,
    all_rows,
    begun,
    cancelled,
    claim,
    event_types,
    events,
    fail,
    give_back,
    heartbeat,
    history,
    look,
    lose,
    outcomes,
    reclaim,
    see,
    start,
    submit,
    succeed,
    transact,
    write,
)


def lose_worker(database: Engine, worker: str, retry_seconds: float = 0) -> None:
    """The worker claims what is next in the queue, and is not heard of any more."""
    claim(database, worker, lease_seconds=EXPIRED)
    assert reclaim(database, retry_seconds) == 1


# The history


def test_an_attempt_is_open_while_it_runs(database: Engine) -> None:
    lease = begun(database)
    write(database, lease, start, heartbeat)
    (attempt,) = see(database, attempts.of, lease.experiment_id)
    assert (attempt.number, attempt.worker, attempt.outcome, attempt.message) == (1, "worker-1", None, None)
    assert attempt.ended_at is None
    assert abs(attempt.started_at - look(database, lease.experiment_id).started_at) < timedelta(seconds=1)


@pytest.mark.parametrize(
    ("end", "outcome", "message"),
    [
        (succeed, "succeeded", None),
        (fail, "diverged", "The loss became NaN."),
        (cancelled, "cancelled", None),
        (lose, "process_killed", "The process was killed."),
        (give_back, "worker_shutdown", None),
    ],
    ids=lambda given: getattr(given, "__name__", ""),
)
def test_an_attempt_is_closed_with_what_ended_it(database: Engine, end: Any, outcome: str, message: str | None) -> None:
    experiment_id = write(database, begun(database), end)
    assert history(database, experiment_id) == [(1, "worker-1", outcome, message)]
    (attempt,) = see(database, attempts.of, experiment_id)
    assert attempt.ended_at is not None
    assert attempt.started_at <= attempt.ended_at


def test_attempts_are_numbered_in_order_whatever_they_count(database: Engine) -> None:
    experiment_id = submit(database)
    transact(database, give_back, claim(database, "first"))
    lose_worker(database, "second")
    transact(database, lose, claim(database, "third"))
    claim(database, "fourth")
    assert history(database, experiment_id) == [
        (1, "first", "worker_shutdown", None),
        (2, "second", "worker_lost", "Worker second was not heard of any more."),
        (3, "third", "process_killed", "The process was killed."),
        (4, "fourth", None, None),
    ]
    assert look(database, experiment_id).attempt == 3


def test_each_experiment_has_a_history_of_its_own(database: Engine) -> None:
    first, second = begun(database), begun(database)
    transact(database, give_back, first)
    assert outcomes(database, first.experiment_id) == ["worker_shutdown"]
    assert history(database, second.experiment_id) == [(1, "worker-1", None, None)]


def test_what_was_never_claimed_has_no_attempts(database: Engine) -> None:
    experiment_id = submit(database)
    transact(database, control.cancel, experiment_id)
    assert history(database, experiment_id) == []
    with pytest.raises(UnknownExperiment):
        see(database, attempts.of, experiment_id + 1)


# Giving back


@pytest.mark.parametrize("reason", sorted(UNSPENT))
def test_giving_back_queues_the_experiment_and_does_not_spend_the_attempt(database: Engine, reason: str) -> None:
    lease = begun(database)
    assert transact(database, queue.give_back, lease, reason) == State.QUEUED

    experiment = look(database, lease.experiment_id)
    assert (experiment.state, experiment.attempt, experiment.worker) == (State.QUEUED, 0, None)
    assert (experiment.lease_token, experiment.lease_expires_at, experiment.not_before) == (None, None, None)
    assert events(database, lease.experiment_id)[2:] == [("queued", {"reason": reason})]
    assert history(database, lease.experiment_id) == [(1, "worker-1", reason, None)]
    assert claim(database).attempt == 1


def test_giving_back_often_never_uses_up_the_attempts(database: Engine) -> None:
    experiment_id = submit(database, max_attempts=2)
    reasons = sorted(UNSPENT)
    for reason in reasons:
        transact(database, queue.give_back, claim(database), reason)
    lose_worker(database, "worker-1")
    for reason in reasons:
        transact(database, queue.give_back, claim(database), reason)
    experiment = look(database, experiment_id)
    assert (experiment.state, experiment.attempt) == (State.QUEUED, 1)
    lose_worker(database, "worker-2")

    experiment = look(database, experiment_id)
    assert (experiment.state, experiment.attempt) == (State.FAILED, 2)
    assert outcomes(database, experiment_id) == [*reasons, "worker_lost", *reasons, "worker_lost"]
    # Those that do not count are not told, and those that count are counted from 1.
    assert experiment.error == {
        "code": "worker_lost",
        "message": "Given up after 2 attempts. "
        "Attempt 1: worker_lost. Worker worker-1 was not heard of any more. "
        "Attempt 2: worker_lost. Worker worker-2 was not heard of any more.",
    }


# What the owner wants comes first


def by_giving_back(database: Engine, lease: Lease) -> str:
    transact(database, give_back, lease)
    return "worker_shutdown"


def by_losing_the_process(database: Engine, lease: Lease) -> str:
    transact(database, lose, lease)
    return "process_killed"


def by_losing_the_worker(database: Engine, lease: Lease) -> str:
    assert reclaim(database) == 1
    return "worker_lost"


@pytest.mark.parametrize("leave", [by_giving_back, by_losing_the_process, by_losing_the_worker])
@pytest.mark.parametrize(
    ("ask", "target"),
    [(control.cancel, State.CANCELLED), (control.pause, State.PAUSED)],
    ids=list(Request),
)
@pytest.mark.parametrize("max_attempts", [1, 2])
def test_an_experiment_that_is_left_by_its_worker_goes_where_its_owner_wants_it(
    database: Engine, leave: Any, ask: Any, target: State, max_attempts: int
) -> None:
    lease = begun(database, lease_seconds=EXPIRED, max_attempts=max_attempts)
    asked = f"{transact(database, ask, lease.experiment_id).requested}_requested"
    outcome = leave(database, lease)

    experiment = look(database, lease.experiment_id)
    assert (experiment.state, experiment.error, experiment.requested) == (target, None, None)
    assert (experiment.finished_at is not None) == (target == State.CANCELLED)
    assert experiment.not_before is None
    assert experiment.attempt == (0 if leave is by_giving_back else 1)
    assert outcomes(database, lease.experiment_id) == [outcome]
    assert event_types(database, lease.experiment_id) == ["queued", "running", asked, target]
    assert events(database, lease.experiment_id)[-1] == (target, {"reason": outcome})


# Losing


@pytest.mark.parametrize("code", sorted(CURABLE))
def test_an_attempt_that_came_to_nothing_is_followed_by_another(database: Engine, code: str) -> None:
    lease = begun(database)
    assert transact(database, queue.lose, lease, code, "It is gone.", 0) == State.QUEUED

    experiment = look(database, lease.experiment_id)
    assert (experiment.state, experiment.attempt, experiment.error) == (State.QUEUED, 1, None)
    assert (experiment.worker, experiment.lease_token, experiment.lease_expires_at) == (None, None, None)
    assert events(database, lease.experiment_id)[2:] == [("queued", {"reason": code})]
    assert history(database, lease.experiment_id) == [(1, "worker-1", code, "It is gone.")]
    assert claim(database).attempt == 2


@pytest.mark.parametrize("code", ["diverged", "out_of_memory", "training_error", "worker_shutdown", ""])
def test_what_another_attempt_would_not_cure_is_no_loss(database: Engine, code: str) -> None:
    lease = begun(database)
    before = all_rows(database)
    with pytest.raises(AssertionError):
        transact(database, queue.lose, lease, code, "It is gone.")
    assert all_rows(database) == before


def test_the_pause_before_another_attempt_doubles_with_each_up_to_a_limit(database: Engine) -> None:
    experiment_id = submit(database, max_attempts=100)
    pauses = []
    for _ in range(4):
        transact(database, queue.lose, claim(database), "process_exited", "It is gone.", 50)
        ended_at = see(database, attempts.of, experiment_id)[-1].ended_at
        pauses.append((look(database, experiment_id).not_before - ended_at).total_seconds())
        # Whoever wants it sooner says so.
        transact(database, control.pause, experiment_id)
        transact(database, control.resume, experiment_id)
    assert pauses == pytest.approx([50, 100, 200, MAX_RETRY_SECONDS], abs=1)


def test_the_pause_after_the_ninety_ninth_attempt_is_no_longer_than_any(database: Engine) -> None:
    lease = begun(database, max_attempts=100)
    with writing(database) as session:
        experiments.get(session, lease.experiment_id).attempt = 99
    transact(database, queue.lose, lease, "worker_lost", "It is gone.")
    (attempt,) = see(database, attempts.of, lease.experiment_id)
    pause = look(database, lease.experiment_id).not_before - attempt.ended_at
    assert pause.total_seconds() == pytest.approx(MAX_RETRY_SECONDS, abs=1)


def test_the_pause_after_a_lost_worker_is_the_same(database: Engine) -> None:
    lease = begun(database, lease_seconds=EXPIRED)
    reclaim(database, retry_seconds=20)
    (attempt,) = see(database, attempts.of, lease.experiment_id)
    pause = look(database, lease.experiment_id).not_before - attempt.ended_at
    assert pause.total_seconds() == pytest.approx(20, abs=1)


def test_the_attempt_that_was_the_only_one_fails_with_its_own_words(database: Engine) -> None:
    lease = begun(database, max_attempts=1)
    assert transact(database, lose, lease) == State.FAILED

    experiment = look(database, lease.experiment_id)
    assert (experiment.state, experiment.attempt, experiment.not_before) == (State.FAILED, 1, None)
    assert experiment.finished_at is not None
    assert experiment.error == {"code": "process_killed", "message": "The process was killed."}
    assert events(database, lease.experiment_id)[2:] == [("failed", experiment.error)]
    assert outcomes(database, lease.experiment_id) == ["process_killed"]


@pytest.mark.parametrize("max_attempts", [2, 3, 5])
def test_as_many_attempts_are_made_as_the_spec_allows(database: Engine, max_attempts: int) -> None:
    experiment_id = submit(database, max_attempts=max_attempts)
    states = [transact(database, lose, claim(database)) for _ in range(max_attempts)]
    assert states == [State.QUEUED] * (max_attempts - 1) + [State.FAILED]
    assert look(database, experiment_id).attempt == max_attempts
    assert event_types(database, experiment_id) == ["queued"] + ["running", "queued"] * (max_attempts - 1) + [
        "running",
        "failed",
    ]


def test_a_failure_after_several_attempts_tells_what_became_of_each(database: Engine) -> None:
    experiment_id = submit(database, max_attempts=3)
    lose_worker(database, "worker-1")
    transact(database, queue.lose, claim(database, "worker-2"), "process_killed", "It was killed (SIGKILL).", 0)
    lose_worker(database, "worker-3")

    experiment = look(database, experiment_id)
    assert experiment.state == State.FAILED
    assert experiment.error == {
        "code": "worker_lost",
        "message": "Given up after 3 attempts. "
        "Attempt 1: worker_lost. Worker worker-1 was not heard of any more. "
        "Attempt 2: process_killed. It was killed (SIGKILL). "
        "Attempt 3: worker_lost. Worker worker-3 was not heard of any more.",
    }
    assert events(database, experiment_id)[-1] == ("failed", experiment.error)
    # The last attempt has its own words, not all of them.
    assert history(database, experiment_id)[-1][2:] == ("worker_lost", "Worker worker-3 was not heard of any more.")


def test_a_retry_begins_to_count_anew_and_the_history_goes_on(database: Engine) -> None:
    experiment_id = submit(database, max_attempts=2)
    lose_worker(database, "old-1")
    lose_worker(database, "old-2")
    assert transact(database, control.retry, experiment_id).attempt == 0

    lose_worker(database, "new-1")
    assert look(database, experiment_id).state == State.QUEUED
    transact(database, give_back, claim(database, "passing"))
    lose_worker(database, "new-2")
    experiment = look(database, experiment_id)
    assert (experiment.state, experiment.attempt) == (State.FAILED, 2)
    assert [number for number, *_ in history(database, experiment_id)] == [1, 2, 3, 4, 5]
    assert experiment.error == {
        "code": "worker_lost",
        "message": "Given up after 2 attempts. "
        "Attempt 1: worker_lost. Worker new-1 was not heard of any more. "
        "Attempt 2: worker_lost. Worker new-2 was not heard of any more.",
    }


# Reclaiming


def test_only_what_has_an_expired_lease_is_reclaimed(database: Engine) -> None:
    lost, kept, waiting = (submit(database) for _ in range(3))
    claim(database, lease_seconds=EXPIRED)
    claim(database, lease_seconds=60)
    assert reclaim(database) == 1
    states = [look(database, experiment_id).state for experiment_id in (lost, kept, waiting)]
    assert states == [State.QUEUED, State.RUNNING, State.QUEUED]
    assert reclaim(database) == 0


def test_an_experiment_without_its_worker_goes_back_into_the_queue(database: Engine) -> None:
    lease = begun(database, lease_seconds=EXPIRED)
    reclaim(database)

    experiment = look(database, lease.experiment_id)
    assert (experiment.state, experiment.attempt) == (State.QUEUED, 1)
    assert (experiment.worker, experiment.lease_token, experiment.lease_expires_at) == (None, None, None)
    assert events(database, lease.experiment_id)[2:] == [("queued", {"reason": "worker_lost"})]
    lost = (1, "worker-1", "worker_lost", "Worker worker-1 was not heard of any more.")
    assert history(database, lease.experiment_id) == [lost]


def test_several_experiments_are_reclaimed_at_once_each_as_it_deserves(database: Engine) -> None:
    again = begun(database, lease_seconds=EXPIRED).experiment_id
    given_up = begun(database, lease_seconds=EXPIRED, max_attempts=1).experiment_id
    ended = begun(database, lease_seconds=EXPIRED).experiment_id
    kept = begun(database, lease_seconds=EXPIRED).experiment_id
    transact(database, control.cancel, ended)
    transact(database, control.pause, kept)
    assert reclaim(database) == 4
    states = [look(database, experiment_id).state for experiment_id in (again, given_up, ended, kept)]
    assert states == [State.QUEUED, State.FAILED, State.CANCELLED, State.PAUSED]
