"""The fleet for a Prometheus to scrape: counters, histograms and gauges in base units, a bounded number of series.

Counters and histograms are sums over everything that the store keeps by day, so they only grow until retention takes days
away. Gauges are of the last five minutes before the newest message.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from host_tools.review.serve.directory import short_digest
from host_tools.review.serve.measures import ratio_columns
from host_tools.review.store.histograms import bounds
from host_tools.review.store.windows import Level, Selection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

    from host_tools.review.serve.directory import Roll
    from host_tools.review.store.telemetry_store import TelemetryStore
    from host_tools.review.store.windows import Histograms, WindowTable

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MOST_ARTIFACTS = 20
"""The artifacts that appeared last; ``edgewright_artifacts_left_out`` says how many there are besides."""
BOUNDS_SECONDS = tuple(2.0**exponent for exponent in (half / 2 for half in range(-26, 9)))
"""Upper bounds of the scraped histogram: half octaves from 122 µs to 16 s, which are bounds of the stored buckets too."""
_RECENT_SECONDS = 300.0
_LABELS = ["artifact"]
"""Nothing that a device words by itself: a name that changes with every message would be a series each time."""


def fleet_metrics(store: TelemetryStore, roll: Roll) -> bytes:
    """Return the text that a scrape gets.

    Raises:
        StoreError: The store cannot answer.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Fleet(list(_families(store, roll))))
    return generate_latest(registry)


class _Fleet:
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families


def _families(store: TelemetryStore, roll: Roll) -> Iterator[Metric]:
    end = math.ceil((roll.newest + 1.0) / 86400.0) * 86400.0
    ever = Selection(start=0.0, end=end)
    known = store.artifacts(ever)
    kept = known[:MOST_ARTIFACTS]
    yield from _devices(roll)
    left_out = GaugeMetricFamily(
        "edgewright_artifacts_left_out",
        "Artifacts in the store that have no series here, so that there are few",
    )
    left_out.add_metric([], len(known) - len(kept))
    yield left_out
    if kept:
        info = GaugeMetricFamily(
            "edgewright_artifact_info",
            "What the devices that run an artifact call its model",
            labels=["artifact", "model"],
        )
        for artifact in kept:
            info.add_metric([short_digest(artifact), roll.names.get(artifact, "")], 1.0)
        yield info
        chosen = Selection(start=0.0, end=end, artifacts=kept)
        yield from _totals(store.windows(chosen, level=Level.DAY, by=("artifact",)))
        recent = Selection(
            start=max(roll.newest - _RECENT_SECONDS, 0.0), end=roll.newest + 1.0, artifacts=kept
        )
        yield from _gauges(store.windows(recent, level=Level.SECONDS_10, by=("artifact",)))


def _devices(roll: Roll) -> Iterator[Metric]:
    devices = GaugeMetricFamily("edgewright_devices", "Devices by status", labels=["status"])
    counts = dict.fromkeys(("up", "degraded", "draining", "down", "silent", "unknown"), 0)
    for device in roll.devices.values():
        status = roll.status(device)
        counts[status if status in counts else "unknown"] += 1
    for status, count in counts.items():
        devices.add_metric([status], count)
    yield devices
    newest = GaugeMetricFamily("edgewright_newest_message_timestamp_seconds", "When the newest message came")
    newest.add_metric([], roll.newest)
    yield newest


def _totals(table: WindowTable) -> Iterator[Metric]:
    for name, text, values in (
        ("edgewright_inferences", "Inferences that gave a result", table.inferences),
        ("edgewright_inference_errors", "Inferences that failed", table.errors),
        ("edgewright_dropped_frames", "Frames that came and were not inferred", table.dropped),
        (
            "edgewright_inference_energy_joules",
            "Gross energy of inference, where it was told",
            table.energy_joules,
        ),
        (
            "edgewright_inferences_with_energy",
            "Inferences of the windows that told their energy",
            table.energy_inferences,
        ),
        ("edgewright_missing_messages", "Messages that are known to be missing by their numbers", table.gaps),
        ("edgewright_agent_starts", "Runs of the agent that began", table.starts),
    ):
        counter = CounterMetricFamily(name, text, labels=_LABELS)
        for labels, value in zip(_labels(table), values, strict=True):
            counter.add_metric(labels, float(value))
        yield counter
    latency = HistogramMetricFamily(
        "edgewright_inference_latency_seconds", "Latency in the engine", labels=_LABELS
    )
    for row, labels in enumerate(_labels(table)):
        latency.add_metric(labels, cumulative(table.hist, row), sum_value=float(table.latency_sum[row]))
    yield latency


def _gauges(table: WindowTable) -> Iterator[Metric]:
    ratios = ratio_columns(table)
    for name, text, values in (
        ("edgewright_power_watts", "Mean power of the devices that measure it", ratios["watts"]),
        ("edgewright_temperature_celsius", "Mean of the devices' hottest sensors", ratios["celsius"]),
        ("edgewright_temperature_max_celsius", "Hottest sensor of all", table.celsius_max),
        (
            "edgewright_throttled_ratio",
            "Share of thermal samples that told of throttling",
            ratios["throttled_share"],
        ),
        ("edgewright_cpu_ratio", "Mean share of the cores in use", ratios["cpu_share"]),
        ("edgewright_reporting_devices", "Devices that reported within five minutes", table.devices),
    ):
        gauge = GaugeMetricFamily(name, text, labels=_LABELS)
        for labels, value in zip(_labels(table), values, strict=True):
            if math.isfinite(value):
                gauge.add_metric(labels, float(value))
        yield gauge


def _labels(table: WindowTable) -> list[list[str]]:
    return [[short_digest(str(artifact))] for artifact in table.key("artifact").tolist()]


def cumulative(hist: Histograms, row: int) -> list[tuple[str, float]]:
    """Return a row as Prometheus counts it: values up to each bound, exact where stored buckets end at the bounds.

    Stored buckets of scale 1 or finer do; of a coarser one, a bucket counts at the first bound that holds all of it.
    """
    start, end = int(hist.offsets[row]), int(hist.offsets[row + 1])
    upper = bounds(hist.indices[start:end].astype(np.float64) + 1.0, hist.scale)
    counts = hist.counts[start:end]
    zeros = int(hist.zero_counts[row])
    buckets = [
        (repr(bound), float(zeros + counts[upper <= bound * (1.0 + 1e-9)].sum())) for bound in BOUNDS_SECONDS
    ]
    return [*buckets, ("+Inf", float(zeros + counts.sum()))]
