"""`WindowEnergy`: energy per inference in telemetry, from one sample of the sensors to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device_agent.energy.choice import JOULES, drawn, meters
from device_agent.sensors.reading import Absent, Measured

if TYPE_CHECKING:
    from collections.abc import Sequence

    from device_agent.contract.telemetry.measurements import Quality

_NOTHING = "no sensor tells power or energy"
_SHARED = "several models run: what an inference of one of them drew cannot be told apart"


class WindowEnergy:
    """Holds what the sensors said at the end of the window before.

    Args:
        idle_watts: What the machine draws without inferences, by the sensor that is quoted; None: net energy is absent.
        is_shared: Whether several models run, so that no energy is one model's.
    """

    def __init__(self, idle_watts: float | None, *, is_shared: bool = False) -> None:
        self._idle_watts = idle_watts
        self._is_shared = is_shared
        self._last: dict[str, float] = {}
        self._last_seconds = 0.0
        self._last_inferences = 0

    def read(
        self,
        power: Sequence[Measured],
        *,
        now_seconds: float,
        inferences_total: int,
        throttled: Sequence[str],
    ) -> tuple[Measured, Measured]:
        """Return ``inference_gross_joules`` and ``inference_net_joules`` of the window that ends now.

        A window in which the processor was throttled has neither: it would make a slow model look like a costly one.

        Args:
            power: What `Sensors.power` gave.
            now_seconds: Monotonic time of it.
            inferences_total: Since the start.
            throttled: Why the processor was throttled in this window.
        """
        found = meters(power)
        values = {one.name: value for one in found if not isinstance(value := drawn(one), Absent)}
        elapsed, self._last_seconds = now_seconds - self._last_seconds, now_seconds
        inferences = inferences_total - self._last_inferences
        last, self._last, self._last_inferences = self._last, values, inferences_total
        meter = next((one for one in found if one.name in last), None)
        if not found:
            return _absent(_NOTHING)
        if self._is_shared:
            return _absent(_SHARED)
        if meter is None or elapsed <= 0:
            return _absent("needs two samples; this is the first")
        if throttled:
            return _absent(f"invalid: throttled: {'; '.join(throttled)}", meter)
        if inferences <= 0:
            return _absent("nothing was inferred in this window", meter)
        if meter.name.endswith(JOULES):
            joules = values[meter.name] - last[meter.name]
        else:
            joules = 0.5 * (values[meter.name] + last[meter.name]) * elapsed
        if joules < 0:
            return _absent(f"{meter.name} went back", meter)
        # Two samples of a power say little of what was between them.
        quality: Quality = "sampled" if meter.name.endswith(JOULES) else "estimated"
        net: float | Absent = Absent("sensors.idle_watts is not set; `edgewright-agent measure` tells it")
        if self._idle_watts is not None:
            net = (joules - self._idle_watts * elapsed) / inferences
        return (
            _reading("gross", joules / inferences, meter, quality),
            _reading("net", net, meter, quality),
        )


def _absent(reason: str, meter: Measured | None = None) -> tuple[Measured, Measured]:
    absent = Absent(reason)
    return _reading("gross", absent, meter, "sampled"), _reading("net", absent, meter, "sampled")


def _reading(kind: str, value: float | Absent, meter: Measured | None, quality: Quality) -> Measured:
    return Measured(
        name=f"inference_{kind}_joules",
        value=value,
        source="agent" if meter is None else meter.source,
        scope="inference" if meter is None else meter.scope,
        quality=quality,
    )
