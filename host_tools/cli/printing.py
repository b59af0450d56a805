"""What a command found, on standard output: tables for people, one JSON document for programs."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Final

from rich.console import Console

if TYPE_CHECKING:
    from rich.console import RenderableType

_PIPE_COLUMNS: Final = 120


def print_found(found: RenderableType | dict[str, object]) -> None:
    """Print a document as JSON (what is not finite as null), and anything else as `rich` shows it; a pipe has 120 columns."""
    if isinstance(found, dict):
        print(json.dumps(_finite(found), ensure_ascii=False, indent=1, allow_nan=False))
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(width=_PIPE_COLUMNS, highlight=False)
    console.print(found)


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, (list, tuple)) else value
