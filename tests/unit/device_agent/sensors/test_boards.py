"""Sensors on trees laid out as real boards lay them out, whole and broken."""

from __future__ import annotations

import gc
import json
import os
import shutil
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import board_trees as trees
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_agent.cli import main
from device_agent.contract.telemetry.units import unit_of
from device_agent.sensors.counter import EnergyCounter
from device_agent.sensors.pressure import parse_pressure, read_pressure
from device_agent.sensors.raspberry_pi import FLAGS, parse_pmic, parse_throttled
from device_agent.sensors.reading import Absent, Measured
from device_agent.sensors.survey import Sensors, find_vcgencmd
from device_agent.sensors.sysfs import read_text
from device_agent.sensors.thermal import trip_points
from device_agent.sensors.throttling import ThrottleWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

BOARDS: tuple[Callable[[Path], Path], ...] = (
    trees.jetson_orin_nx,
    trees.jetson_agx_orin,
    trees.jetson_nano_jetpack4,
    trees.raspberry_pi_5,
    trees.server_two_sockets,
    trees.laptop,
    trees.industrial_box,
)


def survey(root: Path, vcgencmd: Path | None = None) -> Sensors:
    return Sensors(sysfs_root=root, state_directory=root, pss_interval_seconds=60.0, vcgencmd=vcgencmd)


def by_name(readings: Iterable[Measured]) -> dict[str, Measured]:
    return {reading.name: reading for reading in readings}


def program(folder: Path, text: str) -> Path:
    file = folder / "vcgencmd"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return file


# --- whole boards ---


def test_a_jetson_of_jetpack_5_has_its_rails_once_and_no_invented_ones(tmp_path: Path) -> None:
    power = by_name(survey(trees.jetson_orin_nx(tmp_path)).power(0.0))
    assert "rapl_package_joules_total" in power
    assert {name for name in power if name.startswith(("ina", "jetson"))} == {
        "ina3221_vdd_in_watts",
        "ina3221_vdd_cpu_gpu_cv_watts",
    }
    total = power["ina3221_vdd_in_watts"]
    assert total.value == pytest.approx(9.6)
    assert (total.scope, total.quality, total.update_seconds) == ("rail:VDD_IN", "estimated", 0.14)


def test_a_channel_that_is_switched_off_is_absent(tmp_path: Path) -> None:
    root = trees.jetson_orin_nx(tmp_path)
    (root / "class/hwmon/hwmon1/in1_enable").write_text("0")
    value = by_name(survey(root).power(0.0))["ina3221_vdd_in_watts"].value
    assert isinstance(value, Absent)
    assert "in1_enable is 0" in value.reason


def test_an_agx_board_has_no_total_so_its_rails_are_summed_and_called_a_sum(tmp_path: Path) -> None:
    root = trees.jetson_agx_orin(tmp_path)
    total = by_name(survey(root).power(0.0))["jetson_rails_watts"]
    assert total.value == pytest.approx(4 * 5.0)
    assert (total.scope, total.quality) == ("rails_sum", "estimated")
    (root / "bus/i2c/devices/1-0041/hwmon/hwmon4/curr2_input").unlink()
    value = by_name(survey(root).power(0.0))["jetson_rails_watts"].value
    assert isinstance(value, Absent)
    assert "not all rails" in value.reason


def test_a_rail_that_is_gone_does_not_make_the_sum_smaller(tmp_path: Path) -> None:
    sensors = survey(trees.jetson_agx_orin(tmp_path))
    sensors.power(0.0)
    shutil.rmtree(tmp_path / "bus/i2c/devices/1-0041")
    value = by_name(sensors.power(1.0))["jetson_rails_watts"].value
    assert value == Absent("not all rails could be read: rail:VDDQ_VDD2_1V8AO is gone")


def test_a_jetson_of_jetpack_4_is_read_from_the_driver_once(tmp_path: Path) -> None:
    power = by_name(survey(trees.jetson_nano_jetpack4(tmp_path)).power(0.0))
    rails = {name: reading.value for name, reading in power.items() if reading.source == "jetson"}
    assert rails == {
        "ina3221x_pom_5v_in_watts": pytest.approx(2.137),
        "ina3221x_pom_5v_gpu_watts": pytest.approx(0.041),
        "ina3221x_pom_5v_cpu_watts": pytest.approx(0.575),
    }


