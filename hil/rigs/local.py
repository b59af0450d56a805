"""The rig `local`: this machine. The agent is a process with folders of its own; a power cut is SIGKILL to all that it started."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import device_agent
from hil.drivers.process_power import ProcessPower
from hil.drivers.relayed_network import RelayedNetwork
from hil.drivers.replayed_battery import ReplayedBattery
from hil.drivers.replayed_rails import ReplayedRails
from hil.drivers.replayed_sysfs import ReplayedSysfs
from hil.drivers.shifted_clock import ShiftedClock
from hil.drivers.small_disk import SmallDisk
from hil.errors import BoardError, RigError
from hil.protocols import Completed
from hil.rig import Parts, Rig
from hil.table import read_table
from host_tools.parent_death import dying_with_us

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hil.board import Board

_KILL_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalMachine:
    """Where this machine keeps things: the table ``[resource]``.

    Attributes:
        python: The interpreter that runs the agent; by default this one.
    """

    python: str = sys.executable


class LocalProgram:
    """See `Program`."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def status(self) -> int | None:
        """See `Program.status`."""
        return self._process.poll()

    def signal(self, number: int) -> None:
        """See `Program.signal`."""
        if self._process.poll() is None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """See `Program.kill`."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        try:
            self._process.wait(_KILL_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise RigError(f"process {self._process.pid} does not end after SIGKILL.") from error


class LocalShell:
    """See `Shell`."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = {**os.environ, **environment}
        self._programs: list[LocalProgram] = []

    def run(self, command: Sequence[str], *, stdin: bytes = b"", timeout_seconds: float = 60.0) -> Completed:
        """See `Shell.run`."""
        try:
            done = subprocess.run(
                command,
                input=stdin,
                capture_output=True,
                timeout=timeout_seconds,
                check=False,
                env=self._environment,
            )
        except OSError as error:
            raise RigError(f"{command[0]}: cannot be started: {error.strerror or error}.") from error
        except subprocess.TimeoutExpired as error:
            raise RigError(f"{' '.join(command)[:200]}: not done after {timeout_seconds:g} s.") from error
        return Completed(status=done.returncode, stdout=done.stdout, stderr=done.stderr)

    def spawn(
        self, command: Sequence[str], *, log: str, environment: Mapping[str, str] | None = None
    ) -> LocalProgram:
        """See `Shell.spawn`; the program dies with this process."""
        if shutil.which(command[0], path=self._environment.get("PATH")) is None:
            raise RigError(f"{command[0]}: cannot be started: not found.")
        try:
            with Path(log).open("ab") as stream:
                process = subprocess.Popen(
                    [*dying_with_us("KILL"), *command],
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=stream,
                    env={**self._environment, **(environment or {})},
                    start_new_session=True,
                )
        except OSError as error:
            raise RigError(f"{command[0]}: cannot be started: {error.strerror or error}.") from error
        program = LocalProgram(process)
        self._programs.append(program)
        return program

    def kill_all(self) -> None:
        """See `Shell.kill_all`."""
        while self._programs:
            self._programs.pop().kill()


class LocalFiles:
    """See `Files`."""

    def read(self, path: str, *, offset: int = 0) -> bytes:
        """See `Files.read`."""
        try:
            with Path(path).open("rb") as stream:
                stream.seek(offset)
                return stream.read()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise RigError(f"{path}: cannot be read: {error.strerror or error}.") from error

    def write(self, path: str, data: bytes) -> None:
        """See `Files.write`."""
        target = Path(path)
        part = target.with_name(f"{target.name}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(data)
            part.replace(target)
        except OSError as error:
            raise RigError(f"{path}: cannot be written: {error.strerror or error}.") from error

    def remove(self, path: str) -> None:
        """See `Files.remove`."""
        target = Path(path)
        try:
            if target.is_dir() and not target.is_symlink():
                shutil.rmtree(target)
            else:
                target.unlink(missing_ok=True)
        except OSError as error:
            raise RigError(f"{path}: cannot be removed: {error.strerror or error}.") from error


def open_rig(board: Board, folder: Path) -> Rig:
    """Make the rig; see `hil.rig.open_rig`.

    Raises:
        BoardError: ``[resource]`` is wrong.
        RigError: The folder cannot be written.
    """
    machine = read_table(LocalMachine, board.resource, where=f"{board.origin}: resource", error=BoardError)
    home = str(folder.resolve())
    source = str(Path(device_agent.__file__).parents[1])
    shell, files = LocalShell({"PYTHONPATH": source}), LocalFiles()
    sysfs = ReplayedSysfs(files, f"{home}/sys") if board.section.sensors == "replayed" else None
    clock = ShiftedClock(files, f"{home}/clock")
    network = RelayedNetwork()
    return Rig(
        board=board,
        parts=Parts(
            shell=shell,
            files=files,
            power=ProcessPower(shell),
            network=network,
            thermal=sysfs,
            meter=sysfs,
            rails=None if sysfs is None else ReplayedRails(files, sysfs.root),
            battery=None if sysfs is None else ReplayedBattery(shell, files, sysfs.root),
            clock=clock,
            disk=SmallDisk.on(shell, f"{home}/disk"),
        ),
        folder=home,
        agent_command=(machine.python, "-m", "device_agent"),
        environment={"PYTHONPATH": f"{clock.folder}{os.pathsep}{source}"},
        sysfs_root="/sys" if sysfs is None else sysfs.root,
        close_parts=network.close,
    )
