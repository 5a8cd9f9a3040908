"""Prometheus metrics of one app."""

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from sqlalchemy import Engine
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.store import experiments
from service.store.database import reading


class Telemetry:
    """Counters of the API process, and the queue's lengths as the database has them when they are asked for."""

    def __init__(self, database: Engine) -> None:
        self._database = database
        self._registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self.requests = Counter("numeral_http_requests", "Requests answered", labels, registry=self._registry)
        self.seconds = Histogram(
            "numeral_http_request_seconds",
            "Time to an answer's last byte",
            ("method", "route"),
            registry=self._registry,
        )
        self.images = Counter("numeral_predicted_images", "Images classified", ("model",), registry=self._registry)
        self._registry.register(self)

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
            self.telemetry.requests.labels(scope["method"], route, status).inc()
            self.telemetry.seconds.labels(scope["method"], route).observe(time.perf_counter() - began)
