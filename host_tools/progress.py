"""How long work reports how far it is; the command line shows it, a library call is silent."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told of stages and of steps within them."""

    def stage(self, title: str, total: int | None) -> None:
        """A new stage begins; the one before is done. ``total`` steps are to come, or None when that is not known."""
        ...

    def step(self, count: int = 1) -> None:
        """``count`` more steps of the stage are done."""
        ...


class Silent:
    """Reports nothing."""

    def stage(self, title: str, total: int | None) -> None:
        """See `Progress.stage`."""

    def step(self, count: int = 1) -> None:
        """See `Progress.step`."""
