"""Load that records each request: when it was due, sent and answered, and what the answer was. Needs no wrk.

A generator runs in a process of its own, on uvloop, and speaks just enough HTTP/1.1. Times are of `time.monotonic`,
which all processes share.
"""

import asyncio
import gc
import multiprocessing
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from typing import NamedTuple
from urllib.parse import urlsplit

import uvloop

CONTEXT = multiprocessing.get_context("spawn")

PATIENCE_SECONDS = 30
"""For the answers that are missing when nothing is sent any more."""

BROKEN = 0
"""In place of the status of what was not sent, or never answered."""

LEAD_SECONDS = 0.5
"""Until the first request of an open loop, so that all processes begin it at the same moment."""

TICK_SECONDS = 0.001
"""What is due within it goes together: the loop's clock is no finer."""

SENT_AT_ONCE = 16
"""By whoever is late, before it looks for answers again."""

LOOK_SECONDS = 0.05
"""Whether a closed loop is to end."""

HEAD_END = b"\r\n\r\n"
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
RETRY_AFTER = re.compile(rb"\r\nretry-after: *\d", re.IGNORECASE)
MODEL = re.compile(rb'"model":\{"id":(\d+)')


@dataclass(slots=True)
class Exchange:
    """A request and what became of it."""

    due: float
    phase: int = 0
    sent: float = 0.0
    answered: float = 0.0
    status: int = BROKEN
    model: int | None = None
    says_when: bool = False
    """Whether the answer says when to try again."""

    @property
    def was_sent(self) -> bool:
        """Not if there was no connection for it in time."""
        return self.sent > 0

    @property
    def seconds(self) -> float:
        """From sending to the answer."""
        return self.answered - self.sent


class Phase(NamedTuple):
    """So many requests a second, for so long."""

    rate: float
    seconds: float


class Ask(NamedTuple):
    """What is sent, again and again."""

    url: str
    path: str
    content_type: str
    body: bytes

    def encoded(self) -> bytes:
        """As it goes over the wire."""
        host = urlsplit(self.url).netloc
        head = f"POST {self.path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {self.content_type}\r\n"
        return f"{head}Content-Length: {len(self.body)}\r\n\r\n".encode() + self.body


class Generators:
    """Processes that generate load in the background; each has its share of it. To be used as a context manager."""

    def __init__(self, count: int = 1) -> None:
        self._count = count
        self._ending = CONTEXT.Event()
        self._pool = ProcessPoolExecutor(count, CONTEXT, initializer=_begin, initargs=(self._ending,))

    def __enter__(self) -> "Generators":
        return self

    def __exit__(self, *error: object) -> None:
        self._ending.set()
        self._pool.shutdown()

    def closed(self, ask: Ask, connections: int, seconds: float) -> "Answers":
        """Send on each connection as soon as its last answer has come, until it is over or `end` is called."""
        parts = [len(range(index, connections, self._count)) for index in range(self._count)]
        return Answers([self._pool.submit(_closed, ask, part, seconds) for part in parts])

    def open(self, ask: Ask, phases: Sequence[Phase], connections: int) -> "Answers":
        """Send at given moments, whatever is answered when; further connections are opened as they are needed."""
        shares = [Phase(phase.rate / self._count, phase.seconds) for phase in phases]
        began = time.monotonic() + LEAD_SECONDS
        part = connections // self._count
        return Answers([self._pool.submit(_open, ask, began, shares, part) for _ in range(self._count)])

    def end(self) -> None:
        """End what is under way, once what was sent is answered."""
        self._ending.set()


class Answers:
    """All exchanges of a load, once it is over."""

    def __init__(self, parts: Sequence[Future[list[Exchange]]]) -> None:
        self._parts = parts

    def wait(self) -> list[Exchange]:
        """In the order in which they were due."""
        return sorted((each for part in self._parts for each in part.result()), key=lambda each: each.due)


