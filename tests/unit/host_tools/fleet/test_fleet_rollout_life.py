"""Rollouts from draft to their end, over REST, the service and the store; only the devices are simulated."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from host_tools.errors import StoreError
from host_tools.fleet.records.devices import Provides
from host_tools.fleet.records.gates import GateFinding
from host_tools.fleet.records.releases import ReleasedArtifact
from host_tools.fleet.rollout.jobs import Observation
from host_tools.fleet.service import Heard
from host_tools.fleet.store.devices import DeviceFilter, DeviceReport
from tests.integration.support import wait_until
from tests.unit.host_tools.fleet.fleet_of_tests import (
    PROFILE,
    FleetOfTests,
    KnownDevice,
    digest,
    release_body,
    rollout_body,
)

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from host_tools.fleet.records.releases import Release
    from host_tools.fleet.records.rollouts import Rollout


def test_a_rollout_goes_from_draft_to_finished(fleet: FleetOfTests) -> None:
    devices = fleet.with_devices(40)
    fleet.planned()
    assert fleet.state() == "draft"
    fleet.done("POST", "/rollouts/r1/submit", {})
    fleet.service.round()
    jobs = fleet.done("GET", "/rollouts/r1/jobs?limit=1000")["items"]
    assert 0 < len(jobs) < len(devices)
    assert {job["wanted"] for job in jobs} == {digest(f"net1.0{PROFILE}")}
    trial = fleet.field.wanted["lab"].trial
    assert trial is not None
    assert trial.share_ppm == 200_000
    assert fleet.devices_follow() == len(jobs)
    fleet.pass_time(11)
    fleet.service.round()
    assert [stage["state"] for stage in fleet.done("GET", "/rollouts/r1")["stages"]] == ["passed", "running"]
    assert fleet.devices_follow() == len(devices) - len(jobs)
    fleet.pass_time(11)
    fleet.service.round()
    fleet.service.round()
    assert fleet.state() == "finished"
    counts = [stage["jobs"] for stage in fleet.done("GET", "/rollouts/r1/explain")["stages"]]
    assert [one["succeeded"] for one in counts] == [len(jobs), len(devices) - len(jobs)]
    settled = fleet.field.wanted["lab"]
    assert settled.trial is None
    assert settled.artifacts[PROFILE].digest == digest(f"net1.0{PROFILE}")
    assert fleet.done("GET", "/groups/lab")["artifacts"][PROFILE]["digest"] == digest(f"net1.0{PROFILE}")
    assert fleet.audited()[-1] == "rollout.finished"
    assert fleet.done("GET", "/overview")["open_effects"] == 0


def test_too_many_failures_take_the_release_back(fleet: FleetOfTests) -> None:
    fleet.with_devices(40)
    before = ReleasedArtifact(path="models/net/net-0.9.ewa", digest=digest("before"), size_bytes=1)
    with fleet.store.writing() as book:
        book.groups.put(replace(book.groups.get("lab"), artifacts={PROFILE: before}))
    fleet.planned()
    fleet.done("POST", "/rollouts/r1/submit", {})
    fleet.service.round()
    jobs = fleet.done("GET", "/rollouts/r1/jobs?limit=1000")["items"]
    assert fleet.devices_follow() == 40  # the canaries to the release, the others to what the group runs
    fleet.pass_time(1)
    fleet.service.hear([fleet.heard(jobs[0]["device"], runs=digest("before"))])
    with fleet.store.writing() as book:
        book.jobs.put(
            [replace(book.jobs.get("r1", job["device"]), state="proceeding", result="none") for job in jobs]
        )
    told = [
        fleet.heard(
            job["device"], runs=None, event="update_rolled_back", about=job["wanted"], reason="too slow"
        )
        for job in jobs
    ]
    fleet.service.hear(told)
    fleet.service.round()
    assert fleet.state() == "rolling_back"
    wanted = fleet.field.wanted["lab"]
    assert wanted.trial is None
    assert wanted.allow_downgrade
    assert wanted.artifacts[PROFILE].digest == digest("before")
    fleet.service.round()
    assert fleet.state() == "rolling_back"  # some still report to run it
    fleet.devices_follow()
    fleet.service.round()
    assert fleet.state() == "rolled_back"
    assert fleet.done("GET", "/rollouts/r1/explain")["stages"][0]["state"] == "stopped"
    assert {job["reason"] for job in fleet.done("GET", "/rollouts/r1/jobs")["items"]} == {"too slow"}
    assert fleet.done("GET", "/groups/lab")["artifacts"][PROFILE]["digest"] == digest("before")


def test_gates_are_asked_once_a_stage_has_begun_and_what_they_found_is_kept(tmp_path: Path) -> None:
    asked: list[float] = []

    def findings(rollout: Rollout, release: Release, now_seconds: float) -> list[GateFinding]:
        asked.append(now_seconds)
        gate = rollout.plan.gates[0]
        text = "p95 is 40 % longer, 30 to 50 %."
        return [
            GateFinding(gate=gate, outcome="failed", devices=9, estimate=0.4, low=0.3, high=0.5, text=text)
        ]

    fleet = FleetOfTests(str(tmp_path / "fleet.db"), findings=findings)
    fleet.with_devices(10)
    fleet.planned(gates=[{"measure": "latency_p95", "worst": 0.1}])
    fleet.done("POST", "/rollouts/r1/submit", {})
    fleet.service.round()
    assert asked == []
    fleet.devices_follow()
    fleet.service.round()
    assert len(asked) == 1
    explained = fleet.done("GET", "/rollouts/r1/explain")
    assert explained["state"] == "aborted"  # there is nothing that the group ran before
    assert explained["gates"][0]["outcome"] == "failed"
    assert "40 % longer" in explained["words"]
    fleet.close()


def test_while_telemetry_is_away_no_stage_passes_and_too_many_failures_still_stop_it(tmp_path: Path) -> None:
    def findings(rollout: Rollout, release: Release, now_seconds: float) -> list[GateFinding]:
        raise StoreError("http://telemetry.test: cannot be asked: refused.")

    fleet = FleetOfTests(str(tmp_path / "fleet.db"), findings=findings)
    fleet.with_devices(4)
    stages = [{"name": "all", "share_ppm": 1_000_000, "error_ratio": 0.5, "soak_seconds": 10.0}]
    gates = [{"measure": "latency_p95", "worst": 0.1}]
    fleet.planned(gates=gates, stages=stages, hold_seconds=100.0)
    fleet.done("POST", "/rollouts", rollout_body("r2", gates=gates, stages=stages))
    fleet.done("POST", "/rollouts/r1/submit", {})
    fleet.service.round()
    fleet.devices_follow()
    fleet.pass_time(20)
    fleet.service.round()
    assert fleet.state() == "running"
    words = fleet.done("GET", "/rollouts/r1/explain")["words"]
    assert "unavailable: p95 latency: telemetry cannot be asked: http://telemetry.test" in words
    fleet.pass_time(100)
    fleet.service.round()
    assert fleet.state() == "paused"  # a person decides
    fleet.done("POST", "/rollouts/r1/abort", {})
    with fleet.store.writing() as book:
        for device in book.devices.page(DeviceFilter(), limit=10):
            book.devices.heard(
                [DeviceReport(device=device.id, seconds=fleet.clock(), artifact="")], now_seconds=0.0
            )
    fleet.done("POST", "/rollouts/r2/submit", {})
    fleet.service.round()
    jobs = fleet.done("GET", "/rollouts/r2/jobs")["items"]
    fleet.service.hear(
        [
            fleet.heard(job["device"], runs=None, event="update_rejected", about=job["wanted"])
            for job in jobs[:2]
        ]
    )
    fleet.service.round()
    assert fleet.state("r2") == "aborted"
    fleet.close()


def test_what_cannot_be_published_for_days_does_not_end_the_rounds(fleet: FleetOfTests) -> None:
    fleet.with_devices(2)
    fleet.planned()
    fleet.done("POST", "/rollouts/r1/submit", {})
    fleet.field.is_broken = True
    fleet.service.round()
    with fleet.store.writing() as book:
        (effect,) = book.effects.open(limit=2)
        book.effects.failed(replace(effect, attempts=5_000), "away", due_seconds=fleet.clock())
    fleet.service.round()
    with fleet.store.reading() as book:
        (effect,) = book.effects.open(limit=2)
    assert (effect.attempts, effect.due_seconds - fleet.clock()) == (5_002, 60.0)


def test_a_defect_that_one_rollout_meets_ends_neither_the_rounds_nor_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def findings(rollout: Rollout, release: Release, now_seconds: float) -> list[GateFinding]:
        raise RuntimeError("a defect")

    fleet = FleetOfTests(str(tmp_path / "fleet.db"), findings=findings)
    fleet.with_devices(2)
    fleet.with_devices(2, group="other")
    whole = [{"name": "all", "share_ppm": 1_000_000, "soak_seconds": 0.0}]
    fleet.planned(stages=whole, gates=[{"measure": "crashes", "worst": 0.1}])
    fleet.done("POST", "/rollouts", rollout_body("r2", group="other", stages=whole))
    for rollout in ("r1", "r2"):
        fleet.done("POST", f"/rollouts/{rollout}/submit", {})
    stop = threading.Event()
    rounds = threading.Thread(target=fleet.service.run, args=(stop,), kwargs={"period_seconds": 0.01})
    rounds.start()
    wait_until(lambda: set(fleet.field.wanted) == {"lab", "other"}, what="both have begun")
    fleet.devices_follow()
    fleet.pass_time(1)
    wait_until(lambda: fleet.state("r2") == "finished", what="the other one goes on")
    assert rounds.is_alive()
    stop.set()
    rounds.join(10)
    assert fleet.state("r1") == "running"
    assert "rollout r1 waits: a defect of the server" in caplog.text
    fleet.close()


def test_devices_that_never_said_what_they_can_run_are_absent_and_get_nothing_unseen(
    fleet: FleetOfTests,
) -> None:
    fleet.done("POST", "/groups", {"name": "lab"})
    for number in range(10):
        fleet.done("POST", "/devices", {"id": f"d{number}", "group": "lab"})
    fleet.planned(absent_seconds=1_000.0)
    fleet.done("POST", "/rollouts/r1/submit", {})
    fleet.service.round()
    fleet.pass_time(100)
    fleet.service.round()
    explained = fleet.done("GET", "/rollouts/r1/explain")
    assert [one["state"] for one in explained["stages"]] == ["running", "waiting"]
    jobs = explained["stages"][0]["jobs"]
    assert 0 < jobs["absent"] == jobs["total"] < 10
    assert f"none of its {jobs['total']} devices has been heard yet" in explained["words"]
    provides = Provides(targets=(PROFILE,))
    reports = [DeviceReport(device=f"d{one}", seconds=fleet.clock(), provides=provides) for one in range(10)]
    fleet.service.hear([Heard(report=one, seen=Observation(seconds=one.seconds)) for one in reports])
    fleet.service.round()
    assert len(fleet.done("GET", "/rollouts/r1/jobs")["items"]) == jobs["total"]
    fleet.devices_follow()
    fleet.service.round()
    stages = fleet.done("GET", "/rollouts/r1/explain")["stages"]
    assert [one["state"] for one in stages] == ["passed", "running"]
    assert stages[0]["jobs"]["succeeded"] == jobs["total"]


def test_what_the_authority_knows_becomes_known_and_decisions_reach_it(fleet: FleetOfTests) -> None:
    known = fleet.enrolment.known
    known["d1"] = KnownDevice("d1", "lab", "enrolled")
    known["d2"] = KnownDevice("d2", "lab", "pending")
    known["d3"] = KnownDevice("d3", "lab", "revoked")
    for _ in range(2):
        fleet.service.take_enrolled()
    fleet.service.round()
    assert fleet.service.devices_known == 2
    listed = {one["id"]: one["state"] for one in fleet.done("GET", "/devices")["items"]}
    assert listed == {"d1": "enrolled", "d2": "pending"}
    assert fleet.done("POST", "/devices/d2/approve")["state"] == "enrolled"
    assert fleet.ask("POST", "/devices/d2/approve").status_code == 409
    fleet.service.take_enrolled()  # the authority has not heard of it: the decision stays
    assert fleet.done("GET", "/devices/d2")["state"] == "enrolled"
    fleet.service.round()
    assert fleet.enrolment.approved == [("d2", "user admin-1")]
    fleet.done("POST", "/devices/d1/revoke", {"reason": "lost"})
    assert fleet.ask("POST", "/devices/d1/revoke", {"reason": "lost"}).status_code == 409
    fleet.service.round()
    assert fleet.enrolment.revoked == [("d1", "lost")]
    assert fleet.enrolment.barred == set()
    fleet.service.take_enrolled()  # it comes back with a new claim token
    assert fleet.done("GET", "/devices/d1")["state"] == "enrolled"
    claim = fleet.done(
        "POST", "/claims", {"group": "lab", "device": "d9", "needs_approval": True}, role="operator"
    )
    assert claim["claim"] == "claim-lab-d9-86400-True"
    assert fleet.ask("POST", "/claims", {"group": "nowhere"}).status_code == 404


def test_a_decommissioned_device_stays_out_whatever_the_authority_says(fleet: FleetOfTests) -> None:
    fleet.enrolment.known["d1"] = KnownDevice("d1", "lab", "enrolled")
    fleet.service.take_enrolled()
    fleet.done("POST", "/devices/d1/decommission", {"reason": "broken"})
    fleet.service.take_enrolled()  # the authority has not heard of it yet
    fleet.service.round()
    assert (fleet.enrolment.revoked, fleet.enrolment.barred) == ([("d1", "broken")], {"d1"})
    assert fleet.done("GET", "/devices/d1")["state"] == "decommissioned"
    assert fleet.ask("PATCH", "/devices/d1", {"group": "lab"}).status_code == 409
    refused = fleet.ask("POST", "/claims", {"group": "lab", "device": "d1"})
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert "can never enrol again" in refused.json()["detail"]
    fleet.enrolment.known["d1"] = KnownDevice("d1", "lab", "revoked")
    fleet.service.take_enrolled()
    assert len(fleet.done("GET", "/audit?action=device.revoke")["items"]) == 0, "it stays out by itself"
    for state in ("pending", "enrolled"):  # an authority that a version before decommissioned it in
        fleet.enrolment.known["d1"] = KnownDevice("d1", "lab", state)
        fleet.enrolment.barred.clear()
        fleet.service.take_enrolled()
        fleet.service.take_enrolled()
        fleet.service.round()
        assert fleet.enrolment.barred == {"d1"}
        assert fleet.done("GET", "/devices/d1")["state"] == "decommissioned"
    entries = fleet.done("GET", "/audit?action=device.revoke")["items"]
    assert [(one["actor"], one["subject"]) for one in entries] == [("server", "device/d1")] * 2


def test_claim_tokens_are_listed_and_revoked_and_the_audit_says_who_did_it(fleet: FleetOfTests) -> None:
    ids = {}
    for group, device, hours in (("lab", "", 2.0), ("lab", "d9", 1.0), ("shop", "", 3.0)):
        if device == "":
            fleet.done("POST", "/groups", {"name": group})
        asked = {"group": group, "device": device, "lifetime_seconds": hours * 3_600.0}
        ids[group, device] = fleet.done("POST", "/claims", asked)["id"]
    every = fleet.done("GET", "/claims?limit=2", role="operator")
    rest = fleet.done("GET", f"/claims?after={every['next']}")
    last_first = [ids["shop", ""], ids["lab", ""], ids["lab", "d9"]]
    assert [one["id"] for one in every["items"] + rest["items"]] == last_first
    assert rest["next"] is None
    beyond = fleet.ask("GET", "/claims?after=0123456789ab")
    assert (beyond.status_code, "`next` of the page before" in beyond.json()["detail"]) == (404, True)
    lost = ids["lab", "d9"]
    assert fleet.done("DELETE", f"/claims/{lost}", role="operator")["state"] == "revoked"
    assert [one["id"] for one in fleet.done("GET", "/claims?group=lab&state=revoked")["items"]] == [lost]
    assert fleet.ask("DELETE", "/claims/0123456789ab").status_code == 404
    entry = fleet.done("GET", "/audit?action=claim.revoke")["items"][0]
    assert (entry["actor"], entry["subject"], entry["details"]) == (
        "user operator-1",
        "group/lab",
        {"claim": lost},
    )
    fleet.service.enrolment = None
    for answer in (fleet.ask("GET", "/claims"), fleet.ask("DELETE", f"/claims/{lost}")):
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


def test_a_device_added_in_the_middle_gets_its_job_and_one_that_left_holds_nobody_up(
    fleet: FleetOfTests,
) -> None:
    devices = fleet.with_devices(3)
    fleet.planned(stages=[{"name": "all", "share_ppm": 1_000_000, "soak_seconds": 10.0}])
    fleet.done("POST", "/rollouts/r1/submit", {})
    fleet.service.round()
    fleet.devices_follow(only=devices[1:])
    fleet.done("POST", "/devices", {"id": "late", "group": "lab", "provides": {"targets": [PROFILE]}})
    fleet.done("POST", f"/devices/{devices[0]}/decommission", {"reason": "broken screen"})
    fleet.service.round()
    jobs = {job["device"]: job["state"] for job in fleet.done("GET", "/rollouts/r1/jobs")["items"]}
    assert jobs == {devices[0]: "canceled", devices[1]: "closed", devices[2]: "closed", "late": "scheduled"}
    assert fleet.enrolment.revoked == [(devices[0], "broken screen")]
    fleet.devices_follow()
    fleet.pass_time(11)
    fleet.service.round()
    assert fleet.state() == "finished"


def test_jobs_end_by_their_deadlines(fleet: FleetOfTests) -> None:
    devices = fleet.with_devices(4)
    fleet.planned(
        stages=[{"name": "all", "share_ppm": 1_000_000, "error_ratio": 1.0, "success_ratio": 0.5}],
        job_seconds=100.0,
        absent_seconds=1_000.0,
    )
    fleet.done("POST", "/rollouts/r1/submit", {})
    fleet.service.round()
    fleet.devices_follow(only=devices[:2])
    fleet.service.hear(
        [fleet.heard(devices[2], runs=None, event="update_activated", about=digest(f"net1.0{PROFILE}"))]
    )
    fleet.pass_time(2_000)
    fleet.service.round()
    jobs = {
        job["device"]: (job["state"], job["result"])
        for job in fleet.done("GET", "/rollouts/r1/jobs")["items"]
    }
    assert jobs[devices[0]] == jobs[devices[1]] == ("closed", "success")
    assert jobs[devices[2]] == ("closed", "failure")
    assert jobs[devices[3]] == ("canceled", "none")


def test_failed_jobs_are_tried_again_under_a_new_serial(fleet: FleetOfTests) -> None:
    fleet.with_devices(2)
    fleet.planned(stages=[{"name": "all", "share_ppm": 1_000_000, "error_ratio": 1.0, "soak_seconds": 1e6}])
    fleet.done("POST", "/rollouts/r1/submit", {})
    fleet.service.round()
    job = fleet.done("GET", "/rollouts/r1/jobs")["items"][0]
    fleet.service.hear(
        [
            fleet.heard(
                job["device"], runs=None, event="update_rejected", about=job["wanted"], reason="no room"
            )
        ]
    )
    fleet.pass_time(1)
    fleet.done("POST", "/rollouts/r1/retry", {})
    fleet.field.is_broken = True
    fleet.service.round()
    fleet.field.is_broken = False
    fleet.pass_time(60)
    fleet.service.round()
    assert fleet.field.published[-1] == ("lab", True)
    again = fleet.done("GET", f"/rollouts/r1/jobs/{job['device']}")
    assert (again["state"], again["attempts"]) == ("scheduled", 2)


def test_neither_a_retry_nor_a_way_back_waits_for_devices_that_left(fleet: FleetOfTests) -> None:
    fleet.with_devices(4)
    fleet.done("POST", "/groups", {"name": "other"})
    before = ReleasedArtifact(path="models/net/net-0.9.ewa", digest=digest("before"), size_bytes=1)
    with fleet.store.writing() as book:
        book.groups.put(replace(book.groups.get("lab"), artifacts={PROFILE: before}))
    stages = [{"name": "all", "share_ppm": 1_000_000, "error_ratio": 1.0, "soak_seconds": 1e6}]
    fleet.planned(stages=stages)
    fleet.done("POST", "/rollouts/r1/submit", {})
    fleet.service.round()
    fleet.done("PATCH", "/devices/lab-00000", {"group": "other"})
    fleet.done("POST", "/devices/lab-00001/decommission", {})
    fleet.pass_time(1)
    fleet.done("POST", "/rollouts/r1/retry", {})
    states = {one["device"]: one["state"] for one in fleet.done("GET", "/rollouts/r1/jobs")["items"]}
    assert states == {
        "lab-00000": "canceled",
        "lab-00001": "canceled",
        "lab-00002": "scheduled",
        "lab-00003": "scheduled",
    }
    fleet.service.round()
    fleet.devices_follow()
    fleet.done("POST", "/devices/lab-00002/revoke", {})  # with the release on it
    fleet.done("POST", "/rollouts/r1/rollback", {})
    fleet.service.round()
    assert fleet.state() == "rolling_back"
    fleet.devices_follow()
    fleet.service.round()
    assert fleet.state() == "rolled_back"


def test_what_cannot_be_published_is_wanted_until_it_is(fleet: FleetOfTests) -> None:
    fleet.with_devices(2)
    fleet.planned()
    fleet.done("POST", "/rollouts/r1/submit", {})
    fleet.field.is_broken = True
    fleet.service.round()
    assert fleet.field.published == []
    assert fleet.done("GET", "/overview")["open_effects"] == 1
    said = fleet.done("GET", "/rollouts/r1/explain")
    assert "cannot be signed, and is tried again: repository: cannot be written" in said["next_step"]
    assert said["next_step"].splitlines()[0] in said["words"]
    fleet.field.is_broken = False
    fleet.service.round()
    assert fleet.field.published == []  # not before its pause is over
    fleet.pass_time(2)
    fleet.service.round()
    assert fleet.field.published == [("lab", False)]
    assert "signed" not in fleet.done("GET", "/rollouts/r1/explain")["next_step"]
    assert fleet.done("GET", "/overview")["open_effects"] == 0


def test_a_group_has_one_rollout_at_a_time_and_the_next_begins_from_what_the_group_runs_then(
    fleet: FleetOfTests,
) -> None:
    fleet.with_devices(2)
    whole = [{"name": "all", "share_ppm": 1_000_000, "soak_seconds": 0.0}]
    fleet.planned(stages=whole)
    fleet.done("POST", "/releases", release_body("2.0", counter=2))
    fleet.done("POST", "/rollouts", rollout_body("r2", release="net-2.0", stages=whole))
    fleet.done("POST", "/rollouts/r1/submit", {})
    refused = fleet.ask("POST", "/rollouts/r2/submit", {})
    assert refused.status_code == 409
    assert "r1" in refused.json()["detail"]
    for _ in range(3):
        fleet.service.round()
        fleet.devices_follow()
        fleet.pass_time(1)
    assert fleet.state("r1") == "finished"
    fleet.done("POST", "/rollouts/r2/submit", {})
    assert fleet.done("GET", "/rollouts/r2")["previous"][PROFILE]["digest"] == digest(f"net1.0{PROFILE}")


def test_an_order_on_what_has_changed_since_is_refused(fleet: FleetOfTests) -> None:
    fleet.with_devices(1)
    fleet.planned(needs_approval=True)
    seen = fleet.done("GET", "/rollouts/r1")["revision"]
    fleet.done("POST", "/rollouts/r1/submit", {"revision": seen}, role="operator")
    stale = fleet.ask("POST", "/rollouts/r1/abort", {"revision": seen})
    assert (stale.status_code, stale.json()["code"]) == (409, "stale")
    wrong = fleet.ask("POST", "/rollouts/r1/pause", {})
    assert (wrong.status_code, wrong.json()["code"]) == (409, "conflict")
    assert fleet.done("POST", "/rollouts/r1/approve", {}, role="approver")["state"] == "running"


def test_a_stage_waits_for_its_approver(fleet: FleetOfTests) -> None:
    fleet.with_devices(2)
    fleet.planned(stages=[{"name": "all", "share_ppm": 1_000_000, "needs_approval": True}])
    fleet.done("POST", "/rollouts/r1/submit", {})
    fleet.service.round()
    assert fleet.done("GET", "/rollouts/r1")["stages"][0]["state"] == "awaiting_approval"
    assert fleet.ask("POST", "/rollouts/r1/stages/1/approve", {}, role="approver").status_code == 409
    fleet.done("POST", "/rollouts/r1/stages/0/approve", {}, role="approver")
    fleet.service.round()
    stage = fleet.done("GET", "/rollouts/r1")["stages"][0]
    assert (stage["state"], stage["approved_by"]) == ("running", "user approver-1")


def test_a_canary_that_nobody_has_is_refused_before_anything_begins(fleet: FleetOfTests) -> None:
    fleet.with_devices(3)
    fleet.with_devices(1, group="hall")
    for misspelt, told in (("lab-0000l", "is not known"), ("hall-00000", "is in group hall")):
        stages = [
            {"name": "canary", "share_ppm": 0, "devices": ["lab-00001", misspelt], "soak_seconds": 10.0},
            {"name": "all", "share_ppm": 1_000_000, "soak_seconds": 10.0},
        ]
        if fleet.ask("GET", "/releases/net-1.0").status_code == 404:
            fleet.done("POST", "/releases", release_body())
        fleet.done("POST", "/rollouts", rollout_body(misspelt, stages=stages))
        answer = fleet.ask("POST", f"/rollouts/{misspelt}/submit", {})
        assert answer.status_code == 409
        assert f"stage canary: expected devices of group lab, got '{misspelt}', which {told}" in answer.text
        assert fleet.state(misspelt) == "draft"
    fleet.done("POST", "/devices", {"id": "lab-0000l", "group": "lab"})
    fleet.done("POST", "/rollouts/lab-0000l/submit", {})


def test_a_parameter_that_is_given_twice_is_refused_where_one_is_meant(fleet: FleetOfTests) -> None:
    answer = fleet.ask("GET", "/audit?action=a&action=b")
    assert answer.status_code == 422
    assert "given more than once" in answer.text
    assert fleet.ask("GET", "/devices?tag=a&tag=b").status_code == 200, "a device may have many"
