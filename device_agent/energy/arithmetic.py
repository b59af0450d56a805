"""From samples of one sensor to joules an inference, with their uncertainty. Pure: no clock, no sensor.

The energy of the load window is what a counter grew, or the integral of sampled watts by the trapezoid rule over the
times at which they were read. What the machine draws without inferences is measured before, and is taken off for the
net figure.

Uncertainties are at about 95 % (twice the standard uncertainty):

- idle power: from the scatter of the means of up to `_BLOCKS` stretches of the window, which unlike that of single
  samples holds for samples that depend on each other;
- a counter's energy: one update of the sensor and the time that reading took, at either end, times the power;
- sampled energy: the scatter of the means of stretches, times the time.

Source: JCGM 100:2008 (GUM), sections 4.2 and 5.1, for the propagation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_COVERAGE: Final = 2.0
_BLOCKS: Final = 10
_STUDENT: Final = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26}
"""Two-sided 95 % quantiles of Student's t by degrees of freedom. Source: GUM, table G.2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """What one sensor said over one window.

    Attributes:
        seconds: Times of the reads, rising; at least two.
        values: Joules of a counter that only grows, or watts.
        is_counter: Which of both.
        read_seconds: How long one read took at most: nobody knows when within it the value was taken.
        update_seconds: How old a value may be when it is read.
    """

    seconds: tuple[float, ...]
    values: tuple[float, ...]
    is_counter: bool
    read_seconds: float
    update_seconds: float

    @property
    def duration_seconds(self) -> float:
        """Time from the first read to the last."""
        return self.seconds[-1] - self.seconds[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """A number and its uncertainty at about 95 %, in the same unit; infinite when it cannot be told."""

    value: float
    uncertainty: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyPerInference:
    """Joules an inference.

    Attributes:
        gross: All that was drawn, by the number of inferences.
        net: The same above what the machine draws without inferences; below 0 when that was more.
        idle_watts: What it draws without.
        load_watts: What it drew with.
    """

    gross: Quantity
    net: Quantity
    idle_watts: Quantity
    load_watts: Quantity


def energy_joules(track: Track) -> Quantity:
    """Return the energy between the first read and the last."""
    joules = _joules(track.seconds, track.values, is_counter=track.is_counter)
    watts = joules / track.duration_seconds
    blur = abs(watts) * (track.read_seconds + track.update_seconds) * math.sqrt(2.0)
    if track.is_counter:
        return Quantity(value=joules, uncertainty=blur)
    scatter = _scatter(track) * track.duration_seconds
    return Quantity(value=joules, uncertainty=math.hypot(scatter, blur))


def mean_watts(track: Track) -> Quantity:
    """Return the mean power of a window, with the uncertainty of a power that is meant to be steady."""
    energy = energy_joules(track)
    blur = energy.uncertainty / track.duration_seconds if track.is_counter else 0.0
    return Quantity(
        value=energy.value / track.duration_seconds, uncertainty=math.hypot(_scatter(track), blur)
    )


def variation(track: Track) -> float:
    """Return the coefficient of variation of the power between the reads: standard deviation by mean; infinite at 0 W."""
    watts = _powers(track)
    mean = math.fsum(watts) / len(watts)
    spread = math.sqrt(math.fsum((one - mean) ** 2 for one in watts) / max(1, len(watts) - 1))
    return spread / abs(mean) if mean else math.inf


def energy_per_inference(idle: Track, load: Track, *, inferences: int) -> EnergyPerInference:
    """Return gross and net energy of one inference.

    Args:
        idle: Of a window without inferences.
        load: Of a window with inferences back to back.
        inferences: How many ran in the load window; at least 1.
    """
    energy, idle_watts = energy_joules(load), mean_watts(idle)
    net = energy.value - idle_watts.value * load.duration_seconds
    uncertain = math.hypot(energy.uncertainty, idle_watts.uncertainty * load.duration_seconds)
    return EnergyPerInference(
        gross=Quantity(value=energy.value / inferences, uncertainty=energy.uncertainty / inferences),
        net=Quantity(value=net / inferences, uncertainty=uncertain / inferences),
        idle_watts=idle_watts,
        load_watts=Quantity(
            value=energy.value / load.duration_seconds,
            uncertainty=energy.uncertainty / load.duration_seconds,
        ),
    )


def _joules(seconds: Sequence[float], values: Sequence[float], *, is_counter: bool) -> float:
    if is_counter:
        return values[-1] - values[0]
    return math.fsum(
        0.5 * (values[at] + values[at - 1]) * (seconds[at] - seconds[at - 1]) for at in range(1, len(seconds))
    )


def _powers(track: Track) -> list[float]:
    """Return the mean power between each two reads."""
    times, values = track.seconds, track.values
    return [
        _joules(times[at - 1 : at + 1], values[at - 1 : at + 1], is_counter=track.is_counter)
        / (times[at] - times[at - 1])
        for at in range(1, len(times))
    ]


def _scatter(track: Track) -> float:
    """Return the uncertainty of the mean power by the scatter of the means of stretches of the window."""
    reads = len(track.seconds) - 1
    blocks = min(_BLOCKS, reads)
    if blocks < 2:
        return math.inf
    edges = [round(block * reads / blocks) for block in range(blocks + 1)]
    means = []
    for first, last in pairwise(edges):
        times, values = track.seconds[first : last + 1], track.values[first : last + 1]
        means.append(_joules(times, values, is_counter=track.is_counter) / (times[-1] - times[0]))
    mean = math.fsum(means) / blocks
    deviation = math.sqrt(math.fsum((one - mean) ** 2 for one in means) / (blocks - 1))
    return _STUDENT.get(blocks - 1, _COVERAGE) * deviation / math.sqrt(blocks)
