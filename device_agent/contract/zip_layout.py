"""The one zip layout of an ``.ewa`` file, byte for byte: stored members, no gaps, no comments, fixed time, mode.

Any unzip program reads it, but we read only this: headers are compared with the ones that we would have
written, and what differs is named. So nothing is left for two readers to understand differently, and a
member's size is known before a byte of it is touched.

Source: PKWARE APPNOTE 6.3.10, sections 4.3.7 (local header), 4.3.12 (central directory), 4.3.16 (end
record), 4.4.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from device_agent.contract.errors import ArchiveError

LOCAL = struct.Struct("<4s5H3I2H")
CENTRAL = struct.Struct("<4s6H3I5H2I")
END = struct.Struct("<4s4H2IH")
LOCAL_SIGNATURE = b"PK\x03\x04"
CENTRAL_SIGNATURE = b"PK\x01\x02"
END_SIGNATURE = b"PK\x05\x06"

MAX_ARCHIVE_BYTES = (1 << 31) - 1
"""Largest archive: no zip64, and offsets that every reader takes."""

_VERSION_NEEDED = 20
_MADE_BY_UNIX = (3 << 8) | _VERSION_NEEDED
_DATE_1980_01_01 = (1 << 5) | 1
_REGULAR_FILE_0644 = 0o100644 << 16
_FLAG_ENCRYPTED = 0x0001
_FILE_TYPE_MASK = 0o170000
_REGULAR_FILE = 0o100000


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One member as its headers describe it; ``offset`` is that of its local header."""

    name: str
    size_bytes: int
    crc32: int
    offset: int

    @property
    def start(self) -> int:
        """Offset of the member's first byte."""
        return self.offset + LOCAL.size + len(self.name)

    @property
    def end(self) -> int:
        """Offset behind the member's last byte."""
        return self.start + self.size_bytes


def local_header(entry: Entry) -> bytes:
    """Write a local header with its name."""
    name = entry.name.encode("ascii")
    sizes = (entry.crc32, entry.size_bytes, entry.size_bytes)
    head = (_VERSION_NEEDED, 0, 0, 0, _DATE_1980_01_01)
    return LOCAL.pack(LOCAL_SIGNATURE, *head, *sizes, len(name), 0) + name


def central_header(entry: Entry) -> bytes:
    """Write a central directory header with its name."""
    name = entry.name.encode("ascii")
    sizes = (entry.crc32, entry.size_bytes, entry.size_bytes)
    lengths = (len(name), 0, 0, 0, 0)
    head = (_MADE_BY_UNIX, _VERSION_NEEDED, 0, 0, 0, _DATE_1980_01_01)
    return CENTRAL.pack(CENTRAL_SIGNATURE, *head, *sizes, *lengths, _REGULAR_FILE_0644, entry.offset) + name


def end_record(*, count: int, directory_size: int, directory_offset: int) -> bytes:
    """Write the end record."""
    return END.pack(END_SIGNATURE, 0, 0, count, count, directory_size, directory_offset, 0)


def read_local_header(data: bytes, *, offset: int, where: str) -> Entry:
    """Read the local header at the beginning of ``data``, which stands at ``offset`` of the file.

    Raises:
        ArchiveError: It is none, or not as `local_header` writes it.
    """
    if len(data) < LOCAL.size or data[:4] != LOCAL_SIGNATURE:
        raise ArchiveError(f"{where}: expected a member's header at byte {offset}, got {data[:4]!r}.")
    _, _, flags, method, _, _, crc32, stored, size, name_length, _ = LOCAL.unpack_from(data)
    name = _checked_name(data[LOCAL.size : LOCAL.size + name_length], where=where)
    _require_plain(name, flags=flags, method=method, stored=stored, size=size, where=where)
    entry = Entry(name=name, size_bytes=size, crc32=crc32, offset=offset)
    if not data.startswith(local_header(entry)):
        raise ArchiveError(f"{where}: member {name!r}: its header has extra fields, a time or a version.")
    return entry


