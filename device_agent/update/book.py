"""`Book`: the durable state as the machine keeps it. What is given out is in the order in which it must be carried out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from device_agent.update import transitions
from device_agent.update.effects import Tell, WriteState

if TYPE_CHECKING:
    from device_agent.update.effects import Effect
    from device_agent.update.state import Notice, Standing, UpdateState


class Book:
    """The state, and whether it was written.

    Args:
        state: As it was read from the disk.

    Attributes:
        state: As it stands on the disk once the effects given out so far are carried out.
    """

    def __init__(self, state: UpdateState) -> None:
        self._written = self.state = state

    def of(self, model: str) -> Standing:
        """Return how a model stands."""
        return self.state.of(model)

    def put(self, model: str, standing: Standing) -> None:
        """Let a model stand so from now on."""
        self.state = self.state.having(model, standing)

    def write(self) -> tuple[Effect, ...]:
        """Write what has changed."""
        if self.state == self._written:
            return ()
        self._written = self.state
        return (WriteState(self.state),)

    def note(self, notice: Notice) -> tuple[Effect, ...]:
        """Write the state with a notice, tell it, write that it was told: told at least once, wherever the power goes."""
        self.state = transitions.noted(self.state, notice)
        return (*self.write(), *self.tell())

    def tell(self) -> tuple[Effect, ...]:
        """Tell what waits to be told."""
        waiting = self.state.notices
        self.state = replace(self.state, notices=())
        return (*(Tell(notice) for notice in waiting), *self.write())

    def back_to(self, durable: UpdateState) -> None:
        """The disk took nothing that is newer."""
        self._written = self.state = durable
