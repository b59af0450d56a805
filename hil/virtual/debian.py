"""Debian's packages, from this machine's own sources, unpacked without running anything of theirs."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hil.errors import RigError
from hil.virtual.programs import run_here

if TYPE_CHECKING:
    from collections.abc import Sequence

# As Debian lays a system out since its release 12: https://wiki.debian.org/UsrMerge
_ONE_TREE = 'cd "$1" && for name in bin sbin lib lib64; do mkdir -p usr/$name && ln -s usr/$name $name; done'


def unpack_packages(release: str, architecture: str, packages: Sequence[str], root: Path) -> tuple[str, ...]:
    """Unpack packages and what they depend on into a folder; return the packages' files, which tell versions.

    Args:
        release: Debian's name of it.
        architecture: As Debian names it; it need not be this machine's.
        packages: Their names.
        root: Is made.

    Raises:
        RigError: This machine has no sources of the release, a package is not there, or the network is not.
    """
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "packages"
        run_here(
            [
                "mmdebstrap",
                "--quiet",
                "--mode=root",
                "--variant=extract",
                f"--architectures={architecture}",
                f"--include={','.join(packages)}",
                '--aptopt=APT::Sandbox::User "root"',
                f"--setup-hook={_ONE_TREE}",
                f'--extract-hook=ls "$1/var/cache/apt/archives" | grep "[.]deb$" >"{listed}"',
                release,
                str(root),
                "-",
            ],
            stdin=debian_sources(release),
        )
        return tuple(listed.read_text(encoding="utf-8").split())


def debian_sources(release: str) -> str:
    """Return this machine's own sources of a release, as lines of a sources.list.

    Raises:
        RigError: It has none.
    """
    listed = run_here(
        [
            "apt-get",
            "indextargets",
            "--format",
            "deb $(REPO_URI) $(CODENAME) $(COMPONENT)",
            "Created-By: Packages",
        ]
    )
    lines = sorted({line for line in listed.splitlines() if f" {release}" in line})
    if not lines:
        raise RigError(
            f"this machine's package sources have no {release}.",
            hint="Build on a Debian 12, or with its sources in /etc/apt.",
        )
    return "\n".join(lines) + "\n"
