"""The image of a virtual board: Debian's packages, the kernel, the agent's libraries; one file system, made once a recipe.

Packages are unpacked and not installed: nothing of the board runs here, so a board of another processor is built as quickly as one of this
machine's. What the packages' scripts would have done is little for a board whose init is busybox's, with sshd and nothing else below it,
and stands in `hil.virtual.layout`. As root, for a root file system is root's. The network is needed here and nowhere else: a board that was
built boots without one.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hil.errors import RigError
from hil.virtual.debian import unpack_packages
from hil.virtual.kernel import install_kernel
from hil.virtual.layout import environment_folder, lay_out
from hil.virtual.programs import run_here
from hil.virtual.recipe import ENVIRONMENTS, PACKAGES, PYTHON, image_of, load_recipe

if TYPE_CHECKING:
    from collections.abc import Callable

    from hil.virtual.recipe import Environment, Image, Recipe

_DISK_SIZE = "3G"
_NOT_READ = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info")
"""Most of the files, and nobody reads them on a board under test."""


def build_image(
    name: str, *, folder: Path | None = None, fresh: bool = False, tell: Callable[[str], None] = print
) -> Image:
    """Build a board's image, or find that it was built.

    Args:
        name: The recipe's; see `load_recipe`.
        folder: Where images are kept; by default the user's cache.
        fresh: Build it although it is there: Debian's packages may be newer.
        tell: Takes a line for every step.

    Raises:
        BoardError: There is no such recipe, or a key of it is wrong.
        RigError: This user is not root, a program or a package is missing, or the network is; or the image cannot be written.
    """
    recipe = load_recipe(name)
    image = image_of(name, recipe, folder)
    if image.folder.is_dir() and not fresh:
        tell(f"{name}: it is there: {image.folder}")
        return image
    if os.geteuid() != 0:
        raise RigError("a board's image is built as root.", hint=f"sudo edgewright hil board build {name}")
    try:
        _build_in_place(recipe, image, tell)
    except OSError as error:
        raise RigError(
            f"{error.filename or image.folder}: cannot be built: {error.strerror or error}.",
            hint="An image takes 3 GiB: is there room, and may root write there? --images FOLDER is another place.",
        ) from error
    tell(f"{name}: built: {image.folder}")
    return image


def _build_in_place(recipe: Recipe, image: Image, tell: Callable[[str], None]) -> None:
    make_folder(image.folder.parent)
    with tempfile.TemporaryDirectory(prefix=f".{image.folder.name}-", dir=image.folder.parent) as work:
        made = Path(work) / "image"
        made.mkdir()
        _build(recipe, Path(work), made, tell)
        shutil.rmtree(image.folder, ignore_errors=True)
        _hand_over(made, *made.iterdir())
        made.rename(image.folder)


def make_folder(folder: Path) -> None:
    """Make it and those that it is in; below ``sudo`` they are the user's, who keeps other things in a cache."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    _hand_over(*missing)


def _build(recipe: Recipe, work: Path, made: Path, tell: Callable[[str], None]) -> None:
    root = work / "root"
    tell(f"Debian's packages ({recipe.release}, {recipe.debian_architecture})")
    packages = unpack_packages(
        recipe.release, recipe.debian_architecture, (*PACKAGES, recipe.kernel_package), root
    )
    (made / "packages").write_text("".join(f"{package}\n" for package in packages), encoding="utf-8")
    for folder in _NOT_READ:
        shutil.rmtree(root / folder, ignore_errors=True)
    tell("the kernel and its modules")
    kernel, initial_root = install_kernel(_kernel_apart(root, work / "kernel"), root, recipe)
    (made / "kernel").write_bytes(kernel)
    (made / "initrd").write_bytes(initial_root)
    tell("the agent's libraries")
    for environment in ENVIRONMENTS:
        _libraries(recipe, root, environment)
    _compile(root, tell)
    tell("keys, and what the board is told")
    lay_out(root)
    _keys(root, made)
    tell("the disk")
    disk = made / "disk.img"
    run_here(["mke2fs", "-q", "-t", "ext4", "-L", "board", "-d", str(root), str(disk), _DISK_SIZE])


def _kernel_apart(root: Path, apart: Path) -> Path:
    """Move what the kernel's package brought out of the root: most of its modules are of no use to a virtual board."""
    (apart / "lib").mkdir(parents=True)
    (root / "boot").rename(apart / "boot")
    (root / "usr/lib/modules").rename(apart / "lib/modules")
    return apart


def _libraries(recipe: Recipe, root: Path, environment: Environment) -> None:
    """Unpack the wheels for the board's Python and processor."""
    site_packages = root / environment_folder(environment).lstrip("/") / f"lib/python{PYTHON}/site-packages"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-compile", "--only-binary=:all:", "--implementation=cp", f"--python-version={PYTHON}"]
    command += [f"--platform={platform}" for platform in recipe.wheel_platforms]
    run_here([*command, f"--target={site_packages}", *ENVIRONMENTS[environment]])


def _compile(root: Path, tell: Callable[[str], None]) -> None:
    """Compile the board's Python files, which its packages' scripts would have done; bytecode is the same for every processor."""
    python = sys.executable if sys.version_info[:2] == _version(PYTHON) else shutil.which(f"python{PYTHON}")
    if python is None:
        tell(
            f"there is no python{PYTHON} here: the board compiles what it imports, and is slower to start anything"
        )
        return
    options = ["-q", "-j", "0", "-s", str(root), "-p", "/", "--invalidation-mode", "unchecked-hash"]
    folders = [root / f"usr/lib/python{PYTHON}", root / "usr/lib/python3", root / "opt"]
    run_here([python, "-m", "compileall", *options, *map(str, folders)])


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def _keys(root: Path, made: Path) -> None:
    """Make the board's key, by which it is known, and the one that it lets in."""
    for path in (root / "etc/ssh/host_key", made / "identity"):
        run_here(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "board", "-f", str(path)])
    shutil.copy2(root / "etc/ssh/host_key.pub", made / "host_key.pub")
    allowed = root / "root/.ssh/authorized_keys"
    allowed.parent.mkdir(parents=True, exist_ok=True)
    allowed.write_bytes((made / "identity.pub").read_bytes())


def _hand_over(*paths: Path) -> None:
    """Give what was made to the user who said ``sudo``: ssh takes a private key from its owner alone."""
    owner, group = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    if owner.isdigit() and group.isdigit():
        for path in paths:
            os.chown(path, int(owner), int(group))
