"""Text in CSV that a spreadsheet takes as text: a label or a tag is whatever its author says, a formula included."""

from __future__ import annotations

from typing import Final

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""With one of these a cell begins that a spreadsheet takes for a formula.

Source: OWASP, CSV Injection.
"""
_MARK: Final = "'"


def as_spreadsheet_text(text: str) -> str:
    """Return what a cell has to hold: a text that would be a formula is led by an apostrophe."""
    return f"{_MARK}{text}" if text.startswith(_FORMULA) else text


def from_spreadsheet_text(cell: str) -> str:
    """Return the text of a cell that `as_spreadsheet_text` made of one that does not begin with an apostrophe itself."""
    text = cell.removeprefix(_MARK)
    return text if text.startswith(_FORMULA) else cell
