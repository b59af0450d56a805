"""`SimulatedStore`: what a store would answer of a simulated fleet, computed when asked. It keeps nothing and is only read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from host_tools.review.analysis import regroup
from host_tools.review.simulation import inputs, latency, outputs
from host_tools.review.simulation.fleet import SAMPLE_SECONDS, Block, SimulatedFleet
from host_tools.review.store.windows import (
    Device,
    InputTable,
    Level,
    OutputTable,
    ReadingSeries,
    Selection,
    StoredEvent,
    WindowTable,
    check_axes,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

_BASE_AXES = ("device", "artifact", "time")


class SimulatedStore:
    """The reading half of `TelemetryStore`, of a fleet that is simulated while it answers.

    Args:
        fleet: Devices over time.
        now: Unix time of the question: what is delivered later is not there yet. None: all of it is.
    """

    def __init__(self, fleet: SimulatedFleet, *, now: float | None = None) -> None:
        self.fleet = fleet
        self._now = now
        self._last: tuple[int, Selection, WindowTable] | None = None

    def windows(self, selection: Selection, *, level: Level, by: Sequence[str]) -> WindowTable:
        """As `TelemetryStore.windows`; levels shorter than the fleet's are not there."""
        axes = check_axes(by)
        if level.seconds < self.fleet.plan.level.seconds:
            raise ValueError(
                f"level: the fleet was simulated in windows of {self.fleet.plan.level.seconds} s, "
                f"got {level.seconds} s"
            )
        labels = tuple(axis for axis in axes if axis.startswith("label:"))
        parts = []
        for number in range(self.fleet.blocks):
            table = self._labelled(self._block_windows(number, selection), labels)
            parts.append(regroup.regroup(table, axes, level=level))
        whole = regroup.joined(parts)
        if "device" in axes:
            return regroup.regroup(whole, axes)
        merged = regroup.regroup(whole, axes)
        groups, _ = regroup.group_rows(whole.keys, len(whole.inferences))
        devices = np.bincount(groups, weights=whole.devices, minlength=len(merged.devices))
        return _with_devices(merged, devices.astype(np.int64))

    def outputs(self, selection: Selection, *, level: Level, by: Sequence[str]) -> OutputTable:
        """As `TelemetryStore.outputs`; results are simulated by the day."""
        del level
        return outputs.table(self.fleet, selection, by=check_axes(by))

    def inputs(self, selection: Selection, *, level: Level, by: Sequence[str]) -> InputTable:
        """As `TelemetryStore.inputs`; inputs are simulated by the day."""
        del level
        return inputs.table(self.fleet, selection, by=check_axes(by))

    def devices(self, *, labels: Sequence[tuple[str, str]] = ()) -> tuple[Device, ...]:
        """As `TelemetryStore.devices`."""
        return tuple(
            device
            for number in range(self.fleet.blocks)
            for device in self._block_devices(number)
            if set(labels) <= set(device.labels)
        )

    def artifacts(self, selection: Selection) -> tuple[str, ...]:
        """As `TelemetryStore.artifacts`."""
        table = self.windows(selection, level=Level.DAY, by=("artifact",))
        ran = set(table.key("artifact").tolist())
        return tuple(one for one in reversed(self.fleet.artifacts) if one in ran)

    def model_names(self) -> Mapping[str, str]:
        """As `TelemetryStore.model_names`; those of artifacts that run now the devices tell."""
        return {}

    def events(
        self, selection: Selection, *, names: Sequence[str] | None = None, limit: int = 1000
    ) -> tuple[StoredEvent, ...]:
        """As `TelemetryStore.events`: every change of artifact is an `update_committed`."""
        found = []
        for index, device in enumerate(self.fleet.devices):
            at = self.fleet.switched_at(index)
            if at is None or not selection.start <= at < selection.end:
                continue
            if selection.devices is None or device.device in selection.devices:
                found.append(_committed(device.device, at, self.fleet.artifacts[1]))
        found = [one for one in found if names is None or one.name in names]
        return tuple(sorted(found, key=lambda one: (one.time, one.device))[-limit:])

    def readings(
        self, selection: Selection, *, names: Sequence[str] | None = None, points: int = 2000
    ) -> tuple[ReadingSeries, ...]:
        """As `TelemetryStore.readings`, of temperatures and batteries."""
        found: list[ReadingSeries] = []
        for number in range(self.fleet.blocks):
            block = self.fleet.block(number)
            inside = self._inside(block, selection)
            for row in range(len(block.alive)):
                device = self.fleet.devices[block.first + row]
                if not _selected(device.device, device.labels, selection) or not inside[row].any():
                    continue
                found += [
                    series
                    for series in _series(device.device, block, row, inside[row], points)
                    if names is None or series.name in names
                ]
        return tuple(found)

    def _block_windows(self, number: int, selection: Selection) -> WindowTable:
        if self._last is None or self._last[:2] != (number, selection):
            block = self.fleet.block(number)
            table = block_windows(self.fleet, block, self._inside(block, selection), selection)
            self._last = (number, selection, table)
        return self._last[2]

    def _inside(self, block: Block, selection: Selection) -> NDArray[np.bool_]:
        seconds = self.fleet.plan.level.seconds
        first = selection.start - selection.start % seconds
        inside = block.alive & ((block.times >= first) & (block.times < selection.end))[None, :]
        if self._now is not None:
            inside &= block.times[None, :] + seconds + block.delay <= self._now
        return np.asarray(inside)

    def _labelled(self, table: WindowTable, axes: tuple[str, ...]) -> WindowTable:
        if not axes:
            return table
        known = {one.device: dict(one.labels) for one in self.fleet.devices}
        names = table.key("device").tolist()
        keys = tuple(
            np.array([known[name].get(axis.removeprefix("label:")) for name in names], dtype=object)
            for axis in axes
        )
        return _with_keys(table, axes, keys)

    def _block_devices(self, number: int) -> list[Device]:
        block = self.fleet.block(number)
        seconds = self.fleet.plan.level.seconds
        arrives = np.where(block.alive, block.times[None, :] + seconds + block.delay, np.nan)
        if self._now is not None:
            arrives = np.where(arrives <= self._now, arrives, np.nan)
        found = []
        for row, one in enumerate(self.fleet.devices[block.first : block.first + len(block.alive)]):
            heard = arrives[row][np.isfinite(arrives[row])]
            if heard.size:
                last = int(np.flatnonzero(np.isfinite(arrives[row]))[-1])
                found.append(
                    Device(
                        device=one.device,
                        first_received=float(heard.min()),
                        last_received=float(heard.max()),
                        status="up",
                        reason="",
                        artifact=self.fleet.artifacts[block.artifact[row, last]],
                        labels=one.labels,
                        clock_note="",
                        missing=0,
                    )
                )
        return found


