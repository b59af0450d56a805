"""`HeatControl`: reads the temperature that the policy goes by, and does to the models what it asks for."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from device_agent.heat.temperature import read_hottest
from device_agent.occurrences import HeatRead
from device_agent.sensors.reading import Absent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from device_agent.beside.alone import Alone
    from device_agent.beside.models import Beside
    from device_agent.heat.policy import Measure
    from device_agent.model_runner import ModelRunner
    from device_agent.sensors.survey import Sensors


class HeatControl:
    """See the module's docstring. The loop's thread calls it.

    Args:
        sensors: Measure the machine.
        names: Of the readings that count; empty: those that `hottest` chooses.
        runner: Runs the main model.
        beside: The other models.

    Attributes:
        pauses: Whether inference pauses for heat.
    """

    def __init__(
        self, sensors: Sensors, names: Sequence[str], *, runner: ModelRunner, beside: Beside | Alone
    ) -> None:
        self._sensors = sensors
        self._names = names
        self._runner = runner
        self._beside = beside
        self.pauses = False

    def read(self) -> HeatRead:
        """Read the temperature, and counters that would wrap."""
        self._sensors.keep_counters(monotonic())
        celsius = read_hottest(self._sensors, self._names)
        if isinstance(celsius, Absent):
            return HeatRead(celsius=None, why_absent=celsius.reason)
        return HeatRead(celsius=celsius)

    def celsius(self) -> float | None:
        """Return the temperature; None: it cannot be read."""
        celsius = read_hottest(self._sensors, self._names)
        return None if isinstance(celsius, Absent) else celsius

    def apply(self, measures: Sequence[Measure]) -> None:
        """Do what is asked for, and nothing else any more."""
        self.pauses = "pause" in measures
        rate_hz = self._runner.slow_rate_hz if "slow" in measures else None
        self._runner.hold(rate_hz, paused=self.pauses, variant="variant" in measures)
        self._beside.hold(rate_hz, paused=self.pauses)
