"""How one desired state follows another. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from device_agent.contract.desired import Desired, DesiredArtifact, Trial


def says_the_same(one: Desired, other: Desired) -> bool:
    """Whether two desired states want the same of every device, whatever their serials."""
    return _content(one) == _content(other)


def anew(wanted: Desired) -> Desired:
    """Return the state with all of it asked for by its own serial."""
    return _with_since(wanted, lambda _: wanted.serial)


def asked_since(wanted: Desired, before: Desired) -> Desired:
    """Return the state, in which an artifact that was desired before keeps the serial that asked for it."""
    known = {one.digest: one.since or before.serial for one in _all(before)}
    return _with_since(wanted, lambda digest: known.get(digest, wanted.serial))


def is_below(counters: Sequence[int], highest: int) -> bool:
    """Whether one of these releases can be reached only by a way back, where ``highest`` was asked for."""
    return min(counters, default=highest) < highest


def _with_since(wanted: Desired, since: Callable[[str], int]) -> Desired:
    def dated(artifacts: Mapping[str, DesiredArtifact]) -> dict[str, DesiredArtifact]:
        return {profile: replace(one, since=since(one.digest)) for profile, one in artifacts.items()}

    trial = None if wanted.trial is None else replace(wanted.trial, artifacts=dated(wanted.trial.artifacts))
    return replace(wanted, artifacts=dated(wanted.artifacts), trial=trial)


def _all(wanted: Desired) -> list[DesiredArtifact]:
    return [*wanted.artifacts.values(), *(() if wanted.trial is None else wanted.trial.artifacts.values())]


def _content(wanted: Desired) -> tuple[object, ...]:
    return (
        wanted.subject,
        _plain(wanted.artifacts),
        wanted.allow_downgrade,
        None if wanted.trial is None else _trial_content(wanted.trial),
    )


def _trial_content(trial: Trial) -> tuple[object, ...]:
    return (_plain(trial.artifacts), trial.salt, trial.share_ppm, frozenset(trial.devices))


def _plain(artifacts: Mapping[str, DesiredArtifact]) -> dict[str, tuple[str, str]]:
    return {profile: (one.path, one.digest) for profile, one in artifacts.items()}
