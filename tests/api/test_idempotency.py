"""Idempotency keys over HTTP, on both databases: a request that comes often is carried out once."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from sqlalchemy import Engine, update

from service.specs.experiment import Submission
from service.specs.fingerprint import digest
from service.store import idempotency
from service.store.clock import now
from service.store.database import writing
from service.store.tables import Event, IdempotencyKey

BASELINE = {"preset": "baseline"}


def post(api: httpx.Client, key: str | bytes, body: dict[str, object] | None = None) -> httpx.Response:
    return api.post("/v1/experiments", json=body or BASELINE, headers={"Idempotency-Key": key})


def submitted(api: httpx.Client) -> list[int]:
    return [item["id"] for item in api.get("/v1/experiments", params={"limit": 500}).json()["items"]]


def age(database: Engine, seconds: float) -> None:
    """Let all keys be older."""
    with writing(database) as session:
        session.execute(update(IdempotencyKey).values(created_at=now(-seconds)))


def test_a_request_that_comes_again_is_answered_with_the_same_job(api: httpx.Client) -> None:
    first, second = post(api, "once"), post(api, "once")
    assert (first.status_code, second.status_code) == (202, 202)
    assert second.json() == first.json()
    assert second.headers["Location"] == first.headers["Location"]
    assert submitted(api) == [first.json()["id"]]


def test_the_answer_is_the_record_as_it_is_by_then(api: httpx.Client) -> None:
    path = post(api, "once").headers["Location"]
    api.post(f"{path}/cancel")
    again = post(api, "once")
    assert (again.status_code, again.json()["state"]) == (202, "cancelled")


def test_a_body_that_means_the_same_is_the_same(api: httpx.Client) -> None:
    first = post(api, "once").json()
    assert post(api, "once", first["spec"]).json()["id"] == first["id"]


@pytest.mark.parametrize("change", [{"epochs": 7}, {"name": "other"}, {"tags": ["x"]}, {"reuse": True}], ids=str)
def test_a_key_with_another_body_is_refused(api: httpx.Client, change: dict[str, object]) -> None:
    first = post(api, "once").json()["id"]
    refused = post(api, "once", BASELINE | change)
    assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_key_reused")
    assert "once" in refused.json()["detail"]
    assert submitted(api) == [first]
    assert post(api, "once").json()["id"] == first


def test_other_keys_and_none_make_other_jobs(api: httpx.Client) -> None:
    ids = [post(api, key).json()["id"] for key in ("a", "A", "a ~", "x" * 255, "0")]
    ids += [api.post("/v1/experiments", json=BASELINE).json()["id"] for _ in range(2)]
    assert len(set(ids)) == 7


def test_a_refused_body_takes_no_key(api: httpx.Client) -> None:
    assert post(api, "once", BASELINE | {"epochs": 0}).status_code == 422
    assert post(api, "once", BASELINE | {"dataset": "nope"}).status_code == 422
    assert post(api, "once").status_code == 202


def test_fifty_at_once_make_one_job(api: httpx.Client) -> None:
    barrier = threading.Barrier(50)

    def ask(_: int) -> httpx.Response:
        barrier.wait()
        return post(api, "once")

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(ask, range(50)))
    [job] = submitted(api)
    assert {answer.status_code for answer in answers} <= {202, 409}
    assert {answer.json()["id"] for answer in answers if answer.status_code == 202} == {job}
    refused = [answer for answer in answers if answer.status_code == 409]
    assert {answer.json()["code"] for answer in refused} <= {"request_in_flight"}
    # By now it is carried out: whoever was refused and asks again gets it.
    again = [post(api, "once") for _ in refused]
    assert all((answer.status_code, answer.json()["id"]) == (202, job) for answer in again)
    assert submitted(api) == [job]


# What dies when


def claim(database: Engine) -> None:
    """What a process has done that carries the request out at this moment, or died while it did."""
    body = Submission.model_validate(BASELINE).model_dump(mode="json")
    with writing(database) as session:
        idempotency.claim(session, "once", digest(body))


def test_a_request_in_flight_is_to_be_asked_for_again_in_a_second(api: httpx.Client, database: Engine) -> None:
    claim(database)
    answer = post(api, "once")
    assert (answer.status_code, answer.json()["code"]) == (409, "request_in_flight")
    assert answer.headers["Retry-After"] == "1"
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_request_whose_process_died_is_carried_out_by_who_comes_a_minute_later(
    api: httpx.Client, database: Engine
) -> None:
    claim(database)
    age(database, 59)
    assert post(api, "once").status_code == 409
    age(database, 61)
    taken_over = post(api, "once")
    assert taken_over.status_code == 202
    assert submitted(api) == [taken_over.json()["id"]] == [post(api, "once").json()["id"]]


def test_a_key_means_something_else_after_a_day(api: httpx.Client, database: Engine) -> None:
    first = post(api, "once").json()["id"]
    age(database, 24 * 60 * 60 - 60)
    assert post(api, "once").json()["id"] == first
    age(database, 24 * 60 * 60 + 1)
    second = post(api, "once", BASELINE | {"epochs": 2})
    assert second.status_code == 202
    assert second.json()["id"] != first


def test_a_request_that_failed_can_be_sent_again_at_once(api: httpx.Client, database: Engine) -> None:
    Event.__table__.drop(database)
    try:
        assert post(api, "once").status_code in (500, 503)
    finally:
        Event.__table__.create(database)
    answer = post(api, "once")
    assert answer.status_code == 202
    assert submitted(api) == [answer.json()["id"]]


def test_the_key_of_a_deleted_experiment_is_free(api: httpx.Client) -> None:
    first = post(api, "once")
    api.delete(first.headers["Location"]).raise_for_status()
    second = post(api, "once", BASELINE | {"epochs": 2})
    assert second.status_code == 202
    assert second.json()["id"] != first.json()["id"]


# What is no key

NO_KEYS: dict[str, str | bytes] = {
    "empty": "",
    "256 characters": "x" * 256,
    "a tab": "a\tb",
    "Latin-1": "schlüssel".encode("latin-1"),
    "UTF-8": "schlüssel".encode(),
    "an emoji": "🔑".encode(),
}


@pytest.mark.parametrize("key", NO_KEYS.values(), ids=NO_KEYS.keys())
def test_what_is_no_key_is_refused_with_the_headers_name(api: httpx.Client, key: str | bytes) -> None:
    answer = post(api, key)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert [error["field"] for error in answer.json()["errors"]] == ["Idempotency-Key"]
    assert submitted(api) == []


def test_key_and_body_are_both_looked_at(api: httpx.Client) -> None:
    answer = post(api, "x" * 256, BASELINE | {"epochs": 0})
    assert {error["field"] for error in answer.json()["errors"]} == {"Idempotency-Key", "epochs"}


# With reuse


def test_a_reused_experiment_is_what_its_key_stands_for(
    api: httpx.Client, trained: int, make_model: Callable[[str], int]
) -> None:
    body = BASELINE | {"epochs": 2, "reuse": True}
    first = post(api, "once", body)
    make_model("a newer one with the same spec")
    second = post(api, "once", body)
    assert [(answer.status_code, answer.json()["id"]) for answer in (first, second)] == [(200, trained)] * 2
