"""Rollouts from draft to their end, over REST, the service and the store; only the devices are simulated."""

from __future__ import annotations

from tests.unit.host_tools.fleet.fleet_of_tests import (
    PROFILE,
    FleetOfTests,
    digest,
    release_body,
    rollout_body,
)


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
    fleet.planned()
    fleet.done("POST", "/rollouts/r1/submit", {})
    fleet.service.round()
    jobs = fleet.done("GET", "/rollouts/r1/jobs?limit=1000")["items"]
    fleet.service.hear(
        [
            fleet.heard(
                job["device"], runs=None, event="update_rolled_back", about=job["wanted"], reason="too slow"
            )
            for job in jobs
        ]
    )
    fleet.service.round()
    assert fleet.state() == "rolling_back"
    assert fleet.field.wanted["lab"].trial is None
    fleet.service.round()
    assert fleet.state() == "rolled_back"
    explained = fleet.done("GET", "/rollouts/r1/explain")
    assert explained["stages"][0]["state"] == "stopped"
    assert {job["reason"] for job in fleet.done("GET", "/rollouts/r1/jobs")["items"]} == {"too slow"}


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


def test_what_cannot_be_published_is_wanted_until_it_is(fleet: FleetOfTests) -> None:
    fleet.with_devices(2)
    fleet.planned()
    fleet.done("POST", "/rollouts/r1/submit", {})
    fleet.field.is_broken = True
    fleet.service.round()
    assert fleet.field.published == []
    assert fleet.done("GET", "/overview")["open_effects"] == 1
    fleet.field.is_broken = False
    fleet.service.round()
    assert fleet.field.published == []  # not before its pause is over
    fleet.pass_time(2)
    fleet.service.round()
    assert fleet.field.published == [("lab", False)]
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
