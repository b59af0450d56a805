"""Devices: who they are, where they belong, and what they last said."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, cast

from sqlalchemy import and_, bindparam, case, delete, func, insert, or_, select, update

from host_tools.errors import ConflictError, NotFoundError, StoreError
from host_tools.fleet.records.devices import Device, Provides
from host_tools.fleet.store.documents import read, written
from host_tools.fleet.store.pins import IS_PINNED
from host_tools.fleet.store.tables import DEVICE, DEVICE_TAG

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import ColumnElement, Connection, Row

    from host_tools.fleet.records.devices import DeviceState

_BATCH: Final = 1_000
_PLACING: Final = ("targets", "engine", "agent_version", "memory_bytes", "configured")
"""What a device says by which it is placed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFilter:
    """Which devices; what is None or empty does not matter.

    Attributes:
        group: Of this group.
        tags: Devices that have all of these.
        state: In this state.
        health: That last said so of themselves; ``unknown``: never heard.
        artifact: That report to run the one with this digest.
        target: That can run artifacts of this capability profile.
        search: With this text in their id.
        silent_since_seconds: Not heard since this Unix time.
    """

    group: str | None = None
    tags: frozenset[str] = frozenset()
    state: DeviceState | None = None
    health: str | None = None
    artifact: str | None = None
    target: str | None = None
    search: str = ""
    silent_since_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceReport:
    """What a device said of itself; None: it said nothing about that.

    Attributes:
        device: Its id.
        seconds: Unix time at which it was heard.
        provides: What it can run.
        artifact: Digest of what it runs; empty: nothing.
        desired_serial: Serial of the desired state that it follows.
        health: As it says.
        configured: The group that its own configuration names; empty: none.
    """

    device: str
    seconds: float
    provides: Provides | None = None
    artifact: str | None = None
    desired_serial: int | None = None
    health: str | None = None
    configured: str | None = None


