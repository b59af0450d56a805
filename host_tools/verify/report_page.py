"""`report.html`: a `VerificationReport` for people, in one file without network."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from host_tools.pages.charts import Bar, Series, bar_chart, line_chart
from host_tools.pages.page import percent, render
from host_tools.verify.latency import ROUNDS
from host_tools.verify.layers import SAMPLES as LAYER_SAMPLES
from host_tools.verify.node_data import NODE_DATA_FILE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup

    from host_tools.verify.verification_report import (
        Latency,
        LayerError,
        Quality,
        TargetReport,
        VerificationReport,
    )

_WORST_LAYERS = 8
_CEILING_DB = 80.0  # an exact layer has no finite SQNR; it is drawn at this height


def render_report(report: VerificationReport, *, diagnosis: Markup | None = None) -> str:
    """Return the page as HTML text.

    Args:
        report: What was measured.
        diagnosis: The part that says where accuracy is lost, as HTML; None leaves it out.
    """
    metrics = list(dict.fromkeys(quality.metric for target in report.targets for quality in target.quality))
    return render(
        "conversion.html",
        title=f"{report.model}: conversion report",
        report=report,
        diagnosis=diagnosis,
        metrics=metrics,
        quality={
            target.target: {item.metric: _shown(item, item.payload_value) for item in target.quality}
            for target in report.targets
        },
        float_quality={
            item.metric: _shown(item, item.float_value)
            for target in report.targets
            for item in target.quality
        },
        quality_samples=max(
            (item.sample_count for target in report.targets for item in target.quality), default=0
        ),
        float_bytes=report.targets[0].float_bytes if report.targets else 0,
        latency_chart=_latency_chart(report),
        layer_chart=_layer_chart(report.targets),
        worst_layers={target.target: _worst_layers(target.layers) for target in report.targets},
        rounds=ROUNDS,
        layer_samples=LAYER_SAMPLES,
        node_data_file=NODE_DATA_FILE,
    )


def _shown(quality: Quality, value: float) -> str:
    return percent(value) if quality.metric.startswith("top-") else f"{value:.4g}"


def _latency_chart(report: VerificationReport) -> Markup | None:
    rows: list[tuple[str, Latency | None, int | None]] = [("float, ONNX Runtime", report.float_latency, None)]
    rows += [
        (f"{target.target}, {target.engine}", target.latency, index)
        for index, target in enumerate(report.targets)
    ]
    bars = [
        Bar(
            label=label,
            value=1e3 * latency.median_seconds,
            low=1e3 * latency.fastest_round_seconds,
            high=1e3 * latency.slowest_round_seconds,
            series=series,
        )
        for label, latency, series in rows
        if latency is not None
    ]
    return bar_chart(bars, title="Latency, batch 1", x_label="milliseconds") if bars else None


def _layer_chart(targets: Sequence[TargetReport]) -> Markup:
    positions = _positions([[layer.value for layer in target.layers] for target in targets])
    series = [
        Series(
            label=target.target,
            x=[positions[layer.value] for layer in target.layers],
            y=[_height(layer) for layer in target.layers],
        )
        for target in targets
    ]
    return line_chart(
        series,
        title="SQNR by layer",
        x_label="tensor, in order of execution",
        y_label="SQNR in dB",
        markers=True,
    )


def _positions(runs: Sequence[Sequence[str]]) -> dict[str, int]:
    """Return the place of every tensor in an order that holds for all targets: what only some have follows what it follows there."""
    order: list[str] = []
    for run in runs:
        place = 0
        for value in run:
            if value not in order:
                order.insert(place, value)
            place = order.index(value) + 1
    return {value: position for position, value in enumerate(order)}


def _height(layer: LayerError) -> float:
    if layer.sqnr_db is None:
        return _CEILING_DB
    return min(layer.sqnr_db, _CEILING_DB) if math.isfinite(layer.sqnr_db) else math.nan


def _worst_layers(layers: Sequence[LayerError]) -> list[LayerError]:
    return sorted(
        (layer for layer in layers if layer.sqnr_db is not None), key=lambda layer: layer.sqnr_db or 0.0
    )[:_WORST_LAYERS]
