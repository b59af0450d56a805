"""One test an attack on the ``.ewa`` format: each is refused by name, before a byte of the payload is handed out."""

from __future__ import annotations

import io
import json
import os
import struct
import time
import tracemalloc
import zlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from device_agent.contract import manifest_codec, zip_layout
from device_agent.contract.archive import ArchiveLimits, ArtifactArchive, member_of, write_archive
from device_agent.contract.digest import digest_of
from device_agent.contract.errors import (
    ArchiveError,
    ContractError,
    DigestMismatchError,
    EdgewrightError,
    SchemaVersionError,
    StorageError,
)
from device_agent.contract.manifest import MANIFEST_VERSION
from tests.security.forged_archive import (
    CONTENTS,
    End,
    Part,
    forge,
    forged_member,
    manifest_of,
    opened,
    parts_of,
    valid_archive,
)

if TYPE_CHECKING:
    from collections.abc import Callable

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def refused(tmp_path: Path) -> Callable[..., EdgewrightError]:
    """Return a function that opens bytes as an archive, and gives the error, which must have these words and this type."""

    def check(
        data: bytes,
        words: str,
        kind: type[EdgewrightError] = ArchiveError,
        limits: ArchiveLimits | None = None,
    ) -> EdgewrightError:
        path = tmp_path / "a.ewa"
        path.write_bytes(data)
        with pytest.raises(EdgewrightError) as caught:
            ArtifactArchive.open(path, limits=limits)
        assert type(caught.value) is kind, repr(caught.value)
        assert words in str(caught.value)
        assert "a.ewa" in str(caught.value)
        return caught.value

    return check


# --- the file as a whole ---


@pytest.mark.parametrize(
    "data",
    [b"", b"PK", b"x" * 4096, b"\x7fELF" + b"\0" * 200, b"{}"],
    ids=["empty", "2", "text", "elf", "json"],
)
def test_not_a_zip(refused: Callable[..., EdgewrightError], data: bytes) -> None:
    refused(data, "not an .ewa archive")


def test_an_empty_zip(refused: Callable[..., EdgewrightError]) -> None:
    refused(forge([]), "not an .ewa archive")


def test_truncated_at_every_structural_boundary(refused: Callable[..., EdgewrightError]) -> None:
    parts, boundaries, position = parts_of(), [], 0
    for part in parts:
        header = part.header(local=True)
        boundaries += [position, position + 4, position + zip_layout.LOCAL.size, position + len(header)]
        position += len(header) + len(part.data)
    for part in parts:
        header = part.header(local=False)
        boundaries += [position, position + 4, position + zip_layout.CENTRAL.size]
        position += len(header)
    boundaries += [position, position + 4, position + 21]
    data = forge(parts)
    for boundary in sorted(
        {near for at in boundaries for near in (at - 1, at, at + 1) if 0 <= near < len(data)}
    ):
        refused(data[:boundary], "")


@pytest.mark.parametrize("behind", [b"\0", b"PK\x05\x06" + b"\0" * 18, b"x" * 70_000])
def test_bytes_behind_the_archive(refused: Callable[..., EdgewrightError], behind: bytes) -> None:
    refused(valid_archive() + behind, "")


def test_bytes_before_the_archive(refused: Callable[..., EdgewrightError]) -> None:
    """Unzip programs take such a file, a script for one, for an archive."""
    refused(b"#!/bin/sh\nexit\n" + valid_archive(), "bytes stand before the archive")


def test_an_archive_behind_an_archive(refused: Callable[..., EdgewrightError]) -> None:
    """One reader sees the first, another the last."""
    refused(valid_archive() + valid_archive({"payload/evil.onnx": b"evil"}), "")


def test_bytes_between_the_members_and_the_directory(refused: Callable[..., EdgewrightError]) -> None:
    refused(forge(parts_of(), gap=b"hidden"), "expected the central directory at byte")


