"""A board that does not come up after a power cut is what tests look for: it is a failed test, and no broken rig."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hil.drivers.openssh import SshAddress, SshConnection, SshShell
from hil.drivers.relayed_network import RelayedNetwork
from hil.drivers.switched_power import SwitchedPower
from hil.errors import BootError, RigError
from hil.null_artifact import write_null_artifact
from hil.rig import open_rig
from hil.strategy import Strategy
from hil.virtual.accelerator import Accelerator
from hil.virtual.layout import READY
from hil.virtual.machine import VirtualMachine
from hil.virtual.recipe import image_of, load_recipe
from host_tools.cli.main import main
from host_tools.free_port import free_port
from host_tools.repository.attestation_bundle import read_bundle, read_public_key
from tests.hil.suite_session import ROOT
from tests.integration.support import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.rig import Rig

pytest_plugins = ["pytester"]

# Sessions of pytest in processes of their own, with agents and brokers: on a busy machine they are long in coming.
pytestmark = pytest.mark.timeout(600)

BOARD = '[board]\nkind = "tests.hil.bricked_rig:open_rig"\ntargets = ["x86_64-onnxruntime"]\n'


@pytest.fixture
def board(tmp_path: Path) -> Path:
    path = tmp_path / "brick.toml"
    path.write_text(BOARD)
    return path


@pytest.fixture
def bricked(tmp_path: Path, board: Path) -> Iterator[Rig]:
    (tmp_path / "rig").mkdir()
    opened = open_rig(str(board), tmp_path / "rig")
    yield opened
    opened.close()


def emulator(folder: Path, script: str) -> Path:
    """Write a program that stands for QEMU: the machine starts it, kills it, and reads its console."""
    path = folder / "emulator"
    path.write_text(f'#!/bin/sh\nconsole="{folder}/console.log"\n{script}\n')
    path.chmod(0o755)
    return path


def machine(folder: Path, script: str) -> VirtualMachine:
    (folder / "disk.qcow2").touch()  # it is there: nothing has to be made
    recipe = dataclasses.replace(load_recipe("x86_64"), emulator=str(emulator(folder, script)))
    return VirtualMachine(
        recipe,
        image_of("x86_64", recipe, folder),
        folder,
        accelerator=Accelerator(name="tcg", reason="said so"),
        processor="",
        ssh_port=free_port(),
        memory_mebibytes=256,
        processors=1,
    )


@pytest.mark.parametrize(
    ("script", "error", "message"),
    [
        ('echo "Kernel panic - not syncing" >"$console"', BootError, "ended by itself as it booted.*\nKernel panic"),
        ('echo "fsck: UNEXPECTED INCONSISTENCY" >"$console"; exec sleep 1000', BootError, "not up after 2 s.*\nfsck: UNEXP"),
        ("exec sleep 1000", BootError, "not up after 2 s; its console says nothing"),
        ("echo 'failed to set MSR' >&2; exit 1", RigError, "emulator ended: failed to set MSR"),
    ],
    ids=["panic", "stuck", "silent", "emulator"],
)  # fmt: skip
def test_a_virtual_board_that_does_not_come_up_is_told_from_an_emulator_that_fails(
    tmp_path: Path, script: str, error: type[Exception], message: str
) -> None:
    made = machine(tmp_path, script)
    try:
        with pytest.raises(error, match=message):
            made.start(boot_seconds=2.0)
    finally:
        made.cut()


def test_an_emulator_that_is_not_installed_is_told_with_its_package(tmp_path: Path) -> None:
    made = machine(tmp_path, "")
    (tmp_path / "emulator").unlink()
    with pytest.raises(RigError, match="emulator: cannot be started: it is not installed") as caught:
        made.start(boot_seconds=1.0)
    assert caught.value.hint == "apt-get install qemu-system-x86"


def test_a_board_that_never_came_up_is_a_rig_that_cannot_be_opened(tmp_path: Path) -> None:
    recipe = tmp_path / "own.toml"
    program = emulator(tmp_path, 'echo "Kernel panic" >"$console"')
    ours = (ROOT / "hil" / "virtual" / "x86_64.toml").read_text()
    recipe.write_text(ours.replace('"qemu-system-x86_64"', f'"{program}"'))
    image = image_of(str(recipe), load_recipe(str(recipe)), tmp_path)
    image.folder.mkdir()
    image.host_key.write_text("ssh-ed25519 AAAA board\n")
    (tmp_path / "disk.qcow2").touch()
    board = tmp_path / "virtual.toml"
    board.write_text(
        f'[board]\nkind = "qemu"\ntargets = ["ncnn"]\n[resource]\nimage = "{recipe}"\nimages = "{tmp_path}"\n'
    )
    with pytest.raises(RigError, match="ended by itself as it booted"):
        open_rig(str(board), tmp_path)


KILLED = """
import sys, time
from pathlib import Path
from tests.hil.test_hil_bricks import machine
folder = Path(sys.argv[1])
machine(folder, sys.argv[2]).start(boot_seconds=100.0)
(folder / "up").touch()
time.sleep(1000)
"""


def test_a_machine_does_not_outlive_whoever_started_it(tmp_path: Path) -> None:
    script = f'echo $$ >"{tmp_path}/pid"; echo "{READY}" >"$console"; exec sleep 1000'
    holder = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path), script], env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    try:
        wait_until((tmp_path / "up").exists, what="the machine is up", seconds=120)
    finally:
        holder.kill()  # SIGKILL: nothing of ours is run any more
        holder.wait()
    number = int((tmp_path / "pid").read_text())
    wait_until(lambda: not Path(f"/proc/{number}").exists() or is_zombie(number), what="it is gone")


def is_zombie(number: int) -> bool:
    try:
        return ") Z " in Path(f"/proc/{number}/stat").read_text()
    except OSError:
        return True


WORKER = """
import time
from pathlib import Path
from tests.hil.test_hil_bricks import machine

