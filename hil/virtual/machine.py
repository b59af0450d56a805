"""`VirtualMachine`: one QEMU with a disk of its own, a serial line that is kept, and a switch.

The disk is an overlay on the board's image, which is never written to. Power is cut with SIGKILL to QEMU: what the board's kernel had not
handed to its disk is gone, and so is what QEMU had not yet entered into the overlay's tables, as behind a disk with a write cache. What
the board flushed (``fsync``) is there: QEMU passes a flush on to this machine's disk (``cache=writeback``, never ``unsafe``).
"""

from __future__ import annotations

import shutil
import subprocess
import time
from typing import TYPE_CHECKING

from hil.errors import BootError, RigError
from hil.virtual.layout import READY
from hil.virtual.programs import run_here
from hil.virtual.qmp import Qmp
from host_tools.parent_death import dying_with_us

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hil.virtual.accelerator import Accelerator
    from hil.virtual.recipe import Image, Recipe

HOST = "10.0.3.2"
"""This machine's loopback, as the board finds it through the interface `FIELD`."""
FIELD = "eth1"
"""The board's interface to this machine's broker and repository; the rig's own shell has another, which no fault touches."""
SPOOL_DEVICE = "/dev/vdb"
"""The board's second disk, for what is to be full or read-only."""
_FIELD_DEVICE = "field"
_SPOOL_BYTES = 64 << 20
_MOMENT = 0.1
_SHOWN_LINES = 12


