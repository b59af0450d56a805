"""Trees that stand for ``/sys``, laid out as the boards lay them out.

Sources: Linux, Documentation/hwmon/ina2xx.rst and ina3221.rst, Documentation/power/powercap/powercap.rst,
Documentation/ABI/testing/sysfs-class-power; NVIDIA, Jetson Linux developer guide (JetPack 4: ``ina3221x``; from 5 on:
hwmon below the I2C device); Raspberry Pi documentation, "vcgencmd".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MODEL = "firmware/devicetree/base/model"

PMIC_TEXT = """\
 3V7_WL_SW_A current(0)=0.00390372A
   3V3_SYS_A current(1)=0.06148369A
  VDD_CORE_A current(7)=1.50000000A
 3V7_WL_SW_V volt(8)=3.71821000V
   3V3_SYS_V volt(9)=3.30000000V
  VDD_CORE_V volt(15)=0.80000000V
     EXT5V_V volt(24)=5.14360000V
      BATT_V volt(25)=0.00000000V
"""


def write_tree(root: Path, files: Mapping[str, object]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return root


def link(root: Path, name: str, to: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).symlink_to(root / to)


def jetson_orin_nx(root: Path) -> Path:
    """JetPack 5 and 6: an INA3221 at 0x40 of bus 1, seen from the bus and from ``class/hwmon``."""
    chip = "devices/platform/bus@0/c240000.i2c/i2c-1/1-0040/hwmon/hwmon1"
    write_tree(root, {
        MODEL: "NVIDIA Jetson Orin NX Engineering Reference Developer Kit\0",
        f"{chip}/name": "ina3221",
        f"{chip}/update_interval": 140,
        f"{chip}/in1_label": "VDD_IN", f"{chip}/in1_input": 19_200, f"{chip}/curr1_input": 500, f"{chip}/in1_enable": 1,
        f"{chip}/in2_label": "VDD_CPU_GPU_CV", f"{chip}/in2_input": 19_000, f"{chip}/curr2_input": 100,
        f"{chip}/in3_label": "NC", f"{chip}/in3_input": 0, f"{chip}/curr3_input": 0,
        f"{chip}/in4_input": 2_500, f"{chip}/curr4_input": 600,  # µV at a shunt, and a sum: no rail
        f"{chip}/in7_input": 3_000, f"{chip}/in7_label": "sum of shunt voltages",
    })  # fmt: skip
    link(root, "class/hwmon/hwmon1", chip)
    link(root, "bus/i2c/devices/1-0040", "devices/platform/bus@0/c240000.i2c/i2c-1/1-0040")
    link(root, f"{chip}/device", "devices/platform/bus@0/c240000.i2c/i2c-1/1-0040")
    return root


def jetson_agx_orin(root: Path) -> Path:
    """Two INA3221 at 0x40 and 0x41; no rail is the total."""
    write_tree(root, {MODEL: "NVIDIA Jetson AGX Orin Developer Kit\0"})
    rails = {
        "1-0040": ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),
        "1-0041": ("NC", "VDDQ_VDD2_1V8AO", "NC"),
    }
    for number, (device, labels) in enumerate(rails.items()):
        chip = f"bus/i2c/devices/{device}/hwmon/hwmon{number + 3}"
        write_tree(root, {f"{chip}/name": "ina3221"})
        for channel, label in enumerate(labels, start=1):
            write_tree(root, {
                f"{chip}/in{channel}_label": label,
                f"{chip}/in{channel}_input": 5_000,
                f"{chip}/curr{channel}_input": 1_000,
            })  # fmt: skip
    return root


def jetson_nano_jetpack4(root: Path) -> Path:
    """JetPack 4: NVIDIA's own driver, an IIO device, one from the driver's folder and the same from the bus."""
    device = "devices/7000c400.i2c/i2c-6/6-0040"
    iio = f"{device}/iio:device0"
    write_tree(root, {MODEL: "NVIDIA Jetson Nano Developer Kit\0", f"{iio}/name": "ina3221x"})
    for number, (rail, milliwatts) in enumerate(
        (("POM_5V_IN", 2_137), ("POM_5V_GPU", 41), ("POM_5V_CPU", 575))
    ):
        write_tree(root, {
            f"{iio}/rail_name_{number}": rail,
            f"{iio}/in_voltage{number}_input": 5_000,
            f"{iio}/in_current{number}_input": milliwatts // 5,
            f"{iio}/in_power{number}_input": milliwatts,
        })  # fmt: skip
    link(root, "bus/i2c/drivers/ina3221x/6-0040", device)
    link(root, "bus/i2c/devices/6-0040", device)
    return root


def raspberry_pi_5(root: Path, *, throttled: str = "0", firmware: str = "soc@107c000000/firmware") -> Path:
    return write_tree(root, {
        MODEL: "Raspberry Pi 5 Model B Rev 1.0\0",
        f"devices/platform/{firmware}/get_throttled": throttled,
        "class/thermal/thermal_zone0/type": "cpu-thermal",
        "class/thermal/thermal_zone0/temp": 56_550,
        "class/thermal/thermal_zone0/trip_point_0_type": "critical",
        "class/thermal/thermal_zone0/trip_point_0_temp": 110_000,
        "class/thermal/thermal_zone0/trip_point_1_type": "active",
        "class/thermal/thermal_zone0/trip_point_1_temp": 50_000,
        "class/thermal/cooling_device0/type": "pwm-fan",
        "class/thermal/cooling_device0/cur_state": 1,
        "class/thermal/cooling_device0/max_state": 4,
        "class/hwmon/hwmon0/name": "cpu_thermal", "class/hwmon/hwmon0/temp1_input": 56_550,
        "class/hwmon/hwmon1/name": "rp1_adc", "class/hwmon/hwmon1/in1_input": 1_480,
        "class/hwmon/hwmon1/temp1_input": 53_000,
        "class/hwmon/hwmon3/name": "rpi_volt", "class/hwmon/hwmon3/in0_lcrit_alarm": 1,
    })  # fmt: skip


def server_two_sockets(root: Path) -> Path:
    """Two packages with memory each, ``psys``, the same zones by MMIO, limits, throttle counts of four processors."""
    zones = {"intel-rapl:0": "package-0", "intel-rapl:0:0": "core", "intel-rapl:0:1": "dram",
             "intel-rapl:1": "package-1", "intel-rapl:1:0": "core", "intel-rapl:1:1": "dram",
             "intel-rapl:2": "psys", "intel-rapl-mmio:0": "package-0"}  # fmt: skip
    for folder, name in zones.items():
        write_tree(root, {
            f"class/powercap/{folder}/name": name,
            f"class/powercap/{folder}/energy_uj": 1_000,
            f"class/powercap/{folder}/max_energy_range_uj": 65_712_999_613 if name == "dram" else 262_143_328_850,
            f"class/powercap/{folder}/constraint_0_max_power_uw": 125_000_000,
            f"class/powercap/{folder}/constraint_1_power_limit_uw": 250_000_000,
        })  # fmt: skip
    write_tree(root, {"class/powercap/intel-rapl/enabled": 1})
    for cpu in range(4):
        write_tree(root, {
            f"devices/system/cpu/cpu{cpu}/thermal_throttle/core_throttle_count": cpu,
            f"devices/system/cpu/cpu{cpu}/thermal_throttle/package_throttle_count": 2,
        })  # fmt: skip
    return root


def laptop(root: Path, *, status: str = "Discharging") -> Path:
    """A battery with a charge gauge (current, no power), the mains, and a mouse."""
    battery, mouse = "class/power_supply/BAT0", "class/power_supply/hidpp_battery_0"
    return write_tree(root, {
        f"{battery}/type": "Battery", f"{battery}/present": 1, f"{battery}/status": status,
        f"{battery}/capacity": 61, f"{battery}/voltage_now": 12_000_000, f"{battery}/current_now": 1_500_000,
        f"{battery}/energy_now": 30_000_000, f"{battery}/temp": 305,
        f"{mouse}/type": "Battery", f"{mouse}/scope": "Device", f"{mouse}/status": "Discharging",
        f"{mouse}/capacity": 50, f"{mouse}/voltage_now": 3_900_000,
        "class/power_supply/BAT1/type": "Battery", "class/power_supply/BAT1/present": 0,
        "class/power_supply/AC/type": "Mains", "class/power_supply/AC/online": 0,
    })  # fmt: skip


def industrial_box(root: Path) -> Path:
    """Two INA226 on one bus whose hwmon numbers stand against the order of their addresses, and an old driver."""
    for node, address, microwatts in (("hwmon5", "1-0044", 7_000_000), ("hwmon9", "1-0040", 5_000_000)):
        chip = f"devices/i2c-1/{address}/hwmon/{node}"
        write_tree(root, {
            f"{chip}/name": "ina226", f"{chip}/in0_input": 5, f"{chip}/in1_input": 12_000, f"{chip}/curr1_input": 500,
            f"{chip}/power1_input": microwatts, f"{chip}/shunt_resistor": 2_000, f"{chip}/update_interval": 36,
        })  # fmt: skip
        link(root, f"class/hwmon/{node}", chip)
        link(root, f"{chip}/device", f"devices/i2c-1/{address}")
    write_tree(root, {"devices/isa/f71882fg/name": "f71882fg", "devices/isa/f71882fg/temp1_input": 41_000})
    (root / "class/hwmon/hwmon7").mkdir(parents=True)
    link(root, "class/hwmon/hwmon7/device", "devices/isa/f71882fg")
    return root
