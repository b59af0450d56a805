"""The ``.ewa`` format from its good side: written reproducibly, read whole, and by any change of its bytes refused."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device_agent.contract.archive import ArtifactArchive, write_archive
from device_agent.contract.digest import digest_of
from device_agent.contract.errors import ArchiveError, DigestMismatchError, EdgewrightError, StorageError
from tests.security.forged_archive import (
    CONTENTS,
    forge,
    manifest_of,
    opened,
    parts_of,
    valid_archive,
)

REPOSITORY = Path(__file__).resolve().parents[2]


# --- a valid archive ---


def test_a_valid_archive_gives_back_every_byte(tmp_path: Path) -> None:
    data = valid_archive()
    archive = opened(tmp_path, data)
    assert archive.digest == digest_of(data)
    assert {name: archive.read(name) for name in CONTENTS} == CONTENTS
    assert archive.payload() == {"payload/model.onnx": CONTENTS["payload/model.onnx"]}
    assert ArtifactArchive.open(archive.path, expected_digest=digest_of(data)).manifest == archive.manifest


def test_the_forger_unspoiled_gives_a_valid_archive() -> None:
    """So that each attack below is refused for its one difference alone."""
    assert forge(parts_of()) == valid_archive()


def test_the_same_members_always_give_the_same_bytes(tmp_path: Path) -> None:
    program = (
        "import sys; from tests.security.forged_archive import valid_archive;"
        "sys.stdout.buffer.write(valid_archive())"
    )
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "TZ": "Asia/Kolkata", "SOURCE_DATE_EPOCH": seed}
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=REPOSITORY, env=environment, capture_output=True, check=True
        )
        assert done.stdout == valid_archive()
    shuffled = io.BytesIO()
    write_archive(shuffled, manifest_of(CONTENTS), dict(reversed(CONTENTS.items())))
    assert shuffled.getvalue() == valid_archive()


def test_any_unzip_program_reads_it(tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(valid_archive())) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["manifest.json", *CONTENTS]
        assert {name: archive.read(name) for name in CONTENTS} == CONTENTS
        assert json.loads(archive.read("manifest.json"))["name"] == "small"


# --- writing ---


def test_writing_members_that_are_not_the_manifests() -> None:
    manifest = manifest_of(CONTENTS)
    with pytest.raises(ArchiveError, match=r"\['evil'\] are not in the manifest"):
        write_archive(io.BytesIO(), manifest, {**CONTENTS, "evil": b""})
    with pytest.raises(ArchiveError, match=r"'plan.json' of the manifest is missing"):
        write_archive(io.BytesIO(), manifest, {k: v for k, v in CONTENTS.items() if k != "plan.json"})
    with pytest.raises(DigestMismatchError, match=r"'plan.json': expected sha256:"):
        write_archive(io.BytesIO(), manifest, {**CONTENTS, "plan.json": CONTENTS["plan.json"][::-1]})


def test_writing_more_members_than_a_reader_takes() -> None:
    contents = {f"m{index}": b"" for index in range(4096)}
    with pytest.raises(ArchiveError, match="at most 4096 members, got 4097"):
        write_archive(io.BytesIO(), manifest_of(contents), contents)
    del contents["m4095"]
    write_archive(io.BytesIO(), manifest_of(contents), contents)


def test_writing_to_a_full_disk() -> None:
    with (
        Path("/dev/full").open("wb", buffering=0) as stream,
        pytest.raises(StorageError, match=r"cannot be written.*Is the disk full\?"),
    ):
        write_archive(stream, manifest_of(CONTENTS), CONTENTS)


def test_reading_a_member_that_is_not_there(tmp_path: Path) -> None:
    archive = opened(tmp_path, valid_archive())
    for name in ("manifest.json", "../a.ewa", "", "evil"):
        with pytest.raises(ArchiveError, match=r"a\.ewa: no member"):
            archive.read(name)


def test_nothing_but_the_archive_is_ever_written(tmp_path: Path) -> None:
    opened(tmp_path, valid_archive()).payload()
    assert list(tmp_path.iterdir()) == [tmp_path / "a.ewa"]


# --- fuzz ---

VALID = valid_archive()
INTERESTING = st.sampled_from([0, 1, 0x7F, 0x80, 0xFF])


def read_all(folder: Path, data: bytes) -> tuple[ArtifactArchive, dict[str, bytes]]:
    archive = opened(folder, data)
    return archive, {name: archive.read(name) for name in CONTENTS}


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_change_of_bytes_is_refused_or_changes_nothing(tmp_path: Path, data: st.DataObject) -> None:
    """Every byte counts: what opens after a change gives the same members, or other bytes under another digest of the file."""
    changed = bytearray(VALID)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(changed) - 1))
        changed[at] = data.draw(INTERESTING | st.integers(0, 255))
    with contextlib.suppress(EdgewrightError):
        archive, read = read_all(tmp_path, bytes(changed))
        assert read == CONTENTS
        assert (archive.digest == digest_of(VALID)) is (bytes(changed) == VALID)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_cut_doubled_and_moved_pieces_are_refused(tmp_path: Path, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(VALID)))
    end = data.draw(st.integers(start, len(VALID)))
    place = data.draw(st.integers(0, len(VALID)))
    piece = VALID[start:end]
    without = VALID[:start] + VALID[end:]
    changed = data.draw(st.sampled_from([without, VALID[:place] + piece + VALID[place:], without + piece]))
    if changed == VALID:
        return
    with pytest.raises(EdgewrightError):
        opened(tmp_path, changed).payload()


def test_every_single_bit_of_the_headers_counts(tmp_path: Path) -> None:
    """All bits of everything but the members' contents: none may be flipped unseen."""
    contents, position = set(), 0
    for part in parts_of():
        start = position + len(part.header(local=True))
        position = start + len(part.data)
        contents.update(range(start, position))
    for at in sorted(set(range(len(VALID))) - contents):
        for bit in range(8):
            changed = bytearray(VALID)
            changed[at] ^= 1 << bit
            with pytest.raises(EdgewrightError):
                read_all(tmp_path, bytes(changed))
