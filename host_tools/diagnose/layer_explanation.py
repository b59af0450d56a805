"""Everything about one layer as text: its errors, its tensors against their codes, its channels, and the plan's reasons."""

from __future__ import annotations

from typing import TYPE_CHECKING

from host_tools.diagnose.explanation import decibels, layer_title, wrapped
from host_tools.diagnose.sparkline import sparkline
from host_tools.plan.explain import described

if TYPE_CHECKING:
    from collections.abc import Iterator

    from host_tools.diagnose.diagnosis import LayerDiagnosis, TensorDiagnosis
    from host_tools.plan.quantization_plan import QuantizationPlan

_CHART = 64


def explain_layer(layer: LayerDiagnosis, plan: QuantizationPlan) -> str:
    """Return one layer as text.

    Args:
        layer: The layer.
        plan: The plan of its target.
    """
    lines = [
        layer_title(layer),
        *wrapped(layer.reason, "  "),
        *_errors(layer),
        *_why(layer),
        *(_tensor("Output", layer.output) if layer.output else ()),
        *(_tensor("Weights", layer.weights) if layer.weights else ()),
        *planned(layer.name, plan),
    ]
    return "\n".join(lines) + "\n"


def _errors(layer: LayerDiagnosis) -> Iterator[str]:
    yield ""
    if layer.copies is not None:
        yield from wrapped(f"It passes on the codes of {layer.copies} and loses nothing by itself.", "  ")
    else:
        yield from _row("SQNR of its output, this layer alone quantized", layer.local_db)
        if layer.weights_db is not None or layer.weights is not None:
            yield from _row("  its weights alone", layer.weights_db)
        if layer.output is not None:
            yield from _row("  its output alone", layer.output_db)
    if layer.is_seen:
        yield from _row("SQNR of its output, everything quantized, in the engine", layer.cumulative_db)
    what_if = layer.what_if
    if what_if is None:
        return
    yield from _row("SQNR at the network's output, this layer alone quantized", what_if.alone_db)
    yield f"  {'share of the error of all layers':<58} {what_if.noise_share:>8.1%}"
    yield f"  {'what if this layer were exact, all others quantized':<58} {what_if.gain_db:>+8.2f} dB"
    if what_if.gain_weights_db is not None:
        yield f"  {'  its weights alone (keep_float)':<58} {what_if.gain_weights_db:>+8.2f} dB"
    if what_if.gain_output_db is not None:
        yield f"  {'  its output alone (16 bits)':<58} {what_if.gain_output_db:>+8.2f} dB"


def _row(text: str, value: float | None) -> Iterator[str]:
    yield f"  {text:<58} {decibels(value):>11}"


def _why(layer: LayerDiagnosis) -> Iterator[str]:
    if layer.findings:
        yield from ("", "Why")
    for finding in layer.findings:
        yield from wrapped(finding.text, "  ")
    if layer.remedies:
        yield from ("", "What was tried and helped")
    for remedy in layer.remedies:
        gained = "" if remedy.gain_db is None else f" Output SQNR {remedy.gain_db:+.1f} dB."
        yield from wrapped(f"{remedy.text}{gained}", "  ")
        yield from (f"    {line}" for line in remedy.recipe.splitlines())


def _tensor(title: str, tensor: TensorDiagnosis) -> Iterator[str]:
    yield from ("", f"{title} {tensor.name}")
    yield from wrapped(tensor.reason, "  ")
    scales = (
        f"scale {tensor.scale:.6g}"
        if tensor.scales == 1
        else f"{tensor.scales} scales up to {tensor.scale:.6g}"
    )
    yield from wrapped(
        f"{tensor.dtype}, {scales}, zero point {tensor.zero_point}; codes for [{tensor.low:.5g}, {tensor.high:.5g}]; the middle 99.9 % "
        f"span {tensor.bulk_levels} of {tensor.levels} codes; {tensor.clipped_share:.3%} clipped, {tensor.clipping_noise_share:.0%} of "
        f"the rounding error.",
        "  ",
    )
    yield from _histogram(tensor)
    if tensor.channel_count > 1:
        yield (
            f"  {tensor.narrow_channels} of {tensor.channel_count} channels span less than an eighth of the codes"
        )
        yield f"  {'channel':>8} {'SQNR':>10} {'lowest':>11} {'highest':>11} {'codes':>7} {'of the error':>13}"
    for channel in tensor.channels if tensor.channel_count > 1 else ():
        yield (
            f"  {channel.channel:>8} {decibels(channel.sqnr_db):>10} {channel.low:>11.4g} {channel.high:>11.4g} "
            f"{channel.codes:>7} {channel.noise_share:>13.1%}"
        )


def _histogram(tensor: TensorDiagnosis) -> Iterator[str]:
    """Draw square roots, so that tails are seen beside the bulk; below stand the ends of the range that has codes."""
    histogram = tensor.histogram
    roots = [share**0.5 for share in histogram.shares]
    yield f"  {sparkline(roots, width=_CHART, join=max)}"
    width = histogram.high - histogram.low
    marks = [" "] * _CHART
    for value, mark in ((tensor.low, "["), (tensor.high, "]")):
        at = (value - histogram.low) / width * _CHART
        marks[min(max(round(at), 0), _CHART - 1)] = mark
    yield f"  {''.join(marks).rstrip()}"
    yield f"  {histogram.low:<{_CHART // 2}.5g}{histogram.high:>{_CHART // 2}.5g}"
    yield f"  Counted: {histogram.origin}; brackets: what has codes."


def planned(name: str, plan: QuantizationPlan) -> Iterator[str]:
    """Yield what the plan says of the named node, of what is fused into it, and of the edges that it reads re-quantized."""
    nodes = [node for node in plan.nodes.values() if name in (node.name, node.fused_into)]
    if nodes:
        yield from ("", "Plan")
    for node in nodes:
        yield from wrapped(f"{node.op_type} {node.name}: {node.reason}", "  ")
    for edge in plan.requantize:
        if edge.node == name:
            yield from wrapped(f"input {edge.input_index}: {described(edge.qparams)}; {edge.reason}", "  ")
