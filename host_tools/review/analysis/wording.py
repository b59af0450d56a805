"""How findings say numbers, devices and artifacts."""

from __future__ import annotations

import math
from datetime import datetime, timezone
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from host_tools.review.analysis.findings import Effect

_DIGEST_DIGITS = 8
_NAMED = 3
_UNIT_NAMES = {"{inference}/s": "inferences/s", "1/d": "a day"}
"""Of UCUM units that nobody would say so."""


def artifact(digest: str | None) -> str:
    """Return the first digits of a digest."""
    return "none" if digest is None else digest.removeprefix("sha256:")[:_DIGEST_DIGITS]


def devices(names: Sequence[str]) -> str:
    """Return the names of a few devices, or how many there are."""
    if len(names) <= _NAMED:
        return ", ".join(names)
    return f"{len(names)} devices"


def moment(unix_seconds: float) -> str:
    """Return a time for people, in UTC to the minute."""
    return datetime.fromtimestamp(unix_seconds, tz=timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def quantity(value: float, unit: str) -> str:
    """Return a value with its unit, in the prefix that reads best: 0.048 s is 48.0 ms."""
    if not math.isfinite(value):
        return "unknown"
    if unit == "1":
        return f"{100 * value:.3g} %"
    if unit == "Cel":
        return f"{value:.1f} °C"
    if unit == "By":
        return f"{value / 1e6:.1f} MB"
    if unit == "s" and abs(value) < 1:
        return f"{1e3 * value:.3g} ms"
    if unit == "J" and abs(value) < 1:
        return f"{1e3 * value:.3g} mJ"
    name = _UNIT_NAMES.get(unit, unit)
    return f"{value:.3g} {name}"


def difference(size: float, unit: str) -> str:
    """Return how far two values of a unit are apart, without a sign: ``2.1 °C``, and of shares ``0.3 points``."""
    return f"{100 * size:.3g} points" if unit == "1" else quantity(size, unit)


def change(effect: Effect) -> str:
    """Return a change without its sign: ``12.3 %``, ``2.1 °C``."""
    return _apart(effect, abs(effect.change))


def interval(effect: Effect) -> str:
    """Return the confidence interval of a change, signs and all."""
    ends = (_signed(effect, effect.low), _signed(effect, effect.high))
    return f"{100 * effect.level:.0f} % confidence: {ends[0]} to {ends[1]}"


def chance(p_value: float) -> str:
    """Return a p-value for people."""
    return "p < 0.0001" if p_value < 1e-4 else f"p = {p_value:.2g}"


def _signed(effect: Effect, value: float) -> str:
    sign = "+" if value > 0 else "−" if value < 0 else ""
    return f"{sign}{_apart(effect, abs(value))}"


def _apart(effect: Effect, size: float) -> str:
    if effect.scale == "ratio":
        return f"{100 * size:.1f} %"
    return difference(size, effect.unit)
