"""The API as a server: uvicorn, in as many processes as the settings say."""

import ctypes
import logging
import multiprocessing
import platform
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait

import uvicorn

from service.api.app import create_app
from service.settings import Settings

logger = logging.getLogger(__name__)

GRACEFUL_SECONDS = 3
M_MMAP_THRESHOLD = -3
"""What `malloc.h` calls the parameter of `mallopt`."""

LARGE_BLOCK_BYTES = 1024 * 1024

BACKLOG = 2048
"""Connections that the kernel keeps until they are accepted."""

RESTART_SECONDS = 1.0
SWITCH_SECONDS = 0.0001
"""How long a thread that has its batch's result may have to wait for the event loop to let it go on; Python's own 5 ms
are as long as the batch took."""


class Server(uvicorn.Server):
    """uvicorn's, which also ends event streams when it ends."""

    def __init__(self, settings: Settings) -> None:
        self.closing = threading.Event()
        app = create_app(settings, self.closing)
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                # Nothing here depends on who the client is, or on how it came.
                proxy_headers=False,
                timeout_graceful_shutdown=GRACEFUL_SECONDS,
            )
        )

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until told to end."""
        sys.setswitchinterval(SWITCH_SECONDS)
        _give_memory_back()
        super().run(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End; uvicorn calls it."""
        self.closing.set()
        await super().shutdown(sockets)


@contextmanager
def siblings(settings: Settings, listener: socket.socket) -> Iterator[None]:
    """The other processes of the API, on the same port as the listener; one that dies is replaced."""
    count = settings.api_processes - 1
    if not count:
        yield
        return
    context = multiprocessing.get_context("spawn")
    host, port = listener.getsockname()[:2]
    stopping = threading.Event()

    def start(index: int) -> multiprocessing.process.BaseProcess:
        process = context.Process(target=_serve_beside, args=(settings, host, port), name=f"api-{index}")
        process.start()
        return process

    processes = [start(index) for index in range(count)]

    def replace() -> None:
        while not stopping.is_set():
            wait([process.sentinel for process in processes], timeout=RESTART_SECONDS)
            for index, process in enumerate(processes):
                if not process.is_alive() and not stopping.wait(RESTART_SECONDS):
                    logger.error("API process %s died (exit status %s) and is replaced", process.pid, process.exitcode)
                    processes[index] = start(index)

    keeper = threading.Thread(target=replace, name="siblings")
    keeper.start()
    try:
        yield
    finally:
        stopping.set()
        keeper.join()
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


def _give_memory_back() -> None:
    """Let large blocks go back to the system when they are freed.

    glibc stops doing so by itself once it has seen a large block come and go: models that take each other's place, and
    bodies of many megabytes, would then leave holes that nobody else fits into.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)


def _serve_beside(settings: Settings, host: str, port: int) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # Ctrl-C reaches the whole group: the first process ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    server = Server(settings)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        server.should_exit = True

    threading.Thread(target=follow, name="parent", daemon=True).start()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family, backlog=BACKLOG, reuse_port=True) as listener:
        server.run(sockets=[listener])
