"""Why a layer loses signal, as sentences with numbers: pure rules on what was measured of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from host_tools.diagnose.diagnosis import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from host_tools.diagnose.diagnosis import TensorDiagnosis
    from host_tools.diagnose.local_error import LocalError
    from host_tools.observe.statistics import TensorStatistics

_PART = 0.3
"""A tensor is named as a cause from this share of its layer's error on."""
_WIDE_CHANNEL = 8.0
_UNUSED = 0.55
_BEYOND = 0.05
_MOST_CLIPPING = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of one layer.

    Attributes:
        error: What was measured of its output.
        output: How its output fits its codes; None where that is float.
        weights: How its weight fits its codes; None where it has none.
        seen: What calibration saw of its output; None where it saw nothing.
    """

    error: LocalError
    output: TensorDiagnosis | None
    weights: TensorDiagnosis | None
    seen: TensorStatistics | None


def findings_of(evidence: Evidence) -> tuple[Finding, ...]:
    """Return the reasons, that of the larger error first."""
    weights, output = float(evidence.error.weights_noise.sum()), float(evidence.error.output_noise.sum())
    whole = weights + output
    if not (whole > 0.0 and np.isfinite(whole)):
        return ()
    parts = [(weights / whole, _weight_findings), (output / whole, _output_findings)]
    found = [
        finding
        for part, rules in sorted(parts, key=lambda one: -one[0])
        if part >= _PART
        for finding in rules(evidence)
    ]
    return (*found, *_shift_findings(evidence))


def _weight_findings(evidence: Evidence) -> Iterator[Finding]:
    weight = evidence.weights
    if weight is None:
        return
    if weight.scales == 1 and weight.narrow_channels > 0:
        least = min(weight.channels, key=lambda one: one.codes)
        yield Finding(
            cause="weight_channels",
            text=f"One scale for {weight.channel_count} channels of weights: {weight.narrow_channels} of them span less than an eighth of "
            f"the {weight.levels} codes, channel {least.channel} only {least.codes}.",
        )
    elif weight.clipping_noise_share > _MOST_CLIPPING:
        yield Finding(
            cause="clipping",
            text=f"{weight.clipped_share:.2%} of the weights lie beyond [{weight.low:.4g}, {weight.high:.4g}] and make "
            f"{weight.clipping_noise_share:.0%} of their error.",
        )
    elif weight.bulk_levels <= weight.levels / 4:
        yield Finding(
            cause="outliers",
            text=f"Outliers set the scale of the weights: in the median channel 99.9 % of them span {weight.bulk_levels} of "
            f"{weight.levels} codes.",
        )
    else:
        yield Finding(
            cause="weight_rounding",
            text=f"Its weights use their {weight.levels} codes well, and still their rounding is most of its error: it needs finer weights.",
        )


def _output_findings(evidence: Evidence) -> Iterator[Finding]:
    output = evidence.output
    if output is None:
        return
    found = [*_clipping(evidence, output), *_spread(evidence, output)]
    if not found:
        found.append(
            Finding(
                cause="rounding",
                text=f"Its output uses the {output.levels} codes of [{output.low:.4g}, {output.high:.4g}] well, and still their step of "
                f"{output.scale:.3g} is most of its error: it needs finer codes.",
            )
        )
    yield from found


def _clipping(evidence: Evidence, output: TensorDiagnosis) -> Iterator[Finding]:
    if output.clipping_noise_share <= _MOST_CLIPPING:
        return
    yield Finding(
        cause="clipping",
        text=f"{output.clipped_share:.2%} of its output lies beyond the range [{output.low:.4g}, {output.high:.4g}] and makes "
        f"{output.clipping_noise_share:.0%} of the output's error.",
    )
    if evidence.seen is None:
        return
    low, high = float(evidence.error.minimum.min()), float(evidence.error.maximum.max())
    seen_low, seen_high = evidence.seen.minimum, evidence.seen.maximum
    margin = _BEYOND * (seen_high - seen_low)
    if low < seen_low - margin or high > seen_high + margin:
        yield Finding(
            cause="beyond_calibration",
            text=f"These samples reach [{low:.4g}, {high:.4g}], calibration saw [{seen_low:.4g}, {seen_high:.4g}]: calibrate on samples "
            f"like these.",
        )


def _spread(evidence: Evidence, output: TensorDiagnosis) -> Iterator[Finding]:
    spans = evidence.error.maximum - evidence.error.minimum
    low = float(evidence.error.minimum.min())
    high = float(evidence.error.maximum.max())
    typical = float(np.median(spans))
    widest = int(np.argmax(spans))
    if spans.size > 1 and spans[widest] > _WIDE_CHANNEL * max(typical, output.scale):
        yield Finding(
            cause="outlier_channels",
            text=f"Channel {widest} spans [{evidence.error.minimum[widest]:.4g}, {evidence.error.maximum[widest]:.4g}], the median channel "
            f"a width of {typical:.3g}: one scale for all leaves that one {max(1, round(typical / output.scale))} codes.",
        )
    elif output.bulk_levels <= output.levels / 4 and high - low > 2 * output.bulk_levels * output.scale:
        yield Finding(
            cause="outliers",
            text=f"Outliers set the scale: 99.9 % of its output spans {output.bulk_levels} of {output.levels} codes.",
        )
    used = (min(high, output.high) - max(low, output.low)) / (output.high - output.low)
    if used < _UNUSED:
        yield Finding(
            cause="unused_codes",
            text=f"Its output lies in [{low:.4g}, {high:.4g}], its codes in [{output.low:.4g}, {output.high:.4g}]: "
            f"{1 - max(used, 0.0):.0%} of them are never used.",
        )


def _shift_findings(evidence: Evidence) -> Iterator[Finding]:
    tensor = evidence.output
    if tensor is not None and evidence.weights is not None and tensor.shift_noise_share > _PART:
        yield Finding(
            cause="shift",
            text=f"{tensor.shift_noise_share:.0%} of its error is a constant shift of its channels, which bias correction takes back.",
        )
