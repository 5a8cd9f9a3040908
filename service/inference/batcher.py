"""Continuous batching: while one batch runs, the requests that come in queue up and go together as the next.

There is no timer. A request that finds a thread idle takes along whoever is at the door with it, and waits for nobody
else: an idle server adds no delay, and a busy one makes its batches as large as the load is. This is the scheduling of
Orca (Yu et al., OSDI 2022), for models of a single step.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.errors import Overloaded
from service.inference.lanes import Job, Lanes, Piece, Pixels, Turn
from service.inference.models import Servable
from service.inference.verdict import Beliefs, believe
from service.specs.shapes import CLASSES
from service.store.registry import Resolved

logger = logging.getLogger(__name__)

LOADERS = 2
"""Models that are loaded at the same time, at most."""

QUIET_TURNS = 3
"""Turns of the event loop, microseconds each, in which nobody came: then nobody is at the door. One turn reads a
request from its socket, and the next runs its handler. When a batch's answers go out together, so do their clients'
next requests come in: a thread that starts with the first of them would leave the others for a batch of their own."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a reference means: the model, and the model loaded."""

    resolved: Resolved
    servable: Servable


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a request."""

    target: Target
    raw: NDArray[np.float32]
    """`(n, 10)`: the model's softmax as it is."""
    beliefs: Beliefs


class Source(Protocol):
    """Says what references mean."""

    def find(self, reference: str) -> Target | None:
        """What it means at this moment, None if that is not loaded. Quick."""

    def load(self, reference: str) -> Target:
        """What it means at this moment, loaded if need be. Both raise UnknownModel if it means nothing."""


class Request(Job):
    """A job, where its answer is put together, and who waits for it."""

    def __init__(self, reference: str, pixels: Pixels) -> None:
        super().__init__(reference, pixels)
        count = len(pixels)
        self.done = 0
        self.raw = np.empty((count, CLASSES), np.float32)
        self.beliefs = Beliefs(np.empty((count, CLASSES)), np.empty(count, np.bool_))
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Answer] = self.loop.create_future()


