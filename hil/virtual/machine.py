"""`VirtualMachine`: one QEMU with a disk of its own, a serial line that is kept, and a switch.

The disk is an overlay on the board's image, which is never written to. Power is cut with SIGKILL to QEMU: what the board's kernel had not
handed to its disk is gone, and so is what QEMU had not yet entered into the overlay's tables, as behind a disk with a write cache. What
the board flushed (``fsync``) is there: QEMU passes a flush on to this machine's disk (``cache=writeback``, never ``unsafe``).
"""

from __future__ import annotations

import os
import platform
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hil.errors import RigError
from hil.virtual.build import READY
from hil.virtual.programs import run_here
from hil.virtual.qmp import Qmp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hil.virtual.recipe import Image, Recipe

Accelerator = Literal["kvm", "tcg"]
_MOMENT = 0.1
_SHOWN_LINES = 12


class VirtualMachine:
    """A machine that is off until `start`.

    Args:
        recipe: What it is.
        image: Its kernel and its disk.
        folder: For overlay, console and socket. Its path must be short: a socket's name has 107 bytes.
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
        ssh_port: int,
        memory_mebibytes: int,
        processors: int,
    ) -> None:
        self._recipe = recipe
        self._image = image
        self._disk = folder / "disk.qcow2"
        self._console = folder / "console.log"
        self._socket = folder / "qmp"
        self._log = folder / "qemu.log"
        self._ssh_port = ssh_port
        self._memory_mebibytes = memory_mebibytes
        self._processors = processors
        self._process: subprocess.Popen[bytes] | None = None
        self.accelerator = accelerator_for(recipe.wheel_architecture)

    def start(self, *, boot_seconds: float) -> None:
        """Switch it on, and wait until it says on its console that it is up.

        Raises:
            RigError: QEMU is not installed or ends, or the board is not up in time.
        """
        self._make_disk()
        begin = self._console.stat().st_size if self._console.exists() else 0
        try:
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )
        except OSError as error:
            raise RigError(
                f"{self._recipe.emulator}: cannot be started: {error.strerror or error}.",
                hint=f"apt-get install {self._recipe.emulator_package}",
            ) from error
        deadline = time.monotonic() + boot_seconds
        while READY not in (said := self.console(begin)):
            if self._process.poll() is not None:
                why = self._log.read_text(errors="replace").strip().splitlines()
                raise RigError(f"{self._recipe.emulator} ended: {why[-1] if why else 'without a word'}")
            if time.monotonic() > deadline:
                last = "\n".join(said.splitlines()[-_SHOWN_LINES:])
                raise RigError(
                    f"the board is not up after {boot_seconds:g} s; its console says last:\n{last}"
                )
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
                "emulator": f"QEMU {control.version}, {self._recipe.machine}, {self.accelerator}",
                "board_image": self._image.folder.name,
            }
        finally:
            control.close()

    def command(self) -> Sequence[str]:
        """Return how QEMU is started."""
        told = f"root=/dev/vda rw console={self._recipe.console} net.ifnames=0 panic=-1 quiet"
        return [
            self._recipe.emulator,
            *("-nodefaults", "-no-reboot", "-display", "none"),
            *("-accel", self.accelerator, "-machine", self._recipe.machine),
            *("-cpu", "host" if self.accelerator == "kvm" else "max"),
            *("-smp", str(self._processors), "-m", str(self._memory_mebibytes)),
            *("-kernel", str(self._image.kernel), "-initrd", str(self._image.initial_root), "-append", told),
            *("-drive", f"file={_escaped(self._disk)},if=virtio,format=qcow2,cache=writeback"),
            *(
                "-chardev",
                f"file,id=console,path={_escaped(self._console)},append=on",
                "-serial",
                "chardev:console",
            ),
            *("-qmp", f"unix:{_escaped(self._socket)},server=on,wait=off"),
            *("-device", "virtio-rng-pci"),
            *("-netdev", f"user,id=control,restrict=on,hostfwd=tcp:127.0.0.1:{self._ssh_port}-:22"),
            *("-device", "virtio-net-pci,netdev=control"),
        ]

    def _make_disk(self) -> None:
        if not self._disk.exists():
            base = str(self._image.disk.resolve())
            run_here(["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", str(self._disk)])


def accelerator_for(architecture: str) -> Accelerator:
    """Return how this machine runs a board of a processor's architecture: by its own processor, or by translation.

    On x86_64 a ``/dev/kvm`` alone is not enough: below some hypervisors it is there without the processor's virtualization
    (``vmx``, ``svm``), and Debian's kernel does not boot on it.
    """
    own = platform.machine()
    if own != architecture or not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    if own != "x86_64":
        return "kvm"
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    return "kvm" if "vmx" in flags or "svm" in flags else "tcg"


def _escaped(path: Path) -> str:
    """Return a path as a value of QEMU's options, where a comma is doubled."""
    return str(path).replace(",", ",,")
