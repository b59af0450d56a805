"""What stands on a board's disk beside its packages: its init, its users, sshd's configuration, the agent's virtual environments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.virtual.recipe import ENVIRONMENTS, PYTHON

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hil.virtual.recipe import Environment

READY = "edgewright: the board is up"
"""What the board says on its console once it can be reached."""

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
echo board >/proc/sys/kernel/hostname
modprobe -a virtio_net virtio_rng
ip link set lo up
ip address add 10.0.2.15/24 dev eth0 && ip link set eth0 up
ip address add 10.0.3.15/24 dev eth1 && ip link set eth1 up
echo {READY}
""",
}
_EXECUTABLE = ("etc/board-init",)
_LINKS: Mapping[str, str] = {"sbin/init": "/bin/busybox", "bin/sh": "dash"}
_USERS = "usr/share/base-passwd/passwd.master"
_GROUPS = "usr/share/base-passwd/group.master"
_SSHD = "sshd:*:100:65534::/run/sshd:/usr/sbin/nologin\n"
"""The user below which sshd does what is before the login."""


def environment_folder(environment: Environment) -> str:
    """Return where a virtual environment of the agent is on the board."""
    return f"/opt/edgewright-{environment}"


def lay_out(root: Path) -> None:
    """Write it into a root, below which packages and wheels were unpacked.

    Raises:
        OSError: A package that it stands on is not there, or the disk is full.
    """
    for path, text in _FILES.items():
        _write(root / path, text)
    for path in _EXECUTABLE:
        (root / path).chmod(0o755)
    _write(root / "etc/passwd", (root / _USERS).read_text(encoding="utf-8") + _SSHD)
    _write(root / "etc/group", (root / _GROUPS).read_text(encoding="utf-8"))
    for path, to in _LINKS.items():
        _link(root / path, to)
    for environment in ENVIRONMENTS:
        folder = root / environment_folder(environment).lstrip("/")
        settings = f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {PYTHON}\n"
        _write(folder / "pyvenv.cfg", settings)
        _link(folder / "bin/python3", f"/usr/bin/python{PYTHON}")


def _link(path: Path, to: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(to)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