@pytest.mark.parametrize("firmware", ["soc/soc:firmware", "soc@107c000000/firmware", "raspberrypi-firmware"])
def test_throttle_flags_by_their_bits_wherever_the_firmware_hangs(tmp_path: Path, firmware: str) -> None:
    root = trees.raspberry_pi_5(tmp_path, throttled="50005", firmware=firmware)
    heat = by_name(survey(root).heat())
    states = {name: heat[name].value for name in heat if name.startswith("rpi_") and "volt_under" not in name}
    on = {name for name, value in states.items() if value == 1.0}
    assert len(states) == 2 * len(FLAGS)
    assert on == {
        "rpi_under_voltage_state",
        "rpi_throttled_state",
        "rpi_under_voltage_occurred_state",
        "rpi_throttled_occurred_state",
    }
    assert heat["rpi_volt_under_voltage_state"].value == 1.0
    assert heat["cpu_thermal_celsius"].value == pytest.approx(56.55)


def test_a_pi_5_sums_rails_with_volts_and_amperes_and_does_not_call_it_the_board(tmp_path: Path) -> None:
    root = trees.raspberry_pi_5(tmp_path / "sys")
    shown = program(tmp_path, f"cat <<END\n{trees.PMIC_TEXT}END")
    power = by_name(survey(root, shown).power(0.0))
    watts = power["pmic_rails_watts"]
    expected = 0.00390372 * 3.71821 + 0.06148369 * 3.3 + 1.5 * 0.8
    assert watts.value == pytest.approx(expected)
    assert watts.scope == "pmic_rails"
    assert power["ext5v_volts"].value == pytest.approx(5.1436)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo VCHI initialization failed >&2; exit 255", "group video"),
        ("echo error=2 error_msg=unknown", "answers 'error=2"),
        ("true", "answers ''"),
    ],
)
def test_a_firmware_that_does_not_answer_is_absent(tmp_path: Path, script: str, said: str) -> None:
    root = trees.raspberry_pi_5(tmp_path / "sys")
    value = by_name(survey(root, program(tmp_path, script)).power(0.0))["pmic_rails_watts"].value
    assert isinstance(value, Absent)
    assert said in value.reason


def test_without_vcgencmd_the_way_to_it_is_said_and_a_tree_never_asks_the_real_one(tmp_path: Path) -> None:
    root = trees.raspberry_pi_5(tmp_path)
    assert find_vcgencmd(None, root) is None
    assert find_vcgencmd(Path("/opt/vcgencmd"), root) == Path("/opt/vcgencmd")
    gone = by_name(survey(root, tmp_path / "none").power(0.0))["pmic_rails_watts"].value
    assert isinstance(gone, Absent)
    assert "cannot be run" in gone.reason
    absent = by_name(survey(root).power(0.0))["pmic_rails_watts"].value
    assert isinstance(absent, Absent)
    assert "sensors.vcgencmd" in absent.reason


def test_two_sockets_count_once_and_are_summed_apart_from_what_contains_them(tmp_path: Path) -> None:
    root = trees.server_two_sockets(tmp_path)
    sensors = survey(root)
    sensors.power(0.0)
    grown = {"0": 30, "0:0": 20, "0:1": 5, "1": 40, "1:0": 25, "1:1": 6, "2": 100}
    for zone, joules in grown.items():
        (root / f"class/powercap/intel-rapl:{zone}/energy_uj").write_text(str(1_000 + joules * 1_000_000))
    power = by_name(sensors.power(10.0))
    assert {name.removesuffix("_joules_total"): (one.value, one.scope) for name, one in power.items()} == {
        "package_0": (30.0, "package"),
        "package_0_core": (20.0, "core"),
        "package_0_dram": (5.0, "dram"),
        "package_1": (40.0, "package"),
        "package_1_core": (25.0, "core"),
        "package_1_dram": (6.0, "dram"),
        "psys": (100.0, "psys"),
        "rapl_packages": (70.0, "packages"),
    }
    (root / "class/powercap/intel-rapl:1/energy_uj").unlink()
    absent = by_name(sensors.power(20.0))["rapl_packages_joules_total"].value
    assert isinstance(absent, Absent)
    assert "not all packages" in absent.reason


def test_zones_that_are_there_by_mmio_alone_are_read(tmp_path: Path) -> None:
    root = trees.server_two_sockets(tmp_path)
    for zone in (root / "class/powercap").glob("intel-rapl:*"):
        shutil.rmtree(zone)
    assert list(by_name(survey(root).power(0.0))) == ["package_0_joules_total"]


