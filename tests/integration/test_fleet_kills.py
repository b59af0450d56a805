"""Whatever is killed, and whenever: nothing of a fleet is half done, no job is lost or made twice, and the audit is whole."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from device_agent.contract.desired import belongs
from host_tools.errors import StoreError
from host_tools.fleet.records.devices import Device, Group, Provides
from host_tools.fleet.records.releases import Release, ReleasedArtifact
from host_tools.fleet.records.rollouts import RolloutPlan, Stage
from host_tools.fleet.rollout.jobs import Observation
from host_tools.fleet.service import FleetService, Heard
from host_tools.fleet.store.devices import DeviceFilter, DeviceReport
from host_tools.fleet.store.opening import open_store
from tests.integration.fleet_child import FolderField, read_wanted
from tests.unit.host_tools.fleet.postgres_cluster import PostgresCluster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from host_tools.fleet.store.fleet_store import FleetStore

# What it waits for has limits of its own; on a busy machine many programs are long in coming.
pytestmark = pytest.mark.timeout(900)

_NUMBERS = itertools.count()
DEVICES = 200
LONGEST_SECONDS = 600.0
DIGEST = "sha256:" + "1" * 64


@pytest.fixture(scope="module")
def cluster() -> Iterator[PostgresCluster]:
    made = PostgresCluster()
    try:
        yield made.start()
    finally:
        made.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "fleet.db")
    made: PostgresCluster = request.getfixturevalue("cluster")
    return made.database(f"kills_{next(_NUMBERS)}")


@pytest.fixture
def begin() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return what starts a child and waits until it works; what still runs at the end is ended."""
    children: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.fleet_child", *arguments],
            stdout=subprocess.PIPE,
            text=True,
        )
        children.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == "working\n"
        return child

    yield start
    for child in children:
        child.kill()
        child.wait(30)
        assert child.stdout is not None
        child.stdout.close()


def prepared(store: FleetStore, *, devices: int = 0) -> None:
    artifact = ReleasedArtifact(path="models/net/net-1.0-a.ewa", digest=DIGEST, size_bytes=1)
    with store.writing() as book:
        book.groups.add(Group(name="lab"))
        book.releases.add(
            Release(
                id="net-1.0",
                model="net",
                version="1.0",
                counter=1,
                artifacts={"a": artifact},
                created_by="x",
                created_seconds=0.0,
            )
        )
        book.devices.add(
            [
                Device(id=f"d{number:04d}", group="lab", provides=Provides(targets=("a",)))
                for number in range(devices)
            ]
        )


def test_writers_that_are_killed_leave_whole_transactions(
    address: str, begin: Callable[..., subprocess.Popen[str]]
) -> None:
    store, source = open_store(address), random.Random(1)
    prepared(store)
    for turn in range(4):
        writers = [begin("writer", address, f"w{turn}{side}") for side in "ab"]
        time.sleep(source.uniform(0.02, 0.4))
        for writer in writers:
            writer.kill()
            writer.wait(30)
        with store.reading() as book:
            assert book.audit.broken() == ""
            done = Counter(entry.action for entry in book.audit.all())
            devices = book.devices.page(DeviceFilter(), limit=1_000_000)
            revoked = {device.id for device in devices if device.state == "revoked"}
            assert len(devices) == done["device.add"]
            assert len(devices) % 3 == 0
            assert all(device.tags == {"new"} for device in devices)
            assert len(revoked) == done["device.revoke"]
            assert {effect.subject for effect in book.effects.open(limit=1_000_000)} == revoked
    assert done["device.add"] > 0
    store.close()


def follow(service: FleetService, folder: Path) -> None:
    """Let every device do what the files say, and say so."""
    wanted = read_wanted(folder, "lab")
    if wanted is None:
        return
    with service.store.reading() as book:
        devices = book.devices.page(DeviceFilter(), limit=DEVICES)
    heard = []
    for device in devices:
        artifacts = dict(wanted.artifacts)
        if wanted.trial is not None and belongs(wanted.trial, device.id):
            artifacts |= wanted.trial.artifacts
        runs = artifacts["a"].digest if "a" in artifacts else None
        now = time.time()
        if runs != device.artifact or runs is not None:
            report = DeviceReport(device=device.id, seconds=now, artifact=runs, health="up")
            heard.append(Heard(report=report, seen=Observation(seconds=now, running=runs, committed=True)))
    if heard:
        service.hear(heard)


def plan(rollout: str) -> RolloutPlan:
    shares = (50_000, 250_000, 1_000_000)
    return RolloutPlan(
        id=rollout,
        release="net-1.0",
        group="lab",
        stages=tuple(Stage(name=f"{share}", share_ppm=share, soak_seconds=0.3) for share in shares),
    )


