"""The store, on SQLite and on a real PostgreSQL: what goes in comes out, nothing is half done, and two never undo each other."""

from __future__ import annotations

import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import event, inspect, text

from device_agent.contract.errors import EdgewrightError
from host_tools.errors import ConflictError, InputError, NotFoundError, StaleError, StoreError
from host_tools.fleet.records.devices import Device, Group, Provides
from host_tools.fleet.records.gates import Gate, GateFinding
from host_tools.fleet.records.jobs import Job, JobCounts
from host_tools.fleet.records.releases import Release, ReleasedArtifact
from host_tools.fleet.records.rollouts import Rollout, RolloutPlan, ScheduleWindow, Stage, StageProgress
from host_tools.fleet.store.changes import KEPT
from host_tools.fleet.store.devices import DeviceFilter, DeviceReport
from host_tools.fleet.store.opening import open_store
from host_tools.fleet.store.tables import METADATA
from tests.unit.host_tools.fleet.fleet_of_tests import BEGIN_SECONDS, FleetOfTests, digest

if TYPE_CHECKING:
    from collections.abc import Callable

    from host_tools.fleet.store.fleet_store import FleetBook

ARTIFACT = ReleasedArtifact(path="models/net/net-1.0.ewa", digest=digest("one"), size_bytes=10)
GROUP = Group(name="lab", note="auf dem Tisch – ä", artifacts={"a": ARTIFACT}, created_seconds=1.5)
DEVICE = Device(
    id="d1",
    group="lab",
    tags=frozenset({"indoor", "site=3"}),
    state="pending",
    provides=Provides(targets=("a", "b"), engine="tflite 2.1.0", agent_version="1.0", memory_bytes=1 << 33),
    artifact=digest("one"),
    desired_serial=1 << 40,
    health="up",
    last_seen_seconds=BEGIN_SECONDS + 0.123456,
    added_seconds=BEGIN_SECONDS,
)
RELEASE = Release(
    id="net-1.0",
    model="net",
    version="1.0",
    counter=3,
    artifacts={"a": ARTIFACT},
    created_by="user x",
    created_seconds=2.0,
)
PLAN = RolloutPlan(
    id="r1",
    release="net-1.0",
    group="lab",
    stages=(Stage(name="canary", share_ppm=1, devices=("d1",)), Stage(name="all", share_ppm=1_000_000)),
    gates=(Gate(measure="latency_p95", worst=0.1, required=True),),
    windows=(ScheduleWindow(weekdays=frozenset({0, 6}), begin_seconds=3_600, end_seconds=60),),
)
ROLLOUT = Rollout(
    plan=PLAN,
    previous={"a": ARTIFACT},
    state="draft",
    stages=(StageProgress(state="running", began_seconds=3.25, approved_by="user y"), StageProgress()),
    created_by="user x",
)
JOB = Job(
    rollout="r1",
    device="d1",
    stage=0,
    state="download",
    result="none",
    wanted=digest("one"),
    previous=None,
    reason="it said so",
    created_seconds=4.0,
    changed_seconds=5.0,
    heard_seconds=4.5,
)
FINDING = GateFinding(
    gate=PLAN.gates[0], outcome="passed", devices=5, estimate=0.01, low=-0.02, high=None, text="fine"
)


def fill(book: FleetBook) -> None:
    book.groups.add(GROUP)
    book.devices.add([DEVICE])
    book.releases.add(RELEASE)
    book.rollouts.add(ROLLOUT)
    book.jobs.add([JOB])
    book.rollouts.find_out("r1", [FINDING])


def test_what_goes_in_comes_out(either: FleetOfTests) -> None:
    with either.store.writing() as book:
        fill(book)
    with either.store.reading() as book:
        assert book.groups.get("lab") == GROUP
        assert book.groups.get("lab").artifacts == GROUP.artifacts
        assert book.devices.get("d1") == DEVICE
        assert book.releases.get("net-1.0") == RELEASE
        assert book.releases.get("net-1.0").artifacts == RELEASE.artifacts
        assert book.rollouts.get("r1") == ROLLOUT
        assert book.rollouts.get("r1").previous == ROLLOUT.previous
        assert book.rollouts.findings("r1") == (FINDING,)
        assert book.jobs.get("r1", "d1") == JOB
        assert (book.groups.find("x"), book.devices.find("x")) == (None, None)


