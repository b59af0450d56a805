"""What runs wild does not cost the others theirs: rates, quotas, sizes; and what a log may not have."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_tools.fleet.serve.limits import Buckets, Limits, Rate
from host_tools.fleet.service import FleetService
from tests.unit.host_tools.fleet.fleet_of_tests import ROOT, FleetOfTests, KnownDevice, rollout_body

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def fleet_with(tmp_path: Path) -> Iterator[Callable[[Limits], FleetOfTests]]:
    opened: list[FleetOfTests] = []

    def begin(limits: Limits) -> FleetOfTests:
        opened.append(FleetOfTests(str(tmp_path / "fleet.db"), limits=limits))
        return opened[-1]

    yield begin
    for one in opened:
        one.close()


@given(st.lists(st.tuples(st.floats(0, 3), st.sampled_from("ab")), max_size=60))
def test_nobody_gets_more_than_the_rate_and_who_waits_as_told_gets_one(
    asked: list[tuple[float, str]],
) -> None:
    now = 0.0
    rate = Rate(per_second=2.0, burst=3.0)
    buckets = Buckets(rate, seconds=lambda: now)
    got: dict[str, list[float]] = {"a": [], "b": []}
    for pause, name in asked:
        now += pause
        wait = buckets.take(name)
        if wait == 0.0:
            got[name].append(now)
        else:
            now += wait + 1e-6
            assert buckets.take(name) == 0.0
            got[name].append(now)
    for times in got.values():
        for place, begin in enumerate(times):
            for count, end in enumerate(times[place:], start=1):
                assert count <= rate.burst + (end - begin) * rate.per_second + 1e-3


def test_buckets_are_forgotten_when_there_are_too_many() -> None:
    buckets = Buckets(Rate(per_second=1.0, burst=1.0), seconds=lambda: 0.0)
    for number in range(10_001):
        assert buckets.take(str(number)) == 0.0
    assert buckets.take("0") == 0.0
    assert buckets.take("10000") > 0.0


def test_a_token_that_asks_too_often_waits_and_the_others_do_not(
    fleet_with: Callable[[Limits], FleetOfTests],
) -> None:
    fleet = fleet_with(Limits(requests=Rate(per_second=0.001, burst=3.0)))
    assert [fleet.ask("GET", "/me", role="viewer").status_code for _ in range(4)] == [200, 200, 200, 429]
    refused = fleet.ask("GET", "/me", role="viewer")
    assert refused.json()["code"] == "too_many"
    assert int(refused.headers["retry-after"]) > 0
    assert fleet.ask("GET", "/me", role="admin").status_code == 200


def test_who_tries_tokens_waits(fleet_with: Callable[[Limits], FleetOfTests]) -> None:
    fleet = fleet_with(Limits(refusals=Rate(per_second=0.001, burst=2.0)))
    tried = [fleet.send("GET", f"{ROOT}/me", headers={"Authorization": f"Bearer {n}"}) for n in range(3)]
    assert [one.status_code for one in tried] == [401, 401, 429]
    assert int(tried[-1].headers["retry-after"]) > 0


def test_who_tries_tokens_keeps_nobody_out_who_has_one(
    fleet_with: Callable[[Limits], FleetOfTests],
) -> None:
    fleet = fleet_with(Limits(refusals=Rate(per_second=0.001, burst=1.0)))
    for _ in range(3):
        fleet.send("GET", f"{ROOT}/me", headers={"Authorization": "Bearer none"})
    assert fleet.ask("GET", "/me", role="viewer").status_code == 200


def test_no_quota_keeps_anybody_from_stopping_a_rollout(
    fleet_with: Callable[[Limits], FleetOfTests],
) -> None:
    fleet = fleet_with(Limits(changes_per_hour=4))
    fleet.with_devices(2)
    fleet.planned()  # in the same moment: one change
    fleet.pass_time(1)
    fleet.done("POST", "/rollouts/r1/submit", {})
    for number in range(2):
        fleet.pass_time(1)
        fleet.done("POST", "/groups", {"name": f"g{number}"})
    assert fleet.ask("POST", "/groups", {"name": "one-more"}).status_code == 429
    fleet.done("POST", "/rollouts/r1/pause", {})
    assert fleet.ask("POST", "/rollouts/r1/resume", {}).status_code == 429
    assert fleet.ask("POST", "/rollouts/r1/rollback", {}).status_code == 409  # it had nothing before
    fleet.done("POST", "/rollouts/r1/abort", {})


def test_changes_within_an_hour_are_counted_and_a_restart_forgets_none(
    fleet_with: Callable[[Limits], FleetOfTests],
) -> None:
    fleet = fleet_with(Limits(changes_per_hour=2))
    for name in ("a", "b"):
        fleet.done("POST", "/groups", {"name": name})
        fleet.pass_time(1)
    refused = fleet.ask("POST", "/groups", {"name": "c"})
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many")
    assert "retry-after" in refused.headers
    assert fleet.ask("GET", "/groups").status_code == 200
    again = fleet_with(Limits(changes_per_hour=2))
    again.pass_time(2)
    assert again.ask("POST", "/groups", {"name": "c"}).status_code == 429
    again.pass_time(3_601)
    again.done("POST", "/groups", {"name": "c"})


def test_a_list_is_one_change_however_many_devices_it_moves(
    fleet_with: Callable[[Limits], FleetOfTests],
) -> None:
    fleet = fleet_with(Limits(changes_per_hour=4))
    names = fleet.with_devices(20)
    fleet.pass_time(1)
    fleet.done("POST", "/groups", {"name": "shop"})
    fleet.pass_time(1)
    lines = "".join(f"{name},shop,x\n" for name in names)
    listed = fleet.ask("POST", "/devices.csv", content=f"id,group,tags\n{lines}".encode())
    assert listed.json() == {"added": 0, "changed": 20, "same": 0}
    assert fleet.audited().count("device.edit") == 20
    fleet.pass_time(1)
    fleet.done("POST", "/groups", {"name": "yard"})
    fleet.pass_time(1)
    assert fleet.ask("POST", "/groups", {"name": "one-more"}).status_code == 429


@pytest.mark.parametrize(
    ("limits", "path", "bodies"),
    [
        (Limits(groups=1), "/groups", [{"name": "a"}, {"name": "b"}]),
        (Limits(tokens=2), "/tokens", [{"name": "a", "role": "viewer"}, {"name": "b", "role": "viewer"}]),
        (
            Limits(releases=1),
            "/releases",
            [
                {
                    "model": "m",
                    "version": version,
                    "counter": counter,
                    "artifacts": {
                        "a": {"path": "models/m/a.ewa", "digest": "sha256:" + "0" * 64, "size_bytes": 1}
                    },
                }
                for version, counter in (("1", 1), ("2", 2))
            ],
        ),
    ],
)
def test_there_is_never_more_than_allowed(
    fleet_with: Callable[[Limits], FleetOfTests], limits: Limits, path: str, bodies: list[object]
) -> None:
    fleet = fleet_with(limits)
    fleet.done("POST", path, bodies[0])
    refused = fleet.ask("POST", path, bodies[1])
    assert (refused.status_code, refused.json()["code"]) == (409, "quota")


def test_who_enrols_beyond_the_limit_is_left_out_and_told_until_there_is_room(
    fleet_with: Callable[[Limits], FleetOfTests], caplog: pytest.LogCaptureFixture
) -> None:
    fleet = fleet_with(Limits(devices=2))
    for number in range(4):
        fleet.enrolment.known[f"d{number}"] = KnownDevice(f"d{number}", f"g{number}", "enrolled")
    for _ in range(3):
        fleet.service.take_enrolled()
    assert [one["id"] for one in fleet.done("GET", "/devices")["items"]] == ["d0", "d1"]
    assert [one["name"] for one in fleet.done("GET", "/groups")["items"]] == ["g0", "g1"]
    told = [one.getMessage() for one in caplog.records if "are not in the fleet" in one.getMessage()]
    assert told == [
        "2 enrolled devices are not in the fleet, d2 first: there are 2 devices, as many as this server keeps."
    ]
    refused = fleet.ask("POST", "/claims", {"group": "g0"})
    assert (refused.status_code, refused.json()["code"]) == (409, "quota")
    fleet.done("POST", "/claims", {"group": "g1", "device": "d1"})  # it is there, and may come back
    more = fleet_with(Limits(devices=3))
    more.enrolment.known.update(fleet.enrolment.known)
    more.service.take_enrolled()
    assert [one["id"] for one in more.done("GET", "/devices")["items"]] == ["d0", "d1", "d2"]
    assert more.audited().count("device.enrol") == 3


def test_rollouts_that_have_not_ended_are_limited(fleet_with: Callable[[Limits], FleetOfTests]) -> None:
    fleet = fleet_with(Limits(open_rollouts=1))
    fleet.with_devices(1)
    fleet.planned()
    assert fleet.ask("POST", "/rollouts", rollout_body("r2")).status_code == 409
    fleet.done("POST", "/rollouts/r1/abort", {})
    fleet.done("POST", "/rollouts", rollout_body("r2"))


def test_a_body_is_limited_whether_it_says_its_size_or_not(
    fleet_with: Callable[[Limits], FleetOfTests],
) -> None:
    fleet = fleet_with(Limits(body_bytes=1_000, import_bytes=2_000))

    async def pieces():
        for _ in range(3):
            yield b" " * 900

    for content in (b" " * 1_001, pieces()):
        refused = fleet.ask("POST", "/groups", content=content)
        assert (refused.status_code, refused.json()["code"]) == (413, "too_large"), refused.text
    assert fleet.ask("POST", "/devices.csv", content=b"id,group\n" + b"\n" * 1_500).status_code == 200
    assert fleet.ask("POST", "/devices.csv", content=b"id,group\n" + b"\n" * 2_500).status_code == 413
    huge = fleet.ask("POST", "/groups", content=b"{}", headers={"Content-Length": "9" * 40})
    assert huge.status_code == 413


def test_no_secret_is_in_a_log_or_a_problem(fleet: FleetOfTests, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    made = fleet.done("POST", "/tokens", {"name": "x", "role": "viewer"})
    fleet.done("POST", "/groups", {"name": "lab"})
    claim = fleet.done("POST", "/claims", {"group": "lab"})["claim"]
    secrets = [made["secret"], claim, fleet.secret("admin")]
    told = []
    for secret in secrets:
        told.append(fleet.send("GET", f"{ROOT}/me", headers={"Authorization": f"Bearer {secret}x"}).text)
        told.append(fleet.ask("POST", "/groups", {"name": secret + "!", "more": secret}).text)
        told.append(fleet.ask("GET", f"/devices?search={secret}%21").text)
        told.append(fleet.ask("POST", "/groups", content=b'{"name": "' + secret.encode()).text)
    fleet.planned()
    fleet.done("POST", "/rollouts/r1/submit", {})
    fleet.field.is_broken = True
    fleet.service.round()
    told.append(fleet.ask("GET", "/audit").text)
    told.append(fleet.ask("GET", "/tokens").text)
    # The client of this test writes down what it asks for; the server does not.
    told += [record.getMessage() for record in caplog.records if not record.name.startswith("http")]
    assert any("no space left" in text for text in told)
    for secret in secrets:
        assert not any(secret in text for text in told)


def test_a_defect_is_told_without_its_inside(
    fleet: FleetOfTests, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise ZeroDivisionError("inside")

    fleet.with_devices(1)
    fleet.planned()
    monkeypatch.setattr(FleetService, "order", fails)
    answer = fleet.ask("POST", "/rollouts/r1/submit", {})
    assert (answer.status_code, answer.json()["code"]) == (500, "failed")
    assert "inside" not in answer.text
    assert "ZeroDivisionError" in caplog.text


def test_a_store_that_is_away_is_told_so(fleet: FleetOfTests) -> None:
    fleet.secret("admin")
    with fleet.store._engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE api_token RENAME TO elsewhere")
    answer = fleet.ask("GET", "/me")
    assert (answer.status_code, answer.json()["code"]) == (503, "store")
    assert answer.headers["retry-after"] == "5"