def test_a_laptop_signs_by_status_makes_watts_and_leaves_the_mouse_alone(tmp_path: Path) -> None:
    root = trees.laptop(tmp_path)
    power = {
        name: (one.value, one.scope)
        for name, one in by_name(survey(root).power(0.0)).items()
        if one.source == "power_supply"
    }
    empty = power.pop("supply_bat1_charge_ratio")[0]
    assert isinstance(empty, Absent)
    assert "no battery in the bay" in empty.reason
    assert power == {
        "supply_ac_online_state": (0.0, "mains"),
        "supply_bat0_charge_ratio": (pytest.approx(0.61), "battery"),
        "supply_bat0_volts": (pytest.approx(12.0), "battery"),
        "supply_bat0_amperes": (pytest.approx(-1.5), "battery"),
        "supply_bat0_stored_joules": (pytest.approx(108_000.0), "battery"),
        "supply_bat0_watts": (pytest.approx(-18.0), "battery"),
        "supply_hidpp_battery_0_charge_ratio": (pytest.approx(0.5), "peripheral"),
    }


@pytest.mark.parametrize(
    ("status", "raw", "amperes"),
    [
        ("Charging", -7, 7e-6),
        ("Discharging", -7, -7e-6),
        ("Full", -7, -7e-6),
        ("Not charging", 7, 7e-6),
        ("Unknown", -7, -7e-6),
    ],
)
def test_the_drivers_sign_stands_where_the_status_says_none(
    tmp_path: Path, status: str, raw: int, amperes: float
) -> None:
    root = trees.laptop(tmp_path, status=status)
    (root / "class/power_supply/BAT0/current_now").write_text(str(raw))
    assert by_name(survey(root).power(0.0))["supply_bat0_amperes"].value == pytest.approx(amperes)


def test_chips_keep_their_names_when_their_numbers_change(tmp_path: Path) -> None:
    root = trees.industrial_box(tmp_path)
    before = by_name(survey(root).power(0.0))
    assert before["ina226_power1_watts"].value == pytest.approx(
        5.0
    )  # 1-0040 before 1-0044, against hwmon9 and 5
    assert before["ina226_power1_2_watts"].value == pytest.approx(7.0)
    assert before["ina226_power1_watts"].scope == "chip:ina226@1-0040:power1:shunt=2000uohm"
    assert before["ina226_power1_watts"].update_seconds == pytest.approx(0.036)
    for old, new in (("hwmon9", "hwmon0"), ("hwmon5", "hwmon9")):
        (root / f"class/hwmon/{old}").rename(root / f"class/hwmon/{new}")
    assert by_name(survey(root).power(0.0)) == before
    assert by_name(survey(root).heat())["f71882fg_temp1_celsius"].value == pytest.approx(41.0)


def test_trip_points_are_facts_and_the_lowest_of_a_type_counts(tmp_path: Path) -> None:
    root = trees.raspberry_pi_5(tmp_path)
    zone = root / "class/thermal/thermal_zone0"
    for number, (kind, milli) in enumerate(
        [("passive", 85_000), ("passive", 80_000), ("passive", -274_000)], 2
    ):
        (zone / f"trip_point_{number}_type").write_text(kind)
        (zone / f"trip_point_{number}_temp").write_text(str(milli))
    assert trip_points(root) == {"cpu_thermal_critical_celsius": 110.0, "cpu_thermal_passive_celsius": 80.0}


def test_pressure(tmp_path: Path) -> None:
    text = "some avg10=12.50 avg60=1.00 avg300=0.10 total=123\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0"
    trees.write_tree(tmp_path, {"pressure/cpu": text, "pressure/io": "garbage"})
    cpu, memory, disk = (reading.value for reading in read_pressure(tmp_path))
    assert cpu == pytest.approx(0.125)
    assert memory == Absent(f"ENOENT on {tmp_path}/pressure/memory")
    assert disk == Absent("pressure reads 'garbage'")


# --- throttled ---


