"""`edgewright ingest` as a process, a real broker, a real store: what comes in, what is refused, and how it ends."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import psutil
import pytest

from device_agent.contract.commands import CommandRequest, encode_request
from device_agent.contract.telemetry.codec import encode
from device_agent.contract.telemetry.event import Event
from device_agent.contract.telemetry.measurements import (
    ExponentialHistogram,
    InferenceWindow,
    PowerSample,
    Reading,
    SystemSample,
    ThermalSample,
)
from device_agent.contract.telemetry.message import Envelope
from device_agent.contract.telemetry.result import Result, Summary, TopK
from device_agent.contract.telemetry.states import Alarm, Birth, CommandState, Health
from device_agent.contract.topics import DeviceTopics
from host_tools.free_port import free_port
from host_tools.review.store.opening import open_store
from host_tools.review.store.telemetry_store import Retention
from tests.integration.support import (
    AgentProcess,
    Mosquitto,
    Reader,
    null_artifact,
    publish,
    wait_until,
    write_config,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
TOPICS = DeviceTopics("dev-1")
DIGEST = "sha256:" + "d" * 64


class IngestProcess:
    """``edgewright ingest --json`` with its latest status and its complaints."""

    def __init__(self, port: int, store: Path, *options: str, scheme: str = "mqtt") -> None:
        address = port if isinstance(port, str) else f"{scheme}://127.0.0.1:{port}"
        command = [sys.executable, "-m", "host_tools", "ingest", "--broker", address, "--json"]
        self.process = subprocess.Popen(
            [*command, "--store", str(store), *options],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.status: dict[str, Any] = {}
        self.error: dict[str, str] = {}
        self.complaints: list[str] = []
        self._threads = [threading.Thread(target=self._read), threading.Thread(target=self._log)]
        for thread in self._threads:
            thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            document = json.loads(line)
            if "error" in document:
                self.error = document["error"]
            else:
                self.status = document

    def _log(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.complaints.append(line.rstrip())

    def wait(self, claim: Callable[[dict[str, Any]], bool], what: str) -> IngestProcess:
        wait_until(
            lambda: (self.status and claim(self.status)) or self.process.poll() is not None,
            what=what,
            seconds=120,
        )
        assert self.process.poll() is None, (self.complaints, self.error)
        return self

    def ready(self, workers: int = 1) -> IngestProcess:
        return self.wait(lambda status: status["connected"] == workers, "subscribed")

    def settled(self, count: int) -> IngestProcess:
        """Wait until so many messages are in the store, dead letters and duplicates included."""

        def done(status: dict[str, Any]) -> bool:
            return status["messages"] + status["duplicates"] + status["dead_letters"] >= count

        try:
            return self.wait(done, f"{count} messages")
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.status}") from error

    def child(self, role: str) -> psutil.Process:
        children = psutil.Process(self.process.pid).children()
        return next(child for child in children if role in child.cmdline())

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def ended(self) -> int:
        code = self.process.wait(120)
        for thread in self._threads:
            thread.join(10)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        return code


@pytest.fixture
def ingest() -> Iterator[Callable[..., IngestProcess]]:
    started: list[IngestProcess] = []

    def start(*arguments: Any, **options: Any) -> IngestProcess:
        started.append(IngestProcess(*arguments, **options))
        return started[-1]

    yield start
    for process in started:
        process.process.terminate()
        process.ended()


def envelope(seq: int, **changes: Any) -> Envelope:
    values = {
        "time": time.time(),
        "boot_id": "b1",
        "seq": seq,
        "uptime_seconds": float(seq),
        "clock": "synced",
        "artifact": DIGEST,
    }
    return Envelope(**values | changes)  # type: ignore[arg-type]


def window(seq: int, **changes: Any) -> InferenceWindow:
    quantiles = {f"latency_{part}_seconds": 0.01 for part in ("min", "max", "p50", "p90", "p95", "p99")}
    return InferenceWindow(
        envelope=envelope(seq, **changes),
        window_seconds=10.0,
        inferences_total=7,
        errors_total=1,
        dropped_frames_total=0,
        throughput_per_second=0.3,
        latency_count=3,
        latency_sum_seconds=0.03,
        hist=ExponentialHistogram(scale=5, zero_count=0, counts={-210: 1, -200: 2}),
        **quantiles,
    )


def reading(name: str, value: float) -> Reading:
    return Reading(name=name, value=value, source="hwmon", scope="board", quality="sampled")


def system(seq: int) -> SystemSample:
    names = [field.name for field in dataclasses.fields(SystemSample) if str(field.type).endswith("| None")]
    values = dict.fromkeys(names) | {"cpu_ratio": 0.5}
    absent = {name: "EACCES" for name, value in values.items() if value is None}
    return SystemSample(envelope=envelope(seq), absent=absent, **values)  # type: ignore[arg-type]


def birth(seq: int) -> Birth:
    return Birth(
        envelope=envelope(seq),
        agent_version="0.1.0",
        python_version="3.11.7",
        engine="onnx",
        engine_version="1.2",
        model_name="small",
        model_version="1.0.0",
        target="x86_64-onnxruntime",
        host={"machine": "x86_64"},
    )


def event(seq: int, *, device: str = "dev-1") -> bytes:
    return encode(
        Event(
            envelope=envelope(seq),
            device=device,
            name="throttled",
            severity="warning",
            text="hot",
            details={},
        )
    )


def publish_retained(port: int, topic: str, payload: bytes) -> None:
    command = ["mosquitto_pub", "-h", "127.0.0.1", "-p", str(port), "-t", topic, "-q", "1", "-r", "-s"]
    subprocess.run(command, input=payload, timeout=90, check=True)


def test_everything_that_devices_say_lands_where_it_belongs_and_the_rest_says_why(
    tmp_path: Path, mosquitto: Mosquitto, ingest: Callable[..., IngestProcess]
) -> None:
    port = mosquitto.start().port
    publish_retained(port, TOPICS.birth(), encode(birth(1)))
    publish_retained(
        port, TOPICS.health(), encode(Health(envelope=envelope(2), status="up", pid=1, reason=""))
    )
    metrics, page = free_port(), free_port()
    store = tmp_path / "telemetry.duckdb"
    running = ingest(port, store, "--metrics", str(metrics), "--page", str(page)).ready().settled(2)

    thermal = ThermalSample(envelope=envelope(5), readings=(reading("cpu_celsius", 50.0),))
    power = PowerSample(envelope=envelope(6), readings=(reading("vdd_watts", 5.0), reading("vdd_volts", 5.1)))
    top = TopK(name="y", shape=(1, 10), indices=(3, 1), values=(0.75, 0.2))
    summary = Summary(name="z", shape=(4,), minimum=-1.0, maximum=1.0, mean=0.0)
    result = Result(envelope=envelope(7), frame="f1", latency_seconds=0.01, outputs=(top, summary))
    alarm = Alarm(envelope=envelope(9), severity="error", text="no sensor")
    command = CommandState(envelope=envelope(10), status="successful", code="", reason="")
    newer_minor = encode(window(11)).replace(b'"1.2"', b'"1.9"').replace(b'{"', b'{"gpu_ratio":0.5,"', 1)
    good = [
        (TOPICS.measurement("inference"), encode(window(3))),
        (TOPICS.measurement("system"), encode(system(4))),
        (TOPICS.measurement("thermal"), encode(thermal)),
        (TOPICS.measurement("power"), encode(power)),
        (TOPICS.results(), encode(result)),
        (TOPICS.event("throttled"), event(8)),
        (TOPICS.alarm("no_sensor"), encode(alarm)),
        (TOPICS.command("snapshot", "c1"), encode(command)),
        (TOPICS.measurement("inference"), newer_minor),
        (TOPICS.measurement("radiation"), encode(thermal).replace(b'"seq":5', b'"seq":12')),
        (TOPICS.measurement("inference"), encode(window(13, time=4e9, clock="floor"))),
        (TOPICS.alarm("no_sensor"), b""),
    ]
    ignored = [
        (TOPICS.command("snapshot", "c2"), encode_request(CommandRequest(time=1.0), "snapshot")),
        (TOPICS.command("snapshot", "c2"), b""),
    ]
    twice = good[:1]
    bad = [
        (TOPICS.measurement("inference"), b"{", "not valid JSON"),
        (
            TOPICS.measurement("inference"),
            encode(window(20)).replace(b'"1.2"', b'"2.0"'),
            "newer than 1.2",
        ),
        (TOPICS.measurement("inference"), encode(window(21, time=time.time() + 1e6)), "after its receipt"),
        (TOPICS.measurement("thermal"), b" " * ((1 << 20) + 1), "at most 1048576 bytes"),
        (TOPICS.measurement("inference"), encode(window(22)).replace(b'"absent":{}', b""), "not valid JSON"),
        (TOPICS.measurement("inference"), encode(window(23)).replace(b'"seq":23', b'"seq":1e3'), "seq"),
        (TOPICS.event("throttled"), event(24, device="dev-2"), "of 'dev-2'"),
        ("ew/v1/device/no%20id///m/inference", encode(window(25)), "device id"),
        ("ew/v1/device/dev-1/x/y/m/inference", encode(window(26)), "two empty segments"),
    ]
    for topic, payload in [*good, *ignored, *twice, *((topic, payload) for topic, payload, _ in bad)]:
        publish(port, topic, payload)
    running.settled(2 + len(good) + len(twice) + len(bad))
    with urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics", timeout=60) as answer:
        figures = dict(line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if line[0] != "#")
    with urllib.request.urlopen(f"http://127.0.0.1:{page}/", timeout=60) as answer:
        assert b"<html" in answer.read()
    assert running.stop() == 0
    assert running.complaints == [f"edgewright: the page: http://127.0.0.1:{page}/"]
    # A message that was retained may come by both subscriptions.
    assert running.status["messages"] >= 2 + len(good) - 1
    assert running.status["dead_letters"] == len(bad)
    assert running.status["duplicates"] >= len(twice)
    assert float(figures["edgewright_ingest_dead_letters_total"]) == len(bad)
    told = re.findall(r"`(edgewright_ingest_[a-z_]+)`", (ROOT / "docs" / "ingest.md").read_text())
    assert sorted(figures) == sorted(told), "the document names every figure, and no other"

    opened = open_store(str(store))
    letters = {letter.reason: letter for letter in opened.dead_letters()}
    for (topic, payload, why), (reason, letter) in zip(
        bad, sorted(letters.items(), key=order(bad)), strict=True
    ):
        assert why in reason
        assert letter.topic == topic
        assert letter.payload == payload[: 64 << 10]
        assert letter.payload_bytes == len(payload)
    (device,) = opened.devices()
    assert (device.device, device.status, device.artifact) == ("dev-1", "up", DIGEST)
    assert dict(device.labels)["target"] == "x86_64-onnxruntime"
    opened.close()
    with duckdb.connect(str(store), read_only=True) as connection:

        def seqs(table: str) -> list[int]:
            return sorted(
                row[0] for row in connection.execute(f"SELECT DISTINCT seq FROM {table}").fetchall()
            )

        assert seqs("inference") == [3, 11, 13]
        assert seqs("reading") == [4, 5, 6]
        assert seqs("output") == [7]
        assert seqs("event") == [8]
        assert sorted(connection.execute("SELECT severity FROM alarm").fetchall()) == [
            ("cleared",),
            ("error",),
        ]
        # The numbers of what is not kept are known all the same.
        assert connection.execute("SELECT min(first), max(last), count(*) FROM heard").fetchone() == (
            3,
            13,
            1,
        )


def order(bad: list[Any]) -> Callable[[tuple[str, Any]], int]:
    return lambda item: next(
        place
        for place, (_, _, why) in enumerate(bad)
        if why in item[0]
        and not (why == "not valid JSON" and (item[1].payload == b"{") != (bad[place][1] == b"{"))
    )


def test_a_smaller_ingest_takes_over_what_waits_for_the_larger_one(
    tmp_path: Path, mosquitto: Mosquitto, ingest: Callable[..., IngestProcess]
) -> None:
    port = mosquitto.start().port
    store = tmp_path / "telemetry.duckdb"
    assert ingest(port, store, "--workers", "2").ready(2).stop() == 0
    for seq in range(1, 21):  # ten for each of the two sessions
        publish(port, TOPICS.measurement("inference"), encode(window(seq)))
    smaller = ingest(port, store).settled(20)
    wait_until(
        lambda: any("worker 1 of an earlier ingest" in line for line in smaller.complaints), what="retired"
    )
    for seq in range(21, 31):  # nothing goes to a session that nobody takes care of
        publish(port, TOPICS.measurement("inference"), encode(window(seq)))
    smaller.settled(30)
    assert smaller.stop() == 0
    with duckdb.connect(str(store), read_only=True) as connection:
        assert connection.execute("SELECT count(*), count(DISTINCT seq) FROM inference").fetchone() == (
            30,
            30,
        )


def test_a_disk_that_is_full_for_a_while_costs_nothing(
    tmp_path: Path, mosquitto: Mosquitto, ingest: Callable[..., IngestProcess]
) -> None:
    port = mosquitto.start().port
    store = tmp_path / "telemetry.duckdb"
    running = ingest(port, store).ready()
    publish(port, TOPICS.measurement("inference"), encode(window(1)))
    running.settled(1)
    writer = running.child("writer")
    writer.rlimit(psutil.RLIMIT_FSIZE, (4096, psutil.RLIM_INFINITY))  # no file may grow: EFBIG, as ENOSPC
    for seq in range(2, 12):
        publish(port, TOPICS.measurement("inference"), encode(window(seq)))
    running.wait(lambda status: status["store_failures"] >= 1, "the store fails")
    assert any(str(store) in line for line in running.complaints), running.complaints
    for child in psutil.Process(running.process.pid).children():
        child.rlimit(psutil.RLIMIT_FSIZE, (psutil.RLIM_INFINITY, psutil.RLIM_INFINITY))
    wait_until(lambda: running.status["held"] == 0, what="written after all", seconds=120)
    assert running.stop() == 0
    with duckdb.connect(str(store), read_only=True) as connection:
        assert connection.execute("SELECT count(*), count(DISTINCT seq) FROM inference").fetchone() == (
            11,
            11,
        )


def test_a_writer_that_stands_still_fills_the_brokers_queue_and_no_process(
    tmp_path: Path, mosquitto: Mosquitto, ingest: Callable[..., IngestProcess]
) -> None:
    port = mosquitto.start().port
    store = tmp_path / "telemetry.duckdb"
    running = ingest(port, store, "--unacknowledged", "50").ready()
    writer = running.child("writer")
    writer.suspend()
    try:
        lines = b"".join(encode(window(seq)) + b"\n" for seq in range(1, 301))
        command = ["mosquitto_pub", "-h", "127.0.0.1", "-p", str(port), "-q", "1", "-l"]
        subprocess.run([*command, "-t", TOPICS.measurement("inference")], input=lines, timeout=90, check=True)
        full = running.wait(lambda status: status["held"] == 50, "it holds as many as it may").status
        running.wait(lambda status: status["seconds"] >= full["seconds"] + 2.0, "two seconds later")
        assert (running.status["received"], running.status["held"]) == (50, 50)
    finally:
        writer.resume()
    running.settled(300)
    assert running.stop() == 0
    with duckdb.connect(str(store), read_only=True) as connection:
        counted = connection.execute("SELECT count(*), count(DISTINCT seq) FROM inference").fetchone()
    assert counted == (300, 300)


def test_a_broker_that_comes_later_is_waited_for_and_one_that_goes_is_found_again(
    tmp_path: Path, mosquitto: Mosquitto, ingest: Callable[..., IngestProcess]
) -> None:
    store = tmp_path / "telemetry.duckdb"
    running = ingest(mosquitto.port, store)
    wait_until(lambda: any("cannot connect" in line for line in running.complaints), what="it says so")
    mosquitto.start()
    running.ready()
    mosquitto.stop()
    running.wait(lambda status: status["connected"] == 0, "it notices")
    mosquitto.start()
    # A single worker's subscription is one that mosquitto keeps over a restart.
    publish(mosquitto.port, TOPICS.measurement("inference"), encode(window(1)))
    running.ready().settled(1)
    assert running.stop() == 0


def test_what_a_killed_broker_had_acknowledged_and_not_passed_on_the_agent_sends_again(
    tmp_path: Path, mosquitto: Mosquitto, ingest: Callable[..., IngestProcess]
) -> None:
    store = tmp_path / "telemetry.duckdb"
    assert ingest(mosquitto.start().port, store).ready().stop() == 0
    config = write_config(
        tmp_path,
        mosquitto.port,
        null_artifact(tmp_path / "a.ewa"),
        mqtt={"version": "5", "resend_seconds": 120.0},
    )
    with AgentProcess(config) as agent:
        held = Reader(mosquitto.port, tmp_path / "heard", version="5").wait_until_subscribed(mosquitto.port)
        wait_until(lambda: len(held.about("/m/inference")) >= 8, what="windows that wait in the broker")
        held.close()
        mosquitto.kill()  # it has saved nothing: neither the windows nor that anybody wants them
        mosquitto.start()
        agent.wait_for_log("reconnected")
        time.sleep(1.0)  # and the agent is back before ingest is: nobody is subscribed
        running = ingest(mosquitto.port, store).ready()
        running.wait(lambda status: status["messages"] >= 40, "what was lost, and more")
        assert agent.stop() == 0
        wait_until(lambda: running.status["held"] == 0, what="all is written")
        time.sleep(1.0)
        assert running.stop() == 0
    with duckdb.connect(str(store), read_only=True) as connection:
        counted, total, rows, numbers = connection.execute(
            "SELECT sum(latency_count), max(inferences_total), count(*), count(DISTINCT seq) FROM inference"
        ).fetchall()[0]
    assert counted == total  # totals are of the whole run: no window is missing
    assert rows == numbers >= 8


def test_two_ingests_with_one_name_are_told_of_each_other(
    tmp_path: Path, mosquitto: Mosquitto, ingest: Callable[..., IngestProcess]
) -> None:
    port = mosquitto.start().port
    both = [ingest(port, tmp_path / f"{number}.duckdb").ready() for number in range(2)]
    wait_until(
        lambda: any("an ingest of the same --name" in line for one in both for line in one.complaints),
        what="one of them says so",
        seconds=120,
    )


def test_a_store_that_cannot_be_used_ends_it_with_the_reason(
    tmp_path: Path, mosquitto: Mosquitto, ingest: Callable[..., IngestProcess]
) -> None:
    port = mosquitto.start().port
    damaged = tmp_path / "damaged.duckdb"
    damaged.write_bytes(b"DUCK" * 5000)
    spoiled = ingest(port, damaged)
    taken = tmp_path / "taken.duckdb"
    holder = ingest(port, taken).ready()
    second = ingest(port, taken, "--name", "other")
    for one, where, code in ((spoiled, damaged, "store_damaged"), (second, taken, "store_in_use")):
        assert one.ended() == 7
        assert one.error["code"] == code
        assert str(where) in one.error["message"]
        assert len(one.complaints) == 1
    assert holder.stop() == 0


def test_a_store_that_is_damaged_meanwhile_ends_it_and_a_backup_gets_what_was_not_committed(
    tmp_path: Path, mosquitto: Mosquitto, ingest: Callable[..., IngestProcess]
) -> None:
    port, store, copy = mosquitto.start().port, tmp_path / "telemetry.duckdb", tmp_path / "copy.duckdb"
    first = ingest(port, store).ready()
    for seq in range(1, 4):
        publish(port, TOPICS.measurement("inference"), encode(window(seq)))
    assert first.settled(3).stop() == 0
    copy.write_bytes(store.read_bytes())

    running = ingest(port, store).ready()
    writer = running.child("writer")
    writer.suspend()  # what comes now is committed by nobody
    for seq in range(4, 9):
        publish(port, TOPICS.measurement("inference"), encode(window(seq)))
    running.wait(lambda status: status["held"] == 5, "the worker has them")
    with store.open("r+b") as file:  # all but the headers, in place, as a broken disk would
        file.seek(12_288)
        file.write(b"\xa5" * (store.stat().st_size - 12_288))
    writer.kill()
    assert running.ended() == 7
    assert running.error["code"] == "store_damaged"
    assert str(store) in running.error["message"]
    assert running.error["hint"] == "The file is damaged; restore a backup."
    assert not any("did not end within" in line for line in running.complaints), running.complaints

    store.write_bytes(copy.read_bytes())
    store.with_name(f"{store.name}.wal").unlink(missing_ok=True)  # of the damaged file
    assert ingest(port, store).settled(5).stop() == 0
    with duckdb.connect(str(store), read_only=True) as connection:
        seqs = sorted(connection.execute("SELECT seq FROM inference").fetchall())
    assert seqs == [(seq,) for seq in range(1, 9)]


def test_it_ends_in_order_when_nobody_reads_what_it_prints(tmp_path: Path, mosquitto: Mosquitto) -> None:
    port, store = mosquitto.start().port, tmp_path / "telemetry.duckdb"
    command = [sys.executable, "-m", "host_tools", "ingest", "--broker", f"mqtt://127.0.0.1:{port}", "--json"]
    with (
        tempfile.TemporaryDirectory() as temporary,  # the path of a socket has to be short
        subprocess.Popen(
            [*command, "--store", str(store)],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": temporary},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        assert process.stderr is not None
        while not json.loads(process.stdout.readline())["connected"]:
            pass
        publish(port, TOPICS.measurement("inference"), encode(window(1)))
        while json.loads(process.stdout.readline())["messages"] < 1:
            pass
        process.stdout.close()
        assert process.wait(120) == 0
        assert process.stderr.read() == ""
        assert list(Path(temporary).iterdir()) == []
    with duckdb.connect(str(store), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM inference").fetchone() == (1,)


def test_limits_that_are_given_hold(
    tmp_path: Path, mosquitto: Mosquitto, ingest: Callable[..., IngestProcess]
) -> None:
    port, store = mosquitto.start().port, tmp_path / "telemetry.duckdb"
    process = ingest(port, store, "--limit", "devices=2", "--limit", "holes=1").ready()
    for seq, device in ((1, "dev-1"), (3, "dev-1"), (5, "dev-1"), (1, "dev-2"), (1, "dev-3")):
        publish(port, DeviceTopics(device).event("throttled"), event(seq, device=device))
    process.settled(6)  # four events, a device too many and a hole too many
    assert process.stop() == 0
    with_letters = open_store(store, read_only=True)
    reasons = sorted(letter.reason.split(":")[0] for letter in with_letters.dead_letters())
    assert {device.device: device.missing for device in with_letters.devices()} == {"dev-1": 2, "dev-2": 0}
    with_letters.close()
    assert reasons == [
        "device 'dev-3' is new, and this store has 2, as many as it takes; see \"What is bounded\" in docs/ingest.md.",
        f"run {envelope(1).boot_id!r} has more than 1 holes in its numbers",
    ]


def test_how_long_what_is_kept_is_told_once_and_remembered(
    tmp_path: Path, mosquitto: Mosquitto, ingest: Callable[..., IngestProcess]
) -> None:
    port, store = mosquitto.start().port, tmp_path / "telemetry.duckdb"

    def remembered() -> Retention:
        with_retention = open_store(store, read_only=True)
        try:
            return with_retention.retention()
        finally:
            with_retention.close()

    options = ("--keep", "messages=0.5", "--keep", "day=4000", "--keep", "events=forever")
    assert ingest(port, store, *options).ready().stop() == 0
    kept = Retention(messages_days=0.5, day_days=4000.0, events_days=None)
    assert remembered() == kept
    assert ingest(port, store, "--keep", "hour=500").ready().stop() == 0
    kept = dataclasses.replace(kept, hour_days=500.0)
    assert remembered() == kept
    wrong = ingest(port, store, "--keep", "minute=1")
    assert wrong.ended() == 2
    assert (
        "minute: expected at least as long as seconds_10, which is kept 3 days, got 1"
        in wrong.error["message"]
    )
    assert remembered() == kept


def test_a_copy_that_is_made_meanwhile_is_read_by_every_review(
    tmp_path: Path, mosquitto: Mosquitto, ingest: Callable[..., IngestProcess]
) -> None:
    port, store, folder = mosquitto.start().port, tmp_path / "telemetry.duckdb", tmp_path / "backups"
    process = ingest(port, store, "--backup", str(folder), "--backup-every", "0.0005").ready()
    publish(port, TOPICS.event("throttled"), event(1))
    process.settled(1)

    def copies() -> list[Path]:
        return sorted(folder.glob("telemetry-*Z.duckdb"))

    before = copies()[-1].name if copies() else ""
    wait_until(
        lambda: len(copies()) == 2 and copies()[0].name > before, what="copies since the message", seconds=120
    )
    copy = tmp_path / "copy.duckdb"
    copy.write_bytes(copies()[-1].read_bytes())
    assert process.stop() == 0
    assert process.complaints == []
    reader = open_store(copy, read_only=True)
    assert [device.device for device in reader.devices()] == ["dev-1"]
    reader.close()


def test_of_a_killed_ingest_nothing_is_left_that_has_the_store(
    tmp_path: Path, mosquitto: Mosquitto, ingest: Callable[..., IngestProcess]
) -> None:
    """Whatever its processes are in: here the writer would wait for a worker that does not answer."""
    port, store = mosquitto.start().port, tmp_path / "telemetry.duckdb"
    first = ingest(port, store).ready()
    writer, worker = first.child("writer"), first.child("worker")
    worker.suspend()
    try:
        first.process.kill()
        first.process.wait(60)  # its standard error stays open: the worker has it, too
        second = ingest(port, store).ready()
        assert not writer.is_running() or writer.status() == psutil.STATUS_ZOMBIE
        assert not any(str(store) in line for line in second.complaints), second.complaints
    finally:
        worker.resume()
    wait_until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE, what="gone")
    first.ended()
    assert second.stop() == 0


def test_a_time_in_which_no_broker_was_there_is_no_success(
    tmp_path: Path, ingest: Callable[..., IngestProcess]
) -> None:
    unreached = ingest(free_port(), tmp_path / "telemetry.duckdb", "--seconds", "1")
    assert unreached.ended() == 6
    assert "no worker was connected within 1 s" in unreached.error["message"]


def test_a_broker_that_refuses_ends_it_with_the_reason(
    tmp_path: Path, certificates: Path, ingest: Callable[..., IngestProcess]
) -> None:
    folder = tmp_path / "broker"
    folder.mkdir()
    (folder / "passwords").write_text("")
    broker = Mosquitto(
        folder,
        *("allow_anonymous false", f"password_file {folder}/passwords"),
        *(f"certfile {certificates}/server.crt", f"keyfile {certificates}/server.key"),
    ).start()
    try:
        store = tmp_path / "telemetry.duckdb"
        authority = ("--ca", str(certificates / "authority.crt"))
        refused = ingest(broker.port, store, *authority, scheme="mqtts")
        assert refused.ended() == 6
        assert "refuses the connection: Not authorized" in refused.error["message"]
        other = ("--ca", str(certificates / "stranger.crt"))
        unknown = ingest(broker.port, store, *other, scheme="mqtts")
        wait_until(
            lambda: any("CERTIFICATE_VERIFY_FAILED" in line for line in unknown.complaints), what="told"
        )
        missing = ingest(
            broker.port, tmp_path / "2.duckdb", "--ca", str(tmp_path / "none.crt"), scheme="mqtts"
        )
        assert missing.ended() == 2
        assert "no such file" in missing.error["message"]
    finally:
        broker.stop()
