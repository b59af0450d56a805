"""`Store`: artifacts on disk under their digest. What has a name here was whole when it got it; what is not whole ends in ``.part``."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, BinaryIO, Final

from device_agent.contract.digest import checked_digest, digest_of_file, digest_of_stream
from device_agent.contract.errors import DigestMismatchError, StorageError
from device_agent.contract.regular_file import open_regular_file
from device_agent.durable import sync_folder

if TYPE_CHECKING:
    from pathlib import Path

_CHUNK_BYTES: Final = 1 << 20


class Store:
    """A folder of artifacts.

    Args:
        folder: Made when something is put into it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, digest: str) -> Path:
        """Return where an artifact is, or would be."""
        return self._folder / f"{_hex(digest)}.ewa"

    def holds(self, digest: str) -> bool:
        """Whether the artifact is here; whether it still is whole, its reader finds out."""
        return self.path(digest).is_file()

    def open_part(self, digest: str) -> BinaryIO:
        """Open the unfinished download of an artifact, to be read and continued. No link is followed.

        Raises:
            StorageError: It cannot be opened.
        """
        path = self._part(digest)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, flags, 0o644)
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.close(descriptor)
                raise StorageError(f"{path}: expected a regular file.")
            return os.fdopen(descriptor, "r+b")
        except OSError as error:
            raise StorageError(f"{path}: cannot be opened: {error.strerror or error}.") from error

    def finish(self, digest: str) -> Path:
        """Give a download that is complete its name, if its bytes are those that the digest names; else remove it.

        Raises:
            DigestMismatchError: They are others.
            StorageError: The disk fails.
        """
        part, path = self._part(digest), self.path(digest)
        try:
            with self.open_part(digest) as stream:
                found = digest_of_stream(stream)
                if found != digest:
                    part.unlink()
                    raise DigestMismatchError(f"the download: expected {digest}, got {found}.")
                os.fsync(stream.fileno())
            part.replace(path)
            sync_folder(self._folder)
        except OSError as error:
            raise StorageError(f"{path}: cannot be written: {error.strerror or error}.") from error
        return path

    def take(self, source: Path) -> str:
        """Copy a file into the store and return its digest.

        Raises:
            StorageError: It cannot be read, or the store cannot be written.
            DigestMismatchError: It changed while it was copied.
        """
        try:
            digest = digest_of_file(source)
            if self.holds(digest) and digest_of_file(self.path(digest)) == digest:
                return digest
            with open_regular_file(source) as origin, self.open_part(digest) as copy:
                copy.truncate()
                while chunk := origin.read(_CHUNK_BYTES):
                    copy.write(chunk)
        except OSError as error:
            raise StorageError(
                f"{source}: cannot be copied to {self._folder}: {error.strerror or error}."
            ) from error
        self.finish(digest)
        return digest

    def collect(self, kept: frozenset[str]) -> None:
        """Remove everything but these artifacts and their unfinished downloads.

        Raises:
            StorageError: A file cannot be removed.
        """
        names = {_hex(digest) for digest in kept}
        try:
            found = list(self._folder.iterdir()) if self._folder.is_dir() else []
            for path in found:
                if path.name.partition(".")[0] not in names:
                    path.unlink()
        except OSError as error:
            raise StorageError(f"{self._folder}: cannot be cleaned: {error.strerror or error}.") from error

    def _part(self, digest: str) -> Path:
        return self._folder / f"{_hex(digest)}.part"


def _hex(digest: str) -> str:
    return checked_digest(digest, where="store").partition(":")[2]
