"""Every error has one shape, whatever caused it."""

import subprocess
from collections.abc import Callable

import httpx
import pytest
from sqlalchemy import Engine

from service.store.tables import Event

JSON = {"Content-Type": "application/json"}
BASELINE = {"preset": "baseline"}
TOO_LARGE = 50 * 1024 * 1024

CAUSES: dict[str, tuple[Callable[[httpx.Client], httpx.Response], int, str]] = {
    "malformed JSON": (lambda api: api.post("/v1/experiments", content=b"{", headers=JSON), 422, "invalid_json"),
    "empty body": (lambda api: api.post("/v1/experiments", headers=JSON), 422, "invalid_request"),
    "a list": (lambda api: api.post("/v1/experiments", json=[]), 422, "invalid_request"),
    "a form": (lambda api: api.post("/v1/experiments", data={"preset": "baseline"}), 415, "unsupported_media"),
    "a wrong spec under a shouted content type": (
        lambda api: api.post("/v1/experiments", content=b"{}", headers={"Content-Type": "Application/JSON"}),
        422,
        "invalid_request",
    ),
    "a number of 5,000 digits": (
        lambda api: api.post("/v1/experiments", content=b"9" * 5000, headers=JSON),
        400,
        "unreadable_body",
    ),
    "true for an id": (
        lambda api: api.put("/v1/models/aliases/production", json={"experiment_id": True}),
        422,
        "invalid_request",
    ),
    "NaN": (
        lambda api: api.post("/v1/experiments", content=b'{"preset": "baseline", "rescale": NaN}', headers=JSON),
        422,
        "invalid_request",
    ),
    "half a surrogate": (
        lambda api: api.post("/v1/experiments", content=b'{"preset": "baseline", "name": "\\ud800"}', headers=JSON),
        422,
        "invalid_request",
    ),
    "NUL in a name": (
        lambda api: api.post("/v1/experiments", json={"preset": "baseline", "name": "a\0b"}),
        422,
        "invalid_request",
    ),
    "NUL in a filter": (lambda api: api.get("/v1/experiments", params={"tag": "\0"}), 422, "invalid_request"),
    "bad cursor": (lambda api: api.get("/v1/experiments?cursor=x"), 422, "invalid_request"),
    "huge cursor": (lambda api: api.get(f"/v1/experiments?cursor={10**30}"), 422, "invalid_request"),
    "bad state": (lambda api: api.get("/v1/experiments?state=asleep"), 422, "invalid_request"),
    "unknown id": (lambda api: api.get("/v1/experiments/7"), 404, "unknown_experiment"),
    "an id that is no number": (lambda api: api.get("/v1/experiments/seven"), 404, "unknown_experiment"),
    "a superscript id": (lambda api: api.get("/v1/experiments/²"), 404, "unknown_experiment"),
    "huge id": (lambda api: api.get(f"/v1/experiments/{2**31}"), 404, "unknown_experiment"),
    "huger id": (lambda api: api.post(f"/v1/experiments/{2**64}/cancel"), 404, "unknown_experiment"),
    "an unknown sweep": (lambda api: api.get("/v1/sweeps/7"), 404, "unknown_sweep"),
    "a sweep that is no number": (lambda api: api.get("/v1/sweeps/seven"), 404, "unknown_sweep"),
    "a huge sweep": (lambda api: api.get(f"/v1/sweeps/{2**31}/trials.csv"), 404, "unknown_sweep"),
    "cancelling a huge sweep": (lambda api: api.post(f"/v1/sweeps/{2**64}/cancel"), 404, "unknown_sweep"),
    "events of nothing": (lambda api: api.get("/v1/experiments/7/events"), 404, "unknown_experiment"),
    "bad Last-Event-ID": (
        lambda api: api.get(
            api.post("/v1/experiments", json=BASELINE).headers["Location"] + "/events",
            headers={"Last-Event-ID": "x"},
        ),
        422,
        "invalid_request",
    ),
    "pausing nothing": (lambda api: api.post("/v1/experiments/7/pause"), 404, "unknown_experiment"),
    "resuming no number": (lambda api: api.post("/v1/experiments/seven/resume"), 404, "unknown_experiment"),
    "retrying a negative number": (lambda api: api.post("/v1/experiments/-1/retry"), 404, "unknown_experiment"),
    "deleting nothing": (lambda api: api.delete("/v1/experiments/7"), 404, "unknown_experiment"),
    "deleting a huge id": (lambda api: api.delete(f"/v1/experiments/{2**64}"), 404, "unknown_experiment"),
    "deleting a superscript": (lambda api: api.delete("/v1/experiments/²"), 404, "unknown_experiment"),
    "attempts of nothing": (lambda api: api.get("/v1/experiments/7/attempts"), 404, "unknown_experiment"),
    "resuming what is queued": (
        lambda api: api.post(api.post("/v1/experiments", json=BASELINE).headers["Location"] + "/resume"),
        409,
        "illegal_transition",
    ),
    "retrying what is queued": (
        lambda api: api.post(api.post("/v1/experiments", json=BASELINE).headers["Location"] + "/retry"),
        409,
        "illegal_transition",
    ),
    "a number for reuse": (
        lambda api: api.post("/v1/experiments", json=BASELINE | {"reuse": 1}),
        422,
        "invalid_request",
    ),
    "a key of 256 characters": (
        lambda api: api.post("/v1/experiments", json=BASELINE, headers={"Idempotency-Key": "x" * 256}),
        422,
        "invalid_request",
    ),
    "metrics of nothing": (lambda api: api.get("/v1/experiments/7/metrics"), 404, "unknown_experiment"),
    "files of nothing": (lambda api: api.get("/v1/experiments/7/artifacts"), 404, "unknown_experiment"),
    "no model yet": (
        lambda api: api.post("/v1/predict", json={"images": [[0] * 784]}),
        404,
        "unknown_model",
    ),
    "a model nobody knows": (
        lambda api: api.post("/v1/models/nobody/predict", json={"images": [[0] * 784]}),
        404,
        "unknown_model",
    ),
    "a model's huge id": (
        lambda api: api.post(f"/v1/models/{10**20}/predict", json={"images": [[0] * 784]}),
        404,
        "unknown_model",
    ),
    "a model named NUL": (
        lambda api: api.post("/v1/models/%00/predict", json={"images": [[0] * 784]}),
        404,
        "unknown_model",
    ),
    "alias to nothing": (
        lambda api: api.put("/v1/models/aliases/production", json={"experiment_id": 7}),
        404,
        "unknown_experiment",
    ),
    "alias that is an id": (
        lambda api: api.put("/v1/models/aliases/7", json={"experiment_id": 7}),
        422,
        "invalid_input",
    ),
    "no such route": (lambda api: api.get("/v1/nothing"), 404, "no_such_route"),
    "wrong method": (lambda api: api.patch("/v1/presets"), 405, "method_not_allowed"),
    "a request that is looked at": (lambda api: api.get("/v1/experiments/7/pause"), 405, "method_not_allowed"),
    "deleting all experiments": (lambda api: api.delete("/v1/experiments"), 405, "method_not_allowed"),
    "putting an experiment": (lambda api: api.put("/v1/experiments/7", json=BASELINE), 405, "method_not_allowed"),
    "posting workers": (lambda api: api.post("/v1/workers", json={}), 405, "method_not_allowed"),
    "50 MB of JSON": (
        lambda api: api.post("/v1/experiments", content=bytes(TOO_LARGE), headers=JSON),
        413,
        "body_too_large",
    ),
    "50 MB in chunks": (
        lambda api: api.post("/v1/experiments", content=(bytes(2**20) for _ in range(50)), headers=JSON),
        413,
        "body_too_large",
    ),
    "50 MB to classify": (
        lambda api: api.post(
            "/v1/predict", content=bytes(TOO_LARGE), headers={"Content-Type": "application/octet-stream"}
        ),
        413,
        "body_too_large",
    ),
    "50 MB to classify in chunks": (
        lambda api: api.post(
            "/v1/predict", content=(bytes(2**20) for _ in range(50)), headers={"Content-Type": "image/png"}
        ),
        413,
        "body_too_large",
    ),
    "a 50 MB form": (
        lambda api: api.post("/v1/predict", files={"file": bytes(TOO_LARGE)}),
        413,
        "body_too_large",
    ),
}


