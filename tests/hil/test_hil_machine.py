"""A virtual board's machine, without a QEMU: what does not come up, and what happens to it when whoever started it is killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hil.errors import BootError, RigError
from hil.rig import open_rig
from hil.virtual.layout import READY
from hil.virtual.recipe import image_of, load_recipe
from tests.hil.stand_in_emulator import emulator, machine
from tests.hil.suite_session import ROOT
from tests.integration.support import wait_until

pytest_plugins = ["pytester"]

# Processes that start processes: on a busy machine they are long in coming.
pytestmark = pytest.mark.timeout(600)


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
from tests.hil.stand_in_emulator import machine
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
from tests.hil.stand_in_emulator import machine

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