def test_bytes_between_the_directory_and_the_end(refused: Callable[..., EdgewrightError]) -> None:
    refused(forge(parts_of(), before_end=b"hidden"), "between its parts")


def test_a_comment(refused: Callable[..., EdgewrightError]) -> None:
    refused(forge(parts_of(), end=End(comment=b"hello")), "bytes follow the end")


def test_a_comment_that_hides_another_end(refused: Callable[..., EdgewrightError]) -> None:
    """The end record that a reader from behind finds is the comment's."""
    data = forge(parts_of())
    inner = data[-22:]
    outer = inner[:-2] + struct.pack("<H", 22)
    refused(data[:-22] + outer + inner, "between its parts")


def test_a_file_that_is_larger_than_allowed(refused: Callable[..., EdgewrightError]) -> None:
    data = valid_archive()
    limits = ArchiveLimits(max_archive_bytes=len(data) - 1)
    refused(data, f"expected at most {len(data) - 1} bytes, got {len(data)}", limits=limits)


def test_a_sparse_file_beyond_every_limit_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.ewa"
    with path.open("wb") as stream:
        stream.truncate(1 << 40)
    start = time.thread_time()
    with pytest.raises(ArchiveError, match="expected at most 2147483647 bytes"):
        ArtifactArchive.open(path)
    assert time.thread_time() - start < 1.0, "of the processor, whatever else runs on it"


