"""`Limits`: how much a store takes of what devices word and number by themselves, so that none of them fills memory or table."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa

from host_tools.review.store.tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Iterable

_SHOWN_CHARACTERS = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a store holds at most. Names are for good, so what comes first has the room.

    Attributes:
        devices: Device ids.
        artifacts: Digests.
        outputs: Names of outputs and inputs.
        sensors: Combinations of kind, name, source, scope and quality.
        cohorts: Combinations of labels that fleets are rolled up by; of more, questions read devices' windows.
        characters: Of all names of one kind together.
        of_one_device: New names of one kind that one device may bring while the store is open.
        dead_letters: Messages that were not understood; the latest are kept.
        dead_letter_bytes: What they take, in base64.
        holes: In the numbers of one run; of more the oldest are closed, and what is missing in them is given up.
    """

    devices: int = 100_000
    artifacts: int = 20_000
    outputs: int = 20_000
    sensors: int = 20_000
    cohorts: int = 1_000
    characters: int = 16 << 20
    of_one_device: int = 1_000
    dead_letters: int = 100_000
    dead_letter_bytes: int = 256 << 20
    holes: int = 1_000

    def room(self, most: int) -> Room:
        """Return the room of a table of so many names."""
        return Room(most=most, characters=self.characters, of_one_device=self.of_one_device)


@dataclass(slots=True)
class Room:
    """How much of a limit is left for the names of one table.

    Attributes:
        most: Names.
        characters: Of all of them.
        of_one_device: New ones of one device.
    """

    most: int
    characters: int
    of_one_device: int
    _given: Counter[int] = field(default_factory=Counter)

    def has_room(self, name: str, *, names: int, characters: int, giver: int | None) -> bool:
        """Return whether one more fits beside so many that are there; ``giver`` is the key of the device that brings it."""
        fits = names < self.most and characters + len(name) <= self.characters
        if giver is None or not fits:
            return fits
        if self._given[giver] >= self.of_one_device:
            return False
        self._given[giver] += 1
        return True

    def forget(self) -> None:
        """Count what devices bring anew."""
        self._given.clear()

    def told(self, *, names: int, giver: int | None) -> str:
        """Return which limit was met."""
        if giver is not None and names < self.most and self._given[giver] >= self.of_one_device:
            return f"this device has brought {self.of_one_device:,} since the store was opened, as many as one may"
        if names < self.most:
            return f"all that there are have {self.characters:,} characters, as many as this store takes"
        return f"this store has {names:,}, as many as it takes"


@dataclass(slots=True)
class Refusals:
    """Dead letters of what a limit keeps out or gives up. A store has no topic and no payload any more: device and table stand for them."""

    _rows: list[tuple[object, ...]] = field(default_factory=list)

    def add(self, *, received: float, device: str, table: str, what: str, name: str, limit: str) -> None:
        """Say what was left out and why."""
        reason = f"{what} {_shown(name)!r} is new, and {limit}"
        self._add(received=received, device=device, table=table, reason=reason)

    def give_up(
        self, *, received: float, device: str, boot_id: str, first: int, last: int, missing: int, holes: int
    ) -> None:
        """Say which numbers of a run are waited for no longer."""
        messages = "message" if missing == 1 else "messages"
        reason = (
            f"run {_shown(boot_id)!r} has more than {holes:,} holes in its numbers: {missing:,} missing {messages} between "
            f"{first} and {last} given up, and what still comes of them is not written"
        )
        self._add(received=received, device=device, table="heard", reason=reason)

    def _add(self, *, received: float, device: str, table: str, reason: str) -> None:
        told = f'{reason}; see "What is bounded" in docs/ingest.md.'
        self._rows.append((received, f"device {device}: {table}", b"", 0, told))

    def rows(self) -> pa.RecordBatch | None:
        """Return them as the table `dead_letter` has them; None when there are none."""
        if not self._rows:
            return None
        schema = TABLES["dead_letter"]
        columns: Iterable[tuple[object, ...]] = zip(*self._rows, strict=True)
        arrays = [pa.array(column, kind.type) for column, kind in zip(columns, schema, strict=True)]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _shown(name: str) -> str:
    return name if len(name) <= _SHOWN_CHARACTERS else name[:_SHOWN_CHARACTERS] + "…"
