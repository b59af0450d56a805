"""`KeyRing`: private ed25519 keys, one PEM file each, readable by their owner alone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner

from device_agent.durable import write_durably
from host_tools.errors import InputError, OutputError

if TYPE_CHECKING:
    from pathlib import Path

_FILE: Final = re.compile(r"(?P<role>[A-Za-z0-9._-]+)-(?P<number>[0-9]+)\.pem")


class KeyRing:
    """A folder of keys named ``ROLE-NUMBER.pem``.

    Args:
        folder: Made when a key is.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def make(self, role: str, count: int) -> list[CryptoSigner]:
        """Make keys for a role, numbered after those that it has.

        Raises:
            OutputError: They cannot be written.
        """
        taken = max((number for number, _ in self._files(role)), default=0)
        return [self._make(self._folder / f"{role}-{taken + one}.pem") for one in range(1, count + 1)]

    def of(self, role: str) -> list[CryptoSigner]:
        """Return a role's keys, oldest first; empty when there are none here.

        Raises:
            InputError: A file is no ed25519 key, or cannot be read.
        """
        return [_read(path) for _, path in sorted(self._files(role))]

    def _files(self, role: str) -> list[tuple[int, Path]]:
        found = []
        for path in self._folder.glob("*.pem") if self._folder.is_dir() else ():
            match = _FILE.fullmatch(path.name)
            if match is not None and match["role"] == role:
                found.append((int(match["number"]), path))
        return found

    def _make(self, path: Path) -> CryptoSigner:
        signer = CryptoSigner.generate_ed25519()
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_durably(path, signer.private_bytes, mode=0o600)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror or error}.") from error
        return signer


def _read(path: Path) -> CryptoSigner:
    try:
        return CryptoSigner(load_pem_private_key(path.read_bytes(), None))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: is no key that can be read: {error}.") from error
