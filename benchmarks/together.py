"""The same work in many processes, begun at one moment."""

import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import Any, NamedTuple

from fleet import CONTEXT

from service.store.database import open_engine

START_SECONDS = 120

Work = Callable[..., Iterator[int]]
"""Takes an engine and what else it was given; each step that it yields is timed."""


class Share(NamedTuple):
    """What one of the processes has done. Times are of `time.monotonic`, which all processes share."""

    done: list[int]
    error: str | None
    began: float
    ended: float
    slowest: float


def together(work: Work, count: int, url: str, *arguments: Any) -> list[Share]:
    """Have `count` processes do the work on the database, each with an engine of its own."""
    barrier = CONTEXT.Barrier(count)
    receivers, processes = [], []
    for _ in range(count):
        receiver, sender = CONTEXT.Pipe(duplex=False)
        process = CONTEXT.Process(target=_take_part, args=(sender, barrier, work, url, arguments), daemon=True)
        process.start()
        sender.close()
        receivers.append(receiver)
        processes.append(process)
    shares = [receiver.recv() for receiver in receivers]
    for process in processes:
        process.join()
    return shares


def _take_part(sender: Connection, barrier: Barrier, work: Work, url: str, arguments: tuple[Any, ...]) -> None:
    engine = open_engine(url)
    engine.connect().close()
    barrier.wait(START_SECONDS)
    sender.send(_share(work(engine, *arguments)))
    engine.dispose()


def _share(steps: Iterator[int]) -> Share:
    done, error, slowest = [], None, 0.0
    began = last = time.monotonic()
    try:
        for each in steps:
            done.append(each)
            slowest, last = max(slowest, time.monotonic() - last), time.monotonic()
    except Exception as reached:
        # Nothing may reach whoever uses the store, whatever it is.
        error = f"{type(reached).__name__}: {reached}"
    return Share(done, error, began, last, slowest)
