"""`Renewal` with children that do not do what they should, and a clock that is turned by hand."""

from __future__ import annotations

import re
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from device_agent.config import IdentitySection
from device_agent.enrolment import renewal
from device_agent.enrolment.identity import Credentials, Identity, IdentityFolder
from device_agent.enrolment.renewal import Renewal, RenewalTiming, due_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

DAY = 86_400.0
HELD = Identity(
    device="dev-1",
    url="https://ca.example",
    authority="sha256:" + "0" * 64,
    claim="sha256:" + "1" * 64,
    serial="1f",
    not_before_seconds=0.0,
    not_after_seconds=90 * DAY,
)


class Recorder:
    """Keeps the events' names and texts."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def event(self, name: str, _severity: str, text: str, _details: object = None) -> None:
        self.events.append((name, text))


class Watched:
    def __init__(self, folder: Path | None, *, wall_seconds: float, child_seconds: float = 60.0) -> None:
        self.recorder, self.wall_seconds, self.now = Recorder(), wall_seconds, 0.0
        self.renewal = Renewal(
            IdentitySection(folder=folder),
            device="dev-1",
            recorder=self.recorder,  # type: ignore[arg-type]  # what it uses of it
            wall_seconds=lambda: self.wall_seconds,
            jitter=lambda: 1.0,
            timing=RenewalTiming(share_left=1 / 3, pause_seconds=100.0, child_seconds=child_seconds),
        )

    def until(self, claim: Callable[[], object]) -> None:
        deadline = time.monotonic() + 30
        while not claim():
            assert time.monotonic() < deadline
            self.renewal.turn(self.now)
            time.sleep(0.01)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "identity"
    with IdentityFolder(path).locked():
        IdentityFolder(path).install(HELD, Credentials(key=b"k", certificate=b"c", authority=b"a"))
    return path


def child(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str) -> None:
    """Let this shell script stand where Python is."""
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(renewal, "sys", SimpleNamespace(executable=str(program)))


def test_a_third_of_the_validity_is_left_when_it_is_due() -> None:
    assert due_seconds(HELD, share_left=1 / 3) == pytest.approx(60 * DAY)


def test_nothing_to_do_without_a_folder_or_before_it_is_due(tmp_path: Path, folder: Path) -> None:
    for watched in (Watched(None, wall_seconds=100 * DAY), Watched(folder, wall_seconds=59 * DAY)):
        assert watched.renewal.turn(0.0) == watched.renewal.turn(1e6) == ""
        assert watched.renewal._child is None
        assert watched.recorder.events == []


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 3", "ended with status 3 and no word"),
        ("echo 'Segmentation fault'; exit 1", "ended with status 1 and no word"),
        ("echo '[]'", "ended with status 0 and no word"),
        ("kill -9 $$", "ended with status -9 and no word"),
        ("""echo '{"error": "the authority refuses (token_spent)"}'; exit 1""", r"refuses \(token_spent\)"),
    ],
)
def test_a_child_that_fails_is_told_once_and_tried_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    child(monkeypatch, tmp_path, script)
    watched = Watched(folder, wall_seconds=80 * DAY)
    watched.until(lambda: watched.renewal.trouble)
    assert watched.renewal.trouble.endswith("It is valid until 1970-04-01 00:00:00+00:00.")
    watched.now, watched.wall_seconds = 99.0, 91 * DAY
    watched.renewal.turn(watched.now)
    assert watched.renewal._child is None, "not before the pause is over"
    watched.now = 101.0
    watched.renewal.turn(watched.now)
    assert watched.renewal._child is not None
    watched.until(lambda: "It expired 1970-04-01" in watched.renewal.trouble)
    ((name, text),) = watched.recorder.events
    assert name == "certificate_not_renewed"
    assert re.search(said, text)


def test_a_child_that_hangs_is_killed(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child(monkeypatch, tmp_path, "exec sleep 600")
    watched = Watched(folder, wall_seconds=80 * DAY, child_seconds=5.0)
    watched.renewal.turn(0.0)
    process = watched.renewal._child
    assert process is not None
    assert watched.renewal.turn(4.9) == ""
    assert "did not end within 5 s" in watched.renewal.turn(5.0)
    assert process.returncode == -9


def test_the_agents_end_ends_the_child(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child(monkeypatch, tmp_path, "exec sleep 600")
    watched = Watched(folder, wall_seconds=80 * DAY)
    watched.renewal.turn(0.0)
    process = watched.renewal._child
    assert process is not None
    watched.renewal.close()
    assert process.returncode == -9


def test_a_process_that_cannot_be_started_is_told(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal, "sys", SimpleNamespace(executable=str(tmp_path / "none")))
    assert "cannot be started" in Watched(folder, wall_seconds=80 * DAY).renewal.turn(0.0)


def test_an_identity_that_is_gone_is_told_and_its_return_ends_the_trouble(tmp_path: Path) -> None:
    path = tmp_path / "identity"
    watched = Watched(path, wall_seconds=10 * DAY)
    assert "has no certificate yet" in watched.renewal.turn(0.0)
    with IdentityFolder(path).locked():
        IdentityFolder(path).install(HELD, Credentials(key=b"k", certificate=b"c", authority=b"a"))
    assert watched.renewal.turn(101.0) == ""


def test_success_is_an_event_with_the_new_end(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child(monkeypatch, tmp_path, """echo '{"error": ""}'""")
    watched = Watched(folder, wall_seconds=80 * DAY)
    watched.until(lambda: watched.recorder.events)
    assert watched.recorder.events[0][0] == "certificate_renewed"
    assert watched.renewal.trouble == ""
