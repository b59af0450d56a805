"""The folder on a board that a rig makes anew and removes with all that is in it: one that somebody else has filled is refused."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from hil.errors import RigError

if TYPE_CHECKING:
    from hil.drivers.openssh import Line, SshFiles

_MARK = ".edgewright-hil"
"""A file in it that says whose it is: a session that was killed leaves its folder behind, and the next one may remove that."""


def require_own(line: Line, folder: str) -> None:
    """Refuse a folder that may not be removed: a slip in a board's file would take somebody's home with it.

    Args:
        line: To the board's shell.
        folder: On the board.

    Raises:
        RigError: It is there, with something in it, and no session has made it; or the board does not answer.
    """
    name, mark = shlex.quote(folder), shlex.quote(f"{folder}/{_MARK}")
    if line.run(f'test ! -e {name} || test -e {mark} || test -z "$(ls -A {name})"').status != 0:
        raise RigError(
            f"{folder}: has files on the board that are of no session, and all that is in it would be removed.",
            hint="Name a folder of the rig's own as resource.folder; or remove this one yourself.",
        )


def make_anew(files: SshFiles, folder: str) -> None:
    """Remove it with all that is in it, and make it again, as one that may be removed.

    Raises:
        RigError: It cannot be.
    """
    files.remove(folder)
    files.write(f"{folder}/{_MARK}", b"")
