"""What every kind of rig must let a board sense, as the agent's own sensors and clocks tell it: the template of `hil.senses`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hil.rig import Rig

HURRY, ASLEEP_SECONDS = 20.0, 10.0
FOLLOWS = f"""
import time
true, told = time.perf_counter(), time.monotonic()
time.sleep({ASLEEP_SECONDS})
print(time.perf_counter() - true, time.monotonic() - told)
"""


def sensors(rig: Rig) -> bytes:
    """Return what the agent's sensors say on the board, as JSON."""
    return agents(rig, [*rig.agent_command, "sensors", "--json", "--sysfs-root", rig.sysfs_root])


def python(rig: Rig, script: str) -> list[float]:
    """Return the numbers that a script prints, in an agent's place."""
    return [float(one) for one in agents(rig, [rig.agent_command[0], "-c", script]).split()]


def agents(rig: Rig, command: list[str]) -> bytes:
    named = [f"{name}={value}" for name, value in rig.environment.items()]
    done = rig.shell.run(["env", *named, *command])
    assert done.status == 0, done.stderr
    return done.stdout


@pytest.mark.needs("thermal")
def test_the_temperature_can_be_moved_and_taken_away(rig: Rig) -> None:
    rig.thermal.set_celsius(71.5)
    assert b"71.5" in sensors(rig)
    rig.thermal.set_celsius(40.0)
    assert b"71.5" not in sensors(rig)
    rig.thermal.take_away()
    assert b"ENOENT" in sensors(rig)
    rig.thermal.set_celsius(40.0)


@pytest.mark.needs("meter")
def test_the_power_that_is_told_can_be_moved(rig: Rig) -> None:
    rig.meter.set_watts(7.25)
    assert b"7.25" in sensors(rig)
    rig.meter.set_watts(2.0)


@pytest.mark.needs("clock")
def test_the_clock_jumps_and_comes_back(rig: Rig) -> None:
    def off_seconds() -> float:
        return python(rig, "import time, datetime; print(time.time() - datetime.datetime.now().timestamp())")[
            0
        ]

    rig.clock.jump(-86_400.0)
    assert off_seconds() == pytest.approx(-86_400.0, abs=1.0)
    rig.clock.jump(0.0)
    assert off_seconds() == pytest.approx(0.0, abs=1.0)


@pytest.mark.needs("clock")
def test_the_clocks_are_hurried_and_keep_the_true_pace_again(rig: Rig) -> None:
    rig.clock.hurry(HURRY)
    try:
        true, told = python(rig, FOLLOWS)
        assert told >= ASLEEP_SECONDS * 0.95
        assert true < ASLEEP_SECONDS / 2
    finally:
        rig.clock.hurry(1.0)
    true, told = python(rig, FOLLOWS.replace(str(ASLEEP_SECONDS), "0.5"))
    assert told == pytest.approx(true, abs=0.2)


@pytest.mark.needs("rails")
def test_rails_can_be_added_moved_and_taken_away(rig: Rig) -> None:
    try:
        for rail, watts in (("VDD_CPU", 1.5), ("VDD_DRAM", 0.25), ("VDD_SOC", 0.75), ("5V_SYS", 3.375)):
            rig.rails.set_watts(rail, watts)
            assert f"{watts:g}".encode() in sensors(rig)
        rig.rails.set_watts("VDD_CPU", 4.125)
        assert b"rail:VDD_CPU" in sensors(rig)
        assert b"4.125" in sensors(rig)
    finally:
        rig.rails.clear()
    assert b"rail:" not in sensors(rig)


@pytest.mark.needs("battery")
def test_a_battery_can_be_put_in_moved_and_taken_out(rig: Rig) -> None:
    try:
        rig.battery.set_charge(0.47, watts=-6.25)
        told = sensors(rig)
        assert b"0.47" in told
        assert b"-6.25" in told
        rig.battery.set_charge(0.48, watts=8.5)
        told = sensors(rig)
        assert b"0.48" in told
        assert b"8.5" in told
    finally:
        rig.battery.take_out()
    assert b"charge_ratio" not in sensors(rig)
