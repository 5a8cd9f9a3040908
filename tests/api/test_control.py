"""What an experiment's owner may ask for over HTTP, in every state, on both databases."""

from collections.abc import Callable

import httpx
import pytest
from sqlalchemy import Engine, func, select

from service.states import Request, State
from service.store import checkpoints, queue
from service.store.database import reading, writing
from service.store.leases import Lease
from service.store.tables import Base, Checkpoint, IdempotencyKey
from tests.store.support import make_trial

ASKED = {
    "cancel": {State.QUEUED: "cancelled", State.RUNNING: "running", State.PAUSED: "cancelled"},
    "pause": {State.QUEUED: "paused", State.RUNNING: "running"},
    "resume": {State.PAUSED: "queued"},
    "retry": {State.FAILED: "queued", State.CANCELLED: "queued"},
}
"""The state that each request leads to, from the states in which it is possible."""


@pytest.mark.parametrize("request_", ASKED)
def test_a_request_is_answered_with_the_record_or_refused(
    api: httpx.Client, bring: Callable[[State], int], request_: str
) -> None:
    for state in State:
        experiment_id = bring(state)
        answer = api.post(f"/v1/experiments/{experiment_id}/{request_}")
        if state in ASKED[request_]:
            assert answer.status_code == 202, answer.text
            assert answer.json()["state"] == ASKED[request_][state]
            assert answer.json() == api.get(f"/v1/experiments/{experiment_id}").json()
        else:
            assert (answer.status_code, answer.json()["code"]) == (409, "illegal_transition"), f"{request_} {state}"
            assert state in answer.json()["detail"]
            assert api.get(f"/v1/experiments/{experiment_id}").json()["state"] == state


def test_a_worker_pauses_with_a_checkpoint_and_another_goes_on_from_it(
    api: httpx.Client, database: Engine, enqueue: Callable[..., int], claim: Callable[[], Lease]
) -> None:
    path = f"/v1/experiments/{enqueue(epochs=4)}"
    lease = claim()
    asked = api.post(f"{path}/pause").json()
    assert (asked["state"], asked["pause_requested"], asked["cancel_requested"]) == ("running", True, False)
    assert api.post(f"{path}/pause").status_code == 202, "asking twice changes nothing"
    with writing(database) as session:
        assert queue.heartbeat(session, lease, 60) == Request.PAUSE
        checkpoints.put(session, lease, b"bundle", epoch=1, fraction=0.25)
        queue.give_back(session, lease, "paused")

    paused = api.get(path).json()
    assert (paused["state"], paused["pause_requested"], paused["worker"]) == ("paused", False, None)
    assert paused["progress"] == {"epoch": 1, "epochs": 4, "fraction": 0.25}
    assert api.post(f"{path}/resume").json()["progress"] == paused["progress"]
    claim()
    assert [attempt["outcome"] for attempt in api.get(f"{path}/attempts").json()["items"]] == ["paused", None]


def test_the_request_to_pause_can_be_withdrawn(
    api: httpx.Client, database: Engine, enqueue: Callable[..., int], claim: Callable[[], Lease]
) -> None:
    path = f"/v1/experiments/{enqueue()}"
    lease = claim()
    api.post(f"{path}/pause")
    withdrawn = api.post(f"{path}/resume")
    assert withdrawn.status_code == 202
    assert (withdrawn.json()["state"], withdrawn.json()["pause_requested"]) == ("running", False)
    with writing(database) as session:
        assert queue.heartbeat(session, lease, 60) is None


def test_a_running_experiment_is_cancelled_by_its_worker_even_if_it_was_to_be_paused(
    api: httpx.Client, database: Engine, enqueue: Callable[..., int], claim: Callable[[], Lease]
) -> None:
    path = f"/v1/experiments/{enqueue()}"
    lease = claim()
    api.post(f"{path}/pause")
    asked = api.post(f"{path}/cancel").json()
    assert (asked["state"], asked["cancel_requested"], asked["pause_requested"]) == ("running", True, False)
    with writing(database) as session:
        assert queue.heartbeat(session, lease, 60) == Request.CANCEL
    refused = api.post(f"{path}/pause")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")