class VirtualMachine:
    """A machine that is off until `start`.

    Args:
        recipe: What it is.
        image: Its kernel and its disk.
        folder: For overlay, console and socket. Its path must be short: a socket's name has 107 bytes.
        accelerator: What runs it.
        processor: QEMU's name of its processor; empty: the recipe's, or this machine's own where that runs it.
        ssh_port: Of this machine's loopback, leads to the board's sshd.
        memory_mebibytes: How much memory it has.
        processors: How many processors it has.
    """

    def __init__(
        self,
        recipe: Recipe,
        image: Image,
        folder: Path,
        *,
        accelerator: Accelerator,
        processor: str,
        ssh_port: int,
        memory_mebibytes: int,
        processors: int,
    ) -> None:
        self._recipe = recipe
        self._image = image
        self._disk = folder / "disk.qcow2"
        self._spool = folder / "spool.img"
        self._console = folder / "console.log"
        self._socket = folder / "qmp"
        self._log = folder / "qemu.log"
        self._ssh_port = ssh_port
        self._memory_mebibytes = memory_mebibytes
        self._processors = processors
        self._process: subprocess.Popen[bytes] | None = None
        self._base: tuple[int, ...] | None = None
        self._accelerator = accelerator
        self._processor = processor or ("host" if accelerator.name == "kvm" else recipe.processor)

    def start(self, *, boot_seconds: float) -> None:
        """Switch it on, and wait until it says on its console that it is up.

        When this process is killed, the machine goes with it (`dying_with_us`).

        Raises:
            RigError: QEMU is not installed, or fails; the machine is on already; or its image was built anew since it was first on.
            BootError: The board ends by itself, or is not up in time; the message has its console's last lines.
        """
        if self._process is not None and self._process.poll() is None:
            raise RigError("the board's machine is on already: a second one on its disk would spoil it.")
        self._require_same_image()
        self._make_disks()
        begin, log_begin = _size(self._console), _size(self._log)
        self._process = process = self._started()
        deadline = time.monotonic() + boot_seconds
        while READY not in self.console(begin):
            status = process.poll()
            if status == 0:  # with -no-reboot QEMU ends in order when the board's kernel panics
                raise BootError(f"the board ended by itself as it booted; {self._last_words(begin)}")
            if status is not None:
                raise RigError(
                    f"{self._recipe.emulator} ended with status {status}: {self._why_it_ended(log_begin)}."
                )
            if time.monotonic() > deadline:
                raise BootError(f"the board is not up after {boot_seconds:g} s; {self._last_words(begin)}")
            time.sleep(_MOMENT)

    def cut(self) -> None:
        """Take its power away. Calling twice is harmless."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def console(self, begin: int = 0) -> str:
        """Return what it said on its serial line, from a place on, of all its boots."""
        if not self._console.exists():  # QEMU makes it
            return ""
        with self._console.open("rb") as stream:
            stream.seek(begin)
            return stream.read().decode(errors="replace").replace("\r\n", "\n")

    def facts(self) -> dict[str, str]:
        """Return what runs it, as QEMU says.

        Raises:
            RigError: It is off, or QEMU does not answer.
        """
        control = Qmp(self._socket)
        try:
            state = control.ask("query-status").get("status")
            if state != "running":
                raise RigError(f"the board's machine is {state!r}, expected 'running'.")
            return {
                "emulator": f"QEMU {control.version}, {self._recipe.machine}, {self._processor}",
                "accelerator": f"{self._accelerator.name} ({self._accelerator.reason})",
                "board_image": self._image.folder.name,
            }
        finally:
            control.close()

    def set_link(self, *, is_up: bool) -> None:
        """Pull the cable out of the board's interface `FIELD`, or put it in.

        Raises:
            RigError: The board is off, or QEMU does not answer.
        """
        control = Qmp(self._socket)
        try:
            control.ask("set_link", name=_FIELD_DEVICE, up=is_up)
        finally:
            control.close()

    def command(self) -> Sequence[str]:
        """Return how QEMU is started."""
        # mitigations=off: what they defend against is the processor's, and translation has none of it.
        told = f"root=/dev/vda rw console={self._recipe.console} net.ifnames=0 panic=-1 mitigations=off quiet"
        return [
            self._recipe.emulator,
            *("-nodefaults", "-no-reboot", "-display", "none"),
            *("-accel", self._accelerator.name, "-machine", self._recipe.machine),
            *("-cpu", self._processor, "-smp", str(self._processors), "-m", str(self._memory_mebibytes)),
            *("-kernel", str(self._image.kernel), "-initrd", str(self._image.initial_root), "-append", told),
            *("-drive", f"file={_escaped(self._disk)},if=virtio,format=qcow2,cache=writeback"),
            *("-drive", f"file={_escaped(self._spool)},if=virtio,format=raw,cache=writeback"),
            *(
                "-chardev",
                f"file,id=console,path={_escaped(self._console)},append=on",
                "-serial",
                "chardev:console",
            ),
            *("-qmp", f"unix:{_escaped(self._socket)},server=on,wait=off"),
            *("-device", "virtio-rng-pci"),
            *("-netdev", f"user,id=control,ipv6=off,restrict=on,hostfwd=tcp:127.0.0.1:{self._ssh_port}-:22"),
            *("-device", "virtio-net-pci,netdev=control,romfile="),
            # Without a route through it the board reaches nothing there but HOST.
            *("-netdev", f"user,id=outside,ipv6=off,net=10.0.3.0/24,host={HOST}"),
            *("-device", f"virtio-net-pci,netdev=outside,id={_FIELD_DEVICE},romfile="),
        ]

    def _started(self) -> subprocess.Popen[bytes]:
        if shutil.which(self._recipe.emulator) is None:
            raise RigError(
                f"{self._recipe.emulator}: cannot be started: it is not installed.",
                hint=f"apt-get install {self._recipe.emulator_package}",
            )
        try:
            with self._log.open("ab") as log:
                return subprocess.Popen(
                    [*dying_with_us("KILL"), *self.command()],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        except OSError as error:
            raise RigError(
                f"{self._recipe.emulator}: cannot be started: {error.strerror or error}."
            ) from error

    def _why_it_ended(self, begin: int) -> str:
        """Return what QEMU itself said last, from a place on: of this start, not of an earlier one."""
        said = self._log.read_bytes()[begin:].decode(errors="replace").strip().splitlines()
        return said[-1].rstrip(".") if said else "without a word"

    def _last_words(self, begin: int) -> str:
        last = self.console(begin).splitlines()[-_SHOWN_LINES:]
        return "its console says last:\n" + "\n".join(last) if last else "its console says nothing."

    def _require_same_image(self) -> None:
        """Refuse another image below a disk that was written on top of the first: the board would read a mixture of both."""
        path = self._image.disk
        base = (path.stat().st_ino, path.stat().st_mtime_ns) if path.exists() else ()
        if self._base is None:
            self._base = base
        elif base != self._base:
            raise RigError(
                f"{path}: was built anew while a session ran on it, and its disk is of no use any more.",
                hint="Run it again; and build with --fresh when no session runs.",
            )

    def _make_disks(self) -> None:
        with self._spool.open("ab") as stream:
            stream.truncate(_SPOOL_BYTES)
        if not self._disk.exists():
            base = str(self._image.disk.resolve())
            run_here(["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", str(self._disk)])


def _size(path: Path) -> int:
    """Return a file's length; 0 where there is none yet."""
    return path.stat().st_size if path.exists() else 0


def _escaped(path: Path) -> str:
    """Return a path as a value of QEMU's options, where a comma is doubled."""
    return str(path).replace(",", ",,")
