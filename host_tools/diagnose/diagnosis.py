"""`Diagnosis`: where one target loses accuracy, and what would bring it back.

All ratios are SQNR in decibels, 10 log10(sum of squares of float / sum of squares of the difference); None means that nothing differs.
Everything but `LayerDiagnosis.cumulative_db` and `Diagnosis.samples`, which come from the engine, is measured on the plan's own
arithmetic in float32, layer by layer, on a few samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from host_tools.verify.samples import SampleErrors  # noqa: TC001 - the file codec reads the types

SCHEMA_VERSION = "1.0"

Cause = Literal[
    "weight_channels",
    "weight_rounding",
    "clipping",
    "outliers",
    "outlier_channels",
    "unused_codes",
    "shift",
    "rounding",
    "beyond_calibration",
]
"""Why a layer loses signal; each is explained where it is found, `host_tools.diagnose.findings`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Where the numbers of a tensor lie: bins of equal width.

    Attributes:
        low: Lower edge of the first bin, in the tensor's unit.
        high: Upper edge of the last bin.
        shares: Share of all numbers in each bin; they add up to 1.
        origin: What was counted, for people.
    """

    low: float
    high: float
    shares: tuple[float, ...]
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelError:
    """One channel of a tensor.

    Attributes:
        channel: Its index.
        sqnr_db: Of the tensor quantized alone; for an output, of the layer quantized alone.
        low: Its smallest number.
        high: Its largest number.
        codes: How many codes lie between the two.
        noise_share: Its share of the tensor's error, 0 to 1.
    """

    channel: int
    sqnr_db: float | None
    low: float
    high: float
    codes: int
    noise_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorDiagnosis:
    """How one tensor fits its codes.

    Attributes:
        name: Value name in the canonical graph.
        dtype: Stored integer type.
        scales: How many scales it has.
        scale: Its scale, or the largest of many.
        zero_point: Its zero point, or the first of many.
        low: Lowest real number that has a code; of many scales the lowest of all.
        high: Highest real number that has a code.
        levels: How many codes there are.
        bulk_levels: How many codes the middle 99.9 % of the numbers span; the other codes are for the tails. Per channel: the median.
        clipped_share: Share of the numbers beyond [low, high] by more than half a code.
        clipping_noise_share: Share of the tensor's own error that comes from them.
        shift_noise_share: Share of the layer's error that is a constant shift of its channels.
        histogram: Where the numbers lie.
        channel_count: How many channels it has.
        narrow_channels: How many of them span less than an eighth of the codes.
        channels: Those of lowest SQNR and those with most of the error, lowest SQNR first.
        reason: What the plan says of it.
    """

    name: str
    dtype: str
    scales: int
    scale: float
    zero_point: int
    low: float
    high: float
    levels: int
    bulk_levels: int
    clipped_share: float
    clipping_noise_share: float
    shift_noise_share: float
    histogram: Histogram
    channel_count: int
    narrow_channels: int
    channels: tuple[ChannelError, ...]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """One layer against all others, at the network's outputs.

    Attributes:
        alone_db: SQNR of the outputs when this layer alone is quantized.
        noise_share: Its share when the errors of all layers, each alone, are added up, 0 to 1.
        gain_db: By how much the outputs' SQNR rises when this layer, weights and output, is exact and all others are quantized.
        gain_weights_db: The same with its weights alone exact (what ``keep_float`` does); None where it has none or it was not tried.
        gain_output_db: The same with its output alone exact (what 16 bits would do); None as above.
    """

    alone_db: float | None
    noise_share: float
    gain_db: float
    gain_weights_db: float | None
    gain_output_db: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One reason why a layer loses signal, as a sentence with its numbers."""

    cause: Cause
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """Something to do about a layer.

    Attributes:
        text: What it does.
        recipe: Lines of a recipe to paste; empty where no recipe can say it.
        gain_db: By how much the outputs' SQNR rose when it was tried; None where it was not tried.
    """

    text: str
    recipe: str
    gain_db: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerDiagnosis:
    """One layer that is quantized: an operator with what is fused into it, or a graph input.

    Attributes:
        name: The operator's name in plan.json, or the graph input's.
        op_type: The operator's type, or ``Input``.
        fused: Types of the operators fused into it.
        value: Name of its first output.
        position: Its place in the order of execution, from 0.
        precision: The plan's, or ``int8`` for an input.
        cumulative_db: SQNR of its output in the payload on its engine, everything before it quantized; None also where it was not seen.
        is_seen: Whether the payload has this output, so that ``cumulative_db`` says something.
        local_db: SQNR of its output when it alone is quantized, from exact inputs.
        weights_db: The same with its weights alone quantized; None where it has none.
        output_db: The same with its output alone quantized; None where its output is float.
        copies: Name of the layer whose codes it passes on; it loses nothing by itself.
        what_if: None for a layer that copies.
        output: How its first output fits its codes; None where that is float.
        weights: How its weight fits its codes; None where it has none.
        findings: Why it loses signal; empty where it loses little.
        remedies: What to do about it.
        reason: What the plan says of it.
    """

    name: str
    op_type: str
    fused: tuple[str, ...]
    value: str
    position: int
    precision: str
    cumulative_db: float | None
    is_seen: bool
    local_db: float | None
    weights_db: float | None
    output_db: float | None
    copies: str | None
    what_if: WhatIf | None
    output: TensorDiagnosis | None
    weights: TensorDiagnosis | None
    findings: tuple[Finding, ...]
    remedies: tuple[Remedy, ...]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatRung:
    """What it buys to keep the costliest layers' operators in float, all of these together.

    Attributes:
        layers: Their names.
        sqnr_db: SQNR of the outputs then.
    """

    layers: tuple[str, ...]
    sqnr_db: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """One target.

    Attributes:
        model: Model name.
        model_digest: Digest of the float model.
        target: Profile id.
        verdict: The report's.
        sample_count: Samples that layers were measured on.
        sample_origin: Where they come from, for people.
        output_sqnr_db: SQNR of the outputs on those samples, by the plan's own arithmetic.
        layers: Every quantized layer, in the order of execution.
        ladder: What more and more operators in float buy; empty where the target cannot run them in float.
        samples: Worst samples and changed classes, from the engine, over all evaluation samples.
        notes: What a reader must know, one sentence each.
    """

    model: str
    model_digest: str
    target: str
    verdict: str
    sample_count: int
    sample_origin: str
    output_sqnr_db: float | None
    layers: tuple[LayerDiagnosis, ...]
    ladder: tuple[FloatRung, ...]
    samples: SampleErrors
    notes: tuple[str, ...]

    def costliest(self, count: int) -> tuple[LayerDiagnosis, ...]:
        """Return the layers that take most, by `WhatIf.noise_share`; of equal ones the earlier."""
        counted = [
            layer for layer in self.layers if layer.what_if is not None and layer.what_if.noise_share > 0.0
        ]
        return tuple(
            sorted(counted, key=lambda layer: -(layer.what_if.noise_share if layer.what_if else 0.0))[:count]
        )
