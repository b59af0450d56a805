"""`Publisher`: what a group shall run, as a signed desired state that says exactly that. Repeated as often as one likes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from device_agent.contract.desired import MAX_DEVICES, WHOLE_SHARE, DesiredArtifact, Trial
from host_tools.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from device_agent.contract.desired import Desired
    from host_tools.fleet.records import ReleasedArtifact
    from host_tools.repository.repository import Repository

_FRESH_RATIO: Final = 0.5
"""A timestamp with less than this of its life left is signed anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedTrial:
    """What a part of a group shall run instead.

    Attributes:
        artifacts: Capability profile to artifact.
        salt: Names the rollout: the same from its first stage to its last, another for each.
        share_ppm: Share of the group, in parts per million.
        devices: Devices besides, by name.
    """

    artifacts: Mapping[str, ReleasedArtifact] = field(hash=False)
    salt: str
    share_ppm: int
    devices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Make the mapping read-only."""
        object.__setattr__(self, "artifacts", MappingProxyType(dict(self.artifacts)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a group shall run.

    Attributes:
        group: Its name.
        artifacts: Capability profile to artifact, for all that are in no trial. Empty: they keep what they have.
        trial: What a part runs instead; None: there is no rollout.
    """

    group: str
    artifacts: Mapping[str, ReleasedArtifact] = field(hash=False)
    trial: WantedTrial | None = None

    def __post_init__(self) -> None:
        """Make the mapping read-only."""
        object.__setattr__(self, "artifacts", MappingProxyType(dict(self.artifacts)))


class Publisher:
    """Signs what is wanted, if the newest desired state says something else.

    Args:
        repository: With the keys of ``fleet``, ``snapshot`` and ``timestamp``.
        wall_seconds: Unix time.
    """

    def __init__(self, repository: Repository, *, wall_seconds: Callable[[], float] = time.time) -> None:
        self._repository = repository
        self._wall_seconds = wall_seconds

    def publish(self, wanted: Wanted, *, ask_anew: bool = False) -> Desired:
        """Make the group's desired state say what is wanted; return it.

        Args:
            wanted: All of it.
            ask_anew: Devices on which it has failed try it again. Each such call signs.

        Raises:
            InputError: An artifact is not signed so, or the share or a name is out of range.
            OutputError: The repository cannot be written.
        """
        trial = None if wanted.trial is None else _signed_trial(wanted.group, wanted.trial)
        return self._repository.ensure(
            f"group/{wanted.group}", _signed(wanted.artifacts), trial=trial, ask_anew=ask_anew
        )

    def keep_fresh(self) -> bool:
        """Sign the timestamp anew when it will expire soon; return whether it was. To be called every hour or so.

        Raises:
            InputError: There is no repository, or a key is missing.
            OutputError: It cannot be written.
        """
        from host_tools.repository.roles import rule_of  # noqa: PLC0415  needs packages of the host

        left = self._repository.signed.timestamp().expires.timestamp() - self._wall_seconds()
        if left > _FRESH_RATIO * rule_of("timestamp").lifetime.total_seconds():
            return False
        self._repository.refresh()
        return True


def _signed_trial(group: str, trial: WantedTrial) -> Trial:
    if not 0 <= trial.share_ppm <= WHOLE_SHARE:
        raise InputError(
            f"group {group!r}: share: expected 0 to {WHOLE_SHARE} parts per million, got {trial.share_ppm}."
        )
    if len(trial.devices) > MAX_DEVICES:
        raise InputError(
            f"group {group!r}: expected at most {MAX_DEVICES} named devices, got {len(trial.devices)}.",
            hint="Make the stage a share of the group instead.",
        )
    return Trial(
        artifacts=_signed(trial.artifacts),
        salt=trial.salt,
        share_ppm=trial.share_ppm,
        devices=tuple(sorted(set(trial.devices))),
    )


def _signed(artifacts: Mapping[str, ReleasedArtifact]) -> dict[str, DesiredArtifact]:
    return {
        profile: DesiredArtifact(path=one.path, digest=one.digest)
        for profile, one in sorted(artifacts.items())
    }
