"""Commands: what is done, what is refused and why, and one end each, whatever happens between any two steps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_agent.commands.desk import CommandDesk, DeskLimits, Outcome
from device_agent.commands.door import CommandDoor
from device_agent.commands.ledger import CommandRecord, Ledger
from device_agent.contract.commands import (
    MAX_REQUEST_BYTES,
    OPERATIONS,
    CommandRequest,
    decode_request,
    encode_request,
)
from device_agent.contract.errors import ContractError, SchemaVersionError
from device_agent.contract.topics import DeviceTopics
from device_agent.telemetry.subscription import Incoming

NOW = 1_800_000_000.0
TOPICS = DeviceTopics("dev-1")
Key = tuple[str, str]


class KilledError(Exception):
    """The process is gone."""


class Site:
    """A device whose disk outlives its process, and the broker's retained states of commands."""

    def __init__(self, folder: Path, **limits: object) -> None:
        self.path = folder / "commands.json"
        self.limits = {
            "allowed": OPERATIONS, "max_waiting": 3, "max_per_minute": 100.0, "max_age_seconds": 600.0, "timeout_seconds": 10.0,
        } | limits  # fmt: skip
        self.clock = "synced"
        self.begun: list[Key] = []
        self.told: list[CommandRecord] = []
        self.retained: dict[Key, bytes] = {}
        self.answer: Outcome | None = Outcome()
        self.kill_at: Callable[[str], None] = lambda _: None
        self.start()

    def start(self) -> None:
        self.desk = CommandDesk(
            root="ew/v1",
            limits=DeskLimits(**self.limits),
            ledger=Ledger(self.path, keep=5),
            wall=lambda: (NOW, self.clock),
            begin=self._begin,
            tell=self._tell,
        )
        self.desk.recover()

    def _begin(self, key: Key, operation: str, arguments: object) -> Outcome | None:
        self.kill_at("before it is done")
        self.begun.append(key)
        self.kill_at("after it was done")
        return self.answer

    def _tell(self, record: CommandRecord) -> bool:
        self.kill_at(f"before {record.status} is told")
        self.told.append(record)
        self.retained[record.key] = json.dumps({"status": record.status}).encode()
        self.kill_at(f"after {record.status} was told")
        return True

    def ask(self, operation: str, command_id: str, payload: bytes | None = None, *, now: float = 0.0) -> None:
        payload = request(operation) if payload is None else payload
        self.retained[operation, command_id] = payload
        self.desk.offer(TOPICS.command(operation, command_id), payload, now)
        self.desk.turn(now)

    def reconnect(self, now: float = 0.0) -> None:
        """The broker gives every retained message to the new subscription."""
        for (operation, command_id), payload in list(self.retained.items()):
            self.desk.offer(TOPICS.command(operation, command_id), payload, now)
            self.desk.turn(now)

    def ends(self, key: Key) -> list[tuple[str, str]]:
        return [(one.status, one.code) for one in self.told if one.key == key and one.status != "executing"]


def request(operation: str = "pause", **fields: object) -> bytes:
    document = {"schema_version": "1.0", "status": "init", "time": NOW}
    if operation == "log_level":
        document["arguments"] = {"level": "debug"}
    return json.dumps(document | fields).encode()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_command_is_begun_once_and_ends_once(site: Site, operation: str) -> None:
    site.ask(operation, "a1")
    assert [record.status for record in site.told] == ["executing", "successful"]
    site.ask(operation, "a1")
    site.reconnect()
    assert site.begun == [(operation, "a1")]
    assert set(site.ends((operation, "a1"))) == {("successful", "")}