def test_it(tmp_path):
    folder = Path({folder!r})
    machine(folder, {script!r}).start(boot_seconds=100.0)
    (folder / "up").touch()
    time.sleep(1000)
"""


def test_a_machine_does_not_outlive_a_session_whose_worker_started_it(
    tmp_path: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    script = f'echo $$ >"{tmp_path}/pid"; echo "{READY}" >"$console"; exec sleep 1000'
    pytester.makepyfile(WORKER.format(folder=str(tmp_path), script=script))
    command = [sys.executable, "-m", "pytest", "-n", "1", "-p", "no:cacheprovider", "-p", "no:randomly"]
    session = subprocess.Popen(command, cwd=pytester.path, stdout=subprocess.DEVNULL)
    try:
        wait_until((tmp_path / "up").exists, what="the machine is up", seconds=120)
    finally:
        session.kill()
        session.wait()
    number = int((tmp_path / "pid").read_text())
    wait_until(
        lambda: not Path(f"/proc/{number}").exists() or is_zombie(number), what="it is gone", seconds=120
    )


def test_a_board_that_cannot_be_reached_after_a_cut_did_not_come_up(tmp_path: Path) -> None:
    connection = SshConnection(SshAddress(host="127.0.0.1", port=free_port()), tmp_path)
    power = SwitchedPower(
        off=lambda: None,
        on=lambda: None,
        boot_seconds=0.0,
        connection=connection,
        shell=SshShell(connection, str(tmp_path)),
        network=RelayedNetwork(),
    )
    with pytest.raises(
        BootError, match=r"has its power back and was not reached in 0 s: .*Connection refused"
    ):
        power.restore()


class NeverAsked:
    """See `Managed`: a board that is down has no agent."""

    def begin(self) -> None:
        raise AssertionError

    def wait_until_active(self) -> None:
        raise AssertionError

    def end(self) -> None:
        raise AssertionError

    def has_ended(self) -> bool:
        return True


def test_a_board_that_is_down_is_not_tried_again_and_closes_without_a_word(bricked: Rig) -> None:
    strategy = Strategy(bricked, NeverAsked())
    strategy.to("off")
    with pytest.raises(BootError, match="not up after 1 s"):
        strategy.to("model_active")
    with pytest.raises(BootError, match="rig 'brick' is down: the board is not up after 1 s"):
        Strategy(bricked, NeverAsked()).to("booted")

    def fail() -> None:
        raise RigError("the board does not answer")

    bricked.close_last(fail)
    bricked.close()
    bricked.broken = None
    with pytest.raises(RigError, match="does not answer"):
        bricked.close()
    bricked.close_parts = lambda: None


def test_the_test_that_met_it_fails_and_later_ones_are_skipped_with_that_cause(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, board: Path
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makeini("[pytest]\naddopts = -p hil.plugin -p no:randomly -p no:cacheprovider\n")
    pytester.makepyfile(
        """
        def test_whole(rig): pass
        def test_cuts(rig):
            rig.power.cut()
            rig.power.restore()
        def test_after(rig): assert False
        def test_not_on_the_rig(): pass
        """
    )
    done = pytester.runpytest_subprocess(
        "-rs", f"--rig={board}", "--rig-report", "page.html", "--rig-results", "results.json"
    )
    done.assert_outcomes(passed=2, failed=1, skipped=1)
    done.stdout.fnmatch_lines(["*the board is down since *::test_cuts: the board is not up after 1 s*"])
    page = (pytester.path / "page.html").read_text()
    assert "The board did not come up." in page
    assert "The rig broke." not in page
    results = json.loads((pytester.path / "results.json").read_bytes())
    assert results["broken"] == []
    assert results["down"][0].endswith("::test_cuts")


def test_the_suite_of_power_cuts_counts_the_brick_and_a_gate_signs_that_it_failed(
    tmp_path: Path, board: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    write_null_artifact(tmp_path / "nothing.ewa")
    keys, out = tmp_path / "keys", tmp_path / "gate"
    assert main(["hil", "key", f"--keys={keys}"]) == 0
    suites = ("--suite=power_cuts", "--suite=smoke")
    gate = ["hil", "gate", str(tmp_path / "nothing.ewa"), f"--rig={board}", f"--keys={keys}", f"--out={out}"]
    assert main([*gate, *suites]) == 4, capfd.readouterr().err[-4000:]
    (signed,) = read_bundle(out / "attestations.intoto.jsonl", [read_public_key(keys / "hil.pub")])
    assert signed.attestation.result == "FAILED"
    outcomes = [one.outcome for one in signed.attestation.tests]
    assert outcomes == ["failed", "skipped", "skipped"]
    (results,) = out.glob("brick-*.json")
    told = json.loads(results.read_bytes())
    measured = {one["name"]: one["value"] for one in told["tests"][0]["measurements"]}
    assert (measured["cuts"], measured["bricks"]) == (1, 1)
    assert "Kernel panic" in told["down"][1]
    assert "the board is down since" in told["tests"][1]["reason"]


SCENARIO = """
[scenario]
name = "one cut"
seed = 1
duration_seconds = 3.0

[agent.source]
kind = "null"
rate_hz = 20.0

[[fault]]
kind = "power_cut"
at_seconds = 0.5
for_seconds = 0.2
"""


def test_a_scenario_that_ends_with_a_board_that_is_down_did_not_come_true(
    tmp_path: Path, board: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_null_artifact(tmp_path / "nothing.ewa")
    (tmp_path / "cut.toml").write_text(SCENARIO)
    run = ["hil", "scenario", "run", str(tmp_path / "cut.toml"), f"--rig={board}", "--json"]
    assert main([*run, f"--rig-artifact={tmp_path / 'nothing.ewa'}"]) == 4
    told = capsys.readouterr()
    outcome = json.loads(told.out.splitlines()[0])
    assert "not up after 1 s" in outcome["unmet"][0]
    assert outcome["starts"] == 1
