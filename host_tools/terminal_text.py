"""`plain`: text of a file that is not trusted, for a terminal."""

from __future__ import annotations


def plain(text: str, *, widest: int = 60) -> str:
    """Return what fits a column; names in a file that is not trusted must not steer the terminal."""
    clean = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
    return clean if len(clean) <= widest else f"{clean[: widest - 1]}…"
