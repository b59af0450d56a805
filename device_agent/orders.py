"""`Orders`: a command about the model that means one or all of several models, and ends when each of them is done with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable


class Complete(Protocol):
    """Ends a command."""

    def __call__(self, key: tuple[str, str], *, code: str, reason: str) -> None:
        """An empty ``code`` is success."""


class Orders:
    """See the module's docstring. Commands come one after another; a new one means that the one before was given up.

    Args:
        complete: Ends a command; called once for each.
    """

    def __init__(self, complete: Complete) -> None:
        self._complete = complete
        self._key: tuple[str, str] | None = None
        self._waiting: set[str] = set()
        self._code = ""
        self._said: list[str] = []

    def begin(self, key: tuple[str, str], models: Iterable[str]) -> None:
        """Wait for these models to be done with a command."""
        self._key, self._waiting, self._code, self._said = key, set(models), "", []

    def done(self, key: tuple[str, str], model: str, *, code: str = "", reason: str = "") -> None:
        """One model is done; a second word of it, or one of another command, changes nothing."""
        if key != self._key or model not in self._waiting:
            return
        self._waiting.discard(model)
        self._code = self._code or code
        if code or reason:
            self._said.append(f"{model}: {reason or code}")
        if not self._waiting:
            self._key = None
            self._complete(key, code=self._code, reason="; ".join(self._said))
