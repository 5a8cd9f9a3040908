"""Worker processes: real supervisors whose trainings are stubs (`stub.py`), to be killed, suspended and replaced."""

import contextlib
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
import stub
from databases import Database

from service.settings import Settings
from service.store import wakeup
from service.store.database import open_engine
from service.worker.local import LocalEngine
from service.worker.supervisor import Supervisor

# Its processes are forked from one that has imported all that is slow, and inherit no file of each other.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["service.worker.supervisor", "sqlalchemy.dialects.sqlite", "sqlalchemy.dialects.postgresql.psycopg"]
)
STUB = Path(stub.__file__).resolve()
SHUTDOWN_SECONDS = 60


class Worker:
    """One worker process."""

    def __init__(self, settings: Settings, mark: str, wakes: bool = True) -> None:
        self._process = CONTEXT.Process(target=_work, args=(settings, mark, wakes), daemon=True)
        self._process.start()
        self.was_killed = False

    @property
    def pid(self) -> int:
        """Also in the table of workers."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Its exit status; None as long as it lives."""
        return self._process.exitcode

    @property
    def is_living(self) -> bool:
        """Whether it has neither ended nor been killed."""
        return not self.was_killed and self.status is None

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as a power cut would: without a last word to anybody."""
        self.was_killed = True
        self._process.kill()

    def join(self, timeout: float) -> None:
        """Wait for its end."""
        self._process.join(timeout)

    def children(self) -> list[psutil.Process]:
        """Its training process and the spare one."""
        try:
            return psutil.Process(self.pid).children()
        except psutil.NoSuchProcess:
            return []

    def training(self) -> psutil.Process | None:
        """The process that trains for it, if there is one."""
        return next((child for child in self.children() if _name(child) == stub.BUSY), None)


class Fleet:
    """Several workers on one database. Whichever ends is replaced when `replace_ended` is called."""

    def __init__(self, database: Database, size: int, wakes: bool = True, **settings: float) -> None:
        self._settings = Settings(
            database_url=database.url, data_dir=database.folder, cache_dir=database.folder, **settings
        )
        self._mark = f"fleet-{uuid.uuid4().hex}"
        self._wakes = wakes
        self._orphans: list[tuple[psutil.Process, float]] = []
        self.workers = [self._start() for _ in range(size)]
        self.crashes: list[int | None] = []
        """Exit statuses of workers that ended though nobody had asked them to; None of one that did not end."""
        self.orphan_seconds = 0.0
        """The longest that a process has outlived the killed worker that it trained for."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for worker in self.workers:
            worker.kill()
            worker.join(SHUTDOWN_SECONDS)

    def living(self) -> list[Worker]:
        """The workers that work, or sleep."""
        return [worker for worker in self.workers if worker.is_living]

    def kill(self, worker: Worker) -> None:
        """Kill a worker; what becomes of its children is watched."""
        self._orphans += [(child, time.monotonic()) for child in worker.children()]
        worker.kill()

    def replace_ended(self) -> None:
        """Start a new worker for each that has ended."""
        for position, worker in enumerate(self.workers):
            if worker.status is not None:
                if not worker.was_killed:
                    self.crashes.append(worker.status)
                self.workers[position] = self._start()

    def watch_orphans(self) -> None:
        """See which children of killed workers are still there."""
        self._orphans = [orphan for orphan in self._orphans if is_alive(orphan[0])]
        for _, since in self._orphans:
            self.orphan_seconds = max(self.orphan_seconds, time.monotonic() - since)

    def shut_down(self) -> None:
        """Ask all workers to end, and wait for them."""
        for worker in self.workers:
            worker.send(signal.SIGTERM)
        for worker in self.workers:
            worker.join(SHUTDOWN_SECONDS)
            if not worker.was_killed and worker.status != 0:
                self.crashes.append(worker.status)

    def strays(self) -> list[int]:
        """Ids of this fleet's training processes, whoever their parent is."""
        return [
            process.pid
            for process in psutil.process_iter(["cmdline"])
            if self._mark in (process.info["cmdline"] or ()) and is_alive(process)
        ]

    def _start(self) -> Worker:
        return Worker(self._settings, self._mark, self._wakes)


class Deaf:
    """A listener that hears nothing, for a worker that only polls."""

    def __init__(self, database: object, wake: object) -> None:
        pass

    def close(self) -> None:
        """There is nothing to close."""


def is_alive(process: psutil.Process) -> bool:
    """Whether the process runs; one that only waits to be reaped does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def end_on_sigterm() -> None:
    """Let SIGTERM unwind this process, so that it leaves no workers, servers or folders behind."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""


def _work(settings: Settings, mark: str, wakes: bool) -> None:
    # Ctrl-C is for the benchmark, which ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.basicConfig(filename=settings.data_dir / "workers.log", format="%(asctime)s %(process)d %(message)s")
    if not wakes:
        wakeup.Listener = Deaf
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    engine = LocalEngine(settings.keras_backend, [sys.executable, str(STUB), mark])
    Supervisor(open_engine(settings.resolved_database_url), settings, engine).run(stop)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
