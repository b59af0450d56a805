"""Numbers and names for people: short. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_EIGHTHS: Final = " ▏▎▍▌▋▊▉"
_THOUSAND: Final = 1000.0
_KIBI: Final = 1024.0


def counted(number: float) -> str:
    """Return a count with three digits and a decimal prefix: ``385 M``."""
    for prefix in ("", " k", " M", " G"):
        if abs(number) < _THOUSAND - 0.5:
            return f"{number:.0f}" if not prefix else f"{number:.3g}{prefix}"
        number /= _THOUSAND
    return f"{number:.3g} T"


def sized(count: float) -> str:
    """Return a number of bytes with a binary prefix: ``4.63 MiB``."""
    for unit in ("B", "KiB", "MiB"):
        if abs(count) < _KIBI:
            return f"{count:.0f} B" if unit == "B" else f"{count:.2f} {unit}"
        count /= _KIBI
    return f"{count:.2f} GiB"


def percent(share: float) -> str:
    """Return a share as whole per cent; what is not all is never told as all, and what is not nothing never as nothing."""
    if 0.0 < share < 0.01:
        return "<1 %"
    return ">99 %" if 0.99 < share < 1.0 else f"{100.0 * share:.0f} %"


def shaped(shape: Sequence[int] | None) -> str:
    """Return a shape: ``1x3x224x224``; ``?`` for an extent, or a shape, that is not known."""
    if shape is None:
        return "?"
    return "x".join("?" if extent < 0 else str(extent) for extent in shape) or "scalar"


def bar(share: float, width: int = 10) -> str:
    """Return a bar for a share from 0 to 1, in eighths of a character; anything above 0 shows."""
    eighths = min(max(round(share * width * 8), 1 if share > 0.0 else 0), width * 8)
    whole, rest = divmod(eighths, 8)
    return "█" * whole + (_EIGHTHS[rest] if rest else "")