def test_what_is_not_there_or_there_already_is_said(either: FleetOfTests) -> None:
    with either.store.writing() as book:
        fill(book)
    for absent in (
        lambda book: book.groups.get("x"),
        lambda book: book.groups.remove("x"),
        lambda book: book.devices.get("x"),
        lambda book: book.releases.get("x"),
        lambda book: book.rollouts.get("x"),
        lambda book: book.jobs.get("r1", "x"),
        lambda book: book.tokens.get("x"),
    ):
        with pytest.raises(NotFoundError), either.store.writing() as book:
            absent(book)
    for twice in (
        lambda book: book.groups.add(GROUP),
        lambda book: book.groups.remove("lab"),
        lambda book: book.devices.add([DEVICE]),
        lambda book: book.releases.add(RELEASE),
        lambda book: book.releases.add(replace(RELEASE, id="net-2.0", version="2.0")),
        lambda book: book.rollouts.add(ROLLOUT),
    ):
        with pytest.raises(ConflictError), either.store.writing() as book:
            twice(book)
    with either.store.writing() as book:
        assert book.jobs.add([replace(JOB, state="closed")]) == 0
        assert book.jobs.get("r1", "d1").state == "download"


def test_a_writer_that_fails_leaves_nothing(either: FleetOfTests) -> None:
    def half_done() -> None:
        with either.store.writing() as book:
            fill(book)
            book.note("user x", "test.fail", "nothing")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half_done()
    with either.store.reading() as book:
        assert book.groups.find("lab") is None
        assert book.audit.last() is None


def test_of_two_changes_thought_out_on_the_same_revision_one_is_refused(either: FleetOfTests) -> None:
    with either.store.writing() as book:
        fill(book)
    with either.store.reading() as book:
        seen = book.rollouts.get("r1")
    outcomes: Counter[str] = Counter()

    def change(number: int) -> None:
        try:
            with either.store.writing() as book:
                book.rollouts.save(replace(seen, reason=f"by {number}"))
            outcomes["saved"] += 1
        except StaleError:
            outcomes["refused"] += 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(change, range(8)))
    assert outcomes == {"saved": 1, "refused": 7}
    with either.store.reading() as book:
        assert book.rollouts.get("r1").revision == seen.revision + 1


def test_the_database_itself_keeps_a_group_to_one_rollout(either: FleetOfTests) -> None:
    with either.store.writing() as book:
        fill(book)
        book.rollouts.add(replace(ROLLOUT, plan=replace(PLAN, id="r2"), state="running"))
    with pytest.raises(ConflictError, match="r2, which is running"), either.store.writing() as book:
        book.rollouts.save(replace(ROLLOUT, state="running"))
    with pytest.raises(StoreError), either.store.writing() as book:
        book.rollouts.add(replace(ROLLOUT, plan=replace(PLAN, id="r3"), state="paused"))


def test_pages_and_filters_are_those_of_plain_python(either: FleetOfTests) -> None:
    source = random.Random(3)
    devices = [
        Device(
            id=f"d_{number:03d}" if number % 2 else f"D%{number:03d}".replace("%", "-"),
            group=source.choice(["lab", "shop"]),
            tags=frozenset(source.sample(["a", "b", "c"], source.randint(0, 3))),
            state=source.choice(["pending", "enrolled", "revoked"]),
            provides=Provides(targets=tuple(source.sample(["p-1", "p-10", "q_1"], source.randint(0, 2)))),
            health=source.choice(["", "up", "down"]),
            last_seen_seconds=source.choice([None, 10.0, 20.0]),
        )
        for number in range(200)
    ]
    with either.store.writing() as book:
        book.groups.add(GROUP)
        book.groups.add(replace(GROUP, name="shop"))
        book.devices.add(devices)
    cases: list[tuple[DeviceFilter, Callable[[Device], bool]]] = [
        (DeviceFilter(), lambda one: True),
        (
            DeviceFilter(group="lab", state="enrolled"),
            lambda one: one.group == "lab" and one.state == "enrolled",
        ),
        (DeviceFilter(tags=frozenset({"a", "b"})), lambda one: {"a", "b"} <= one.tags),
        (DeviceFilter(target="p-1"), lambda one: "p-1" in one.provides.targets),
        (DeviceFilter(target="q_1"), lambda one: "q_1" in one.provides.targets),
        (DeviceFilter(health="unknown"), lambda one: one.health == ""),
        (DeviceFilter(search="d_1"), lambda one: "d_1" in one.id),
        (DeviceFilter(silent_since_seconds=15.0), lambda one: (one.last_seen_seconds or 0.0) < 15.0),
    ]
    with either.store.reading() as book:
        for wanted, holds in cases:
            expected = sorted((one for one in devices if holds(one)), key=lambda one: one.id)
            found: list[Device] = []
            while page := book.devices.page(wanted, after=found[-1].id if found else "", limit=7):
                found += page
            assert sorted(found, key=lambda one: one.id) == expected, wanted
            assert book.devices.count(wanted) == len(expected)
        assert book.devices.tallies("group") == Counter(one.group for one in devices)


