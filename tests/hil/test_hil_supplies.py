"""Replayed rails and batteries, read by the agent's own sensors."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_agent.energy.choice import meters
from device_agent.sensors.battery import read_supplies
from device_agent.sensors.hwmon import read_power
from device_agent.sensors.reading import Measured
from hil.drivers.replayed_battery import ReplayedBattery
from hil.drivers.replayed_rails import ReplayedRails
from hil.drivers.replayed_sysfs import ReplayedSysfs
from hil.errors import RigError
from hil.rail_name import is_rail_name
from hil.rigs.local import LocalFiles, LocalShell
from host_tools.errors import InputError

MILLIWATT = 0.001
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,31}", fullmatch=True).filter(is_rail_name)


def by_scope(readings: list[Measured]) -> dict[str, Measured]:
    return {one.scope: one for one in readings}


@given(told=st.dictionaries(names, st.floats(0.0, 10_000.0), min_size=1, max_size=8))
@settings(max_examples=30, deadline=None)
def test_every_rail_is_read_as_it_was_told(
    tmp_path_factory: pytest.TempPathFactory, told: dict[str, float]
) -> None:
    root = tmp_path_factory.mktemp("sys")
    rails = ReplayedRails(LocalFiles(), str(root))
    for name in told:
        rails.set_watts(name, 1.0)
    for name, watts in told.items():
        rails.set_watts(name, watts)
    found = by_scope(read_power(root))
    assert set(found) == {f"rail:{name}" for name in told}
    for name, watts in told.items():
        assert found[f"rail:{name}"].value == pytest.approx(watts, abs=MILLIWATT / 2 + 1e-9)
    rails.clear()
    rails.clear()
    assert read_power(root) == []
    rails.set_watts("ANEW", 2.0)
    assert [one.value for one in read_power(root)] == [2.0]


def test_rails_stand_beside_the_boards_own_meter_which_is_still_the_one_to_quote(tmp_path: Path) -> None:
    files = LocalFiles()
    ReplayedSysfs(files, str(tmp_path)).set_watts(6.5)
    rails = ReplayedRails(files, str(tmp_path))
    rails.set_watts("VDD_CPU", 3.125)
    quoted, rail = meters(read_power(tmp_path))
    assert (quoted.value, quoted.scope.split(":")[0]) == (6.5, "chip")
    assert (rail.name, rail.value, rail.quality) == ("ina3221_vdd_cpu_watts", 3.125, "estimated")


@pytest.mark.parametrize("name", ["", "VDD CPU", "VDD_NC", "../x", "x" * 33, "ü", "a\n", ".x"])
def test_what_is_no_name_of_a_rail_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="expected a rail's label of 1 to 32 letters"):
        ReplayedRails(LocalFiles(), str(tmp_path)).set_watts(name, 1.0)
    assert list(tmp_path.iterdir()) == []


@given(
    steps=st.lists(
        st.tuples(st.floats(0.0, 1.0), st.floats(-10_000.0, 10_000.0) | st.just(0.0)), min_size=1, max_size=6
    )
)
@settings(max_examples=30, deadline=None)
def test_a_battery_is_read_as_it_was_told(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[float, float]]
) -> None:
    root = tmp_path_factory.mktemp("sys")
    battery = ReplayedBattery(LocalShell({}), LocalFiles(), str(root))
    for charge, watts in steps:
        battery.set_charge(charge, watts=watts)
        found = {one.name: one for one in read_supplies(root)}
        assert {one.scope for one in found.values()} == {"battery"}
        value = {name.removeprefix("supply_bat0_"): one.value for name, one in found.items()}
        assert value["charge_ratio"] == pytest.approx(charge, abs=0.005 + 1e-9)
        assert value["stored_joules"] == pytest.approx(charge * 180_000.0, abs=0.01)
        assert value["watts"] == pytest.approx(watts, abs=1e-6)
        assert value["volts"] * value["amperes"] == pytest.approx(watts, rel=1e-6, abs=1e-4)  # type: ignore[operator]  # no value is absent
    battery.take_out()
    battery.take_out()
    assert read_supplies(root) == []
    battery.set_charge(charge, watts=watts)
    assert len(read_supplies(root)) == len(found), "it is put in again whole"


def test_a_battery_counts_as_a_meter_while_it_gives(tmp_path: Path) -> None:
    battery = ReplayedBattery(LocalShell({}), LocalFiles(), str(tmp_path))
    for watts, counts in ((-6.5, True), (0.0, False), (11.0, False)):
        battery.set_charge(0.5, watts=watts)
        assert bool(meters(read_supplies(tmp_path))) == counts


def test_a_battery_that_cannot_be_set_is_a_failure_of_the_rig(tmp_path: Path) -> None:
    (tmp_path / "devices").write_text("no folder")
    battery = ReplayedBattery(LocalShell({}), LocalFiles(), str(tmp_path))
    with pytest.raises(RigError, match=r"BAT0: cannot be set: .*devices"):
        battery.set_charge(0.5, watts=1.0)


def test_a_battery_is_never_read_half_as_it_was(tmp_path: Path) -> None:
    battery = ReplayedBattery(LocalShell({}), LocalFiles(), str(tmp_path))
    battery.set_charge(0.5, watts=-6.5)
    inside = tmp_path / "class/power_supply/BAT0"
    before = inside.resolve()
    battery.set_charge(0.5, watts=11.0)
    assert (before / "status").read_text() == "Discharging\n", "what a reader has open stays whole"
    assert (inside / "status").read_text() == "Charging\n"
    assert [one.name for one in (tmp_path / "class/power_supply").iterdir()] == ["BAT0"]
