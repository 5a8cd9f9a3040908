"""Checking a submission without submitting it, over HTTP, on both databases."""

import httpx
import pytest

DENSE = {"layers": [{"type": "flatten"}, {"type": "dense", "units": 64, "activation": "relu"}]}


@pytest.mark.parametrize(
    "body",
    [{"preset": "fast"}, {"preset": "best", "optimizer": {"learning_rate": 0.01}, "epochs": 2}, {"model": DENSE}],
)
def test_what_would_be_stored(api: httpx.Client, body: dict[str, object]) -> None:
    answer = api.post("/v1/experiments/validate", json=body)
    assert answer.status_code == 200
    assert api.get("/v1/experiments").json()["items"] == []
    assert api.post("/v1/experiments", json=body).json()["spec"] == answer.json()["spec"]


def test_the_size_of_a_model_and_of_its_layers(api: httpx.Client) -> None:
    layers = [{"type": "conv2d", "filters": 8}, {"type": "max_pooling2d"}, {"type": "flatten"}]
    found = api.post("/v1/experiments/validate", json={"model": {"layers": layers}}).json()
    assert found["parameters"] == 80 + (13 * 13 * 8 + 1) * 10
    assert found["layers"] == [
        {"shape": [26, 26, 8], "parameters": 80},
        {"shape": [13, 13, 8], "parameters": 0},
        {"shape": [1352], "parameters": 0},
    ]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"preset": "fast", "batch_size": 0}, "batch_size"),
        ({"preset": "nonsense"}, "preset"),
        ({"preset": "fast", "dataset": "nonsense"}, "dataset"),
        ({"preset": "fast", "train_limit": 60_001}, "train_limit"),
        (
            {"model": {"layers": [{"type": "conv2d", "filters": 8, "kernel_size": [29, 3]}]}},
            "model.layers[0].kernel_size",
        ),
        ({"preset": "fast", "surplus": 1}, "surplus"),
        ({}, "model"),
        (["no", "object"], "body"),
    ],
)
def test_refused_as_submitting_would_be(api: httpx.Client, body: object, field: str) -> None:
    checked, submitted = api.post("/v1/experiments/validate", json=body), api.post("/v1/experiments", json=body)
    assert checked.status_code == 422
    assert checked.headers["Content-Type"] == "application/problem+json"
    assert [error["field"] for error in checked.json()["errors"]] == [field]
    assert (checked.status_code, checked.json()) == (submitted.status_code, submitted.json())