class Devices:
    """The table within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, devices: Sequence[Device]) -> None:
        """Make devices known; their groups must be there.

        Raises:
            ConflictError: One is known already.
        """
        for begin in range(0, len(devices), _BATCH):
            batch = devices[begin : begin + _BATCH]
            names = [device.id for device in batch]
            known = (
                self._connection.execute(select(DEVICE.c.id).where(DEVICE.c.id.in_(names))).scalars().first()
            )
            if known is not None:
                raise ConflictError(f"device {known}: it is known already.")
            self._connection.execute(
                insert(DEVICE),
                [
                    {
                        "id": device.id,
                        "placed_seconds": device.added_seconds,
                        **_columns(device),
                        **_said(device),
                    }
                    for device in batch
                ],
            )
            self._tag(batch)

    def put(self, device: Device, *, now_seconds: float) -> None:
        """Write down group, home, tags and state of a device; what it says of itself stays as it said it."""
        self._connection.execute(
            update(DEVICE)
            .where(DEVICE.c.id == device.id)
            .values(placed_seconds=now_seconds, **_columns(device))
        )
        self._connection.execute(delete(DEVICE_TAG).where(DEVICE_TAG.c.device == device.id))
        self._tag([device])

    def find(self, device: str) -> Device | None:
        """Return a device, None where it is not known."""
        row = self._connection.execute(select(DEVICE).where(DEVICE.c.id == device)).one_or_none()
        return None if row is None else self._devices([row])[0]

    def get(self, device: str) -> Device:
        """Return a device.

        Raises:
            NotFoundError: It is not known.
        """
        found = self.find(device)
        if found is None:
            raise NotFoundError(f"device {device}: it is not known.")
        return found

    def page(self, wanted: DeviceFilter, *, after: str = "", limit: int) -> tuple[Device, ...]:
        """Return the next devices in the order of their ids.

        Args:
            wanted: Which.
            after: The last id of the page before; empty for the first.
            limit: How many at most.
        """
        asked = (
            select(DEVICE).where(_condition(wanted), DEVICE.c.id > after).order_by(DEVICE.c.id).limit(limit)
        )
        return self._devices(self._connection.execute(asked).all())

    def count(self, wanted: DeviceFilter) -> int:
        """Return how many there are."""
        asked = select(func.count()).select_from(DEVICE).where(_condition(wanted))
        return int(self._connection.execute(asked).scalar_one())

    def tallies(self, column: str) -> dict[str, int]:
        """Return how many devices there are by ``group``, ``state``, ``health`` or ``artifact``."""
        by = DEVICE.c[column]
        rows = self._connection.execute(select(by, func.count()).group_by(by).order_by(by))
        return {"" if value is None else str(value): int(count) for value, count in rows}

    def placed_since(self, group: str, seconds: float) -> tuple[Device, ...]:
        """Return the devices that follow a group and whose place, or what it hangs on, changed at a Unix time or after it; without tags."""
        rows = self._connection.execute(
            select(DEVICE).where(_follows(group), DEVICE.c.placed_seconds >= seconds).order_by(DEVICE.c.id)
        )
        return tuple(_device(row, ()) for row in rows)

    def changed_since(self, seconds: float, *, after: str = "", limit: int) -> tuple[Device, ...]:
        """Return the next devices whose place, or what it hangs on, changed at a Unix time or after it, in the order of their ids."""
        asked = (
            select(DEVICE)
            .where(DEVICE.c.placed_seconds >= seconds, DEVICE.c.id > after)
            .order_by(DEVICE.c.id)
            .limit(limit)
        )
        return self._devices(self._connection.execute(asked).all())

    def unheard(self, group: str) -> tuple[str, ...]:
        """Return the devices that follow a group and of which nobody knows what they can run."""
        asked = select(DEVICE.c.id).where(_follows(group), DEVICE.c.targets == written(()))
        return tuple(self._connection.execute(asked).scalars())

    def heard(self, reports: Sequence[DeviceReport], *, now_seconds: float) -> None:
        """Write down what devices said; of what one said twice, the later counts, whatever the order here; of health, that it has gone.

        Devices that are not known are passed over.
        """
        if not reports:
            return
        later_said = or_(
            DEVICE.c.last_seen_seconds.is_(None), DEVICE.c.last_seen_seconds <= bindparam("b_seconds")
        )
        values: dict[str, Any] = {
            name: func.coalesce(bindparam(f"b_{name}", type_=DEVICE.c[name].type), DEVICE.c[name])
            for name in (*_PLACING, "desired_serial", "health")
        }
        values["artifact"] = func.nullif(
            func.coalesce(bindparam("b_artifact", type_=DEVICE.c.artifact.type), DEVICE.c.artifact), ""
        )
        # What was not known before, as memory, differs from what is.
        differs = or_(*(values[name].is_distinct_from(DEVICE.c[name]) for name in _PLACING))
        values["placed_seconds"] = case((differs, bindparam("b_now")), else_=DEVICE.c.placed_seconds)
        values["last_seen_seconds"] = bindparam("b_seconds")
        self._connection.execute(
            update(DEVICE).where(DEVICE.c.id == bindparam("b_id"), later_said).values(values),
            [{**_bound(report), "b_now": now_seconds} for report in reports],
        )
        self._have_gone(reports)

    def _have_gone(self, reports: Sequence[DeviceReport]) -> None:
        """Believe the broker that a device has gone: its last will is dated by when it came, and so older than what it said since."""
        last = {report.device: report for report in reports if report.health is not None}
        gone = [
            {"b_id": one.device, "b_seconds": one.seconds} for one in last.values() if one.health == "down"
        ]
        if gone:
            outlived = and_(
                DEVICE.c.id == bindparam("b_id"), DEVICE.c.last_seen_seconds > bindparam("b_seconds")
            )
            self._connection.execute(update(DEVICE).where(outlived).values(health="down"), gone)

    def _tag(self, devices: Sequence[Device]) -> None:
        rows = [{"device": device.id, "tag": tag} for device in devices for tag in sorted(device.tags)]
        if rows:
            self._connection.execute(insert(DEVICE_TAG), rows)

    def _devices(self, rows: Sequence[Row[Any]]) -> tuple[Device, ...]:
        tags = self._tags([row.id for row in rows])
        return tuple(_device(row, tags[row.id]) for row in rows)

    def _tags(self, devices: Sequence[str]) -> dict[str, set[str]]:
        found: dict[str, set[str]] = defaultdict(set)
        if devices:
            asked = select(DEVICE_TAG).where(DEVICE_TAG.c.device.in_(devices))
            for device, tag in self._connection.execute(asked):
                found[device].add(tag)
        return found


def _follows(group: str) -> ColumnElement[bool]:
    """Enrolled devices of a group that have no desired state of their own."""
    return and_(DEVICE.c.group == group, DEVICE.c.state == "enrolled", ~IS_PINNED)


def _condition(wanted: DeviceFilter) -> ColumnElement[bool]:
    parts: list[ColumnElement[bool]] = [
        DEVICE.c[name] == value
        for name, value in (
            ("group", wanted.group),
            ("state", wanted.state),
            ("artifact", wanted.artifact),
            ("health", "" if wanted.health == "unknown" else wanted.health),
        )
        if value is not None
    ]
    parts += [
        DEVICE.c.id.in_(select(DEVICE_TAG.c.device).where(DEVICE_TAG.c.tag == tag))
        for tag in sorted(wanted.tags)
    ]
    if wanted.target is not None:
        parts.append(DEVICE.c.targets.contains(f'"{wanted.target}"', autoescape=True))
    if wanted.search:
        parts.append(func.lower(DEVICE.c.id).contains(wanted.search.lower(), autoescape=True))
    if wanted.silent_since_seconds is not None:
        seen = DEVICE.c.last_seen_seconds
        parts.append(or_(seen.is_(None), seen < wanted.silent_since_seconds))
    return and_(True, *parts)  # noqa: FBT003  SQLAlchemy's way to say "no condition"


def _columns(device: Device) -> dict[str, Any]:
    return {
        "group": device.group,
        "home": device.home,
        "state": device.state,
        "added_seconds": device.added_seconds,
    }


def _said(device: Device) -> dict[str, Any]:
    provides = device.provides
    return {
        "targets": written(provides.targets),
        "engine": provides.engine,
        "agent_version": provides.agent_version,
        "memory_bytes": provides.memory_bytes,
        "configured": device.configured,
        "artifact": device.artifact,
        "desired_serial": device.desired_serial,
        "health": device.health,
        "last_seen_seconds": device.last_seen_seconds,
    }


def _bound(report: DeviceReport) -> dict[str, Any]:
    provides = report.provides
    return {
        "b_id": report.device,
        "b_seconds": report.seconds,
        "b_targets": None if provides is None else written(provides.targets),
        "b_engine": None if provides is None else provides.engine,
        "b_agent_version": None if provides is None else provides.agent_version,
        "b_memory_bytes": None if provides is None else provides.memory_bytes,
        "b_artifact": report.artifact,
        "b_desired_serial": report.desired_serial,
        "b_health": report.health,
        "b_configured": report.configured,
    }


def _provides(row: Row[Any]) -> Provides:
    try:
        return _known_provides(row.targets, row.engine, row.agent_version, row.memory_bytes)
    except StoreError as error:
        raise StoreError(f"device {row.id}: {error.args[0]}", hint=error.hint) from error


@lru_cache(maxsize=4_096)
def _known_provides(targets: str, engine: str, agent_version: str, memory_bytes: int | None) -> Provides:
    """Devices of a fleet are of a few kinds: what all of a kind can run is one value, read once."""
    return Provides(
        targets=read(targets, tuple[str, ...], where="targets"),
        engine=engine,
        agent_version=agent_version,
        memory_bytes=memory_bytes,
    )


def _device(row: Row[Any], tags: Iterable[str]) -> Device:
    return Device(
        id=row.id,
        group=row.group,
        home=row.home,
        configured=row.configured,
        tags=frozenset(tags),
        state=cast("DeviceState", row.state),
        provides=_provides(row),
        artifact=row.artifact,
        desired_serial=row.desired_serial,
        health=row.health,
        last_seen_seconds=row.last_seen_seconds,
        added_seconds=row.added_seconds,
    )
