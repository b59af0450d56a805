"""The power curve as an SVG: one panel a kind of fault, share of rollouts that were stopped, with 95 % intervals (Wilson)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from host_tools.review.analysis.estimates import wilson_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDTH: Final = 260
_HEIGHT: Final = 200
_LEFT: Final = 56
_TOP: Final = 16
_GAP: Final = 40
_BOTTOM: Final = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """So many of ``trials`` rollouts of a release that is so bad, in percent, were stopped."""

    size: float
    hits: int
    trials: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A panel: what its axis says, and its points from the smallest size on."""

    title: str
    points: tuple[Point, ...]


def plot(curves: Sequence[Curve]) -> str:
    """Return the panels side by side."""
    width = _LEFT + len(curves) * (_WIDTH + _GAP)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {_TOP + _HEIGHT + _BOTTOM}" font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="#fff"/>',
        *(
            f'<text x="{_LEFT - 8}" y="{_y(share) + 4}" text-anchor="end">{share:.0%}</text>'
            for share in (0.0, 0.25, 0.5, 0.75, 1.0)
        ),
    ]
    for place, curve in enumerate(curves):
        lines += _panel(curve, _LEFT + place * (_WIDTH + _GAP))
    return "\n".join([*lines, "</svg>", ""])


def _panel(curve: Curve, left: int) -> list[str]:
    largest = max((point.size for point in curve.points), default=1.0) or 1.0

    def x(point: Point) -> float:
        return round(left + 6 + point.size / largest * (_WIDTH - 12), 1)

    shares = [(x(point), _y(point.hits / point.trials)) for point in curve.points]
    lines = [
        *(f'<path d="M{left} {_y(share)}h{_WIDTH}" stroke="#ddd"/>' for share in (0.0, 0.25, 0.5, 0.75, 1.0)),
        f'<polyline fill="none" stroke="#06c" stroke-width="1.6" points="{" ".join(f"{at},{y}" for at, y in shares)}"/>',
        f'<text x="{left + _WIDTH / 2}" y="{_TOP + _HEIGHT + 40}" text-anchor="middle">{curve.title}</text>',
    ]
    for point, (at, y) in zip(curve.points, shares, strict=True):
        low, high = wilson_interval(point.hits, point.trials)
        lines += [
            f'<path d="M{at} {_y(low)}V{_y(high)}" stroke="#06c" stroke-width="1.6"/>',
            f'<circle cx="{at}" cy="{y}" r="3.5" fill="#06c"><title>{point.hits} of {point.trials}</title></circle>',
            f'<text x="{at}" y="{_TOP + _HEIGHT + 20}" text-anchor="middle">{point.size:g}</text>',
        ]
    return lines


def _y(share: float) -> float:
    return round(_TOP + (1.0 - share) * _HEIGHT, 1)
