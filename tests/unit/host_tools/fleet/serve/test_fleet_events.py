"""Server-sent events: whoever comes back names the last one that it heard, and misses none."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from host_tools.fleet.serve import events as endpoint
from host_tools.fleet.serve.limits import Limits
from tests.unit.host_tools.fleet.fleet_of_tests import ROOT, FleetOfTests


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
    later = threading.Timer(0.4, lambda: fleet.done("POST", "/groups", {"name": "lab"}))
    fleet.secret("admin")
    later.start()
    answer = fleet.ask("GET", "/events?longest_seconds=1.5", role="viewer")
    later.join()
    assert [told["subject"] for _, _, told in read(answer.text)] == ["group/lab"]
    assert ": still here" in answer.text


def test_a_token_that_is_revoked_hears_no_more(fleet: FleetOfTests, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "_POLL_SECONDS", 0.02)
    monkeypatch.setattr(endpoint, "_CHECK_SECONDS", 0.05)
    made = fleet.done("POST", "/tokens", {"name": "x", "role": "viewer"})
    later = threading.Timer(0.3, lambda: fleet.done("DELETE", f"/tokens/{made['token']['id']}"))
    later.start()
    answer = fleet.send(
        "GET",
        f"{ROOT}/events?longest_seconds=60",
        headers={"Authorization": f"Bearer {made['secret']}"},
        timeout=30.0,
    )
    later.join()
    assert answer.status_code == 200


def test_a_token_has_only_so_many_streams_and_gets_their_places_back(tmp_path: Any) -> None:
    fleet = FleetOfTests(str(tmp_path / "fleet.db"), limits=Limits(streams=1))
    headers = {"Authorization": f"Bearer {fleet.secret('viewer')}"}

    async def two_at_once() -> list[int]:
        transport = httpx.ASGITransport(fleet.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://fleet.test") as client:
            asked = [client.get(f"{ROOT}/events?longest_seconds=1", headers=headers) for _ in range(2)]
            return sorted(answer.status_code for answer in await asyncio.gather(*asked))

    assert asyncio.run(two_at_once()) == [200, 429]
    assert fleet.ask("GET", "/events?longest_seconds=0", role="viewer").status_code == 200
    fleet.close()
