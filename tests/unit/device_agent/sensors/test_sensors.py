"""Sensors on trees that stand for ``/sys``."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_agent.contract.telemetry.units import READING_NAME, unit_of
from device_agent.sensors import battery, cpufreq, host, hwmon, thermal
from device_agent.sensors.host import boot_id, clock_is_synchronized, host_facts
from device_agent.sensors.rapl import RaplCounters
from device_agent.sensors.reading import Absent, Measured, slug, with_distinct_names
from device_agent.sensors.survey import Sensors
from device_agent.sensors.sysfs import children, read_integer, read_text
from device_agent.sensors.system import SystemSensor


def tree(root: Path, files: dict[str, object]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return root


def values(measured: list[Measured] | tuple[Measured, ...]) -> dict[str, object]:
    return {
        one.name: one.value.reason if isinstance(one.value, Absent) else pytest.approx(one.value)
        for one in measured
    }


# --- files ---


@pytest.mark.parametrize("content", ["", "  \n", "12 34", "0x10", "nan", "--"])
def test_what_is_no_integer_is_absent_with_the_path(tmp_path: Path, content: str) -> None:
    (tmp_path / "f").write_text(content)
    value = read_integer(tmp_path / "f")
    assert isinstance(value, Absent)
    assert str(tmp_path / "f") in value.reason


@pytest.mark.parametrize(("content", "number"), [("42\n", 42), ("-7", -7), (" 5 \n", 5), ("0", 0)])
def test_integers(tmp_path: Path, content: str, number: int) -> None:
    (tmp_path / "f").write_text(content)
    assert read_integer(tmp_path / "f") == number


@pytest.mark.parametrize("content", ["9" * 40, "-" + "9" * 40, str(1 << 64), str(-(1 << 63) - 1)])
def test_what_is_beyond_the_kernels_integers_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "f").write_text(content)
    value = read_integer(tmp_path / "f")
    assert isinstance(value, Absent)
    assert value.reason == f"{tmp_path / 'f'} holds {content[:24]}…, beyond 64 bits"


def test_a_temperature_below_absolute_zero_and_a_count_below_zero_cannot_be(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {
            "class/thermal/thermal_zone0/type": "a",
            "class/thermal/thermal_zone0/temp": -274_000,  # the kernel's mark of an invalid one
            "class/thermal/thermal_zone1/type": "b",
            "class/thermal/thermal_zone1/temp": -40_000,
            "class/hwmon/hwmon0/name": "tmp102",
            "class/hwmon/hwmon0/temp1_input": -300_000,
            "class/power_supply/BAT0/temp": -2_740,
            "devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": -1,
            "devices/system/cpu/cpu0/thermal_throttle/package_throttle_count": 3,
        },
    )
    sensors = Sensors(sysfs_root=root, state_directory=tmp_path, pss_interval_seconds=60.0)
    named = values(sensors.heat())
    assert named["a_celsius"] == f"{root}/class/thermal/thermal_zone0/temp says -274 °C, which cannot be"
    assert named["b_celsius"] == -40.0
    assert "says -300 °C, which cannot be" in str(named["tmp102_temp1_celsius"])
    assert "says -274 °C, which cannot be" in str(named["supply_bat0_celsius"])
    assert "core_throttle_count holds -1, which cannot be" in str(named["cpu_core_throttle_total"])
    assert named["cpu_package_throttle_total"] == 3.0


def test_a_file_that_is_not_there_says_its_error(tmp_path: Path) -> None:
    assert read_text(tmp_path / "none") == Absent(f"ENOENT on {tmp_path / 'none'}")
    assert read_text(tmp_path) == Absent(f"EISDIR on {tmp_path}")
    assert children(tmp_path / "none") == []


def test_a_pipe_without_a_writer_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert isinstance(read_text(tmp_path / "pipe"), Absent)


def test_an_error_of_the_driver_is_absent() -> None:
    # The kernel answers EIO for reading memory at address 0 of one's own process.
    value = read_text(Path("/proc/self/mem"))
    assert isinstance(value, Absent)
    assert value.reason.startswith("EIO")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
def test_what_may_not_be_looked_at_ends_nothing_and_vouches_for_no_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    root = tree(
        tmp_path,
        {
            "class/hwmon/hwmon0/name": "tmp102",
            "class/hwmon/hwmon0/temp1_input": 40_000,
            "class/power_supply/BAT0/type": "Battery",
            "class/power_supply/AC/online": 1,
            "devices/system/cpu/cpu0/cpufreq/scaling_max_freq": 1,
            "devices/platform/soc/soc:firmware/get_throttled": "0",
        },
    )

    def refuse(*_: object, **__: object) -> os.stat_result:  # root may look at everything
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "stat", refuse)
    sensors = Sensors(sysfs_root=root, state_directory=tmp_path, pss_interval_seconds=60.0)
    named = values([*sensors.heat(), *sensors.power(0.0)])
    assert named["tmp102_temp1_celsius"] == 40.0
    assert named["supply_bat0_charge_ratio"] == f"ENOENT on {root}/class/power_supply/BAT0/capacity"
    monkeypatch.setattr(host, "_adjtimex", lambda: host._TIME_ERROR)
    assert not clock_is_synchronized()


def test_children_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        (tmp_path / f"zone{number}").mkdir()
    (tmp_path / "other").mkdir()
    assert [entry.name for entry in children(tmp_path, "zone")] == ["zone1", "zone2", "zone10"]


@given(st.text(max_size=100))
@settings(max_examples=200, deadline=None)
def test_any_label_becomes_a_name_that_the_contract_takes(text: str) -> None:
    name = f"{slug(text)}_joules_total"
    assert READING_NAME.fullmatch(name)
    assert unit_of(name).unit == "J"


def test_names_are_made_distinct_and_keep_their_unit() -> None:
    readings = [
        Measured(name=name, value=1.0, source="s", scope="c", quality="sampled")
        for name in ("a_celsius", "a_celsius", "a_watts", "a_celsius", "a_2_celsius")
    ]
    made = with_distinct_names(readings, units=("_celsius", "_watts"))
    names = [reading.name for reading in made]
    assert names == ["a_celsius", "a_2_celsius", "a_watts", "a_3_celsius", "a_2_2_celsius"]


# --- heat ---


def test_thermal_zones_by_type_and_a_zone_that_is_off_is_absent_alone(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {
            "class/thermal/thermal_zone0/type": "cpu-thermal",
            "class/thermal/thermal_zone0/temp": 48250,
            "class/thermal/thermal_zone1/type": "x86_pkg_temp",
            "class/thermal/thermal_zone1/temp": -5000,
            "class/thermal/thermal_zone2/type": "iwlwifi_1",
            "class/thermal/thermal_zone3/temp": 1000,
        },
    )
    assert values(thermal.read_zones(root)) == {
        "cpu_thermal_celsius": 48.25,
        "x86_pkg_temp_celsius": -5.0,
        "iwlwifi_1_celsius": f"ENOENT on {root}/class/thermal/thermal_zone2/temp",
        "thermal_zone3_celsius": 1.0,
    }


def test_no_zone_is_said(tmp_path: Path) -> None:
    (reading,) = thermal.read_zones(tmp_path)
    assert reading.value == Absent(f"no thermal zone under {tmp_path}/class/thermal")


def test_cooling_as_a_share_of_its_most(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {
            "class/thermal/cooling_device0/type": "cpufreq-cpu0",
            "class/thermal/cooling_device0/cur_state": 3,
            "class/thermal/cooling_device0/max_state": 12,
            "class/thermal/cooling_device1/type": "Fan",
            "class/thermal/cooling_device1/cur_state": 0,
            "class/thermal/cooling_device1/max_state": 0,
            "class/thermal/cooling_device2/type": "Processor",
            "class/thermal/cooling_device2/max_state": 3,
        },
    )
    found = values(thermal.read_cooling(root))
    assert found["cooling_cpufreq_cpu0_ratio"] == 0.25
    assert found["cooling_fan_ratio"] == f"{root}/class/thermal/cooling_device1/max_state is 0"
    assert "cur_state" in str(found["cooling_processor_ratio"])


# --- frequency ---


def cores(root: Path, *states: tuple[int, int, int]) -> Path:
    for number, (current, allowed, possible) in enumerate(states):
        base = f"devices/system/cpu/cpu{number}/cpufreq"
        tree(
            root,
            {
                f"{base}/scaling_cur_freq": current,
                f"{base}/scaling_max_freq": allowed,
                f"{base}/cpuinfo_max_freq": possible,
            },
        )
    (root / "devices/system/cpu/cpufreq").mkdir(parents=True)  # is no core
    (root / "devices/system/cpu/cpuidle").mkdir()
    return root


def test_frequency_is_the_mean_in_hertz_and_the_cap_the_lowest(tmp_path: Path) -> None:
    root = cores(tmp_path, (600_000, 1_500_000, 1_500_000), (1_200_000, 1_000_000, 2_000_000))
    assert cpufreq.mean_frequency_hertz(root) == 900e6
    assert cpufreq.read_frequency_cap(root).value == 0.5


def test_no_cpufreq_is_said(tmp_path: Path) -> None:
    reason = Absent(f"no cpufreq under {tmp_path}/devices/system/cpu")
    assert cpufreq.mean_frequency_hertz(tmp_path) == reason
    assert cpufreq.read_frequency_cap(tmp_path).value == reason


def test_a_core_that_cannot_be_read_does_not_count_as_0(tmp_path: Path) -> None:
    root = cores(tmp_path, (600_000, 1_500_000, 1_500_000), (1_000_000, 1, 1))
    (root / "devices/system/cpu/cpu1/cpufreq/scaling_cur_freq").write_text("<unknown>")
    (root / "devices/system/cpu/cpu1/cpufreq/scaling_max_freq").unlink()
    assert cpufreq.mean_frequency_hertz(root) == 600e6
    assert cpufreq.read_frequency_cap(root).value == 1.0
    (root / "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq").write_text("")
    assert isinstance(cpufreq.mean_frequency_hertz(root), Absent)


# --- hwmon ---


def test_hwmon_units_labels_and_faults(tmp_path: Path) -> None:
    chip = "class/hwmon/hwmon3"
    root = tree(
        tmp_path,
        {
            f"{chip}/name": "nvme",
            f"{chip}/temp1_input": 35850,
            f"{chip}/temp1_label": "Composite",
            f"{chip}/temp2_input": 99000,
            f"{chip}/temp2_fault": 1,
            f"{chip}/temp1_max": 80000,
            f"{chip}/power1_average": 4_500_000,
            f"{chip}/power2_average": 1,
            f"{chip}/power2_input": 2_500_000,
            f"{chip}/energy1_input": 12_000_000,
            f"{chip}/in1_input": 12_000,
        },
    )
    heat = values(hwmon.read_temperatures(root))
    assert heat["nvme_composite_celsius"] == 35.85
    assert "temp2_fault is 1" in str(heat["nvme_temp2_celsius"])
    assert values(hwmon.read_power(root)) == {
        "nvme_power1_watts": 4.5,
        "nvme_power2_watts": 2.5,
        "nvme_energy1_joules_total": 12.0,
    }


def test_the_rails_of_an_ina3221_are_volts_times_amperes_and_called_estimated(tmp_path: Path) -> None:
    chip = "class/hwmon/hwmon1"
    root = tree(
        tmp_path,
        {
            f"{chip}/name": "ina3221",
            f"{chip}/in1_label": "VDD_IN",
            f"{chip}/in1_input": 5000,
            f"{chip}/curr1_input": 1500,
            f"{chip}/in2_label": "VDD_CPU",
            f"{chip}/curr2_input": 300,
        },
    )
    total, cpu = hwmon.read_power(root)
    assert (total.name, total.value, total.scope, total.quality) == (
        "ina3221_vdd_in_watts",
        pytest.approx(7.5),
        "rail:VDD_IN",
        "estimated",
    )
    assert isinstance(cpu.value, Absent)
    assert "in2_input" in cpu.value.reason


def test_an_ina226_has_its_own_power_and_needs_no_estimate(tmp_path: Path) -> None:
    chip = "class/hwmon/hwmon0"
    root = tree(
        tmp_path,
        {
            f"{chip}/name": "ina226",
            f"{chip}/in1_input": 5000,
            f"{chip}/curr1_input": 1000,
            f"{chip}/power1_input": 4_900_000,
        },
    )
    (reading,) = hwmon.read_power(root)
    assert (reading.value, reading.quality) == (pytest.approx(4.9), "sampled")


# --- RAPL ---


PACKAGE_RANGE, CORE_RANGE = 262_143_328_850, 65_532_610_987
"""µJ, as they are on processors with units of 61 and 15.3 µJ."""


def rapl_tree(root: Path, **raw: int) -> Path:
    base = "class/powercap"
    return tree(
        root,
        {
            f"{base}/intel-rapl:0/name": "package-0",
            f"{base}/intel-rapl:0/energy_uj": raw.get("package", 0),
            f"{base}/intel-rapl:0/max_energy_range_uj": PACKAGE_RANGE,
            f"{base}/intel-rapl:0:0/name": "core",
            f"{base}/intel-rapl:0:0/energy_uj": raw.get("core", 0),
            f"{base}/intel-rapl:0:0/max_energy_range_uj": CORE_RANGE,
            f"{base}/intel-rapl-mmio:0/name": "package-0",
            f"{base}/intel-rapl-mmio:0/energy_uj": 7,
        },
    )


def test_each_zone_wraps_with_its_own_range(tmp_path: Path) -> None:
    counters = RaplCounters(
        rapl_tree(tmp_path, package=PACKAGE_RANGE - 1_000_000, core=CORE_RANGE - 1_000_000)
    )
    assert values(counters.read(0.0)) == {"package_0_joules_total": 0.0, "package_0_core_joules_total": 0.0}
    rapl_tree(tmp_path, package=4_000_000, core=2_000_000)
    assert values(counters.read(10.0)) == {"package_0_joules_total": 5.0, "package_0_core_joules_total": 3.0}
    rapl_tree(tmp_path, package=14_000_000, core=2_000_000)
    assert values(counters.read(20.0)) == {"package_0_joules_total": 15.0, "package_0_core_joules_total": 3.0}


def test_a_read_that_failed_adds_nothing_before_or_after(tmp_path: Path) -> None:
    counters = RaplCounters(rapl_tree(tmp_path, package=10_000_000))
    counters.read(0.0)
    energy = tmp_path / "class/powercap/intel-rapl:0/energy_uj"
    energy.write_text("")
    assert "is empty" in str(values(counters.read(10.0))["package_0_joules_total"])
    energy.write_text("16000000")
    assert values(counters.read(20.0))["package_0_joules_total"] == 6.0


def test_a_counter_that_was_reset_is_absent_once_and_then_counts_on(tmp_path: Path) -> None:
    counters = RaplCounters(rapl_tree(tmp_path, package=500_000_000))
    counters.read(0.0)
    rapl_tree(tmp_path, package=1_000_000)  # as a wrap it would be 501 J in 0.1 s
    assert "was reset" in str(values(counters.read(0.1))["package_0_joules_total"])
    rapl_tree(tmp_path, package=3_000_000)
    assert values(counters.read(1.1))["package_0_joules_total"] == 2.0


def test_a_wrap_without_a_known_range_is_absent(tmp_path: Path) -> None:
    root = rapl_tree(tmp_path, package=10_000_000)
    (root / "class/powercap/intel-rapl:0/max_energy_range_uj").unlink()
    counters = RaplCounters(root)
    counters.read(0.0)
    rapl_tree(tmp_path, package=1)
    (root / "class/powercap/intel-rapl:0/max_energy_range_uj").unlink()
    assert "its range is unknown" in str(values(counters.read(10.0))["package_0_joules_total"])


def test_no_permission_says_the_remedy(tmp_path: Path) -> None:
    root = rapl_tree(tmp_path)
    (root / "class/powercap/intel-rapl:0/energy_uj").chmod(0)
    counters = RaplCounters(root)
    mine = os.geteuid()
    if mine == 0:
        os.seteuid(65534)  # permissions do not hold for root
    try:
        found = str(values(counters.read(0.0))["package_0_joules_total"])
    finally:
        os.seteuid(mine)
    assert found.startswith("EACCES")
    assert "CAP_DAC_READ_SEARCH" in found


def test_no_zone_is_a_reading_that_says_so(tmp_path: Path) -> None:
    assert values(RaplCounters(tmp_path).read(0.0)) == {
        "rapl_package_joules_total": f"no RAPL zone under {tmp_path}/class/powercap"
    }


@given(
    st.lists(st.integers(0, 19_000_000_000), min_size=1, max_size=40),
    st.integers(0, PACKAGE_RANGE - 1),
)
@settings(max_examples=20, deadline=None)
def test_the_sum_is_exact_over_any_number_of_wraps(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int], start: int
) -> None:
    root = rapl_tree(tmp_path_factory.mktemp("rapl"), package=start)
    counters = RaplCounters(root)
    counters.read(0.0)
    raw, now, total = start, 0.0, 0
    for step in steps:
        raw, now, total = (raw + step) % PACKAGE_RANGE, now + 10.0, total + step
        (root / "class/powercap/intel-rapl:0/energy_uj").write_text(str(raw))
        found = counters.read(now)[0].value
        assert found == pytest.approx(total * 1e-6)


# --- supplies ---


def test_a_battery_is_signed_by_its_status(tmp_path: Path) -> None:
    base = "class/power_supply/BAT0"
    root = tree(
        tmp_path,
        {
            f"{base}/type": "Battery",
            f"{base}/status": "Discharging",
            f"{base}/capacity": 83,
            f"{base}/voltage_now": 11_400_000,
            f"{base}/current_now": 1_250_000,
            f"{base}/power_now": "",
            f"{base}/temp": 312,
            "class/power_supply/AC/type": "Mains",
            "class/power_supply/AC/online": 0,
            "class/power_supply/hid/type": "Unknown",
        },
    )
    assert values(battery.read_supplies(root)) == {
        "supply_ac_online_state": 0.0,
        "supply_bat0_charge_ratio": 0.83,
        "supply_bat0_volts": 11.4,
        "supply_bat0_amperes": -1.25,
        "supply_bat0_watts": f"{root}/{base}/power_now is empty",
    }
    assert values(battery.read_temperatures(root)) == {"supply_bat0_celsius": 31.2}
    (root / base / "status").write_text("Charging")
    (root / base / "current_now").write_text("-900000")  # a driver with a sign of its own
    assert values(battery.read_supplies(root))["supply_bat0_amperes"] == 0.9


def test_a_machine_without_supplies_has_none(tmp_path: Path) -> None:
    assert battery.read_supplies(tmp_path) == []
    assert battery.read_temperatures(tmp_path) == []


# --- the machine and the process ---


def system_sensor(root: Path, *, state_directory: Path) -> SystemSensor:
    return SystemSensor(
        sysfs_root=root, proc_root=root, state_directory=state_directory, pss_interval_seconds=60.0
    )


def test_pressure_is_read_from_the_kernel_and_absent_with_its_reason(tmp_path: Path) -> None:
    full = "full avg10=0.10 avg60=0.00 avg300=0.00 total=5"
    tree(
        tmp_path,
        {
            "pressure/cpu": f"some avg10=12.50 avg60=1.00 avg300=0.00 total=99\n{full}\n",
            "pressure/io": f"some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n{full}\n",
        },
    )
    values = system_sensor(tmp_path, state_directory=tmp_path).read(0.0)
    assert values["cpu_pressure_ratio"] == pytest.approx(0.125)
    assert values["io_pressure_ratio"] == 0.0, "nothing waited: that is a figure"
    assert values["memory_pressure_ratio"] == Absent(f"ENOENT on {tmp_path}/pressure/memory")


def test_shares_need_two_samples_and_pss_comes_rarely(tmp_path: Path) -> None:
    sensor = system_sensor(tmp_path, state_directory=tmp_path)
    first = sensor.read(100.0)
    assert first["cpu_ratio"] == first["process_cpu_ratio"] == Absent("needs two samples; this is the first")
    pss, rss = first["process_pss_bytes"], first["process_rss_bytes"]
    assert isinstance(pss, int)
    assert isinstance(rss, int)
    assert 0 < pss <= rss * 1.1
    sum(range(200_000))
    second = sensor.read(101.0)
    assert isinstance(second["process_cpu_ratio"], float)
    assert second["process_pss_bytes"] == Absent("read every 60 s, because it is costly")
    assert isinstance(sensor.read(160.0)["process_pss_bytes"], int)
    assert first["memory_total_bytes"] == psutil.virtual_memory().total


def test_a_state_directory_that_is_gone_is_absent(tmp_path: Path) -> None:
    sensor = system_sensor(tmp_path, state_directory=tmp_path / "gone")
    value = sensor.read(0.0)["storage_available_bytes"]
    assert isinstance(value, Absent)
    assert "gone" in value.reason


def test_host_facts_leave_out_what_is_not_there(tmp_path: Path) -> None:
    root = tree(tmp_path, {"cpuinfo": "processor : 0\nmodel name\t: Cortex-A76\n"})
    (root / "device-tree").mkdir()
    (root / "device-tree/model").write_bytes(b"Raspberry Pi 5 Model B Rev 1.0\0")
    facts = host_facts(proc_root=root)
    assert facts["cpu_model"] == "Cortex-A76"
    assert facts["board"] == "Raspberry Pi 5 Model B Rev 1.0"
    assert not {"cpu_model", "board"} & host_facts(proc_root=tmp_path / "none").keys()


def test_every_run_has_its_own_boot_id(tmp_path: Path) -> None:
    assert boot_id() != boot_id()
    assert boot_id().rsplit("-", 1)[0] == boot_id().rsplit("-", 1)[0]
    assert len(boot_id()) <= 64
    assert boot_id(tmp_path) != boot_id(tmp_path)


def test_the_clock_is_asked() -> None:
    assert clock_is_synchronized() in (True, False)


# --- all of them ---


def test_the_survey_of_a_whole_machine_has_names_that_the_contract_takes(tmp_path: Path) -> None:
    root = rapl_tree(tmp_path)
    tree(root, {f"class/thermal/thermal_zone{number}/type": "same" for number in range(300)})
    sensors = Sensors(sysfs_root=root, state_directory=tmp_path, pss_interval_seconds=60.0)
    heat, power = sensors.heat(), sensors.power(0.0)
    names = [one.name for one in heat]
    assert len(names) == len(set(names)) == 128
    assert heat[-1].name == "readings_left_out_count"
    assert heat[-1].value == 300 + 1 - 127
    for one in (*heat, *power):
        assert unit_of(one.name)


def test_an_empty_machine_says_why_it_is_empty(tmp_path: Path) -> None:
    sensors = Sensors(sysfs_root=tmp_path, state_directory=tmp_path, pss_interval_seconds=60.0)
    assert all(isinstance(one.value, Absent) for one in (*sensors.heat(), *sensors.power(0.0)))
    assert sensors.heat()
    assert sensors.power(0.0)