class Batcher:
    """Threads that classify, each a batch of at most `max_batch` images at a time.

    Args:
        source: says what a reference means; asked for a batch after all of its requests have come.
        threads: how many batches run at once; each takes one processor.
        max_batch: images in a batch.
        max_waiting: requests that may wait before further ones are refused.
        done: told of each batch: its target, pixels `(n, 28, 28, 1)` and beliefs. It must not take long.
    """

    def __init__(
        self,
        source: Source,
        *,
        threads: int,
        max_batch: int,
        max_waiting: int,
        done: Callable[[Target, NDArray[np.float32], Beliefs], None] = lambda target, batch, beliefs: None,
    ) -> None:
        self._source = source
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._done = done
        self._lanes: Lanes[Request] = Lanes(max_batch)
        self._lock = Lock()
        self._idle = 0
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._closed = False
        self._images_per_second = 1000.0
        # Loading a model must not keep the requests for others waiting.
        self._loaders = ThreadPoolExecutor(LOADERS, thread_name_prefix="load")
        self._threads = [Thread(target=self._work, name=f"batch-{index}", daemon=True) for index in range(threads)]
        self._started = False

    @property
    def waiting(self) -> int:
        """Images that no batch has taken yet."""
        return self._lanes.waiting

    def check_room(self, elsewhere: int = 0) -> None:
        """Refuse while too many requests wait, those on their way here (`elsewhere`) included. How large they are does
        not count: each has its share of every batch, so one of many images hardly delays the others.

        Raises:
            Overloaded: come again when the queue may be empty.
        """
        if self._lanes.jobs + elsewhere >= self._max_waiting:
            seconds = self._lanes.waiting / (self._images_per_second * len(self._threads))
            raise Overloaded(max(1, math.ceil(seconds)))

    async def classify(self, reference: str, pixels: Pixels) -> Answer:
        """Classify `(n, 28, 28)` images, n ≥ 1, with the model that a reference means after this was called.

        Raises:
            Overloaded: too much waits already.
            UnknownModel, ModelRefused: there is no such model, or it cannot be loaded.
        """
        self.check_room()
        request = Request(reference, pixels)
        with self._lock:
            self._start()
            self._lanes.put(request)
            idle = self._idle
        if idle:
            self._gather(request.loop)
        try:
            return await request.future
        except asyncio.CancelledError:
            with self._lock:
                self._lanes.drop([request])
            raise

    def close(self) -> None:
        """End the threads; what still waits is never answered."""
        self._closed = True
        if self._started:
            for _ in self._threads:
                self._wake.put(None)
            for thread in self._threads:
                thread.join()
        self._loaders.shutdown()

    def _start(self) -> None:
        if not self._started:
            self._started = True
            self._idle = len(self._threads)
            for thread in self._threads:
                thread.start()

    def _gather(self, loop: asyncio.AbstractEventLoop, seen: int = 0, quiet: int = 0) -> None:
        """Rouse threads as soon as a batch is full or nobody else is at the door."""
        waiting = self._lanes.waiting
        quiet = quiet + 1 if waiting <= seen else 0
        if waiting < self._max_batch and quiet < QUIET_TURNS:
            loop.call_soon(self._gather, loop, waiting, quiet)
            return
        with self._lock:
            # What is more than a batch is work for all.
            self._rouse(self._lanes.waiting)

    def _work(self) -> None:
        self._wake.get()
        while not self._closed:
            with self._lock:
                turn = self._lanes.turn()
                if turn is None:
                    self._idle += 1
            if turn is None:
                self._wake.get()
                continue
            model, pieces = self._next(turn)
            if model and pieces:
                self._run(model, pieces)

    def _next(self, turn: Turn) -> tuple[Target | None, list[Piece[Request]]]:
        begun: Target | None = turn.model
        try:
            target = self._source.find(turn.reference)
        except Exception as error:
            self._refuse(turn, error)
            target = begun
            if begun is None:
                return None, []
        with self._lock:
            if target is None:
                if self._lanes.hold(turn):
                    self._loaders.submit(self._load, turn)
                return None, []
            # A request that has begun ends with the model that it began with, whatever its reference means by now.
            model = begun or target
            return model, self._lanes.take(turn, model, admit=model == target)

    def _load(self, turn: Turn) -> None:
        """Load what a lane waits for. Its first batch runs here: before another model can take the memory again."""
        try:
            target = self._source.load(turn.reference)
        except Exception as error:
            # Both at once: otherwise somebody could take what is to be refused.
            with self._lock:
                self._lanes.release(turn)
                refused = self._lanes.refuse(turn)
            _tell(refused, _fail, refused, error)
            pieces = []
        else:
            with self._lock:
                self._lanes.release(turn)
                pieces = self._lanes.take(turn, target)
        with self._lock:
            self._rouse(self._lanes.waiting)
        if pieces:
            self._run(target, pieces)

    def _refuse(self, turn: Turn, error: Exception) -> None:
        with self._lock:
            refused = self._lanes.refuse(turn)
        _tell(refused, _fail, refused, error)

    def _rouse(self, images: int) -> None:
        for _ in range(min(self._idle, images)):
            self._idle -= 1
            self._wake.put(None)

    def _run(self, target: Target, pieces: list[Piece[Request]]) -> None:
        began = time.perf_counter()
        batch = np.empty((sum(piece.stop - piece.start for piece in pieces), 28, 28, 1), np.float32)
        end = 0
        for job, start, stop in pieces:
            begin, end = end, end + stop - start
            batch[begin:end, ..., 0] = job.pixels[start:stop]
        try:
            outputs = target.servable.session.run(batch)
            beliefs = believe(batch, outputs, target.servable.card.temperature)
        except Exception as error:
            jobs = [piece.job for piece in pieces]
            with self._lock:
                self._lanes.drop(jobs)
            _tell(jobs, _fail, jobs, error)
            return
        end = 0
        for job, start, stop in pieces:
            begin, end = end, end + stop - start
            job.raw[start:stop] = outputs.probabilities[begin:end]
            job.beliefs.probabilities[start:stop] = beliefs.probabilities[begin:end]
            job.beliefs.blank[start:stop] = beliefs.blank[begin:end]
        self._images_per_second = len(batch) / (time.perf_counter() - began)
        _tell([piece.job for piece in pieces], _deliver, target, pieces)
        try:
            self._done(target, batch, beliefs)
        except Exception:
            logger.exception("what should have been told of a batch failed")


def _tell(requests: Sequence[Request], what: Callable[..., None], *arguments: object) -> None:
    # One call a batch, whoever is in it. There are several loops only where one app is run in several.
    for loop in {request.loop for request in requests}:
        with suppress(RuntimeError):  # it has been closed: nobody waits any more
            loop.call_soon_threadsafe(what, loop, *arguments)


def _deliver(loop: asyncio.AbstractEventLoop, target: Target, pieces: list[Piece[Request]]) -> None:
    for request, start, stop in pieces:
        if request.loop is loop:
            request.done += stop - start
            if request.done == len(request.pixels) and not request.future.done():
                request.future.set_result(Answer(target, request.raw, request.beliefs))


def _fail(loop: asyncio.AbstractEventLoop, requests: Sequence[Request], error: Exception) -> None:
    for request in requests:
        if request.loop is loop and not request.future.done():
            request.future.set_exception(error)
