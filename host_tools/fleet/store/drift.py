"""`Drift`: what devices shall run against what they say that they run. It is read, never stored: nothing can be forgotten in it."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, select

from host_tools.fleet.records.jobs import ENDED_JOBS
from host_tools.fleet.store.documents import read_artifacts, read_pinned
from host_tools.fleet.store.tables import DEVICE, GROUP, JOB, PIN, ROLLOUT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection, Subquery

    from device_agent.contract.desired import DesiredArtifact
    from host_tools.fleet.records.releases import ReleasedArtifact

_HAS_SAID = ("running", "paused", "rolling_back", "finished", "rolled_back", "aborted")
_PINNED = PIN.c.artifacts.label("pinned")
_STANDS = ("running", "paused", "aborted")
"""With these a rollout's trial stands in the group's desired state; `aborted`: until the next rollout says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDrift:
    """Enrolled devices of one group; the five kinds together are all of them.

    Attributes:
        group: Its name.
        as_desired: Run what they shall run.
        underway: Run something else; a job that is open brings them what they shall run.
        differing: Run something else, and no job is open.
        silent: Shall run something and have not said what they run.
        free: The desired state has nothing for their profiles.
    """

    group: str
    as_desired: int = 0
    underway: int = 0
    differing: int = 0
    silent: int = 0
    free: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredOfDevice:
    """What one device shall run.

    Attributes:
        device: Its id.
        desired: Digest of the artifact; None: nothing for its profiles.
        reported: Digest of what it says that it runs; None: not heard, or none.
        rollout: The rollout that wants it; None: it is what the whole group runs, or the device alone.
        own_serial: Serial of the desired state of its own that says so; None: it has none, and follows its group.
        unsigned: What people ordered of a desired state of its own that is not signed yet, in words; None: nothing.
    """

    device: str
    desired: str | None
    reported: str | None
    rollout: str | None
    own_serial: int | None = None
    unsigned: str | None = None