def test_no_such_file_a_folder_a_pipe_a_device_and_no_name(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be read"):
        ArtifactArchive.open(tmp_path / "absent.ewa")
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(ArchiveError, match="expected a regular file"):
            ArtifactArchive.open(path)
    with pytest.raises(ArchiveError, match="no name that a file can have"):
        ArtifactArchive.open("a\0b")


# --- digests ---


def test_the_digest_is_compared_before_anything_is_parsed(tmp_path: Path) -> None:
    path = tmp_path / "a.ewa"
    path.write_bytes(b"no archive at all")
    with pytest.raises(DigestMismatchError, match=digest_of(b"no archive at all")):
        ArtifactArchive.open(path, expected_digest=digest_of(valid_archive()))


def test_another_valid_archive_is_not_the_one_expected(tmp_path: Path) -> None:
    path = tmp_path / "a.ewa"
    path.write_bytes(valid_archive({"payload/other.onnx": b"other"}))
    with pytest.raises(DigestMismatchError, match="another artifact"):
        ArtifactArchive.open(path, expected_digest=digest_of(valid_archive()))


@pytest.mark.parametrize(
    "digest", ["", "sha256:", "md5:" + "0" * 32, "sha256:" + "0" * 63, "sha256:" + "A" * 64]
)
def test_an_expected_digest_that_is_none(tmp_path: Path, digest: str) -> None:
    path = tmp_path / "a.ewa"
    path.write_bytes(valid_archive())
    with pytest.raises(ContractError, match="expected digest: expected 'sha256:'"):
        ArtifactArchive.open(path, expected_digest=digest)


def test_a_members_bytes_are_not_the_manifests(tmp_path: Path) -> None:
    parts = parts_of()
    parts[1].data = parts[1].data[::-1]
    archive = opened(tmp_path, forge(parts))
    with pytest.raises(DigestMismatchError, match=r"member 'payload/model.onnx': expected sha256:"):
        archive.read("payload/model.onnx")
    with pytest.raises(DigestMismatchError):
        archive.payload()
    assert archive.read("plan.json") == CONTENTS["plan.json"]


def test_a_members_checksum_is_not_its_bytes(tmp_path: Path) -> None:
    parts = parts_of()
    parts[1].crc32 = 1
    with pytest.raises(DigestMismatchError, match="another checksum"):
        opened(tmp_path, forge(parts)).payload()


def test_the_manifests_checksum_is_not_its_bytes(refused: Callable[..., EdgewrightError]) -> None:
    parts = parts_of()
    parts[0].crc32 = 1
    refused(forge(parts), "not those that its header names", DigestMismatchError)


def test_a_member_that_changes_after_it_was_opened(tmp_path: Path) -> None:
    archive = opened(tmp_path, valid_archive())
    archive.path.write_bytes(valid_archive().replace(b"modelmodel", b"MODELmodel"))
    with pytest.raises(DigestMismatchError, match=r"payload/model\.onnx"):
        archive.payload()
    archive.path.write_bytes(valid_archive()[:100])
    with pytest.raises(DigestMismatchError, match="expected 100 bytes, got"):
        archive.payload()
    archive.path.unlink()
    with pytest.raises(StorageError, match="cannot be read"):
        archive.payload()


# --- compression, encryption, sizes ---


def compressed(data: bytes) -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return deflate.compress(data) + deflate.flush()


def test_a_compressed_member(refused: Callable[..., EdgewrightError]) -> None:
    parts = parts_of()
    data = parts[1].data
    packed = compressed(data)
    parts[1] = Part(name=parts[1].name, data=packed, method=8, crc32=zlib.crc32(data), size=len(data))
    refused(forge(parts), "is compressed (method 8)")


def test_a_zip_bomb_costs_neither_time_nor_memory(refused: Callable[..., EdgewrightError]) -> None:
    size = 1 << 30
    block = compressed(bytes(1 << 20))
    parts = parts_of()
    parts[1] = Part(name=parts[1].name, data=block * 1024, method=8, size=size)
    data = forge(parts)
    tracemalloc.start()
    start = time.thread_time()
    refused(data, "is compressed")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert time.thread_time() - start < 2.0, "of the processor, whatever else runs on it"
    assert peak < 8 << 20


def test_the_manifest_compressed(refused: Callable[..., EdgewrightError]) -> None:
    parts = parts_of()
    data = parts[0].data
    parts[0] = Part(
        name=b"manifest.json", data=compressed(data), method=8, crc32=zlib.crc32(data), size=len(data)
    )
    refused(forge(parts), "member 'manifest.json' is compressed")


def test_stored_with_a_size_that_is_another(refused: Callable[..., EdgewrightError]) -> None:
    parts = parts_of()
    parts[1].size = len(parts[1].data) + 1
    refused(forge(parts), "is compressed (method 0)")


@pytest.mark.parametrize("method", [1, 9, 12, 14, 93, 99, 0xFFFF])
def test_every_other_compression_method(refused: Callable[..., EdgewrightError], method: int) -> None:
    parts = parts_of()
    parts[1].method = method
    refused(forge(parts), f"method {method}")


def test_an_encrypted_member(refused: Callable[..., EdgewrightError]) -> None:
    for where in ("local", "central"):
        parts = parts_of()
        setattr(parts[1], where, {"flags": 1})
        refused(forge(parts), "is encrypted")


@pytest.mark.parametrize("bit", range(1, 16))
def test_every_other_flag(refused: Callable[..., EdgewrightError], bit: int) -> None:
    """Among them 0x0008, sizes behind the data, and 0x0800, names in UTF-8."""
    parts = parts_of()
    parts[1].flags = 1 << bit
    refused(forge(parts), "expected no flags")


def test_a_member_larger_than_allowed(refused: Callable[..., EdgewrightError]) -> None:
    limits = ArchiveLimits(max_member_bytes=50)
    refused(valid_archive(), "member 'payload/model.onnx': expected at most 50 bytes, got 100", limits=limits)


def test_a_member_that_claims_to_reach_beyond_the_file(refused: Callable[..., EdgewrightError]) -> None:
    parts = parts_of()
    parts[3].stored = parts[3].size = 0x7FFFFFFF
    refused(forge(parts), "expected the central directory at byte")


def test_a_member_of_another_size_than_the_manifests(refused: Callable[..., EdgewrightError]) -> None:
    parts = parts_of()
    parts[1].data += b"x"
    refused(forge(parts), "expected 100 bytes, got 101", DigestMismatchError)


def test_too_many_members(refused: Callable[..., EdgewrightError]) -> None:
    refused(valid_archive(), "expected at most 3 members, got 4", limits=ArchiveLimits(max_members=3))
    many = parts_of() + [Part(name=f"m{index}".encode(), data=b"") for index in range(5000)]
    refused(forge(many), "expected at most 4096 members, got 5004")


def test_a_directory_that_claims_to_be_huge(refused: Callable[..., EdgewrightError]) -> None:
    data = forge(parts_of())
    offset = 40
    refused(
        data[:-22] + struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 1, 1, len(data) - 22 - offset, offset, 0),
        "larger than 1 members need",
    )


