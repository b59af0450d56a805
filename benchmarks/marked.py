"""`write_marked`: what stands between two marks of a document is written anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def write_marked(document: Path, mark: str, text: str) -> None:
    """Put text between the line ``<!-- mark -->`` and ``<!-- /mark -->``, an empty line on either side.

    Raises:
        ValueError: A mark is not there.
        OSError: The document cannot be read or written.
    """
    old, opening = document.read_text(encoding="utf-8"), f"<!-- {mark} -->\n"
    begin, end = old.index(opening) + len(opening), old.index(f"<!-- /{mark} -->")
    document.write_text(f"{old[:begin]}\n{text}\n{old[end:]}", encoding="utf-8")
