"""What the group's signed desired state must say now, and which stage a device came with: pure values of the rollout."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from device_agent.contract.desired import WHOLE_SHARE, DesiredArtifact, Trial, share_number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from host_tools.fleet.records.releases import Release, ReleasedArtifact
    from host_tools.fleet.records.rollouts import Rollout, RolloutPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is signed for a group.

    Attributes:
        artifacts: Capability profile to artifact, of the whole group; empty when the group has had nothing so far.
        trial: What the share runs instead; None: nothing.
        allow_downgrade: Whether devices may go below what they have kept.
    """

    artifacts: Mapping[str, DesiredArtifact] = field(hash=False)
    trial: Trial | None
    allow_downgrade: bool

    def __post_init__(self) -> None:
        """Make the mapping read-only."""
        object.__setattr__(self, "artifacts", MappingProxyType(dict(self.artifacts)))


def wanted(rollout: Rollout, release: Release) -> Wanted:
    """Return what the desired state of ``rollout.plan.group`` must say.

    Before a stage and after a rollback that is what the group had; in between also a trial; at the end the release,
    over what the group had for profiles that the release does not bring. `aborted` leaves the trial as it is.
    """
    before, after = as_desired(rollout.previous), as_desired(release.artifacts)
    if rollout.state == "finished":
        return Wanted(artifacts={**before, **after}, trial=None, allow_downgrade=rollout.plan.allow_downgrade)
    if rollout.state in ("rolling_back", "rolled_back"):
        return Wanted(artifacts=before, trial=_of_nobody(rollout.plan, before, after), allow_downgrade=True)
    begun = last_begun(rollout)
    trial = None if begun is None else _trial(rollout.plan, begun, after)
    return Wanted(artifacts=before, trial=trial, allow_downgrade=rollout.plan.allow_downgrade)


def last_begun(rollout: Rollout) -> int | None:
    """Return the number of the last stage that has begun; None: none has."""
    begun = [place for place, one in enumerate(rollout.stages) if one.began_seconds is not None]
    return begun[-1] if begun else None


def devices_to(plan: RolloutPlan, stage: int) -> tuple[str, ...]:
    """Return the named devices of a stage and of those before it, each once."""
    return tuple(dict.fromkeys(name for one in plan.stages[: stage + 1] for name in one.devices))


def stage_of(rollout: Rollout, device: str) -> int | None:
    """Return the stage with which a device gets the release, of those that have begun; None: it does not have it yet.

    A device that is added in the middle belongs where it would have belonged from the beginning.
    """
    begun = last_begun(rollout)
    if begun is None:
        return None
    plan, place = rollout.plan, share_number(rollout.plan.id, device) * WHOLE_SHARE
    return next(
        (
            stage
            for stage, one in enumerate(plan.stages[: begun + 1])
            if device in one.devices or place < one.share_ppm << 64
        ),
        None,
    )


def _trial(plan: RolloutPlan, stage: int, artifacts: Mapping[str, DesiredArtifact]) -> Trial:
    """The salt is the rollout's id: another rollout has other canaries."""
    return Trial(
        artifacts=artifacts,
        salt=plan.id,
        share_ppm=plan.stages[stage].share_ppm,
        devices=devices_to(plan, stage),
    )


def _of_nobody(
    plan: RolloutPlan, before: Mapping[str, DesiredArtifact], after: Mapping[str, DesiredArtifact]
) -> Trial | None:
    """Profiles that had nothing before: a device of one leaves the release only when it reads that nobody is in its trial."""
    fresh = {profile: one for profile, one in after.items() if profile not in before}
    return Trial(artifacts=fresh, salt=plan.id, share_ppm=0) if before and fresh else None


def as_desired(artifacts: Mapping[str, ReleasedArtifact]) -> dict[str, DesiredArtifact]:
    """Return artifacts as a desired state names them."""
    return {profile: DesiredArtifact(path=one.path, digest=one.digest) for profile, one in artifacts.items()}
