"""What the service counts, as Prometheus reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from autoshrink.service.server.queue import Queue, State

__all__ = ["TEXT", "Figures"]

TEXT = "text/plain; version=0.0.4; charset=utf-8"
_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Figures:
    """Counts requests as they come, and jobs when somebody asks."""

    def __init__(self, queue: Queue, followers: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "autoshrink_requests",
            "Requests by route and status.",
            ["route", "method", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "autoshrink_request_seconds",
            "Seconds until an answer began.",
            ["route", "method"],
            buckets=_BOUNDS,
            registry=self._registry,
        )
        self._registry.register(_Jobs(queue, followers))

    def count(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one request."""
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route, method).observe(seconds)

    def text(self) -> bytes:
        """Write everything down."""
        return generate_latest(self._registry)


class _Jobs(Collector):
    def __init__(self, queue: Queue, followers: Callable[[], int]) -> None:
        self._queue = queue
        self._followers = followers

    def describe(self) -> list[GaugeMetricFamily]:
        """Name nothing ahead, as that would ask the database when nobody wants to know."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Ask the queue."""
        counts = self._queue.counts()
        jobs = GaugeMetricFamily("autoshrink_jobs", "Jobs by state.", labels=["state"])
        for state, count in counts.items():
            jobs.add_metric([state.value], count)
        yield jobs
        yield GaugeMetricFamily("autoshrink_queue_length", "Jobs that wait.", value=counts[State.QUEUED])
        yield GaugeMetricFamily("autoshrink_followers", "Open streams of events.", value=self._followers())