def test_a_retried_experiment_has_all_of_its_attempts_before_it_and_keeps_its_history(
    api: httpx.Client, bring: Callable[[State], int]
) -> None:
    path = f"/v1/experiments/{bring(State.FAILED)}"
    assert api.get(path).json()["attempt"] == 1
    retried = api.post(f"{path}/retry").json()
    assert (retried["state"], retried["attempt"]) == ("queued", 0)
    assert retried["error"] is retried["finished_at"] is None
    assert [attempt["outcome"] for attempt in api.get(f"{path}/attempts").json()["items"]] == ["diverged"]


# Deleting


@pytest.mark.parametrize("state", [State.QUEUED, State.PAUSED, State.FAILED, State.CANCELLED])
def test_what_does_not_run_can_be_deleted_once(api: httpx.Client, bring: Callable[[State], int], state: State) -> None:
    path = f"/v1/experiments/{bring(state)}"
    deleted = api.delete(path)
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert (api.get(path).status_code, api.delete(path).status_code) == (404, 404)
    assert api.get("/v1/experiments").json()["items"] == []


def test_what_runs_cannot_be_deleted(api: httpx.Client, bring: Callable[[State], int]) -> None:
    path = f"/v1/experiments/{bring(State.RUNNING)}"
    refused = api.delete(path)
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert "running" in refused.json()["detail"]
    assert api.get(path).json()["state"] == "running"


def test_what_an_alias_means_cannot_be_deleted_until_it_means_another(
    api: httpx.Client, trained: int, make_model: Callable[[str], int]
) -> None:
    refused = api.delete(f"/v1/experiments/{trained}")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert "production" in refused.json()["detail"]
    api.put("/v1/models/aliases/production", json={"experiment_id": make_model("second")}).raise_for_status()
    assert api.delete(f"/v1/experiments/{trained}").status_code == 204


@pytest.mark.usefixtures("trained")
def test_nothing_in_the_database_refers_to_a_deleted_experiment(
    api: httpx.Client, database: Engine, make_model: Callable[[str], int]
) -> None:
    kept, gone = make_model("kept"), make_model("gone")
    keys = [key for table in Base.metadata.sorted_tables for key in table.foreign_keys]
    tables = {key.parent.table for key in keys if key.column.table.name == "experiments"}
    with writing(database) as session:
        for owner in (kept, gone):
            # An ended experiment that was not submitted over HTTP has none of these.
            session.add(Checkpoint(experiment_id=owner, epoch=0, fraction=0.0, size=1, content=b"x"))
            session.add(IdempotencyKey(key=f"key {owner}", request_sha256="", token="", experiment_id=owner))
        make_trial(session, kept, gone)

    def rows(owner: int) -> dict[str, int]:
        with reading(database) as session:
            return {
                table.name: session.scalars(
                    select(func.count()).select_from(table).where(table.c.experiment_id == owner)
                ).one()
                for table in tables
                # An experiment that an alias means is not deleted.
                if table.name != "aliases"
            }

    before = rows(kept)
    assert rows(gone) == before
    assert all(before.values())
    assert api.delete(f"/v1/experiments/{gone}").status_code == 204
    assert not any(rows(gone).values())
    assert rows(kept) == before


@pytest.mark.usefixtures("trained")
def test_a_deleted_model_is_not_served_any_more_though_it_is_loaded(
    api: httpx.Client, make_model: Callable[[str], int]
) -> None:
    second = make_model("second")
    image = {"images": [[0] * 784]}
    assert api.post(f"/v1/models/{second}/predict", json=image).json()["model"]["id"] == second
    api.delete(f"/v1/experiments/{second}").raise_for_status()
    refused = api.post(f"/v1/models/{second}/predict", json=image)
    assert (refused.status_code, refused.json()["code"]) == (404, "unknown_model")
    assert second not in [model["id"] for model in api.get("/v1/models").json()["items"]]
    assert api.get(f"/v1/experiments/{second}/artifacts/model.onnx").status_code == 404
    assert api.post("/v1/predict", json=image).status_code == 200
