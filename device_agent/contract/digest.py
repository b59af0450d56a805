"""Digests: `sha256:` followed by 64 lower-case hexadecimal digits, always over bytes as received."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, BinaryIO

from device_agent.contract.errors import ContractError, DigestMismatchError
from device_agent.contract.regular_file import open_regular_file

if TYPE_CHECKING:
    from pathlib import Path

_PATTERN = re.compile(r"sha256:[0-9a-f]{64}\Z")
_CHUNK_BYTES = 1 << 20


def digest_of(data: bytes) -> str:
    """Return the digest of ``data``."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def digest_of_stream(stream: BinaryIO) -> str:
    """Return the digest of everything from the stream's position to its end, in constant memory."""
    state = hashlib.sha256()
    while chunk := stream.read(_CHUNK_BYTES):
        state.update(chunk)
    return f"sha256:{state.hexdigest()}"


def digest_of_file(path: Path) -> str:
    """Return the digest of a file's bytes.

    Raises:
        OSError: The file cannot be read.
    """
    with open_regular_file(path) as stream:
        return digest_of_stream(stream)


def checked_digest(text: str, *, where: str) -> str:
    """Return ``text`` if it is a digest.

    Raises:
        ContractError: It is not; the message names ``where``.
    """
    if not isinstance(text, str) or not _PATTERN.match(text):
        raise ContractError(
            f"{where}: expected 'sha256:' and 64 lower-case hexadecimal digits, got {str(text)[:80]!r}."
        )
    return text


def require_digest(data: bytes, expected: str, *, where: str) -> None:
    """Check ``data`` against ``expected``.

    Raises:
        DigestMismatchError: They differ.
    """
    found = digest_of(data)
    if found != expected:
        raise DigestMismatchError(
            f"{where}: expected {expected}, got {found}.",
            hint="The bytes were changed or cut on the way: copy the artifact again, or make it anew.",
        )
