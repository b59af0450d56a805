"""A repository whose writer is killed between any two files, or is not alone: devices always find the old or the new, whole."""

from __future__ import annotations

import itertools
import shutil
import threading
from typing import TYPE_CHECKING, Any

import pytest

from device_agent import durable
from device_agent.contract.desired import DesiredArtifact, Trial
from device_agent.update.occurrences import NothingDesired, Offered
from host_tools.errors import InputError, OutputError
from host_tools.repository import signed_folder
from host_tools.repository.keys import KeyRing
from host_tools.repository.repository import Repository
from tests.integration.support import null_artifact
from tests.integration.update_repository import TARGET, Fleet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from device_agent.update.jobs import Answer


class KilledError(BaseException):
    """Stands for a process that is there no more."""


class Deadly:
    """Writes files until one is reached: the writer dies before, or right after, that has its name."""

    def __init__(self, at: int, *, after: bool) -> None:
        self.at, self.after, self.count = at, after, 0

    def __call__(self, path: Path, data: bytes, **options: Any) -> None:
        self.count += 1
        if self.count == self.at and not self.after:
            raise KilledError
        durable.write_durably(path, data, **options)
        if self.count == self.at:
            raise KilledError


class Place:
    """A fleet that can be put back to how it was."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fleet = Fleet(folder / "fleet")
        self.old = null_artifact(folder / "m-1.ewa", target=TARGET)
        self.new = null_artifact(folder / "m-2.ewa", target=TARGET, latency_seconds=0.003)
        self.path = self.fleet.repository.add(self.old, release_counter=1)
        self._saved, self._monkeypatch = folder / "saved", monkeypatch

    def save(self) -> None:
        shutil.copytree(self.fleet.folder, self._saved)

    def restore(self) -> None:
        for name in ("repository", "keys", "device"):
            shutil.rmtree(self.fleet.folder / name, ignore_errors=True)
            if (self._saved / name).exists():
                shutil.copytree(self._saved / name, self.fleet.folder / name)

    def fresh(self) -> Repository:
        return Repository(self.fleet.folder / "repository", KeyRing(self.fleet.folder / "keys"))

    def kill(self, act: Callable[[Repository], object], at: int, *, after: bool) -> bool:
        """Do something and die at a file; return whether it came so far."""
        deadly = Deadly(at, after=after)
        with self._monkeypatch.context() as patch:
            patch.setattr("host_tools.repository.signed_folder.write_durably", deadly)
            patch.setattr("host_tools.repository.keys.write_durably", deadly)
            try:
                act(self.fresh())
            except KilledError:
                return True
        return False

    def kill_everywhere(
        self, act: Callable[[Repository], object], see: Callable[[Answer], str], allowed: set[str], end: str
    ) -> None:
        self.save()
        reached = 0
        for at, after in ((at, after) for at in itertools.count(1) for after in (False, True)):
            self.restore()
            see(self.fleet.check())
            if not self.kill(act, at, after=after):
                break
            reached = at
            assert see(self.fleet.check()) in allowed, (at, after)
            act(self.fresh())
            assert see(self.fleet.check()) == end, (at, after)
        assert reached >= 3


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    made = Place(tmp_path, monkeypatch)
    yield made
    made.fleet.server.close()


def version_of(answer: Answer) -> str:
    if isinstance(answer, NothingDesired):
        return "nothing"
    assert isinstance(answer, Offered), answer
    return f"{answer.release.counter}/{answer.serial}{' trial' if answer.is_in_trial else ''}"


def desired_artifact(repository: Repository, path: str) -> dict[str, DesiredArtifact]:
    return {TARGET: DesiredArtifact(path=path, digest=repository.released("small")[path][1])}


def test_a_desired_state_whose_writer_is_killed_is_the_old_or_the_new(place: Place) -> None:
    repository = place.fleet.repository
    new = repository.add(place.new, release_counter=2)
    base, candidate = (desired_artifact(repository, path) for path in (place.path, new))
    repository.ensure("group/lab", base)
    trial = Trial(artifacts=candidate, salt="r1", share_ppm=0, devices=("dev-1",))
    place.kill_everywhere(
        lambda one: one.ensure("group/lab", base, trial=trial), version_of, {"1/1", "2/2 trial"}, "2/2 trial"
    )


def test_a_release_whose_writer_is_killed_is_there_whole_or_not_at_all(place: Place, tmp_path: Path) -> None:
    place.fleet.repository.release("group/lab", [place.path])
    other = null_artifact(tmp_path / "m-2-b.ewa", target="cortex-a-tflite", latency_seconds=0.003)

    def both(repository: Repository) -> None:
        repository.add_all([place.new, other], release_counter=2)

    def see(answer: Answer) -> str:
        assert version_of(answer) == "1/1"
        counters = [facts.release_counter for facts, _, _ in place.fresh().released("small").values()]
        return str(sorted(counters))

    place.kill_everywhere(both, see, {"[1]", "[1, 2, 2]"}, "[1, 2, 2]")


@pytest.mark.parametrize("role", ["root", "targets", "snapshot", "timestamp", "fleet", "model-small"])
def test_a_rotation_whose_writer_is_killed_locks_nobody_out(place: Place, role: str) -> None:
    place.fleet.repository.release("group/lab", [place.path])
    place.kill_everywhere(lambda one: one.rotate(role), version_of, {"1/1"}, "1/1")


def test_a_repository_that_was_broken_off_while_it_was_made_is_made_again(
    place: Place, tmp_path: Path
) -> None:
    for at in itertools.count(1):
        folder = tmp_path / f"made-{at}"
        place.fleet.folder = folder
        if not place.kill(lambda one: one.init(), at, after=False):
            break
        assert place.fresh().init().exists()
        place.fresh().add(place.old, release_counter=1)
    assert at > 10


def test_what_is_said_already_is_not_signed_again(place: Place) -> None:
    repository = place.fleet.repository
    base = desired_artifact(repository, place.path)
    first = repository.ensure("group/lab", base)
    files = sorted(place.fleet.metadata("").iterdir())
    assert repository.ensure("group/lab", base) == first
    assert sorted(place.fleet.metadata("").iterdir()) == files
    assert repository.ensure("group/other", base).serial == 1, "every group counts for itself"
    assert repository.ensure("group/lab", base, ask_anew=True).serial == 2


def test_a_way_back_is_signed_exactly_while_there_is_one(place: Place) -> None:
    repository = place.fleet.repository
    new = repository.add(place.new, release_counter=2)
    base, candidate = (desired_artifact(repository, path) for path in (place.path, new))
    trial = Trial(artifacts=candidate, salt="r1", share_ppm=10_000)
    states = [
        repository.ensure("group/lab", base),
        repository.ensure("group/lab", base, trial=trial),
        repository.ensure("group/lab", base),
        repository.ensure("group/lab", candidate),
        repository.ensure("group/lab", base),
    ]
    assert [one.allow_downgrade for one in states] == [False, True, True, False, True]
    asked = [{one.digest: one.since for one in state.artifacts.values()} for state in states]
    old, younger = base[TARGET].digest, candidate[TARGET].digest
    assert asked == [{old: 1}, {old: 1}, {old: 1}, {younger: 4}, {old: 5}]


def test_growing_a_share_does_not_ask_anew(place: Place) -> None:
    repository = place.fleet.repository
    new = repository.add(place.new, release_counter=2)
    base, candidate = (desired_artifact(repository, path) for path in (place.path, new))
    for share in (10_000, 100_000, 1_000_000):
        trial = Trial(artifacts=candidate, salt="r1", share_ppm=share)
        state = repository.ensure("group/lab", base, trial=trial)
    assert state.trial is not None
    assert (state.serial, state.trial.artifacts[TARGET].since) == (3, 1)
    finished = repository.ensure("group/lab", candidate)
    assert (finished.serial, finished.artifacts[TARGET].since) == (4, 1)


def test_a_device_outside_a_trial_that_alone_has_something_for_it_has_nothing_desired(
    place: Place, tmp_path: Path
) -> None:
    """So it goes back to what it was delivered with when the trial was its first release and is taken back."""
    repository = place.fleet.repository
    here = desired_artifact(repository, place.path)
    other = null_artifact(tmp_path / "other.ewa", target="cortex-a-tflite")
    path = repository.add(other, release_counter=9)
    there = {"cortex-a-tflite": desired_artifact(repository, path)[TARGET]}
    repository.ensure("group/lab", there, trial=Trial(artifacts=here, salt="r1", share_ppm=0))
    assert isinstance(place.fleet.check(), NothingDesired)
    repository.ensure("group/lab", there, trial=Trial(artifacts=here, salt="r1", share_ppm=1_000_000))
    assert isinstance(place.fleet.check(), Offered)


def test_two_writers_at_once_do_not_lose_each_others_work(place: Place) -> None:
    base = desired_artifact(place.fleet.repository, place.path)
    failures: list[Exception] = []

    def write(name: str) -> None:
        try:
            for number in range(4):
                place.fresh().ensure(f"group/{name}-{number}", base)
        except Exception as error:  # noqa: BLE001  whatever ends a thread is to be seen
            failures.append(error)

    threads = [threading.Thread(target=write, args=(name,)) for name in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    names = [f"group/{name}-{number}" for name in "abc" for number in range(4)]
    assert all(place.fresh().desired_of(name) is not None for name in names)
    assert isinstance(place.fleet.check(), NothingDesired)


def test_a_writer_that_does_not_come_to_its_end_is_told(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signed_folder, "_LOCK_SECONDS", 0.1)
    with (
        place.fleet.repository.signed.alone(),
        pytest.raises(OutputError, match="another process has been writing"),
    ):
        place.fresh().refresh()
    place.fresh().refresh()


def test_what_is_not_signed_so_is_not_desired(place: Place) -> None:
    repository = place.fleet.repository
    base = desired_artifact(repository, place.path)
    wrong = {TARGET: DesiredArtifact(path=place.path, digest="sha256:" + "0" * 64)}
    with pytest.raises(InputError, match="is signed, sha256:0000"):
        repository.ensure("group/lab", wrong)
    with pytest.raises(InputError, match="and asked for cortex-a-tflite"):
        repository.ensure("group/lab", {"cortex-a-tflite": base[TARGET]})
    with pytest.raises(InputError, match="is not in the repository"):
        repository.ensure("group/lab", base, trial=Trial(artifacts={TARGET: DesiredArtifact(path="models/x/y", digest="sha256:" + "0" * 64)}, salt="r", share_ppm=1))  # fmt: skip
    with pytest.raises(InputError, match="share_ppm: expected an integer"):
        repository.ensure("group/lab", base, trial=Trial(artifacts=base, salt="r", share_ppm=1_000_001))
    assert repository.desired_of("group/lab") is None
    for path in (place.fleet.folder / "repository" / "targets" / "desired").rglob("*.json"):
        path.unlink()
    repository.ensure("group/lab", base)
    (found,) = (place.fleet.folder / "repository" / "targets" / "desired").rglob("*.json")
    found.write_bytes(b"{}")
    with pytest.raises(InputError, match="is no desired state that can be read"):
        repository.desired_of("group/lab")
