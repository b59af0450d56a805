"""A virtual board's machine, without a QEMU: what does not come up, and what happens to it when whoever started it is killed."""

from __future__ import annotations

import dataclasses
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
        ("echo 'failed to set MSR' >&2; exit 1", RigError, "emulator ended with status 1: failed to set MSR"),
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


def test_an_emulator_that_ends_is_not_said_to_have_said_what_it_said_in_an_earlier_boot(
    tmp_path: Path,
) -> None:
    script = f'[ -e "{tmp_path}/booted" ] && exit 9; touch "{tmp_path}/booted"; echo "an old warning" >&2'
    made = machine(tmp_path, f'{script}; echo "{READY}" >>"$console"; exec sleep 1000')
    try:
        made.start(boot_seconds=60.0)
        made.cut()
        with pytest.raises(RigError, match="emulator ended with status 9: without a word"):
            made.start(boot_seconds=60.0)
    finally:
        made.cut()


def test_a_machine_whose_image_was_built_anew_is_not_started_on_what_it_wrote_on_the_first(
    tmp_path: Path,
) -> None:
    made = machine(tmp_path, f'echo "{READY}" >>"$console"; exec sleep 1000')
    disk = image_of(
        "x86_64", dataclasses.replace(load_recipe("x86_64"), emulator=str(tmp_path / "emulator")), tmp_path
    ).disk
    disk.parent.mkdir()
    disk.write_bytes(b"the first")
    try:
        made.start(boot_seconds=60.0)
        made.cut()
        made.start(boot_seconds=60.0)
        made.cut()
        (tmp_path / "other").write_bytes(b"the other")
        (tmp_path / "other").replace(disk)
        with pytest.raises(RigError, match="was built anew while a session ran on it"):
            made.start(boot_seconds=60.0)
    finally:
        made.cut()


def test_a_machine_that_is_on_is_not_started_beside_itself(tmp_path: Path) -> None:
    script = f'echo $$ >>"{tmp_path}/pids"; echo "{READY}" >>"$console"; exec sleep 1000'
    made = machine(tmp_path, script)
    try:
        made.start(boot_seconds=60.0)
        with pytest.raises(RigError, match="is on already"):
            made.start(boot_seconds=60.0)
    finally:
        made.cut()
    (number,) = (tmp_path / "pids").read_text().split()
    assert not Path(f"/proc/{number}").exists()


def test_an_emulator_that_is_not_installed_is_told_with_its_package(tmp_path: Path) -> None:
    made = machine(tmp_path, "")
    (tmp_path / "emulator").unlink()
    with pytest.raises(RigError, match="emulator: cannot be started: it is not installed") as caught:
        made.start(boot_seconds=1.0)
    assert caught.value.hint == "apt-get install qemu-system-x86"


def test_a_board_that_never_came_up_is_a_rig_that_cannot_be_opened(tmp_path: Path) -> None:
    board = virtual_board(tmp_path, 'echo "Kernel panic" >"$console"')
    (image,) = tmp_path.glob("own-*")
    (image / "host_key.pub").write_text("ssh-ed25519 AAAA board\n")
    with pytest.raises(RigError, match="ended by itself as it booted"):
        open_rig(board, tmp_path)


def virtual_board(folder: Path, script: str) -> str:
    """Return a board whose image is there but for its host key, and whose emulator is a script."""
    recipe = folder / "own.toml"
    program = emulator(folder, script)
    ours = (ROOT / "hil" / "virtual" / "x86_64.toml").read_text()
    recipe.write_text(ours.replace('"qemu-system-x86_64"', f'"{program}"'))
    image_of(str(recipe), load_recipe(str(recipe)), folder).folder.mkdir()
    (folder / "disk.qcow2").touch()
    board = folder / "virtual.toml"
    board.write_text(
        f'[board]\nkind = "qemu"\ntargets = ["ncnn"]\n[resource]\nimage = "{recipe}"\nimages = "{folder}"\n'
    )
    return str(board)


@pytest.mark.parametrize("key", [None, b"", b"one", b"\xff\xfe \xff"])
def test_an_image_without_its_host_key_is_damaged(tmp_path: Path, key: bytes | None) -> None:
    board = virtual_board(tmp_path, "exit 1")
    (image,) = tmp_path.glob("own-*")
    if key is not None:
        (image / "host_key.pub").write_bytes(key)
    with pytest.raises(RigError, match=r"host_key\.pub: holds no public key: the board's image is damaged"):
        open_rig(board, tmp_path)


def test_a_machine_ends_when_there_is_no_ssh_to_reach_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = f'echo $$ >"{tmp_path}/pid"; echo "{READY}" >>"$console"; exec /bin/sleep 1000'
    board = virtual_board(tmp_path, script)
    (image,) = tmp_path.glob("own-*")
    (image / "host_key.pub").write_text("ssh-ed25519 AAAA board\n")
    with Path(board).open("a") as stream:
        stream.write("boot_seconds = 5.0\n")
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(RigError, match="ssh is not installed") as caught:
        open_rig(board, tmp_path)
    assert caught.value.hint == "apt-get install openssh-client"
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()


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
