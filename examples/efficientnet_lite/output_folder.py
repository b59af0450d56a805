"""Write a set of files into a folder so that it is wholly there or plainly unfinished.

The record ``prepared.json`` names the digest of what the files are made from (`key`) and of every file. A
folder is *up to date* when its key is the wanted one and all files have their digests. A new folder appears
by one rename; an existing one is rewritten file by file, each by a rename, with the record marked incomplete
from before the first to after the last.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from device_agent.contract.digest import digest_of, digest_of_file
from host_tools.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Mapping

RECORD_NAME: Final = "prepared.json"


def is_up_to_date(folder: Path, key: str) -> bool:
    """Return whether ``folder`` was wholly written for ``key`` and has not been changed since.

    Args:
        folder: Any path; it need not exist.
        key: Digest of everything that decides the files' content.

    Raises:
        OutputError: A file in the folder cannot be read.
    """
    record = _read_record(folder)
    if record is None or record.get("key") != key or record.get("complete") is not True:
        return False
    files = _written(folder)
    try:
        return (
            bool(files)
            and not _strangers(folder, files)
            and all(
                (folder / name).is_file() and digest_of_file(folder / name) == digest
                for name, digest in files.items()
            )
        )
    except OSError as error:
        raise OutputError(f"{folder}: cannot be checked ({error}).", hint="Check its permissions.") from error


def write(folder: Path, key: str, files: Mapping[str, bytes]) -> None:
    """Make ``folder`` hold ``files`` and the record for ``key``; other files at its top level stay.

    Args:
        folder: Absent, empty, or written by this function before.
        key: As in `is_up_to_date`.
        files: Content by relative path with ``/`` between parts.

    Raises:
        OutputError: The folder is someone else's, its image folders hold other files, or the disk refuses.
    """
    try:
        occupied = folder.is_dir() and any(folder.iterdir())
        if occupied and _read_record(folder) is None:
            raise OutputError(
                f"{folder}: is not empty and has no {RECORD_NAME}, so it was not made here.",
                hint="Choose another --out, or empty it.",
            )
        outdated = _outdated(folder, files)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as private:
            staging = Path(private) / "content"  # a folder of its own, because the temporary one is mode 0700
            _fill(staging, key, files)
            if occupied:
                _replace_each(staging, folder, key, files)
                for name in outdated:
                    (folder / name).unlink()
            else:
                staging.replace(folder)
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be written ({error}).", hint="Check free space and permissions."
        ) from error


def _outdated(folder: Path, files: Mapping[str, bytes]) -> list[str]:
    """Return files beside the images that an earlier version wrote and this one does not.

    Raises:
        OutputError: There is one that was never written here.
    """
    written, outdated = _written(folder), _strangers(folder, files)
    for name in outdated:
        if name not in written:
            raise OutputError(
                f"{folder}: {name} was not made here, and every image in that folder would be used.",
                hint="Move it away.",
            )
    return outdated


def _fill(staging: Path, key: str, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        path = staging / name
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_durably(path, data)
    _write_durably(staging / RECORD_NAME, _record(key, _digests(files), complete=True))


def _replace_each(staging: Path, folder: Path, key: str, files: Mapping[str, bytes]) -> None:
    unfinished = staging / f"{RECORD_NAME}.unfinished"
    both = {**_written(folder), **_digests(files)}  # the next run must know the old files for ours, too
    _write_durably(unfinished, _record(key, both, complete=False))
    unfinished.replace(folder / RECORD_NAME)
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (staging / name).replace(folder / name)
    (staging / RECORD_NAME).replace(folder / RECORD_NAME)


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _digests(files: Mapping[str, bytes]) -> dict[str, object]:
    return {name: digest_of(data) for name, data in sorted(files.items())}


def _record(key: str, digests: Mapping[str, object], *, complete: bool) -> bytes:
    return (json.dumps({"complete": complete, "key": key, "files": digests}, indent=2) + "\n").encode()


def _read_record(folder: Path) -> dict[str, object] | None:
    """Return the record, ``{}`` if it is damaged, or ``None`` if there is none."""
    try:
        record = json.loads((folder / RECORD_NAME).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _written(folder: Path) -> dict[str, object]:
    """Return the digests of the files that the record names; empty without one."""
    files = (_read_record(folder) or {}).get("files")
    return files if isinstance(files, dict) else {}


def _strangers(folder: Path, files: Mapping[str, object]) -> list[str]:
    """Return files in the sub-folders of ``files`` that are not among ``files``."""
    parents = {str(PurePosixPath(name).parent) for name in files} - {"."}
    present = (
        path
        for parent in sorted(parents)
        if (folder / parent).is_dir()
        for path in (folder / parent).iterdir()
    )
    return sorted(name for path in present if (name := path.relative_to(folder).as_posix()) not in files)
