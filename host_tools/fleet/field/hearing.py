"""`Hearing`: observations of devices as what the fleet's service takes: all that is known of the device now, and what its job is told."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from host_tools.fleet.field.observations import (
    Born,
    Crashed,
    HealthTold,
    StateTold,
    UpdatePostponed,
    UpdateTold,
)
from host_tools.fleet.records.devices import Provides
from host_tools.fleet.rollout.jobs import Observation
from host_tools.fleet.service import Heard
from host_tools.fleet.store.devices import DeviceReport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from host_tools.fleet.field.observations import Said

_NEVER: Final = -1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """The newest of each kind that a device said; the times are those at which it was so."""

    seen_seconds: float = _NEVER
    born: Born | None = None
    state: StateTold | None = None
    health: HealthTold | None = None
    artifact: str | None = None
    artifact_seconds: float = _NEVER


class Hearing:
    """Puts together what devices say in pieces, which come in any order and some of them twice. One thread calls it."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def take(self, said: Sequence[Said]) -> list[Heard]:
        """Return what follows for the service, in the same order."""
        return [self._one(one) for one in said]

    def everything(self) -> list[Heard]:
        """Return all that is known of every device: for devices that the store has come to know only after they spoke."""
        return [
            Heard(report=_report(device, known), seen=Observation(seconds=known.seen_seconds))
            for device, known in self._known.items()
        ]

    def _one(self, said: Said) -> Heard:
        before = self._known.get(said.device, _Known())
        known = self._known[said.device] = _with(before, said)
        return Heard(report=_report(said.device, known), seen=_seen(said))


def _with(known: _Known, said: Said) -> _Known:
    known = replace(known, seen_seconds=max(known.seen_seconds, said.seen_seconds))
    artifact = getattr(said, "artifact", None)
    if artifact is not None and said.said_seconds >= known.artifact_seconds:
        known = replace(known, artifact=artifact, artifact_seconds=said.said_seconds)
    match said:
        case Born() if known.born is None or said.said_seconds >= known.born.said_seconds:
            return replace(known, born=said)
        case StateTold() if known.state is None or said.said_seconds >= known.state.said_seconds:
            return replace(known, state=said)
        case HealthTold():
            # As it comes: what the broker says of a device that has gone is dated by when that device came.
            return replace(known, health=said)
    return known


def _report(device: str, known: _Known) -> DeviceReport:
    born, state = known.born, known.state
    provides = None
    if born is not None and state is not None:  # half of it would wipe out the other half
        provides = Provides(
            targets=state.targets or (() if born.target is None else (born.target,)),
            engine=born.engine,
            agent_version=born.agent_version,
            memory_bytes=born.memory_bytes,
        )
    return DeviceReport(
        device=device,
        seconds=known.seen_seconds,
        provides=provides,
        artifact=known.artifact,
        desired_serial=None if state is None else state.desired_serial,
        health=None if known.health is None else known.health.health,
        configured=None if state is None else state.group or "",
    )


def _seen(said: Said) -> Observation:
    seconds = said.said_seconds
    match said:
        case StateTold():
            return Observation(
                seconds=seconds,
                running=said.artifact,
                committed=None if said.artifact is None else not said.on_probation,
            )
        case UpdateTold():
            return Observation(
                seconds=seconds,
                event=said.event,
                about=said.digest,
                # What ran when it began says nothing of how it goes; what runs at its end does.
                running=said.artifact if said.event == "update_committed" else None,
                reason=said.reason,
            )
        case UpdatePostponed():
            return Observation(seconds=seconds, event="update_postponed", reason=said.reason)
        case Crashed():
            return Observation(seconds=seconds, reason=said.reason)
    return Observation(seconds=seconds)
