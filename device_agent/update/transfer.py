"""HTTP downloads that are bounded in length, time and slowness, and go on where they stopped. Standard library only."""

from __future__ import annotations

import http.client
import os
import ssl
from dataclasses import dataclass
from time import monotonic, time
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, quote

from device_agent.contract.errors import DigestMismatchError, StorageError, TransferError
from device_agent.tls import client_context, problem_text
from device_agent.web_address import split_web_address

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from device_agent.tls import TlsFiles
    from device_agent.update.state import Candidate
    from device_agent.update.store import Store

_CHUNK_BYTES: Final = 1 << 16
_RESERVE_BYTES: Final = 4 << 20
"""What a download leaves free: the spool and the state of updates may lie on the same disk, and what came is kept."""


class HttpStatusError(TransferError):
    """The server refuses.

    Attributes:
        status: Its number.
    """

    def __init__(self, url: str, status: int) -> None:
        super().__init__(
            f"{url}: the server answers {status} {http.client.responses.get(status, '')}".rstrip()
        )
        self.status = status


class EndlessDataError(TransferError):
    """More came than was announced or signed."""

    code = "endless_data"


class SlowDataError(TransferError):
    """Too little came in too long a time."""

    code = "slow_data"


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferLimits:
    """Bounds of one download.

    Attributes:
        stall_seconds: Nothing comes for so long.
        min_bytes_per_second: Least mean rate over each ``rate_window_seconds``.
        rate_window_seconds: See there.
    """

    stall_seconds: float
    min_bytes_per_second: float
    rate_window_seconds: float


class HttpSource:
    """Gets files below one URL.

    Args:
        limits: Bounds.
        tls: For ``https``; None: the system's authorities, and no certificate of ours.

    Raises:
        ConfigError: A TLS file cannot be used.
    """

    def __init__(self, limits: TransferLimits, tls: TlsFiles | None) -> None:
        self._limits = limits
        self._context = None if tls is None else client_context(tls, section="update")

    def get(self, url: str, *, start: int = 0) -> Iterator[bytes]:
        """Yield a file's bytes from ``start`` on; a server that knows no ranges gives them all, of which the first are left out.

        Raises:
            HttpStatusError: The server refuses.
            SlowDataError: It is too slow.
            TransferError: It cannot be reached, or stops half way.
        """
        parts = _parts(url)
        connection = self._connection(parts)
        try:
            headers = {"Range": f"bytes={start}-"} if start else {}
            connection.request("GET", quote(parts.path, safe="/%") or "/", headers=headers)
            response = connection.getresponse()
            if response.status not in (200, 206):
                raise HttpStatusError(url, response.status)
            yield from self._body(response, url, skip=start if response.status == 200 else 0)
        except TimeoutError as error:
            raise SlowDataError(f"{url}: nothing came for {self._limits.stall_seconds:g} s.") from error
        except OSError as error:
            told = _told_by_server(connection, error)
            raise TransferError(problem_text(told, peer=url, wall_seconds=time())) from error
        except (http.client.HTTPException, ValueError) as error:
            raise TransferError(f"{url}: {type(error).__name__}: {error}.") from error
        finally:
            connection.close()

    def _body(self, response: http.client.HTTPResponse, url: str, *, skip: int) -> Iterator[bytes]:
        window, began, came = self._limits.rate_window_seconds, monotonic(), 0
        while chunk := response.read1(_CHUNK_BYTES):
            came += len(chunk)
            passed = monotonic() - began
            if passed >= window:
                if came < self._limits.min_bytes_per_second * passed:
                    raise SlowDataError(
                        f"{url}: {came} bytes in {passed:.0f} s; {self._limits.min_bytes_per_second:g} a second are the least."
                    )
                began, came = monotonic(), 0
            left_out = min(skip, len(chunk))
            skip -= left_out
            if left_out < len(chunk):
                yield chunk[left_out:]

    def _connection(self, parts: SplitResult) -> http.client.HTTPConnection:
        host, stall = parts.hostname or "", self._limits.stall_seconds
        if parts.scheme == "https":
            if self._context is None:  # not before it is needed: all the system's authorities are 2 MiB
                self._context = ssl.create_default_context()
            return http.client.HTTPSConnection(host, parts.port, timeout=stall, context=self._context)
        return http.client.HTTPConnection(host, parts.port, timeout=stall)


def _told_by_server(connection: http.client.HTTPConnection, error: OSError) -> OSError:
    """Return why a connection ended: a server that refuses our certificate may be gone before the request is written, and its reason waits."""
    gone = isinstance(error, ssl.SSLEOFError | ConnectionError)
    plain: socket.socket | None = connection.sock
    if gone and plain is not None:
        try:
            plain.recv(1)
        except OSError as told:
            return told
    return error


def fetch_artifact(source: HttpSource, store: Store, candidate: Candidate, *, base_url: str) -> None:
    """Download a candidate into the store, from where an earlier attempt stopped; nothing is done when it is there.

    Raises:
        DigestMismatchError: It came whole, and is not what was signed.
        EndlessDataError: It is longer than was signed.
        TransferError: It did not come whole; what came is kept.
        StorageError: The disk fails, or has no room for it.
    """
    digest, size = candidate.release.digest, candidate.size_bytes
    if store.holds(digest):
        return
    url = target_url(base_url, candidate.path, digest)
    with store.open_part(digest) as part:
        try:
            have = part.seek(0, 2)
            if have > size:
                have = part.seek(0)
                part.truncate()
            _require_room(part.fileno(), size - have)
            for chunk in source.get(url, start=have) if have < size else ():
                if have + len(chunk) > size:
                    part.truncate(0)
                    raise EndlessDataError(f"{url}: more than the {size} signed bytes came.")
                part.write(chunk)
                have += len(chunk)
        except OSError as error:
            raise StorageError(f"the download cannot be written: {error.strerror or error}.") from error
    if have < size:
        raise TransferError(
            f"{url}: {have} of {size} bytes came.", hint="The download goes on at the next attempt."
        )
    try:
        store.finish(digest)
    except DigestMismatchError as error:
        raise DigestMismatchError(f"{url}: {error}") from error


def _require_room(descriptor: int, size_bytes: int) -> None:
    disk = os.fstatvfs(descriptor)
    free = disk.f_bavail * disk.f_frsize
    if size_bytes > 0 and free < size_bytes + _RESERVE_BYTES:
        raise StorageError(
            f"the download needs {size_bytes} bytes, and {_RESERVE_BYTES} are left to others; {free} are free.",
            hint="Free space in update.directory.",
        )


def target_url(base_url: str, path: str, digest: str) -> str:
    """Return where a target lies in a repository with consistent snapshots: its digest stands before its name."""
    folder, slash, name = path.rpartition("/")
    return f"{base_url.rstrip('/')}/targets/{folder}{slash}{digest.partition(':')[2]}.{name}"


def read_bounded(source: HttpSource, url: str, *, most: int) -> bytes:
    """Download a small file whole.

    Raises:
        EndlessDataError: It is longer than ``most`` bytes.
        TransferError: It cannot be had.
    """
    data = bytearray()
    for chunk in source.get(url):
        data += chunk
        if len(data) > most:
            raise EndlessDataError(f"{url}: more than {most} bytes came.")
    return bytes(data)


def _parts(url: str) -> SplitResult:
    try:
        return split_web_address(url)
    except ValueError as error:
        raise TransferError(f"{url!r}: is no URL: {error}.") from error
