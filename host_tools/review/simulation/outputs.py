"""What the models of a simulated fleet give: classes and how sure they are, counted by the day.

A device sees its own mix of classes, and a day of it is not like another: so frames of one device and day are alike, as
they are in the field, and a test that took them for independent would be wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import betainc

from host_tools.review.analysis.regroup import group_rows
from host_tools.review.store.windows import OutputTable, Selection

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from host_tools.review.simulation.fleet import Block, SimulatedFleet

CLASSES = 10
BINS = 20
OUTPUT = "scores"
_EVERY_FRAMES = 600
"""Of so many frames one result is published."""
_DEVICE_ALIKE = 60.0
_DAY_ALIKE = 80.0
"""Concentrations of Dirichlet distributions: the larger, the more alike are devices, and days of one."""
_SURE = (9.0, 2.2)
"""Parameters of the beta distribution of how sure a model is."""
_BASE = np.array([0.26, 0.18, 0.14, 0.11, 0.09, 0.07, 0.06, 0.04, 0.03, 0.02])


def table(fleet: SimulatedFleet, selection: Selection, *, by: tuple[str, ...]) -> OutputTable:
    """Return what was given, as a store would; see `TelemetryStore.outputs`."""
    parts = [_block(fleet, fleet.block(number), selection) for number in range(fleet.blocks)]
    keys = {
        axis: np.concatenate([part[0][axis] for part in parts]) for axis in ("time", "device", "artifact")
    }
    counts = np.concatenate([part[1] for part in parts])  # rows by classes by bins
    groups, representatives = group_rows([keys[axis] for axis in by], len(counts))
    merged = np.zeros((len(representatives), CLASSES, BINS), dtype=np.int64)
    np.add.at(merged, groups, counts)
    per_class = merged.sum(axis=2)
    rows, classes = np.nonzero(per_class)
    confidence = merged[rows, classes]
    return OutputTable(
        axes=by,
        keys=tuple(keys[axis][representatives][rows] for axis in by),
        name=np.full(len(rows), OUTPUT, dtype=object),
        top_index=classes.astype(np.int64),
        count=per_class[rows, classes],
        confidence=confidence,
    )


def _block(
    fleet: SimulatedFleet, block: Block, selection: Selection
) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64]]:
    """Keys and counts of every (device, day, artifact) of a block that is selected."""
    rng = np.random.default_rng([fleet.seed, 4, block.first])
    days, place = np.unique(block.times // 86400, return_inverse=True)
    shape = (len(block.alive), len(days), len(fleet.artifacts))
    frames = np.zeros(shape, dtype=np.int64)
    rows = np.broadcast_to(np.arange(shape[0])[:, None], block.alive.shape)
    done = np.where(block.alive, block.inferences, 0)
    np.add.at(
        frames, (rows, np.broadcast_to(place, block.alive.shape), block.artifact.astype(np.int64)), done
    )
    frames //= _EVERY_FRAMES
    mix = rng.dirichlet(_BASE * _DEVICE_ALIKE, shape[0])
    gammas = rng.standard_gamma(np.maximum(mix, 1e-3)[:, None] * _DAY_ALIKE, (shape[0], shape[1], CLASSES))
    today = np.repeat((gammas / gammas.sum(axis=2, keepdims=True))[:, :, None], shape[2], axis=2)
    drift = np.array(
        [
            [
                [
                    fleet.drift_of(block.first + row, index, float(day * 86400 + 43200 - fleet.plan.start))
                    for index in range(shape[2])
                ]
                for day in days
            ]
            for row in range(shape[0])
        ]
    )
    chance = today * (1 - drift[..., None])
    chance[..., 0] += drift
    classes = rng.multinomial(frames, chance / chance.sum(axis=-1, keepdims=True))
    counts = rng.multinomial(classes, _sure(drift)[..., None, :])
    digests = np.array(fleet.artifacts, dtype=object)
    first = selection.start - selection.start % 86400
    wanted = frames > 0
    wanted &= ((days * 86400 >= first) & (days * 86400 < selection.end))[None, :, None]
    wanted &= np.array([selection.artifacts is None or one in selection.artifacts for one in digests])
    devices = fleet.devices[block.first : block.first + shape[0]]
    chosen = set(selection.devices or ())
    wanted &= np.array(
        [
            (selection.devices is None or one.device in chosen) and set(selection.labels) <= set(one.labels)
            for one in devices
        ]
    )[:, None, None]
    device, day, artifact = np.nonzero(wanted)
    names = np.array([one.device for one in devices], dtype=object)
    keys = {
        "time": (days[day] * 86400).astype(np.int64),
        "device": names[device],
        "artifact": digests[artifact],
    }
    return keys, counts[wanted]


def _sure(drift: NDArray[np.float64]) -> NDArray[np.float64]:
    """Chance of each bin of confidence."""
    edges = np.arange(BINS + 1) / BINS
    below = betainc(_SURE[0] * (1 - np.minimum(drift, 0.8))[..., None], _SURE[1], edges)
    return np.asarray(np.diff(below, axis=-1))
