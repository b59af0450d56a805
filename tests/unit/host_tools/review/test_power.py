"""Watts of what sensors say: rails, batteries, and energy counters."""

from __future__ import annotations

from host_tools.review.power import battery, consumption, latest_powers, powers
from tests.unit.host_tools.review.telemetry_messages import battery_watts, joules, power, watts


def test_energy_becomes_power_by_the_devices_uptime() -> None:
    told = latest_powers([power(0, joules(5.0)), power(10, joules(125.0))])
    assert [(one.label, one.watts, one.from_energy) for one in told] == [("package_0", 12.0, True)]


def test_a_first_sample_of_a_run_and_a_counter_that_went_back_tell_nothing() -> None:
    samples = [
        power(0, joules(900.0)),
        power(10, joules(0.0), boot="boot-2"),
        power(20, joules(50.0), boot="boot-2"),
        power(30, joules(10.0), boot="boot-2"),
        power(40, joules(20.0), boot="boot-2"),
    ]
    assert [[one.watts for one in told] for _, told in powers(samples)] == [[], [], [5.0], [], [1.0]]


def test_an_unreadable_counter_costs_no_energy() -> None:
    told = latest_powers([power(0, joules(0.0)), power(10, joules(None)), power(20, joules(100.0))])
    assert [one.watts for one in told] == [5.0]


def test_a_battery_is_no_consumer_and_keeps_its_sign() -> None:
    told = latest_powers([power(0, watts(4.0), battery_watts(-18.0))])
    drawn, stored = consumption(told), battery(told)
    assert drawn is not None
    assert (drawn.label, drawn.watts) == ("VDD_IN", 4.0)
    assert stored is not None
    assert (stored.label, stored.watts) == ("battery", -18.0)


def test_a_battery_alone_is_not_called_consumption() -> None:
    assert consumption(latest_powers([power(0, battery_watts(18.0))])) is None


def test_the_outermost_source_counts() -> None:
    first = power(0, joules(0.0), joules(0.0, name="package_0_core"))
    second = power(10, joules(100.0), joules(70.0, name="package_0_core"))
    drawn = consumption(latest_powers([first, second]))
    assert drawn is not None
    assert (drawn.label, drawn.watts) == ("package_0", 10.0)


def test_no_sample_no_power() -> None:
    assert latest_powers([]) == []
