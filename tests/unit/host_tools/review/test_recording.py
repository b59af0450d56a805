"""Recordings: back as they were, up to a line that was cut, and told of one that is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from host_tools.errors import InputError, OutputError
from host_tools.review.listener import Delivery
from host_tools.review.recording import open_recording, read_recording, write_delivery
from tests.unit.host_tools.review.telemetry_messages import delivery

SENT = [
    delivery("a/b", b'{"x": 1}'),
    delivery("a/b", bytes(range(256)), retained=True),
    delivery("ä", "\x1b[2J\x9b ö".encode()),
]


def read(path: Path) -> tuple[list[Delivery], list[str]]:
    warnings: list[str] = []
    return list(read_recording(path, warn=warnings.append)), warnings


def record(path: Path, *deliveries: Delivery) -> None:
    with open_recording(path) as recording:
        for one in deliveries:
            recording.write(one)


def test_a_recording_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    record(path, *SENT)
    assert read(path) == (SENT, [])
    assert path.read_bytes().isascii()
    assert b"\x1b" not in path.read_bytes()


def test_a_recording_that_was_cut_anywhere_is_read_up_to_there_and_goes_on(tmp_path: Path) -> None:
    whole = tmp_path / "whole.jsonl"
    record(whole, *SENT)
    data = whole.read_bytes()
    last_line = data.rindex(b"\n", 0, -1) + 1
    path = tmp_path / "cut.jsonl"
    for end in range(last_line + 1, len(data) - 1):
        path.write_bytes(data[:end])
        deliveries, warnings = read(path)
        assert deliveries == SENT[:2]
        assert len(warnings) == 1
        assert "cut.jsonl:3" in warnings[0]
        record(path, SENT[0])
        assert read(path) == ([*SENT[:2], SENT[0]], warnings)


def test_a_cut_inside_a_character_is_a_cut(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    path.write_bytes('{"received": 1.0, "topic": "a", "payload": "ö'.encode()[:-1])
    assert read(path)[0] == []


@pytest.mark.parametrize(
    "line",
    [
        "not json",
        "[1]",
        '{"topic": 1, "payload": "x", "received": 1}',
        '{"topic": "a", "received": 1}',
        '{"topic": "a", "payload_base64": "%", "received": 1}',
        '{"topic": "a", "payload": "", "received": NaN}',
        '{"topic": "a", "payload": "", "received": 1e300}',
    ],
)
def test_a_wrong_line_is_named_by_number(tmp_path: Path, line: str) -> None:
    path = tmp_path / "record.jsonl"
    path.write_text(json.dumps({"topic": "a", "payload": "", "received": 1}) + "\n" + line + "\n")
    with pytest.raises(InputError, match=r"record\.jsonl:2: "):
        read(path)


def test_a_missing_recording_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the recording"):
        read(tmp_path / "none.jsonl")


def test_what_is_too_long_for_telemetry_is_counted_and_not_recorded(tmp_path: Path) -> None:
    with open_recording(tmp_path / "r.jsonl") as recording:
        recording.write(delivery("a", bytes((1 << 20) + 1)))
        recording.write(delivery("a", bytes(1 << 20)))
        assert recording.left_out == 1
    assert [len(one.payload) for one in read(tmp_path / "r.jsonl")[0]] == [1 << 20]


def test_a_full_disk_is_our_error() -> None:
    with (
        pytest.raises(OutputError, match="No space left"),
        open_recording(Path("/dev/full")) as recording,
    ):
        recording.write(SENT[0])


def test_a_folder_is_no_recording(tmp_path: Path) -> None:
    with pytest.raises(OutputError), open_recording(tmp_path):
        pass


def test_lines_are_written_one_by_one(tmp_path: Path) -> None:
    with (tmp_path / "r").open("w") as stream:
        write_delivery(stream, SENT[0])
    assert (tmp_path / "r").read_text().count("\n") == 1
