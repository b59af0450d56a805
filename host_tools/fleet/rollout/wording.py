"""How figures, times and measures are said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from host_tools.fleet.records.gates import GateMeasure

MEASURES: Final[Mapping[GateMeasure, str]] = {
    "latency_p50": "median latency",
    "latency_p95": "p95 latency",
    "energy_per_inference": "energy per inference",
    "temperature": "temperature",
    "throttled_share": "throttled share of time",
    "output_agreement": "output disagreement (1 − mean cosine)",
    "crashes": "crashes",
}
RATIOS: Final[frozenset[GateMeasure]] = frozenset({"latency_p50", "latency_p95", "energy_per_inference"})
SHARES: Final[frozenset[GateMeasure]] = frozenset({"throttled_share", "output_agreement"})
"""Of 0 to 1, and at their best on nearly every device. Time is said in points of a hundred, a mean cosine as it is."""


def worsening(measure: GateMeasure, value: float) -> str:
    """Return a worsening with its sign and unit: ``+12.3 %``, ``−0.4 °C``."""
    return f"{_signed(measure, value)} {_unit(measure)}".rstrip()


def interval(measure: GateMeasure, low: float, high: float) -> str:
    """Return both ends with their signs, and the unit: ``−0.4 to +2.1 °C``."""
    return f"{_signed(measure, low)} to {_signed(measure, high)} {_unit(measure)}".rstrip()


def limit(measure: GateMeasure, worst: float) -> str:
    """Return what is allowed: ``10 %``, ``5 °C``."""
    size = 100 * worst if measure in RATIOS or measure == "throttled_share" else worst
    return f"{size:g} {_unit(measure)}".rstrip()


def duration(seconds: float) -> str:
    """Return a length of time in its largest unit that says it well: ``90 s``, ``30 min``, ``6 h``, ``21 d``."""
    for size, unit in ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size or (seconds >= size and seconds % size == 0):
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def digits(value: float) -> str:
    """Return a number of 0 or more in three digits or all before its point, never with an exponent: ``0.012``, ``1,170``."""
    if value >= 1_000.0:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value == 0.0 or value >= 1e-4 else f"{value:.6f}"


def devices(count: int) -> str:
    """Return ``1 device`` or ``N devices``."""
    return "1 device" if count == 1 else f"{count} devices"


def share(ppm: int) -> str:
    """Return a share in per cent."""
    return f"{ppm / 10_000:g} %"


def _signed(measure: GateMeasure, value: float) -> str:
    sign, size = ("−" if value < 0 else "+"), abs(value)
    if measure in RATIOS:
        return f"{sign}{100 * size:.1f}"
    if measure == "throttled_share":
        return f"{sign}{100 * size:.2f}"
    if measure == "output_agreement":
        return f"{sign}{size:.4f}"
    return f"{sign}{size:.1f}" if measure == "temperature" else f"{sign}{digits(size)}"


def _unit(measure: GateMeasure) -> str:
    if measure in RATIOS:
        return "%"
    if measure == "throttled_share":
        return "points"
    if measure == "output_agreement":
        return ""
    return "°C" if measure == "temperature" else "per device-hour"
