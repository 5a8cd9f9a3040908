"""Sweeps over HTTP and on the command line. The API leads them; the worker is played by what a worker writes."""

import csv
import io
import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

from service.client import Client
from service.store import queue
from service.store.database import writing
from tests.api.conftest import Run, refused, said
from tests.sweeps.support import finish

BASE = {"preset": "baseline", "dataset": "optdigits", "epochs": 2}
SPACE = {"optimizer.learning_rate": [0.1, 1.0], "batch_size": [32, 64]}
DEADLINE_SECONDS = 30


@pytest.fixture
def create(api: httpx.Client) -> Callable[..., dict[str, Any]]:
    """Begins a sweep of four points, two at a time; returns what was answered."""

    def create(**given: Any) -> dict[str, Any]:
        answer = api.post("/v1/sweeps", json={"name": "sizes", "base": BASE, "space": SPACE, "tags": ["made"]} | given)
        assert answer.status_code == 202, answer.text
        assert answer.headers["Location"] == f"/v1/sweeps/{answer.json()['id']}"
        return answer.json()

    return create


@pytest.fixture
def work(database: Engine, api: httpx.Client) -> Callable[[int], dict[str, Any]]:
    """Trains what comes into the queue until the sweep has ended; returns its record."""

    def work(sweep_id: int) -> dict[str, Any]:
        end = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < end:
            with writing(database) as session:
                lease = queue.claim(session, "worker-1", 60)
            if lease is not None:
                finish(database, lease)
            sweep = api.get(f"/v1/sweeps/{sweep_id}").json()
            if sweep["state"] != "running":
                return sweep
        raise AssertionError("the sweep does not end")

    return work