@pytest.mark.parametrize(
    ("operation", "payload", "code"),
    [
        ("reboot", request("reboot"), "unknown_operation"),
        ("pause", b"\xff\xfe", "malformed"),
        ("pause", b"[]", "malformed"),
        ("pause", request(time="now"), "malformed"),
        ("pause", request(arguments={"level": "debug"}), "malformed"),
        ("pause", request(schema_version="2.0"), "malformed"),
        ("log_level", request("pause"), "malformed"),
        ("pause", request(arguments={"model": 5}), "malformed"),
        ("pause", request(arguments={"model": "x" * 65}), "malformed"),
        ("snapshot", request(arguments={"model": "gate"}), "malformed"),
        ("log_level", request(arguments={"level": "loud"}), "malformed"),
        ("log_level", request(arguments={"level": "info", "for": "1"}), "malformed"),
        ("pause", request(note="x" * MAX_REQUEST_BYTES), "oversized"),
        ("pause", b"x" * (MAX_REQUEST_BYTES + 1), "oversized"),
        ("pause", request(time=NOW - 601.0), "expired"),
        ("pause", request(expires=NOW), "expired"),
        ("pause", request(time=NOW - 1e9, expires=NOW + 1e9), "expired"),
        ("resume", request(), "not_allowed"),
        ("pause", b'{"status": "executing"}', "lost"),
    ],
)  # fmt: skip
def test_a_refused_command_is_not_begun_and_its_topic_says_why(
    tmp_path: Path, operation: str, payload: bytes, code: str
) -> None:
    site = Site(tmp_path, allowed=tuple(name for name in OPERATIONS if name != "resume"))
    site.ask(operation, "a1", payload)
    site.reconnect()
    assert site.begun == []
    assert set(site.ends((operation, "a1"))) == {("failed", code)}
    assert site.told[0].reason


def test_a_clock_that_is_not_set_refuses_because_age_cannot_be_told(site: Site) -> None:
    site.clock = "floor"
    site.ask("pause", "a1")
    assert site.ends(("pause", "a1")) == [("failed", "clock")]


def test_a_request_from_the_future_is_refused_for_it_would_not_grow_old(site: Site) -> None:
    site.ask("pause", "a1", request(time=NOW + 600.0))
    site.ask("pause", "a2", request(time=NOW + 601.0, expires=NOW + 602.0))
    assert site.ends(("pause", "a1")) == [("successful", "")]
    assert site.ends(("pause", "a2")) == [("failed", "clock")]
    assert site.begun == [("pause", "a1")]


def test_one_at_a_time_and_too_many_are_refused(site: Site) -> None:
    site.answer = None
    for number in range(5):
        site.ask("pause", f"a{number}")
    assert site.begun == [("pause", "a0")]
    assert site.ends(("pause", "a4")) == [("failed", "too_many")]
    for number in range(4):
        site.desk.complete(("pause", f"a{number}"), Outcome())
        site.desk.turn(0.0)
    assert site.begun == [("pause", f"a{number}") for number in range(4)]
    assert all(site.ends(("pause", f"a{number}")) == [("successful", "")] for number in range(4))


