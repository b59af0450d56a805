"""Where the processes of an ingest meet: what a killed one left goes, what runs stays, and what cannot be is told."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from host_tools.errors import InputError
from host_tools.review.ingest.meeting_place import MeetingPlace

if TYPE_CHECKING:
    from collections.abc import Iterator

_HOLDS = """\
import sys
from pathlib import Path
from host_tools.review.ingest.meeting_place import MeetingPlace
place = MeetingPlace(Path(sys.argv[1]))
print(place.path, flush=True)
sys.stdin.read()
place.close()
"""


@pytest.fixture
def parent() -> Iterator[Path]:
    """Of a short path: a socket's may have some hundred characters."""
    with tempfile.TemporaryDirectory(prefix="ew-") as folder:
        yield Path(folder)


def holder(parent: Path) -> tuple[subprocess.Popen[str], Path]:
    """Start a process that has a meeting place; return it and the socket."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDS, str(parent)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def end(process: subprocess.Popen[str]) -> None:
    process.communicate(timeout=60)


def test_what_a_killed_ingest_left_goes_and_what_runs_stays(parent: Path) -> None:
    killed, left = holder(parent)
    running, kept = holder(parent)
    killed.send_signal(signal.SIGKILL)
    end(killed)
    assert left.is_socket()
    ours = MeetingPlace(parent)
    assert not left.parent.exists()
    assert sorted(parent.iterdir()) == sorted([kept.parent, Path(ours.path).parent])
    ours.close()
    end(running)
    assert running.returncode == 0
    assert list(parent.iterdir()) == []


def test_only_the_folder_of_an_ingest_is_removed(parent: Path) -> None:
    other = parent / "edgewright-ingest-socket-other"
    other.mkdir()
    (other / "notes").write_text("mine")
    (parent / "edgewright-ingest-socket-file").write_text("mine")
    elsewhere = parent / "elsewhere"
    elsewhere.mkdir()
    (parent / "edgewright-ingest-socket-link").symlink_to(elsewhere)
    before = sorted(parent.iterdir())
    MeetingPlace(parent).close()
    assert sorted(parent.iterdir()) == before
    assert (other / "notes").read_text() == "mine"


def test_ingests_that_start_at_once_do_not_take_each_others_folders(parent: Path) -> None:
    rounds, wrong = 40, []
    at_once = threading.Barrier(4)

    def start_and_end() -> None:
        for _ in range(rounds):
            at_once.wait(60)
            place = MeetingPlace(parent)
            if not Path(place.path).is_socket():
                wrong.append(place.path)
            at_once.wait(60)  # none ends before all have started
            place.close()

    threads = [threading.Thread(target=start_and_end) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert list(parent.iterdir()) == []


def test_only_this_user_may_connect(parent: Path) -> None:
    place = MeetingPlace(parent)
    assert Path(place.path).parent.stat().st_mode & 0o077 == 0
    place.close()


@pytest.mark.parametrize("name", ["not-there", "a" * 100])
def test_a_place_where_no_socket_can_be_is_told(parent: Path, name: str) -> None:
    where = parent / name
    if len(name) > 50:
        where.mkdir()
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(InputError, match=f"{name}: the socket of the ingest's processes") as caught:
        MeetingPlace(where)
    assert "TMPDIR" in caught.value.hint
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
    assert not where.exists() or list(where.iterdir()) == []
