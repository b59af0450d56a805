"""Energy an inference against simulated machines whose truth is known."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_agent.energy.arithmetic import (
    Track,
    energy_joules,
    energy_per_inference,
    mean_watts,
    variation,
)
from device_agent.energy.choice import drawn, meters
from device_agent.sensors.counter import EnergyCounter
from device_agent.sensors.reading import Absent, Measured

UNIT_JOULES = 61e-6
"""One step of a RAPL register."""
RANGE_UJ = 65_712_999_613


class Machine:
    """A machine of known power, with a 32-bit counter that is coarse and late, and a noisy power sensor."""

    def __init__(self, seed: int, *, watts: float, noise_watts: float, start_uj: int) -> None:
        self._dice = random.Random(seed)
        self._watts, self._noise, self._raw_uj = watts, noise_watts, start_uj
        self.true_joules, self.now = 0.0, 0.0

    def run(self, seconds: float, watts: float | None = None) -> None:
        drawn_watts = max(0.1, (self._watts if watts is None else watts) + self._dice.gauss(0.0, self._noise))
        self.true_joules += drawn_watts * seconds
        self.now += seconds

    def counter_uj(self) -> int:
        late_joules = self._watts * self._dice.uniform(0.0, 1e-3)
        steps = math.floor(max(0.0, self.true_joules - late_joules) / UNIT_JOULES)
        return (self._raw_uj + int(steps * UNIT_JOULES * 1e6)) % RANGE_UJ


def window(machine: Machine, counter: EnergyCounter, *, seconds: float, watts: float) -> tuple[Track, float]:
    """Let the machine run; return what its counter said and what it drew in truth."""
    before = machine.true_joules
    times, values = [], []
    for step in range(31):
        if step:
            machine.run(seconds / 30, watts)
        value = counter.advance(machine.counter_uj(), machine.now)
        assert not isinstance(value, Absent)
        times.append(machine.now)
        values.append(value)
    track = Track(
        seconds=tuple(times), values=tuple(values), is_counter=True, read_seconds=1e-4, update_seconds=1e-3
    )
    return track, machine.true_joules - before


def test_the_truth_lies_within_the_uncertainty_about_as_often_as_promised() -> None:
    """300 machines, with wraps, noise, late counters; the promise is 95 %, and no idle uncertainty that hides all."""
    hits, widths = 0, []
    for seed in range(300):
        dice = random.Random(seed)
        idle_watts, per_inference = dice.uniform(1.0, 60.0), dice.uniform(0.001, 5.0)
        start = RANGE_UJ - int(dice.uniform(0.0, 2e9))  # most wrap within the run
        machine = Machine(seed, watts=idle_watts, noise_watts=0.05 * idle_watts, start_uj=start)
        counter = EnergyCounter(range_uj=RANGE_UJ, most_watts=2_000.0)
        idle, _ = window(machine, counter, seconds=30.0, watts=idle_watts)
        machine.run(1.0)
        inferences = 100
        load_watts = idle_watts + per_inference * inferences / 10.0
        load, drawn_joules = window(machine, counter, seconds=10.0, watts=load_watts)
        found = energy_per_inference(idle, load, inferences=inferences)
        # The idle power has noise in the load window too, which nobody can tell from the inferences.
        truth = (drawn_joules - idle_watts * 10.0) / inferences
        hits += abs(found.net.value - truth) <= found.net.uncertainty
        assert found.gross.value == pytest.approx(
            drawn_joules / inferences, abs=found.gross.uncertainty + 2 * UNIT_JOULES
        )
        widths.append(found.net.uncertainty / (idle_watts * 10.0 / inferences))
    assert 0.90 <= hits / 300 <= 0.995
    assert max(widths) < 0.1


@given(
    st.lists(st.tuples(st.floats(0.01, 10.0), st.floats(0.1, 500.0)), min_size=2, max_size=50),
    st.floats(-1e6, 1e6),
)
@settings(max_examples=200, deadline=None)
def test_a_counter_and_the_trapezoid_agree_on_power_that_is_linear_between_reads(
    steps: list[tuple[float, float]], start: float
) -> None:
    times, watts, joules = [start], [steps[0][1]], [0.0]
    for seconds, power in steps:
        times.append(times[-1] + seconds)
        joules.append(joules[-1] + 0.5 * (watts[-1] + power) * seconds)
        watts.append(power)
    shared = {"seconds": tuple(times), "read_seconds": 0.0, "update_seconds": 0.0}
    counted = energy_joules(Track(values=tuple(joules), is_counter=True, **shared))  # type: ignore[arg-type]
    sampled = energy_joules(Track(values=tuple(watts), is_counter=False, **shared))  # type: ignore[arg-type]
    assert sampled.value == pytest.approx(counted.value, rel=1e-6)
    assert counted.uncertainty == 0.0


@given(st.floats(0.5, 200.0), st.integers(1, 10**6))
@settings(max_examples=100, deadline=None)
def test_a_load_that_draws_what_idle_draws_costs_nothing_net(watts: float, inferences: int) -> None:
    def steady(seconds: int) -> Track:
        return Track(
            seconds=tuple(float(at) for at in range(seconds + 1)),
            values=tuple(watts * at for at in range(seconds + 1)),
            is_counter=True,
            read_seconds=0.0,
            update_seconds=1e-3,
        )

    found = energy_per_inference(steady(30), steady(10), inferences=inferences)
    assert found.net.value == pytest.approx(0.0, abs=1e-6)
    assert found.gross.value == pytest.approx(watts * 10 / inferences)
    assert abs(found.net.value) <= found.net.uncertainty
    assert found.idle_watts.value == pytest.approx(found.load_watts.value)


def test_one_stretch_tells_no_scatter() -> None:
    track = Track(
        seconds=(0.0, 1.0), values=(5.0, 5.0), is_counter=False, read_seconds=0.0, update_seconds=0.0
    )
    assert mean_watts(track).uncertainty == math.inf
    assert variation(track) == 0.0


def test_variation_tells_a_steady_baseline_from_a_busy_one() -> None:
    steady = Track(
        seconds=(0.0, 1.0, 2.0), values=(0.0, 5.0, 10.0), is_counter=True, read_seconds=0, update_seconds=0
    )
    busy = Track(
        seconds=(0.0, 1.0, 2.0), values=(0.0, 2.0, 10.0), is_counter=True, read_seconds=0, update_seconds=0
    )
    nothing = Track(seconds=(0.0, 1.0), values=(0.0, 0.0), is_counter=True, read_seconds=0, update_seconds=0)
    assert variation(steady) == 0.0
    assert variation(busy) > 0.5
    assert variation(nothing) == math.inf


def reading(name: str, value: float | Absent, scope: str) -> Measured:
    return Measured(name=name, value=value, source="s", scope=scope, quality="sampled")


def test_what_feeds_the_module_is_quoted_and_a_battery_only_while_it_gives() -> None:
    readings = [
        reading("psys_joules_total", 1.0, "psys"),
        reading("bat_watts", 3.0, "battery"),
        reading("package_0_joules_total", 1.0, "package"),
        reading("ina3221_vdd_in_watts", 7.0, "rail:VDD_IN"),
        reading("ina3221_vdd_cpu_watts", 2.0, "rail:VDD_CPU"),
        reading("broken_watts", Absent("EIO"), "rail:VDD_IN"),
        reading("cpu_celsius", 40.0, "zone"),
    ]
    assert [one.name for one in meters(readings)] == [
        "ina3221_vdd_in_watts",
        "package_0_joules_total",
        "psys_joules_total",
        "ina3221_vdd_cpu_watts",
    ]
    giving = reading("bat_watts", -3.0, "battery")
    assert meters([giving]) == [giving]
    assert drawn(giving) == 3.0
    assert drawn(readings[5]) == Absent("EIO")