def test_a_sweep_from_its_beginning_to_its_end(
    api: httpx.Client, create: Callable[..., dict[str, Any]], work: Callable[[int], dict[str, Any]]
) -> None:
    begun = create()
    assert (begun["state"], begun["best"], begun["name"], begun["tags"]) == ("running", None, "sizes", ["made"])
    assert begun["progress"] == {"trials": 4, "begun": 0, "ended": 0, "epochs": 0}
    assert begun["spec"]["sampler"] == "grid"
    done = work(begun["id"])
    assert (done["state"], done["error"]) == ("succeeded", None)
    assert done["progress"] == {"trials": 4, "begun": 4, "ended": 4, "epochs": 4}
    points = [(trial["params"]["batch_size"], trial["params"]["optimizer.learning_rate"]) for trial in done["trials"]]
    assert points == [(64, 1.0), (64, 0.1), (32, 1.0), (32, 0.1)]
    assert done["best"] == done["trials"][0]
    assert done["best"]["value"] == pytest.approx(0.74)
    assert done["best"]["test_accuracy"] == pytest.approx(0.37)
    [experiment] = done["best"]["experiments"]
    record = api.get(f"/v1/experiments/{experiment['id']}").json()
    assert record["sweep"] == {"sweep_id": begun["id"], "trial": done["best"]["number"], "pruned_epoch": None}
    assert record["name"] == f"sizes, trial {done['best']['number']}"
    assert record["tags"] == ["made"]
    # An experiment like any other.
    other = api.post("/v1/experiments", json=BASE).json()
    assert other["sweep"] is None
    page = api.get("/v1/experiments", params={"sweep": begun["id"]}).json()
    assert sorted(item["id"] for item in page["items"]) == [1, 2, 3, 4]
    assert api.get("/v1/experiments", params={"sweep": 99}).json()["items"] == []

    table = api.get(f"/v1/sweeps/{begun['id']}/trials.csv")
    assert table.headers["Content-Type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(table.text)))
    assert [(int(row["batch_size"]), float(row["optimizer.learning_rate"])) for row in rows] == points
    assert [float(row["value"]) for row in rows] == [trial["value"] for trial in done["trials"]]
    assert rows[0]["experiments"] == str(experiment["id"])


def test_the_notebooks_grid_with_a_curl_of_one_line(
    create: Callable[..., dict[str, Any]], work: Callable[[int], dict[str, Any]], api: httpx.Client
) -> None:
    base = {"dataset": "optdigits", "train_limit": 100, "epochs": 1}
    answer = api.post("/v1/sweeps", json={"preset": "grid", "base": base, "parallel": 8})
    done = work(answer.json()["id"])
    assert done["progress"]["ended"] == 8
    assert {trial["state"] for trial in done["trials"]} == {"succeeded"}


def test_cancelling(api: httpx.Client, create: Callable[..., dict[str, Any]]) -> None:
    sweep_id = create()["id"]
    cancelled = api.post(f"/v1/sweeps/{sweep_id}/cancel")
    assert (cancelled.status_code, cancelled.json()["state"]) == (202, "cancelled")
    again = api.post(f"/v1/sweeps/{sweep_id}/cancel")
    assert (again.status_code, again.json()["code"]) == (409, "illegal_transition")
    experiments = api.get("/v1/experiments", params={"sweep": sweep_id}).json()["items"]
    assert all(item["state"] == "cancelled" for item in experiments)


def test_lists_are_in_pages(api: httpx.Client, create: Callable[..., dict[str, Any]]) -> None:
    ids = [create()["id"] for _ in range(3)]
    api.post(f"/v1/sweeps/{ids[0]}/cancel")
    first = api.get("/v1/sweeps", params={"limit": 2}).json()
    assert [item["id"] for item in first["items"]] == ids[:0:-1]
    second = api.get("/v1/sweeps", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert ([item["id"] for item in second["items"]], second["next_cursor"]) == (ids[:1], None)
    assert [item["id"] for item in api.get("/v1/sweeps", params={"state": "cancelled"}).json()["items"]] == ids[:1]
    with Client(str(api.base_url)) as client:
        assert [item.id for item in client.sweeps(limit=5)] == ids[::-1]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an empty space": ({"space": {}}, "space"),
    "an unknown path": ({"space": {"optimizer.lr": [1.0]}}, "space.optimizer.lr"),
    "a million points": ({"space": {"batch_size": [*range(1, 1001)], "epochs": [*range(1, 1001)]}}, "space"),
    "low above high": (
        {"space": {"batch_size": {"low": 9, "high": 3}}, "sampler": "random"},
        "space.batch_size.low",
    ),
    "an unknown dataset": ({"base": {"preset": "baseline", "dataset": "emnist"}}, "base.dataset"),
    "more images than there are": ({"base": BASE | {"train_limit": 10**6}}, "base.train_limit"),
    "no base": ({"base": None}, "base"),
    "a list for the space": ({"space": [1]}, "space"),
    "an unknown field": ({"samples": 3}, "samples"),
}


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_bad_sweeps_are_refused_with_the_field_named(api: httpx.Client) -> None:
    for case, (given, field) in REFUSED.items():
        answer = api.post("/v1/sweeps", json={"base": BASE, "space": SPACE} | given)
        assert answer.status_code == 422, case
        problem = answer.json()
        assert problem["code"] == "invalid_request", case
        assert field in [error["field"] for error in problem["errors"]], (case, problem)
    assert api.get("/v1/sweeps").json()["items"] == []


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
class TestCommands:
    def test_a_sweep_on_the_command_line(
        self, run: Run, api: httpx.Client, work: Callable[[int], dict[str, Any]]
    ) -> None:
        assert "No sweeps" in said(run("sweep", "list"))
        vary = ("--vary", "optimizer.learning_rate=[0.1, 1.0]", "--vary", "batch_size=[32, 64]")
        base = ("--set", "base.preset=baseline", "--set", "base.dataset=optdigits", "--set", "base.epochs=1")
        begun = said(run("sweep", "create", "--name", "sizes", *base, *vary))
        assert begun == "Sweep 1 has begun: 0 of 4 trials done. Follow it: numeral sweep watch 1\n"
        work(1)
        watched = said(run("sweep", "watch", "1"))
        assert "Sweep 1 (sizes) succeeded, 4 of 4 trials done" in watched
        assert watched == said(run("sweep", "watch", "1"))
        [first] = [line for line in said(run("sweep", "show", "1")).splitlines() if "0.7400" in line]
        assert first.split() == ["4", "succeeded", "1", "64", "0.7400", "0.3700", "1", "4"]
        assert "sizes" in said(run("sweep", "list"))
        assert len(json.loads(said(run("experiment", "list", "--sweep", 1, "--json")))) == 4
        assert "No experiments" in said(run("experiment", "list", "--sweep", 2))
        assert json.loads(said(run("sweep", "show", "1", "--json")))["best"]["value"] == pytest.approx(0.74)
        assert said(run("sweep", "show", "1", "--csv")) == api.get("/v1/sweeps/1/trials.csv").text

    def test_a_sweep_from_standard_input_that_is_cancelled(self, run: Run) -> None:
        spec = json.dumps({"base": BASE, "space": SPACE}).encode()
        assert json.loads(said(run("sweep", "create", "-", "--json", stdin=spec)))["state"] == "running"
        assert said(run("sweep", "cancel", "1")) == "Sweep 1 is cancelled, and its trials with it.\n"
        watched = run("sweep", "watch", "1", "--json")
        assert (watched.status, json.loads(watched.out)["state"]) == (1, "cancelled")

    def test_what_is_wrong_is_said_in_a_line(self, run: Run) -> None:
        refused(run("sweep", "show", "7"), "There is no sweep 7.")
        refused(run("sweep", "create", "--preset", "nothing"), "there are: grid")
        refused(run("sweep", "create", "--preset", "grid", "--vary", "optimizer.lr=[1]"), "space.optimizer.lr")
        refused(run("sweep", "create", "--vary", "x"), "write FIELD=VALUE")
