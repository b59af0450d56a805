"""Drivers over OpenSSH's own client: one connection, shared by commands, files and the ways from the board back to this machine.

`SshShell` and `SshFiles` need no more of it than that it runs a line of the board's shell, so they serve every other way that does.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from hil.errors import RigError
from hil.protocols import Completed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_UNREACHABLE = 255
"""What OpenSSH's client ends with when it, and not the command, failed: ssh(1), EXIT STATUS."""
_NO_SUCH_COMMAND = 127
_CONNECT_SECONDS = 20
_KILL_SECONDS = 30.0
_MOMENT = 0.05
_BETWEEN_TRIES_SECONDS = 1.0
_SPAWN = """\
setsid sh -c '"$@"; echo $? >"$0"' "$0" "$@" </dev/null >>"$LOG" 2>&1 &
echo "$!"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SshAddress:
    """Where an ssh server is; what is empty or 0, ssh's own configuration decides."""

    host: str
    port: int = 0
    user: str = ""
    identity: str = ""
    options: tuple[str, ...] = ()


class Line(Protocol):
    """A way to a board that has POSIX's ``sh``: `SshConnection`, or whatever else runs a line there."""

    def run(self, script: str, *, stdin: bytes = b"", timeout_seconds: float = 60.0) -> Completed:
        """Run a line of the board's shell.

        Raises:
            RigError: The board cannot be reached, or takes too long.
        """
        ...


