"""Prometheus metrics of one app."""

import time
from collections.abc import Iterator
from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from sqlalchemy import Engine
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.store import experiments
from service.store.database import reading


class Telemetry:
    """Counters of the API, and the queue's lengths as the database has them when they are asked for.

    Args:
        shared: whether this is one of several processes; `PROMETHEUS_MULTIPROC_DIR` must have been set then before
            prometheus_client was imported.
    """

    def __init__(self, database: Engine, shared: bool = False) -> None:
        self._database = database
        self._registry = CollectorRegistry()
        self._registry.register(self)
        # What is counted is registered where it is counted; or, by several processes, in files of a common folder, so
        # that each of them can answer with the sums.
        registry = None if shared else self._registry
        if shared:
            MultiProcessCollector(self._registry)  # type: ignore[no-untyped-call]
        labels = ("method", "route", "status")
        # Looking labels up takes longer than counting.
        self._of_route = lru_cache(1024)(
            lambda method, route, status: (
                self._requests.labels(method, route, status),
                self._seconds.labels(method, route),
            )
        )
        self._of_model = lru_cache(1024)(lambda model: self._images.labels(model))
        self._requests = Counter("numeral_http_requests", "Requests answered", labels, registry=registry)
        self._seconds = Histogram(
            "numeral_http_request_seconds",
            "Time to an answer's last byte",
            ("method", "route"),
            registry=registry,
        )
        self._images = Counter("numeral_predicted_images", "Images classified", ("model",), registry=registry)
        self._batches = Histogram(
            "numeral_batch_images",
            "Images classified in one go",
            registry=registry,
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
        )

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered, under its route's template."""
        requests, histogram = self._of_route(method, route, status)
        requests.inc()
        histogram.observe(seconds)

    def classified(self, model: int, images: int) -> None:
        """A request's images were classified."""
        self._of_model(model).inc(images)

    def batch(self, images: int) -> None:
        """Images went through a model in one go."""
        self._batches.observe(images)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Called by the registry for each exposition."""
        with reading(self._database) as session:
            counted = experiments.count_by_state(session)
        family = GaugeMetricFamily("numeral_experiments", "Experiments in each state", labels=("state",))
        for state, count in counted.items():
            family.add_metric((state,), count)
        yield family

    def describe(self) -> list[GaugeMetricFamily]:
        """Nothing: without this the registry would ask the database at start-up."""
        return []

    def exposition(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self._registry)


class TelemetryMiddleware:
    """Counts and times every request under the route's template, so that ids do not become label values."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self.app = app
        self.telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = 500
        began = time.perf_counter()

        async def observe(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, observe)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            self.telemetry.answered(scope["method"], route, status, time.perf_counter() - began)
