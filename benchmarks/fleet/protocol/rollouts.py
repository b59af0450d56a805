"""One rollout, from signing to the last commit: what was done, by the server's word and by the devices', and what it took."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from benchmarks.fleet.protocol.stand import GROUP
from host_tools.errors import InputError, OutputError
from host_tools.fleet.records.rollouts import RolloutPlan, Stage
from host_tools.fleet.rollout.plan_file import DEFAULT_GATES, DEFAULT_STAGES
from host_tools.fleet.serve.answers.rollouts import PlanAnswer

if TYPE_CHECKING:
    from benchmarks.fleet.protocol.chaos import Chaos, Kill
    from benchmarks.fleet.protocol.costs import Cost
    from benchmarks.fleet.protocol.stand import Stand

_ENDED: Final = ("finished", "aborted", "rolled_back")
_MOST: Final = replace(DEFAULT_STAGES[-1], name="90 %", share_ppm=900_000)
"""Under chaos most of the group is let in before the last stage, of which nothing is killed."""
_EVENTS: Final = ("update_started", "update_tried", "update_activated", "update_committed")


@dataclass(frozen=True, slots=True, kw_only=True)
class StageFigures:
    """What a stage took.

    Attributes:
        name: As planned.
        devices: That are in it.
        seconds: From its begin to its end, as the server has them.
        signing_seconds: From its begin until the desired state that offers it was signed; None: it has no device.
        first_commit_seconds: From the signing to the first of its devices that keeps the release; None: none does.
        last_commit_seconds: To the last.
    """

    name: str
    devices: int
    seconds: float
    signing_seconds: float | None
    first_commit_seconds: float | None
    last_commit_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFigures:
    """Whether each job was done exactly once: by the server's jobs, by its audit, and by what devices said themselves.

    Attributes:
        jobs: There are.
        succeeded: Closed with success, at the first attempt.
        devices_once: Devices that began, tried, activated and committed the release once each.
        devices_more: Devices that did one of these more than once.
        devices_less: Devices that did not do all of them.
        audit_whole: Whether the audit's chain holds.
        audit: Entries of this rollout, by action.
    """

    jobs: int
    succeeded: int
    devices_once: int
    devices_more: int
    devices_less: int
    audit_whole: bool
    audit: dict[str, int]

    def faults(self, devices: int, stages: int) -> list[str]:
        """Return what is not as it must be."""
        expected = {
            "jobs": (self.jobs, devices),
            "jobs with success at the first attempt": (self.succeeded, devices),
            "devices that did each step once": (self.devices_once, devices),
            "stages that began": (self.audit.get("rollout.stage_began"), stages),
            "stages that passed": (self.audit.get("rollout.stage_passed"), stages),
            "ends": (self.audit.get("rollout.finished"), 1),
            "whole audit": (self.audit_whole, True),
        }
        return [
            f"{what}: expected {wanted}, got {found}"
            for what, (found, wanted) in expected.items()
            if found != wanted
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutFigures:
    """What a rollout was.

    Attributes:
        name: Its id.
        seconds: From its submission to its end.
        signed_to_last_commit_seconds: From the moment at which the release was signed to the last device that keeps it.
        stages: In order.
        jobs: Whether each was done once.
        messages: That devices sent meanwhile, by category of their topics; ``acknowledged``: by the broker.
        messages_per_second: Of those acknowledged.
        costs: By program.
        gates: Outcome by measure, at the end, with the figures in words.
        killed: Whether the server was killed in the middle.
        down_seconds: From the kill until the server answered again; 0.0: it was not killed.
        kills: What was killed at random moments, in order.
    """

    name: str
    seconds: float
    signed_to_last_commit_seconds: float
    stages: tuple[StageFigures, ...]
    jobs: JobFigures
    messages: dict[str, int]
    messages_per_second: float
    costs: dict[str, Cost]
    gates: dict[str, str]
    killed: bool
    down_seconds: float
    kills: tuple[Kill, ...] = ()


def settle_delivered(stand: Stand) -> None:
    """Let the group have what its devices were delivered with, so that there is something to compare with and to go back to."""
    release = stand.release("1.0")
    stages = (replace(DEFAULT_STAGES[-1], name="all", soak_seconds=0.0),)
    plan = RolloutPlan(id="delivered", release=release.id, group=GROUP, stages=stages)
    _submit(stand, plan)
    stand.wait_until(lambda: _state(stand, "delivered") in _ENDED, "the delivered release is the group's own")
    stand.wait_until(lambda: not stand.ask("GET", "/overview")["open_effects"], "that is signed")


def roll_out(
    stand: Stand,
    name: str,
    version: str,
    *,
    soak_seconds: float,
    kill: bool = False,
    chaos: Chaos | None = None,
) -> RolloutFigures:
    """Roll a version out with the default plan, but for its soak; under chaos with a stage more.

    Args:
        stand: Everything that runs.
        name: Of the rollout.
        version: Of the release.
        soak_seconds: How long a stage runs at least.
        kill: Whether the server is killed, and started again, when half of the jobs are done.
        chaos: What is killed at random moments besides; None: nothing.

    Raises:
        OutputError: It does not finish, or a job was lost or done twice.
    """
    before = stand.counts()
    stand.costs.begin()
    release = stand.release(version)
    signed, began = time.time(), time.monotonic()
    stages = _planned(soak_seconds, waiting=chaos is not None)
    plan = RolloutPlan(id=name, release=release.id, group=GROUP, stages=stages, gates=DEFAULT_GATES)
    _submit(stand, plan)
    down_seconds = _killed(stand, name) if kill else 0.0
    kills = (
        () if chaos is None else chaos.run(stand, len(stages), lambda stage: _let_begin(stand, name, stage))
    )
    stand.wait_until(lambda: _state(stand, name) in _ENDED, f"rollout {name} ends")
    seconds = time.monotonic() - began
    stand.wait_until(lambda: not stand.ask("GET", "/overview")["open_effects"], "its end is signed")
    costs, after = stand.costs.taken(), stand.counts()
    told = stand.ask("GET", f"/rollouts/{name}/explain")
    if told["state"] != "finished":
        raise OutputError(f"rollout {name}: expected it to finish, it is {told['state']}.\n{told['words']}")
    digest = next(iter(release.artifacts.values())).digest
    events = [event for event in stand.events() if event.get("digest") == digest]
    jobs = stand.every(f"/rollouts/{name}/jobs")
    messages = {what: count - before.get(what, 0) for what, count in after.items() if what != "up"}
    figures = RolloutFigures(
        name=name,
        seconds=seconds,
        signed_to_last_commit_seconds=max(_times(events, "update_committed").values(), default=signed)
        - signed,
        stages=_stages(stand, told["stages"], jobs, events),
        jobs=_jobs(stand, name, jobs, events),
        messages=messages,
        messages_per_second=messages["acknowledged"] / seconds,
        costs=costs,
        gates={one["gate"]["measure"]: f"{one['outcome']}: {one['text']}" for one in told["gates"]},
        killed=kill,
        down_seconds=down_seconds,
        kills=kills,
    )
    faults = figures.jobs.faults(len(stand.names), len(stages))
    if faults:
        raise OutputError(f"rollout {name}: {'; '.join(faults)}.")
    return figures


def _planned(soak_seconds: float, *, waiting: bool) -> tuple[Stage, ...]:
    """Return the stages; those that are ``waiting`` begin only when they are let, and are one more."""
    stages = (*DEFAULT_STAGES[:-1], *([_MOST] if waiting else []), DEFAULT_STAGES[-1])
    return tuple(replace(stage, soak_seconds=soak_seconds, needs_approval=waiting) for stage in stages)


def _let_begin(stand: Stand, name: str, stage: int) -> None:
    """Approve a stage as soon as it asks for it, and wait until it runs.

    Raises:
        OutputError: It never does, or the rollout has ended.
    """

    def has_begun() -> bool:
        found = stand.ask("GET", f"/rollouts/{name}")
        state = found["stages"][stage]["state"]
        if found["state"] in _ENDED:
            raise OutputError(f"rollout {name} ended before stage {stage} began: {found['reason']}")
        if state == "awaiting_approval":
            with suppress(InputError):  # it changed meanwhile, or an answer was lost: looked at again
                stand.ask("POST", f"/rollouts/{name}/stages/{stage}/approve", {})
        return state in ("running", "passed")

    stand.wait_until(has_begun, f"stage {stage} of rollout {name} begins")


def _submit(stand: Stand, plan: RolloutPlan) -> None:
    stand.ask("POST", "/rollouts", PlanAnswer.model_validate(plan).model_dump(mode="json"))
    stand.ask("POST", f"/rollouts/{plan.id}/submit", {})


def _state(stand: Stand, name: str) -> str:
    return str(stand.ask("GET", f"/rollouts/{name}")["state"])


def _killed(stand: Stand, name: str) -> float:
    def half_is_done() -> bool:
        told = stand.ask("GET", f"/rollouts/{name}/explain")["stages"]
        done = sum(int(stage["jobs"]["succeeded"]) for stage in told)
        return done >= len(stand.names) / 2

    stand.wait_until(half_is_done, f"half of the jobs of rollout {name} are done")
    began = time.monotonic()
    stand.programs.kill("server")
    stand.start("server")
    return time.monotonic() - began


def _stages(
    stand: Stand, told: list[dict[str, Any]], jobs: list[dict[str, Any]], events: list[dict[str, Any]]
) -> tuple[StageFigures, ...]:
    commits, serials = _times(events, "update_committed"), stand.signed_at()
    found = []
    for number, stage in enumerate(told):
        members = {job["device"] for job in jobs if job["stage"] == number}
        kept = sorted(commits[name] for name in members if name in commits)
        # Every new desired state is signed after its stage began, and before the next one does.
        signed = min((at for at in serials.values() if at >= stage["began_seconds"]), default=None)
        if not members:
            signed = None
        found.append(
            StageFigures(
                name=stage["name"],
                devices=len(members),
                seconds=stage["ended_seconds"] - stage["began_seconds"],
                signing_seconds=None if signed is None else signed - stage["began_seconds"],
                first_commit_seconds=kept[0] - signed if kept and signed is not None else None,
                last_commit_seconds=kept[-1] - signed if kept and signed is not None else None,
            )
        )
    return tuple(found)


def _jobs(stand: Stand, name: str, jobs: list[dict[str, Any]], events: list[dict[str, Any]]) -> JobFigures:
    done = Counter((event["device"], event["event"]) for event in events)
    steps = {device: [done[device, event] for event in _EVENTS] for device in stand.names}
    audit = Counter(
        entry["action"] for entry in stand.every("/audit") if entry["subject"] == f"rollout/{name}"
    )
    return JobFigures(
        jobs=len({job["device"] for job in jobs}),
        succeeded=sum(
            (job["state"], job["result"], job["attempts"]) == ("closed", "success", 1) for job in jobs
        ),
        devices_once=sum(all(count == 1 for count in counts) for counts in steps.values()),
        devices_more=sum(any(count > 1 for count in counts) for counts in steps.values()),
        devices_less=sum(any(count < 1 for count in counts) for counts in steps.values()),
        audit_whole=bool(stand.ask("GET", "/audit/check")["whole"]),
        audit=dict(audit),
    )


def _times(events: list[dict[str, Any]], name: str) -> dict[str, float]:
    """Return by device when it said an event."""
    return {event["device"]: event["seconds"] for event in events if event["event"] == name}
