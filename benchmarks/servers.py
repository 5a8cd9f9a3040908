"""Server processes that a benchmark starts, looks at and ends: ours, and those that ours is compared with."""

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

HOST = "127.0.0.1"
START_SECONDS = 60
STOP_SECONDS = 20
PROBE_SECONDS = 0.005
ANSWER_SECONDS = 60

LOOK_SECONDS = 0.5
SETTLED_LOAD = 0.2
"""A server that takes no more of a processor has started all that it starts."""


class Server:
    """A server in a process group of its own, with all the processes that it starts.

    Attributes:
        url: where it listens as soon as it has started.
    """

    def __init__(self, command: Sequence[str], port: int, environment: Mapping[str, str], log: Path) -> None:
        self.port = port
        self.url = f"http://{HOST}:{port}"
        self._log = log
        self._began = time.perf_counter()
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                env={**_without_settings(), **environment},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        family = self._family()
        self._process.terminate()
        _, remaining = psutil.wait_procs(family, STOP_SECONDS)
        for process in remaining:
            process.kill()
        self._process.wait()

    def wait_until_answers(self, path: str, content_type: str, body: bytes) -> float:
        """Send a request until it is answered 200; returns the seconds since the process was begun."""
        while (seconds := time.perf_counter() - self._began) < START_SECONDS:
            if self._process.poll() is not None:
                break
            try:
                if self.ask(path, content_type, body)[0] == http.client.OK:
                    return time.perf_counter() - self._began
            except (OSError, http.client.HTTPException):
                time.sleep(PROBE_SECONDS)
        raise RuntimeError(f"the server did not answer within {seconds:.0f} s:\n{self.log()}")

    def ask(self, path: str, content_type: str, body: bytes, method: str = "POST") -> tuple[int, bytes]:
        """One request on a connection of its own; the status and the body of the answer."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=ANSWER_SECONDS)
        try:
            connection.request(method, path, body, {"Content-Type": content_type})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def settle(self) -> None:
        """Wait until nothing starts any more: the first answer comes from the first of several processes."""
        deadline = time.monotonic() + START_SECONDS
        before = self._processor_seconds()
        while time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
            now = self._processor_seconds()
            if now - before < SETTLED_LOAD * LOOK_SECONDS:
                return
            before = now

    def rss(self) -> int:
        """Resident memory of all its processes, in bytes; what they share counts for each."""
        return sum(process.memory_info().rss for process in self._family())

    def log(self) -> str:
        """What it has printed."""
        return self._log.read_text(errors="replace")

    def _processor_seconds(self) -> float:
        return sum(sum(process.cpu_times()[:2]) for process in self._family())

    def _family(self) -> list[psutil.Process]:
        try:
            process = psutil.Process(self._process.pid)
            return [process, *process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


def numeral(data_dir: Path, command: str = "api", **settings: object) -> Server:
    """The service as it is shipped, on a free port; all settings that are not given have their defaults."""
    port = free_port()
    environment = {f"NUMERAL_{name.upper()}": str(value) for name, value in settings.items()}
    arguments = [command, "--port", str(port), "--data-dir", str(data_dir)]
    return Server([sys.executable, "-m", "service", *arguments], port, environment, data_dir / f"{command}.log")


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _without_settings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("NUMERAL_")}
