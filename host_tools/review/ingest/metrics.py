"""`Metrics`: figures of an ingest for Prometheus, at ``http://127.0.0.1:PORT/metrics``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from host_tools.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric

    from host_tools.review.ingest.overview import Overview

_COUNTERS = {
    "received": ("received_messages", "Messages that came from the broker"),
    "received_bytes": ("received_bytes", "Payload bytes that came from the broker"),
    "judged": ("judged_messages", "Messages that took the slow way to be decoded"),
    "messages": ("written_messages", "New messages committed to the store"),
    "duplicates": ("duplicate_messages", "Messages that the store had already"),
    "dead_letters": ("dead_letters", "Messages that were not understood, committed"),
    "commits": ("commits", "Transactions"),
    "commit_seconds": ("commit_seconds", "Time spent in transactions"),
    "roll_up_seconds": ("roll_up_seconds", "Time spent in roll-ups and removals"),
    "store_failures": ("store_failures", "Attempts that the store refused"),
    "restarts": ("restarts", "Processes that died and were replaced"),
}
_GAUGES = {
    "held": ("held_messages", "Messages received and not acknowledged"),
    "held_bytes": ("held_bytes", "What they take"),
    "lag_seconds": ("lag_seconds", "Age of the oldest message of the latest transaction"),
    "connected": ("connected_workers", "Workers that are subscribed"),
    "workers": ("workers", "Workers that there ought to be"),
}


class Metrics:
    """Serves the latest overview.

    Args:
        port: TCP port on loopback.

    Raises:
        InputError: The port cannot be used.
    """

    def __init__(self, port: int) -> None:
        self._latest: Overview | None = None
        registry = CollectorRegistry()
        registry.register(self)
        try:
            start_http_server(port, addr="127.0.0.1", registry=registry)
        except OSError as error:
            raise InputError(
                f"--metrics {port}: cannot be listened on: {error.strerror or error}.",
                hint="Name another port.",
            ) from error

    def show(self, overview: Overview) -> None:
        """Take the latest figures."""
        self._latest = overview

    def collect(self) -> Iterator[Metric]:
        """Yield the figures; called by the registry."""
        if self._latest is None:
            return
        for attribute, (name, text) in _COUNTERS.items():
            yield CounterMetricFamily(
                f"edgewright_ingest_{name}", text, value=getattr(self._latest, attribute)
            )
        for attribute, (name, text) in _GAUGES.items():
            yield GaugeMetricFamily(f"edgewright_ingest_{name}", text, value=getattr(self._latest, attribute))
