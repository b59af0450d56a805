"""Errors of the target profiles.

They have the shape of the contract's root (`device_agent.contract.errors`): a class attribute `code` and an
instance attribute `hint`. They do not derive from it, because `targets` imports the standard library only;
callers accept them beside that root.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


LONGEST_GUESS = 100
"""Characters of a word for which look-alikes are sought; longer ones are no misspelling and slow to compare."""


class ProfileError(Exception):
    """A target profile does not say what it must; the message names file and dotted key, its author mends it.

    Attributes:
        code: Stable name of the kind of error.
        hint: What the reader can do next; empty when there is nothing.
    """

    code = "profile"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        message = super().__str__()
        stop = "" if message.endswith((".", "!", "?", ":", "\n")) else "."
        return f"{message}{stop} {self.hint}" if self.hint else message


class UnknownTargetError(ProfileError):
    """No profile has this id; the message lists the ids that look like it and all there are."""

    code = "unknown_target"

    def __init__(self, name: str, known: Iterable[str]) -> None:
        ids = sorted(known)
        close = did_you_mean(name, ids)
        message = f"unknown target {name!r}.{' ' + close if close else ''} Known targets: {', '.join(ids)}."
        super().__init__(message, hint="A path to a profile of your own must end in .toml.")


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """Name up to three of ``words`` that look like ``word``, as a sentence; empty when none does."""
    if len(word) > LONGEST_GUESS:
        return ""
    close = difflib.get_close_matches(word, sorted(words), n=3, cutoff=0.6)
    return f"Did you mean {' or '.join(repr(match) for match in close)}?" if close else ""
