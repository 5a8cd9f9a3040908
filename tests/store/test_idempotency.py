"""Idempotency keys, on both databases: whatever dies when, a key never has two experiments."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, func, select, update

from service.errors import IdempotencyKeyReused, RequestInFlight
from service.specs.experiment import ExperimentSpec
from service.store import control, idempotency, queue
from service.store.clock import now
from service.store.database import reading, writing
from service.store.idempotency import IN_FLIGHT_SECONDS, KEPT_SECONDS, Claim
from service.store.tables import Experiment, IdempotencyKey

SPEC = ExperimentSpec.model_validate({"preset": "baseline"})


def claim(database: Engine, request: str = "request") -> Claim | Experiment:
    with writing(database) as session:
        return idempotency.claim(session, "key", request)


def claimed(database: Engine, request: str = "request") -> Claim:
    claim_ = claim(database, request)
    assert isinstance(claim_, Claim)
    return claim_


def carry_out(database: Engine, claim: Claim) -> int:
    with writing(database) as session:
        experiment_id = queue.enqueue(session, SPEC).id
        idempotency.complete(session, claim, experiment_id)
    return experiment_id


def release(database: Engine, claim: Claim) -> None:
    with writing(database) as session:
        idempotency.release(session, claim)


def age(database: Engine, seconds: float) -> None:
    with writing(database) as session:
        session.execute(update(IdempotencyKey).values(created_at=now(-seconds)))


def experiment_ids(database: Engine) -> list[int]:
    with reading(database) as session:
        return list(session.scalars(select(Experiment.id).order_by(Experiment.id)))


def keys(database: Engine) -> int:
    with reading(database) as session:
        return session.scalars(select(func.count()).select_from(IdempotencyKey)).one()


def test_a_new_key_is_claimed_and_then_stands_for_its_experiment(database: Engine) -> None:
    experiment_id = carry_out(database, claimed(database))
    again = claim(database)
    assert isinstance(again, Experiment)
    assert (again.id, again.name, again.tags) == (experiment_id, "baseline", [])


def test_a_claimed_key_is_in_flight(database: Engine) -> None:
    claimed(database)
    with pytest.raises(RequestInFlight, match="'key'"):
        claim(database)


@pytest.mark.parametrize("done", [False, True], ids=["in flight", "done"])
def test_another_request_is_refused(database: Engine, done: bool) -> None:
    first = claimed(database)
    if done:
        carry_out(database, first)
    with pytest.raises(IdempotencyKeyReused, match="'key'"):
        claim(database, "another request")


def test_a_released_key_is_free(database: Engine) -> None:
    release(database, claimed(database))
    assert keys(database) == 0
    claimed(database, "another request")


def test_a_completed_claim_is_not_released(database: Engine) -> None:
    """The answer to the commit that completed it may have been lost."""
    first = claimed(database)
    experiment_id = carry_out(database, first)
    release(database, first)
    again = claim(database)
    assert isinstance(again, Experiment)
    assert again.id == experiment_id


@pytest.mark.parametrize(
    ("done", "seconds", "free"),
    [
        (False, IN_FLIGHT_SECONDS - 2, False),
        (False, IN_FLIGHT_SECONDS + 1, True),
        (True, IN_FLIGHT_SECONDS + 1, False),
        (True, KEPT_SECONDS - 2, False),
        (True, KEPT_SECONDS + 1, True),
    ],
)
def test_an_old_key_is_free(database: Engine, done: bool, seconds: float, free: bool) -> None:
    first = claimed(database)
    if done:
        carry_out(database, first)
    age(database, seconds)
    if free:
        second = claimed(database, "another request")
        assert second.token != first.token
        # From now on it stands for that one.
        carry_out(database, second)
        assert isinstance(claim(database, "another request"), Experiment)
    else:
        with pytest.raises(IdempotencyKeyReused):
            claim(database, "another request")


def nothing(database: Engine, claim: Claim) -> None:
    pass


@pytest.mark.parametrize("go_on", [nothing, carry_out, release])
def test_whoever_was_taken_over_queues_nothing(database: Engine, go_on: Callable[[Engine, Claim], int | None]) -> None:
    slow = claimed(database)
    age(database, IN_FLIGHT_SECONDS + 1)
    go_on(database, claimed(database))
    before = experiment_ids(database), keys(database)
    with pytest.raises(RequestInFlight):
        carry_out(database, slow)
    release(database, slow)
    assert (experiment_ids(database), keys(database)) == before


def test_a_key_is_not_taken_over_while_its_request_is_being_committed(database: Engine) -> None:
    first = claimed(database)
    age(database, IN_FLIGHT_SECONDS + 1)
    with ThreadPoolExecutor(1) as pool:
        with writing(database) as session:
            experiment_id = queue.enqueue(session, SPEC).id
            idempotency.complete(session, first, experiment_id)
            second = pool.submit(claim, database)
        found = second.result(30)
    assert isinstance(found, Experiment)
    assert found.id == experiment_id


def test_a_deleted_experiments_key_is_free(database: Engine) -> None:
    experiment_id = carry_out(database, claimed(database))
    with writing(database) as session:
        control.delete(session, experiment_id)
    assert keys(database) == 0
    claimed(database, "another request")


def test_of_claimants_at_the_same_moment_one_gets_the_key(database: Engine) -> None:
    barrier = threading.Barrier(16)

    def take(_: int) -> Claim | None:
        barrier.wait()
        try:
            return claimed(database)
        except RequestInFlight:
            return None

    with ThreadPoolExecutor(16) as pool:
        winners = [claim for claim in pool.map(take, range(16)) if claim]
    assert len(winners) == 1
    age(database, IN_FLIGHT_SECONDS + 1)
    with ThreadPoolExecutor(16) as pool:
        heirs = [claim for claim in pool.map(take, range(16)) if claim]
    assert len(heirs) == 1
    assert heirs != winners