def test_a_request_that_expires_while_it_waits_is_not_begun(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.answer = None
    site.ask("pause", "a0")
    site.ask("resume", "a1", request(expires=NOW + 5.0))
    monkeypatch.setattr(site.desk, "_wall", lambda: (NOW + 6.0, "synced"))
    site.desk.complete(("pause", "a0"), Outcome())
    site.desk.turn(0.0)
    assert site.begun == [("pause", "a0")]
    assert site.ends(("resume", "a1")) == [("failed", "expired")]


def test_what_takes_too_long_has_failed_and_its_late_end_changes_nothing(site: Site) -> None:
    site.answer = None
    site.ask("pause", "a0")
    assert site.desk.turn(9.9) == 10.0
    site.desk.turn(10.0)
    site.desk.complete(("pause", "a0"), Outcome())
    assert site.ends(("pause", "a0")) == [("failed", "timeout")]


def test_a_flood_is_answered_at_a_rate_and_the_rest_counted(tmp_path: Path) -> None:
    site = Site(tmp_path, max_per_minute=6.0)
    for number in range(1000):
        site.ask("nonsense", f"a{number}")
    assert (len(site.told), site.desk.ignored) == (6, 994)
    site.ask("pause", "b", now=10.0)
    assert site.begun == [("pause", "b")], "a minute's sixth later there is room for one"
    assert len(json.loads(site.path.read_bytes())["commands"]) <= 6


def test_topics_that_are_none_are_counted(site: Site) -> None:
    for topic in ("ew/v1/device/dev-1///cmd/Pause/a", "ew/v1/device/dev-1///cmd/pause/a b", "other"):
        site.desk.offer(topic, request(), 0.0)
    assert (site.desk.ignored, site.told) == (3, [])


def test_an_empty_payload_and_a_foreign_end_want_nothing(site: Site) -> None:
    for payload in (b"", b'{"status": "successful"}', b'{"status": "failed"}'):
        site.ask("pause", "a1", payload)
    assert (site.told, site.begun) == ([], [])


def test_garbage_over_a_known_command_is_overwritten_by_what_is_known(site: Site) -> None:
    site.ask("pause", "a1")
    site.ask("pause", "a1", b"garbage")
    assert json.loads(site.retained["pause", "a1"]) == {"status": "successful"}
    assert site.begun == [("pause", "a1")]


def test_what_concerns_the_model_waits_until_it_runs_and_the_rest_does_not(site: Site) -> None:
    site.desk.offer(TOPICS.command("snapshot", "s"), request(), 0.0)
    site.desk.offer(TOPICS.command("pause", "p"), request(), 0.0)
    site.desk.turn(0.0, model_runs=False)
    assert site.begun == [("snapshot", "s")]
    site.desk.turn(1.0, model_runs=True)
    assert site.begun == [("snapshot", "s"), ("pause", "p")]


# --- power cuts ---


MOMENTS = (
    "before executing is told", "after executing was told", "before it is done", "after it was done",
    "before successful is told", "after successful was told",
)  # fmt: skip


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_kill_at_any_moment_leaves_one_end_and_nothing_is_done_twice(site: Site, moment: str) -> None:
    def kill(now: str) -> None:
        if now == moment:
            raise KilledError

    site.kill_at = kill
    with pytest.raises(KilledError):
        site.ask("restart_model", "a1")
    site.kill_at = lambda _: None
    site.start()
    site.reconnect()
    site.start()
    site.reconnect()
    ends = set(site.ends(("restart_model", "a1")))
    finished = moment in ("before successful is told", "after successful was told")
    assert ends == ({("successful", "")} if finished else {("failed", "interrupted")})
    assert len(site.begun) <= 1
    site.ask("resume", "b1")
    assert site.ends(("resume", "b1")) == [("successful", "")], "and the next one works"


@settings(max_examples=150, deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["ask", "kill", "finish", "reconnect", "wait"]),
            st.integers(0, 4),
            st.integers(0, 12),
        ),
        max_size=25,
    )
)
def test_any_order_of_asking_killing_and_coming_back_gives_one_end(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, int]]
) -> None:
    site = Site(tmp_path_factory.mktemp("site"), max_per_minute=6000.0)
    site.answer = None
    now, asked = 0.0, set()
    for what, number, countdown in steps:
        key = ("pause", f"a{number}")
        left = [countdown]

        def kill(_moment: str, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise KilledError

        try:
            if what == "kill":
                site.kill_at = kill
            if what in ("ask", "kill"):
                asked.add(key)
                site.ask(*key, now=now) if key not in site.retained else site.reconnect(now)
            elif what == "finish" and site.desk.current:
                site.desk.complete(site.desk.current, Outcome())
            elif what == "reconnect":
                site.reconnect(now)
            elif what == "wait":
                now += 4.0
                site.desk.turn(now)
        except KilledError:
            pass
        if site.kill_at is kill:
            site.kill_at = lambda _: None
            site.start()
    for _ in range(12):
        site.reconnect(now)
        if site.desk.current:
            site.desk.complete(site.desk.current, Outcome())
        site.desk.turn(now)
    for key in asked:
        assert len(set(site.ends(key))) == 1, (key, site.ends(key))
        assert site.begun.count(key) <= 1
        assert json.loads(site.retained[key])["status"] != "executing"


def test_a_stop_ends_what_is_done_and_leaves_what_waits_to_the_next_start(site: Site) -> None:
    site.answer = None
    site.ask("pause", "a0")
    site.ask("resume", "a1")
    site.desk.close("the agent ends")
    assert site.ends(("pause", "a0")) == [("failed", "interrupted")]
    assert site.ends(("resume", "a1")) == []
    site.answer = Outcome()
    site.start()
    site.reconnect()
    assert site.ends(("resume", "a1")) == [("successful", "")]


# --- the disk ---


def test_what_cannot_be_written_down_is_not_begun(site: Site, tmp_path: Path) -> None:
    site.path.with_name("commands.json.new").mkdir()  # where the new file would be written
    site.ask("pause", "a1")
    assert site.begun == []
    assert site.ends(("pause", "a1")) == [("failed", "storage")]


@pytest.mark.parametrize(
    "damage", [b"", b"{", b'{"schema_version": "1.0", "commands": [{}]}', b"\0" * 2_000_000]
)
def test_a_damaged_ledger_is_set_aside_and_said(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "commands.json"
    path.write_bytes(damage)
    ledger = Ledger(path, keep=5)
    assert str(path) in ledger.damage
    assert path.with_name("commands.json.damaged").read_bytes() == damage
    ledger.put(CommandRecord(operation="pause", id="a", status="executing"))
    assert [record.id for record in Ledger(path, keep=5).unsettled] == ["a"]


def test_the_ledger_stays_small_and_keeps_what_is_not_settled(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l", keep=5)
    ledger.put(CommandRecord(operation="pause", id="open", status="executing"))
    for number in range(50):
        result = {"text": "x" * 1000}
        ledger.put(
            CommandRecord(operation="snapshot", id=f"{number}", status="successful", result=result, told=True)
        )
    again = Ledger(tmp_path / "l", keep=5)
    assert [record.id for record in again.unsettled] == ["open"]
    assert [number for number in range(50) if again.get(("snapshot", f"{number}"))] == list(range(45, 50))
    assert (tmp_path / "l").stat().st_size < 2_000


def test_ends_that_no_disk_takes_fill_no_ledger_beyond_what_it_can_read(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l", keep=5)
    for number in range(300):
        ledger.put(
            CommandRecord(
                operation="snapshot",
                id=f"{number}",
                status="failed",
                code="malformed",
                reason="\u8a9e" * 400,
                result={"text": "x" * 3_000},
            )
        )
    again = Ledger(tmp_path / "l", keep=5)
    assert again.damage == ""
    assert [record.id for record in again.unsettled] == [f"{number}" for number in range(300 - 261, 300)]


# --- the door and the bytes ---


def test_the_door_holds_few_and_short_messages() -> None:
    woken: list[int] = []
    door = CommandDoor(lambda: woken.append(1))
    for _ in range(1000):
        door.offer(Incoming(topic="t", payload=bytes(1 << 20)))
    held = []
    while (one := door.take()) is not None:
        held.append(one)
    assert len(held) == len(woken) == 64
    assert door.turned_away == 936
    assert sum(len(one.payload) for one in held) < 2 << 20


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.text(max_size=5) | st.floats() | st.integers(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["schema_version", "status", "time", "expires", "arguments", "level", "x"]),
                inner,
                max_size=5,
            )
        ),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode()),
    st.sampled_from(OPERATIONS),
)
def test_any_bytes_are_a_request_or_refused(payload: bytes, operation: str) -> None:
    try:
        read = decode_request(payload, operation, where="m")
    except ContractError as error:
        assert str(error).startswith("m: ")
    else:
        assert decode_request(encode_request(read, operation), operation, where="m") == read


@settings(max_examples=200, deadline=None)
@given(
    topic=st.text(max_size=40)
    | st.builds("ew/v1/device/dev-1///cmd/{}/{}".format, st.text(max_size=8), st.text(max_size=8)),
    payload=st.binary(max_size=60),
)
def test_any_message_leaves_the_desk_working(
    tmp_path_factory: pytest.TempPathFactory, topic: str, payload: bytes
) -> None:
    site = Site(tmp_path_factory.mktemp("fuzz"))
    site.desk.offer(topic, payload, 0.0)
    site.desk.turn(0.0)
    assert site.begun == []
    site.ask("pause", "good-one")
    assert site.ends(("pause", "good-one")) == [("successful", "")]


def test_a_newer_major_version_says_so() -> None:
    with pytest.raises(SchemaVersionError, match=r"m: schema_version 2\.0 is newer"):
        decode_request(request(schema_version="2.0"), "pause", where="m")


def test_a_request_that_breaks_a_rule_is_not_written() -> None:
    with pytest.raises(ContractError, match="arguments"):
        encode_request(CommandRequest(time=1.0), "log_level")
