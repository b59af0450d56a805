"""Measuring on a machine that is simulated below a sysfs root: what idle and what each inference draw is known."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from device_agent.cli import main
from device_agent.contract.errors import MeasurementError
from device_agent.energy.measure import MeasurePlan, as_json, as_text, measure_energy
from device_agent.energy.window import WindowEnergy
from device_agent.sensors.reading import Absent, Measured
from device_agent.sensors.survey import Sensors
from tests.integration.support import null_artifact, write_config

if TYPE_CHECKING:
    from collections.abc import Iterator

QUICK = MeasurePlan(idle_seconds=0.6, load_seconds=0.6, interval_seconds=0.05, sustained=False)
IDLE_WATTS, INFERENCE_JOULES = 4.0, 0.010
RANGE_UJ = 262_143_328_850


class Board:
    """Draws ``IDLE_WATTS`` always and ``INFERENCE_JOULES`` with each inference; its counter wraps within the first second.

    Attributes:
        late_seconds: How old what the counter said has been at most: a busy machine lets its writer wait.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._zone = root / "class/powercap/intel-rapl:0"
        self._zone.mkdir(parents=True)
        (self._zone / "name").write_text("package-0")
        (self._zone / "max_energy_range_uj").write_text(str(RANGE_UJ))
        self._lock = threading.Lock()
        self._started, self._inferences, self._gone = time.monotonic(), 0, False
        self._written, self.late_seconds = self._started, 0.0
        self.write()

    def write(self) -> None:
        with self._lock:
            if self._gone:
                return
            now = time.monotonic()
            joules = IDLE_WATTS * (now - self._started) + INFERENCE_JOULES * self._inferences
            raw = (RANGE_UJ - 3_000_000 + int(joules * 1e6)) % RANGE_UJ
            (self._zone / "energy.new").write_text(str(raw))
            (self._zone / "energy.new").rename(self._zone / "energy_uj")
            self.late_seconds = max(self.late_seconds, time.monotonic() - self._written)
            self._written = now

    def vanish(self) -> None:
        with self._lock:
            self._gone = True
            (self._zone / "energy_uj").unlink()

    def infer(self) -> None:
        time.sleep(0.002)
        self._inferences += 1
        self.write()

    def throttle(self) -> None:
        folder = self.root / "class/thermal/cooling_device0"
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in (("type", "cpufreq-cpu0"), ("max_state", "4"), ("cur_state", "1")):
            (folder / file).write_text(text)


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    made, over = Board(tmp_path / "sys"), threading.Event()

    def live() -> None:
        while not over.wait(0.002):
            made.write()

    thread = threading.Thread(target=live)
    thread.start()
    yield made
    over.set()
    thread.join()


def sensors(root: Path) -> Sensors:
    return Sensors(sysfs_root=root, state_directory=root, pss_interval_seconds=60.0)


def test_net_is_what_an_inference_draws_and_gross_is_that_and_idle(board: Board, tmp_path: Path) -> None:
    told: list[str] = []
    report = measure_energy(
        board.infer, sensors=sensors(board.root), sysfs_root=board.root, proc_root=tmp_path, plan=QUICK,
        progress=told.append,
    )  # fmt: skip
    (found,) = report.energies
    each = report.load_seconds / report.inferences
    # The counter was late by so much, at the beginning and at the end of a window; and who reads it may be late by a little, too.
    late_seconds = 2.0 * board.late_seconds + 0.1 * report.load_seconds
    late = IDLE_WATTS * late_seconds / report.inferences + found.energy.net.uncertainty
    assert found.energy.net.value == pytest.approx(INFERENCE_JOULES, abs=late)
    assert found.energy.gross.value == pytest.approx(INFERENCE_JOULES + IDLE_WATTS * each, abs=late)
    assert (found.scope, found.quality, found.source) == ("package", "counter", "rapl")
    assert report.invalid == ()
    assert told[0].startswith("idle: ")
    assert told[-1].startswith("load: ")
    assert json.loads(json.dumps(as_json(report), allow_nan=False))["valid"] is True
    assert "package_0_joules_total" in as_text(report)
    assert report.conditions["cpu_pressure_ratio"] == f"absent: ENOENT on {tmp_path}/pressure/cpu"


@pytest.mark.parametrize("sustained", [False, True])
def test_a_throttled_window_is_invalid_unless_that_is_what_is_measured(
    board: Board, tmp_path: Path, *, sustained: bool
) -> None:
    board.throttle()
    plan = MeasurePlan(idle_seconds=0.2, load_seconds=0.2, interval_seconds=0.05, sustained=sustained)
    report = measure_energy(
        board.infer, sensors=sensors(board.root), sysfs_root=board.root, proc_root=tmp_path, plan=plan,
        progress=lambda _: None,
    )  # fmt: skip
    assert bool(report.invalid) is not sustained
    assert report.throttled_ratio == 1.0
    assert ("invalid: throttled: cooling_cpufreq_cpu0 is at 25%" in as_text(report)) is not sustained


