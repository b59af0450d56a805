"""What a device would have told while it went through a scenario: messages for a store, with when each was made and when it arrived."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from hil.scenario.scenario import Fault, Scenario
from tests.unit.host_tools.review.store.stored_messages import EPOCH, Said, event, inference, sample, stamp

DEVICE = "lab-7"
CORES = 4
BEFORE_SECONDS = 60.0
"""The device was up for so long when the scenario began."""
DELIVERY_SECONDS = 0.1
OWN_CORES = 0.25
_ROUND = 0.01
"""Between the messages of one report."""


@dataclass(frozen=True, kw_only=True)
class Run:
    number: int
    start: float
    end: float


def messages(scenario: Scenario, *, interval: float, rate_hz: float) -> list[Said]:
    """Every message, its scenario's second 0 at `EPOCH`."""
    told = []
    cuts = [one for one in scenario.faults if one.kind == "power_cut"]
    starts = [-BEFORE_SECONDS, *(one.at_seconds + one.for_seconds for one in cuts)]
    ends = [*(one.at_seconds for one in cuts), scenario.duration_seconds]
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        told += list(_run(scenario, Run(number=number, start=start, end=end), interval, rate_hz))
    return [_delivered(one, scenario, last=number) for number, one in _with_last_of_run(told)]


def _run(scenario: Scenario, run: Run, interval: float, rate_hz: float) -> Iterator[Said]:
    seq, uptime = 1, interval
    extra = sorted(_events(scenario, run))
    while run.start + uptime + 3 * _ROUND < run.end:
        now = run.start + uptime
        while extra and extra[0][0] <= now:
            moment, name = extra.pop(0)
            yield event(_stamp(run, seq, moment), name, f"{name}: the connection had been lost: timed out")
            seq += 1
        yield inference(_stamp(run, seq, now), total=round(rate_hz * uptime), window=interval)
        for place, (kind, values) in enumerate(_samples(scenario, now), 1):
            yield sample(_stamp(run, seq + place, now + place * _ROUND), kind, **values)
        seq, uptime = seq + 4, uptime + interval


def _stamp(run: Run, seq: int, moment: float) -> dict[str, Any]:
    return stamp(DEVICE, f"boot-{run.number}", seq, moment - run.start, made=EPOCH + moment)


def _events(scenario: Scenario, run: Run) -> Iterator[tuple[float, str]]:
    for fault in scenario.faults:
        begin, end = fault.at_seconds, fault.at_seconds + fault.for_seconds
        if fault.kind == "network_cut" and run.start < begin and end < run.end:
            yield end + 0.05, "reconnected"  # an agent that began without a network has lost no connection
        if fault.kind == "sensor_gone" and run.start < begin < run.end:
            yield begin, "heat_unknown"
            yield end, "heat_known"


def _samples(scenario: Scenario, now: float) -> Iterator[tuple[str, dict[str, float]]]:
    thermal: dict[str, float] = {"cooling_cpufreq_cpu0_ratio": float(_during(scenario, "throttled", now))}
    if not _during(scenario, "sensor_gone", now):  # all of them: the hottest counts
        thermal |= {"cpu_thermal_celsius": celsius_at(scenario, now), "board_celsius": 20.0}
    yield "thermal", thermal
    yield "power", {"ina226_watts": watts_at(scenario, now), **dict(_supplies(scenario, now))}
    busy = sum(
        one.processes for one in scenario.loads if one.at_seconds <= now < one.at_seconds + one.for_seconds
    )
    away = [
        now - one.at_seconds
        for one in scenario.faults
        if one.kind.startswith("network") and one.at_seconds <= now < _end(one)
    ]
    yield (
        "system",
        {
            "cpu_ratio": (busy + OWN_CORES) / CORES,
            "process_cpu_ratio": OWN_CORES,
            "spool_messages": 0.8 * sum(away),  # four messages every five seconds
        },
    )


def _during(scenario: Scenario, kind: str, now: float) -> bool:
    return any(
        one.kind == kind and one.at_seconds <= now < one.at_seconds + one.for_seconds
        for one in scenario.faults
    )


def celsius_at(scenario: Scenario, now: float) -> float:
    points = scenario.temperatures
    return float(np.interp(now, [one.at_seconds for one in points], [one.celsius for one in points]))


def watts_at(scenario: Scenario, now: float) -> float:
    return next(
        (one.watts for one in reversed(scenario.powers) if one.at_seconds <= now), scenario.powers[0].watts
    )


def _supplies(scenario: Scenario, now: float) -> Iterator[tuple[str, float]]:
    for name in {one.name for one in scenario.rails}:
        yield f"rail_{name}_watts", rail_watts_at(scenario, name, now)
    if scenario.batteries:
        yield "battery_charge_ratio", round(charge_at(scenario, now), 2)
        yield "battery_watts", battery_watts_at(scenario, now)
    else:
        yield "battery_watts", 99.0  # more than any other source: no battery's power is the device's


def rail_watts_at(scenario: Scenario, name: str, now: float) -> float:
    own = [one for one in scenario.rails if one.name == name]
    return next((one.watts for one in reversed(own) if one.at_seconds <= now), own[0].watts)


def charge_at(scenario: Scenario, now: float) -> float:
    points = scenario.batteries
    return float(np.interp(now, [one.at_seconds for one in points], [one.charge_ratio for one in points]))


def battery_watts_at(scenario: Scenario, now: float) -> float:
    points = scenario.batteries
    return next((one.watts for one in reversed(points) if one.at_seconds <= now), points[0].watts)


def _with_last_of_run(told: list[Said]) -> Iterator[tuple[bool, Said]]:
    for one, after in pairwise([*told, told[-1]]):
        yield one.envelope["boot_id"] != after.envelope["boot_id"], one


def _delivered(one: Said, scenario: Scenario, *, last: bool) -> Said:
    """Say when a message arrived: at once, when the network was back, or, what was under way in a power cut, after it."""
    made = one.envelope["time"] - EPOCH
    free = made
    for fault in sorted(scenario.faults, key=lambda fault: fault.at_seconds):
        is_cut = fault.kind.startswith("network") and fault.at_seconds <= free
        is_under_way = last and fault.kind == "power_cut" and made < fault.at_seconds < made + 60.0
        if (is_cut or is_under_way) and free < _end(fault):
            free = _end(fault) + 0.2
    return replace(one, envelope=one.envelope | {"received": EPOCH + free + DELIVERY_SECONDS})


def _end(fault: Fault) -> float:
    return fault.at_seconds + fault.for_seconds
