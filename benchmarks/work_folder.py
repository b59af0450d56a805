"""`open_work_folder`: a benchmark's own folder, which it may empty because it made it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_MARK: Final = ".edgewright-benchmarks"


def open_work_folder(folder: Path, *, resume: bool) -> bool:
    """Make a folder, or take one of an earlier run, empty unless that run is to go on.

    Args:
        folder: The folder.
        resume: Whether what is in it stays.

    Returns:
        Whether an earlier run had made it.

    Raises:
        FileExistsError: It holds files that no benchmark made.
        OSError: It cannot be made or emptied.
    """
    is_ours = (folder / _MARK).is_file()
    if is_ours and not resume:
        shutil.rmtree(folder)  # of an earlier run: nothing in it may be measured again
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()) and not is_ours:
        raise FileExistsError(
            f"{folder} holds other files; give --work another folder, absent or of an earlier run"
        )
    (folder / _MARK).touch()
    return is_ours