def test_a_machine_without_a_sensor_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match="no RAPL zone"):
        measure_energy(
            lambda: None, sensors=sensors(tmp_path), sysfs_root=tmp_path, proc_root=tmp_path, plan=QUICK,
            progress=lambda _: None,
        )  # fmt: skip


def test_a_sensor_that_vanishes_on_the_way_is_no_figure(board: Board, tmp_path: Path) -> None:
    calls = iter(range(10**9))

    def infer() -> None:
        time.sleep(0.002)
        if next(calls) == 5:
            board.vanish()

    with pytest.raises(MeasurementError, match=r"no sensor could be read throughout.*ENOENT"):
        measure_energy(
            infer, sensors=sensors(board.root), sysfs_root=board.root, proc_root=tmp_path, plan=QUICK,
            progress=lambda _: None,
        )  # fmt: skip


# --- the command ---


def arguments(config: Path, *more: str) -> list[str]:
    return [
        "measure",
        "--config",
        str(config),
        "--idle-seconds",
        "0.2",
        "--seconds",
        "0.2",
        "--interval",
        "0.05",
        *more,
    ]


def test_the_command_measures_the_artifact_that_is_configured(
    board: Board, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(
        tmp_path, 1, null_artifact(tmp_path / "a.ewa"), sensors={"sysfs_root": str(board.root)}
    )
    assert main(arguments(config, "--json")) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert found["energies"][0]["energy"]["gross"]["value"] > 0
    assert "load: inferring" in captured.err
    board.throttle()
    assert main(arguments(config)) == 8
    captured = capsys.readouterr()
    assert "invalid: throttled" in captured.out
    assert "--sustained" in captured.err
    assert main(arguments(config, "--sustained")) == 0


def test_no_sensor_and_wrong_times_have_their_exit_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sys").mkdir()
    config = write_config(tmp_path, 1, null_artifact(tmp_path / "a.ewa"), sensors={"sysfs_root": "sys"})
    assert main(arguments(config)) == 8
    assert "edgewright-agent sensors" in capsys.readouterr().err
    with pytest.raises(SystemExit) as left:
        main(["measure", "--config", str(config), "--seconds", "0"])
    assert left.value.code == 2


def test_an_interrupt_leaves_at_once_and_without_a_trace(board: Board, tmp_path: Path) -> None:
    config = write_config(
        tmp_path, 1, null_artifact(tmp_path / "a.ewa"), sensors={"sysfs_root": str(board.root)}
    )
    command = [
        sys.executable,
        "-m",
        "device_agent",
        "measure",
        "--config",
        str(config),
        "--idle-seconds",
        "60",
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert process.stderr.readline().startswith("idle: ")
    process.send_signal(signal.SIGINT)
    assert process.wait(120) == 130
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()


# --- in telemetry ---


def meter(value: float | Absent, name: str = "package_0_joules_total", scope: str = "package") -> Measured:
    return Measured(name=name, value=value, source="rapl", scope=scope, quality="counter")


def told(
    window: WindowEnergy, now: float, joules: float | Absent, inferences: int, *why: str
) -> list[object]:
    pair = window.read([meter(joules)], now_seconds=now, inferences_total=inferences, throttled=why)
    return [one.value.reason if isinstance(one.value, Absent) else pytest.approx(one.value) for one in pair]


def test_a_window_has_gross_and_net_or_the_reason_why_not() -> None:
    window = WindowEnergy(idle_watts=2.0)
    assert told(window, 0.0, 0.0, 0) == ["needs two samples; this is the first"] * 2
    assert told(window, 10.0, 50.0, 100) == [0.5, 0.3]
    assert told(window, 20.0, 90.0, 100) == ["nothing was inferred in this window"] * 2
    assert told(window, 30.0, 120.0, 110, "hot") == ["invalid: throttled: hot"] * 2
    assert told(window, 40.0, Absent("EIO"), 120) == ["no sensor tells power or energy"] * 2
    assert told(window, 50.0, 150.0, 130) == ["needs two samples; this is the first"] * 2
    assert told(window, 60.0, 140.0, 140) == ["package_0_joules_total went back"] * 2
    assert told(window, 70.0, 160.0, 150) == [2.0, 0.0]


def test_a_power_that_is_sampled_twice_is_an_estimate_and_net_needs_the_idle_power() -> None:
    window = WindowEnergy(idle_watts=None)
    power = [meter(5.0, "ina3221_vdd_in_watts", "rail:VDD_IN")]
    window.read(power, now_seconds=0.0, inferences_total=0, throttled=())
    gross, net = window.read(power, now_seconds=10.0, inferences_total=100, throttled=())
    assert (gross.value, gross.quality, gross.scope) == (pytest.approx(0.5), "estimated", "rail:VDD_IN")
    assert isinstance(net.value, Absent)
    assert "sensors.idle_watts" in net.value.reason