def block_windows(
    fleet: SimulatedFleet, block: Block, inside: NDArray[np.bool_], selection: Selection
) -> WindowTable:
    """Return a block's windows that are selected, one a row, by device, artifact and time."""
    names = np.array(
        [one.device for one in fleet.devices[block.first : block.first + len(block.alive)]], dtype=object
    )
    wanted = np.array(
        [
            _selected(one.device, one.labels, selection)
            for one in fleet.devices[block.first : block.first + len(block.alive)]
        ]
    )
    digests = np.array(fleet.artifacts, dtype=object)
    by_artifact = np.array([selection.artifacts is None or one in selection.artifacts for one in digests])
    mask = inside & wanted[:, None] & by_artifact[block.artifact]
    rows, columns = np.nonzero(mask)
    rng = np.random.default_rng([fleet.seed, 3, block.first])
    hist, sums = latency.draw(
        rng,
        block.medians[mask],
        block.inferences[mask],
        block.heat.throttled[mask],
        block.throttled_factor[rows],
    )
    lowest, highest = _extremes(hist)
    seconds = float(fleet.plan.level.seconds)
    samples = np.full(len(rows), max(1, round(seconds / SAMPLE_SECONDS)), dtype=np.int64)
    slowed = block.heat.throttled[mask]
    energy_inferences = np.floor(block.inferences[mask] * (1 - slowed)).astype(np.int64)
    a_piece = block.heat.watts[mask] * seconds / np.maximum(block.inferences[mask], 1)
    columns_of: dict[str, Any] = {
        "main_devices": np.ones(len(rows), dtype=np.int64),
        "covered_seconds": np.full(len(rows), seconds),
        "device_seconds": np.full(len(rows), seconds),
        "inferences": block.inferences[mask],
        "errors": block.errors[mask],
        "dropped": block.dropped[mask],
        "latency_count": block.inferences[mask],
        "latency_sum": sums,
        "latency_min": lowest,
        "latency_max": highest,
        "energy_joules": a_piece * energy_inferences,
        "energy_inferences": energy_inferences,
        "watts_sum": block.heat.watts[mask] * samples,
        "watts_count": samples,
        "celsius_sum": block.shown_celsius[mask] * samples,
        "celsius_count": samples,
        "celsius_max": np.maximum(block.shown_celsius[mask], _top(block, mask)),
        "throttled": rng.binomial(samples, np.clip(slowed, 0, 1)),
        "throttle_samples": samples,
        "cpu_ratio_sum": np.clip(0.04 + 0.9 * block.heat.busy[mask], 0, 1) * samples,
        "cpu_ratio_count": samples,
        "rss_max": block.rss[mask],
        "starts": block.starts[mask],
        "gaps": np.zeros(len(rows), dtype=np.int64),
    }
    return WindowTable(
        axes=_BASE_AXES,
        keys=(names[rows], digests[block.artifact[mask]], block.times[columns].astype(np.int64)),
        level=fleet.plan.level,
        devices=np.ones(len(rows), dtype=np.int64),
        hist=hist,
        **columns_of,
    )