class Drift:
    """Questions over devices, groups and jobs within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def tallies(self) -> tuple[GroupDrift, ...]:
        """Return the drift of every group that has enrolled devices, in the order of their names."""
        trials = self._trials(self._standing())
        columns = (
            DEVICE.c.group,
            DEVICE.c.targets,
            DEVICE.c.artifact,
            trials.c.wanted,
            trials.c.is_open,
            _PINNED,
        )
        asked = (
            select(*columns, func.count().label("devices"))
            .select_from(DEVICE)
            .outerjoin(trials, _same_device(trials))
            .outerjoin(PIN, PIN.c.device == DEVICE.c.id)
            .where(DEVICE.c.state == "enrolled")
            .group_by(*columns)
        )
        groups = self._groups()
        found: dict[str, GroupDrift] = {}
        for row in self._connection.execute(asked):
            tally = found.get(row.group) or GroupDrift(group=row.group)
            kind = _kind(_desired(row, groups[row.group]), row)
            found[row.group] = replace(tally, **{kind: getattr(tally, kind) + int(row.devices)})
        return tuple(found[name] for name in sorted(found))

    def differing(self, group: str, *, after: str = "", limit: int) -> tuple[DesiredOfDevice, ...]:
        """Return the next enrolled devices of a group that are `differing`, in the order of their ids."""
        found: list[DesiredOfDevice] = []
        artifacts = self._groups(group)[group]
        asked = self._devices(group).where(
            DEVICE.c.group == group, DEVICE.c.state == "enrolled", DEVICE.c.id > after
        )
        with self._connection.execute(asked.order_by(DEVICE.c.id)) as rows:
            for row in rows:
                one = _of_device(row, artifacts)
                if _kind(one.desired, row) == "differing":
                    found.append(one)
                    if len(found) == limit:
                        break
        return tuple(found)

    def of_device(self, device: str, group: str) -> DesiredOfDevice:
        """Return what a device of a group shall run and what it says; the device must be there."""
        row = self._connection.execute(self._devices(group, device).where(DEVICE.c.id == device)).one()
        return _of_device(row, self._groups(group)[group])

    def _devices(self, group: str, device: str | None = None) -> Any:
        trials = self._trials(self._standing(group), device)
        return (
            select(
                DEVICE.c.id,
                DEVICE.c.group,
                DEVICE.c.targets,
                DEVICE.c.artifact,
                trials.c.wanted,
                trials.c.rollout,
                trials.c.is_open,
                _PINNED,
                PIN.c.serial.label("own_serial"),
            )
            .select_from(DEVICE)
            .outerjoin(trials, _same_device(trials))
            .outerjoin(PIN, PIN.c.device == DEVICE.c.id)
        )

    def _standing(self, group: str | None = None) -> list[str]:
        """Return the rollouts whose trials stand now, of one group or of all: one of a group at most."""
        has_jobs = select(JOB.c.rollout).where(JOB.c.rollout == ROLLOUT.c.id).exists()
        asked = (
            select(ROLLOUT.c.id, ROLLOUT.c.group, ROLLOUT.c.state)
            .where(ROLLOUT.c.state.in_(_HAS_SAID), has_jobs)
            .order_by(ROLLOUT.c.changed_seconds.desc(), ROLLOUT.c.id.desc())
        )
        if group is not None:
            asked = asked.where(ROLLOUT.c.group == group).limit(1)
        newest: dict[str, Any] = {}
        for row in self._connection.execute(asked):
            newest.setdefault(row.group, row)
        return [row.id for row in newest.values() if row.state in _STANDS]

    def _trials(self, rollouts: Sequence[str], device: str | None = None) -> Subquery:
        """Return the jobs of rollouts whose trials stand; of one device, so that no database makes a table of all of them first."""
        asked = (
            select(
                JOB.c.device,
                JOB.c.wanted,
                JOB.c.rollout,
                JOB.c.state.not_in(sorted(ENDED_JOBS)).label("is_open"),
                ROLLOUT.c.group,
            )
            .join(ROLLOUT, ROLLOUT.c.id == JOB.c.rollout)
            .where(JOB.c.rollout.in_(rollouts))
        )
        return (asked if device is None else asked.where(JOB.c.device == device)).subquery()

    def _groups(self, name: str | None = None) -> Mapping[str, Mapping[str, ReleasedArtifact]]:
        """Return what whole groups run: one, or all of them."""
        asked = select(GROUP.c.name, GROUP.c.artifacts)
        rows = self._connection.execute(asked if name is None else asked.where(GROUP.c.name == name))
        found: defaultdict[str, Mapping[str, ReleasedArtifact]] = defaultdict(dict)
        found.update({row.name: read_artifacts(row.artifacts, where=f"group {row.name}") for row in rows})
        return found


def _same_device(trials: Subquery) -> Any:
    return and_(trials.c.device == DEVICE.c.id, trials.c.group == DEVICE.c.group)


def _of_device(row: Any, artifacts: Mapping[str, ReleasedArtifact]) -> DesiredOfDevice:
    return DesiredOfDevice(
        device=row.id,
        desired=_desired(row, artifacts),
        reported=row.artifact or None,
        rollout=row.rollout if row.pinned is None else None,
        own_serial=row.own_serial,
    )


def _desired(row: Any, artifacts: Mapping[str, ReleasedArtifact]) -> str | None:
    """Return what a device shall run: by its own desired state, else by its job in a trial that stands, else as its whole group."""
    if row.pinned is None and row.wanted is not None:
        return str(row.wanted)
    found: Mapping[str, ReleasedArtifact | DesiredArtifact] = (
        artifacts if row.pinned is None else read_pinned(row.pinned, where="pin")
    )
    targets: Sequence[str] = json.loads(row.targets)
    return next((found[target].digest for target in targets if target in found), None)


def _kind(desired: str | None, row: Any) -> str:
    if desired is None:
        return "free"
    if not row.artifact:
        return "silent"
    if desired == row.artifact:
        return "as_desired"
    return "underway" if row.is_open and row.pinned is None else "differing"