def test_the_jobs_of_all_stages_are_counted_with_one_question(either: FleetOfTests) -> None:
    source = random.Random(5)
    kinds: list[dict[str, Any]] = [
        {"state": "scheduled", "result": "none", "heard_seconds": None},
        {"state": "proceeding", "result": "none", "heard_seconds": 9.0},
        {"state": "closed", "result": "success"},
        {"state": "closed", "result": "failure"},
        {"state": "rejected", "result": "failure"},
        {"state": "canceled", "result": "none"},
    ]
    devices = [
        replace(
            DEVICE,
            id=f"d{number}",
            artifact=digest(source.choice(["one", "two"])),
            state="pending" if number == 1 else source.choice(["enrolled", "revoked"]),
        )
        for number in range(300)
    ]
    jobs = [replace(JOB, device=one.id, stage=source.randrange(2), **source.choice(kinds)) for one in devices]
    with either.store.writing() as book:
        fill(book)
        book.devices.add([one for one in devices if one.id != "d1"])
        book.jobs.put([job for job in jobs if job.device == "d1"])
        book.jobs.add([job for job in jobs if job.device != "d1"])
        jobs = [replace(job, stage=0) if job.device == "d1" else job for job in jobs]
    running = {one.id: DEVICE.artifact if one.id == "d1" else one.artifact for one in devices}
    part = {one.id for one in devices if one.state == "enrolled"}
    expected = []
    for stage in range(2):
        mine = [job for job in jobs if job.stage == stage]
        still = [job for job in mine if job.state in ("scheduled", "proceeding")]
        expected.append(
            JobCounts(
                total=len(mine),
                absent=sum(job.heard_seconds is None for job in still),
                open=len(still),
                succeeded=sum(job.result == "success" for job in mine),
                failed=sum(job.result == "failure" for job in mine),
                canceled=sum(job.state == "canceled" for job in mine),
                holding=sum(running[job.device] == job.wanted for job in mine if job.device in part),
            )
        )
    asked: list[str] = []
    event.listen(either.store._engine, "before_cursor_execute", lambda *told: asked.append(told[2]))
    with either.store.reading() as book:
        asked.clear()
        assert book.jobs.counts("r1", stages=3) == (*expected, JobCounts())
        assert len(asked) == 1


def test_of_what_a_device_said_the_latest_counts_whatever_comes_last(either: FleetOfTests) -> None:
    with either.store.writing() as book:
        fill(book)
    new, old = BEGIN_SECONDS + 10, BEGIN_SECONDS + 5
    with either.store.writing() as book:
        book.devices.heard(
            [
                DeviceReport(device="d1", seconds=new, artifact=digest("two"), health="degraded"),
                DeviceReport(device="d1", seconds=old, artifact=digest("three"), desired_serial=7),
                DeviceReport(device="d1", seconds=new, provides=Provides(targets=("c",))),
                DeviceReport(device="stranger", seconds=new),
            ],
            now_seconds=book.now_seconds,
        )
    with either.store.reading() as book:
        found = book.devices.get("d1")
        assert (found.artifact, found.health, found.last_seen_seconds) == (digest("two"), "degraded", new)
        assert (found.provides.targets, found.desired_serial) == (("c",), DEVICE.desired_serial)
        assert book.devices.find("stranger") is None
    with either.store.writing() as book:
        book.devices.heard(
            [DeviceReport(device="d1", seconds=new + 1, artifact="")], now_seconds=book.now_seconds
        )
        assert book.devices.get("d1").artifact is None


