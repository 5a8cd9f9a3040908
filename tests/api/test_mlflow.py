"""What callers of MLflow's scoring server send and expect."""

from typing import Any

import httpx
import numpy as np
import pytest

import service

# What does not depend on the database.
on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@pytest.fixture
def images(bands: list[np.ndarray]) -> np.ndarray:
    """`(10, 28, 28)`, one image of each digit."""
    return np.stack(bands)


def digits(answer: httpx.Response) -> list[int]:
    assert answer.status_code == 200, answer.text
    assert list(answer.json()) == ["predictions"]
    predictions = np.array(answer.json()["predictions"])
    np.testing.assert_allclose(predictions.sum(axis=1), 1, atol=1e-5)
    return predictions.argmax(axis=1).tolist()


@on_sqlite
@pytest.mark.usefixtures("trained")
def test_every_form_of_input(api: httpx.Client, images: np.ndarray) -> None:
    shapes = [images, images.reshape(10, 28, 28, 1), images.reshape(10, 784), images / 2]
    bodies: list[dict[str, Any]] = [
        *({"instances": shape.tolist()} for shape in shapes),
        *({"inputs": shape.tolist()} for shape in shapes),
        *({"inputs": {"pixels": shape.tolist()}} for shape in shapes),
        {"dataframe_split": {"columns": list(range(784)), "data": images.reshape(10, 784).tolist()}},
        {"dataframe_split": {"index": list(range(10)), "data": images.reshape(10, 784).tolist()}, "params": {}},
        {"instances": images.tolist(), "params": {"batch_size": 5}},
    ]
    for body in bodies:
        assert digits(api.post("/invocations", json=body)) == list(range(10))


@on_sqlite
def test_charset_and_many_images(api: httpx.Client, trained: int, images: np.ndarray) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    answer = api.post("/invocations", json={"instances": np.tile(images, (40, 1, 1)).tolist()}, headers=headers)
    assert digits(answer) == list(range(10)) * 40
    assert f'numeral_predicted_images_total{{model="{trained}"}} 400.0' in api.get("/metrics").text


@on_sqlite
def test_predictions_are_those_of_the_other_routes(api: httpx.Client, trained: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 28, 28)).tolist()
    ours = api.post("/v1/predict", json={"images": image}).json()["predictions"][0]["probabilities"]
    theirs = api.post("/invocations", json={"instances": image}).json()["predictions"][0]
    np.testing.assert_allclose(theirs, ours, atol=1e-6)


def test_health_is_that_of_the_production_model(api: httpx.Client, request: pytest.FixtureRequest) -> None:
    for path in ("/ping", "/health"):
        assert api.get(path).status_code == 404
    missing = api.post("/invocations", json={"instances": [[0] * 784]})
    assert (missing.status_code, missing.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
    request.getfixturevalue("trained")
    for path in ("/ping", "/health"):
        answer = api.get(path)
        assert (answer.status_code, answer.text) == (200, "\n")
    assert api.get("/version").text == service.__version__


REFUSED = {
    "nothing": b"",
    "not JSON": b"{",
    "not UTF-8": b'{"instances": ["\xff"]}',
    "brackets without end": b'{"instances": ' + b"[" * 100_000,
    "a list": b"[[0]]",
    "no input": b"{}",
    "two inputs": b'{"instances": [[0]], "inputs": [[0]]}',
    "an unknown field": b'{"data": [[0]]}',
    "records": b'{"dataframe_records": [{"a": 0}]}',
    "no images": b'{"instances": []}',
    "null": b'{"instances": null}',
    "an object": b'{"instances": {"pixels": [[0]]}}',
    "another tensor": b'{"inputs": {"image": [[0]]}}',
    "a frame without data": b'{"dataframe_split": {"columns": []}}',
    "a frame that is a list": b'{"dataframe_split": []}',
    "783 numbers": b'{"instances": [[' + b"0," * 782 + b"0]]}",
    "an image that is not in a list": b'{"instances": [' + b"0," * 783 + b"0]}",
    "too bright": b'{"instances": [[' + b"0," * 783 + b"256]]}",
    "NaN": b'{"instances": [[' + b"0," * 783 + b"NaN]]}",
    "texts": b'{"instances": [[' + b"0," * 783 + b'"0"]]}',
}


@on_sqlite
@pytest.mark.usefixtures("trained")
def test_nonsense_is_refused(api: httpx.Client) -> None:
    for name, body in REFUSED.items():
        answer = api.post("/invocations", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 422, (name, answer.text)
        problem = answer.json()
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert (problem["error_code"], problem["message"]) == ("INVALID_PARAMETER_VALUE", problem["detail"])


@on_sqlite
def test_other_content_types_are_refused(api: httpx.Client) -> None:
    for kind in ("text/csv", "application/x-www-form-urlencoded", ""):
        answer = api.post("/invocations", content=b"{}", headers={"Content-Type": kind})
        assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media")
