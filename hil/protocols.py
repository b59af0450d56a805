"""What can be asked of a board. A driver fulfils one of these; a test knows nothing else of the board. What it senses is in `senses`.

Paths are texts in the board's own file system. Nothing here is asynchronous: a call returns when it is done, or raises `RigError`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hil.link import Link

Feature = Literal[
    "shell",
    "files",
    "power",
    "network",
    "console",
    "thermal",
    "meter",
    "rails",
    "battery",
    "clock",
    "disk",
    "write_protection",
    "interface",
]
FEATURES: tuple[Feature, ...] = get_args(Feature)


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """How a command ended: exit status (negative: the signal) and what it wrote."""

    status: int
    stdout: bytes
    stderr: bytes


class Program(Protocol):
    """A command that runs on the board on its own, with all that it starts in its process group."""

    def status(self) -> int | None:
        """Return its exit status, negative for a signal; None while it runs."""
        ...

    def signal(self, number: int) -> None:
        """Send a signal to the program; nothing happens when it has ended."""
        ...

    def kill(self) -> None:
        """End the whole process group with SIGKILL, and wait until it is gone."""
        ...


class Shell(Protocol):
    """Runs commands on the board."""

    def run(self, command: Sequence[str], *, stdin: bytes = b"", timeout_seconds: float = 60.0) -> Completed:
        """Run a command to its end; its status is the caller's to judge.

        Raises:
            RigError: The board cannot be reached or is off, or the command takes too long.
        """
        ...

    def spawn(
        self, command: Sequence[str], *, log: str, environment: Mapping[str, str] | None = None
    ) -> Program:
        """Start a command that goes on by itself; both its streams are appended to the file ``log``.

        Raises:
            RigError: The board cannot be reached or is off, or there is no such command.
        """
        ...

    def kill_all(self) -> None:
        """Kill every program that was spawned, process groups and all.

        Raises:
            RigError: One of them does not go.
        """
        ...


class Files(Protocol):
    """Files on the board."""

    def read(self, path: str, *, offset: int = 0) -> bytes:
        """Return what a file holds from a place on; empty when there is no such file.

        Raises:
            RigError: It cannot be read.
        """
        ...

    def write(self, path: str, data: bytes) -> None:
        """Replace a file in one step, its folder made where it is missing: a reader sees the old bytes or the new ones.

        Raises:
            RigError: It cannot be written.
        """
        ...

    def remove(self, path: str) -> None:
        """Remove a file or a folder with all that is in it; nothing happens when there is none.

        Raises:
            RigError: It cannot be removed.
        """
        ...


class Power(Protocol):
    """The board's power.

    Attributes:
        cuts: What a cut takes: the whole ``machine``, or the agent's ``process`` group, which loses no unwritten disk cache.
    """

    cuts: Literal["machine", "process"]

    def cut(self) -> None:
        """Take the power away, with no warning to anything that runs.

        Raises:
            RigError: It is still on.
        """
        ...

    def restore(self) -> None:
        """Give it back; the board boots.

        Raises:
            RigError: It stays off.
            BootError: It is on, and does not come up.
        """
        ...


class Network(Protocol):
    """Ways from the board to this machine, and only those: what else the board reaches is not touched.

    Attributes:
        host: Where the board finds this machine: its own loopback, or an address.
    """

    host: str

    def reach(self, port: int) -> int:
        """Return the port of `host` at which the board finds this machine's loopback port.

        Raises:
            RigError: The way cannot be made.
        """
        ...

    def links(self) -> tuple[Link, ...]:
        """Return every way that was made; a fault of the network is a fault of all of them."""
        ...


class Console(Protocol):
    """What the board says of itself beside the agent's log: a serial line, or the kernel's log."""

    def text(self) -> str:
        """Return all that was said since the rig was opened."""
        ...


class Disk(Protocol):
    """A small disk of the agent's own, for its spool.

    Attributes:
        folder: Where it is, for the agent alone.
    """

    folder: str

    def shrink(self, mebibytes: int) -> Sequence[str]:
        """Return what must stand before the agent's command, so that its spool is on a disk of that size."""
        ...

    def fill(self) -> None:
        """Leave no room on it.

        Raises:
            RigError: It cannot be filled: no agent was started on a small disk.
        """
        ...

    def free(self) -> None:
        """Give the room back.

        Raises:
            RigError: It cannot be done.
        """
        ...


class WriteProtection(Protocol):
    """Makes the disk of `Disk` read-only while it is in use, as the kernel does when a card fails."""

    def protect(self) -> None:
        """Let every write to it fail from now on, to open files too.

        Raises:
            RigError: It cannot be done: no small disk was asked for.
        """
        ...

    def release(self) -> None:
        """Let it be written to again.

        Raises:
            RigError: It cannot be done.
        """
        ...


class Interface(Protocol):
    """The board's own network interface, through which `Network` leads: cable and packets, where `Link` has connections."""

    def unplug(self) -> None:
        """Pull the cable.

        Raises:
            RigError: It stays in.
        """
        ...

    def plug_in(self) -> None:
        """Put the cable in.

        Raises:
            RigError: It stays out.
        """
        ...

    def shape(self, *, delay_seconds: float = 0.0, loss_share: float = 0.0) -> None:
        """Delay what the board sends, and lose a share of its packets; without either, as it was.

        Raises:
            RigError: The board's kernel cannot.
        """
        ...
