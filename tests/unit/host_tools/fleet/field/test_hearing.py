"""Pieces of what devices say, as the service takes them: in any order, twice, and held against real jobs."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

from device_agent.contract.telemetry.codec import encode
from device_agent.contract.telemetry.message import Envelope
from device_agent.contract.telemetry.states import Health
from device_agent.contract.topics import DeviceTopics
from host_tools.fleet.field.hearing import Hearing
from host_tools.fleet.field.observations import (
    Born,
    Crashed,
    HealthTold,
    Lives,
    Said,
    StateTold,
    UpdatePostponed,
    UpdateTold,
)
from host_tools.fleet.field.observations import observe as observe_message
from host_tools.fleet.records.jobs import Job
from host_tools.fleet.rollout.jobs import observe

OLD, NEW = "sha256:" + "d" * 64, "sha256:" + "e" * 64


def at(seconds: float, seq: int = 1) -> dict[str, Any]:
    return {"device": "d", "boot_id": "b", "seq": seq, "seen_seconds": seconds, "said_seconds": seconds}


BORN = Born(**at(10.0), artifact=OLD, target="p", engine="null 1", agent_version="0.9", memory_bytes=7)
HEALTH = HealthTold(**at(12.0), health="up", reason="")
STATE = StateTold(
    **at(11.0),
    artifact=OLD,
    group="lab",
    targets=("p", "q"),
    desired_serial=3,
    desired=OLD,
    in_trial=False,
    on_probation=False,
    counter_floor=1,
)
JOB = Job(rollout="r", device="d", stage=0, state="scheduled", result="none", wanted=NEW, previous=OLD, created_seconds=50.0)  # fmt: skip


def update(event: str, state: Any, result: Any, seconds: float, **changes: Any) -> UpdateTold:
    fields = {"artifact": OLD, "digest": NEW, "serial": 4, "reason": "", "code": ""} | changes
    return UpdateTold(**at(seconds), event=event, state=state, result=result, **fields)


def test_pieces_in_any_order_give_the_same_whole() -> None:
    wholes = set()
    for order in itertools.permutations((BORN, HEALTH, STATE)):
        report = Hearing().take(order)[-1].report
        wholes.add((report.provides, report.artifact, report.desired_serial, report.health, report.seconds))
    ((provides, *rest),) = wholes
    assert provides is not None
    assert (provides.targets, provides.engine, provides.memory_bytes) == (("p", "q"), "null 1", 7)
    assert rest == [OLD, 3, "up", 12.0]


def test_half_of_what_a_device_provides_is_not_told() -> None:
    hearing = Hearing()
    assert hearing.take([BORN])[0].report.provides is None
    assert hearing.take([Lives(**at(13.0))])[0].report.artifact == OLD
    (all_of_it,) = hearing.everything()
    assert (all_of_it.report.device, all_of_it.report.seconds) == ("d", 13.0)


def test_what_is_older_does_not_replace_what_is_newer() -> None:
    hearing = Hearing()
    newer = replace(STATE, said_seconds=20.0, seen_seconds=20.0, artifact=NEW, desired_serial=4)
    report = hearing.take([newer, STATE, BORN])[-1].report
    assert (report.artifact, report.desired_serial, report.seconds) == (NEW, 4, 20.0)


def test_a_device_that_goes_without_a_goodbye_is_down_although_its_will_is_as_old_as_its_connection() -> None:
    """Its last will was written when it connected, an hour before the broker speaks it, by a clock that is synced."""
    hearing, topic = Hearing(), DeviceTopics("d").health()
    began, gone = 1_800_000_000.0, 1_800_003_600.0
    said = []
    for status, seq, dated, received in (
        ("up", 1, began + 1, began + 1),
        ("down", 0, began, gone),
        ("up", 1, gone + 9, gone + 9),
    ):
        envelope = Envelope(
            time=dated, boot_id="b", seq=seq, uptime_seconds=1.0, clock="synced", artifact=None
        )
        message = Health(envelope=envelope, status=status, pid=1, reason="lost" if status == "down" else "")  # type: ignore[arg-type]
        heard = observe_message(
            topic, encode(message), received_seconds=received, retained=False, root="ew/v1"
        )
        assert heard is not None
        said.append(hearing.take([heard])[0].report)
    assert [one.health for one in said] == ["up", "down", "up"]
    assert [one.seconds for one in said] == [
        began + 1,
        began + 1,
        gone + 9,
    ]  # the broker's word is no sign of life


def moved(*said: Said) -> Job:
    job = JOB
    for heard in Hearing().take(said):
        job = observe(job, heard.seen)
    return job


def test_a_job_goes_the_way_that_the_device_tells() -> None:
    way = [
        update("update_started", "download", "none", 60.0),
        update("update_tried", "downloaded", "none", 61.0),
        update("update_activated", "proceeding", "none", 62.0),
        update("update_committed", "closed", "success", 63.0, artifact=NEW),
    ]
    states = [moved(*way[:count]).state for count in range(1, 5)]
    assert states == ["download", "downloaded", "proceeding", "closed"]
    assert moved(*way).result == "success"
    failed = moved(*way[:3], update("update_rolled_back", "closed", "failure", 63.0, reason="too slow", code="latency"))  # fmt: skip
    assert (failed.state, failed.result, failed.reason) == ("closed", "failure", "too slow")


def test_what_is_reported_to_run_decides_where_events_were_lost() -> None:
    runs = replace(STATE, said_seconds=70.0, artifact=NEW)
    assert moved(replace(runs, on_probation=True)).state == "proceeding"
    assert moved(runs).result == "success"
    assert moved(replace(runs, said_seconds=40.0)).state == "scheduled", "before the job was made"
    assert moved(replace(STATE, said_seconds=70.0)).state == "scheduled", "it still runs what it ran"


def test_a_device_that_waits_says_why_and_one_that_crashes_ends_no_job() -> None:
    waits = moved(UpdatePostponed(**at(60.0), reason="no network"))
    assert (waits.state, waits.reason) == ("scheduled", "no network")
    crashed = moved(Crashed(**at(60.0), artifact=OLD, reason="a fault"))
    assert crashed.state == "scheduled"
