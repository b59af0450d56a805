from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from device_agent.contract.errors import ContractError, StorageError
from device_agent.update import transitions
from device_agent.update.state import (
    Candidate,
    Notice,
    Probation,
    Rejection,
    Release,
    Standing,
    UpdateState,
)
from device_agent.update.state_file import StateFile, decode, encode

if TYPE_CHECKING:
    from pathlib import Path

RELEASE = Release(digest="sha256:" + "a" * 64, name="m", version="1.0", counter=3)
STANDING = Standing(
    active=RELEASE,
    known_good=RELEASE,
    candidate=Candidate(
        release=RELEASE, size_bytes=9, path="models/m/x.ewa", serial=4, trials=1, mismatches=2
    ),
    probation=Probation(attempts=1, serial=4, baseline_p95_seconds=0.25),
    counter_floor=3,
    rejected=(Rejection(digest=RELEASE.digest, serial=2, reason="engine: no"),),
)
FULL = UpdateState(
    models={"main": STANDING},
    desired_serial=4,
    time_floor_seconds=1.5e9,
    notices=(Notice(name="update_tried", severity="info", text="t", details={"samples": 1, "x": None}),),
)


def test_every_field_survives(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "d" / "state.json")
    assert file.read() == UpdateState()
    file.write(FULL)
    assert file.read() == FULL
    assert [path.name for path in (tmp_path / "d").iterdir()] == ["state.json"]


@pytest.mark.parametrize(
    "fault", ["engine: " + "x" * 100_000, "storage: /data/\udcff/a.ewa", "\u8a9e" * 5_000]
)
def test_whatever_an_engine_or_a_path_says_can_be_read_again(tmp_path: Path, fault: str) -> None:
    notice = Notice(name="update_rejected", severity="error", text=fault, details={})
    state = transitions.noted(UpdateState(models={"main": transitions.rejected(STANDING, fault)}), notice)
    state = transitions.noted(state.having("main", transitions.rolled_back(STANDING, fault)), notice)
    file = StateFile(tmp_path / "state.json")
    file.write(state)
    assert file.read() == state
    assert file.damaged == ""


def test_a_damaged_state_is_set_aside_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(encode(FULL)[:-20])
    file = StateFile(path)
    assert file.read() == UpdateState()
    assert "state.json" in file.damaged
    assert not path.exists()
    assert path.with_name("state.json.damaged").exists()


@pytest.mark.parametrize("cut", range(1, len(encode(FULL)), 7))
def test_no_part_of_a_state_is_taken_for_one(cut: int) -> None:
    with pytest.raises(ContractError):
        decode(encode(FULL)[:cut], where="x")


def test_parts_that_do_not_go_together_are_refused() -> None:
    broken = encode(UpdateState()).replace(b'"active":null', b'"active":' + encode_release())
    with pytest.raises(ContractError, match="do not go together"):
        decode(broken, where="x")


def encode_release() -> bytes:
    return (
        encode(UpdateState(models={"main": Standing(active=RELEASE, known_good=RELEASE)}))
        .split(b'"active":')[1]
        .split(b',"known_good"')[0]
    )


def test_a_disk_that_cannot_be_written_keeps_the_old_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = StateFile(tmp_path / "state.json")
    file.write(FULL)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        file.write(UpdateState())
    assert file.read() == FULL


def test_a_state_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "state.json").mkdir()
    with pytest.raises(StorageError, match="cannot be read"):
        StateFile(tmp_path / "state.json").read()
