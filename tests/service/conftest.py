"""`numeral up` as its users run it: one process, on SQLite in an empty folder, on a free port."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.client import Client


@dataclass
class Service:
    """A running service."""

    url: str
    pid: int
    data_dir: Path


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def free_port() -> int:
    return find_free_port()


@contextmanager
def serving(folder: Path, datasets_dir: Path) -> Iterator[Service]:
    """A service that keeps all that it writes in a folder; it must end well."""
    data_dir = folder / "not" / "there" / "yet"
    port = find_free_port()
    log = folder / "up.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "service", "up", "--port", str(port), "--data-dir", str(data_dir)],
            env={
                **os.environ,
                "NUMERAL_HEARTBEAT_SECONDS": "0.3",
                "NUMERAL_DATASETS_DIR": str(datasets_dir),
                # Nothing of what a user of this machine has downloaded.
                "NUMERAL_CACHE_DIR": str(folder / "cache"),
            },
            stdout=output,
            stderr=output,
        )
    try:
        with Client(f"http://127.0.0.1:{port}") as client:
            client.wait_until_ready(60)
        yield Service(f"http://127.0.0.1:{port}", process.pid, data_dir)
    finally:
        process.terminate()
        status = process.wait(30)
    text = log.read_text()
    assert status == 0, text
    assert "Traceback" not in text, text


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory, wanted_datasets_dir: Path) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("up"), wanted_datasets_dir) as running:
        yield running


@pytest.fixture
def fresh_service(tmp_path: Path, wanted_datasets_dir: Path) -> Iterator[Service]:
    """One that nobody has asked for anything yet."""
    with serving(tmp_path, wanted_datasets_dir) as running:
        yield running


@pytest.fixture
def client(service: Service) -> Iterator[Client]:
    with Client(service.url) as connected:
        yield connected


@pytest.fixture(scope="session")
def quick() -> dict[str, object]:
    """An experiment of a few seconds that needs no network."""
    return {
        "name": "quick",
        "dataset": "optdigits",
        "model": {"layers": [{"type": "flatten"}, {"type": "dense", "units": 32, "activation": "relu"}]},
        "optimizer": {"name": "adam", "learning_rate": 0.01},
        "epochs": 4,
    }


@pytest.fixture(scope="session")
def trained(service: Service, quick: dict[str, object]) -> int:
    """The id of an experiment that the service has trained."""
    with Client(service.url) as client:
        experiment_id = client.submit(quick).id
        list(client.events(experiment_id))
        assert client.experiment(experiment_id).state == "succeeded"
    return experiment_id