class Connection(asyncio.Protocol):
    """A connection with at most one request under way."""

    def __init__(self, request: bytes, pool: "Pool") -> None:
        self._request = request
        self._pool = pool
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self._received = bytearray()

    def send(self, exchange: Exchange) -> None:
        """Send the request."""
        assert self._transport is not None
        self._exchange = exchange
        exchange.sent = time.monotonic()
        self._transport.write(self._request)

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.Transport) -> None:
        """asyncio's."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """asyncio's."""
        self._received += data
        head, end, body = self._received.partition(HEAD_END)
        length = LENGTH.search(head)
        if not end or length is None or len(body) < int(length[1]):
            return
        self._received.clear()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.answered = time.monotonic()
            exchange.status = int(head[9:12])
            exchange.says_when = RETRY_AFTER.search(head) is not None
            if model := MODEL.search(body):
                exchange.model = int(model[1])
            self._pool.answered(self)

    def connection_lost(self, error: Exception | None) -> None:
        """asyncio's."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.answered = time.monotonic()
        self._pool.lost(self, was_at_work=exchange is not None)


class Pool:
    """Connections to one server, opened as they are needed, up to a limit. Requests beyond that wait here.

    Args:
        settled: called when a request has been answered, or has come to nothing.

    Attributes:
        unsettled: requests of which that is not so.
    """

    def __init__(self, ask: Ask, limit: int, settled: Callable[[], None] = lambda: None) -> None:
        self._address = urlsplit(ask.url)
        self._request = ask.encoded()
        self._limit = limit
        self._settled = settled
        self._loop = asyncio.get_running_loop()
        self._all: set[Connection] = set()
        # The one that was used last first: the server closes those that are not used for long.
        self._free: list[Connection] = []
        self._opening: set[asyncio.Task[None]] = set()
        self._waiting: deque[Exchange] = deque()
        self.unsettled = 0

    def send(self, exchange: Exchange) -> None:
        """Send a request now if there is a connection for it, else as soon as there is."""
        self.unsettled += 1
        if self._free:
            self._free.pop().send(exchange)
            return
        self._waiting.append(exchange)
        if len(self._all) + len(self._opening) < self._limit:
            opening = self._loop.create_task(self._open())
            self._opening.add(opening)
            opening.add_done_callback(self._opening.discard)

    def give_up_waiting(self) -> None:
        """Forget what no connection was found for."""
        while self._waiting:
            self._waiting.popleft()
            self._settle()

    async def drain(self) -> None:
        """Wait until everything is settled, but not for ever; then hang up."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.unsettled and time.monotonic() < deadline:
            await asyncio.sleep(TICK_SECONDS)
        for connection in self._all:
            connection.close()

    def answered(self, connection: Connection) -> None:
        """A connection is free again."""
        self._settle()
        self._employ(connection)

    def lost(self, connection: Connection, was_at_work: bool) -> None:
        """A connection is gone."""
        self._all.discard(connection)
        if was_at_work:
            self._settle()
        elif connection in self._free:
            self._free.remove(connection)

    async def _open(self) -> None:
        try:
            _, connection = await self._loop.create_connection(
                lambda: Connection(self._request, self), self._address.hostname, self._address.port
            )
        except OSError:
            if self._waiting:
                self._waiting.popleft()
                self._settle()
            return
        self._all.add(connection)
        self._employ(connection)

    def _employ(self, connection: Connection) -> None:
        if self._waiting:
            connection.send(self._waiting.popleft())
        else:
            self._free.append(connection)

    def _settle(self) -> None:
        self.unsettled -= 1
        self._settled()


_ending: Event


def _begin(ending: Event) -> None:
    global _ending
    _ending = ending
    # Looking through hundreds of thousands of exchanges for garbage would make the load uneven.
    gc.disable()


def _closed(ask: Ask, connections: int, seconds: float) -> list[Exchange]:
    return uvloop.run(_send_in_turn(ask, connections, seconds))


def _open(ask: Ask, began: float, phases: Sequence[Phase], connections: int) -> list[Exchange]:
    return uvloop.run(_send_when_due(ask, began, phases, connections))


async def _send_in_turn(ask: Ask, connections: int, seconds: float) -> list[Exchange]:
    exchanges: list[Exchange] = []
    end = time.monotonic() + seconds

    def send() -> None:
        if (now := time.monotonic()) < end and not _ending.is_set():
            exchanges.append(Exchange(now))
            pool.send(exchanges[-1])

    pool = Pool(ask, connections, send)
    for _ in range(connections):
        send()
    while time.monotonic() < end and not _ending.is_set():
        await asyncio.sleep(LOOK_SECONDS)
    await pool.drain()
    return exchanges


async def _send_when_due(ask: Ask, began: float, phases: Sequence[Phase], connections: int) -> list[Exchange]:
    exchanges: list[Exchange] = []
    pool = Pool(ask, connections)
    for number, phase in enumerate(phases):
        for due in _moments(began, phase):
            while (early := due - time.monotonic()) > 0:
                await asyncio.sleep(max(early, TICK_SECONDS))
            exchanges.append(Exchange(due, number))
            pool.send(exchanges[-1])
            if len(exchanges) % SENT_AT_ONCE == 0:
                await asyncio.sleep(0)
        pool.give_up_waiting()
        # A phase that could not be sent in time must not go on in the next one.
        began = max(began + phase.seconds, time.monotonic())
    await pool.drain()
    return exchanges


def _moments(began: float, phase: Phase) -> Iterator[float]:
    return (began + number / phase.rate for number in range(round(phase.rate * phase.seconds)))
