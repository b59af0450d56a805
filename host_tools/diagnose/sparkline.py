"""Small charts of block characters."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_HEIGHTS = "▁▂▃▄▅▆▇█"
_PARTS = " ▏▎▍▌▋▊▉"


def sparkline(
    values: Sequence[float], *, width: int, join: Callable[[Sequence[float]], float], low: float = 0.0
) -> str:
    """Return one character a value, the highest value at full height.

    Args:
        values: Finite.
        width: Most characters; more values than that are joined, neighbours together.
        join: How neighbours become one.
        low: The value of the lowest character.
    """
    count = min(width, len(values))
    joined = [
        join(values[at * len(values) // count : (at + 1) * len(values) // count]) for at in range(count)
    ]
    high = max(joined, default=low)
    if high <= low:
        return _HEIGHTS[0] * count
    steps = len(_HEIGHTS) - 1
    return "".join(_HEIGHTS[round(steps * min(max((one - low) / (high - low), 0.0), 1.0))] for one in joined)


def bar(value: float, highest: float, *, width: int) -> str:
    """Return a bar of ``value``, ``width`` characters long at ``highest``."""
    eighths = round(8 * width * min(max(value / highest, 0.0), 1.0)) if highest > 0.0 else 0
    return ("█" * (eighths // 8) + _PARTS[eighths % 8]).rstrip()
