"""Groups: every device is in one, and a group has one desired state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, exists, func, insert, select, update

from host_tools.errors import ConflictError, NotFoundError
from host_tools.fleet.records.devices import Group, Selector
from host_tools.fleet.store.documents import read, read_artifacts, written, written_artifacts
from host_tools.fleet.store.tables import DEVICE, GROUP, ROLLOUT

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row


class Groups:
    """The table within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, group: Group) -> None:
        """Make a group.

        Raises:
            ConflictError: There is one of that name.
        """
        if self.find(group.name) is not None:
            raise ConflictError(f"group {group.name}: there is one already.")
        self._connection.execute(
            insert(GROUP).values(
                name=group.name,
                created_seconds=group.created_seconds,
                **_changing(group),
            )
        )

    def put(self, group: Group) -> None:
        """Write down a group's note, its selector, and what its devices run."""
        self._connection.execute(update(GROUP).where(GROUP.c.name == group.name).values(**_changing(group)))

    def remove(self, name: str) -> None:
        """Remove a group.

        Raises:
            NotFoundError: There is none.
            ConflictError: It has, or had, devices or rollouts.
        """
        self.get(name)
        for what, column in (
            ("devices", DEVICE.c.group),
            ("devices", DEVICE.c.home),
            ("rollouts", ROLLOUT.c.group),
        ):
            if self._connection.execute(select(exists().where(column == name))).scalar_one():
                raise ConflictError(f"group {name}: it has {what}, so that it stays.")
        self._connection.execute(delete(GROUP).where(GROUP.c.name == name))

    def find(self, name: str) -> Group | None:
        """Return a group, None where there is none."""
        row = self._connection.execute(select(GROUP).where(GROUP.c.name == name)).one_or_none()
        return None if row is None else _group(row)

    def get(self, name: str) -> Group:
        """Return a group.

        Raises:
            NotFoundError: There is none.
        """
        found = self.find(name)
        if found is None:
            raise NotFoundError(f"group {name}: there is none of that name.")
        return found

    def get_home(self, name: str) -> Group:
        """Return a group into which people may put devices.

        Raises:
            NotFoundError: There is none.
            ConflictError: It takes its devices by itself.
        """
        found = self.get(name)
        if found.selector is not None:
            raise ConflictError(
                f"group {name}: it takes its devices by its selector.",
                hint="Give the device what the selector asks for, e.g. a tag, or choose another group.",
            )
        return found

    def require_no_home(self, name: str) -> None:
        """Refuse a group into which people have put devices.

        Raises:
            ConflictError: It is one.
        """
        if self._connection.execute(select(exists().where(DEVICE.c.home == name))).scalar_one():
            raise ConflictError(
                f"group {name}: people have put devices into it, so that it cannot take others by a selector.",
                hint="Make a group of its own for the selector.",
            )

    def selecting(self) -> tuple[Group, ...]:
        """Return the groups with a selector, the one that comes first at the front."""
        rows = self._connection.execute(select(GROUP).where(GROUP.c.selector.is_not(None)))
        return tuple(sorted(map(_group, rows), key=_order))

    def page(self, *, after: str = "", limit: int) -> tuple[Group, ...]:
        """Return the next groups in the order of their names."""
        asked = select(GROUP).where(GROUP.c.name > after).order_by(GROUP.c.name).limit(limit)
        return tuple(_group(row) for row in self._connection.execute(asked))

    def count(self) -> int:
        """Return how many there are."""
        return int(self._connection.execute(select(func.count()).select_from(GROUP)).scalar_one())


def _order(group: Group) -> tuple[int, str]:
    return (0 if group.selector is None else group.selector.rank, group.name)


def _changing(group: Group) -> dict[str, Any]:
    return {
        "note": group.note,
        "artifacts": written_artifacts(group.artifacts),
        "selector": None if group.selector is None else written(group.selector),
    }


def _group(row: Row[Any]) -> Group:
    return Group(
        name=row.name,
        note=row.note,
        selector=None
        if row.selector is None
        else read(row.selector, Selector, where=f"group {row.name}: selector"),
        artifacts=read_artifacts(row.artifacts, where=f"group {row.name}"),
        created_seconds=row.created_seconds,
    )
