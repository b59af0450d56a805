"""What is wrong with a simulated fleet, where and since when: `Injection`s go in, `Truth` is asked afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Fault = Literal[
    "latency",
    "energy",
    "failures",
    "throttling",
    "output_drift",
    "input_drift",
    "straggler",
    "silent",
    "flapping",
    "memory_leak",
    "heating",
    "battery_wear",
    "stuck_sensor",
    "impossible_sensor",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """One thing that is made wrong.

    Attributes:
        fault: What.
        size: How much: ``latency``, ``energy`` and ``straggler`` a relative change (0.05: 5 % more); ``failures`` the share of
            inferences that fail; ``throttling`` how many kelvins hotter for each watt (a blocked vent); ``output_drift`` the
            share of frames that now give the first class, and how much less sure they all are; ``input_drift`` how much brighter
            frames are, in standard deviations of their values; ``memory_leak`` bytes a day; ``heating``
            kelvins a day; ``battery_wear`` the share of the capacity lost a day; ``flapping`` starts a day; else without
            meaning.
        with_artifact: Index of the artifact that brings it; None: it is the device's own.
        target: Only on devices of this target; None for all.
        share: Of those devices, the share that has it, drawn by the fleet's seed; at least one when above 0.
        since: Seconds after the fleet's start.
    """

    fault: Fault
    size: float = 0.0
    with_artifact: int | None = None
    target: str | None = None
    share: float = 1.0
    since: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What was made wrong in one fleet.

    Attributes:
        injections: As asked for.
        devices: For each injection, the devices that have it.
        start: Unix time of the fleet's start.
    """

    injections: tuple[Injection, ...]
    devices: tuple[tuple[str, ...], ...]
    start: float

    def affected(self, fault: Fault) -> frozenset[str]:
        """Return the devices that have a fault of this kind."""
        pairs = zip(self.injections, self.devices, strict=True)
        return frozenset(name for one, names in pairs if one.fault == fault for name in names)
