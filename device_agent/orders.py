"""`Orders`: a command about the model that means one or all of several models, and ends when each of them is done with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from device_agent.contract.model_names import MAIN_MODEL

if TYPE_CHECKING:
    from device_agent.beside.alone import Alone
    from device_agent.beside.models import Beside
    from device_agent.occurrences import ModelOrdered


class Complete(Protocol):
    """Ends a command."""

    def __call__(self, key: tuple[str, str], *, code: str, reason: str) -> None:
        """An empty ``code`` is success."""


class Orders:
    """See the module's docstring. Commands come one after another; a new one means that the one before was given up.

    Args:
        complete: Ends a command; called once for each.
        beside: The models beside the main one.
    """

    def __init__(self, complete: Complete, beside: Beside | Alone) -> None:
        self._complete = complete
        self._beside = beside
        self._key: tuple[str, str] | None = None
        self._waiting: set[str] = set()
        self._code = ""
        self._said: list[str] = []

    def begin(self, order: ModelOrdered) -> bool:
        """Begin a command at the models that it means; return whether the main one is among them, which is the caller's to begin."""
        models = (MAIN_MODEL, *self._beside.names)
        meant = {name for name in models if order.model in ("", name)}
        if not meant:
            reason = f"there is no model {order.model!r}; there are {', '.join(models)}"
            self._complete(order.key, code="unknown_model", reason=reason)
            return False
        self._key, self._waiting, self._code, self._said = order.key, meant, "", []
        self._beside.order(order, self)
        return MAIN_MODEL in meant

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
