"""Groups that take devices by a selector: who is in them, and what a device that comes or goes during a rollout gets."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device_agent.contract.desired import belongs
from host_tools.fleet.placing import place_of, takes
from host_tools.fleet.records.devices import Device, Group, Provides, Selector
from host_tools.fleet.rollout.jobs import Observation
from host_tools.fleet.service import Heard
from host_tools.fleet.store.devices import DeviceFilter, DeviceReport
from host_tools.repository.desires import Move
from tests.unit.host_tools.fleet.fleet_of_tests import PROFILE, FleetOfTests

if TYPE_CHECKING:
    pass

STAGES = [
    {"name": "half", "share_ppm": 500_000, "soak_seconds": 60.0},
    {"name": "all", "share_ppm": 1_000_000, "soak_seconds": 60.0},
]
WORDS = st.sets(st.sampled_from(["a", "b", "c"]), max_size=3).map(frozenset)


def tag(fleet: FleetOfTests, device: str, *tags: str) -> None:
    fleet.done("PATCH", f"/devices/{device}", {"tags": list(tags)})


def group_of(fleet: FleetOfTests, device: str) -> str:
    return str(fleet.done("GET", f"/devices/{device}")["group"])


def outdoor(fleet: FleetOfTests, **selector: Any) -> None:
    fleet.done("POST", "/groups", {"name": "outdoor", "selector": selector or {"tags": ["outdoor"]}})


def facts(fleet: FleetOfTests, device: str, **changes: Any) -> None:
    """Let a device say what it is."""
    report = DeviceReport(device=device, seconds=fleet.clock(), **changes)
    fleet.service.hear([Heard(report=report, seen=Observation(seconds=fleet.clock()))])


def test_a_rollout_over_a_selector_follows_devices_that_come_and_go(either: FleetOfTests) -> None:
    fleet, names = either, either.with_devices(8)
    outdoor(fleet)
    for name in names[:5]:
        tag(fleet, name, "outdoor")
    fleet.service.round()
    assert {move.device for batch in fleet.field.moved for move in batch} == set(names[:5])
    fleet.planned(group="outdoor", stages=STAGES)
    fleet.done("POST", "/rollouts/r1/submit", {})
    fleet.service.round()
    first = {one["device"] for one in fleet.done("GET", "/rollouts/r1/jobs")["items"]}
    assert first
    assert first < set(names[:5])

    leaver = sorted(first)[0]
    fleet.pass_time(1.0)
    tag(fleet, leaver)
    for name in names[5:]:
        tag(fleet, name, "outdoor")
    fleet.service.round()
    assert group_of(fleet, leaver) == "lab"
    assert fleet.field.moved[-1][0].before in ("lab", "outdoor")
    job = fleet.done("GET", f"/rollouts/r1/jobs/{leaver}")
    assert (job["state"], job["result"]) == ("canceled", "none")
    assert "the selector of group outdoor wants it no more" in job["reason"]

    trial = fleet.field.wanted["outdoor"].trial
    assert trial is not None
    for name in names[5:]:
        assert group_of(fleet, name) == "outdoor"
        has_job = fleet.ask("GET", f"/rollouts/r1/jobs/{name}").status_code == 200
        assert has_job == belongs(trial, name), "it belongs where it would have belonged from the beginning"

    came = sum(belongs(trial, name) for name in names[5:])
    told = fleet.done("GET", "/rollouts/r1/explain")
    assert told["members"] | {"selector": None} == {
        "selector": None,
        "now": 7,
        "came": came,
        "left": 1,
        "pinned": 0,
    }
    assert "who: group outdoor: it takes devices with tag outdoor; 7 now" in told["words"]
    assert f"{came} came after their stage had begun and got the release at once, 1 left" in told["words"]
    assert "device.place" in fleet.audited()


def test_a_device_that_left_and_comes_back_keeps_the_job_that_ended(fleet: FleetOfTests) -> None:
    names = fleet.with_devices(3)
    outdoor(fleet)
    for name in names:
        tag(fleet, name, "outdoor")
    fleet.service.round()
    fleet.planned(group="outdoor", stages=STAGES[1:])
    fleet.done("POST", "/rollouts/r1/submit", {})
    fleet.service.round()
    for tags in ((), ("outdoor",)):
        fleet.pass_time(1.0)
        tag(fleet, names[0], *tags)
        fleet.service.round()
    assert group_of(fleet, names[0]) == "outdoor"
    assert fleet.done("GET", f"/rollouts/r1/jobs/{names[0]}")["state"] == "canceled"
    assert fleet.done("GET", "/rollouts/r1/explain")["members"]["left"] == 0
    fleet.pass_time(1.0)
    fleet.done("POST", "/rollouts/r1/retry", {})
    assert fleet.done("GET", f"/rollouts/r1/jobs/{names[0]}")["state"] == "scheduled"


def test_what_a_device_says_of_itself_moves_it_too(fleet: FleetOfTests) -> None:
    (name,) = fleet.with_devices(1)
    outdoor(fleet, engines=["tflite"], least_memory_bytes=1 << 30)
    for engine, memory, group in (
        ("tflite 2.1.0", 1 << 29, "lab"),
        ("tflite 2.1.0", 1 << 31, "outdoor"),
        ("tflite 2.2.0", 1 << 31, "outdoor"),
        ("onnxruntime 1.20", 1 << 31, "lab"),
    ):
        fleet.pass_time(60.0)
        facts(fleet, name, provides=Provides(targets=(PROFILE,), engine=engine, memory_bytes=memory))
        fleet.service.round()
        assert group_of(fleet, name) == group, engine


def test_a_selector_that_changes_looks_at_every_device_anew_and_the_lowest_rank_has_it(
    fleet: FleetOfTests,
) -> None:
    names = fleet.with_devices(2)
    outdoor(fleet)
    tag(fleet, names[0], "outdoor", "north")
    fleet.service.round()
    fleet.pass_time(3_600.0)
    fleet.service.round()
    fleet.done("POST", "/groups", {"name": "north", "selector": {"tags": ["north"], "rank": 5}})
    fleet.service.round()
    assert group_of(fleet, names[0]) == "north"
    fleet.done("PATCH", "/groups/north", {"selector": {"tags": ["south"], "rank": 5}})
    fleet.service.round()
    assert group_of(fleet, names[0]) == "outdoor"
    assert group_of(fleet, names[1]) == "lab"


def test_a_selector_that_is_taken_away_lets_devices_go_back_and_says_why(either: FleetOfTests) -> None:
    fleet, names = either, either.with_devices(3)
    outdoor(fleet)
    for name in names:
        tag(fleet, name, "outdoor")
    fleet.service.round()
    fleet.planned(group="outdoor", stages=STAGES[1:])
    fleet.done("POST", "/rollouts/r1/submit", {})
    fleet.service.round()
    fleet.pass_time(3_600.0)
    fleet.service.round()
    assert fleet.done("PATCH", "/groups/outdoor", {"note": "roofs"})["selector"] is not None, (
        "left out: stays"
    )
    assert fleet.done("PATCH", "/groups/outdoor", {"selector": None}) | {"created_seconds": 0} == {
        "name": "outdoor",
        "note": "roofs",
        "selector": None,
        "artifacts": {},
        "created_seconds": 0,
    }
    entry = fleet.done("GET", "/audit", params={"action": "group.edit"})["items"][-1]
    assert entry["details"] == {"selector": "none", "selector_before": "tag outdoor"}
    fleet.service.round()
    assert {group_of(fleet, name) for name in names} == {"lab"}
    job = fleet.done("GET", f"/rollouts/r1/jobs/{names[0]}")
    assert (job["state"], job["result"]) == ("canceled", "none")
    assert job["reason"] == "the device is in group lab now: group outdoor has no selector any more."
    fleet.done("PATCH", f"/devices/{names[0]}", {"group": "outdoor"})
    assert group_of(fleet, names[0]) == "outdoor", "people may put devices into it now"


def test_a_stage_whose_devices_have_all_left_is_told_as_that(fleet: FleetOfTests) -> None:
    names = fleet.with_devices(3)
    outdoor(fleet)
    for name in names:
        tag(fleet, name, "outdoor")
    fleet.service.round()
    fleet.planned(group="outdoor", stages=STAGES[1:])
    fleet.done("POST", "/rollouts/r1/submit", {})
    fleet.service.round()
    fleet.done("PATCH", "/groups/outdoor", {"selector": None})
    for _ in range(3):
        fleet.pass_time(61.0)
        fleet.service.round()
    told = fleet.done("GET", "/rollouts/r1/explain")
    assert told["state"] == "paused"
    assert told["reason"].endswith(
        "every job of its 3 devices was canceled, since they left the group or were taken out."
    )


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("POST", "/groups", {"name": "x", "selector": {"rank": 3}}, 422, "at least one of groups, tags"),
        ("POST", "/groups", {"name": "x", "selector": {"groups": ["none"]}}, 404, "group none"),
        ("POST", "/groups", {"name": "x", "selector": {"groups": ["outdoor"]}}, 409, "by its selector"),
        ("PATCH", "/groups/lab", {"selector": {"tags": ["a"]}}, 409, "people have put devices into it"),
        ("PATCH", "/devices/lab-00000", {"group": "outdoor"}, 409, "takes its devices by its selector"),
        ("POST", "/devices", {"id": "x", "group": "outdoor"}, 409, "takes its devices by its selector"),
        ("POST", "/claims", {"group": "outdoor"}, 409, "takes its devices by its selector"),
        ("POST", "/claims", {"group": "attic", "device": "lab-00000"}, 409, "is in group lab, got attic"),
    ],
)
def test_what_cannot_be_is_refused_with_the_way_out(
    fleet: FleetOfTests, method: str, path: str, body: dict[str, Any], status: int, says: str
) -> None:
    fleet.with_devices(1)
    outdoor(fleet)
    fleet.done("POST", "/groups", {"name": "attic"})
    answer = fleet.ask(method, path, body)
    assert (answer.status_code, says in answer.json()["detail"]) == (status, True), answer.text


def test_a_device_list_has_where_people_put_a_device_and_refuses_a_group_with_a_selector(
    fleet: FleetOfTests,
) -> None:
    (name,) = fleet.with_devices(1)
    outdoor(fleet)
    tag(fleet, name, "outdoor")
    fleet.service.round()
    table = fleet.ask("GET", "/devices.csv").content
    assert f"{name},lab,outdoor".encode() in table
    assert fleet.ask("POST", "/devices.csv", content=table).json()["same"] == 1
    answer = fleet.ask("POST", "/devices.csv", content=f"id,group\n{name},outdoor\n".encode())
    assert answer.status_code == 422
    assert "line 2: group outdoor: it takes its devices by its selector" in answer.json()["detail"]


def test_a_device_that_is_configured_for_another_group_is_told_and_its_record_goes_when_it_is_not_needed(
    either: FleetOfTests,
) -> None:
    fleet, (name, other) = either, either.with_devices(2)
    for _ in range(3):
        fleet.pass_time(1.0)
        facts(fleet, name, configured="shop", desired_serial=4)
        facts(fleet, other, configured="lab", desired_serial=4)
        fleet.service.round()
    assert fleet.field.moved == [(Move(device=name, group="lab", before="shop", configured="shop"),)]
    assert fleet.audited().count("device.redirect") == 1
    assert fleet.done("GET", f"/devices/{name}")["configured"] == "shop"
    fleet.pass_time(60.0)
    facts(fleet, name, configured="lab", desired_serial=5)
    fleet.service.round()
    assert fleet.field.moved[1:] == [(Move(device=name, group="lab", before="lab", configured="lab"),)]
    assert fleet.field.records == {}
    facts(fleet, name, configured="", desired_serial=5)
    fleet.service.round()
    assert fleet.field.records == {name: "lab"}, "one that names no group reads none"
    fleet.pass_time(60.0)
    fleet.done("POST", f"/devices/{name}/decommission", {})
    fleet.service.round()
    assert fleet.field.records == {}


def test_a_pinned_device_is_told_which_group_it_follows_when_it_is_unpinned_and_not_before(
    either: FleetOfTests,
) -> None:
    fleet, (name, _) = either, either.with_devices(2)
    fleet.field.sign(name, {})
    for _ in range(2):
        fleet.pass_time(60.0)
        facts(fleet, name, configured="shop", desired_serial=4)
        fleet.service.round()
    assert fleet.field.moved == []
    assert "device.redirect" not in fleet.audited()
    fleet.field.own = ()  # whoever has the keys unpins it
    fleet.service.round()
    assert fleet.field.moved == [(Move(device=name, group="lab", before="shop", configured="shop"),)]


def test_a_device_that_enrols_for_another_group_than_the_fleets_is_told_of(
    fleet: FleetOfTests, caplog: pytest.LogCaptureFixture
) -> None:
    from tests.unit.host_tools.fleet.fleet_of_tests import KnownDevice

    (name,) = fleet.with_devices(1)
    fleet.enrolment.known[name] = KnownDevice(device=name, group="shop", state="enrolled")
    for _ in range(3):
        fleet.service.take_enrolled()
    assert caplog.text.count(f"device {name}: it enrolled for group shop, and is in lab") == 1


@st.composite
def selectors(draw: st.DrawFn) -> tuple[Group, ...]:
    count = draw(st.integers(0, 4))
    made = [
        Group(
            name=f"s{number}",
            selector=Selector(tags=draw(WORDS), targets=draw(WORDS), groups=draw(WORDS), rank=number),
        )
        for number in range(count)
    ]
    return tuple(made)


@given(selectors(), WORDS, WORDS, st.sampled_from("abc"))
def test_a_device_is_in_exactly_one_group_the_first_that_wants_it(
    groups: tuple[Group, ...], tags: frozenset[str], targets: frozenset[str], home: str
) -> None:
    device = Device(id="d", group=home, tags=tags, provides=Provides(targets=tuple(sorted(targets))))
    wanting = [one.name for one in groups if one.selector is not None and takes(one.selector, device)]
    placed = place_of(device, groups)
    assert placed == (wanting[0] if wanting else home)
    assert place_of(replace(device, group=placed), groups) == placed, (
        "where it is does not count, so it stays"
    )


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 5), WORDS, st.booleans()), max_size=12))
def test_whatever_changes_each_device_is_in_one_share_and_wants_one_artifact(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, frozenset[str], bool]]
) -> None:
    fleet = FleetOfTests(str(tmp_path_factory.mktemp("fleet") / "fleet.db"))
    try:
        names = fleet.with_devices(6)
        for number, word in enumerate("ab"):
            fleet.done("POST", "/groups", {"name": word, "selector": {"tags": [word], "rank": number}})
        fleet.planned("ra", group="a", stages=STAGES)
        fleet.done("POST", "/rollouts", _planned_for("rb", "b"))
        for rollout in ("ra", "rb"):
            fleet.done("POST", f"/rollouts/{rollout}/submit", {})
        for place, tags, follows in changes:
            fleet.pass_time(20.0)
            tag(fleet, names[place], *sorted(tags))
            fleet.service.round()
            if follows:
                fleet.devices_follow()
            _check_one_share(fleet, names)
    finally:
        fleet.close()


def _planned_for(rollout: str, group: str) -> dict[str, Any]:
    return {"id": rollout, "release": "net-1.0", "group": group, "stages": STAGES, "gates": []}


def _check_one_share(fleet: FleetOfTests, names: list[str]) -> None:
    with fleet.store.reading() as book:
        devices = {one.id: one for one in book.devices.page(DeviceFilter(), limit=100)}
        open_jobs = book.jobs.open_of(names)
        rollouts = {"ra": "a", "rb": "b"}
    for name, device in devices.items():
        mine = [job for job in open_jobs if job.device == name]
        assert len(mine) <= 1, "one desired artifact at a time"
        assert all(rollouts[job.rollout] == device.group for job in mine)
        wanted = next((word for word in "ab" if word in device.tags), "lab")
        assert device.group == wanted
        assert fleet.field.records.get(name, "lab") == wanted, "what is signed is where it is"
