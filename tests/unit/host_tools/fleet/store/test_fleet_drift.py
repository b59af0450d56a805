"""What devices shall run against what they say, through a rollout, its abortion, and devices that move; and the audit backwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from host_tools.errors import NotFoundError
from host_tools.fleet.store.devices import DeviceReport
from host_tools.fleet.store.drift import DesiredOfDevice, GroupDrift
from tests.unit.host_tools.fleet.fleet_of_tests import FleetOfTests, artifact, digest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WANTED = artifact("net", "1.0")["digest"]


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[FleetOfTests]:
    opened = FleetOfTests(str(tmp_path / "fleet.db"))
    yield opened
    opened.close()


def drift(fleet: FleetOfTests) -> GroupDrift:
    with fleet.store.reading() as book:
        return next(one for one in book.drift.tallies() if one.group == "lab")


def begun(fleet: FleetOfTests) -> list[str]:
    """Begin the canary and return its devices."""
    fleet.with_devices(20)
    fleet.planned()
    fleet.done("POST", "/rollouts/r1/submit", {})
    fleet.service.round()
    return [job["device"] for job in fleet.done("GET", "/rollouts/r1/jobs")["items"]]


def test_nothing_is_desired_before_the_first_rollout(fleet: FleetOfTests) -> None:
    fleet.with_devices(20)
    assert drift(fleet) == GroupDrift(group="lab", free=20)


def test_a_stage_is_silent_then_underway_then_as_desired(fleet: FleetOfTests) -> None:
    canary = begun(fleet)
    assert drift(fleet) == GroupDrift(group="lab", silent=len(canary), free=20 - len(canary))
    other = digest("something else")
    fleet.service.hear([fleet.heard(canary[0], runs=other)])
    assert (drift(fleet).underway, drift(fleet).silent) == (1, len(canary) - 1)
    with fleet.store.reading() as book:
        assert book.drift.differing("lab", limit=9) == ()
        assert book.drift.of_device(canary[0], "lab") == DesiredOfDevice(
            device=canary[0], desired=WANTED, reported=other, rollout="r1"
        )
    fleet.pass_time(1)
    fleet.devices_follow()
    assert drift(fleet) == GroupDrift(group="lab", as_desired=len(canary), free=20 - len(canary))


def test_after_an_abort_the_share_still_shall_run_the_release_and_whoever_does_not_differs(
    fleet: FleetOfTests,
) -> None:
    canary = begun(fleet)
    fleet.pass_time(1)
    fleet.devices_follow()
    fleet.done("POST", "/rollouts/r1/abort", {})
    reports = [DeviceReport(device=name, seconds=fleet.clock(), artifact=digest("old")) for name in canary]
    with fleet.store.writing() as book:
        book.devices.heard(reports, now_seconds=book.now_seconds)
    assert drift(fleet).differing == len(canary)
    with fleet.store.reading() as book:
        first = book.drift.differing("lab", limit=1)
        rest = book.drift.differing("lab", after=first[0].device, limit=100)
    assert [one.device for one in first + rest] == sorted(canary)


def test_a_device_that_moved_owes_its_old_group_nothing(fleet: FleetOfTests) -> None:
    (device, *_) = begun(fleet)
    fleet.done("POST", "/groups", {"name": "other"})
    fleet.done("PATCH", f"/devices/{device}", {"group": "other"})
    with fleet.store.reading() as book:
        assert book.drift.of_device(device, "other").desired is None


def test_what_is_not_there_is_refused(fleet: FleetOfTests) -> None:
    with fleet.store.reading() as book, pytest.raises(NotFoundError):
        book.groups.get("none")
    assert fleet.ask("GET", "/devices/none/desired").status_code == 404
    assert fleet.ask("GET", "/groups/none/drift").status_code == 404


def test_the_audit_is_read_backwards_in_pages(fleet: FleetOfTests) -> None:
    begun(fleet)
    forwards = [one["number"] for one in fleet.done("GET", "/audit?limit=1000")["items"]]
    seen: list[int] = []
    after: str | None = "0"
    while after is not None:
        page = fleet.done("GET", f"/audit?order=newest_first&limit=7&after={after}")
        seen += [one["number"] for one in page["items"]]
        after = page["next"]
    assert seen == forwards[::-1]
