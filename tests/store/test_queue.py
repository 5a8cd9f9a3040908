"""The queue, on both databases: who gets which experiment, and for how long."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, insert
from sqlalchemy.orm import Session

from service.errors import UnknownExperiment
from service.specs.experiment import ExperimentSpec
from service.states import Request, State
from service.store import attempts, control, experiments, queue, results
from service.store.database import writing
from service.store.tables import Experiment
from tests.store.support import (
    EXPIRED,
    MAKE,
    NO_IDS,
    all_rows,
    begun,
    claim,
    event_types,
    events,
    give_back,
    heartbeat,
    let_pause_pass,
    look,
    outcomes,
    reclaim,
    see,
    spec,
    submit,
    transact,
    write,
)

# Putting in


def test_enqueue_keeps_the_experiment_as_it_was_asked_for(database: Engine) -> None:
    wanted = spec(name="first try", priority=7, epochs=3, max_attempts=5, tags=["zebra", "apple"])
    experiment_id = transact(database, queue.enqueue, wanted).id

    experiment = look(database, experiment_id)
    assert experiment.name == "first try"
    assert (experiment.priority, experiment.max_attempts) == (7, 5)
    assert experiment.tags == ["zebra", "apple"]
    assert experiment.progress == {"epoch": 0, "epochs": 3, "fraction": 0.0}
    assert (experiment.state, experiment.attempt, experiment.requested) == (State.QUEUED, 0, None)
    assert (experiment.cancel_requested, experiment.pause_requested) == (False, False)
    assert (experiment.worker, experiment.started_at, experiment.finished_at) == (None, None, None)
    assert (experiment.result, experiment.error, experiment.not_before) == (None, None, None)
    assert ExperimentSpec.model_validate(experiment.spec) == wanted
    assert see(database, attempts.of, experiment_id) == []


def test_enqueue_stamps_the_experiment_with_the_database_clock_in_utc(database: Engine) -> None:
    created = look(database, submit(database)).created_at
    assert created.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - created) < timedelta(seconds=30)


def test_the_first_event_says_that_it_is_queued(database: Engine) -> None:
    assert events(database, submit(database)) == [("queued", {})]


def test_nothing_is_queued_when_the_transaction_fails(database: Engine) -> None:
    def submit_and_fail(session: Session) -> None:
        queue.enqueue(session, spec(tags=["one"]))
        raise RuntimeError("afterwards")

    with pytest.raises(RuntimeError, match="afterwards"):
        transact(database, submit_and_fail)
    assert not any(all_rows(database).values())


# Claiming


def nothing_to_claim(database: Engine) -> bool:
    """Whether a claim finds nothing; a look before it must say the same."""
    claimed = transact(database, queue.claim, "worker-9", 60)
    assert see(database, queue.has_work) is False
    return claimed is None


def test_there_is_nothing_to_claim_in_an_empty_queue(database: Engine) -> None:
    assert nothing_to_claim(database)


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
    assert events(database, experiment_id)[1:] == [("running", {"attempt": 1, "worker": "worker-7"})]


def test_what_is_queued_is_work_until_it_is_claimed(database: Engine) -> None:
    submit(database)
    assert see(database, queue.has_work) is True
    claim(database)
    assert nothing_to_claim(database)


@pytest.mark.parametrize("state", [state for state in State if state != State.QUEUED])
def test_only_what_is_queued_can_be_claimed(database: Engine, state: State) -> None:
    MAKE[state](database)
    before = all_rows(database)
    assert nothing_to_claim(database)
    assert all_rows(database) == before


def test_a_lost_worker_s_experiment_is_no_work_until_it_is_reclaimed(database: Engine) -> None:
    begun(database, lease_seconds=EXPIRED)
    assert nothing_to_claim(database)
    reclaim(database)
    assert see(database, queue.has_work) is True


def test_what_waits_for_another_attempt_is_passed_over_until_its_pause_is_over(database: Engine) -> None:
    waiting = begun(database, lease_seconds=EXPIRED, priority=9).experiment_id
    reclaim(database, retry_seconds=100)
    assert look(database, waiting).not_before is not None
    assert nothing_to_claim(database)

    ready = submit(database, priority=-9)
    assert see(database, queue.has_work) is True
    assert claim(database).experiment_id == ready
    assert nothing_to_claim(database)

    let_pause_pass(database, waiting)
    assert see(database, queue.has_work) is True
    assert claim(database).experiment_id == waiting
    assert look(database, waiting).not_before is None


def test_every_claim_counts_an_attempt_and_has_a_token_of_its_own(database: Engine) -> None:
    submit(database, max_attempts=3)
    leases = []
    for _ in range(3):
        leases.append(claim(database, lease_seconds=EXPIRED))
        reclaim(database)
    assert [lease.attempt for lease in leases] == [1, 2, 3]
    assert len({lease.token for lease in leases}) == 3


def test_a_new_attempt_without_a_checkpoint_begins_at_epoch_0(database: Engine) -> None:
    lease = begun(database, lease_seconds=EXPIRED)
    transact(database, results.progress, lease, 0.4)
    reclaim(database)
    assert look(database, lease.experiment_id).progress == {"epoch": 0, "epochs": 4, "fraction": 0.0}
    claim(database)
    assert look(database, lease.experiment_id).progress == {"epoch": 0, "epochs": 4, "fraction": 0.0}


UNREADABLE = {"model": {"layers": [{"type": "hologram"}]}}


def test_a_spec_of_another_version_fails_and_does_not_stop_the_queue(database: Engine) -> None:
    strange, fine = submit(database, priority=1), submit(database)
    with writing(database) as session:
        experiments.get(session, strange).spec = UNREADABLE
    assert claim(database).experiment_id == fine

    experiment = look(database, strange)
    assert experiment.state == State.FAILED
    assert experiment.error is not None
    assert experiment.error["code"] == "invalid_spec"
    assert event_types(database, strange) == ["queued", "failed"]
    assert outcomes(database, strange) == ["invalid_spec"]


def test_a_spec_of_another_version_fails_whatever_it_holds(database: Engine) -> None:
    strange, fine = submit(database, priority=1), submit(database)
    with writing(database) as session:
        experiments.get(session, strange).spec = {"model": {"layers": [{"type": "holo\0gram"}]}}
    assert claim(database).experiment_id == fine
    assert look(database, strange).state == State.FAILED


def test_any_number_of_specs_of_another_version_does_not_stop_the_queue(database: Engine) -> None:
    strange = {"name": "strange", "spec": UNREADABLE, "priority": 1, "epochs": 1}
    transact(database, Session.execute, insert(Experiment), [strange] * 3 * queue.MAX_UNREADABLE)
    fine = submit(database)
    claims = [transact(database, queue.claim, "worker-1", 60) for _ in range(4)]
    # Each passes over so many that its transaction stays short.
    assert claims[:3] == [None] * 3
    assert claims[3].experiment_id == fine


# Keeping the lease


def test_a_heartbeat_keeps_an_experiment_from_being_reclaimed(database: Engine) -> None:
    write(database, begun(database, lease_seconds=EXPIRED), heartbeat)
    assert reclaim(database) == 0


def test_a_heartbeat_renews_the_lease_from_now_on(database: Engine) -> None:
    lease = begun(database, lease_seconds=60)
    before = look(database, lease.experiment_id).lease_expires_at
    transact(database, queue.heartbeat, lease, 600)
    after = look(database, lease.experiment_id).lease_expires_at
    assert before is not None
    assert after is not None
    assert timedelta(seconds=540) <= after - before < timedelta(seconds=570)


def test_a_heartbeat_leaves_no_event_behind(database: Engine) -> None:
    assert event_types(database, write(database, begun(database), heartbeat)) == ["queued", "running"]


@pytest.mark.parametrize(
    ("ask", "request_"), [(control.cancel, Request.CANCEL), (control.pause, Request.PAUSE)], ids=list(Request)
)
def test_a_heartbeat_tells_what_the_owner_wants(
    database: Engine, ask: Callable[[Session, int], Any], request_: Request
) -> None:
    lease = begun(database)
    assert transact(database, heartbeat, lease) is None
    transact(database, ask, lease.experiment_id)
    assert transact(database, heartbeat, lease) is request_


def test_a_heartbeat_does_not_tell_what_the_owner_has_withdrawn(database: Engine) -> None:
    lease = begun(database)
    transact(database, control.pause, lease.experiment_id)
    transact(database, control.resume, lease.experiment_id)
    assert transact(database, heartbeat, lease) is None


def test_a_worker_sees_the_requests_for_what_it_holds_and_no_others(database: Engine) -> None:
    cancelled, paused, undisturbed, another_s = (begun(database) for _ in range(4))
    for ask, lease in ((control.cancel, cancelled), (control.pause, paused), (control.pause, another_s)):
        transact(database, ask, lease.experiment_id)
    mine = [cancelled.token, paused.token, undisturbed.token, "0" * 32]
    assert see(database, queue.requests, mine) == {cancelled.token: Request.CANCEL, paused.token: Request.PAUSE}
    assert see(database, queue.requests, []) == {}


def test_a_request_is_not_passed_on_to_the_next_worker(database: Engine) -> None:
    first = begun(database)
    transact(database, control.pause, first.experiment_id)
    transact(database, give_back, first)
    transact(database, control.resume, first.experiment_id)
    second = claim(database)
    assert transact(database, heartbeat, second) is None
    assert see(database, queue.requests, [first.token, second.token]) == {}


# Ids


@pytest.mark.parametrize(
    "ask",
    [
        control.cancel,
        control.pause,
        control.resume,
        control.retry,
        control.delete,
        attempts.of,
        experiments.get,
        experiments.locked,
        experiments.metrics,
        experiments.evaluation,
    ],
    ids=lambda ask: ask.__name__,
)
def test_an_id_that_nothing_has_is_an_unknown_experiment(database: Engine, ask: Callable[[Session, int], Any]) -> None:
    with writing(database) as session:
        for experiment_id in NO_IDS:
            with pytest.raises(UnknownExperiment, match=f"no experiment {experiment_id}"):
                ask(session, experiment_id)