def read_central_directory(data: bytes, *, count: int, where: str) -> list[Entry]:
    """Read a central directory of exactly ``count`` headers.

    Raises:
        ArchiveError: It is none, or not as `central_header` writes it.
    """
    entries: list[Entry] = []
    position = 0
    for _ in range(count):
        if len(data) < position + CENTRAL.size or not data.startswith(CENTRAL_SIGNATURE, position):
            raise ArchiveError(f"{where}: the central directory is cut or damaged.")
        entry, length = _read_central_header(data, position, where=where)
        entries.append(entry)
        position += length
    if position != len(data):
        raise ArchiveError(f"{where}: the central directory has {len(data) - position} bytes too many.")
    return entries


def _read_central_header(data: bytes, position: int, *, where: str) -> tuple[Entry, int]:
    values = CENTRAL.unpack_from(data, position)
    flags, method, crc32, stored, size = values[3], values[4], values[7], values[8], values[9]
    name_start = position + CENTRAL.size
    name = _checked_name(data[name_start : name_start + values[10]], where=where)
    _require_plain(name, flags=flags, method=method, stored=stored, size=size, where=where)
    file_type = (values[15] >> 16) & _FILE_TYPE_MASK
    if file_type not in (0, _REGULAR_FILE):
        raise ArchiveError(
            f"{where}: member {name!r}: expected a regular file, got type {file_type:#o} (a link?)."
        )
    entry = Entry(name=name, size_bytes=size, crc32=crc32, offset=values[16])
    header = central_header(entry)
    if not data.startswith(header, position):
        raise ArchiveError(
            f"{where}: member {name!r}: its entry has extra fields, a mode, a time or a comment."
        )
    return entry, len(header)


def read_end_record(tail: bytes, *, file_size: int, where: str) -> tuple[int, int, int]:
    """Read the end record, which must be the last bytes of the file.

    Args:
        tail: The last bytes of the file, as many as one likes; more of them make better messages.
        file_size: Size of the file in bytes.
        where: File, for messages.

    Returns:
        Count of members, size of the central directory in bytes, its offset.

    Raises:
        ArchiveError: Cut, with bytes behind it, or not as `end_record` writes it.
    """
    record = tail[-END.size :]
    if len(record) < END.size or not record.startswith(END_SIGNATURE):
        if 0 <= tail.rfind(END_SIGNATURE) <= len(tail) - END.size:
            raise ArchiveError(f"{where}: bytes follow the end of the archive; none may.")
        raise ArchiveError(f"{where}: the archive is cut: its end is missing.", hint="Copy it again.")
    _, _, _, _, count, size, offset, _ = END.unpack(record)
    if record != end_record(count=count, directory_size=size, directory_offset=offset):
        raise ArchiveError(f"{where}: the end record has several disks, zip64 or a comment; none may be.")
    if offset + size + END.size != file_size:
        raise ArchiveError(f"{where}: bytes stand before the archive or between its parts; none may.")
    return count, size, offset


def _checked_name(raw: bytes, *, where: str) -> str:
    """Refuse what no name may be; the manifest's own rules are stricter still."""
    try:
        name = raw.decode("ascii")
    except UnicodeDecodeError:
        raise ArchiveError(f"{where}: member name {raw[:80]!r}: expected ASCII.") from None
    if not name or any(ord(character) < 32 for character in name):
        raise ArchiveError(f"{where}: member name {name[:80]!r}: empty or with control characters.")
    if "\\" in name:
        raise ArchiveError(f"{where}: member name {name[:80]!r}: a backslash is not allowed.")
    if name.startswith("/") or ":" in name:
        raise ArchiveError(f"{where}: member name {name[:80]!r}: expected a relative path.")
    if any(part in ("", ".", "..") for part in name.split("/")):
        raise ArchiveError(f"{where}: member name {name[:80]!r}: empty parts, '.' and '..' are not allowed.")
    return name


def _require_plain(name: str, *, flags: int, method: int, stored: int, size: int, where: str) -> None:
    if flags & _FLAG_ENCRYPTED:
        raise ArchiveError(f"{where}: member {name!r} is encrypted; no member may be.")
    if method != 0 or stored != size:
        raise ArchiveError(f"{where}: member {name!r} is compressed (method {method}); none may be.")
    if flags:
        raise ArchiveError(f"{where}: member {name!r}: expected no flags, got {flags:#06x}.")
