"""`Fleet`: what a review reads of a store, once: windows by device, artifact and time, and the devices.

The windows are as short as the budget of rows allows, so that ten thousand devices are read in seconds as ten are.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from host_tools.errors import InputError
from host_tools.review.analysis.regroup import chosen, regroup
from host_tools.review.store.windows import Level

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from host_tools.review.store.windows import (
        Device,
        InputTable,
        OutputTable,
        ReadingSeries,
        Selection,
        StoredEvent,
        WindowTable,
    )

ROWS = 400_000
"""Most windows that a review reads."""
_MOST_WINDOWS = 1500
"""More windows of one device tell nothing more."""
_LEVELS = (Level.MINUTE, Level.HOUR, Level.DAY)


class Answers(Protocol):
    """The half of `TelemetryStore` that analysis reads."""

    def windows(self, selection: Selection, *, level: Level, by: Sequence[str]) -> WindowTable:
        """As `TelemetryStore.windows`."""

    def outputs(self, selection: Selection, *, level: Level, by: Sequence[str]) -> OutputTable:
        """As `TelemetryStore.outputs`."""

    def inputs(self, selection: Selection, *, level: Level, by: Sequence[str]) -> InputTable:
        """As `TelemetryStore.inputs`."""

    def devices(self, *, labels: Sequence[tuple[str, str]] = ()) -> tuple[Device, ...]:
        """As `TelemetryStore.devices`."""

    def artifacts(self, selection: Selection) -> tuple[str, ...]:
        """As `TelemetryStore.artifacts`."""

    def events(
        self, selection: Selection, *, names: Sequence[str] | None = None, limit: int = 1000
    ) -> tuple[StoredEvent, ...]:
        """As `TelemetryStore.events`."""

    def readings(
        self, selection: Selection, *, names: Sequence[str] | None = None, points: int = 2000
    ) -> tuple[ReadingSeries, ...]:
        """As `TelemetryStore.readings`."""


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """What was read.

    Attributes:
        selection: Which windows.
        level: Their length.
        table: Windows by device, artifact and time.
        devices: Devices that are selected, heard in the span or not.
    """

    selection: Selection
    level: Level
    table: WindowTable
    devices: tuple[Device, ...]

    @functools.cached_property
    def labels(self) -> Mapping[str, Mapping[str, str]]:
        """Labels by device, what it ran last among them."""
        return {one.device: {**dict(one.labels), "artifact": one.artifact or ""} for one in self.devices}

    @functools.cached_property
    def groups(self) -> Mapping[str, str]:
        """``target <id>`` by device, of those whose target is known: devices that can be held against each other."""
        return {
            name: f"target {labels['target']}" for name, labels in self.labels.items() if labels.get("target")
        }

    @functools.cached_property
    def by_time(self) -> WindowTable:
        """Windows by device and time."""
        return regroup(self.table, ("device", "time"))

    @functools.cached_property
    def latest_cool(self) -> WindowTable:
        """Windows by device and artifact: the last that each ran, and only windows in which heat did not slow it down."""
        last = {one.device: one.artifact for one in self.devices}
        names, artifacts = self.table.key("device").tolist(), self.table.key("artifact").tolist()
        is_last = np.array(
            [last.get(name) == digest for name, digest in zip(names, artifacts, strict=True)], bool
        )
        return regroup(chosen(self.table, is_last & (self.table.throttled == 0)), ("device", "artifact"))

    @functools.cached_property
    def switches(self) -> Mapping[str, tuple[tuple[float, str, str], ...]]:
        """By device, when it began to run another artifact: Unix time, the one before, the new one."""
        first: dict[str, dict[str, float]] = {}
        keys = (
            self.table.key("device").tolist(),
            self.table.key("artifact").tolist(),
            self.table.key("time").tolist(),
        )
        for name, digest, at in zip(*keys, strict=True):
            if digest is not None:
                seen = first.setdefault(name, {})
                seen[digest] = min(seen.get(digest, at), at)
        found = {}
        for name, seen in first.items():
            order = sorted(seen, key=lambda one: (seen[one], one))
            found[name] = tuple((float(seen[new]), old, new) for old, new in itertools.pairwise(order))
        return found

    def only(self, devices: frozenset[str]) -> Fleet:
        """Return the same of some devices."""
        rows = np.array([name in devices for name in self.table.key("device").tolist()], dtype=bool)
        return Fleet(
            selection=self.selection,
            level=self.level,
            table=chosen(self.table, rows),
            devices=tuple(one for one in self.devices if one.device in devices),
        )


def read_fleet(store: Answers, selection: Selection, *, rows: int = ROWS) -> Fleet:
    """Read what a review needs.

    Args:
        store: Where the telemetry is.
        selection: Which windows.
        rows: About how many windows to read at most.

    Raises:
        InputError: The selection ends before it starts, or no device is selected.
        StoreError: The database cannot do its work.
    """
    check_span(selection)
    devices = store.devices(labels=selection.labels)
    if selection.devices is not None:
        wanted = set(selection.devices)
        devices = tuple(one for one in devices if one.device in wanted)
    if not devices:
        raise InputError(
            "review: expected a device that is selected, got none.",
            hint="Take away labels or device ids; `edgewright ingest` must have heard the devices before.",
        )
    level = level_for(selection, devices=len(devices), rows=rows)
    table = store.windows(selection, level=level, by=("device", "artifact", "time"))
    return Fleet(selection=selection, level=level, table=table, devices=devices)


def level_for(selection: Selection, *, devices: int, rows: int = ROWS) -> Level:
    """Return the shortest windows that keep within the budget of rows; days when none does."""
    span = selection.end - selection.start
    for level in _LEVELS:
        windows = span / level.seconds
        if windows <= _MOST_WINDOWS and windows * devices <= rows:
            return level
    return Level.DAY


def check_span(selection: Selection) -> None:
    """Check that a selection has a span.

    Raises:
        InputError: It ends before it starts, or at once.
    """
    if not selection.end > selection.start:
        raise InputError(
            f"review: expected an end after the start, got {selection.start:.0f} to {selection.end:.0f} (Unix seconds).",
            hint="Give a start that is earlier than the end.",
        )
