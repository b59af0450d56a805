"""The folder on a board that a rig makes anew and removes with all that is in it: one that somebody else has filled is refused."""

from __future__ import annotations

import os
import platform
import shlex
from typing import TYPE_CHECKING

from hil.errors import RigError

if TYPE_CHECKING:
    from hil.drivers.openssh import Line, SshFiles

_MARK = ".edgewright-hil"
"""A file in it that names machine and process: a session that was killed leaves its folder behind, and the next one may remove that."""


def require_own(line: Line, folder: str) -> None:
    """Refuse a folder that may not be removed: a slip in a board's file would take somebody's home with it.

    Args:
        line: To the board's shell.
        folder: On the board.

    Raises:
        RigError: It is there, with something in it, and no session has made it, or one of this machine that still runs; or the board does
            not answer.
    """
    name, mark = shlex.quote(folder), shlex.quote(f"{folder}/{_MARK}")
    if line.run(f'test ! -e {name} || test -e {mark} || test -z "$(ls -A {name})"').status != 0:
        raise RigError(
            f"{folder}: has files on the board that are of no session, and all that is in it would be removed.",
            hint="Name a folder of the rig's own as resource.folder; or remove this one yourself.",
        )
    of = line.run(f"cat {mark} 2>/dev/null").stdout.decode(errors="replace").split()
    if len(of) == 2 and of[0] == platform.node() and of[1].isdecimal() and _is_another(int(of[1])):
        raise RigError(
            f"{folder}: is in use on the board by process {of[1]} of this machine.",
            hint="Wait for it, or give each a board's file with a resource.folder of its own; workers of pytest-xdist cannot share a board.",
        )


def _is_another(process: int) -> bool:
    """Say whether a process runs that is not this one."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # of another user
        return True
    return process > 0


def make_anew(files: SshFiles, folder: str) -> None:
    """Remove it with all that is in it, and make it again, as one that may be removed.

    Raises:
        RigError: It cannot be.
    """
    files.remove(folder)
    files.write(f"{folder}/{_MARK}", f"{platform.node()} {os.getpid()}\n".encode())
