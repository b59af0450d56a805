"""Debian's packages, from this machine's own sources."""

from __future__ import annotations

from hil.errors import RigError
from hil.virtual.programs import run_here


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
