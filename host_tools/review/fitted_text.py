"""Text made to fit the columns that there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console


_MOST_LINES = 2
"""Of one event, or of one reason."""


def folded(text: Text, console: Console, width: int) -> list[Text]:
    """Return at most `_MOST_LINES` lines; the last ends in an ellipsis where there were more."""
    lines = text.wrap(console, width)
    if len(lines) < _MOST_LINES:
        return list(lines)
    rest = Text("  ").append_text(Text(" ").join(lines[_MOST_LINES - 1 :]))
    return [*lines[: _MOST_LINES - 1], cropped(rest, width)]


def fitted(text: Text, width: int) -> Text:
    """Return exactly ``width`` columns: cut two before the end, or filled with blanks."""
    text = cropped(text, width - 2)
    text.pad_right(width - text.cell_len)
    return text


def cropped(text: Text, width: int) -> Text:
    """Return at most ``width`` columns; an ellipsis ends what was longer."""
    text.no_wrap = True
    text.truncate(width, overflow="ellipsis")
    return text