# --- names ---

BAD_NAMES = {
    "absolute": (b"/etc/passwd", "expected a relative path"),
    "drive": (b"C:/windows", "expected a relative path"),
    "unc": (b"//host/share", "expected a relative path"),
    "climbs": (b"../evil", "'.' and '..' are not allowed"),
    "climbs inside": (b"payload/../../evil", "'.' and '..' are not allowed"),
    "dot": (b"./plan.json", "'.' and '..' are not allowed"),
    "empty part": (b"payload//x", "empty parts"),
    "folder": (b"payload/", "empty parts"),
    "backslash": (b"..\\evil", "a backslash is not allowed"),
    "null": (b"plan.json\0.exe", "control characters"),
    "newline": (b"plan\n.json", "control characters"),
    "escape": (b"\x1b[2Jplan", "control characters"),
    "empty": (b"", "empty or with control characters"),
    "not ascii": ("plän.json".encode(), "expected ASCII"),
    "latin": (b"pl\xe4n.json", "expected ASCII"),
}


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("where", ["both", "local", "central"])
def test_a_name_that_leads_elsewhere(refused: Callable[..., EdgewrightError], name: str, where: str) -> None:
    raw, words = BAD_NAMES[name]
    parts = parts_of()
    if where == "both":
        parts[2].name = raw
    elif where == "local" and len(raw) != len(parts[2].name):
        parts[2].local = {"name": raw}
        words = ""  # lengths differ: where the header was looked for, there is none
    else:
        setattr(parts[2], where, {"name": raw})
    refused(forge(parts), words)


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/passwd", "a\\b", "a\0", "-rf", ".hidden", "a/.b", "x" * 201, "MANIFEST.JSON"]
)
def test_a_name_that_leads_elsewhere_in_the_manifest(
    refused: Callable[..., EdgewrightError], name: str
) -> None:
    good = manifest_codec.encode(manifest_of(CONTENTS))
    bad = good.replace(b'"plan.json"', json.dumps(name).encode())
    refused(forge(parts_of(manifest=bad)), "manifest.json: ", ContractError)
    with pytest.raises(ContractError):
        write_archive(io.BytesIO(), manifest_of({**CONTENTS, name: b""}), {**CONTENTS, name: b""})


@pytest.mark.parametrize(
    ("mode", "what"),
    [
        (0o120777, "0o120000"),
        (0o040755, "0o40000"),
        (0o060644, "0o60000"),
        (0o020644, "0o20000"),
        (0o010644, "0o10000"),
    ],
    ids=["symlink", "folder", "block device", "character device", "pipe"],
)
def test_a_member_that_is_no_file(refused: Callable[..., EdgewrightError], mode: int, what: str) -> None:
    parts = parts_of()
    parts[2].mode = mode
    refused(forge(parts), f"expected a regular file, got type {what}")


@pytest.mark.parametrize("mode", [0o104755, 0o102755, 0o101644, 0o100755, 0o100600, 0o644, 0])
def test_special_mode_bits(refused: Callable[..., EdgewrightError], mode: int) -> None:
    """Setuid, setgid, sticky, executable: an archive of ours has 0644 and nothing else."""
    parts = parts_of()
    parts[2].mode = mode
    refused(forge(parts), "a mode")


# --- which members there are ---


def test_two_members_of_one_name(refused: Callable[..., EdgewrightError]) -> None:
    parts = parts_of()
    refused(forge([*parts, Part(name=b"payload/model.onnx", data=b"evil")]), "stand there twice")


