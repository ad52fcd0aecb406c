"""Counts for Prometheus. No label names a team, a split or a template."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

TIMES_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)


class Metrics:
    """What one server process counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self._requests = Counter("board_requests", "Requests answered.", labels, registry=self.registry)
        self._seconds = Histogram(
            "board_request_seconds", "Time to answer.", ("route",), buckets=TIMES_S, registry=self.registry
        )
        self.steps = Counter("board_steps", "Steps on disk and acknowledged.", registry=self.registry)
        self.batches = Counter("board_step_batches", "Transactions that steps were stored in.", registry=self.registry)
        self.rebuilt = Counter("board_rebuilt_episodes", "Episodes rebuilt by replay.", registry=self.registry)
        self.voided = Counter("board_void_episodes", "Episodes lost by a fault of ours.", registry=self.registry)
        self.expired = Counter("board_idle_episodes", "Episodes ended for idleness.", registry=self.registry)
        self.live = Gauge("board_live_worlds", "Worlds in memory.", registry=self.registry)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Note an answered request; a path that no route has is one label, so that nobody can make many."""
        method = method if method in ("GET", "POST", "PATCH", "HEAD", "PUT", "DELETE", "OPTIONS") else "other"
        self._requests.labels(method, route, status).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """All of it, in Prometheus' text form."""
        return generate_latest(self.registry)