def test_a_last_will_counts_though_it_is_older_than_what_the_device_said_since(
    either: FleetOfTests,
) -> None:
    """A server that was started again knows of the will's time alone, and the store of what was said before."""
    with either.store.writing() as book:
        fill(book)
    came, spoke = BEGIN_SECONDS + 5, BEGIN_SECONDS + 10

    def said(*reports: DeviceReport) -> tuple[str | None, float | None]:
        with either.store.writing() as book:
            book.devices.heard(reports, now_seconds=book.now_seconds)
            found = book.devices.get("d1")
        return found.health, found.last_seen_seconds

    up = DeviceReport(device="d1", seconds=spoke, health="up")
    will = DeviceReport(device="d1", seconds=came, health="down")
    assert said(up) == ("up", spoke)
    assert said(will) == ("down", spoke)
    assert said(DeviceReport(device="d1", seconds=came, health="up")) == ("down", spoke)
    assert said(will, up) == ("up", spoke)
    assert said(up, will) == ("down", spoke)
    assert said(DeviceReport(device="d1", seconds=spoke + 1, health="up")) == ("up", spoke + 1)


def test_a_newer_effect_takes_the_place_of_an_older_and_outlives_its_end(either: FleetOfTests) -> None:
    with either.store.writing() as book:
        first = book.effects.want("publish", "lab", "1", now_seconds=1.0)
        other = book.effects.want("revoke", "d1", "2", now_seconds=1.0)
    with either.store.writing() as book:
        second = book.effects.want("publish", "lab", "3", now_seconds=2.0)
    with either.store.writing() as book:
        book.effects.done(first)
        book.effects.failed(first, "no", due_seconds=99.0)
        assert book.effects.due(2.0, limit=10) == (other, second)
        book.effects.failed(second, "no space", due_seconds=50.0)
        assert book.effects.due(49.0, limit=10) == (other,)
        waiting = book.effects.find("publish", "lab")
        assert waiting is not None
        assert (waiting.attempts, waiting.failure) == (1, "no space")
        book.effects.done(waiting)
        assert book.effects.want("publish", "lab", "4", now_seconds=3.0).number > second.number


def test_changes_are_remembered_for_a_while(either: FleetOfTests) -> None:
    with either.store.writing() as book:
        connection = book.changes._connection
        connection.execute(
            text(
                "INSERT INTO change (number, seconds, kind, subject, document) VALUES (:n, 1, 'jobs', 'x', '{}')"
            ),
            [{"n": number} for number in range(1, KEPT + 199)],
        )
        book.changes.tell(1.0, "jobs", "rollout/r1", {"open": 3})
        assert (book.changes.newest(), book.changes.oldest()) == (KEPT + 199, 1)
        book.changes.tell(1.0, "jobs", "rollout/r1", {"open": 2})
        assert (book.changes.newest(), book.changes.oldest()) == (KEPT + 200, 201)
        assert [dict(one.document) for one in book.changes.after(KEPT + 198, limit=5)] == [
            {"open": 3},
            {"open": 2},
        ]


def test_every_token_is_given_however_many_there_are(either: FleetOfTests) -> None:
    with either.store.writing() as book:
        made = [
            book.tokens.make(
                name=f"n{number}", role="viewer", created_by="y", now_seconds=1.0, lifetime_seconds=1.0
            )[0].name
            for number in range(1_003)
        ]
        assert sorted(one.name for one in book.tokens.all()) == sorted(made)


def test_a_token_is_kept_as_a_digest_only(either: FleetOfTests) -> None:
    with either.store.writing() as book:
        token, secret = book.tokens.make(
            name="x", role="admin", created_by="y", now_seconds=1.0, lifetime_seconds=10.0
        )
        assert len(secret) >= 43
        assert book.tokens.of_secret(secret) == token
        assert book.tokens.of_secret(secret + "x") is None
        assert book.tokens.of_secret("\udce9") is None
    engine = either.store._engine
    with engine.connect() as connection:
        for table in inspect(engine).get_table_names():
            for row in connection.execute(text(f'SELECT * FROM "{table}"')):
                assert secret not in str(row)