def test_two_manifests(refused: Callable[..., EdgewrightError]) -> None:
    parts = parts_of()
    refused(forge([*parts, replace(parts[0])]), "['manifest.json'] stand there twice")


def test_a_member_that_the_manifest_does_not_name(refused: Callable[..., EdgewrightError]) -> None:
    refused(forge([*parts_of(), Part(name=b"evil.bin", data=b"1")]), "['evil.bin'] are not in the manifest")


def test_a_member_of_the_manifest_that_is_missing(refused: Callable[..., EdgewrightError]) -> None:
    refused(forge(parts_of()[:-1]), "['empty.bin'] of the manifest are missing")


def test_members_in_another_order(refused: Callable[..., EdgewrightError]) -> None:
    first, *others = parts_of()
    refused(forge([first, *reversed(others)]), "not stand in the manifest's order")


def test_the_manifest_is_not_first(refused: Callable[..., EdgewrightError]) -> None:
    first, second, *others = parts_of()
    refused(forge([second, first, *others]), "expected manifest.json as first member")


def test_no_manifest(refused: Callable[..., EdgewrightError]) -> None:
    refused(forge(parts_of()[1:]), "expected manifest.json as first member, got 'payload/model.onnx'")


def test_an_oversized_manifest(refused: Callable[..., EdgewrightError]) -> None:
    data = b" " * (manifest_codec.MAX_MANIFEST_BYTES + 1)
    refused(forge(parts_of(manifest=data)), "manifest.json: expected at most 1048576 bytes, got 1048577")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b'{"schema_version": "1.0"}', b"[" * 100_000])
def test_a_manifest_that_is_none(refused: Callable[..., EdgewrightError], data: bytes) -> None:
    refused(forge(parts_of(manifest=data)), "manifest.json: ", ContractError)


def test_a_manifest_of_a_newer_major_version(refused: Callable[..., EdgewrightError]) -> None:
    data = manifest_codec.encode(manifest_of(CONTENTS)).replace(f'"{MANIFEST_VERSION}"'.encode(), b'"2.0"', 1)
    refused(forge(parts_of(manifest=data)), f"2.0 is newer than {MANIFEST_VERSION}", SchemaVersionError)


# --- headers that disagree ---


@pytest.mark.parametrize(
    "change", [{"crc32": 7}, {"name": b"plan.jsoN"}, {"stored": 10, "size": 10}], ids=["crc", "name", "size"]
)
@pytest.mark.parametrize("place", [0, 2])
def test_local_and_central_header_disagree(
    refused: Callable[..., EdgewrightError], change: dict[str, object], place: int
) -> None:
    """Readers that go by one of the two would see another file."""
    parts = parts_of()
    parts[place].central = dict(change)
    refused(forge(parts), "")
    parts[place].central, parts[place].local = {}, dict(change)
    kind = DigestMismatchError if place == 0 and "crc32" in change else ArchiveError
    if place == 0 and "size" in change:
        kind = DigestMismatchError  # the first ten bytes of the manifest have another checksum
    refused(forge(parts), "", kind)


@pytest.mark.parametrize("change", [{"date": 99}, {"needed": 45}, {"needed": 63}, {"extra": b"\x01\0\0\0"}])
@pytest.mark.parametrize("where", ["local", "central"])
def test_headers_with_more_than_they_need(
    refused: Callable[..., EdgewrightError], change: dict[str, object], where: str
) -> None:
    parts = parts_of()
    setattr(parts[2], where, change)
    refused(forge(parts), "")


def test_a_comment_of_a_member(refused: Callable[..., EdgewrightError]) -> None:
    parts = parts_of()
    parts[2].comment = b"hello"
    refused(forge(parts), "a comment")


# --- offsets: overlaps, zip64, several disks ---