@pytest.mark.parametrize(("cause", "status", "code"), CAUSES.values(), ids=CAUSES.keys())
def test_an_error_is_a_problem_document(
    api: httpx.Client, cause: Callable[[httpx.Client], httpx.Response], status: int, code: str
) -> None:
    answer = cause(api)
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json"), answer.text
    problem = answer.json()
    assert problem["status"] == status
    assert problem["code"] == code
    assert problem["type"] == f"urn:numeral:problem:{code}"
    assert problem["title"]
    assert problem["detail"].strip()
    assert "Traceback" not in answer.text
    assert api.get("/readyz").status_code == 200


def test_a_failure_of_the_service_is_a_problem_document_without_details(api: httpx.Client, database: Engine) -> None:
    Event.__table__.drop(database)
    try:
        answer = api.post("/v1/experiments", json={"preset": "baseline"})
    finally:
        Event.__table__.create(database)
    assert answer.status_code in (500, 503)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "events" not in answer.text
    # The experiment was not half written.
    assert api.get("/v1/experiments").json()["items"] == []


def test_curl_without_a_content_type_is_told_to_send_json(api: httpx.Client) -> None:
    """curl -d sends application/x-www-form-urlencoded."""
    command = ["curl", "--silent", "--data", '{"preset": "baseline"}', f"{api.base_url}/v1/experiments"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except FileNotFoundError:
        pytest.skip("curl is not installed")
    assert "application/json" in done.stdout
