"""What a command found, on standard output: tables for people, one JSON document for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from rich.console import Console

if TYPE_CHECKING:
    from rich.console import RenderableType

_PIPE_COLUMNS: Final = 120


def print_found(found: RenderableType | dict[str, object]) -> None:
    """Print a document as JSON, and anything else as `rich` shows it; a pipe has 120 columns."""
    if isinstance(found, dict):
        print(json.dumps(found, ensure_ascii=False, indent=1))
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(width=_PIPE_COLUMNS, highlight=False)
    console.print(found)
