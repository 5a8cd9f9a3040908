"""The process that leads a sweep is killed in the middle of it."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine

from service.client import Client
from service.states import SweepState
from service.store import queue
from service.store.database import writing
from service.store.leases import Lease
from tests.sweeps.support import finish

SWEEP = {
    "base": {"preset": "baseline", "dataset": "optdigits", "epochs": 1},
    "space": {"batch_size": [16, 32, 64], "seed": [0, 1]},
}


@contextmanager
def api(database: Engine) -> Iterator[tuple[Client, subprocess.Popen[str]]]:
    """An API process over the database, and a client of it."""
    environment = os.environ | {"NUMERAL_DATABASE_URL": database.url.render_as_string(hide_password=False)}
    command = [sys.executable, "-m", "service", "api", "--port", "0"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            [url] = re.findall(r"http://[^ ]+", process.stdout.readline())
            with Client(url) as client:
                client.wait_until_ready(30)
                yield client, process
        finally:
            process.kill()


def claimed(database: Engine) -> Lease:
    """What comes into the queue next."""
    while True:
        with writing(database) as session:
            lease = queue.claim(session, "worker-1", 60)
        if lease is not None:
            return lease


def test_a_sweep_survives_its_leader(database: Engine) -> None:
    with api(database) as (client, process):
        sweep_id = client.create_sweep(SWEEP).id
        finish(database, claimed(database))
        running = claimed(database)
        process.kill()
    # The worker goes on meanwhile.
    finish(database, running)
    with api(database) as (client, _):
        while client.sweep(sweep_id).progress.begun < 6:
            finish(database, claimed(database))
        for _ in range(6 - client.sweep(sweep_id).progress.ended):
            finish(database, claimed(database))
        while (done := client.sweep(sweep_id)).state == SweepState.RUNNING:
            pass
        experiments = list(client.experiments(sweep=sweep_id))
    assert done.state == SweepState.SUCCEEDED
    assert done.progress.ended == 6
    assert sorted((each.spec["batch_size"], each.spec["seed"]) for each in experiments) == [
        (size, seed) for size in (16, 32, 64) for seed in (0, 1)
    ]
    assert [trial.params["batch_size"] for trial in done.trials] == [64, 64, 32, 32, 16, 16]