def test_what_slows_a_processor_down_is_said_and_a_fan_or_an_old_cap_is_not(tmp_path: Path) -> None:
    root = trees.server_two_sockets(trees.raspberry_pi_5(tmp_path))
    trees.write_tree(root, {
        "devices/system/cpu/cpu0/cpufreq/scaling_max_freq": 1_500_000,
        "devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": 2_400_000,
        "class/thermal/cooling_device1/type": "cpufreq-cpu0",
        "class/thermal/cooling_device1/cur_state": 0, "class/thermal/cooling_device1/max_state": 4,
        "class/hwmon/hwmon3/in0_lcrit_alarm": 0,
    })  # fmt: skip
    sensors, watch = survey(root), ThrottleWatch()
    assert watch.reasons(sensors.heat()) == ()
    assert watch.reasons(sensors.heat()) == ()
    trees.write_tree(root, {
        "devices/system/cpu/cpu0/cpufreq/scaling_max_freq": 1_200_000,
        "class/thermal/cooling_device1/cur_state": 1,
        "devices/system/cpu/cpu3/thermal_throttle/core_throttle_count": 9,
        "devices/platform/soc@107c000000/firmware/get_throttled": "4",
    })  # fmt: skip
    assert set(watch.reasons(sensors.heat())) == {
        "the frequency cap fell to 50%",
        "cooling_cpufreq_cpu0 is at 25%",
        "cpu_core_throttle_total rose by 6",
        "the firmware throttles",
    }


# --- what it costs ---


def test_sampling_a_machine_full_of_sensors_keeps_no_memory(tmp_path: Path) -> None:
    root = trees.server_two_sockets(trees.laptop(trees.industrial_box(tmp_path)))
    for number in range(64):
        trees.write_tree(root, {
            f"class/hwmon/hwmon{20 + number // 8}/name": "nct6775",
            f"class/hwmon/hwmon{20 + number // 8}/temp{number % 8 + 1}_input": 40_000,
        })  # fmt: skip
    sensors = survey(root)

    def sample(first: int) -> None:
        for number in range(first, first + 30):
            sensors.heat()
            sensors.power(float(number))

    sample(0)
    tracemalloc.start()
    try:
        sample(30)  # what is allocated once and kept, such as caches of the standard library
        gc.collect()
        before = tracemalloc.take_snapshot()
        sample(60)
        gc.collect()
        after = tracemalloc.take_snapshot()
    finally:
        tracemalloc.stop()
    # Blocks and not bytes: the interpreter's table of interned strings may grow at any moment, by megabytes, in one block.
    assert sum(change.count_diff for change in after.compare_to(before, "filename")) < 100


# --- broken boards ---


@pytest.mark.parametrize("make", BOARDS)
@pytest.mark.parametrize("breakage", ["EAGAIN", "EIO", "ENOENT", "EISDIR", "garbage", "empty"])
def test_no_breakage_of_any_file_of_any_board_stops_or_invents_a_reading(
    tmp_path: Path, make: Callable[[Path], Path], breakage: str
) -> None:
    """Every file in turn, as drivers break: EAGAIN by a pipe that has a writer and nothing in it, EIO by the kernel itself."""
    root = make(tmp_path / "sys")
    sensors = survey(root)
    sensors.power(0.0)
    whole = by_name((*sensors.heat(), *sensors.power(10.0)))
    for file in [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]:
        kept = file.read_text()
        file.unlink()
        writer = _break(file, breakage)
        try:
            broken = by_name((*sensors.heat(), *sensors.power(20.0)))
        finally:
            if writer is not None:
                os.close(writer)
        for name, reading in broken.items():
            assert unit_of(name)
            if not isinstance(reading.value, Absent) and _is_same(reading, whole.get(name)):
                assert reading.value == whole[name].value, (file, name)
        if file.is_dir():
            file.rmdir()
        else:
            file.unlink(missing_ok=True)
        file.write_text(kept)
    assert by_name((*sensors.heat(), *sensors.power(30.0))) == whole


def _is_same(reading: Measured, whole: Measured | None) -> bool:
    """A chip whose name cannot be read is another chip; of two with one name, the other then has it for its own."""
    return whole is not None and reading.scope == whole.scope


def _break(file: Path, breakage: str) -> int | None:
    if breakage == "EAGAIN":
        os.mkfifo(file)
        writer = os.open(file, os.O_RDWR)
        answer = read_text(file)
        assert isinstance(answer, Absent)
        assert answer.reason.startswith("EAGAIN")
        return writer
    if breakage == "EIO":
        file.symlink_to("/proc/self/mem")  # address 0 of one's own process
    elif breakage == "EISDIR":
        file.mkdir()
    elif breakage != "ENOENT":
        file.write_bytes(b"\xff\x00garbage" if breakage == "garbage" else b"")
    return None


