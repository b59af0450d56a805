"""`SmallDisk`: a small file system of the agent's own, in name spaces that a user may make, to be filled and freed while it runs.

It is memory, so it goes with the agent's process: a power cut on it loses everything, as a card that dies does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.errors import RigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hil.protocols import Shell

_UNSHARE = ("unshare", "--map-root-user", "--mount")
_MOUNT = 'mount -t tmpfs -o size="$1"m none "$0" && echo $$ > "$0.pid" && shift && exec "$@"'
_FILL = 'head -c 1G /dev/zero > "/proc/$(cat "$0.pid")/root$0/filler"; test -s "/proc/$(cat "$0.pid")/root$0/filler"'
_FREE = 'rm "/proc/$(cat "$0.pid")/root$0/filler"'


class SmallDisk:
    """See `Disk`.

    Args:
        shell: The board's.
        folder: Where the file system is mounted, for the agent alone.
    """

    def __init__(self, shell: Shell, folder: str) -> None:
        self.folder = folder
        self._shell = shell

    @classmethod
    def on(cls, shell: Shell, folder: str) -> SmallDisk | None:
        """Return the driver, or None where the board's kernel lets no user make name spaces."""
        made = shell.run(["mkdir", "-p", folder])
        able = shell.run([*_UNSHARE, "sh", "-c", 'mount -t tmpfs none "$0"', folder])
        return cls(shell, folder) if made.status == able.status == 0 else None

    def shrink(self, mebibytes: int) -> Sequence[str]:
        """See `Disk.shrink`."""
        return (*_UNSHARE, "sh", "-c", _MOUNT, self.folder, str(mebibytes))

    def fill(self) -> None:
        """See `Disk.fill`."""
        self._do(_FILL, "filled")

    def free(self) -> None:
        """See `Disk.free`."""
        self._do(_FREE, "freed")

    def _do(self, script: str, what: str) -> None:
        done = self._shell.run(["sh", "-c", script, self.folder])
        if done.status != 0:
            reason = done.stderr.decode(errors="replace").strip()
            raise RigError(f"{self.folder}: cannot be {what}: {reason}.", hint="Was the agent started on it?")
