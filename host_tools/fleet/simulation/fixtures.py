"""The release, rollout and devices that are simulated: one profile, from one artifact to the next."""

from __future__ import annotations

from typing import Final

from host_tools.fleet.records.devices import Device, Provides
from host_tools.fleet.records.releases import Release, ReleasedArtifact
from host_tools.fleet.records.rollouts import Rollout, RolloutPlan, StageProgress

BEGIN: Final = 1_785_715_200.0
"""A Monday, midnight UTC."""
PROFILE: Final = "simulated"
OLD: Final = "sha256:" + "0" * 64
NEW: Final = "sha256:" + "1" * 64


def release_of(plan: RolloutPlan) -> Release:
    """Return the release that a simulated rollout brings."""
    return Release(
        id=plan.release,
        model="simulated",
        version="2",
        counter=2,
        artifacts={PROFILE: ReleasedArtifact(path="models/simulated/2.ewa", digest=NEW, size_bytes=1)},
        created_by="simulation",
        created_seconds=BEGIN,
    )


def new_rollout(plan: RolloutPlan) -> Rollout:
    """Return a draft of a plan, in a group that runs the previous release."""
    old = ReleasedArtifact(path="models/simulated/1.ewa", digest=OLD, size_bytes=1)
    return Rollout(
        plan=plan,
        previous={PROFILE: old},
        state="draft",
        stages=tuple(StageProgress() for _ in plan.stages),
        created_by="simulation",
        created_seconds=BEGIN,
        changed_seconds=BEGIN,
    )


def simulated_device(name: str, plan: RolloutPlan) -> Device:
    """Return a device of the group as the server knows it."""
    return Device(id=name, group=plan.group, provides=Provides(targets=(PROFILE,)), artifact=OLD)
