"""The ``.ewa`` artifact: `write_archive` and `ArtifactArchive`.

A zip file in one fixed layout (`zip_layout`): ``manifest.json`` first, then the payload, then every other
member, in the manifest's order. The same manifest and members always give the same bytes. It is read in this
order, and every step trusts only what the steps before it have checked:

1. the file is a regular file of legal size;
2. its digest is taken, and compared if the caller expects one: before anything is parsed;
3. the manifest, out of the very bytes that were digested;
4. headers and directory: as we would have written them, and naming the manifest's members in the manifest's
   order;
5. a member, when it is asked for: its size, then its digest, then it is handed out.

Nothing is ever extracted to disk. What the caller must still do: say which digest it expects (who signed it
is the update's business), and parse members with readers that are safe on their own.
"""

from __future__ import annotations

import hashlib
import stat
import zlib
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, BinaryIO

from device_agent.contract import manifest_codec, zip_layout
from device_agent.contract.digest import checked_digest, digest_of, require_digest
from device_agent.contract.errors import ArchiveError, DigestMismatchError, StorageError
from device_agent.contract.manifest import Member
from device_agent.contract.manifest_codec import MANIFEST_NAME, MAX_MANIFEST_BYTES
from device_agent.contract.regular_file import open_regular_file
from device_agent.contract.zip_layout import Entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from device_agent.contract.manifest import Manifest

_CHUNK_BYTES = 1 << 20
_HEAD_BYTES = zip_layout.LOCAL.size + len(MANIFEST_NAME) + MAX_MANIFEST_BYTES
_TAIL_BYTES = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveLimits:
    """What is refused for its size alone.

    Attributes:
        max_archive_bytes: Largest file.
        max_member_bytes: Largest member.
        max_members: Most members, the manifest among them.
    """

    max_archive_bytes: int = zip_layout.MAX_ARCHIVE_BYTES
    max_member_bytes: int = zip_layout.MAX_ARCHIVE_BYTES
    max_members: int = manifest_codec.MAX_MEMBERS


def write_archive(stream: BinaryIO, manifest: Manifest, members: Mapping[str, bytes]) -> None:
    """Write an artifact; the same arguments always give the same bytes.

    Args:
        stream: Where to; written from its position on, never read or sought.
        manifest: Names every member; payload first, golden tensors, plan and report after it.
        members: Member name to bytes; exactly those of the manifest.

    Raises:
        ContractError: The manifest breaks a rule, or ``members`` are not those that it names.
        DigestMismatchError: A member's bytes are not those that the manifest names.
        StorageError: The stream cannot be written.
    """
    declared = [*manifest.payload, *manifest.members]
    surplus = sorted(members.keys() - {member.name for member in declared})
    if surplus:
        raise ArchiveError(f"archive: members {surplus} are not in the manifest.")
    if len(declared) + 1 > manifest_codec.MAX_MEMBERS:
        raise ArchiveError(
            f"archive: expected at most {manifest_codec.MAX_MEMBERS} members, got {len(declared) + 1}."
        )
    contents = {MANIFEST_NAME: manifest_codec.encode(manifest)}
    for member in declared:
        if member.name not in members:
            raise ArchiveError(f"archive: member {member.name!r} of the manifest is missing.")
        _require_member(members[member.name], member, where="archive")
        contents[member.name] = members[member.name]
    entries = _laid_out(contents)
    end = entries[-1].end
    directory = b"".join(zip_layout.central_header(entry) for entry in entries)
    if end + len(directory) + zip_layout.END.size > zip_layout.MAX_ARCHIVE_BYTES:
        raise ArchiveError(f"archive: expected at most {zip_layout.MAX_ARCHIVE_BYTES} bytes, got {end}.")
    tail = zip_layout.end_record(count=len(entries), directory_size=len(directory), directory_offset=end)
    try:
        for entry in entries:
            stream.write(zip_layout.local_header(entry))
            stream.write(contents[entry.name])
        stream.write(directory + tail)
    except OSError as error:
        raise StorageError(f"archive: cannot be written: {error}.", hint="Is the disk full?") from error


