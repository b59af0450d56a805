"""The image of a virtual board: Debian's packages, the kernel, the agent's libraries; one file system, made once a recipe.

Its init is busybox's, with sshd and nothing else below it, so that a machine without hardware virtualization boots it in seconds.
As root, for a root file system is root's. The network is needed here and nowhere else: a board that was built boots without one.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hil.errors import RigError
from hil.virtual.debian import debian_sources
from hil.virtual.kernel import install_kernel
from hil.virtual.programs import run_here
from hil.virtual.recipe import PACKAGES, PYTHON, WHEELS, image_of, load_recipe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hil.virtual.recipe import Image, Recipe

ENVIRONMENT = "/opt/edgewright"
"""The agent's virtual environment on the board."""
READY = "edgewright: the board is up"
"""What the board says on its console once it can be reached."""
_DISK_SIZE = "3G"
_SITE_PACKAGES = f"{ENVIRONMENT.lstrip('/')}/lib/python{PYTHON}/site-packages"

_FILES: Mapping[str, str] = {
    "etc/hostname": "board\n",
    "etc/hosts": "127.0.0.1 localhost board\n",
    "etc/resolv.conf": "",
    "etc/ssh/sshd_config": "HostKey /etc/ssh/host_key\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n"
    "KbdInteractiveAuthentication no\nUsePAM no\nUseDNS no\nPrintMotd no\nMaxSessions 100\n",
    "etc/inittab": "::sysinit:/etc/board-init\n::respawn:/usr/sbin/sshd -D\n",
    "etc/board-init": f"""\
#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc && mount -t sysfs sysfs /sys
mkdir -p /dev/pts /dev/shm && mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /tmp && mkdir -m 0755 /run/sshd
hostname board
modprobe -a virtio_net virtio_rng
ip link set lo up
ip address add 10.0.2.15/24 dev eth0 && ip link set eth0 up && ip route add default via 10.0.2.2
echo {READY}
""",
    f"{ENVIRONMENT.lstrip('/')}/pyvenv.cfg": f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {PYTHON}\n",
}
_EXECUTABLE = ("etc/board-init",)
_LINKS: Mapping[str, str] = {
    "sbin/init": "/bin/busybox",
    f"{ENVIRONMENT.lstrip('/')}/bin/python3": f"/usr/bin/python{PYTHON}",
    f"{ENVIRONMENT.lstrip('/')}/bin/python": "python3",
}


def build_image(
    name: str, *, folder: Path | None = None, fresh: bool = False, tell: Callable[[str], None] = print
) -> Image:
    """Build a board's image, or find that it was built.

    Args:
        name: The recipe's.
        folder: Where images are kept; by default the user's cache.
        fresh: Build it although it is there: Debian's packages may be newer.
        tell: Takes a line for every step.

    Raises:
        BoardError: There is no such recipe.
        RigError: This user is not root, a program or a package is missing, or the network is.
    """
    recipe = load_recipe(name)
    image = image_of(name, recipe, folder)
    if image.folder.is_dir() and not fresh:
        tell(f"{name}: it is there: {image.folder}")
        return image
    if os.geteuid() != 0:
        raise RigError("a board's image is built as root.", hint=f"sudo edgewright hil board build {name}")
    image.folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=image.folder.parent) as work:
        made = Path(work) / "image"
        made.mkdir()
        _build(recipe, Path(work), made, tell)
        shutil.rmtree(image.folder, ignore_errors=True)
        _hand_over(made)
        made.rename(image.folder)
    tell(f"{name}: built: {image.folder}")
    return image


def _build(recipe: Recipe, work: Path, made: Path, tell: Callable[[str], None]) -> None:
    root, unpacked = work / "root", work / "kernel"
    tell(f"Debian's packages ({recipe.release}, {recipe.debian_architecture})")
    _debian(recipe, root, work)
    tell("the kernel and its modules")
    (package,) = work.glob("linux-image-*.deb")
    run_here(["dpkg-deb", "-x", str(package), str(unpacked)])
    kernel, initial_root = install_kernel(unpacked, root, recipe)
    (made / "kernel").write_bytes(kernel)
    (made / "initrd").write_bytes(initial_root)
    tell("the agent's libraries")
    _libraries(recipe, root)
    tell("keys, and what the board is told")
    _keys(root, made)
    for path, text in _FILES.items():
        _write(root / path, text)
    for path in _EXECUTABLE:
        (root / path).chmod(0o755)
    for path, to in _LINKS.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).unlink(missing_ok=True)
        (root / path).symlink_to(to)
    shutil.copy2(root / "var/lib/dpkg/status", made / "packages")
    tell("the disk")
    disk = made / "disk.img"
    run_here(["mke2fs", "-q", "-t", "ext4", "-L", "board", "-d", str(root), str(disk), _DISK_SIZE])


def _debian(recipe: Recipe, root: Path, work: Path) -> None:
    """Install the packages below ``root``; the kernel's package is fetched into ``work``, and not installed."""
    newest = f'$(apt-cache depends {recipe.kernel_package} | sed -n "s/.*Depends: \\(linux-image-[^ ]*\\).*/\\1/p" | head -n 1)'
    fetch = f'cd "{work}" && export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" && apt-get download {newest}'
    run_here(
        [
            "mmdebstrap",
            "--quiet",
            "--mode=root",
            "--variant=minbase",
            f"--architectures={recipe.debian_architecture}",
            f"--include={','.join(PACKAGES)}",
            '--aptopt=APT::Sandbox::User "root"',
            # Documentation is nine tenths of the files, and a board under test is not read.
            "--dpkgopt=path-exclude=/usr/share/man/*",
            "--dpkgopt=path-exclude=/usr/share/doc/*",
            "--dpkgopt=path-exclude=/usr/share/locale/*",
            f"--customize-hook={fetch}",
            recipe.release,
            str(root),
            "-",
        ],
        stdin=debian_sources(recipe.release),
    )


def _libraries(recipe: Recipe, root: Path) -> None:
    """Unpack the wheels for the board's Python and processor; nothing of them runs here."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--only-binary=:all:", "--implementation=cp", f"--python-version={PYTHON}"]
    command += [f"--platform={platform}" for platform in recipe.wheel_platforms]
    run_here([*command, f"--target={root / _SITE_PACKAGES}", *WHEELS])


def _keys(root: Path, made: Path) -> None:
    """Make the board's key, by which it is known, and the one that it lets in."""
    for path in (root / "etc/ssh/host_key", made / "identity"):
        run_here(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "board", "-f", str(path)])
    for path in (root / "etc/ssh").glob("ssh_host_*"):
        path.unlink()
    shutil.copy2(root / "etc/ssh/host_key.pub", made / "host_key.pub")
    _write(root / "root/.ssh/authorized_keys", (made / "identity.pub").read_text())


def _hand_over(made: Path) -> None:
    """Give the image to the user who said ``sudo``: ssh takes a private key from its owner alone."""
    owner, group = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    if owner.isdigit() and group.isdigit():
        for path in (made, *made.iterdir()):
            os.chown(path, int(owner), int(group))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
