"""A device that heats as a first-order system: it approaches the temperature that belongs to its load, with a time constant."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from device_agent.heat.policy import HeatChange, HeatPolicy, HeatRules, HeatStep, Measure

if TYPE_CHECKING:
    from collections.abc import Callable

RULES = HeatRules(
    steps=(
        HeatStep(celsius=70.0, measure="variant"),
        HeatStep(celsius=76.0, measure="slow"),
        HeatStep(celsius=82.0, measure="pause"),
    ),
    hysteresis_celsius=5.0,
    hold_seconds=30.0,
)
INTERVAL_SECONDS = 2.0
_STEPS_PER_READ = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """Where a device ends at each load, in °C above the room's, and how fast it gets there.

    Attributes:
        tau_seconds: Time constant.
        full: Rise at full load; likewise the next two.
        variant: With the smaller variant.
        slow: With fewer frames.
        room: Temperature around it.
        noise: Standard deviation of the sensor.
    """

    tau_seconds: float
    full: float
    variant: float
    slow: float
    room: float = 25.0
    noise: float = 0.5


@dataclass(slots=True)
class Course:
    """What happened: true temperature at each read, and every change with its time."""

    seconds: list[float] = field(default_factory=list)
    celsius: list[float] = field(default_factory=list)
    changes: list[tuple[float, HeatChange]] = field(default_factory=list)


def run(
    device: Device,
    *,
    hours: float,
    seed: int = 0,
    rules: HeatRules = RULES,
    sensor: Callable[[float, float], float | None] = lambda celsius, _: celsius,
) -> Course:
    """Heat a device under the policy.

    Args:
        device: What heats.
        hours: For how long.
        seed: Of the sensor's noise.
        rules: What is declared.
        sensor: From the noisy temperature and the time to what is read; None: it cannot be read.
    """
    policy, course, dice = HeatPolicy(rules), Course(), random.Random(seed)
    celsius, now = device.room, 0.0
    small = INTERVAL_SECONDS / _STEPS_PER_READ
    while now < hours * 3_600.0:
        end = device.room + _rise(device, policy.measures)
        for _ in range(_STEPS_PER_READ):
            celsius = end + (celsius - end) * math.exp(-small / device.tau_seconds)
        now += INTERVAL_SECONDS
        course.seconds.append(now)
        course.celsius.append(celsius)
        change = policy.read(sensor(celsius + dice.gauss(0.0, device.noise), now), now, why_absent="EIO")
        if change is not None:
            course.changes.append((now, change))
    return course


def _rise(device: Device, measures: tuple[Measure, ...]) -> float:
    if "pause" in measures:
        return 5.0
    if "slow" in measures:
        return device.slow
    return device.variant if "variant" in measures else device.full
