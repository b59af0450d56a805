"""`flip_bit`: a block of the board's disk that gives back something else than was written, as flash that wears does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.drivers.openssh import last_line
from hil.errors import RigError
from host_tools.errors import InputError

if TYPE_CHECKING:
    from hil.rig import Rig

_SCRIPT = """
import os, sys
file = os.open(sys.argv[1], os.O_RDWR)
size = os.fstat(file).st_size
place = min(size - 1, int(float(sys.argv[2]) * size))
(byte,) = os.pread(file, 1, place)
os.pwrite(file, bytes([byte ^ 1]), place)
os.fsync(file)
print(place)
"""


def flip_bit(rig: Rig, path: str, *, share: float) -> int:
    """Flip the lowest bit of one byte of a file on the board, in its place: name, length and everything else stay.

    Args:
        rig: Where the file is.
        path: Its path there.
        share: How far into the file: 0 is its first byte, 1 its last.

    Returns:
        The byte's number, from 0.

    Raises:
        InputError: ``share`` is not from 0 to 1.
        RigError: There is no such file, it is empty, or it cannot be written.
    """
    if not 0.0 <= share <= 1.0:
        raise InputError(
            f"flip_bit: share: expected 0 to 1, got {share!r}.", hint="0.5 is the middle of the file."
        )
    done = rig.shell.run([rig.agent_command[0], "-c", _SCRIPT, path, repr(float(share))])
    if done.status != 0:
        raise RigError(f"{path}: no bit of it can be flipped: {last_line(done.stderr)}.")
    return int(done.stdout)