def test_the_migrations_make_the_schema(either: FleetOfTests) -> None:
    with either.store._engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []


def test_a_store_that_must_be_there_is_not_made(new_address: Callable[[], str]) -> None:
    address = new_address()
    for _ in range(2):  # asking makes none
        with pytest.raises(InputError, match="there is no fleet in it"):
            open_store(address, must_exist=True)
    open_store(address).close()
    open_store(address, must_exist=True).close()


def test_a_store_is_made_once_by_however_many_at_the_same_time(new_address: Callable[[], str]) -> None:
    address, failed = new_address(), []

    def begin() -> None:
        try:
            store = open_store(address)
            with store.writing() as book:
                book.note("test", "test.open", "store")
            store.close()
        except EdgewrightError as error:
            failed.append(error)

    threads = [threading.Thread(target=begin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    store = open_store(address)
    with store.reading() as book:
        last = book.audit.last()
        assert last is not None
        assert (last.number, book.audit.broken()) == (4, "")
    store.close()


def test_a_store_of_a_newer_version_is_refused(new_address: Callable[[], str]) -> None:
    address = new_address()
    store = open_store(address)
    with store._engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    store.close()
    with pytest.raises(InputError, match="another version"):
        open_store(address)


def test_a_damaged_record_is_told(either: FleetOfTests) -> None:
    with either.store.writing() as book:
        fill(book)
    engine = either.store._engine
    with engine.begin() as connection:
        connection.execute(text("UPDATE rollout SET plan = '{\"id\": 3}'"))
    with pytest.raises(StoreError, match="rollout r1: the store is damaged"), either.store.reading() as book:
        book.rollouts.get("r1")


def test_a_release_is_found_by_what_it_brings_however_many_there_are(either: FleetOfTests) -> None:
    many = [
        replace(
            RELEASE,
            id=f"net-0.{number}",
            version=f"0.{number}",
            counter=10 + number,
            artifacts={"a": replace(ARTIFACT, digest=digest(f"no {number}"))},
        )
        for number in range(1_001)
    ]
    mentions = replace(ARTIFACT, path=f"models/net/{ARTIFACT.digest}.ewa", digest=digest("another"))
    with either.store.writing() as book:
        for one in many:
            book.releases.add(one)
        book.releases.add(replace(RELEASE, id="an-8", version="8", counter=8, artifacts={"a": mentions}))
        book.releases.add(replace(RELEASE, id="net-9", version="9", counter=9))
        book.releases.add(RELEASE)
    with either.store.reading() as book:
        assert book.releases.with_artifact(ARTIFACT.digest) == (RELEASE, ARTIFACT), "the first by its id"
        assert book.releases.with_artifact(digest("none")) is None


@pytest.mark.parametrize(
    "address", ["mysql://a/b", "postgresql://x:port/y", "https://example", "postgresql+asyncpg://x/y"]
)
def test_an_address_of_another_kind_is_refused(address: str) -> None:
    with pytest.raises(InputError, match="expected a file"):
        open_store(address)


def test_an_address_that_is_no_text_is_refused_without_telling_it() -> None:
    with pytest.raises(InputError, match=r"expected text in UTF-8, got another byte at place 6\.$"):
        open_store("fleet-\udcff.db")


def test_a_store_that_cannot_be_reached_is_told_without_its_password(tmp_path: Any) -> None:
    with pytest.raises(StoreError) as told:
        open_store("postgresql://fleet:geheim@127.0.0.1:1/fleet")
    assert "geheim" not in str(told.value)
    with pytest.raises(StoreError, match="unable to open"):
        open_store(str(tmp_path / "no" / "fleet.db"))
    (tmp_path / "text.db").write_text("no database at all " * 100)
    with pytest.raises(StoreError, match="not a database"):
        open_store(str(tmp_path / "text.db"))


def test_foreign_keys_hold_in_sqlite_too(either: FleetOfTests) -> None:
    with pytest.raises(StoreError), either.store.writing() as book:
        book.devices.add([DEVICE])
