"""The fleet's measures as OpenTelemetry metrics, sent to a collector as OTLP over HTTP.

One point a window and artifact, with the window's own times, so that what is sent late lands where it belongs. Histograms
go as they are stored, base-2 exponential buckets: nothing is turned into quantiles on the way.

Source: OpenTelemetry protocol specification 1.x, "OTLP/HTTP"; semantic conventions ``hw.*`` for power and temperature.
"""

from __future__ import annotations

import gzip
import math
import urllib.error
import urllib.request
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from device_agent import __version__
from device_agent.contract.errors import TransferError
from host_tools.errors import InputError
from host_tools.review.serve.measures import ratio_columns
from host_tools.review.store.histograms import lowered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from host_tools.review.store.windows import WindowTable

_ROWS_A_REQUEST = 200
_TIMEOUT_SECONDS = 30.0
_MOST_ANSWER_BYTES = 65536
_NANOSECONDS = 1_000_000_000
_MOST_BUCKETS = 2048
"""Of a point: 64 octaves as agents count. The wire has all between the first and the last, and a device may name any two."""


def send(
    table: WindowTable,
    url: str,
    *,
    names: Mapping[str, str],
    headers: Mapping[str, str],
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Send windows; return how many points the collector took.

    Args:
        table: Windows by ``time`` and ``artifact``.
        url: The collector; without a path, ``/v1/metrics`` is asked for.
        names: Model and version by artifact, as far as they are known.
        headers: Sent along, such as a token.
        progress: Told after each request how many windows are sent.

    Raises:
        InputError: The address is none of HTTP.
        TransferError: The collector cannot be reached, refuses, or takes only a part.
    """
    address = endpoint(url)
    taken = 0
    for first in range(0, len(table.devices), _ROWS_A_REQUEST):
        rows = range(first, min(first + _ROWS_A_REQUEST, len(table.devices)))
        metrics = _metrics(table, rows, names)
        taken += sum(len(getattr(metric, str(metric.WhichOneof("data"))).data_points) for metric in metrics)
        _post(address, _whole(metrics).SerializeToString(), headers)
        progress(rows.stop)
    return taken


def endpoint(url: str) -> str:
    """Return where metrics are posted to.

    Raises:
        InputError: It is no address of HTTP.
    """
    wrong = InputError(f"--otlp: expected http://HOST[:PORT] or https://…, got {url[:200]!r}.")
    try:
        parts = urlsplit(url)
        is_one = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError as error:  # a port that is no number, brackets that do not match
        raise wrong from error
    if not is_one:
        raise wrong
    return url if parts.path.strip("/") else f"{url.rstrip('/')}/v1/metrics"


def _whole(metrics: list[Metric]) -> ExportMetricsServiceRequest:
    scope = ScopeMetrics(
        scope=InstrumentationScope(name="edgewright.review", version=__version__), metrics=metrics
    )
    resource = Resource(attributes=_pairs({"service.name": "edgewright", "service.version": __version__}))
    return ExportMetricsServiceRequest(
        resource_metrics=[ResourceMetrics(resource=resource, scope_metrics=[scope])]
    )


def _metrics(table: WindowTable, rows: range, names: Mapping[str, str]) -> list[Metric]:
    ratios = ratio_columns(table)
    sums: tuple[tuple[str, str, str, NDArray[np.generic]], ...] = (
        ("edgewright.inferences", "{inference}", "Inferences that gave a result", table.inferences),
        ("edgewright.inference.errors", "{inference}", "Inferences that failed", table.errors),
        ("edgewright.frames.dropped", "{frame}", "Frames that were not inferred", table.dropped),
        (
            "edgewright.inference.energy",
            "J",
            "Gross energy of inference, where it was told",
            table.energy_joules,
        ),
    )
    gauges = (
        ("hw.host.power", "W", "Mean power of the devices that measure it", ratios["watts"]),
        ("hw.temperature", "Cel", "Mean of the devices' hottest sensors", ratios["celsius"]),
        ("edgewright.temperature.max", "Cel", "Hottest sensor of all", table.celsius_max),
        (
            "edgewright.throttled",
            "1",
            "Share of thermal samples that told of throttling",
            ratios["throttled_share"],
        ),
        ("edgewright.devices", "{device}", "Devices that reported", table.devices.astype(np.float64)),
    )
    metrics = [
        Metric(
            name=name,
            description=text,
            unit=unit,
            sum=Sum(
                data_points=[_number(table, row, values[row].item(), names) for row in rows],
                aggregation_temporality=AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA,
                is_monotonic=True,
            ),
        )
        for name, unit, text, values in sums
    ]
    metrics += [
        Metric(
            name=name,
            description=text,
            unit=unit,
            gauge=Gauge(
                data_points=[
                    _number(table, row, float(values[row]), names)
                    for row in rows
                    if math.isfinite(values[row])
                ]
            ),
        )
        for name, unit, text, values in gauges
    ]
    latency = Metric(
        name="edgewright.inference.latency",
        description="Latency in the engine",
        unit="s",
        exponential_histogram=ExponentialHistogram(
            data_points=list(_histograms(table, rows, names)),
            aggregation_temporality=AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA,
        ),
    )
    return [*(metric for metric in metrics if metric.sum.data_points or metric.gauge.data_points), latency]


def _histograms(
    table: WindowTable, rows: range, names: Mapping[str, str]
) -> Iterator[ExponentialHistogramDataPoint]:
    hist = table.hist
    for row in rows:
        indices = hist.indices[hist.offsets[row] : hist.offsets[row + 1]]
        counts = hist.counts[hist.offsets[row] : hist.offsets[row + 1]]
        scale, low, dense = _without_gaps(hist.scale, indices, counts)
        start, end = _times(table, row)
        point = ExponentialHistogramDataPoint(
            attributes=_attributes(table, row, names),
            start_time_unix_nano=start,
            time_unix_nano=end,
            count=int(counts.sum() + hist.zero_counts[row]),
            sum=float(table.latency_sum[row]),
            scale=scale,
            zero_count=int(hist.zero_counts[row]),
            positive=ExponentialHistogramDataPoint.Buckets(offset=low, bucket_counts=dense.tolist()),
        )
        if point.count:
            point.min, point.max = float(table.latency_min[row]), float(table.latency_max[row])
        yield point


def _without_gaps(
    scale: int, indices: NDArray[np.int32], counts: NDArray[np.int64]
) -> tuple[int, int, NDArray[np.int64]]:
    """Return scale, first index and counts of buckets in a row, which become coarser where they lie too far apart."""
    if not indices.size:
        return scale, 0, np.zeros(0, np.int64)
    first, last, by = int(indices[0]), int(indices[-1]), 0
    while (last >> by) - (first >> by) >= _MOST_BUCKETS:
        by += 1
    low = first >> by
    dense = np.zeros((last >> by) - low + 1, np.int64)
    np.add.at(dense, lowered(indices, by) - low, counts)
    return scale - by, low, dense


def _number(table: WindowTable, row: int, value: float, names: Mapping[str, str]) -> NumberDataPoint:
    start, end = _times(table, row)
    attributes = _attributes(table, row, names)
    if isinstance(value, int):
        return NumberDataPoint(
            attributes=attributes, start_time_unix_nano=start, time_unix_nano=end, as_int=value
        )
    return NumberDataPoint(
        attributes=attributes, start_time_unix_nano=start, time_unix_nano=end, as_double=value
    )


def _times(table: WindowTable, row: int) -> tuple[int, int]:
    start = int(table.key("time")[row])
    return start * _NANOSECONDS, (start + table.level.seconds) * _NANOSECONDS


def _attributes(table: WindowTable, row: int, names: Mapping[str, str]) -> list[KeyValue]:
    artifact = table.key("artifact")[row]
    if artifact is None:
        return []
    known = {"edgewright.artifact": str(artifact), "edgewright.model": names.get(str(artifact), "")}
    return _pairs({name: value for name, value in known.items() if value})


def _pairs(texts: Mapping[str, str]) -> list[KeyValue]:
    return [KeyValue(key=name, value=AnyValue(string_value=value)) for name, value in texts.items()]


def _post(address: str, body: bytes, headers: Mapping[str, str]) -> None:
    request = urllib.request.Request(  # noqa: S310 - `endpoint` has seen that it is HTTP
        address,
        data=gzip.compress(body, compresslevel=5),
        headers={
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": "gzip",
            "User-Agent": f"edgewright/{__version__}",
            **headers,
        },
        method="POST",
    )
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 - likewise
            told = answer.read(_MOST_ANSWER_BYTES)
    except urllib.error.HTTPError as error:
        with error:
            reason = error.read(500).decode(errors="replace").strip()
        raise TransferError(
            f"{address}: the collector refused with {error.code} {error.reason}{f': {reason}' if reason else ''}.",
            hint="Does it take OTLP over HTTP, is its path right, and does it want a --header?",
        ) from error
    except (OSError, ValueError) as error:
        raise TransferError(
            f"{address}: {getattr(error, 'reason', None) or error}.", hint="Is the collector there?"
        ) from error
    partial = _partial(told)
    if partial:
        raise TransferError(f"{address}: {partial}", hint="The collector's own log says more.")


def _partial(told: bytes) -> str:
    """Return what the collector did not take, in words; empty when it took all, or says it in no way that we know."""
    try:
        answer = ExportMetricsServiceResponse.FromString(told)
    except Exception:  # noqa: BLE001 - protobuf's own error has no stable home; an answer that is none is no refusal
        return ""
    if not answer.HasField("partial_success") or not answer.partial_success.rejected_data_points:
        return ""
    return f"{answer.partial_success.rejected_data_points} points were refused: {answer.partial_success.error_message}"
