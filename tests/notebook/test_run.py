"""`numeral notebook run` against a real server; the worker is played."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

from service.client import Client
from service.store.leases import Lease
from tests.api.conftest import Done, Run, refused, said
from tests.notebook.conftest import QUICK, Work

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)

DEADLINE_SECONDS = 60


def started(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    """A command that is not waited for."""
    known = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "COLUMNS": "140"}
    command = [sys.executable, "-m", "service", *arguments]
    # What a shell began in the background ignores interrupts, and what that begins would, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=known | environment)


@contextmanager
def service(database: Engine, port: int) -> Iterator[httpx.Client]:
    """An API process on a port, and a client of it; killed at the end."""
    url = database.url.render_as_string(hide_password=False)
    with started("api", "--port", str(port), NUMERAL_DATABASE_URL=url) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as api:
                yield api
        finally:
            process.kill()


def ids(done: Done) -> list[int]:
    return [row["id"] for row in json.loads(done.out)]


def counted(api: httpx.Client) -> tuple[int, int]:
    """How many experiments and sweeps there are."""
    with Client(str(api.base_url)) as client:
        return len(list(client.experiments(limit=1000))), len(list(client.sweeps(limit=1000)))


def test_everything_is_submitted_once_and_more_seeds_only_add(api: httpx.Client, run: Run, work: Work) -> None:
    with work():
        first = run("notebook", "run", "--seeds", "1", *QUICK, "--json")
        rows = json.loads(said(first))
        assert len(rows) == 27
        assert {row["state"] for row in rows} == {"succeeded"}
        assert rows[0]["run"] == "baseline, seed 0"
        assert rows[0]["result"]["test_accuracy"] == pytest.approx(0.91)
        assert counted(api) == (27, 2)
        assert ids(run("notebook", "run", "--seeds", "1", *QUICK, "--json")) == ids(first)
        again = said(run("notebook", "run", "--seeds", "1", *QUICK))
        assert again.startswith("Nothing is missing, 27 of 27 were there before.")
        assert "numeral notebook report --limit 100 --epochs 2 --dataset optdigits" in again
        assert counted(api) == (27, 2)
        more = said(run("notebook", "run", "--seeds", "2", *QUICK))
        assert more.startswith("13 experiments are submitted, 27 of 40 were there before.")
    assert counted(api) == (40, 3)
    with Client(str(api.base_url)) as client:
        assert {"notebook"} == {tag for item in client.experiments(limit=100) for tag in item.tags}


def test_what_failed_is_named_and_tried_again(api: httpx.Client, run: Run, work: Work) -> None:
    def fails(lease: Lease) -> str | None:
        optimizer = lease.spec.optimizer
        point = (lease.spec.batch_size, optimizer.name, optimizer.learning_rate)
        lost = lease.spec.name == "notebook: extra-conv, seed 0" or point == (64, "adagrad", 0.01)
        return "The loss became NaN." if lost else None

    options = ("--seeds", "1", "--no-proofs", *QUICK)
    with work(fails):
        done = run("notebook", "run", *options, "--json")
    assert done.status == 1
    assert done.error == "2 of 13 runs failed: extra-conv, seed 0; grid, seed 0: batch 64, adagrad 0.01\n"
    [row, _] = [row for row in json.loads(done.out) if row["state"] == "failed"]
    assert row["error"] == {"code": "diverged", "message": "The loss became NaN."}
    with work():
        assert said(run("notebook", "run", *options)).startswith("2 experiments are submitted, 11 of 13")
    # A row of the grid, too, without the rest of it.
    assert counted(api) == (15, 1)


def test_a_grid_that_came_to_nothing_is_begun_again(api: httpx.Client, run: Run, work: Work) -> None:
    options = ("--seeds", "1", "--no-proofs", *QUICK)
    with work(lambda lease: "no" if lease.spec.loss == "mse" else None):
        assert "8 of 13 runs failed" in run("notebook", "run", *options).error
    with work():
        assert said(run("notebook", "run", *options)).startswith("8 experiments are submitted, 5 of 13")
    assert counted(api) == (21, 2)


def test_interrupted_it_leaves_all_in_the_queue(api: httpx.Client, run: Run, work: Work) -> None:
    options = ("--seeds", "1", "--no-proofs", *QUICK)
    with started("notebook", "run", *options, NUMERAL_SERVER=str(api.base_url)) as process:
        wait_for_the_sweep(api)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 130
    last = out.strip().splitlines()[-1]
    assert last.startswith(
        "What is submitted stays in the queue and goes on. Continue: numeral notebook run --seeds 1 "
    )
    assert last.endswith("--limit 100 --epochs 2 --dataset optdigits --no-proofs")
    items: list[dict[str, Any]] = api.get("/v1/experiments", params={"tag": "notebook"}).json()["items"]
    assert {item["state"] for item in items} == {"queued"}
    assert len(items) >= 5
    with work():
        assert said(run("notebook", "run", *options)).startswith("Nothing is missing")
    assert counted(api) == (13, 1)


def test_a_service_that_is_killed_and_comes_back_is_waited_for(database: Engine, work: Work) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ("--seeds", "1", "--no-proofs", *QUICK, "--json")
    with service(database, port) as api:
        process = started("notebook", "run", *options, NUMERAL_SERVER=str(api.base_url))
        wait_for_the_sweep(api)
    with process, work(), service(database, port):
        out, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 0
    assert [row["state"] for row in json.loads(out)] == ["succeeded"] * 13


def wait_for_the_sweep(api: httpx.Client) -> None:
    """It is submitted last of all."""
    end = time.monotonic() + DEADLINE_SECONDS
    while not api.get("/v1/sweeps").json()["items"]:
        assert time.monotonic() < end


def test_what_cannot_be_is_said_in_a_line(run: Run) -> None:
    refused(run("notebook", "run", "--dataset", "x" * 65), "dataset: String should have at most 64 characters")
    refused(run("notebook", "run", "--dataset", "nothing"), "dataset: there is no such dataset")
    assert run("notebook", "run", "--seeds", "0").status == 2