def require_finished_once(store: FleetStore) -> None:
    with store.reading() as book:
        assert book.audit.broken() == ""
        actions = Counter(entry.action for entry in book.audit.all())
        assert actions["rollout.stage_began"] == actions["rollout.stage_passed"] == 3
        assert actions["rollout.finished"] == 1
        jobs = book.jobs.page("r1", limit=10 * DEVICES)
        assert len(jobs) == DEVICES
        assert {(job.state, job.result, job.attempts) for job in jobs} == {("closed", "success", 1)}
        assert book.groups.get("lab").artifacts["a"].digest == DIGEST


def test_a_rollout_goes_on_whenever_its_server_is_killed(
    address: str, tmp_path: Path, begin: Callable[..., subprocess.Popen[str]]
) -> None:
    folder = tmp_path / "desired"
    folder.mkdir()
    store, source = open_store(address), random.Random(2)
    prepared(store, devices=DEVICES)
    service = FleetService(store, FolderField(folder))
    service.create(plan("r1"), actor="user x")
    service.order("r1", "submit", actor="user x")
    kills, deadline = 0, time.monotonic() + LONGEST_SECONDS
    state = ""
    while state != "finished" or kills < 3:
        assert time.monotonic() < deadline, state
        server = begin("rounds", address, str(folder))
        # Ever longer: a busy machine needs more than that for one round, and much more to begin again.
        until = time.monotonic() + source.uniform(0.0, 0.5 + 0.3 * kills)
        while time.monotonic() < until:
            follow(service, folder)
            time.sleep(0.02)
        server.kill()
        server.wait(30)
        kills += 1
        with store.reading() as book:
            state = book.rollouts.get("r1").state
    begin("rounds", address, str(folder))
    while True:
        assert time.monotonic() < deadline
        with store.reading() as book:
            if not book.effects.count():
                break
        time.sleep(0.05)
    settled = read_wanted(folder, "lab")
    assert settled is not None
    assert settled.trial is None
    assert settled.artifacts["a"].digest == DIGEST
    require_finished_once(store)
    store.close()


def test_of_two_servers_at_once_one_is_killed_and_the_other_carries_the_rollout_through(
    address: str, tmp_path: Path, begin: Callable[..., subprocess.Popen[str]]
) -> None:
    folder = tmp_path / "desired"
    folder.mkdir()
    store = open_store(address)
    prepared(store, devices=DEVICES)
    service = FleetService(store, FolderField(folder))
    service.create(plan("r1"), actor="user x")
    service.order("r1", "submit", actor="user x")
    first, deadline = begin("rounds", address, str(folder)), time.monotonic() + LONGEST_SECONDS
    begin("rounds", address, str(folder))
    while not first_stage_passed(store):
        assert time.monotonic() < deadline
        follow(service, folder)
        time.sleep(0.02)
    assert not store.leads(), "one of the two does"
    first.kill()
    first.wait(30)
    state, effects = "", 1
    while state != "finished" or effects:
        assert time.monotonic() < deadline, state
        follow(service, folder)
        time.sleep(0.02)
        with store.reading() as book:
            state, effects = book.rollouts.get("r1").state, book.effects.count()
    assert not store.leads(), "the other does"
    settled = read_wanted(folder, "lab")
    assert settled is not None
    assert settled.trial is None
    require_finished_once(store)
    store.close()


def first_stage_passed(store: FleetStore) -> bool:
    with store.reading() as book:
        return book.rollouts.get("r1").stages[0].state == "passed"


def test_a_rollout_goes_on_when_its_database_is_killed(cluster: PostgresCluster, tmp_path: Path) -> None:
    store = open_store(cluster.database("restarted"))
    prepared(store, devices=DEVICES)
    service = FleetService(store, FolderField(tmp_path))
    service.create(plan("r1"), actor="user x")
    service.order("r1", "submit", actor="user x")
    stop = threading.Event()
    rounds = threading.Thread(target=service.run, args=(stop,), kwargs={"period_seconds": 0.05})
    rounds.start()
    lost, state, deadline = 0, "", time.monotonic() + LONGEST_SECONDS
    try:
        for restarts in itertools.count():
            assert time.monotonic() < deadline, state
            until = time.monotonic() + 0.4
            while time.monotonic() < until:
                try:
                    follow(service, tmp_path)
                    with store.reading() as book:
                        state = book.rollouts.get("r1").state
                except StoreError:
                    lost += 1
                time.sleep(0.02)
            if restarts < 3:
                cluster.restart()
            elif state == "finished":
                break
        assert rounds.is_alive()
    finally:
        stop.set()
        rounds.join(120)
    require_finished_once(store)
    store.close()
