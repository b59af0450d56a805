"""`Recipe`: what a virtual board is made of. Its digest names the image, so what is made of the same is made once."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from hil.board import read_named, read_toml, shipped_names
from hil.errors import BoardError
from hil.table import read_table

if TYPE_CHECKING:
    from collections.abc import Mapping

LAYOUT = 2
"""Raised when the same recipe is built into something else."""
PYTHON = "3.11"
"""Debian 12's."""
GLIBC_MINOR = 36
"""Debian 12 has glibc 2.36; wheels for any before it run."""
_OLDEST_GLIBC_MINOR = 5

PACKAGES = (
    "base-files",
    "base-passwd",
    "bash",
    "busybox-static",
    "coreutils",
    "dash",
    "e2fsprogs",
    "findutils",
    "grep",
    "i2c-tools",
    "iproute2",
    "kmod",
    "libc-bin",
    "libstdc++6",
    "mount",
    "openssh-server",
    "procps",
    "python3",
    "sed",
    "tar",
    "util-linux",
)
"""Of every board: an init, a shell that can be reached, Python, and what the rig's drivers call. Nothing comes by being essential."""
_LIBRARIES = (
    "cryptography==50.0.2",
    "paho-mqtt==2.2.0",
    "psutil==7.2.2",
    "tuf==7.0.1",
    "securesystemslib==1.6.0",
)
Environment = Literal["current", "legacy"]
ENVIRONMENTS: Mapping[Environment, tuple[str, ...]] = MappingProxyType(
    {
        "current": (*_LIBRARIES, "numpy==2.4.6", "onnxruntime==1.32.0", "ai-edge-litert==2.3.0"),
        "legacy": (*_LIBRARIES, "numpy==1.26.4", "tflite-runtime==2.14.0"),
    }
)
"""Virtual environments of every board and the wheels in each, for tflite-runtime does not run beside numpy 2. The agent's own files are
pushed by the rig, so that a test tests what is checked out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One virtual board: a file ``NAME.toml`` of this folder, or of whoever has another.

    Attributes:
        release: Debian's name of it.
        debian_architecture: As Debian names it: ``amd64``, ``arm64``.
        wheel_architecture: As wheels name it: ``x86_64``, ``aarch64``.
        kernel_package: The package that depends on the newest kernel.
        kernel_image: What the kernel's file in ``/boot`` begins with.
        modules: Modules that the board can load, those that they need not named; those of ``virtio_`` and ``ext4`` find the disk.
        emulator: QEMU's program.
        emulator_package: Debian's package of it.
        machine: The machine that it emulates.
        processor: The processor that it translates for; where hardware runs the board, it is this machine's own.
        console: The kernel's name of the serial line.
        has_hardware_monitor: Whether ``i2c-stub`` and ``lm75`` are among the modules: a temperature through a real driver.
    """

    release: str
    debian_architecture: str
    wheel_architecture: str
    kernel_package: str
    kernel_image: str
    modules: tuple[str, ...]
    emulator: str
    emulator_package: str
    machine: str
    processor: str
    console: str
    has_hardware_monitor: bool = False

    @property
    def digest(self) -> str:
        """SHA-256, in hex, of all that decides what the image is."""
        parts = [LAYOUT, PYTHON, GLIBC_MINOR, PACKAGES, dict(ENVIRONMENTS), dataclasses.asdict(self)]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @property
    def wheel_platforms(self) -> tuple[str, ...]:
        """Platform tags of the wheels that run on it, newest first (PEP 600, and the older name of 2.17)."""
        numbered = [
            f"manylinux_2_{minor}_{self.wheel_architecture}"
            for minor in range(GLIBC_MINOR, _OLDEST_GLIBC_MINOR - 1, -1)
        ]
        return (*numbered, f"manylinux2014_{self.wheel_architecture}")


def recipe_names() -> tuple[str, ...]:
    """Return the virtual boards that ship."""
    return shipped_names("virtual")


def load_recipe(name: str) -> Recipe:
    """Read a recipe.

    Args:
        name: One of `recipe_names`, or the path of a file; with a ``/`` or ``.toml`` in it, it is a path.

    Raises:
        BoardError: There is none, or a key is wrong.
    """
    data, origin = read_named(name, "virtual", what="virtual board")
    return read_table(
        Recipe, read_toml(data, origin=origin, error=BoardError), where=origin, error=BoardError
    )


def cache_folder() -> Path:
    """Return where images are kept: ``edgewright/boards`` of the user's cache (XDG Base Directory Specification).

    Below ``sudo`` it is the cache of the user who said it, who is going to boot what root builds.

    Raises:
        BoardError: Nobody knows where that user's files are.
    """
    base = os.environ.get("XDG_CACHE_HOME") or ""
    user = os.environ.get("SUDO_USER", "") if os.geteuid() == 0 else ""
    try:
        home = Path(f"~{user}").expanduser()
    except RuntimeError as error:
        raise BoardError(
            f"images: {f'user {user!r} (SUDO_USER)' if user else 'this user'} has no folder of files here.",
            hint="Say where images are kept: --images FOLDER, or resource.images.",
        ) from error
    return (Path(base) if base.startswith("/") else home / ".cache") / "edgewright" / "boards"


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A built board: a folder whose name has the recipe's digest.

    Attributes:
        folder: Where it is.
    """

    folder: Path

    @property
    def disk(self) -> Path:
        """The root file system, ext4; never written to after it was made."""
        return self.folder / "disk.img"

    @property
    def kernel(self) -> Path:
        """The kernel."""
        return self.folder / "kernel"

    @property
    def initial_root(self) -> Path:
        """The small root that finds the disk."""
        return self.folder / "initrd"

    @property
    def identity(self) -> Path:
        """The private key that root of the board lets in."""
        return self.folder / "identity"

    @property
    def host_key(self) -> Path:
        """The public key by which the board is known."""
        return self.folder / "host_key.pub"


def image_of(name: str, recipe: Recipe, folder: Path | None = None) -> Image:
    """Return where a board's image is, or would be.

    Args:
        name: The recipe's; of a path, what the file is called.
        recipe: What it is made of.
        folder: Where images are kept; by default `cache_folder`.

    Raises:
        BoardError: See `cache_folder`.
    """
    return Image(folder=(folder or cache_folder()) / f"{Path(name).stem}-{recipe.digest[:16]}")