@pytest.mark.parametrize("make", BOARDS)
def test_a_board_that_vanishes_node_by_node_ends_with_reasons(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    root = make(tmp_path / "sys")
    sensors = survey(root)
    sensors.power(0.0)
    for folder in sorted(
        (path for path in root.rglob("*") if path.is_dir()), key=lambda path: -len(path.parts)
    ):
        if not folder.is_symlink():
            shutil.rmtree(folder, ignore_errors=True)
        for reading in (*sensors.heat(), *sensors.power(10.0)):
            assert unit_of(reading.name)
    assert all(isinstance(one.value, Absent) for one in (*sensors.heat(), *sensors.power(20.0)))


@given(st.one_of(st.text(max_size=200), st.binary(max_size=200).map(lambda data: data.decode("latin-1"))))
@settings(max_examples=300, deadline=None)
def test_no_answer_of_a_firmware_or_kernel_breaks_a_parser(text: str) -> None:
    for value in (parse_throttled(text), *parse_pmic(text), parse_pressure(text)):
        assert isinstance(value, Absent) or value >= 0


# --- the counter ---


@given(
    st.lists(st.tuples(st.integers(0, 240_000_000), st.floats(1.0, 100.0)), min_size=1, max_size=60),
    st.integers(0, 2**32),
    st.sets(st.integers(0, 59)),
)
@settings(max_examples=200, deadline=None)
def test_the_sum_is_exact_whatever_reads_are_missed_and_however_often_it_wraps(
    steps: list[tuple[int, float]], start: int, missed: set[int]
) -> None:
    span = 65_712_999_613
    counter = EnergyCounter(range_uj=span, most_watts=250.0)
    raw, now, true, unread = start % span, 0.0, 0, 0.0
    counter.advance(raw, now)
    for number, (microwatts_each, seconds) in enumerate(steps):
        grown = int(microwatts_each * seconds)
        raw, now, true, unread = (raw + grown) % span, now + seconds, true + grown, unread + seconds
        if number in missed and unread < 100.0:
            continue
        unread = 0.0
        assert counter.advance(raw, now) == pytest.approx(true * 1e-6, abs=1e-9)


def test_a_counter_that_was_read_too_rarely_is_absent_once_and_adds_nothing() -> None:
    counter = EnergyCounter(range_uj=1_000_000, most_watts=1.0)
    counter.advance(0, 0.0)
    assert counter.advance(900_000, 0.95) == pytest.approx(0.9)
    value = counter.advance(800_000, 5.0)
    assert isinstance(value, Absent)
    assert "more than once" in value.reason
    assert counter.advance(900_000, 5.5) == pytest.approx(1.0)


def test_a_counter_that_is_kept_between_samples_tells_the_next_sample_what_it_missed(tmp_path: Path) -> None:
    root = trees.server_two_sockets(tmp_path)
    zone = root / "class/powercap/intel-rapl:0/energy_uj"
    sensors = survey(root)
    zone.write_text("5000000000")
    sensors.power(0.0)
    for second in range(1, 6):  # 60 kJ at 250 W each time: one wrap after another
        zone.write_text(str((5_000_000_000 + second * 60_000_000_000) % 262_143_328_850))
        sensors.keep_counters(second * 240.0)
    assert by_name(sensors.power(1_200.0))["package_0_joules_total"].value == pytest.approx(300_000.0)
    zone.write_text("1")
    sensors.keep_counters(1_201.0)
    missed = by_name(sensors.power(1_202.0))["package_0_joules_total"].value
    assert isinstance(missed, Absent)
    assert "was reset" in missed.reason
    assert by_name(sensors.power(1_203.0))["package_0_joules_total"].value == pytest.approx(300_000.0)


# --- the command ---


@pytest.mark.parametrize("make", BOARDS)
def test_the_command_lists_every_board_with_reasons_for_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], make: Callable[[Path], Path]
) -> None:
    root = make(tmp_path / "sys")
    assert main(["sensors", "--sysfs-root", str(root), "--proc-root", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    there = {reading["source"] for reading in found["readings"] if reading["value"] is not None}
    assert there
    assert not there & found["missing"].keys()
    assert found["missing"]["pressure"] == f"ENOENT on {tmp_path}/pressure/cpu"
    for reading in found["readings"]:
        assert {"source", "scope", "quality", "unit"} <= reading.keys()
        assert (reading["value"] is None) == (reading["quality"] == "unavailable") == ("reason" in reading)
    assert main(["sensors", "--sysfs-root", str(root), "--proc-root", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert all(reading["name"] in text for reading in found["readings"])
    assert all(f"{source}: {reason}" in text for source, reason in found["missing"].items())


def test_a_root_that_is_no_folder_is_a_wrong_argument(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sensors", "--sysfs-root", str(tmp_path / "none")]) == 2
    assert "--sysfs-root" in capsys.readouterr().err
