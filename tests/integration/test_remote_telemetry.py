"""A store that another process holds answers over HTTP what it answers itself, and whatever is wrong is told."""

from __future__ import annotations

import http.server
import threading
import urllib.request
from contextlib import contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_tools.errors import InputError, StoreError
from host_tools.free_port import free_port
from host_tools.review.remote_telemetry import RemoteTelemetry
from host_tools.review.serve.server import serving
from host_tools.review.store.opening import open_store
from host_tools.review.store.window_wire import read_events, read_windows, write_windows
from host_tools.review.store.windows import Level, Selection
from tests.integration import review_fleet
from tests.integration.review_fleet import NEW, OLD, START, device_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from host_tools.review.store.telemetry_store import TelemetryStore

SPAN = Selection(start=START, end=START + 7200.0)
AXES = ("device", "artifact", "time")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TelemetryStore]:
    """Nobody writes to it but this fixture."""
    opened = open_store(str(tmp_path_factory.mktemp("store") / "fleet.duckdb"))
    for batch in review_fleet.batches(devices=4):
        opened.write(batch)
    opened.roll_up()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def address(store: TelemetryStore) -> Iterator[str]:
    with serving(store) as address:
        yield address


def same(one: Any, other: Any) -> None:
    for field in fields(one):
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        if field.name == "hist":
            same(mine, theirs)
        elif field.name == "keys":
            assert [key.tolist() for key in mine] == [key.tolist() for key in theirs]
        elif isinstance(mine, np.ndarray):
            np.testing.assert_array_equal(mine, theirs, err_msg=field.name)
            assert mine.dtype == theirs.dtype, field.name
        else:
            assert mine == theirs, field.name


@pytest.mark.parametrize("by", [AXES, ("device",), ("time",), ("label:target",)])
@pytest.mark.parametrize("level", [Level.MINUTE, Level.HOUR])
def test_windows_are_the_stores_own(
    store: TelemetryStore, address: str, by: tuple[str, ...], level: Level
) -> None:
    table = RemoteTelemetry(address).windows(SPAN, level=level, by=by)
    assert len(table.devices) > 0
    same(store.windows(SPAN, level=level, by=by), table)


def test_a_selection_means_the_same_far_away(store: TelemetryStore, address: str) -> None:
    some = Selection(
        start=START,
        end=START + 7200.0,
        devices=(device_id(0), device_id(1)),
        artifacts=(OLD,),
        labels=(("target", "cortex-a-tflite"),),
    )
    table = RemoteTelemetry(address).windows(some, level=Level.MINUTE, by=AXES)
    assert set(table.key("device").tolist()) == {device_id(0)}
    same(store.windows(some, level=Level.MINUTE, by=AXES), table)
    none = Selection(start=0.0, end=1.0)
    assert len(RemoteTelemetry(address).windows(none, level=Level.MINUTE, by=AXES).devices) == 0


def test_events_are_the_stores_own(store: TelemetryStore, address: str) -> None:
    names = ("update_committed",)
    found = RemoteTelemetry(address).events(SPAN, names=names, limit=10)
    assert found == store.events(SPAN, names=names, limit=10)
    assert {one.artifact for one in found} == {NEW}


def test_a_token_is_needed_where_one_is_asked_for(store: TelemetryStore) -> None:
    with serving(store, token="let-me-in") as address:
        plain = address.partition("?")[0]
        for wrong in (None, "guess"):
            with pytest.raises(StoreError, match="answered 401") as refused:
                RemoteTelemetry(plain, token=wrong).events(SPAN)
            assert "token" in refused.value.hint
        assert RemoteTelemetry(plain, token="let-me-in").events(SPAN)


def test_a_server_that_is_away_or_another_is_told(tmp_path: Any) -> None:
    with pytest.raises(StoreError, match="does not answer"):
        RemoteTelemetry(f"http://127.0.0.1:{free_port()}").events(SPAN)
    with other_server(b"<html>") as address:
        with pytest.raises(StoreError, match="expected a table of windows"):
            RemoteTelemetry(address).windows(SPAN, level=Level.HOUR, by=AXES)
        with pytest.raises(StoreError, match="expected events"):
            RemoteTelemetry(address).events(SPAN)


def test_a_token_goes_to_nobody_to_whom_an_answer_points() -> None:
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # as which a redirected POST is sent on
            asked.append(self.headers["Authorization"])
            self.send_error(404)

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as elsewhere:
        threading.Thread(target=elsewhere.serve_forever, daemon=True).start()
        with (
            other_server(b"", points_to=f"http://127.0.0.1:{elsewhere.server_port}/") as address,
            pytest.raises(StoreError, match="answered 302"),
        ):
            RemoteTelemetry(address, token="let-me-in").events(SPAN)
        elsewhere.shutdown()
    assert asked == []


@pytest.mark.parametrize(
    "url", ["fleet.duckdb", "ftp://here", "http://", "http://a:b@c", "http://h:99999", "http://h?x=1"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="telemetry: expected http"):
        RemoteTelemetry(url)


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("windows", b"{", "malformed|truncated"),
        ("windows", b'{"selection":{"start":0,"end":1},"level":7,"by":[]}', "7 is not a valid Level"),
        ("windows", b'{"selection":{"start":0,"end":1},"level":60,"by":["colour"]}', "axis"),
        ("windows", b'{"selection":{"start":"x","end":1},"level":60,"by":[]}', "Expected `float`"),
        (
            "windows",
            b'{"selection":{"start":0,"end":1e300},"level":60,"by":[]}',
            "selection: expected Unix seconds",
        ),
        (
            "events",
            b'{"selection":{"start":5,"end":1},"names":null,"limit":5}',
            "before the year 9999, got 5.0 to 1.0",
        ),
        ("events", b'{"selection":{"start":0,"end":1},"limit":0}', "limit"),
        ("events", b'{"selection":{"start":0,"end":1},"limti":5}', "unknown field"),
        ("events", b" " * ((8 << 20) + 1), "at most"),
    ],
)
def test_a_question_that_is_none_is_refused(address: str, path: str, body: bytes, told: str) -> None:
    request = urllib.request.Request(f"{address}table/{path}", data=body, method="POST")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=30)
    with refused.value as answer:
        assert answer.code == 400
        message = msgspec.json.decode(answer.read())["error"]["message"]
    assert any(word in message for word in told.split("|")), message


@given(st.data())
def test_a_damaged_table_is_refused_or_read_whole(store_bytes: bytes, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(store_bytes) - 1))
    damaged = bytearray(store_bytes)
    damaged[place] ^= data.draw(st.integers(1, 255))
    cut = bytes(damaged[: data.draw(st.sampled_from([place, len(damaged)]))])
    try:
        table = read_windows(cut, where="wire")
    except StoreError:
        return
    assert len(table.hist.offsets) == len(table.devices) + 1


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_events(data: bytes) -> None:
    try:
        read_events(data, where="wire")
    except StoreError as error:
        assert "expected events" in str(error)


@pytest.fixture(scope="module")
def store_bytes(store: TelemetryStore) -> bytes:
    return write_windows(store.windows(SPAN, level=Level.HOUR, by=("device",)))


@contextmanager
def other_server(answer: bytes, *, points_to: str = "") -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(302 if points_to else 200)
            if points_to:
                self.send_header("Location", points_to)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