class ArtifactArchive:
    """An artifact on disk that has been checked, but for the members' digests: `read` and `check_members` check those.

    Attributes:
        path: The file.
        manifest: Its manifest.
        digest: Digest of the whole file.
    """

    def __init__(self, *, path: Path, manifest: Manifest, digest: str, entries: Mapping[str, Entry]) -> None:
        self.path = path
        self.manifest = manifest
        self.digest = digest
        self._entries = MappingProxyType(dict(entries))
        self._members = {member.name: member for member in (*manifest.payload, *manifest.members)}

    @classmethod
    def open(
        cls, path: Path | str, *, expected_digest: str | None = None, limits: ArchiveLimits | None = None
    ) -> ArtifactArchive:
        """Check an artifact, step by step as the module says.

        Raises:
            DigestMismatchError: The file is not the one that ``expected_digest`` names.
            ArchiveError: It is no ``.ewa`` archive, or beyond ``limits``.
            SchemaVersionError: Its manifest is of a newer major version.
            ContractError: Its manifest breaks a rule, or ``expected_digest`` is no digest.
            StorageError: It cannot be read.
        """
        path, limits = Path(path), limits or ArchiveLimits()
        if expected_digest is not None:
            checked_digest(expected_digest, where="expected digest")
        where = path.name
        try:
            file_size = _checked_size(path, limits)
            with open_regular_file(path) as stream:
                digest, head = _digest_and_head(stream, file_size, where=where)
                if expected_digest is not None and digest != expected_digest:
                    raise DigestMismatchError(
                        f"{where}: expected {expected_digest}, got {digest}.",
                        hint="The file was changed or cut on the way, or is another artifact: copy it again.",
                    )
                first, data = _manifest_bytes(head, where=where)
                manifest = manifest_codec.decode(data, where=f"{where}: {MANIFEST_NAME}")
                entries = _read_directory(stream, file_size, limits, where=where)
                _require_declared(entries, first, manifest, limits, where=where)
                _require_local_headers(stream, entries, where=where)
        except OSError as error:
            raise StorageError(f"{path}: cannot be read: {error.strerror or error}.") from error
        by_name = {entry.name: entry for entry in entries}
        return cls(path=path, manifest=manifest, digest=digest, entries=by_name)

    def read(self, name: str) -> bytes:
        """Return a member's bytes, after size and digest have been checked.

        Raises:
            ArchiveError: The manifest names no such member.
            DigestMismatchError: The bytes are not those that the manifest names.
            StorageError: The file cannot be read.
        """
        member = self._members.get(name)
        if member is None:
            raise ArchiveError(f"{self.path.name}: no member {name!r}.")
        entry = self._entries[name]
        try:
            with open_regular_file(self.path) as stream:
                stream.seek(entry.start)
                data = stream.read(entry.size_bytes)
        except OSError as error:
            raise StorageError(f"{self.path}: cannot be read: {error.strerror or error}.") from error
        _require_member(data, member, where=self.path.name)
        if zlib.crc32(data) != entry.crc32:
            raise DigestMismatchError(f"{self.path.name}: member {name!r}: its header has another checksum.")
        return data

    def check_members(self) -> None:
        """Check size and digest of every member; see `read`. Holds one of them at a time.

        Raises:
            DigestMismatchError: A member's bytes are not those that the manifest names.
            StorageError: The file cannot be read.
        """
        for name in self._members:
            self.read(name)

    def payload(self) -> dict[str, bytes]:
        """Return the payload's files by name, main file first; see `read`.

        Raises:
            DigestMismatchError: A file's bytes are not those that the manifest names.
            StorageError: The file cannot be read.
        """
        return {member.name: self.read(member.name) for member in self.manifest.payload}


def _laid_out(contents: Mapping[str, bytes]) -> list[Entry]:
    entries: list[Entry] = []
    offset = 0
    for name, data in contents.items():
        entries.append(Entry(name=name, size_bytes=len(data), crc32=zlib.crc32(data), offset=offset))
        offset = entries[-1].end
    return entries


def _require_member(data: bytes, member: Member, *, where: str) -> None:
    if len(data) != member.size_bytes:
        expected = f"expected {member.size_bytes} bytes, got {len(data)}"
        raise DigestMismatchError(f"{where}: member {member.name!r}: {expected}.")
    require_digest(data, member.digest, where=f"{where}: member {member.name!r}")


def _checked_size(path: Path, limits: ArchiveLimits) -> int:
    try:
        status = path.stat()
    except ValueError as error:  # a NUL in the name
        raise ArchiveError(f"{str(path)!r}: no name that a file can have: {error}.") from error
    if not stat.S_ISREG(status.st_mode):
        raise ArchiveError(f"{path}: expected a regular file.")
    if status.st_size > limits.max_archive_bytes:
        raise ArchiveError(
            f"{path}: expected at most {limits.max_archive_bytes} bytes, got {status.st_size}."
        )
    return status.st_size


def _digest_and_head(stream: BinaryIO, file_size: int, *, where: str) -> tuple[str, bytes]:
    """Digest the whole stream and keep its head: the manifest is parsed from the bytes that were digested."""
    head = stream.read(_HEAD_BYTES)
    state, length = hashlib.sha256(head), len(head)
    while chunk := stream.read(_CHUNK_BYTES):
        state.update(chunk)
        length += len(chunk)
        if length > file_size:
            break
    if length != file_size:
        raise ArchiveError(f"{where}: the file changed while it was read.")
    return f"sha256:{state.hexdigest()}", head


