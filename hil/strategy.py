"""`Strategy`: brings a board to a named state, through every state in between.

::

    off -> booted -> agent_up -> model_active

Down goes in order too (the agent is stopped before the board), but to `off`, which is a power cut. The first failure of the rig itself is
kept, as is that the board did not come up, and every later transition raises it again: what is broken is not tried a second time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, get_args

from hil.errors import BootError, RigError

if TYPE_CHECKING:
    from hil.rig import Rig

State = Literal["off", "booted", "agent_up", "model_active"]
STATES: tuple[State, ...] = get_args(State)


class Managed(Protocol):
    """What the strategy has done by the agent under test."""

    def begin(self) -> None:
        """Start the agent's process."""
        ...

    def wait_until_active(self) -> None:
        """Wait until the agent says that it is there, and the artifact gives results."""
        ...

    def end(self) -> None:
        """Stop the agent's process, in order."""
        ...

    def has_ended(self) -> bool:
        """Say whether the agent's process is gone."""
        ...


class Strategy:
    """Knows in which state a board is, and how to get it into another.

    Args:
        rig: The board; it is taken to be booted.
        agent: The agent on it.
    """

    def __init__(self, rig: Rig, agent: Managed) -> None:
        self._rig = rig
        self._agent = agent
        self._state: State = "booted"

    @property
    def state(self) -> State:
        """The state; an agent that ended by itself leaves a booted board."""
        if self._state in ("agent_up", "model_active") and self._agent.has_ended():
            self._state = "booted"
        return self._state

    def to(self, wanted: State) -> None:
        """Bring the board there.

        Raises:
            RigError: The rig failed, now or before.
            BootError: The board has power and does not come up, now or before.
            AgentError: The agent did not do what it was told.
            UnsupportedFeatureError: It has no power to switch.
        """
        broken = self._rig.broken
        if broken is not None:
            what = "is down" if isinstance(broken, BootError) else "is broken"
            raise type(broken)(f"rig {self._rig.board.name!r} {what}: {broken}") from broken
        try:
            self._go(wanted)
        except (RigError, BootError) as error:
            self._rig.broken = error
            raise

    def _go(self, wanted: State) -> None:
        if wanted == "off":
            if self._state != "off":
                self._rig.power.cut()
                self._state = "off"
            return
        while self.state != wanted:
            if STATES.index(self.state) < STATES.index(wanted):
                self._one_up()
            else:
                self._agent.end()
                self._state = "booted"

    def _one_up(self) -> None:
        if self._state == "off":
            self._rig.power.restore()
            self._rig.shell.run(["true"])
            self._state = "booted"
        elif self._state == "booted":
            self._agent.begin()
            self._state = "agent_up"
        else:
            self._agent.wait_until_active()
            self._state = "model_active"
