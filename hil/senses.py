"""What can be asked of a board's senses: temperature, power, rails, battery and time, as the agent's own sensors and clocks tell them.

Protocols like those of `hil.protocols`: a call returns when it is done, or raises `RigError`.
"""

from __future__ import annotations

from typing import Final, Protocol

AMBIENT_CELSIUS: Final = 40.0
"""What a board's sensor tells until it is told something else."""


class Thermal(Protocol):
    """Temperature as the board's own sensors tell it."""

    def set_celsius(self, celsius: float) -> None:
        """Let the sensor tell this temperature from now on."""
        ...

    def set_throttled(self, *, is_throttled: bool) -> None:
        """Let the board tell that its processor is slowed down, or that it is not."""
        ...

    def take_away(self) -> None:
        """Let the sensor fail, until the next `set_celsius`."""
        ...


class Meter(Protocol):
    """What the board draws, as its own sensors tell it."""

    def set_watts(self, watts: float) -> None:
        """Let the sensor tell this power from now on."""
        ...


class Rails(Protocol):
    """Power rails, each with a monitor of its own that the board's sensors read."""

    def set_watts(self, rail: str, watts: float) -> None:
        """Let the monitor of a rail tell this power from now on; a rail that was not there is there now.

        Args:
            rail: As its driver labels it: `hil.rail_name` says what names there are.
            watts: At least 0; to a milliwatt.

        Raises:
            InputError: It is no name of a rail.
            RigError: The board cannot be told.
        """
        ...

    def clear(self) -> None:
        """Leave no rail.

        Raises:
            RigError: The board cannot be told.
        """
        ...


class Battery(Protocol):
    """A battery, as the board's own sensors tell it."""

    def set_charge(self, ratio: float, *, watts: float) -> None:
        """Let the battery tell this charge and power from now on; where there was none there is one now.

        Args:
            ratio: From 0 to 1; its sensor tells whole percents.
            watts: What it takes, or (negative) gives.

        Raises:
            RigError: The board cannot be told.
        """
        ...

    def take_out(self) -> None:
        """Leave no battery.

        Raises:
            RigError: The board cannot be told.
        """
        ...


class Clock(Protocol):
    """The agent's clocks: the wall clock (``time.time``), and how fast all of them go."""

    def jump(self, seconds: float) -> None:
        """Put the wall clock so far from the true time, on or (negative) back; 0 puts it right. Monotonic time goes on."""
        ...

    def hurry(self, rate: float) -> None:
        """Let so many seconds pass by the agent's clocks in a true one; 1 is the true pace.

        Only an agent that is started while this is not 1 follows it from then on, up and down. What it waits for (windows, pauses,
        time-outs) comes so much sooner; the time that an inference takes is measured by a clock that is not hurried. Its wall clock
        keeps the lead that it has gained until the agent ends; the next begins at the true time.

        Args:
            rate: From 1 to 1,000.

        Raises:
            InputError: It is not.
            RigError: It cannot be told to the board.
        """
        ...
