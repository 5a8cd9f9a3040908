"""`reuse`: what has succeeded already is not trained again."""

from collections.abc import Callable

import httpx
import pytest
from sqlalchemy import Engine, update

from service.data.catalogue import CATALOGUE
from service.specs.experiment import ExperimentSpec
from service.specs.fingerprint import fingerprint
from service.states import State
from service.store.database import writing
from service.store.tables import Experiment

SAME = {"preset": "baseline", "epochs": 2}
"""What the made model was trained with."""


def post(api: httpx.Client, **given: object) -> httpx.Response:
    answer = api.post("/v1/experiments", json=SAME | {"reuse": True} | given)
    assert answer.is_success, answer.text
    assert answer.headers["Location"] == f"/v1/experiments/{answer.json()['id']}"
    return answer


def count(api: httpx.Client) -> int:
    return len(api.get("/v1/experiments").json()["items"])


@pytest.mark.parametrize(
    "given",
    [{}, {"name": "other", "tags": ["x"], "priority": -3, "max_attempts": 1}, {"optimizer": {"learning_rate": 1}}],
    ids=str,
)
def test_what_is_identical_and_succeeded_is_the_answer(
    api: httpx.Client, trained: int, given: dict[str, object]
) -> None:
    answer = post(api, **given)
    assert answer.status_code == 200
    assert answer.json() == api.get(f"/v1/experiments/{trained}").json()
    assert count(api) == 1


def test_a_spec_without_its_preset_is_the_same(api: httpx.Client, trained: int) -> None:
    spec = api.get(f"/v1/experiments/{trained}").json()["spec"]
    del spec["preset"]
    answer = api.post("/v1/experiments", json=spec | {"reuse": True})
    assert (answer.status_code, answer.json()["id"]) == (200, trained)


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize(
    "given",
    [{"epochs": 3}, {"seed": 1}, {"train_limit": 100}, {"dataset": "optdigits"}, {"rescale": 1.0}],
    ids=str,
)
def test_what_differs_is_queued(api: httpx.Client, given: dict[str, object]) -> None:
    answer = post(api, **given)
    assert (answer.status_code, answer.json()["state"]) == (202, "queued")
    assert "reuse" not in answer.json()["spec"]


def test_nothing_is_reused_that_was_not_to_be(api: httpx.Client, trained: int) -> None:
    for body in (SAME, SAME | {"reuse": False}):
        answer = api.post("/v1/experiments", json=body)
        assert answer.status_code == 202
        assert answer.json()["id"] != trained


@pytest.mark.parametrize("state", [State.QUEUED, State.RUNNING, State.FAILED, State.CANCELLED])
def test_what_has_not_succeeded_is_not_reused(
    api: httpx.Client, database: Engine, bring: Callable[[State], int], state: State
) -> None:
    first = bring(state)
    identity = fingerprint(ExperimentSpec.model_validate({"preset": "baseline"}), CATALOGUE["mnist"].sha256)
    with writing(database) as session:
        session.execute(update(Experiment).values(fingerprint=identity))
    answer = api.post("/v1/experiments", json={"preset": "baseline", "reuse": True})
    assert answer.status_code == 202
    assert answer.json()["id"] != first


def test_the_newest_is_the_answer(api: httpx.Client, trained: int, make_model: Callable[[str], int]) -> None:
    newest = make_model("second")
    assert post(api).json()["id"] == newest
    api.delete(f"/v1/experiments/{newest}").raise_for_status()
    assert post(api).json()["id"] == trained


@pytest.mark.usefixtures("trained")
def test_what_other_code_has_trained_is_not_reused(api: httpx.Client, database: Engine) -> None:
    with writing(database) as session:
        session.execute(update(Experiment).values(fingerprint="0" * 64))
    assert post(api).status_code == 202
