"""What a command found, on standard output: tables for people, one JSON document for programs."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from host_tools.review.wire_text import harmless

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import RenderableType

_PIPE_COLUMNS: Final = 120
_ANY_WIDTH: Final = 1 << 16


def print_found(found: RenderableType | dict[str, object]) -> None:
    """Print a document as JSON (what is not finite as null), and anything else as `rich` shows it; a pipe has 120 columns."""
    if isinstance(found, dict):
        print(json.dumps(_finite(found), ensure_ascii=False, indent=1, allow_nan=False))
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(width=_PIPE_COLUMNS, highlight=False)
    console.print(found)


def print_list(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a list as a table of which nothing is cut off: people type names from it, and programs read it line by line.

    Args:
        columns: The headings.
        rows: As many values as columns in each; commands to a terminal in them are made harmless. On a terminal what is too wide goes on
            in the next line; a pipe has a line for each row.
    """
    table = Table(*(Column(name, overflow="fold") for name in columns))
    for row in rows:
        table.add_row(*(Text(harmless(str(value))) for value in row))
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(width=_ANY_WIDTH, highlight=False)
    console.print(table)


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, (list, tuple)) else value