def _manifest_bytes(head: bytes, *, where: str) -> tuple[Entry, bytes]:
    if not head.startswith(zip_layout.LOCAL_SIGNATURE):
        if zip_layout.LOCAL_SIGNATURE + b"\x14\x00" in head:
            raise ArchiveError(f"{where}: bytes stand before the archive; none may.")
        raise ArchiveError(f"{where}: not an .ewa archive: it does not begin like a zip file.")
    first = zip_layout.read_local_header(head, offset=0, where=where)
    if first.name != MANIFEST_NAME:
        raise ArchiveError(f"{where}: expected {MANIFEST_NAME} as first member, got {first.name!r}.")
    if first.size_bytes > MAX_MANIFEST_BYTES:
        raise ArchiveError(
            f"{where}: {MANIFEST_NAME}: expected at most {MAX_MANIFEST_BYTES} bytes, got {first.size_bytes}."
        )
    data = head[first.start : first.end]
    if len(data) != first.size_bytes:
        raise ArchiveError(f"{where}: the archive is cut inside {MANIFEST_NAME}.", hint="Copy it again.")
    if zlib.crc32(data) != first.crc32:
        raise DigestMismatchError(f"{where}: {MANIFEST_NAME}: its bytes are not those that its header names.")
    return first, data


def _read_directory(stream: BinaryIO, file_size: int, limits: ArchiveLimits, *, where: str) -> list[Entry]:
    stream.seek(max(0, file_size - _TAIL_BYTES))
    tail = stream.read(_TAIL_BYTES)
    count, size, offset = zip_layout.read_end_record(tail, file_size=file_size, where=where)
    if count > limits.max_members:
        raise ArchiveError(f"{where}: expected at most {limits.max_members} members, got {count}.")
    if size > count * (zip_layout.CENTRAL.size + manifest_codec.MAX_NAME):
        raise ArchiveError(f"{where}: the central directory is larger than {count} members need.")
    stream.seek(offset)
    entries = zip_layout.read_central_directory(stream.read(size), count=count, where=where)
    expected = 0
    for entry in entries:
        if entry.offset != expected:
            raise ArchiveError(
                f"{where}: member {entry.name!r}: expected at byte {expected}, got {entry.offset}."
            )
        expected = entry.end
    if expected != offset:
        raise ArchiveError(f"{where}: expected the central directory at byte {expected}, got {offset}.")
    return entries


def _require_declared(
    entries: Iterable[Entry], first: Entry, manifest: Manifest, limits: ArchiveLimits, *, where: str
) -> None:
    """Check that the directory names the manifest's members, all of them, once, in order, in their sizes."""
    entries = list(entries)
    names = [entry.name for entry in entries]
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) != len(names) else []
    if twice:
        raise ArchiveError(f"{where}: members {twice[:3]} stand there twice.")
    if not entries or entries[0] != first:
        raise ArchiveError(f"{where}: the directory and the header of {MANIFEST_NAME} disagree.")
    declared = [*manifest.payload, *manifest.members]
    expected = [MANIFEST_NAME, *(member.name for member in declared)]
    surplus, missing = sorted(set(names) - set(expected)), sorted(set(expected) - set(names))
    if surplus:
        raise ArchiveError(f"{where}: members {surplus[:3]} are not in the manifest.")
    if missing:
        raise ArchiveError(f"{where}: members {missing[:3]} of the manifest are missing.")
    if names != expected:
        raise ArchiveError(f"{where}: members do not stand in the manifest's order.")
    for entry, member in zip(entries[1:], declared, strict=True):
        at, size = f"{where}: member {entry.name!r}", entry.size_bytes
        if size > limits.max_member_bytes:
            raise ArchiveError(f"{at}: expected at most {limits.max_member_bytes} bytes, got {size}.")
        if size != member.size_bytes:
            raise DigestMismatchError(f"{at}: expected {member.size_bytes} bytes, got {size}.")


def _require_local_headers(stream: BinaryIO, entries: Iterable[Entry], *, where: str) -> None:
    for entry in entries:
        stream.seek(entry.offset)
        data = stream.read(entry.start - entry.offset)
        if data != zip_layout.local_header(entry):
            zip_layout.read_local_header(data, offset=entry.offset, where=where)  # says what is wrong with it
            raise ArchiveError(f"{where}: the directory and the header of {entry.name!r} disagree.")


def member_of(name: str, data: bytes) -> Member:
    """Return the manifest's entry for ``data``."""
    return Member(name=name, size_bytes=len(data), digest=digest_of(data))
