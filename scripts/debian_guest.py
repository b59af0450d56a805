"""A clean Debian 12 that is booted for a trial, and commands that are run in it: for `try_deb`.

It is made once, by mmdebstrap from this machine's own package sources, kept in .cache/, and unpacked anew for every trial.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from hil.virtual.debian import debian_sources

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".cache" / "debian-12"
RELEASE = "bookworm"
BOOT_SECONDS = 120.0
WAIT_SECONDS = 60.0


class CheckFailedError(Exception):
    """A step did not find what it should."""


def unpacked(folder: Path, *, name: str, fresh: bool) -> Path:
    """Return a folder with the clean system in it, whose host name is ``name``."""
    subprocess.run(
        [
            ROOT / "scripts/system-packages",
            "mmdebstrap",
            "systemd-container",
            "mosquitto",
            "mosquitto-clients",
        ],
        check=True,
    )
    packed = CACHE / "root.tar"
    if fresh or not packed.is_file():
        made = CACHE / "root.tar.part"
        CACHE.mkdir(parents=True, exist_ok=True)
        say(f"making a minimal {RELEASE}")
        run(
            ["mmdebstrap", "--quiet", "--variant=minbase", "--include=init", "--skip=cleanup/apt/lists",
             "--format=tar", RELEASE, str(made), "-"],
            text=debian_sources(RELEASE),
        )  # fmt: skip
        made.rename(packed)
    folder.mkdir()
    run(["tar", "--directory", str(folder), "--extract", "--file", str(packed), "--numeric-owner"])
    (folder / "etc/hostname").write_text(f"{name}\n")
    packages = CACHE / "packages"
    packages.mkdir(exist_ok=True)
    for one in packages.glob("*.deb"):  # what was fetched before is not fetched again
        shutil.copy(one, folder / "var/cache/apt/archives" / one.name)
    (folder / "etc/apt/apt.conf.d/docker-clean").unlink(missing_ok=True)
    (folder / "etc/apt/apt.conf.d/99keep").write_text('APT::Keep-Downloaded-Packages "true";\n')
    return folder


class Guest:
    """The clean system, booted; commands are run in it, as from a root shell.

    Args:
        init: Process id of its init system, as this machine sees it.
        folder: Its root.
    """

    def __init__(self, init: int, folder: Path) -> None:
        self._init = init
        self.folder = folder

    def run(self, command: str, *, status: int = 0) -> str:
        """Run a shell command; return its standard output.

        Raises:
            CheckFailedError: It ended with another status.
        """
        inside = ["nsenter", f"--target={self._init}", "--mount", "--pid", "--uts", "--ipc", "--cgroup"]
        shell = ["env", "-i", "HOME=/root", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"]
        done = subprocess.run(
            [*inside, *shell, "DEBIAN_FRONTEND=noninteractive", "/bin/sh", "-c", command],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != status:
            said = (done.stdout + done.stderr).strip()[-2000:]
            raise CheckFailedError(f"{command}: status {done.returncode}, expected {status}:\n{said}")
        return done.stdout.strip()

    def wait(self, command: str, wanted: str, *, seconds: float = WAIT_SECONDS) -> None:
        """Run a command until its output has a text."""
        deadline, found = time.monotonic() + seconds, ""
        while time.monotonic() < deadline:
            with contextlib.suppress(CheckFailedError):
                found = self.run(f"{command} || true")
            if wanted in found:
                return
            time.sleep(0.3)
        raise CheckFailedError(f"{command}: expected {wanted!r} within {seconds:g} s, got: {found[-1500:]}")


@contextlib.contextmanager
def booted(folder: Path) -> Iterator[Guest]:
    """Boot the system, sharing this machine's network; power it off at the end."""
    container = subprocess.Popen(
        ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--boot", "--console=pipe", "--directory", folder],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        guest = Guest(init_of(container), folder)
        guest.wait("systemctl is-system-running", "running", seconds=BOOT_SECONDS)
        yield guest
    finally:
        container.terminate()  # an orderly power-off; again: at once
        with contextlib.suppress(subprocess.TimeoutExpired):
            container.wait(30)
        container.kill()
        container.wait()


def init_of(container: subprocess.Popen[str]) -> int:
    """Return the process id of the init system that a container runs."""
    children = Path(f"/proc/{container.pid}/task/{container.pid}/children")
    deadline = time.monotonic() + BOOT_SECONDS
    while time.monotonic() < deadline and container.poll() is None:
        for child in children.read_text().split():
            below = Path(f"/proc/{child}/comm")
            if below.is_file() and below.read_text().strip() == "systemd":
                return int(child)
        time.sleep(0.1)
    said = "" if container.poll() is None or container.stderr is None else container.stderr.read()
    raise CheckFailedError(
        f"systemd-nspawn does not boot the system here: {said.strip() or 'no init came up'}"
    )


def run(command: list[str], *, text: str | None = None) -> str:
    """Run a command on this machine; return its standard output."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CheckFailedError(f"{command[0]}: status {done.returncode}: {done.stderr.strip()[-2000:]}")
    return done.stdout


def say(text: str) -> None:
    """Tell what a step found."""
    print(text, flush=True)
