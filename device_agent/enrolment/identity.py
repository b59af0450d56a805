"""`IdentityFolder`: the device's key and certificate on disk. Whoever reads finds one whole generation, or none.

::

    identity/
        current -> 5f0c…          the generation in use: a link, moved in one step
        5f0c…/                    named by the certificate's serial number
            device.key  device.crt  ca.crt  identity.json
        pending.key               the key of a request under way: kept, so that asking again gets the same certificate
        lock                      held while one of the two commands writes

Every file is written under another name, brought to the disk, and then renamed. What others keep in the folder is left alone.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Final

from device_agent.contract.claim_token import split_url
from device_agent.contract.digest import checked_digest
from device_agent.contract.document import read_document, write_document
from device_agent.contract.errors import ConfigError, ContractError, StorageError, TrustError
from device_agent.contract.fields import Fields
from device_agent.contract.regular_file import read_regular_file
from device_agent.contract.topics import checked_device_id
from device_agent.durable import sync_folder, write_durably
from device_agent.tls import TlsFiles

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA_VERSION: Final = "1.0"
_CURRENT: Final = "current"
_PENDING_KEY: Final = "pending.key"
_LOCK: Final = "lock"
_ABOUT: Final = "identity.json"
_PARTIAL: Final = ".new-"
_GENERATION: Final = re.compile(r"[0-9a-f]{1,64}")
_GENERATION_FILES: Final = frozenset({"device.key", "device.crt", "ca.crt", _ABOUT})
_MAX_FILE_BYTES: Final = 1 << 16
_LATEST_SECONDS: Final = 253_402_300_799.0
_NOT_OURS: Final = frozenset({errno.ELOOP, errno.EINVAL, errno.EISDIR, errno.ENOTDIR})
"""What reading gives where links lead in a circle, or what lies there is no file: nothing that this module writes."""
_ENROL_ANEW: Final = "Enrol anew: edgewright-agent enrol --replace with a new token."


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a generation says of itself.

    Attributes:
        device: The device's id, the common name of its certificate.
        url: The authority's address.
        authority: Digest of the authority's certificate.
        claim: Digest of the token that it was enrolled with; renewals keep it.
        serial: The certificate's serial number, lower hexadecimal.
        not_before_seconds: Unix time from which the certificate is valid.
        not_after_seconds: Unix time until which it is.
    """

    device: str
    url: str
    authority: str
    claim: str
    serial: str
    not_before_seconds: float
    not_after_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A generation's files, PEM."""

    key: bytes
    certificate: bytes
    authority: bytes

    def __repr__(self) -> str:
        return "Credentials(…)"