class SshConnection:
    """One connection of OpenSSH's client, kept open and shared (``ControlMaster``).

    Args:
        address: Where to.
        folder: On this machine, for the connection's socket. Its path must be short: a socket's name has 107 bytes.
        slowness: How many times longer than a fast machine the board may take: times of waiting are stretched by it.
    """

    def __init__(self, address: SshAddress, folder: Path, *, slowness: float = 1.0) -> None:
        self._slowness = slowness
        self._socket = folder / "s"
        self._base = ["ssh", "-S", str(self._socket), "-o", "BatchMode=yes"]
        # Of an option that is given twice ssh takes the first.
        options = (*address.options, f"ConnectTimeout={_CONNECT_SECONDS}", "ServerAliveInterval=5")
        self._base += [part for option in options for part in ("-o", option)]
        self._base += ["-p", str(address.port)] if address.port else []
        self._base += ["-i", address.identity] if address.identity else []
        self._to = f"{address.user}@{address.host}" if address.user else address.host

    def open(self, *, within_seconds: float = 0.0) -> None:
        """Connect.

        Args:
            within_seconds: Try again for so long, for the board may still be booting.

        Raises:
            RigError: The board does not answer, or lets nobody in.
        """
        deadline = time.monotonic() + within_seconds
        while True:
            try:
                self._call(["-M", "-N", "-f"], what="connecting")
            except RigError:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(_BETWEEN_TRIES_SECONDS)
            else:
                return

    def close(self) -> None:
        """Disconnect. Calling twice is harmless, and so is calling where there is no ssh, or one that does not answer."""
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                [*self._base, "-O", "exit", self._to],
                capture_output=True,
                check=False,
                stdin=subprocess.DEVNULL,
                timeout=_CONNECT_SECONDS,
            )

    def expose(self, port: int, wanted: int) -> int:
        """Make a port of this machine one of the board's loopback, ``wanted`` or (0) any; return which.

        Raises:
            RigError: The board's sshd does not forward.
        """
        way = f"127.0.0.1:{wanted}:127.0.0.1:{port}"
        told = self._call(["-O", "forward", "-R", way], what=f"forwarding port {port}")
        if wanted:
            return wanted
        found = re.search(rb"\d+", told)
        if found is None:
            raise RigError(f"{self._to}: ssh does not say at which port of the board {port} is found.")
        return int(found[0])

    def run(self, script: str, *, stdin: bytes = b"", timeout_seconds: float = 60.0) -> Completed:
        """Run a line of the board's shell.

        Raises:
            RigError: The board cannot be reached, or takes too long.
        """
        longest = timeout_seconds * self._slowness
        try:
            done = subprocess.run(
                [*self._base, "-T", self._to, script],
                input=stdin,
                capture_output=True,
                timeout=longest,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise RigError(f"{self._to}: {script[:200]}: not done after {longest:g} s.") from error
        if done.returncode == _UNREACHABLE:
            raise RigError(f"{self._to}: cannot be reached: {last_line(done.stderr)}.")
        return Completed(status=done.returncode, stdout=done.stdout, stderr=done.stderr)

    def _call(self, arguments: Sequence[str], *, what: str) -> bytes:
        try:
            with (self._socket.parent / "ssh.log").open(
                "w+b"
            ) as log:  # no pipe: what goes on in the background would hold it
                done = subprocess.run(
                    [*self._base, *arguments, self._to],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE if "-O" in arguments else log,
                    stderr=log,
                    check=False,
                    timeout=_CONNECT_SECONDS * 2 * self._slowness,
                )
                log.seek(0)
                said = log.read()
        except FileNotFoundError as error:
            raise RigError("ssh is not installed.", hint="apt-get install openssh-client") from error
        except subprocess.TimeoutExpired as error:
            raise RigError(f"{self._to}: {what}: no answer.") from error
        if done.returncode != 0:
            raise RigError(f"{self._to}: {what}: {last_line(said)}.", hint="Try the same by hand: ssh.")
        return done.stdout or b""


class SshProgram:
    """See `Program`."""

    def __init__(self, connection: Line, status_file: str, group: int) -> None:
        self._connection = connection
        self._status_file = status_file
        self._group = group
        self._status: int | None = None

    def status(self) -> int | None:
        """See `Program.status`."""
        if self._status is None:
            told = self._connection.run(
                f"cat {shlex.quote(self._status_file)} 2>/dev/null || kill -0 -{self._group} 2>/dev/null || echo killed"
            ).stdout.strip()
            if told == b"killed":
                self._status = -signal.SIGKILL
            elif told:
                status = int(told)
                self._status = 128 - status if status > 128 else status
        return self._status

    def forget(self) -> None:
        """Take it for killed, if it had not ended: the board went off, and its process group's number is another's from now on."""
        if self._status is None:
            self._status = -signal.SIGKILL

    def signal(self, number: int) -> None:
        """See `Program.signal`: to every process of the group but the one that waits for the status."""
        if self._status is None:
            self._connection.run(f"pkill -{number} -P {self._group}")

    def kill(self) -> None:
        """See `Program.kill`."""
        if self._status is not None:
            return
        deadline = time.monotonic() + _KILL_SECONDS
        while self._connection.run(f"kill -9 -{self._group} 2>/dev/null && sleep {_MOMENT}").status == 0:
            if time.monotonic() > deadline:
                raise RigError(f"process group {self._group} does not end after SIGKILL.")


class SshShell:
    """See `Shell`."""

    def __init__(self, connection: Line, folder: str) -> None:
        self._connection = connection
        self._folder = folder
        self._programs: list[SshProgram] = []
        self._spawned = 0

    def run(self, command: Sequence[str], *, stdin: bytes = b"", timeout_seconds: float = 60.0) -> Completed:
        """See `Shell.run`."""
        done = self._connection.run(shlex.join(command), stdin=stdin, timeout_seconds=timeout_seconds)
        if done.status == _NO_SUCH_COMMAND:  # the shell's own: there is no such command
            raise RigError(f"{command[0]}: cannot be started: {last_line(done.stderr)}.")
        return done

    def spawn(
        self, command: Sequence[str], *, log: str, environment: Mapping[str, str] | None = None
    ) -> SshProgram:
        """See `Shell.spawn`."""
        named = [f"{name}={value}" for name, value in (environment or {}).items()]
        if self._connection.run(f"command -v {shlex.quote(command[0])}").status != 0:
            raise RigError(f"{command[0]}: cannot be started: not found.")
        self._spawned += 1  # counted here: a number that the board keeps may not survive a power cut
        status_file = f"{self._folder}/{self._spawned}.status"
        done = self._connection.run(
            shlex.join(["env", f"LOG={log}", *named, "sh", "-c", _SPAWN, status_file, *command])
        )
        if done.status != 0 or not done.stdout.strip().isdigit():
            raise RigError(f"{command[0]}: cannot be started: {last_line(done.stderr)}.")
        program = SshProgram(self._connection, status_file, int(done.stdout))
        self._programs.append(program)
        return program

    def kill_all(self) -> None:
        """See `Shell.kill_all`."""
        while self._programs:
            self._programs.pop().kill()

    def forget_programs(self) -> None:
        """Take every program for killed: the board went off."""
        while self._programs:
            self._programs.pop().forget()


class SshFiles:
    """See `Files`."""

    def __init__(self, connection: Line) -> None:
        self._connection = connection

    def read(self, path: str, *, offset: int = 0) -> bytes:
        """See `Files.read`."""
        name = shlex.quote(path)
        return self._do(
            f"if test -e {name}; then tail -c +{offset + 1} {name}; fi", f"{path}: cannot be read"
        )

    def write(self, path: str, data: bytes) -> None:
        """See `Files.write`; it is on the disk then, so that a power cut does not take what a test stands on."""
        folder, part, name = map(shlex.quote, (str(Path(path).parent), f"{path}.part", path))
        script = (
            f"mkdir -p {folder} && cat >{part} && {_on_disk(part)} && mv {part} {name} && {_on_disk(folder)}"
        )
        self._do(script, f"{path}: cannot be written", data)

    def remove(self, path: str) -> None:
        """See `Files.remove`."""
        self._do(f"rm -rf {shlex.quote(path)}", f"{path}: cannot be removed")

    def _do(self, script: str, what: str, stdin: bytes = b"") -> bytes:
        done = self._connection.run(script, stdin=stdin)
        if done.status != 0:
            raise RigError(f"{what}: {last_line(done.stderr)}.")
        return done.stdout


def _on_disk(name: str) -> str:
    """Return what puts a file or a folder on the disk; where ``sync`` takes no name, it puts everything there."""
    return f"{{ sync {name} 2>/dev/null || sync; }}"


def last_line(text: bytes) -> str:
    """Return the last line of what a command said, for a message."""
    lines = text.decode(errors="replace").strip().splitlines()
    return lines[-1].strip().rstrip(".")[:300] if lines else "no message"
