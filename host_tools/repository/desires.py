"""How one desired state follows another. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from device_agent.contract.desired import Desired, DesiredModel, desired_path
from device_agent.contract.model_names import MAIN_MODEL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from device_agent.contract.desired import DesiredArtifact, Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A device that follows another group from now on.

    Attributes:
        device: Its id.
        group: The group; empty: it is gone for good, and nothing is signed of it any more.
        before: The group that it followed before.
        configured: The group that its own configuration names; empty: not known, or none.
        unpins: Whether a desired state of its own ends with it; else a device that has one keeps that.
    """

    device: str
    group: str
    before: str
    configured: str = ""
    unpins: bool = False

    @property
    def needs_no_record(self) -> bool:
        """Whether it does what it shall without a signed word: it is gone, or its own configuration names the group."""
        return not self.group or self.group == self.configured

    @property
    def subject(self) -> str:
        """The device's."""
        return f"device/{self.device}"

    @property
    def group_subject(self) -> str:
        """That of the group that it follows."""
        return f"group/{self.group}"


def unfollowed(moves: Sequence[Move], customs: Mapping[str, Mapping[str, object]]) -> list[Move]:
    """Return the moves that are not signed yet, of devices that have no desired state of their own, or shall not have it any more.

    Of a device that needs no record it is not signed yet that there is none.

    Args:
        moves: Each device once.
        customs: What is signed beside each desired state, by its name.
    """
    fresh = []
    for move in moves:
        known = customs.get(desired_path(move.subject))
        if known is not None and "follows" not in known:
            is_fresh = move.unpins
        elif move.needs_no_record:
            is_fresh = known is not None
        else:
            is_fresh = known is None or known["follows"] != move.group_subject
        if is_fresh:
            fresh.append(move)
    return fresh


def groups_of(moves: Sequence[Move]) -> dict[str, set[str]]:
    """Return the groups that are followed, each with what its new devices followed before, their own states among it; as subjects."""
    found: dict[str, set[str]] = defaultdict(set)
    for move in moves:
        if move.group:
            found[move.group_subject].add(f"group/{move.before}")
            if move.unpins:
                found[move.group_subject].add(move.subject)
    return found


def says_the_same(one: Desired, other: Desired) -> bool:
    """Whether two desired states want the same of every device, whatever their serials."""
    return _content(one) == _content(other)


def anew(wanted: Desired) -> Desired:
    """Return the state with all that it wants of the main model asked for by its own serial."""
    return _dated(wanted, lambda _: wanted.serial)


def asked_since(wanted: Desired, before: Desired) -> Desired:
    """Return the state, in which an artifact that was desired before keeps the serial that asked for it."""
    known = {one.digest: one.since or before.serial for one in _all(before)}
    dated = _dated(wanted, lambda digest: known.get(digest, wanted.serial))
    models = {
        name: _dated(one, lambda digest: known.get(digest, wanted.serial))
        for name, one in wanted.models.items()
    }
    return replace(dated, models=models)


def kept(before: Desired) -> Desired:
    """Return the state as a newer one says it again without asking anew."""
    return asked_since(before, before)


def released(
    before: Desired | None,
    *,
    subject: str,
    serial: int,
    main: DesiredModel | None,
    models: Mapping[str, DesiredModel],
) -> Desired:
    """Return the state that asks anew for the models that are named, and for the others as before.

    Args:
        before: The state until now; None: there is none.
        subject: Whose it is.
        serial: Of the new one.
        main: The main model; None: it is not named.
        models: The others by their names; one without artifacts is wanted no more.
    """
    others = {} if before is None else dict(kept(before).models)
    for name, one in models.items():
        others.pop(name, None)
        if one.artifacts:
            others[name] = _dated(one, lambda _: serial)
    if main is not None:
        ours = _dated(main, lambda _: serial)
    else:
        ours = (None if before is None else kept(before).of_model(MAIN_MODEL)) or DesiredModel(artifacts={})
    return Desired.of_models(subject=subject, serial=serial, main=ours, models=others)


def is_below(counters: Sequence[int], highest: int) -> bool:
    """Whether one of these releases can be reached only by a way back, where ``highest`` was asked for."""
    return min(counters, default=highest) < highest


_Model = TypeVar("_Model", Desired, DesiredModel)


def _dated(model: _Model, since: Callable[[str], int]) -> _Model:
    def dated(artifacts: Mapping[str, DesiredArtifact]) -> dict[str, DesiredArtifact]:
        return {profile: replace(one, since=since(one.digest)) for profile, one in artifacts.items()}

    trial = None if model.trial is None else replace(model.trial, artifacts=dated(model.trial.artifacts))
    return replace(model, artifacts=dated(model.artifacts), trial=trial)


def _all(wanted: Desired) -> list[DesiredArtifact]:
    models: list[Desired | DesiredModel] = [wanted, *wanted.models.values()]
    trials = [one.trial for one in models if one.trial is not None]
    return [
        artifact
        for artifacts in (*(one.artifacts for one in models), *(one.artifacts for one in trials))
        for artifact in artifacts.values()
    ]


def _content(wanted: Desired) -> tuple[object, ...]:
    models = {name: _model_content(one) for name, one in wanted.models.items()}
    return (wanted.subject, wanted.follows, *_model_content(wanted), models)


def _model_content(model: Desired | DesiredModel) -> tuple[object, ...]:
    trial = None if model.trial is None else _trial_content(model.trial)
    return (_plain(model.artifacts), model.allow_downgrade, trial)


def _trial_content(trial: Trial) -> tuple[object, ...]:
    return (_plain(trial.artifacts), trial.salt, trial.share_ppm, frozenset(trial.devices))


def _plain(artifacts: Mapping[str, DesiredArtifact]) -> dict[str, tuple[str, str]]:
    return {profile: (one.path, one.digest) for profile, one in artifacts.items()}
