"""A diagnosis as text for a terminal of 80 columns: the few layers that cost most, why, and what to do next."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from host_tools.diagnose.sparkline import bar, sparkline
from host_tools.diagnose.suggestion import suggestion_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from host_tools.diagnose.diagnosis import Diagnosis, LayerDiagnosis
    from host_tools.verify.samples import ClassSwap, SampleError
    from host_tools.verify.verification_report import TargetReport

WIDTH = 80
_LAYERS = 5
_SAMPLES = 5
_NOTES = 5
_CEILING_DB = 60.0
_NAME = 36


def explain_target(report: TargetReport, diagnosis: Diagnosis | None) -> str:
    """Return one target: verdict, what the conversion noted, costliest layers, what to do, worst samples.

    Args:
        report: What verification found.
        diagnosis: Where it loses signal; None where nobody looked.
    """
    lines = [*_head(report)]
    if diagnosis is None:
        lines += ["", *wrapped("Not diagnosed: convert with --diagnose to see which layers cost most.")]
    else:
        lines += [
            *_depth(diagnosis),
            *_costliest(diagnosis),
            *_ladder(diagnosis),
            *_next(diagnosis),
            *_samples(diagnosis),
        ]
    return "\n".join(lines) + "\n"


def wrapped(text: str, indent: str = "") -> list[str]:
    """Return a text in lines of at most `WIDTH`, every one indented."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def decibels(value: float | None) -> str:
    """Return e.g. ``17.6 dB``."""
    return "exact" if value is None else f"{value:.1f} dB"


def shortened(name: str, width: int) -> str:
    """Return a name with its middle left out where it is too long: both ends tell layers apart."""
    if len(name) <= width:
        return name
    head = (width - 1) // 2
    return f"{name[:head]}…{name[len(name) - (width - 1 - head) :]}"


def _head(report: TargetReport) -> Iterator[str]:
    yield f"{report.target}: {report.verdict}"
    shares = [
        f"{one.metric} {_shown(one.metric, one.payload_value)} (float {_shown(one.metric, one.float_value)})"
        for one in report.quality
    ]
    if report.agreement.same_top_class is not None:
        shares.append(f"same class as float {report.agreement.same_top_class:.1%}")
    shares.append(f"output SQNR {decibels(report.agreement.sqnr_db)}")
    yield from wrapped(f"{', '.join(shares)}; {report.agreement.sample_count} samples", "  ")
    for reason in report.reasons:
        yield from wrapped(reason, "  ")
    for note in report.warnings[:_NOTES]:
        yield from wrapped(f"note: {note}", "  ")
    if len(report.warnings) > _NOTES:
        yield f"  {len(report.warnings) - _NOTES} more notes are in report.html."


def _shown(metric: str, value: float) -> str:
    return f"{100.0 * value:.1f} %" if metric.startswith("top-") else f"{value:.4g}"


def _depth(diagnosis: Diagnosis) -> Iterator[str]:
    layers = [layer for layer in diagnosis.layers if layer.what_if is not None]
    if not layers:
        return
    shares = [layer.what_if.noise_share if layer.what_if else 0.0 for layer in layers]
    seen = [
        min(layer.cumulative_db if layer.cumulative_db is not None else _CEILING_DB, _CEILING_DB)
        for layer in layers
        if layer.is_seen
    ]
    yield ""
    yield f"From the first of {len(layers)} layers to the last"
    yield f"  {sparkline(shares, width=WIDTH - 4, join=sum)}"
    yield "  share of the error at the output, each layer quantized alone"
    if seen:
        yield f"  {sparkline(seen, width=WIDTH - 4, join=min, low=0.0)}"
        yield f"  SQNR so far, all quantized: {seen[0]:.0f} dB at the first, {seen[-1]:.0f} dB at the last"


def _costliest(diagnosis: Diagnosis) -> Iterator[str]:
    costly = diagnosis.costliest(_LAYERS)
    yield ""
    if not costly:
        yield "No layer disturbs the output."
        return
    yield f"{'Costliest layers':<{_NAME + 19}} share   if exact"
    for rank, layer in enumerate(costly, start=1):
        what_if = layer.what_if
        if what_if is None:
            continue
        operators = shortened("+".join((layer.op_type, *layer.fused)), 15)
        yield (
            f"{rank:>2} {shortened(layer.name, _NAME):<{_NAME}} {operators:<15} {what_if.noise_share:>5.0%} "
            f"{what_if.gain_db:>+8.1f} dB"
        )
        for finding in layer.findings:
            yield from wrapped(finding.text, "     ")
        for remedy in layer.remedies[:2]:
            yield from wrapped(f"→ {remedy.text} {_gained(remedy.gain_db)}", "     ")


def _gained(gain_db: float | None) -> str:
    return "" if gain_db is None else f"({gain_db:+.1f} dB)"


def _ladder(diagnosis: Diagnosis) -> Iterator[str]:
    if not diagnosis.ladder:
        return
    yield ""
    yield "Output SQNR with the costliest operators in float, all others as they are"
    highest = max((rung.sqnr_db or _CEILING_DB for rung in diagnosis.ladder), default=_CEILING_DB)
    rungs = [(0, diagnosis.output_sqnr_db), *((len(rung.layers), rung.sqnr_db) for rung in diagnosis.ladder)]
    for count, sqnr in rungs:
        value = _CEILING_DB if sqnr is None else max(sqnr, 0.0)
        yield f"  {count:>2} in float  {decibels(sqnr):>8}  {bar(value, highest, width=50)}"


def _next(diagnosis: Diagnosis) -> Iterator[str]:
    suggestion = suggestion_of(diagnosis)
    yield ""
    yield "What to do next"
    yield from wrapped(suggestion.text, "  ")
    if suggestion.recipe:
        yield ""
        yield from (f"    {line}" for line in suggestion.recipe.splitlines())
    costly = diagnosis.costliest(1)
    if costly:
        yield ""
        yield from wrapped(f"All about one layer: edgewright explain … --layer {costly[0].name}", "  ")


def _samples(diagnosis: Diagnosis) -> Iterator[str]:
    samples = diagnosis.samples
    if samples.worst:
        yield ""
        yield f"Worst of {samples.sample_count} samples"
        yield from (_sample_row(sample) for sample in samples.worst[:_SAMPLES])
    if samples.swaps:
        yield ""
        yield f"Top class changed in {samples.changed_count} of {samples.class_samples} samples; most often"
        yield from (_swap_row(swap) for swap in samples.swaps[:_SAMPLES])


def _sample_row(sample: SampleError) -> str:
    classes = ""
    if sample.float_class is not None:
        same = sample.float_class == sample.payload_class
        classes = (
            f"  class {sample.float_class}"
            if same
            else f"  class {sample.float_class} → {sample.payload_class}"
        )
    label = "" if sample.label is None else f" (label {sample.label})"
    return f"  {decibels(sample.sqnr_db):>9}  {shortened(sample.id, 36):<36}{classes}{label}"


def _swap_row(swap: ClassSwap) -> str:
    right = (
        ""
        if swap.float_right is None
        else f"; float right in {swap.float_right}, payload in {swap.payload_right}"
    )
    return (
        f"  {swap.float_class:>4} → {swap.payload_class:<4} {swap.count} of {swap.float_class_count}{right}"
    )


def layer_title(layer: LayerDiagnosis) -> str:
    """Return a layer's name and operators in one line."""
    return f"{layer.name}: {' + '.join((layer.op_type, *layer.fused))}, {layer.precision}"
