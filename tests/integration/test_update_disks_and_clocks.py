"""The disk fails, or the clock jumps by years, in the middle of an update: a verified model runs on, and the update is made later."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from device_agent.contract.archive import ArtifactArchive
from device_agent.contract.digest import digest_of_file
from device_agent.update import child, schedule, trial
from device_agent.update.updates import Updates
from tests.integration.update_repository import Fleet
from tests.integration.update_within import Within, artifacts, config_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from device_agent.update.state import Notice

# What it waits for has limits of its own; on a busy machine many programs are long in coming.
pytestmark = pytest.mark.timeout(900)

ROOT = Path(__file__).parents[2]
YEAR_SECONDS = 31_536_000.0
LONGEST_SECONDS = 60.0


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    # Limits are the child's, and the steps are done here.
    monkeypatch.setattr(child, "limit_memory_and_time", lambda _: None)
    monkeypatch.setattr(trial, "limit_memory_and_time", lambda _: None)
    monkeypatch.setattr(schedule, "_FIRST_RETRY_SECONDS", 0.02)
    made = Fleet(tmp_path)
    yield made
    made.server.close()


def test_a_disk_that_fails_at_any_step_of_an_update_postpones_it(fleet: Fleet, tmp_path: Path) -> None:
    delivered, new = artifacts(tmp_path, 2)
    fleet.offer(new, counter=1)
    disk = tmp_path / "disk"
    disk.mkdir()
    mounting = 'mount -t tmpfs -o size=8m none "$0" && exec "$@"'
    program = [sys.executable, "-m", "tests.integration.update_failing_disk"]
    arguments = [fleet.server.url, str(fleet.root), str(delivered), digest_of_file(new), str(disk)]
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", mounting, str(disk), *program, *arguments],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=800,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    places, postponed = (int(number) for number in done.stdout.split())
    assert places > 30
    assert postponed > places / 4, "the faults are noticed"


class Clock:
    """The clock on the wall, which the test sets."""

    def __init__(self) -> None:
        self.off_seconds = 0.0

    def time(self) -> float:
        return time.time() + self.off_seconds

    def now(self, zone: timezone) -> datetime:
        return datetime.fromtimestamp(self.time(), zone)

    @property
    def module(self) -> SimpleNamespace:
        """What stands for the module `datetime`."""
        return SimpleNamespace(datetime=self, timezone=timezone)


@pytest.mark.parametrize("at", [1, 4, 7, 10, 14])
@pytest.mark.parametrize("jump", ["1970", "20 years on", "3 years back"])
def test_a_clock_that_jumps_by_years_in_an_update_stops_no_model_and_the_update_is_made(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: str, at: int
) -> None:
    """The clock jumps before the effect number ``at`` of the update, stays wrong for a while, and is then set right."""
    clock = Clock()
    monkeypatch.setattr("device_agent.update.updates.time", clock.time)
    monkeypatch.setattr("tuf.ngclient._internal.trusted_metadata_set.datetime", clock.module)
    off = {"1970": -time.time() + 5.0, "20 years on": 20 * YEAR_SECONDS, "3 years back": -3 * YEAR_SECONDS}[
        jump
    ]
    delivered, new = artifacts(tmp_path, 2)
    fleet.offer(new, counter=1)
    wanted = digest_of_file(new)
    config = config_of(fleet, "dev-1", tmp_path / "device", delivered, probation_seconds=0.2)
    told: list[str] = []
    passed, right_again = 0, float("inf")
    deadline = time.monotonic() + LONGEST_SECONDS

    def tell(notice: Notice) -> None:
        told.append(
            str(notice.details.get("reason", notice.name)) if "postponed" in notice.name else notice.name
        )

    def counted(effect: Callable[[Any], None]) -> Callable[[Any], None]:
        def carried_out(what: Any) -> None:
            nonlocal passed, right_again
            if passed == at:
                clock.off_seconds, right_again = off, time.monotonic() + 0.3
            passed += 1
            effect(what)

        return carried_out

    while time.monotonic() < deadline:
        children: Any = Within()
        restarts: list[str] = []
        updates = Updates(
            config, report=lambda _: None, tell=tell, restart=restarts.append, children=children
        )
        with contextlib.closing(updates):
            updates._actions = {kind: counted(action) for kind, action in updates._actions.items()}
            began = time.monotonic()
            artifact = updates.begin()
            ArtifactArchive.open(artifact.path, expected_digest=artifact.digest).check_members()
            while not restarts and time.monotonic() < deadline:
                if time.monotonic() >= right_again:
                    clock.off_seconds, right_again = 0.0, float("inf")
                updates.turn(time.monotonic())
                while children.answers:
                    updates.handle(children.answers.pop(0))
                updates.observed(inferences=10, errors=0, p95_seconds=0.001)
                state = updates._durable
                if (
                    state.main.known_good is not None
                    and state.main.known_good.digest == wanted
                    and not state.notices
                ):
                    assert time.monotonic() - began >= 0.2, (
                        "probation is of monotonic time, whatever the clock says"
                    )
                    assert passed > at, "the clock jumped"
                    assert "update_committed" in told
                    assert "update_rolled_back" not in told
                    assert "update_rejected" not in told
                    assert state.time_floor_seconds <= time.time() + 1.0, (
                        "a time from the future is not remembered"
                    )
                    return
                time.sleep(0.002)
    raise AssertionError(f"not kept; told {told}")
