"""`Alone`: stands where `Beside` would where there is one model and no other: it passes everything on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from device_agent.inbox import FromModel

if TYPE_CHECKING:
    from collections.abc import Callable

    from device_agent.inbox import Item, MainItem
    from device_agent.inference import Window
    from device_agent.occurrences import ModelOrdered
    from device_agent.orders import Orders


class Alone:
    """See the module's docstring; `Beside` says what each method is for."""

    main_name: Final = None
    names: Final = ()
    models: Final = ()

    def turn(self, now_seconds: float, *, may_begin: bool) -> float:  # noqa: ARG002
        """Nothing is ever due."""
        return float("inf")

    def see(self, item: Item, handle: Callable[[MainItem], None]) -> None:
        """Pass it on."""
        if not isinstance(item, FromModel):
            handle(item)

    def order(self, order: ModelOrdered, orders: Orders) -> None:
        """No command means any of them."""

    def hold(self, rate_hz: float | None, *, paused: bool) -> None:
        """Nothing is there to be held."""

    def close_windows(self, *, final: bool) -> dict[str, Window]:  # noqa: ARG002
        """Record no window."""
        return {}

    def state(self) -> dict[str, dict[str, object]]:
        """Return nothing to tell."""
        return {}

    def stop(self) -> None:
        """Nothing is there to be stopped."""

    def close(self, timeout_seconds: float) -> bool:  # noqa: ARG002
        """No engine is there that could fail to come back."""
        return True
