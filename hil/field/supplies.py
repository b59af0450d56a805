"""What a device was fed by, out of a record: power of the whole, of its rails, and its battery. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hil.field.curves import inside
from hil.field.spans import simplified, stepped
from hil.rail_name import is_rail_name
from hil.scenario.scenario import MAX_ENTRIES, BatteryPoint, PowerPoint, RailPoint
from host_tools.review.wire_text import harmless

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hil.field.notes import Notes, Stretch
    from hil.field.record import FieldRecord, Samples

WATTS_WITHIN = 0.1
"""Watts by which a recovered power may be off at a sample, or 2 % of the largest where that is more, unless that takes too many steps."""
CHARGE_WITHIN = 0.01
"""Likewise of a battery's charge: a percent, which is what most drivers tell."""
_WATTS_SHARE = 0.02
_MOST_WATTS = 10_000.0


def powers(record: FieldRecord, stretch: Stretch, notes: Notes) -> tuple[PowerPoint, ...]:
    """Return few steps for the samples of power."""
    times, values = inside(record.watts, stretch)
    if not len(times):
        notes.leave_out("Power: there are no samples of it.")
        return ()
    values = _playable(values, 0.0, "Power", notes)
    places, within = _steps(values, most=MAX_ENTRIES)
    notes.remarks["power"] = (
        f"The largest source that is no battery: {len(places)} steps for {len(times)} samples, within {within:.3g} W of each."
    )
    return tuple(
        PowerPoint(at_seconds=float(times[one]), watts=round(float(values[one]), 3)) for one in places
    )


def rails(record: FieldRecord, stretch: Stretch, notes: Notes) -> tuple[RailPoint, ...]:
    """Return few steps for the samples of every power rail, rail by rail."""
    found: list[RailPoint] = []
    most = MAX_ENTRIES // max(1, len(record.rails))
    coarsest = counted = 0.0
    for name, samples in record.rails.items():
        times, values = inside(samples, stretch)
        if not len(times):
            continue
        if not is_rail_name(name) or not most:
            notes.leave_out(f"Rail {harmless(name)}: a scenario has no rail of that name, or not so many.")
            continue
        values = _playable(values, 0.0, f"Rail {name}", notes)
        places, within = _steps(values, most=most)
        coarsest, counted = max(coarsest, within), counted + len(times)
        found += [
            RailPoint(name=name, at_seconds=float(times[one]), watts=round(float(values[one]), 3))
            for one in places
        ]
    if found:
        notes.remarks["rail"] = (
            f"Power rails: {len(found)} steps for {counted:.0f} samples, within {coarsest:.3g} W of each."
        )
    return tuple(found)


def batteries(record: FieldRecord, stretch: Stretch, notes: Notes) -> tuple[BatteryPoint, ...]:
    """Return few points for the samples of the battery: where its charge bends, and where its power steps."""
    times, charges = inside(record.charge, stretch)
    if not len(times):
        return ()
    charges = np.clip(charges, 0.0, 1.0)
    watts = _watts_at(times, record.battery_watts, stretch, notes)
    charge_within = CHARGE_WITHIN
    while len(bends := simplified(times, charges, within=charge_within)) > MAX_ENTRIES // 2:
        charge_within *= 2.0
    turns, watts_within = _steps(watts, most=MAX_ENTRIES // 2)
    places = np.union1d(bends, turns)
    notes.remarks["battery"] = (
        f"The battery: {len(places)} points for {len(times)} samples, its charge within {100.0 * charge_within:g} % of each, "
        f"its power within {watts_within:.3g} W."
    )
    # The power that is held is that of the last step, as everywhere: between two of them it is within what was said.
    held = watts[turns[np.searchsorted(turns, places, side="right") - 1]]
    return tuple(
        BatteryPoint(
            at_seconds=float(times[place]),
            charge_ratio=round(float(charges[place]), 4),
            watts=round(float(power), 3),
        )
        for place, power in zip(places.tolist(), held.tolist(), strict=True)
    )


def _watts_at(
    times: NDArray[np.float64], samples: Samples, stretch: Stretch, notes: Notes
) -> NDArray[np.float64]:
    """Return what the battery took or gave when its charge was told: of the last sample until then; 0 where none was told."""
    told, values = inside(samples, stretch)
    if not len(told):
        notes.leave_out("Power of the battery: there are no samples of it, and it is played as 0.")
        return np.zeros(len(times))
    values = _playable(values, -_MOST_WATTS, "Power of the battery", notes)
    latest = np.maximum(np.searchsorted(told, times, side="right") - 1, 0)
    return values[latest]


def _playable(values: NDArray[np.float64], low: float, what: str, notes: Notes) -> NDArray[np.float64]:
    if values.min() < low or values.max() > _MOST_WATTS:
        notes.leave_out(f"{what}: below {low:g} or above {_MOST_WATTS:g} W it is played as that.")
    return np.clip(values, low, _MOST_WATTS)


def _steps(values: NDArray[np.float64], *, most: int) -> tuple[NDArray[np.int64], float]:
    """Return where a power that is held steps, and within how many watts it is then; in no more than so many steps."""
    within = max(WATTS_WITHIN, _WATTS_SHARE * float(np.abs(values).max()))
    while len(places := stepped(values, within=within)) > most:
        within *= 2.0
    return places, within
