"""The kernel's package unpacked, the modules that a board loads, and the small root that finds its disk.

The package is unpacked and not installed: an installation would generate an initial root, which takes minutes under emulation.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from hil.errors import RigError
from hil.virtual.cpio import cpio_archive
from hil.virtual.programs import run_here

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hil.virtual.recipe import Recipe

_FOR_THE_DISK = ("virtio_pci", "virtio_blk", "crc32c_generic", "ext4")
_INIT = """\
#!/bin/busybox sh
export PATH=/bin
busybox mkdir -p /dev /proc /root
busybox mount -t devtmpfs none /dev
for module in $(busybox cat /modules/order); do busybox insmod "/modules/$module"; done
until busybox mount -t ext4 -o rw /dev/vda /root 2>/dev/null; do busybox sleep 0.05; done
busybox mount -o move /dev /root/dev
exec busybox switch_root /root /sbin/init
"""


def install_kernel(unpacked: Path, root: Path, recipe: Recipe) -> tuple[bytes, bytes]:
    """Put the modules that a board loads into its root; return the kernel and its initial root.

    Args:
        unpacked: The kernel's package, unpacked.
        root: The board's root, with ``busybox`` in it.
        recipe: Names the modules.

    Raises:
        RigError: A module, the kernel or ``busybox`` is not there, or there are several kernels.
    """
    version = _version_in(unpacked / "lib/modules")
    run_here(["depmod", "-b", str(unpacked), version])
    folder = unpacked / "lib/modules" / version
    for path in _with_what_they_need(unpacked, version, recipe.modules):
        target = root / "lib/modules" / version / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        shutil.copy2(folder / name, root / "lib/modules" / version / name)
    run_here(["depmod", "-b", str(root), version])
    kernel = unpacked / "boot" / f"{recipe.kernel_image}-{version}"
    busybox = root / "bin/busybox"
    for path in (kernel, busybox):
        if not path.is_file():
            raise RigError(f"{path.name}: is not in the package.")
    first = _with_what_they_need(unpacked, version, _FOR_THE_DISK)
    files = {f"modules/{path.name}": path.read_bytes() for path in first}
    files["modules/order"] = "\n".join(path.name for path in first).encode()
    files |= {"bin/busybox": busybox.read_bytes(), "init": _INIT.encode()}
    return kernel.read_bytes(), cpio_archive(files)


def _version_in(modules: Path) -> str:
    found = sorted(entry.name for entry in modules.iterdir()) if modules.is_dir() else []
    if len(found) != 1:
        raise RigError(
            f"the kernel's package: expected the modules of one kernel, got those of {', '.join(found) or 'none'}.",
            hint="kernel_package of the recipe is what depends on one kernel, such as linux-image-amd64.",
        )
    return found[0]


def _with_what_they_need(unpacked: Path, version: str, modules: Sequence[str]) -> list[Path]:
    """Return the files of modules in the order in which they can be loaded; what is built into the kernel has none."""
    told = run_here(["modprobe", "-a", "-d", str(unpacked), "-S", version, "--show-depends", *modules])
    loaded = [line.split()[1] for line in told.splitlines() if line.startswith("insmod ")]
    return [Path(path) for path in dict.fromkeys(loaded)]
