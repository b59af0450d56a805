"""The power goes at every effect of an update and at every durable step within one: SIGKILL, then a new start.

A forked process is the device: the real state, store, metadata and downloads from a real server; only the child processes of
the steps are done within it, so that one kill takes everything.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from device_agent.contract.archive import ArtifactArchive
from device_agent.contract.digest import digest_of_file
from device_agent.update import child, trial
from device_agent.update.state_file import StateFile
from device_agent.update.store import Store
from device_agent.update.updates import Updates
from tests.integration.update_repository import Fleet
from tests.integration.update_within import Within, artifacts, config_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from device_agent.config import AgentConfig
    from device_agent.update.state import Notice

LONGEST_SECONDS = 60.0


@dataclass(kw_only=True)
class Points:
    """Counts the places where the power may go, and lets it go at one."""

    kill_at: int
    passed: int = 0

    def hit(self) -> None:
        self.passed += 1
        if self.passed == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def before(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            self.hit()
            return call(*arguments, **options)

        return counted

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            self.hit()
            result = call(*arguments, **options)
            self.hit()
            return result

        return counted


def live(config: AgentConfig, wanted: str, points: Points, *, broken: str = "") -> list[str]:
    """Be the device until it has kept ``wanted``; return the digests of all that ran.

    ``broken`` never gives a result, and it is enough that it was taken back and that several checks offered it in vain.
    """
    ran: list[str] = []
    asked_in_vain = 0
    deadline = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < deadline:
        children, restarts, told = Within(), [], []

        def tell(notice: Notice, told: list[str] = told) -> None:
            told.append(notice.name)

        updates = Updates(
            config,
            report=lambda _: None,
            tell=tell,
            restart=restarts.append,
            children=children,  # type: ignore[arg-type]
        )
        with contextlib.closing(updates):  # as a process that ends lets go of the folder
            # The end of an effect is the beginning of the next.
            updates._actions = {kind: points.before(action) for kind, action in updates._actions.items()}
            artifact = updates.begin()
            assert artifact.digest is not None
            ArtifactArchive.open(artifact.path, expected_digest=artifact.digest).check_members()
            ran.append(artifact.digest)
            while not restarts and time.monotonic() < deadline:
                updates.turn(time.monotonic())
                while children.answers:
                    updates.handle(children.answers.pop(0))
                    asked_in_vain += any(one.digest == broken for one in updates._durable.main.rejected)
                if artifact.digest == broken:
                    updates.failed("engine", "it does not run")
                else:
                    updates.observed(inferences=10, errors=0, p95_seconds=0.001)
                state = updates._durable
                done = state.main.known_good is not None and state.main.known_good.digest == wanted
                if (done or asked_in_vain >= 5) and state.main.probation is None and not state.notices:
                    return ran
                time.sleep(0.002)
    raise AssertionError(f"not kept in {LONGEST_SECONDS} s: {wanted}")


def in_a_fork(work: Callable[[], int]) -> int:
    """Return the exit status of ``work`` in a process of its own; negative: the signal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        process = os.fork()
    if process == 0:
        status = 99
        try:
            status = work()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    # Niceness and limits are the child's, and the steps are done here.
    monkeypatch.setattr(child, "limit_memory_and_time", lambda _: None)
    monkeypatch.setattr(trial, "limit_memory_and_time", lambda _: None)
    made = Fleet(tmp_path)
    yield made
    made.server.close()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_power_cut_at_every_step_of_an_update_leaves_one_verified_model_and_the_next_update_works(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivered, first, second = artifacts(tmp_path, 3)
    digests = [digest_of_file(path) for path in (delivered, first, second)]
    # dev-2 is dev-1 later: its desired state is the next one.
    fleet.offer(first, counter=1, subject="device/dev-1")
    fleet.offer(second, counter=2, subject="device/dev-2")

    def killed(folder: Path, kill_at: int) -> int:
        points = Points(kill_at=kill_at)
        monkeypatch.setattr(os, "fsync", points.around(os.fsync))
        monkeypatch.setattr(Path, "replace", points.around(Path.replace))
        monkeypatch.setattr(Path, "unlink", points.around(Path.unlink))
        live(config_of(fleet, "dev-1", folder, delivered), digests[1], points)
        (folder / "points").write_text(str(points.passed))
        return 0

    def recovered(folder: Path) -> int:
        ran = live(config_of(fleet, "dev-2", folder, delivered), digests[2], Points(kill_at=0))
        assert set(ran) <= set(digests)
        assert ran[-1] == digests[2]
        return 0

    assert in_a_fork(lambda: killed(tmp_path / "dry", 0)) == 0
    count = int((tmp_path / "dry" / "points").read_text())
    assert count > 50, "the update has that many places, or the hooks do not see them"
    for kill_at in range(1, count + 1):
        folder = tmp_path / f"cut-{kill_at}"
        assert in_a_fork(lambda at=kill_at, where=folder: killed(where, at)) == -signal.SIGKILL, kill_at
        state = StateFile(folder / "state.json").read()
        for release in (state.main.active, state.main.known_good):
            if release is not None:
                path = Store(folder / "store").path(release.digest)
                ArtifactArchive.open(path, expected_digest=release.digest).check_members()
        assert in_a_fork(lambda where=folder: recovered(where)) == 0, kill_at
        left = sorted(path.name for path in (folder / "store").iterdir())
        assert left == [f"{digests[2].partition(':')[2]}.ewa"], kill_at


def test_a_model_that_fails_on_probation_is_taken_back_and_not_tried_again(
    fleet: Fleet, tmp_path: Path
) -> None:
    delivered, bad, good = artifacts(tmp_path, 3)
    fleet.offer(bad, counter=1)
    config = config_of(fleet, "dev-1", tmp_path / "d", delivered)
    live(config, digest_of_file(bad), Points(kill_at=0), broken=digest_of_file(bad))
    state = StateFile(tmp_path / "d" / "state.json").read()
    assert state.main.active is not None
    assert state.main.active.digest == digest_of_file(delivered)
    assert [(one.digest, one.reason) for one in state.main.rejected] == [
        (digest_of_file(bad), "engine: it does not run")
    ]
    fleet.offer(good, counter=2)
    ran = live(config, digest_of_file(good), Points(kill_at=0))
    assert digest_of_file(bad) not in ran


def test_a_crash_loop_is_counted_and_rolled_back(fleet: Fleet, tmp_path: Path) -> None:
    delivered, bad = artifacts(tmp_path, 2)
    fleet.offer(bad, counter=1)
    config = config_of(fleet, "dev-1", tmp_path / "d", delivered)
    starts = []
    for _ in range(6):
        children: Any = Within()
        restarts: list[str] = []
        updates = Updates(
            config, report=lambda _: None, tell=lambda _: None, restart=restarts.append, children=children
        )
        with contextlib.closing(updates):
            starts.append(updates.begin().digest)
            if starts[-1] == digest_of_file(bad):
                continue  # it dies without a word
            deadline = time.monotonic() + LONGEST_SECONDS
            while not restarts and time.monotonic() < deadline and len(starts) == 1:
                updates.turn(time.monotonic())
                while children.answers:
                    updates.handle(children.answers.pop(0))
    old, new = digest_of_file(delivered), digest_of_file(bad)
    assert starts == [old, new, new, new, old, old]
