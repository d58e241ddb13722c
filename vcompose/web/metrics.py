"""What Prometheus is told: request times by route, and the jobs' room's own numbers, read when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from vcompose.jobs.lifecycle import State
from vcompose.jobs.service import Service

_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "DELETE", "PATCH", "PUT", "OPTIONS"})


class Metrics:
    """One registry for one server."""

    def __init__(self, service: Service) -> None:
        self._registry = CollectorRegistry()
        self._requests = Histogram(
            "vcompose_request_seconds",
            "Seconds until the answer, by route; 499 is a client that went away",
            ("method", "route", "status"),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._numbers = _Numbers(service)
        self._registry.register(self._numbers)
        self._service = service

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        known = method if method in _METHODS else "other"
        self._requests.labels(known, route, str(status)).observe(seconds)

    async def text(self) -> bytes:
        """The exposition."""
        self._numbers.counts = await self._service.counts()
        return generate_latest(self._registry)


METRICS: Final = web.AppKey("metrics", Metrics)


class _Numbers(Collector):
    def __init__(self, service: Service) -> None:
        self._service = service
        self.counts: dict[State, int] = {}

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        service, meter = self._service, self._service.meter
        yield GaugeMetricFamily("vcompose_jobs_queued", "Jobs that wait", self.counts.get(State.PENDING, 0))
        yield GaugeMetricFamily("vcompose_jobs_running", "Jobs that are being made", service.running)
        yield GaugeMetricFamily("vcompose_watchers", "Sockets and long polls that hear changes", service.watchers)
        yield GaugeMetricFamily("vcompose_free_bytes", "Bytes that may still be written", service.free())
        ended = CounterMetricFamily("vcompose_jobs_ended", "Jobs that ended, by state", labels=("state",))
        for state in (State.COMPLETED, State.FAILED, State.CANCELLED):
            ended.add_metric([state.value], meter.ended[state])
        yield ended
        yield CounterMetricFamily("vcompose_received_bytes", "Bytes of clips received", meter.bytes_received)
        yield CounterMetricFamily("vcompose_made_bytes", "Bytes of films made", meter.bytes_made)
        yield CounterMetricFamily("vcompose_encoded_seconds", "Seconds of film encoded", meter.encoded_seconds)
        yield CounterMetricFamily("vcompose_encoding_seconds", "Wall seconds of that encoding", meter.encoding_seconds)
        speed = sum(speed or 0.0 for speed, _ in meter.live.values())
        yield GaugeMetricFamily("vcompose_speed", "Seconds of film a second, all running jobs together", speed)