def _top(block: Block, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    wrong = np.abs(block.shown_celsius - block.heat.celsius) > 1.0
    return np.where(wrong, block.shown_celsius, block.heat.celsius_max)[mask]


def _extremes(hist: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    filled = np.diff(hist.offsets) > 0
    lowest = np.full(len(filled), np.nan)
    highest = np.full(len(filled), np.nan)
    lowest[filled] = 2.0 ** ((hist.indices[hist.offsets[:-1][filled]] + 0.5) * 2.0**-hist.scale)
    highest[filled] = 2.0 ** ((hist.indices[hist.offsets[1:][filled] - 1] + 0.5) * 2.0**-hist.scale)
    return lowest, highest


def _selected(device: str, labels: tuple[tuple[str, str], ...], selection: Selection) -> bool:
    return (selection.devices is None or device in selection.devices) and set(selection.labels) <= set(labels)


def _with_keys(table: WindowTable, axes: tuple[str, ...], keys: tuple[NDArray[Any], ...]) -> WindowTable:
    return replace(table, axes=(*table.axes, *axes), keys=(*table.keys, *keys))


def _with_devices(table: WindowTable, devices: NDArray[np.int64]) -> WindowTable:
    return replace(table, devices=devices)


def _committed(device: str, at: float, artifact: str) -> StoredEvent:
    return StoredEvent(
        device=device,
        time=at,
        artifact=artifact,
        kind="event",
        name="update_committed",
        severity="info",
        text="The update is committed.",
        details="{}",
    )


def _series(
    device: str, block: Block, row: int, inside: NDArray[np.bool_], points: int
) -> list[ReadingSeries]:
    every = max(1, -(-int(inside.sum()) // points))
    places = np.flatnonzero(inside)[::every]
    told = [("cpu_thermal_celsius", "thermal_zone", "cpu", block.shown_celsius[row])]
    if np.isfinite(block.charge[row, 0]):
        told += [
            ("supply_bat0_charge_ratio", "power_supply", "battery", block.charge[row]),
            ("supply_bat0_stored_joules", "power_supply", "battery", block.stored_joules[row]),
        ]
    return [
        ReadingSeries(
            device=device,
            name=name,
            source=source,
            scope=scope,
            times=block.times[places],
            values=values[places],
        )
        for name, source, scope, values in told
    ]
