"""Archives that are wrong in exactly one way: every field of every header can be set, nothing is checked."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from device_agent.contract import manifest_codec
from device_agent.contract.archive import ArtifactArchive, member_of, write_archive
from device_agent.contract.digest import digest_of
from device_agent.contract.manifest import Manifest, Member, PayloadTensor, Requires, Tolerance

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

CONTENTS = {"payload/model.onnx": b"model" * 20, "plan.json": b'{"plan": 1}', "empty.bin": b""}


def manifest_of(contents: dict[str, bytes], **changes: Any) -> Manifest:
    """A manifest that names ``contents``, the first of them as payload."""
    first, *others = [member_of(name, data) for name, data in contents.items()]
    tensor = PayloadTensor(
        name="x",
        shape=(1, 4),
        dtype="float32",
        scale=None,
        zero_point=None,
        source_name="x",
        source_axes=(0, 1),
    )
    manifest = Manifest(
        name="small",
        version="1.0.0",
        target="x86_64-onnxruntime",
        profile_digest=digest_of(b"profile"),
        model_digest=digest_of(b"model"),
        data_digest=digest_of(b"data"),
        format="onnx_qdq",
        requires=Requires(
            target="x86_64-onnxruntime",
            engine="onnx",
            engine_min_versions={"onnxruntime": "1.18"},
            agent_min_version="0.1",
        ),
        payload=(first,),
        members=tuple(others),
        inputs=(tensor,),
        outputs=(replace(tensor, name="y", source_name="y"),),
        preprocessing=None,
        golden=(),
        tolerance=Tolerance(max_lsb=1, min_share_within_one=0.99, absolute=0.001),
        verdict="pass",
        made_with={"edgewright": "0.1.0"},
    )
    return replace(manifest, **changes)


def valid_archive(contents: dict[str, bytes] | None = None) -> bytes:
    contents = CONTENTS if contents is None else contents
    stream = io.BytesIO()
    write_archive(stream, manifest_of(contents), contents)
    return stream.getvalue()


def forged_member(name: str, size_bytes: int = 0, data: bytes = b"") -> Member:
    return Member(name=name, size_bytes=size_bytes, digest=digest_of(data))


@dataclass(kw_only=True)
class Part:
    """One member: what its headers say. ``local`` and ``central`` override fields in one of the two alone."""

    name: bytes
    data: bytes
    flags: int = 0
    method: int = 0
    crc32: int | None = None
    stored: int | None = None
    size: int | None = None
    mode: int = 0o100644
    extra: bytes = b""
    comment: bytes = b""
    date: int = 33
    needed: int = 20
    offset: int | None = None
    local: dict[str, Any] = field(default_factory=dict)
    central: dict[str, Any] = field(default_factory=dict)

    def header(self, *, local: bool, offset: int = 0) -> bytes:
        part = replace(self, **(self.local if local else self.central))
        crc32 = zlib.crc32(part.data) if part.crc32 is None else part.crc32
        stored = len(part.data) if part.stored is None else part.stored
        size = len(part.data) if part.size is None else part.size
        head = (
            part.needed,
            part.flags,
            part.method,
            0,
            part.date,
            crc32,
            stored,
            size,
            len(part.name),
            len(part.extra),
        )
        if local:
            return struct.pack("<4s5H3I2H", b"PK\x03\x04", *head) + part.name + part.extra
        behind = (len(part.comment), 0, 0, part.mode << 16, offset if part.offset is None else part.offset)
        packed = struct.pack("<4s6H3I5H2I", b"PK\x01\x02", (3 << 8) | 20, *head, *behind)
        return packed + part.name + part.extra + part.comment


@dataclass(kw_only=True)
class End:
    """The end record: None means the truth."""

    count: int | None = None
    count_here: int | None = None
    size: int | None = None
    offset: int | None = None
    disk: int = 0
    comment: bytes = b""


def forge(
    parts: Iterable[Part], *, end: End | None = None, gap: bytes = b"", before_end: bytes = b""
) -> bytes:
    """Write parts one after another, then the directory; ``gap`` stands before the directory."""
    end, body, directory, count = end or End(), b"", b"", 0
    for part in parts:
        directory += part.header(local=False, offset=len(body))
        body += part.header(local=True) + part.data
        count += 1
    body += gap
    record = struct.pack(
        "<4s4H2IH",
        b"PK\x05\x06",
        end.disk,
        end.disk,
        count if end.count_here is None else end.count_here,
        count if end.count is None else end.count,
        len(directory) if end.size is None else end.size,
        len(body) if end.offset is None else end.offset,
        len(end.comment),
    )
    return body + directory + before_end + record + end.comment


def parts_of(contents: dict[str, bytes] | None = None, manifest: bytes | None = None) -> list[Part]:
    """The parts of a valid archive, to be spoiled."""
    contents = CONTENTS if contents is None else contents
    data = manifest_codec.encode(manifest_of(contents)) if manifest is None else manifest
    files = {"manifest.json": data, **contents}
    return [Part(name=name.encode(), data=content) for name, content in files.items()]


def opened(folder: Path, data: bytes) -> ArtifactArchive:
    path = folder / "a.ewa"
    path.write_bytes(data)
    return ArtifactArchive.open(path)
