"""The file that an action brings: the artifact itself, or the bundle of the operator's that carries it, with the hashes that DDI tells."""

from __future__ import annotations

import hashlib
import re
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from host_tools.errors import StoreError

if TYPE_CHECKING:
    from host_tools.fleet.store.ddi import DdiAction

BUNDLES: Final = "bundles"
"""Folder of the repository with what clients install: ``bundles/NAME.swu`` or ``NAME.raucb`` for ``NAME.ewa``."""
BUNDLE_SUFFIXES: Final = (".swu", ".raucb")
_PLAIN: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
_CHUNK_BYTES: Final = 1 << 20
_REMEMBERED: Final = 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A file as it is downloaded.

    Attributes:
        path: Where it is.
        name: As the device sees it.
        size_bytes: Its length.
        sha1: In hexadecimal, as the others.
        md5: For clients that know no other; neither of the two protects anything.
        sha256: Of a plain artifact: that of the release.
    """

    path: Path
    name: str
    size_bytes: int
    sha1: str
    md5: str
    sha256: str


class Files:
    """Finds and hashes files; each is hashed once, until it changes.

    Args:
        repository: The signed repository's folder.
    """

    def __init__(self, repository: Path) -> None:
        self._repository = repository
        self._known: OrderedDict[tuple[str, int, int], Bundle] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, action: DdiAction) -> Bundle:
        """Return what an action brings.

        Raises:
            StoreError: The file is not there, or is not what the release says.
        """
        path, name = self._path(action)
        try:
            status = path.stat()
        except OSError as error:
            raise StoreError(
                f"action {action.number}: {name} is not in the repository: {error.strerror}.",
                hint="`edgewright release create` signs it into the folder that the server has with --repository.",
            ) from error
        key = (str(path), status.st_mtime_ns, status.st_size)
        with self._lock:
            known = self._known.get(key)
        if known is None:
            known = _hashed(path, name)
            with self._lock:
                self._known[key] = known
                if len(self._known) > _REMEMBERED:
                    self._known.popitem(last=False)
        is_plain = path.suffix not in BUNDLE_SUFFIXES
        if is_plain and (f"sha256:{known.sha256}", known.size_bytes) != (action.digest, action.size_bytes):
            raise StoreError(f"action {action.number}: {name} is not what the release says.")
        return known

    def _path(self, action: DdiAction) -> tuple[Path, str]:
        signed = PurePosixPath(action.path)
        if signed.is_absolute() or not all(_PLAIN.fullmatch(part) for part in signed.parts):
            raise StoreError(f"action {action.number}: the release names no file of a repository.")
        for suffix in BUNDLE_SUFFIXES:
            bundle = self._repository / BUNDLES / f"{signed.stem}{suffix}"
            if bundle.is_file():
                return bundle, bundle.name
        folder = self._repository / "targets" / signed.parent
        return folder / f"{action.digest.partition(':')[2]}.{signed.name}", signed.name


def _hashed(path: Path, name: str) -> Bundle:
    sha1, md5 = hashlib.sha1(usedforsecurity=False), hashlib.md5(usedforsecurity=False)
    sha256, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                size += len(chunk)
                for one in (sha1, md5, sha256):
                    one.update(chunk)
    except OSError as error:
        raise StoreError(f"{name}: cannot be read: {error.strerror}.") from error
    return Bundle(
        path=path,
        name=name,
        size_bytes=size,
        sha1=sha1.hexdigest(),
        md5=md5.hexdigest(),
        sha256=sha256.hexdigest(),
    )