def test_members_that_overlap(refused: Callable[..., EdgewrightError]) -> None:
    """The quoted-overlap bomb: many entries, one and the same data."""
    parts = parts_of()
    parts[2].offset = 0
    refused(forge(parts), "member 'plan.json': expected at byte")


def test_a_member_inside_a_member(refused: Callable[..., EdgewrightError]) -> None:
    inner = Part(name=b"plan.json", data=CONTENTS["plan.json"])
    contents = {**CONTENTS, "payload/model.onnx": inner.header(local=True) + inner.data}
    parts = parts_of(contents)
    before = sum(len(part.header(local=True)) + len(part.data) for part in parts[:1])
    parts[2].offset = before + len(parts[1].header(local=True))
    refused(forge(parts), "member 'plan.json': expected at byte")


def test_entries_in_another_order_than_their_members(refused: Callable[..., EdgewrightError]) -> None:
    parts = parts_of()
    offsets = [0]
    for part in parts[:-1]:
        offsets.append(offsets[-1] + len(part.header(local=True)) + len(part.data))
    parts[1].offset, parts[2].offset = offsets[2], offsets[1]
    refused(forge(parts), "expected at byte")


@pytest.mark.parametrize("offset", [0xFFFFFFFF, 0x7FFFFFFF, 1])
def test_an_offset_that_leads_nowhere(refused: Callable[..., EdgewrightError], offset: int) -> None:
    parts = parts_of()
    parts[3].offset = offset
    refused(forge(parts), f"got {offset}")


def test_zip64_sizes(refused: Callable[..., EdgewrightError]) -> None:
    parts = parts_of()
    real = struct.pack("<HHQQ", 1, 16, len(parts[2].data), len(parts[2].data))
    parts[2] = replace(parts[2], stored=0xFFFFFFFF, size=0xFFFFFFFF, extra=real, needed=45)
    refused(forge(parts), "")


def test_zip64_extra_field_beside_true_sizes(refused: Callable[..., EdgewrightError]) -> None:
    parts = parts_of()
    parts[2].extra = struct.pack("<HHQQ", 1, 16, 1 << 40, 1 << 40)
    refused(forge(parts), "extra fields")


def test_zip64_end_record(refused: Callable[..., EdgewrightError]) -> None:
    data = forge(parts_of())
    count, size, offset = struct.unpack("<HII", data[-12:-2])
    record = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, offset)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, len(data) - 22, 1)
    refused(forge(parts_of(), before_end=record + locator), "between its parts")
    end = End(count=0xFFFF, count_here=0xFFFF, size=0xFFFFFFFF, offset=0xFFFFFFFF)
    refused(forge(parts_of(), before_end=record + locator, end=end), "between its parts")


def test_several_disks(refused: Callable[..., EdgewrightError]) -> None:
    refused(forge(parts_of(), end=End(disk=1)), "several disks")
    refused(forge(parts_of(), end=End(count_here=1)), "several disks")


@pytest.mark.parametrize("count", [0, 1, 3, 5, 0xFFFF])
def test_a_count_that_is_not_the_directorys(refused: Callable[..., EdgewrightError], count: int) -> None:
    refused(forge(parts_of(), end=End(count=count, count_here=count)), "")


@pytest.mark.parametrize(
    ("size", "offset"), [(0, None), (None, 0), (1, None), (0xFFFFFFFF, None), (None, 0xFFFFFFFF)]
)
def test_a_directory_that_is_elsewhere(
    refused: Callable[..., EdgewrightError], size: int | None, offset: int | None
) -> None:
    refused(forge(parts_of(), end=End(size=size, offset=offset)), "between its parts")


def test_a_forged_size_in_the_manifest_alone(refused: Callable[..., EdgewrightError]) -> None:
    manifest = manifest_of(CONTENTS)
    members = (forged_member("plan.json", 1 << 52), member_of("empty.bin", b""))
    data = manifest_codec.encode(replace(manifest, members=members))
    refused(forge(parts_of(manifest=data)), f"expected {1 << 52} bytes, got 11", DigestMismatchError)
