"""`BlockDisk`: a disk of the board's own for the agent's spool, which can be full, and read-only while files on it are open.

It is a real file system on a real block device, so what was flushed to it outlives a power cut. It becomes read-only by the kernel's
emergency remount (SysRq u), as file systems do when a card fails; every other one is made writable again at once.
It is mounted without delayed allocation: with it ext4 takes what is written to open files then, and loses it without a word.

Source: Linux, Documentation/admin-guide/sysrq.rst.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.drivers.openssh import last_line
from hil.errors import RigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hil.protocols import Shell

_MAKE = """\
set -e
umount "$0" 2>/dev/null || true
mke2fs -q -F -t ext4 -m 0 "$1" "$2"m
mkdir -p "$0"; mount -o nodelalloc "$1" "$0"
"""
_FILL = 'mountpoint -q "$0" && head -c 1G /dev/zero >"$0/filler"; sync; test -s "$0/filler"'
_FREE = 'rm "$0/filler" && sync'
_PROTECT = """\
set -e
echo u >/proc/sysrq-trigger
for try in $(seq 100); do
  if grep -q " $0 ext4 ro" /proc/mounts; then break; fi
  sleep 0.1
done
mount -o remount,rw /
grep -q " $0 ext4 ro" /proc/mounts
"""
_RELEASE = 'mount -o remount,rw "$0"'
_MOUNT_AGAIN = 'if [ -d "$0" ] && ! mountpoint -q "$0"; then mount -o nodelalloc "$1" "$0"; fi'


class BlockDisk:
    """See `Disk` and `WriteProtection`.

    Args:
        shell: The board's, as root.
        device: The block device, all of it.
        folder: Where it is mounted.
    """

    def __init__(self, shell: Shell, device: str, folder: str) -> None:
        self.folder = folder
        self._shell = shell
        self._device = device

    def shrink(self, mebibytes: int) -> Sequence[str]:
        """See `Disk.shrink`: a new file system of that size; nothing has to stand before the command."""
        self._do(_MAKE, "made", self._device, str(mebibytes))
        return ()

    def fill(self) -> None:
        """See `Disk.fill`."""
        self._do(_FILL, "filled")

    def free(self) -> None:
        """See `Disk.free`."""
        self._do(_FREE, "freed")

    def protect(self) -> None:
        """See `WriteProtection.protect`."""
        self._do(_PROTECT, "made read-only")

    def release(self) -> None:
        """See `WriteProtection.release`."""
        self._do(_RELEASE, "made writable")

    def set_up_again(self) -> None:
        """Mount it again after the board was off."""
        self._do(_MOUNT_AGAIN, "mounted", self._device)

    def _do(self, script: str, what: str, *arguments: str) -> None:
        done = self._shell.run(["sh", "-c", script, self.folder, *arguments])
        if done.status != 0:
            raise RigError(
                f"{self.folder}: cannot be {what}: {last_line(done.stderr)}.",
                hint="Was the agent started on it?",
            )
