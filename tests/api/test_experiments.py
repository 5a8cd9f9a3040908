"""Submitting, listing and showing over HTTP, on both databases."""

import asyncio
from pathlib import Path

import httpx
import pytest


def submit(api: httpx.Client, **body: object) -> dict:
    answer = api.post("/v1/experiments", json={"preset": "baseline"} | body)
    assert answer.status_code == 202, answer.text
    return answer.json()


def test_a_submitted_experiment_is_queued_and_can_be_found(api: httpx.Client) -> None:
    answer = api.post("/v1/experiments", json={"preset": "baseline", "name": "first", "tags": ["b", "a"]})
    assert answer.status_code == 202
    shown = api.get(answer.headers["Location"]).json()
    assert shown == answer.json()
    assert shown["state"] == "queued"
    assert shown["name"] == "first"
    assert shown["tags"] == ["b", "a"]
    assert shown["attempt"] == 0
    assert shown["progress"] == {"epoch": 0, "epochs": 6, "fraction": 0.0}
    assert shown["result"] is shown["error"] is shown["started_at"] is shown["finished_at"] is None
    assert shown["created_at"].endswith("Z")


def test_the_spec_comes_back_resolved_and_can_be_posted_again(api: httpx.Client) -> None:
    spec = submit(api, epochs=2)["spec"]
    assert spec["optimizer"] == {"name": "adadelta", "learning_rate": 1.0, "rho": 0.95, "epsilon": 1e-7}
    assert api.post("/v1/experiments", json=spec).json()["spec"] == spec


def test_pages_hold_every_experiment_once_newest_first(api: httpx.Client) -> None:
    ids = [submit(api)["id"] for _ in range(5)]
    seen, cursor = [], None
    while True:
        page = api.get("/v1/experiments", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == ids[::-1]


def test_lists_are_filtered_by_state_and_tag(api: httpx.Client) -> None:
    first, second = submit(api, tags=["blue"])["id"], submit(api, tags=["blue", "red"])["id"]
    api.post(f"/v1/experiments/{first}/cancel")

    def ids(**filters: str) -> list[int]:
        return [item["id"] for item in api.get("/v1/experiments", params=filters).json()["items"]]

    assert ids(tag="blue") == [second, first]
    assert ids(tag="red") == [second]
    assert ids(state="cancelled") == [first]
    assert ids(state="queued", tag="blue") == [second]
    assert ids(tag="green") == []


def test_results_are_shown_once_there(api: httpx.Client, trained: int) -> None:
    shown = api.get(f"/v1/experiments/{trained}").json()
    assert shown["state"] == "succeeded"
    assert shown["result"]["test_accuracy"] == 1.0
    metrics = api.get(f"/v1/experiments/{trained}/metrics").json()["items"]
    assert [row["epoch"] for row in metrics] == [1, 2]
    assert metrics[0]["val_loss"] is None
    evaluation = api.get(f"/v1/experiments/{trained}/evaluation").json()
    assert len(evaluation["confusion_matrix"]) == len(evaluation["per_class"]) == 10


def test_what_is_not_there_yet_says_so(api: httpx.Client) -> None:
    experiment_id = submit(api)["id"]
    assert api.get(f"/v1/experiments/{experiment_id}/metrics").json() == {"items": []}
    answer = api.get(f"/v1/experiments/{experiment_id}/evaluation")
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_reached"
    assert "queued" in answer.json()["detail"]


def test_more_requests_at_once_than_threads_are_all_answered(api: httpx.Client) -> None:
    first = submit(api)["id"]

    async def many() -> list[int]:
        # The test's own limits must not be the narrower ones.
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=api.base_url, limits=limits, timeout=60) as client:
            posts = [client.post("/v1/experiments", json={"preset": "baseline"}) for _ in range(60)]
            gets = [client.get(f"/v1/experiments/{first}") for _ in range(120)]
            return [answer.status_code for answer in await asyncio.gather(*posts, *gets)]

    assert asyncio.run(many()) == [202] * 60 + [200] * 120
    assert len(api.get("/v1/experiments", params={"limit": 500}).json()["items"]) == 61


REFUSED = {
    "no epochs": ({"preset": "baseline", "epochs": 0}, "epochs"),
    "text for a number": ({"preset": "baseline", "epochs": "2"}, "epochs"),
    "unknown field": ({"preset": "baseline", "epoch": 2}, "epoch"),
    "unknown preset": ({"preset": "nope"}, "preset"),
    "unknown dataset": ({"preset": "baseline", "dataset": "nope"}, "dataset"),
    "more images than there are": ({"preset": "baseline", "train_limit": 60_001}, "train_limit"),
    "no model": ({}, "model"),
    "unknown layer": ({"model": {"layers": [{"type": "lambda"}]}}, "model.layers[0]"),
    "a layer's wrong field": (
        {"model": {"layers": [{"type": "flatten"}, {"type": "dense", "units": 0}]}},
        "model.layers[1].units",
    ),
    "a missing field of a layer": ({"model": {"layers": [{"type": "conv2d"}]}}, "model.layers[0].filters"),
    "dense on a map": ({"model": {"layers": [{"type": "dense", "units": 9}]}}, "model.layers[0]"),
    "kernel larger than its input": (
        {"model": {"layers": [{"type": "conv2d", "filters": 1, "kernel_size": [29, 29]}]}},
        "model.layers[0].kernel_size",
    ),
    "a trillion parameters": (
        {"model": {"layers": [{"type": "flatten"}, *[{"type": "dense", "units": 10**6}] * 2]}},
        "model.layers[1]",
    ),
    "text for reuse": ({"preset": "baseline", "reuse": "yes"}, "reuse"),
    "null for reuse": ({"preset": "baseline", "reuse": None}, "reuse"),
    "wrong optimizer field": ({"preset": "baseline", "optimizer": {"name": "sgd", "rho": 1}}, "optimizer.rho"),
}


@pytest.mark.parametrize(("body", "field"), REFUSED.values(), ids=REFUSED.keys())
def test_an_impossible_spec_is_refused_with_its_field(api: httpx.Client, body: dict, field: str) -> None:
    answer = api.post("/v1/experiments", json=body)
    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert field in answer.json()["detail"]
    assert api.get("/v1/experiments").json()["items"] == []


def test_presets_are_complete_specs(api: httpx.Client) -> None:
    presets = api.get("/v1/presets").json()
    named = {preset["name"]: preset for preset in presets["items"]}
    assert named.keys() >= {"baseline", "batch-norm", "image-norm", "image-batch-norm", "extra-conv", "fast", "best"}
    assert named["baseline"]["parameters"] == 4_738_826
    assert named["baseline"]["published"] == {"test_accuracy": 0.9903, "test_loss": 0.0277}
    for preset in named.values():
        assert preset["summary"]
        assert api.post("/v1/experiments", json=preset["spec"]).status_code == 202
    [grid] = presets["sweeps"]
    assert (grid["name"], len(grid["published"])) == ("grid", 8)
    assert api.post("/v1/sweeps", json=grid["spec"]).status_code == 202


def test_datasets_are_listed(api: httpx.Client, tmp_path: Path) -> None:
    items = {item["name"]: item for item in api.get("/v1/datasets").json()["items"]}
    assert items["mnist"]["train_images"] == 60_000
    assert items["optdigits"]["image_shape"] == [28, 28]
