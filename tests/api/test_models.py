"""Models and aliases over HTTP: promoting with gates, taking back, history, and models that cannot be served."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from sqlalchemy import Engine, update

from service.card import Golden, ServingCard, Variant
from service.schemas import Alias, AliasHistory, ModelDetails
from service.store import artifacts
from service.store.database import reading, writing
from service.store.tables import Experiment

PRODUCTION = "/v1/models/aliases/production"
STAGING = "/v1/models/aliases/staging"

Put = Callable[[int, str, bytes], None]


@pytest.fixture
def put(database: Engine) -> Put:
    """Gives a model another file."""

    def put(model_id: int, name: str, content: bytes) -> None:
        with writing(database) as session:
            artifacts.put(session, model_id, name, content)

    return put


@pytest.fixture
def second(make_model: Callable[[str], int], trained: int) -> int:
    """A model that no alias means."""
    return make_model("second")


def promote(api: httpx.Client, path: str, experiment_id: int, **given: Any) -> httpx.Response:
    return api.put(path, json={"experiment_id": experiment_id} | given)


def refused(answer: httpx.Response, status: int, code: str) -> str:
    """What the problem says, if it is this one."""
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    return answer.json()["detail"]


def answering(api: httpx.Client, reference: str = "production") -> int:
    answer = api.post(f"/v1/models/{reference}/predict", json={"images": [[0] * 784]})
    return answer.raise_for_status().json()["model"]["id"]


def add_int8(database: Engine, put: Put, model_id: int, accuracy: float) -> None:
    """An int8 model, which is in fact the same."""
    with reading(database) as session:
        onnx = artifacts.get(session, model_id, "model.onnx").content
    put(model_id, "model.int8.onnx", onnx)
    card = ServingCard(test_accuracy={Variant.FP32: 1.0, Variant.INT8: accuracy})
    put(model_id, "serving.json", card.model_dump_json().encode())


# Models


def test_a_model_is_shown_by_alias_and_by_id(
    api: httpx.Client, trained: int, second: int, database: Engine, put: Put
) -> None:
    add_int8(database, put, second, accuracy=0.9875)
    shown = ModelDetails.model_validate(api.get(f"/v1/models/{second}").raise_for_status().json())
    assert (shown.id, shown.name, shown.dataset, shown.aliases, shown.int8) == (second, "second", "mnist", [], True)
    assert [(file.variant, file.name, file.test_accuracy) for file in shown.files] == [
        ("fp32", "model.onnx", 1.0),
        ("int8", "model.int8.onnx", 0.9875),
    ]
    listed = api.get(f"/v1/experiments/{second}/artifacts").json()["items"]
    assert {(file.name, file.sha256, file.size) for file in shown.files} < {
        (item["name"], item["sha256"], item["size"]) for item in listed
    }
    assert api.get("/v1/models/production").json() == api.get(f"/v1/models/{trained}").json()
    assert [(item["id"], item["int8"]) for item in api.get("/v1/models").json()["items"]] == [
        (second, True),
        (trained, False),
    ]
    for reference in ("none", "999", "x y", "%00"):
        refused(api.get(f"/v1/models/{reference}"), 404, "unknown_model")


def test_a_model_with_a_card_that_cannot_be_read_is_shown(api: httpx.Client, trained: int, put: Put) -> None:
    put(trained, "serving.json", b"{")
    assert [file["test_accuracy"] for file in api.get(f"/v1/models/{trained}").json()["files"]] == [1.0]


# Promoting and taking back


def test_an_alias_is_promoted_rolled_back_and_its_history_is_told(
    api: httpx.Client, trained: int, second: int, database: Engine, put: Put
) -> None:
    add_int8(database, put, second, accuracy=0.99)
    promoted = promote(api, PRODUCTION, second, variant="int8")
    assert promoted.status_code == 200
    alias = Alias.model_validate(promoted.json())
    assert (alias.alias, alias.experiment_id, alias.variant, alias.number) == ("production", second, "int8", 2)
    assert api.get(PRODUCTION).json() == promoted.json()
    assert answering(api) == second
    assert promote(api, PRODUCTION, second, variant="int8").json() == promoted.json()

    back = api.post(f"{PRODUCTION}/rollback").raise_for_status().json()
    assert (back["experiment_id"], back["variant"], back["number"]) == (trained, "fp32", 3)
    assert answering(api) == trained
    assert api.post(f"{PRODUCTION}/rollback").json()["experiment_id"] == second
    assert answering(api) == second

    told = AliasHistory.model_validate(api.get(f"{PRODUCTION}/history").json()).items
    assert [(change.number, change.experiment_id, change.variant, change.action) for change in told] == [
        (4, second, "int8", "rollback"),
        (3, trained, "fp32", "rollback"),
        (2, second, "int8", "promote"),
        (1, trained, "fp32", "first"),
    ]


def test_there_is_no_going_back_without_anything_earlier(
    api: httpx.Client, trained: int, second: int, make_model: Callable[[str], int]
) -> None:
    assert "nothing to go back to" in refused(api.post(f"{PRODUCTION}/rollback"), 409, "conflict")
    promote(api, PRODUCTION, second).raise_for_status()
    api.delete(f"/v1/experiments/{trained}").raise_for_status()
    assert "deleted" in refused(api.post(f"{PRODUCTION}/rollback"), 409, "conflict")
    assert answering(api) == second
    promote(api, PRODUCTION, make_model("third")).raise_for_status()
    assert [item["experiment_id"] for item in api.get(f"{PRODUCTION}/history").json()["items"]][1:] == [second, trained]


@pytest.mark.usefixtures("trained")
def test_aliases_are_listed_shadow_and_are_deleted(api: httpx.Client, second: int) -> None:
    promote(api, STAGING, second, shadows="production").raise_for_status()
    listed = api.get("/v1/models/aliases").json()["items"]
    assert [(item["alias"], item["shadows"]) for item in listed] == [("production", None), ("staging", "production")]
    assert "shadowed by staging" in refused(api.delete(PRODUCTION), 409, "conflict")
    refused(promote(api, STAGING, second, shadows="staging"), 422, "invalid_input")
    refused(promote(api, STAGING, second, shadows="none"), 409, "conflict")
    assert api.delete(STAGING).status_code == 204
    refused(api.delete(STAGING), 404, "unknown_alias")
    refused(api.get(STAGING), 404, "unknown_alias")
    refused(api.post(f"{STAGING}/rollback"), 404, "unknown_alias")
    assert [item["action"] for item in api.get(f"{STAGING}/history").json()["items"]] == ["delete", "promote"]
    refused(api.get("/v1/models/aliases/never/history"), 404, "unknown_alias")
    refused(api.post("/v1/models/staging/predict", json={"images": [[0] * 784]}), 404, "unknown_model")


# Gates


def measure(database: Engine, model_id: int, accuracy: float) -> None:
    with writing(database) as session:
        session.execute(update(Experiment).where(Experiment.id == model_id).values(test_accuracy=accuracy))


def say_tested_on(put: Put, model_id: int, sha256: str) -> None:
    put(model_id, "manifest.json", json.dumps({"dataset": {"sha256": sha256}}).encode())


def test_what_does_not_pass_a_gate_is_refused_with_the_figures(
    api: httpx.Client, trained: int, second: int, database: Engine, put: Put
) -> None:
    measure(database, second, 0.9712)
    said = refused(promote(api, PRODUCTION, second, minimum_accuracy=0.98), 409, "gate_failed")
    assert "0.9712" in said
    assert "0.9800" in said
    said = refused(promote(api, PRODUCTION, second, not_worse=True), 409, "gate_failed")
    assert "cannot be compared" in said
    say_tested_on(put, trained, "a" * 64)
    say_tested_on(put, second, "a" * 64)
    said = refused(promote(api, PRODUCTION, second, not_worse=True), 409, "gate_failed")
    assert "0.9712" in said
    assert "1.0000" in said
    assert answering(api) == trained
    assert len(api.get(f"{PRODUCTION}/history").json()["items"]) == 1
    assert promote(api, STAGING, second, minimum_accuracy=0.9712, not_worse=True).status_code == 200


REFUSED_TARGETS = {
    "an unknown variant": {"variant": "int4"},
    "a share above 1": {"minimum_accuracy": 1.01},
    "a share as text": {"minimum_accuracy": "0.9"},
    "no truth": {"not_worse": "yes"},
    "an id as text": {"experiment_id": "1"},
    "an unknown field": {"force": True},
}


@pytest.mark.parametrize("given", REFUSED_TARGETS.values(), ids=REFUSED_TARGETS.keys())
def test_a_target_that_is_none_is_refused(api: httpx.Client, trained: int, given: dict[str, Any]) -> None:
    answer = api.put(STAGING, json={"experiment_id": trained} | given)
    refused(answer, 422, "invalid_request")
    assert answer.json()["errors"][0]["field"] == next(iter(given))


def test_what_cannot_be_served_is_named(api: httpx.Client, trained: int, enqueue: Callable[..., int]) -> None:
    assert "no model in int8" in refused(promote(api, STAGING, trained, variant="int8"), 409, "conflict")
    assert "is queued" in refused(promote(api, STAGING, enqueue()), 409, "conflict")
    refused(promote(api, STAGING, 2**40), 404, "unknown_experiment")
    for name in ("Staging", "1", "aliases"):
        refused(promote(api, f"/v1/models/aliases/{name}", trained), 422, "invalid_input")


# Models that cannot be served


def wrong_golden() -> bytes:
    images = np.zeros(784, np.uint8).tobytes()
    golden = Golden(images=images, probabilities={Variant.FP32: [[1.0] + [0.0] * 9]})
    return ServingCard(golden=golden).model_dump_json().encode()


DAMAGE = {
    "absent weights": ("model.onnx", b""),
    "no model": ("model.onnx", b"this is no model"),
    "golden predictions that do not come out": ("serving.json", wrong_golden()),
    "a broken card": ("serving.json", b'{"format": 1,'),
}


@pytest.mark.parametrize(("name", "content"), DAMAGE.values(), ids=DAMAGE.keys())
def test_a_model_that_cannot_be_served_is_refused_and_the_old_one_goes_on(
    api: httpx.Client, trained: int, second: int, put: Put, name: str, content: bytes
) -> None:
    put(second, name, content)
    refused(promote(api, PRODUCTION, second), 409, "model_refused")
    assert answering(api) == trained
    assert api.get(PRODUCTION).json()["number"] == 1
    assert len(api.get(f"{PRODUCTION}/history").json()["items"]) == 1


def test_a_truncated_model_is_refused(api: httpx.Client, trained: int, second: int, database: Engine, put: Put) -> None:
    with reading(database) as session:
        onnx = artifacts.get(session, second, "model.onnx").content
    for length in (len(onnx) // 2, len(onnx) - 1):
        put(second, "model.onnx", onnx[:length])
        refused(promote(api, PRODUCTION, second), 409, "model_refused")
    assert answering(api) == trained


def test_a_model_that_was_damaged_since_is_not_rolled_back_to(
    api: httpx.Client, trained: int, second: int, put: Put
) -> None:
    promote(api, PRODUCTION, second).raise_for_status()
    put(trained, "model.onnx", b"")
    refused(api.post(f"{PRODUCTION}/rollback"), 409, "model_refused")
    assert answering(api) == second


# Under load


def test_after_the_acknowledgement_no_answer_is_the_old_models(api: httpx.Client, trained: int, second: int) -> None:
    stop = False
    answers: list[int] = []

    def load() -> None:
        with httpx.Client(base_url=api.base_url, timeout=30) as client:
            while not stop:
                answers.append(answering(client))

    with ThreadPoolExecutor(2) as pool:
        loads = [pool.submit(load) for _ in range(2)]
        for turn in range(20):
            wanted = (second, trained)[turn % 2]
            promote(api, PRODUCTION, wanted).raise_for_status()
            assert answering(api) == wanted
        stop = True
        for done in loads:
            done.result()
    assert set(answers) == {trained, second}
    assert api.get(PRODUCTION).json()["number"] == 21


def test_promotions_at_the_same_moment_all_succeed(api: httpx.Client, trained: int, second: int) -> None:
    def one(turn: int) -> int:
        return promote(api, STAGING, (trained, second)[turn % 2]).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(one, range(24))) == {200}
    numbers = [item["number"] for item in api.get(f"{STAGING}/history").json()["items"]]
    assert numbers == list(range(len(numbers), 0, -1))
