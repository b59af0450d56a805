"""Devices with a desired state of their own, as signed when the server last looked. They may be ones that the fleet does not know yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, delete, exists, func, insert, select

from host_tools.fleet.records.devices import Pin
from host_tools.fleet.store.documents import read_pinned, written
from host_tools.fleet.store.tables import DEVICE, PIN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row

IS_PINNED: Final = exists().where(PIN.c.device == DEVICE.c.id).correlate(DEVICE)
"""Of a device that is asked for."""
_BATCH: Final = 1_000


class Pins:
    """The table within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(self, pins: Sequence[Pin]) -> None:
        """Write down pins, each in the place of the one that its device had."""
        self.remove([one.device for one in pins])
        for begin in range(0, len(pins), _BATCH):
            rows = [
                {"device": one.device, "serial": one.serial, "artifacts": written(dict(one.artifacts))}
                for one in pins[begin : begin + _BATCH]
            ]
            self._connection.execute(insert(PIN), rows)

    def remove(self, devices: Sequence[str]) -> None:
        """Forget the pins of devices."""
        for begin in range(0, len(devices), _BATCH):
            self._connection.execute(delete(PIN).where(PIN.c.device.in_(devices[begin : begin + _BATCH])))

    def find(self, device: str) -> Pin | None:
        """Return a device's pin; None: it has none."""
        row = self._connection.execute(select(PIN).where(PIN.c.device == device)).one_or_none()
        return None if row is None else _pin(row)

    def devices(self) -> frozenset[str]:
        """Return the ids of all devices that have a pin."""
        return frozenset(self._connection.execute(select(PIN.c.device)).scalars())

    def all(self) -> tuple[Pin, ...]:
        """Return every pin, by the devices' ids."""
        return tuple(_pin(row) for row in self._connection.execute(select(PIN).order_by(PIN.c.device)))

    def count(self, group: str | None = None) -> int:
        """Return how many there are, or how many enrolled devices of a group have one."""
        asked = select(func.count()).select_from(PIN)
        if group is not None:
            asked = asked.join(DEVICE, DEVICE.c.id == PIN.c.device).where(
                and_(DEVICE.c.group == group, DEVICE.c.state == "enrolled")
            )
        return int(self._connection.execute(asked).scalar_one())


def _pin(row: Row[Any]) -> Pin:
    return Pin(
        device=row.device,
        serial=row.serial,
        artifacts=read_pinned(row.artifacts, where=f"pin of device {row.device}"),
    )
