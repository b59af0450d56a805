"""Devices with a desired state of their own: pinned by people here or by whoever has the keys, and unpinned; what rollouts and drift make of it."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest

from device_agent.contract.desired import DesiredArtifact
from host_tools.fleet.outside import NoField
from host_tools.fleet.records.devices import Pin
from host_tools.fleet.records.releases import ReleasedArtifact
from host_tools.fleet.service import FleetService
from host_tools.fleet.store.drift import DesiredOfDevice, GroupDrift
from tests.unit.host_tools.fleet.fleet_of_tests import PROFILE, FleetOfTests, artifact, release_body

OWN = artifact("net", "0.9")
ALL = [{"name": "all", "share_ppm": 1_000_000, "soak_seconds": 10.0}]


def own(entry: dict[str, Any] = OWN) -> dict[str, DesiredArtifact]:
    return {PROFILE: DesiredArtifact(path=entry["path"], digest=entry["digest"])}


def fleet_with(fleet: FleetOfTests, count: int = 4) -> list[str]:
    """Return devices, and have release net-0.9 and a draft of a rollout of net-1.0 to all of them."""
    names = fleet.with_devices(count)
    fleet.done("POST", "/releases", release_body("0.9", counter=1))
    fleet.done("POST", "/releases", release_body(counter=2))
    fleet.done(
        "POST", "/rollouts", {"id": "r1", "release": "net-1.0", "group": "lab", "stages": ALL, "gates": []}
    )
    return names


def jobs(fleet: FleetOfTests) -> dict[str, tuple[str, str]]:
    items = fleet.done("GET", "/rollouts/r1/jobs")["items"]
    return {one["device"]: (one["state"], one["reason"]) for one in items}


def desired(fleet: FleetOfTests, device: str) -> DesiredOfDevice:
    return DesiredOfDevice(**fleet.done("GET", f"/devices/{device}/desired"))


def audited(fleet: FleetOfTests, device: str) -> list[tuple[str, str, dict[str, Any]]]:
    items = fleet.done("GET", "/audit?limit=1000")["items"]
    return [
        (one["actor"], one["action"], one["details"])
        for one in items
        if one["subject"] == f"device/{device}" and one["action"] != "device.add"
    ]


def test_the_store_keeps_pins_of_devices_that_it_may_not_know(either: FleetOfTests) -> None:
    (name, *_) = either.with_devices(2)
    one, two = Pin(device=name, serial=1 << 40, artifacts=own()), Pin(device="who", serial=2, artifacts={})
    with either.store.writing() as book:
        book.pins.put([two, one])
        book.pins.put([one])
    with either.store.reading() as book:
        assert book.pins.all() == (one, two)
        assert (book.pins.find(name), book.pins.find("nobody")) == (one, None)
        assert (book.pins.count(), book.pins.count("lab"), book.pins.count("none")) == (2, 1, 0)
    with either.store.writing() as book:
        book.pins.remove([name, "nobody"])
    with either.store.reading() as book:
        assert book.pins.all() == (two,)


def test_a_device_that_is_pinned_elsewhere_leaves_a_rollout_and_comes_back_into_it(
    either: FleetOfTests,
) -> None:
    fleet, names = either, fleet_with(either)
    before, during = names[:2]
    fleet.field.sign(before, own())
    fleet.done("POST", "/rollouts/r1/submit", {})
    fleet.service.round()
    assert set(jobs(fleet)) == set(names[1:]), "none for the one that has a desired state of its own"
    fleet.pass_time(1.0)
    fleet.field.sign(during, own())
    fleet.service.round()
    assert jobs(fleet)[during] == ("canceled", "it has a desired state of its own, serial 2.")
    told = fleet.done("GET", "/rollouts/r1/explain")
    assert told["members"] == {"selector": None, "now": 4, "came": 0, "left": 0, "pinned": 2}
    assert "2 have desired states of their own and are left out" in told["words"]
    (stage,) = told["stages"]
    assert (stage["jobs"]["total"], stage["jobs"]["absent"]) == (3, 2)

    fleet.pass_time(1.0)
    fleet.field.own = ()
    fleet.service.round()
    assert jobs(fleet)[before][0] == "scheduled", "it gets what its stage owes it"
    assert jobs(fleet)[during][0] == "canceled", "a job that has ended stays so"
    assert fleet.done("GET", "/rollouts/r1/explain")["members"]["pinned"] == 0
    assert audited(fleet, before) == [
        ("server", "device.pinned", {"serial": 1, "release": "net-0.9"}),
        ("server", "device.unpinned", {"group": "lab"}),
    ]


def test_one_that_nobody_has_heard_is_not_waited_for_while_it_is_pinned(fleet: FleetOfTests) -> None:
    fleet_with(fleet)
    fleet.done("POST", "/devices", {"id": "mute", "group": "lab"})
    fleet.done("POST", "/rollouts/r1/submit", {})
    fleet.service.round()

    def absent() -> int:
        return int(fleet.done("GET", "/rollouts/r1/explain")["stages"][0]["jobs"]["absent"])

    assert absent() == 5
    fleet.field.sign("mute", own())
    fleet.service.round()
    assert absent() == 4


def test_retry_and_the_way_back_leave_a_pinned_device_alone(fleet: FleetOfTests) -> None:
    names = fleet_with(fleet)
    with fleet.store.writing() as book:
        group = book.groups.get("lab")
        book.groups.put(replace(group, artifacts={PROFILE: ReleasedArtifact(**artifact("net", "0.8"))}))
    fleet.done("POST", "/rollouts/r1/submit", {})
    fleet.service.round()
    fleet.pass_time(1.0)
    fleet.devices_follow(only=names[:1])
    fleet.field.sign(names[0], own(artifact("net", "1.0")))
    fleet.field.sign(names[1], own())
    fleet.service.round()
    assert jobs(fleet)[names[1]][0] == "canceled"
    fleet.pass_time(1.0)
    fleet.done("POST", "/rollouts/r1/retry", {})
    assert jobs(fleet)[names[1]][0] == "canceled"
    fleet.done("POST", "/rollouts/r1/rollback", {})
    fleet.service.round()
    assert fleet.state() == "rolled_back", "nobody is waited for who runs the release by a state of its own"


def test_drift_of_a_pinned_device_is_told_against_its_own_state(either: FleetOfTests) -> None:
    fleet, names = either, fleet_with(either)
    fleet.done("POST", "/rollouts/r1/submit", {})
    fleet.service.round()
    fleet.pass_time(1.0)
    fleet.devices_follow()
    fleet.field.sign(names[0], own())
    fleet.field.sign(names[1], {})
    fleet.field.sign("nobody-knows", own())
    fleet.service.round()
    runs = artifact("net", "1.0")["digest"]
    assert desired(fleet, names[0]) == DesiredOfDevice(
        device=names[0], desired=OWN["digest"], reported=runs, rollout=None, own_serial=1
    )
    assert desired(fleet, names[1]).desired is None
    assert (desired(fleet, names[2]).rollout, desired(fleet, names[2]).own_serial) == ("r1", None)
    with fleet.store.reading() as book:
        assert book.drift.tallies() == (GroupDrift(group="lab", as_desired=2, differing=1, free=1),)
        assert [one.device for one in book.drift.differing("lab", limit=9)] == [names[0]]
    fleet.pass_time(1.0)
    fleet.service.hear([fleet.heard(names[0], runs=OWN["digest"])])
    with fleet.store.reading() as book:
        assert book.drift.tallies() == (GroupDrift(group="lab", as_desired=3, free=1),)


def test_people_pin_and_unpin_and_twice_is_once(either: FleetOfTests) -> None:
    fleet, (name, *_) = either, fleet_with(either)
    for _ in range(2):
        assert (
            fleet.done("POST", f"/devices/{name}/pin", {"release": "net-0.9"}, role="operator")["id"] == name
        )
    fleet.service.round()
    assert fleet.field.own == (Pin(device=name, serial=1, artifacts=own()),)
    assert desired(fleet, name).own_serial == 1, "in the round in which it was signed"
    for _ in range(2):
        fleet.done("DELETE", f"/devices/{name}/pin", role="operator")
    fleet.service.round()
    assert fleet.field.own == ()
    assert desired(fleet, name).own_serial is None
    fleet.done("DELETE", f"/devices/{name}/pin")
    with fleet.store.reading() as book:
        assert book.effects.count() == 0
    assert audited(fleet, name) == [
        ("user operator-1", "device.pin", {"release": "net-0.9", "allow_downgrade": False}),
        ("server", "device.pinned", {"serial": 1, "release": "net-0.9"}),
        ("user operator-1", "device.unpin", {"group": "lab"}),
        ("server", "device.unpinned", {"group": "lab"}),
    ]


def test_what_is_wanted_last_is_signed_when_it_can_be(fleet: FleetOfTests) -> None:
    names = fleet_with(fleet)
    fleet.field.is_broken = True
    for name in names[:2]:
        fleet.done("POST", f"/devices/{name}/pin", {"release": "net-0.9"})
    assert desired(fleet, names[0]).unsigned == "The order to pin it to net-0.9 is not signed yet."
    fleet.service.round()
    assert fleet.field.own == ()
    assert desired(fleet, names[1]).unsigned == (
        "The order to pin it to net-0.9 is not signed, and is tried again: repository: cannot be written: no space left on device."
    )
    fleet.done("DELETE", f"/devices/{names[0]}/pin")
    assert (
        desired(fleet, names[0]).unsigned == "The order to let it follow its group again is not signed yet."
    )
    fleet.done("POST", "/devices/" + names[1] + "/pin", {"release": "net-1.0", "allow_downgrade": True})
    fleet.field.is_broken = False
    fleet.pass_time(60.0)
    fleet.service.round()
    assert [(one.device, one.artifacts[PROFILE].digest) for one in fleet.field.own] == [
        (names[1], artifact("net", "1.0")["digest"])
    ]
    fleet.done("POST", f"/devices/{names[1]}/decommission", {})
    fleet.service.round()
    assert fleet.field.own == ()
    assert fleet.field.moved[-1][0].group == "", "of who is gone for good nothing stays signed"


def test_what_cannot_be_pinned_is_refused(fleet: FleetOfTests, monkeypatch: pytest.MonkeyPatch) -> None:
    (name, gone, *_) = fleet_with(fleet)
    fleet.done("POST", "/releases", release_body("2.0", counter=3, profiles=("other",)))
    fleet.done("POST", f"/devices/{gone}/decommission", {})
    monkeypatch.setattr("host_tools.fleet.serve.pins.MOST_PINNED", 1)
    fleet.field.sign("someone", own())
    fleet.service.round()
    for device, release, status, says in (
        (
            name,
            "net-2.0",
            409,
            f"expected one that can run other, of which release net-2.0 has artifacts, got {PROFILE}",
        ),
        (gone, "net-0.9", 409, "it is decommissioned"),
        (name, "net-7", 404, "there is none with that id"),
        ("nobody", "net-0.9", 404, "it is not known"),
        (name, "net-0.9", 409, "there are 1, as many as this server keeps"),
    ):
        answer = fleet.ask("POST", f"/devices/{device}/pin", {"release": release})
        assert answer.status_code == status, answer.text
        assert says in answer.text
    assert fleet.ask("DELETE", "/devices/nobody/pin").status_code == 404
    with fleet.store.reading() as book:
        assert book.effects.find("pin", name) is None


def test_a_stage_that_names_a_pinned_device_is_refused(fleet: FleetOfTests) -> None:
    (name, *_) = fleet_with(fleet)
    fleet.field.sign(name, own())
    fleet.service.round()
    stages = [{"name": "canary", "share_ppm": 0, "devices": [name], "soak_seconds": 10.0}, *ALL]
    plan = {"id": "r2", "release": "net-1.0", "group": "lab", "stages": stages, "gates": []}
    fleet.done("POST", "/rollouts", plan)
    answer = fleet.ask("POST", "/rollouts/r2/submit", {})
    assert answer.status_code == 409
    assert f"got '{name}', which has a desired state of its own, serial 1" in answer.text


def test_pins_that_cannot_be_read_are_told_once_and_what_was_known_stays(
    fleet: FleetOfTests, caplog: pytest.LogCaptureFixture
) -> None:
    (name, *_) = fleet_with(fleet)
    fleet.field.sign(name, own())
    fleet.service.round()
    fleet.field.is_broken = True
    with caplog.at_level(logging.WARNING, logger="edgewright.fleet"):
        fleet.service.round()
        fleet.service.round()
    assert caplog.text.count("which devices have a desired state of their own cannot be told") == 1
    assert desired(fleet, name).own_serial == 1
    FleetService(fleet.store, NoField()).round()
    assert desired(fleet, name).own_serial == 1, "a server without a repository does not know better"


def test_who_leads_again_looks_anew(fleet: FleetOfTests) -> None:
    (name, *_) = fleet_with(fleet)
    fleet.field.sign(name, own())
    fleet.service.round()
    with fleet.store.writing() as book:
        book.pins.remove([name])  # as another leader did, who saw it unpinned in between
    fleet.service.round()
    assert desired(fleet, name).own_serial is None
    assert fleet.service._leads()
    fleet.service.round()
    assert desired(fleet, name).own_serial == 1
