"""`ranking`: the devices in an order, a page of them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from host_tools.errors import InputError
from host_tools.review.analysis.percentiles import quantiles
from host_tools.review.analysis.regroup import chosen
from host_tools.review.serve.answers import DeviceRow, RankingAnswer
from host_tools.review.serve.looked import Looked, devices_of, shown_of
from host_tools.review.serve.measures import QUANTILES, measures_of, ratio_columns, texts_of
from host_tools.review.serve.span import of_ranking
from host_tools.review.wire_text import harmless

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from host_tools.review.serve.answers import Measures
    from host_tools.review.serve.directory import Roll
    from host_tools.review.store.telemetry_store import TelemetryStore
    from host_tools.review.store.windows import Device, WindowTable

SORTS = (
    "latency_p95",
    "latency_p99",
    "latency_p50",
    "error_share",
    "inferences",
    "joules",
    "watts",
    "celsius_max",
    "throttled_share",
    "gaps",
    "starts",
    "last_received",
    "device",
    "status",
)
"""Orders of the ranking."""
PAGE_SIZE = 20
MOST_EXPORTED = 1_000_000
"""Devices in one file."""


def ranking(
    store: TelemetryStore,
    roll: Roll,
    looked: Looked,
    *,
    sort: str = "latency_p95",
    is_descending: bool = True,
    page: int = 1,
    page_size: int = PAGE_SIZE,
    search: str = "",
    status: str = "",
) -> RankingAnswer:
    """Return one page of the devices in an order; those that have no value come last in either direction.

    They are ranked over whole minutes, hours, quarters of a day or days, as few as `Shown` tells.

    Raises:
        InputError: The order is unknown.
    """
    if sort not in SORTS:
        raise InputError(f"sort: expected one of {', '.join(SORTS)}, got {sort!r}.")
    looked = replace(looked, span=of_ranking(looked.span))
    table = store.windows(looked.selection(), level=looked.span.level, by=("device",))
    places = {device: row for row, device in enumerate(texts_of(table, "device"))}
    found = [
        device
        for device in devices_of(roll, looked)
        if (not looked.artifacts or device.device in places)
        and (not search or search.casefold() in device.device.casefold())
        and (not status or roll.status(device) == status)
    ]
    values = _sort_values(found, sort, places, table, roll)
    order = sorted(range(len(found)), key=lambda index: found[index].device)
    order.sort(key=lambda index: values[index], reverse=is_descending)
    order.sort(
        key=lambda index: values[index] != values[index]
    )  # what has no value is not a number, and comes last
    shown = order[(page - 1) * page_size : page * page_size]
    kept = [places.get(found[index].device, -1) for index in shown]
    measured = measures_of(chosen(table, np.array([row for row in kept if row >= 0], dtype=np.int64)))
    by_row = dict(zip([row for row in kept if row >= 0], measured, strict=True))
    return RankingAnswer(
        shown=shown_of(looked, roll),
        sort=sort,
        is_descending=is_descending,
        page=page,
        page_size=page_size,
        count=len(found),
        rows=[
            device_row(found[index], roll, by_row.get(row)) for index, row in zip(shown, kept, strict=True)
        ],
    )


def device_row(device: Device, roll: Roll, measures: Measures | None) -> DeviceRow:
    """Return a device as it is shown in a list."""
    return DeviceRow(
        device=device.device,
        status=roll.status(device),
        reason=harmless(device.reason),
        last_received=device.last_received,
        artifact=device.artifact,
        name=roll.name(device.artifact),
        labels={harmless(key): harmless(value) for key, value in device.labels},
        measures=measures,
    )


def _sort_values(
    found: Sequence[Device], sort: str, places: Mapping[str | None, int], table: WindowTable, roll: Roll
) -> list[float] | list[str]:
    if sort == "device":
        return [device.device for device in found]
    if sort == "status":
        return [roll.status(device) for device in found]
    if sort == "last_received":
        return [device.last_received for device in found]
    if sort.startswith("latency_p"):
        share = QUANTILES[("latency_p50", "latency_p95", "latency_p99").index(sort)]
        values = quantiles(table.hist, [share])[:, 0]
    else:
        ratios = ratio_columns(table)
        values = ratios[sort] if sort in ratios else getattr(table, sort).astype(np.float64)
    listed = values.tolist()
    return [listed[places[device.device]] if device.device in places else math.nan for device in found]
