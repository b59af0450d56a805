"""Server-sent events: whoever comes back names the last one that it heard, and misses none."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from host_tools.fleet.serve import events as endpoint
from host_tools.fleet.serve.limits import Limits
from tests.integration.support import wait_until
from tests.unit.host_tools.fleet.fleet_of_tests import ROOT, FleetOfTests

if TYPE_CHECKING:
    from collections.abc import Iterator


def read(body: str) -> list[tuple[int, str, dict[str, Any]]]:
    found = []
    for block in body.split("\n\n"):
        fields = dict(
            line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(":")
        )
        if "data" in fields:
            found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return found


def since(fleet: FleetOfTests, last: str, **headers: str) -> list[tuple[int, str, dict[str, Any]]]:
    answer = fleet.ask(
        "GET", "/events?longest_seconds=0", role="viewer", headers={"Last-Event-ID": last, **headers}
    )
    assert answer.headers["content-type"].startswith("text/event-stream")
    return read(answer.text)


class Stream:
    """A stream without an end, as a server would hand it over: what it said so far, until whoever listens goes away."""

    def __init__(self, fleet: FleetOfTests, secret: str) -> None:
        self.text, self.status, self.ended = "", 0, False
        self._app, self._gone = fleet.app, threading.Event()
        self._headers = [(b"authorization", f"Bearer {secret}".encode()), (b"host", b"fleet.test")]
        self._thread = threading.Thread(target=lambda: asyncio.run(self._listen()))
        self._thread.start()

    async def _listen(self) -> None:
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
            "path": f"{ROOT}/events", "raw_path": f"{ROOT}/events".encode(), "query_string": b"longest_seconds=600",
            "root_path": "", "headers": self._headers, "client": ("127.0.0.1", 1), "server": ("fleet.test", 80),
        }  # fmt: skip
        asked = iter([{"type": "http.request", "body": b"", "more_body": False}])

        async def receive() -> dict[str, Any]:
            for message in asked:
                return message
            while not self._gone.is_set():
                await asyncio.sleep(0.01)
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            self.status = message.get("status", self.status)
            self.text += message.get("body", b"").decode()

        try:
            await self._app(scope, receive, send)
        finally:
            self.ended = True

    def wait_for(self, words: str) -> None:
        wait_until(lambda: words in self.text or self.ended, what=words)
        assert words in self.text, (self.status, self.text)

    def close(self) -> None:
        self._gone.set()
        self._thread.join()


@contextmanager
def listening(fleet: FleetOfTests, secret: str) -> Iterator[Stream]:
    stream = Stream(fleet, secret)
    try:
        yield stream
    finally:
        stream.close()


def test_a_rollout_is_heard_as_it_goes_and_again_from_any_place(fleet: FleetOfTests) -> None:
    fleet.with_devices(3)
    fleet.planned(stages=[{"name": "all", "share_ppm": 1_000_000, "soak_seconds": 0.0}])
    fleet.done("POST", "/rollouts/r1/submit", {})
    for _ in range(3):
        fleet.service.round()
        fleet.devices_follow()
        fleet.pass_time(1)
    heard = since(fleet, "0")
    assert [number for number, _, _ in heard] == list(range(1, len(heard) + 1))
    states = [told["state"] for _, kind, told in heard if kind == "rollout"]
    assert states[0] == "running"
    assert states[-1] == "finished"
    counts = [told for _, kind, told in heard if kind == "jobs"]
    assert counts[-1]["succeeded"] == 3
    actions = [told["action"] for _, kind, told in heard if kind == "audit"]
    assert actions[-1] == "rollout.finished"
    assert since(fleet, "5") == heard[5:]
    assert since(fleet, str(len(heard))) == []


def test_without_a_place_it_begins_with_what_comes(fleet: FleetOfTests) -> None:
    fleet.done("POST", "/groups", {"name": "lab"})
    assert read(fleet.ask("GET", "/events?longest_seconds=0").text) == []


def test_who_was_away_too_long_or_comes_from_another_store_reads_anew(fleet: FleetOfTests) -> None:
    fleet.done("POST", "/groups", {"name": "lab"})
    fleet.done("POST", "/groups", {"name": "shop"})
    assert since(fleet, "99") == [(2, "reset", {"newest": 2})]
    with fleet.store.writing() as book:
        book.changes._connection.execute(text("UPDATE change SET number = number + 100"))
    assert since(fleet, "1") == [(102, "reset", {"newest": 102})]
    assert [number for number, _, _ in since(fleet, "100")] == [101, 102]


def test_what_changes_while_somebody_listens_is_heard(
    fleet: FleetOfTests, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "_POLL_SECONDS", 0.02)
    monkeypatch.setattr(endpoint, "_SILENT_SECONDS", 0.1)
    fleet.secret("admin")
    with listening(fleet, fleet.secret("viewer")) as stream:
        stream.wait_for(": still here")
        fleet.done("POST", "/groups", {"name": "lab"})
        stream.wait_for("group/lab")
    assert [told["subject"] for _, _, told in read(stream.text)] == ["group/lab"]


def test_a_token_that_is_revoked_hears_no_more(fleet: FleetOfTests, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "_POLL_SECONDS", 0.02)
    monkeypatch.setattr(endpoint, "_CHECK_SECONDS", 0.05)
    made = fleet.done("POST", "/tokens", {"name": "x", "role": "viewer"})
    with listening(fleet, made["secret"]) as stream:
        stream.wait_for("retry:")
        fleet.done("DELETE", f"/tokens/{made['token']['id']}")
        wait_until(lambda: stream.ended, what="the stream ends by itself")
    assert stream.status == 200


def test_a_token_has_only_so_many_streams_and_gets_their_places_back(tmp_path: Any) -> None:
    fleet = FleetOfTests(str(tmp_path / "fleet.db"), limits=Limits(streams=1))
    with listening(fleet, fleet.secret("viewer")) as stream:
        stream.wait_for("retry:")
        assert fleet.ask("GET", "/events?longest_seconds=0", role="viewer").status_code == 429
    assert stream.status == 200
    assert fleet.ask("GET", "/events?longest_seconds=0", role="viewer").status_code == 200
    fleet.close()
