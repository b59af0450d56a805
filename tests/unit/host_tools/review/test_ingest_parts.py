"""Parts of ingest by themselves: hostile messages, batches, pauses, sums over processes."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host_tools.errors import InputError
from host_tools.review.broker_address import TlsFiles, parse_broker
from host_tools.review.ingest.batching import Collector, joined, pack, seconds_to_grow, unpack
from host_tools.review.ingest.channel import Channel, Fatal, Note, WorkerStatus, WriterStatus, read_report
from host_tools.review.ingest.frames import Inbox, WriterLink
from host_tools.review.ingest.interpreter import COARSEST_SCALE, Interpreter
from host_tools.review.ingest.metrics import Metrics
from host_tools.review.ingest.overview import Totals
from host_tools.review.ingest.pauses import Pauses
from host_tools.review.ingest.rows import Rows
from host_tools.review.ingest.settings import IngestSettings
from host_tools.review.ingest.subscriber import Publication
from host_tools.review.store.tables import TABLES

VECTORS = Path(__file__).parents[3] / "contract" / "vectors"
CATEGORIES = [
    "m/inference",
    "m/thermal",
    "m/new",
    "e/x",
    "a/x",
    "o/x",
    "status/health",
    "cmd/x/1",
    "twin/desired",
    "i/x",
]
TOPICS = st.binary(max_size=40) | st.sampled_from(
    [f"ew/v1/device/d/{'service/agent' if 'status' in one else '/'}/{one}".encode() for one in CATEGORIES]
)
PAYLOADS = st.binary(max_size=60) | st.sampled_from(
    [b"{}", b'{"schema_version":"1.0"}', b"[" * 5000, b'{"boot_id":1}']
)


@settings(deadline=None)  # a shared machine stops now and then
@given(topic=TOPICS, payload=PAYLOADS, retained=st.booleans())
def test_whatever_comes_is_kept_with_the_reason_and_stops_nothing(
    topic: bytes, payload: bytes, retained: bool
) -> None:
    collector = Collector()
    interpreter = Interpreter(root="ew/v1", collector=collector)
    took = interpreter.take(Publication(topic, payload, b"\0\1", retained), received=1.8e9)
    tables = collector.take()
    if not took:
        assert b"/cmd/" in topic or topic.endswith(b"/twin/desired"), "what the host says itself"
        assert not tables
    elif "dead_letter" in tables:
        (letter,) = tables["dead_letter"].to_pylist()
        assert letter["payload"] == payload
        assert letter["reason"]
    else:  # nothing here is a message, but that an alarm is over
        assert payload == b""
        assert tables["alarm"].to_pylist()[0]["severity"] == "cleared"


@pytest.mark.parametrize(
    ("scale", "is_taken"),
    [(20, True), (5, True), (COARSEST_SCALE, True), (COARSEST_SCALE - 1, False), (-10, False)],
)
@pytest.mark.parametrize("version", ["1.2", "1.9"], ids=["the fast way", "the contract"])
def test_a_window_in_wide_buckets_does_not_reach_the_fleets_percentiles(
    scale: int, is_taken: bool, version: str
) -> None:
    vector = json.loads((VECTORS / "valid" / "inference_window.json").read_text())
    vector["document"]["hist"]["scale"] = scale
    vector["document"]["schema_version"] = version
    collector = Collector()
    interpreter = Interpreter(root="ew/v1", collector=collector)
    payload = json.dumps(vector["document"], separators=(",", ":")).encode()
    interpreter.take(Publication(b"ew/v1/device/d///m/inference", payload, None, False), received=4e9)
    tables = collector.take()
    assert list(tables) == (["inference"] if is_taken else ["dead_letter"])
    assert interpreter.judged == (version == "1.9")
    if not is_taken:
        (reason,) = tables["dead_letter"].column("reason").to_pylist()
        assert reason.endswith(f"hist.scale: expected {COARSEST_SCALE} to 20, got {scale}.")


def rows(seq: int, table: str, several: list[tuple[object, ...]]) -> Rows:
    return Rows("b", seq, 1.5, 2.5, "synced", None, table, several)  # type: ignore[arg-type]


def test_batches_survive_the_way_to_the_writer() -> None:
    collector = Collector()
    kept = []
    for number in range(3):
        window = (
            "reader",
            None,
            10.0,
            7,
            0,
            0,
            3,
            0.1,
            None,
            0.05,
            5,
            0,
            [-3, 4][: number % 3],
            [1, 2][: number % 3],
        )
        collector.add("d", rows(number, "inference", [window]), received=9.0, retained=False)
        sensors = [
            ("power", f"r{place}_watts", 1.0 * place, "hwmon", "rail", "sampled") for place in range(number)
        ]
        collector.add(
            "d", rows(number, "reading" if sensors else "other", sensors or [()]), received=9.0, retained=True
        )
        collector.add_dead_letter("t", b"\xff" * 70_000, received=9.0, reason="why")
        assert collector.messages == 3
        kept.append(collector.take())
        assert collector.messages == 0
    batch = joined([unpack(pack(tables)) for tables in kept])
    counts = {name: table.num_rows for name, table in batch.rows.items()}
    assert counts == {"inference": 3, "reading": 3, "other": 1, "dead_letter": 3}
    for name, table in batch.rows.items():
        assert table.schema == TABLES[name]
    windows = batch.rows["inference"].to_pylist()
    assert [window["hist_indices"] for window in windows] == [[], [-3], [-3, 4]]
    assert windows[0]["latency_min_seconds"] is None
    assert (windows[0]["model"], windows[0]["variant"]) == ("reader", None)
    readings = batch.rows["reading"].to_pylist()
    assert [(one["seq"], one["name"], one["value"]) for one in readings] == [
        (1, "r0_watts", 0.0),
        (2, "r0_watts", 0.0),
        (2, "r1_watts", 1.0),
    ]
    letter = batch.rows["dead_letter"].to_pylist()[0]
    assert (len(letter["payload"]), letter["payload_bytes"]) == (64 << 10, 70_000)


@pytest.mark.parametrize(
    ("collected", "seconds"),
    [
        ({"messages": 1}, 0.8),  # alone: it waits for the others of its fleet
        ({"messages": 15, "age": 0.2, "quiet": 0.2}, 0.6),
        ({"messages": 1, "age": 0.8}, 0.0),  # and no longer than so
        ({"messages": 1, "age": 0.8, "is_writing": True}, 0.0),
        ({"messages": 16, "age": 0.1}, 0.03),  # enough for a transaction, as soon as no more come
        ({"messages": 16, "age": 0.1, "quiet": 0.03}, 0.0),
        ({"messages": 16, "age": 0.79}, 0.01),
        ({"messages": 16, "age": 0.1, "quiet": 0.1, "is_writing": True}, 0.7),  # the writer has another to do
        ({"messages": 1999, "age": 0.1}, 0.03),
        ({"messages": 2000}, 0.0),
        ({"messages": 1, "size": 8 << 20}, 0.0),
        # A broker that allows so many unacknowledged ones sends nothing before these are acknowledged.
        ({"messages": 3, "quiet": 0.03, "receive_maximum": 3}, 0.0),
        ({"messages": 2, "quiet": 0.03, "receive_maximum": 3}, 0.8),
    ],
    ids=str,
)
def test_a_batch_waits_for_more_as_long_as_it_may(collected: dict[str, float], seconds: float) -> None:
    told = {"size": 1000, "age": 0.0, "quiet": 0.0, "is_writing": False, **collected}
    ingest = IngestSettings(
        broker=parse_broker("mqtt://localhost"),
        tls=TlsFiles(),
        root="ew/v1",
        name="ingest",
        store="telemetry.duckdb",
        workers=1,
        receive_maximum=int(told.pop("receive_maximum", 8192)),
    )
    assert seconds_to_grow(ingest, **told) == pytest.approx(seconds)  # type: ignore[arg-type]


def test_frames_larger_than_the_sockets_buffer_arrive_whole_and_are_told_in_order(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "writer"))
        listener.listen()
        inbox = Inbox(listener)
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(tmp_path / "writer"))
        link = WriterLink(connection)
        batches = [bytes([number]) * (3 << 20) for number in range(3)]
        for number, batch in enumerate(batches):
            link.send(number, batch, oldest=float(number))
        got = []
        while len(got) < 3:
            link.write()
            got += inbox.take(timeout=0.05, most_bytes=1 << 30)
        assert [(frame.number, frame.oldest, bytes(frame.batch)) for frame in got] == [
            (number, float(number), batch) for number, batch in enumerate(batches)
        ]
        for frame in got:
            frame.committed()
        told: list[int] = []
        end = time.monotonic() + 60
        while len(told) < 3 and time.monotonic() < end:
            told += link.committed()
        assert told == [0, 1, 2]
        link.close()
        while inbox.workers and time.monotonic() < end:
            time.sleep(0.01)
        assert inbox.workers == 0
        got[0].worker.close()
        got[0].committed()  # of a worker that is gone: nobody is told, and nothing breaks


def test_pauses_double_to_a_bound_and_begin_anew_after_a_good_while() -> None:
    pauses = Pauses(lambda: 1.0, longest_seconds=0.5)
    lengths = []
    for now in range(5):
        pauses.failed(float(now))
        lengths.append(next(step / 100 for step in range(100) if pauses.is_over(now + step / 100 + 1e-9)))
    assert lengths == [0.1, 0.2, 0.4, 0.5, 0.5]
    pauses.succeeded(10.0)
    pauses.failed(11.0)
    assert not pauses.is_over(11.4)
    pauses.succeeded(12.0)
    pauses.failed(50.0)
    assert pauses.is_over(50.2)


def test_the_overview_adds_up_the_dead_and_the_living() -> None:
    totals = Totals()
    totals.add_dead(WorkerStatus(received=5, refused=1, held=3))
    totals.add_dead(WriterStatus(messages=4, duplicates=1, lag_seconds=9.0))
    totals.add_dead(None)
    living = [
        WorkerStatus(received=10, held=2, connected=True, note=Note("broker", "n")),
        WriterStatus(messages=7, note=Note("broker", "n")),
        None,
    ]
    first = totals.overview(living, workers=2, restarts=2, seconds=1.0)
    assert (first.received, first.held, first.messages, first.duplicates) == (15, 2, 11, 1)
    assert (first.connected, first.lag_seconds, first.notes) == (1, 0.0, (Note("broker", "n"),))
    later = totals.overview([WriterStatus(messages=27)], workers=2, restarts=2, seconds=5.0)
    assert later.messages_per_second == pytest.approx(20 / 4)


def test_what_processes_say_to_each_other_comes_in_lines_and_an_end_is_told() -> None:
    one, other = socket.socketpair()
    ours, theirs = Channel(one), Channel(other)
    said = [
        WorkerStatus(received=1),
        WriterStatus(note=Note("store", "é\n")),
        Fatal(code="store", message="m"),
    ]
    for report in said:
        assert theirs.send(report)
    heard: list[object] = []
    while len(heard) < 3:
        lines = ours.lines()
        assert lines is not None
        heard += map(read_report, lines)
    assert heard == said
    theirs.close()
    assert ours.lines() is None
    assert not ours.send(said[0])
    ours.close()


def test_a_port_that_is_taken_is_told() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(InputError, match="cannot be listened on"),
    ):
        Metrics(taken.getsockname()[1])


def test_threads_of_an_inbox_end_with_their_listener() -> None:
    before = set(threading.enumerate())
    ours, theirs = socket.socketpair()
    ours.close()
    Inbox(theirs)  # accept fails at once
    end = time.monotonic() + 60
    while set(threading.enumerate()) - before and time.monotonic() < end:
        time.sleep(0.01)
    assert not set(threading.enumerate()) - before
    theirs.close()
