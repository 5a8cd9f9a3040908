"""`numeral api` with several processes: one port, one set of metrics, and none of them missed when it dies."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest

from service.client import Client
from service.store.database import open_engine
from tests.api.conftest import band, succeed

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux shares a port among processes evenly")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    subprocess.run([sys.executable, "-m", "service", "db", "upgrade", "--data-dir", str(tmp_path)], check=True)
    database = open_engine(f"sqlite:///{tmp_path / 'numeral.db'}")
    succeed(database, "first")
    succeed(database, "second")
    database.dispose()
    return tmp_path


@pytest.fixture
def process(folder: Path, free_port: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "service", "api", "--port", str(free_port), "--data-dir", str(folder)]
    log = folder / "api.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env={**os.environ, "NUMERAL_API_PROCESSES": "2"}, stdout=output, stderr=output
        )
    with Client(f"http://127.0.0.1:{free_port}") as client:
        client.wait_until_ready(60)
    children = psutil.Process(process.pid).children(recursive=True)
    try:
        yield process
    finally:
        process.terminate()
        assert process.wait(30) == 0, log.read_text()
        assert "Traceback" not in log.read_text()
    psutil.wait_procs(children, timeout=10)
    assert not any(child.is_running() for child in children)


def ask(port: int, digit: int) -> tuple[int, int]:
    """Over a connection of its own, which any of the processes may accept: the model's id and the digit."""
    with Client(f"http://127.0.0.1:{port}") as client:
        answer = client.predict_bytes(band(digit).tobytes())
    [prediction] = answer.predictions
    assert prediction.digit is not None
    return answer.model.id, prediction.digit


def servers(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    children = psutil.Process(process.pid).children()
    return [child for child in children if "resource_tracker" not in " ".join(child.cmdline())]


def eventually(look: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not look():
        assert time.monotonic() < end


def test_all_processes_answer_alike_and_count_together(process: subprocess.Popen[bytes], free_port: int) -> None:
    [sibling] = servers(process)
    eventually(lambda: any(c.status == psutil.CONN_LISTEN for c in sibling.net_connections("tcp")))
    with ThreadPoolExecutor(8) as pool:
        assert (
            list(pool.map(lambda digit: ask(free_port, digit), list(range(10)) * 6))
            == [(1, digit) for digit in range(10)] * 6
        )
    assert len(np.unique([ask(free_port, 3)[0] for _ in range(5)])) == 1

    with Client(f"http://127.0.0.1:{free_port}") as client:
        client.promote(2)
        # Not only the process that was asked for it: none gives the old model from here on.
        with ThreadPoolExecutor(8) as pool:
            assert {pool.submit(ask, free_port, 1).result()[0] for _ in range(30)} == {2}
    metrics = httpx.get(f"http://127.0.0.1:{free_port}/metrics").text
    assert 'numeral_predicted_images_total{model="1"} 65.0' in metrics
    assert 'numeral_predicted_images_total{model="2"} 30.0' in metrics


def test_a_process_that_dies_is_replaced(process: subprocess.Popen[bytes], free_port: int) -> None:
    [sibling] = servers(process)
    sibling.send_signal(signal.SIGKILL)
    sibling.wait(10)
    eventually(lambda: [each.pid for each in servers(process)] not in ([], [sibling.pid]))
    assert ask(free_port, 4) == (1, 4)


def test_a_port_that_is_taken_is_not_shared_with_a_stranger(
    process: subprocess.Popen[bytes], folder: Path, free_port: int
) -> None:
    command = [sys.executable, "-m", "service", "api", "--port", str(free_port), "--data-dir", str(folder)]
    environment = {**os.environ, "NUMERAL_API_PROCESSES": "2"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert f"Port {free_port}" in done.stderr