class IdentityFolder:
    """The folder.

    Every method that touches the disk raises `StorageError` when it cannot.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def current(self) -> Identity | None:
        """Return what is in use, or None where this device was never enrolled.

        Raises:
            TrustError: What is there was not written by this module, or was changed since.
        """
        where = self.path / _CURRENT / _ABOUT
        try:
            data = read_regular_file(where, most_bytes=_MAX_FILE_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in _NOT_OURS:
                raise TrustError(f"{where}: {error.strerror}.", hint=_ENROL_ANEW) from error
            raise _storage(where, error) from error
        try:
            return _decoded(data, str(where))
        except ContractError as error:
            raise TrustError(f"{error}", hint=_ENROL_ANEW) from error

    def required(self, device: str) -> Identity:
        """Return what is in use, if it is this device's.

        Raises:
            ConfigError: This device was never enrolled.
            TrustError: It is another device's, or damaged.
        """
        identity = self.current()
        if identity is None:
            raise ConfigError(
                f"identity.folder: {self.path}: this device has no certificate yet.",
                hint="Get a claim token from the fleet's operator and run edgewright-agent enrol.",
            )
        if identity.device != device:
            raise TrustError(
                f"identity.folder: {self.path}: the certificate is of device {identity.device!r}; device.id is {device!r}.",
                hint="Was the disk of another device copied? Enrol this one: edgewright-agent enrol --replace.",
            )
        return identity

    def tls_files(self, *, ca: Path | None = None, server_name: str | None = None) -> TlsFiles:
        """Return the files for mutual TLS; by way of the link, so that whoever opens them anew gets the renewed ones.

        Args:
            ca: Authorities of the server, where it is not certified by this fleet's own.
            server_name: See `TlsFiles`.
        """
        current = self.path / _CURRENT
        return TlsFiles(
            ca=ca or current / "ca.crt",
            cert=current / "device.crt",
            key=current / "device.key",
            server_name=server_name,
        )

    def credentials(self) -> Credentials:
        """Read the current generation's files."""
        folder = self._in_use()
        return Credentials(
            key=self._read(folder / "device.key"),
            certificate=self._read(folder / "device.crt"),
            authority=self._read(folder / "ca.crt"),
        )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder, made if need be with access for nobody else.

        Raises:
            StorageError: Another command holds it, or it cannot be made.
        """
        lock = self.path / _LOCK
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _storage(self.path, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise StorageError(
                f"{self.path}: another enrolment or renewal is at work here.", hint="Wait for it to end."
            ) from error
        try:
            yield
        finally:
            os.close(descriptor)

    def pending_key(self) -> bytes | None:
        """Return the key of a request that was interrupted, if there is one."""
        try:
            return self._read(self.path / _PENDING_KEY)
        except StorageError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise

    def keep_pending_key(self, key: bytes) -> None:
        """Bring the key to the disk before anybody is asked to certify it."""
        self._write(self.path / _PENDING_KEY, key, mode=0o600)

    def install(self, identity: Identity, credentials: Credentials) -> None:
        """Make a generation and let `current` lead to it, then sweep. Until that one step the old one is current."""
        target = self.path / identity.serial
        try:
            if not target.exists():
                self._make_generation(target, identity, credentials)
            link = self.path / f"{_PARTIAL}link"
            link.unlink(missing_ok=True)
            link.symlink_to(identity.serial)
            link.replace(self.path / _CURRENT)
            sync_folder(self.path)
        except OSError as error:
            raise _storage(self.path, error) from error
        self.sweep()

    def sweep(self) -> None:
        """Remove what was written here and is not in use: older generations, what is half written, a pending key that has been certified."""
        try:
            in_use = self._in_use()
            pending = self.path / _PENDING_KEY
            if pending.exists() and self._read(pending) == self._read(in_use / "device.key"):
                pending.unlink()
            for entry in self.path.iterdir():
                # By name: `in_use` is resolved, and the folder may have been given through a link or with `..`.
                if entry.name == in_use.name or not _is_written_here(entry):
                    continue
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()
        except OSError as error:
            raise _storage(self.path, error) from error

    def _make_generation(self, target: Path, identity: Identity, credentials: Credentials) -> None:
        made = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=self.path))  # mode 0700
        self._write(made / "device.key", credentials.key, mode=0o600)
        self._write(made / "device.crt", credentials.certificate, mode=0o644)
        self._write(made / "ca.crt", credentials.authority, mode=0o644)
        self._write(made / _ABOUT, _encoded(identity), mode=0o644)
        made.replace(target)

    def _in_use(self) -> Path:
        """Return the folder of the current generation; `Path.resolve` fails in a circle of links, with an error of no file."""
        return Path(os.path.realpath(self.path / _CURRENT))

    def _read(self, path: Path) -> bytes:
        try:
            return read_regular_file(path, most_bytes=_MAX_FILE_BYTES)
        except OSError as error:
            raise _storage(path, error) from error

    def _write(self, path: Path, data: bytes, *, mode: int) -> None:
        try:
            write_durably(path, data, mode=mode)
        except OSError as error:
            raise _storage(path, error) from error


def _is_written_here(entry: Path) -> bool:
    """Whether this is a generation or half of something. `identity.folder` may be a folder that holds much else, such as agent.toml's own."""
    if entry.name.startswith(_PARTIAL) or entry.name == f"{_PENDING_KEY}.new":
        return True
    if not _GENERATION.fullmatch(entry.name) or entry.is_symlink() or not entry.is_dir():
        return False
    return _GENERATION_FILES.issuperset(inner.name for inner in entry.iterdir())


def utc_text(seconds: float) -> str:
    """Return a Unix time as people read it, e.g. ``2026-11-26 21:29:21+00:00``."""
    return datetime.fromtimestamp(seconds, tz=timezone.utc).isoformat(" ", "seconds")


def _encoded(identity: Identity) -> bytes:
    return write_document(
        {
            "schema_version": SCHEMA_VERSION,
            "device": identity.device,
            "url": identity.url,
            "authority": identity.authority,
            "claim": identity.claim,
            "serial": identity.serial,
            "not_before_seconds": identity.not_before_seconds,
            "not_after_seconds": identity.not_after_seconds,
        },
        where=_ABOUT,
    )


def _decoded(data: bytes, where: str) -> Identity:
    fields = Fields(read_document(data, where=where, max_bytes=_MAX_FILE_BYTES), where=where)
    fields.schema_version(SCHEMA_VERSION)
    url = fields.text("url")
    split_url(url)
    return Identity(
        device=checked_device_id(fields.text("device")),
        url=url,
        authority=checked_digest(fields.text("authority"), where=f"{where}: authority"),
        claim=checked_digest(fields.text("claim"), where=f"{where}: claim"),
        serial=fields.text("serial", longest=64),
        not_before_seconds=fields.number("not_before_seconds", low=0.0, high=_LATEST_SECONDS),
        not_after_seconds=fields.number("not_after_seconds", low=0.0, high=_LATEST_SECONDS),
    )


def _storage(path: Path, error: OSError) -> StorageError:
    hint = {
        errno.EACCES: "Run it as the user whose agent this is, or choose an identity.folder that it may write.",
        errno.EROFS: "Choose an identity.folder on a disk that can be written.",
        errno.ENOSPC: "Free some space and run it again: the token is not lost.",
    }.get(error.errno or 0, "")
    return StorageError(f"{path}: {error.strerror or error}.", hint=hint)
