"""`edgewright fleet sample`: a fleet of real processes from one command, twice in the same folder; and what it refuses."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from host_tools.cli.main import main
from host_tools.fleet.sample import broker
from tests.e2e.batch_workplace import is_running
from tests.integration.support import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping

# What it waits for has limits of its own; on a busy machine many programs are long in coming.
pytestmark = pytest.mark.timeout(900)

ROOT = Path(__file__).parents[2]
DEVICES = 6
LONGEST_SECONDS = 300.0


class Sample:
    """The command in a session of its own, and a terminal beside it."""

    def __init__(self, folder: Path, *more: str) -> None:
        self.folder = folder
        command = [sys.executable, "-m", "host_tools", "fleet", "sample", str(folder), "--port", "0", *more]
        self._log = folder.with_name(f"log-{time.monotonic_ns()}")
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT, start_new_session=True)

    @property
    def said(self) -> str:
        return self._log.read_text()

    def wait_until_up(self) -> Sample:
        wait_until(
            lambda: "Ctrl-C ends all of it" in self.said or self.process.poll() is not None,
            what="the sample is up",
            seconds=LONGEST_SECONDS,
        )
        assert self.process.poll() is None, self.said
        return self

    def type(self, *arguments: str) -> str:
        """Run one of the commands that it says to try, in the environment that it says."""
        address = re.findall(r"export EDGEWRIGHT_FLEET=(\S+)", self.said)[-1]
        token = (self.folder / "admin.token").read_text().strip()
        shell: Mapping[str, str] = {
            **os.environ,
            "EDGEWRIGHT_FLEET": address,
            "EDGEWRIGHT_FLEET_TOKEN": token,
        }
        command = [sys.executable, "-m", "host_tools", "fleet", *arguments]
        return subprocess.run(
            command, cwd=ROOT, env=shell, check=True, capture_output=True, text=True, timeout=120
        ).stdout

    def list(self, what: str, *more: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.type(what, "list", "--json", *more))
        return found

    def end(self, number: int) -> None:
        """Send a signal, and see that nothing is left of all that it had started."""
        started = psutil.Process(self.process.pid).children(recursive=True)
        assert len(started) >= DEVICES + 4, started
        self.process.send_signal(number)
        assert self.process.wait(90) == 0, self.said
        assert [one for one in started if is_running(one.pid)] == []
        self.clear()
        assert "Traceback" not in self.said

    def clear(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(90)


@pytest.mark.slow
def test_a_fleet_to_play_with_rolls_a_release_out_and_goes_on_after_ctrl_c(tmp_path: Path) -> None:
    folder = tmp_path / "sample fleet"
    sample = Sample(folder, "--devices", str(DEVICES), "--check-every", "3")
    try:
        sample.wait_until_up()
        assert stat.S_IMODE((folder / "admin.token").stat().st_mode) == 0o600
        assert {one["state"] for one in sample.list("devices", "--group", "lab")} == {"enrolled"}
        sample.type("rollouts", "create", str(folder / "good.toml"))
        sample.type("rollouts", "submit", "good")
        wait_until(lambda: ended(sample), what="the good release has ended", seconds=LONGEST_SECONDS / 2)
        assert ended(sample) == "finished", sample.type("rollouts", "explain", "good")
        sample.end(signal.SIGINT)

        sample = Sample(folder, "--check-every", "3").wait_until_up()
        devices = wait_until(
            lambda: up if len(up := sample.list("devices", "--health", "up")) == DEVICES else [],
            what="all devices are up again",
        )
        (release,) = [
            json.loads(path.read_text()) for path in (folder / "repository" / "releases").glob("*-2.0.json")
        ]
        (artifact,) = release["artifacts"].values()
        assert [one["artifact"] for one in devices] == [artifact["digest"]] * DEVICES
        sample.end(signal.SIGTERM)
    finally:
        sample.clear()


def ended(sample: Sample) -> str:
    time.sleep(2.0)  # a command a look: as a user would, and not as fast as can be
    states = {one["id"]: one["state"] for one in sample.list("rollouts")}
    return str(states["good"]) if states["good"] in ("finished", "aborted", "rolled_back") else ""


def refusal(capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["fleet", "sample", *arguments]) == 2
    return capfd.readouterr().err


def test_a_folder_that_is_none_of_a_sample_is_left_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").write_text("x")
    assert "is a file, expected a folder" in refusal(capfd, str(tmp_path / "mine"))
    assert "is not empty, and no sample fleet" in refusal(capfd, str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    for damage, says in (
        (b"{", "is damaged"),
        (b'{"schema_version": "9.0", "devices": 6}', "expected version 1.0"),
        (b'{"schema_version": "1.0", "devices": 6}', "expected at least 6"),
    ):
        (tmp_path / "sample.json").write_bytes(damage)
        assert says in refusal(capfd, str(tmp_path), "--devices", "5")


def test_without_a_broker_it_says_where_to_get_one(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker.shutil, "which", lambda *_, **__: None)
    told = refusal(capfd, str(tmp_path / "new"), "--port", "0")
    assert "no MQTT 5 broker" in told
    assert "apt install mosquitto" in told


def test_a_port_that_is_taken_is_told_before_anything_starts(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert "Choose another port" in refusal(capfd, str(tmp_path / "new"), "--port", port)
