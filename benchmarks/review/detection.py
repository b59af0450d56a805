"""How often the analysis finds what was made wrong, and how often it finds what is not there, on simulated fleets.

Half of the fleets have no fault: whatever is found in one is a false alarm. The other half have one fault of every kind, of a
size that changes from fleet to fleet. Rates come with 95 % intervals (Wilson). Seeds are 0, 1, 2, …: anybody gets the same.

    python -m benchmarks.review.detection --fleets 200 --json out/detection.json
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.review.detection_by_artifact import changed_fleet
from benchmarks.review.detection_outcomes import DAY, DAYS, DEVICES, PC, PI, SMALL, Outcome, rates
from benchmarks.review.detection_tables import write_tables
from host_tools.review.analysis import input_drift
from host_tools.review.analysis.review import review_fleet
from host_tools.review.simulation.fleet import SimulatedFleet
from host_tools.review.simulation.plan import FleetPlan
from host_tools.review.simulation.store import SimulatedStore
from host_tools.review.simulation.truth import Injection
from host_tools.review.store.windows import Level, Selection

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from host_tools.review.analysis.findings import Finding, Review

LATENCY = (0.01, 0.02, 0.03, 0.05, 0.1)
ENERGY = (0.02, 0.03, 0.05, 0.1, 0.2)
FAILURES = (0.0002, 0.0005, 0.001, 0.003, 0.01)
DRIFT = (0.02, 0.05, 0.1, 0.2, 0.3)
SHOWN = (0.05, 0.1, 0.15, 0.25, 0.5)
STRAGGLER = (0.15, 0.2, 0.25, 0.3, 0.5)
SHIFT = (0.03, 0.05, 0.07, 0.1, 0.2)
FLAPPING = (0.5, 1.0, 2.0, 4.0, 8.0)
LEAK = (0.3e6, 0.6e6, 1.2e6, 2.4e6, 5e6)
HEAT = (0.4, 0.6, 0.8, 1.2, 2.0)
WEAR = (0.003, 0.005, 0.007, 0.01, 0.02)
CLEARLY_SLOWED = 0.1
"""A device that is slowed down for so much of its time has to be found; below 5 % none is to be told."""


def null_fleet(seed: int) -> Iterator[Outcome]:
    """Review a fleet without a fault; every finding is a false one."""
    plan = FleetPlan(devices=DEVICES, days=DAYS)
    _, review, fleet = _reviewed(seed, plan)
    kinds: Counter[str] = Counter(one.kind for one in review.findings if one.kind != "throttling")
    slowed = _slowed(fleet)
    kinds["throttling"] = sum(slowed[name] < 0.05 for name in _devices(review, "throttling"))
    for check in review.checks:
        yield Outcome(kind=f"fleet:{check.kind}", size=0.0, hits=int(kinds[check.kind] > 0), trials=1)
        told = len(_devices(review, check.kind)) if check.kind not in ("regression", "improvement") else 0
        if check.kind == "throttling":
            told = kinds["throttling"]
        yield Outcome(kind=f"device:{check.kind}", size=0.0, hits=told, trials=DEVICES)
    for comparison in review.comparisons:
        for one in comparison.measures:
            verdict = int(one.verdict == "no_worse")
            yield Outcome(kind=f"no_worse:{one.measure}", size=0.0, hits=verdict, trials=1)


def faulty_fleet(seed: int) -> Iterator[Outcome]:
    """Review a fleet with one fault of every kind."""
    step = seed % 5
    plan = FleetPlan(devices=DEVICES, days=DAYS, injections=faults(step))
    _, review, fleet = _reviewed(seed, plan)
    affected = [frozenset(names) for names in fleet.truth.devices]
    yield from _comparisons(review, fleet, step)
    moved = _moved_inputs(
        seed, Injection(fault="input_drift", size=SHOWN[step], target=PC, since=DAYS / 2 * DAY)
    )
    yield Outcome(kind="input_drift", size=SHOWN[step], hits=int(PC in moved), trials=1)
    yield Outcome(kind="wrong target: input_drift", size=0.0, hits=len(moved - {PC}), trials=2)
    slow = _devices(review, "straggler", "latency_p50_seconds")
    yield from _per_device("straggler", STRAGGLER[step], slow, affected[4], affected[4] | affected[5])
    shifted = {
        name
        for one in review.findings
        if one.kind == "change_point" and len(one.devices) < 10 and one.effect is not None
        for name in one.devices
        if name in affected[5] and abs(one.start - plan.start - 5 * DAY) <= 6 * 3600
    }
    yield Outcome(
        kind="change_point of a device", size=SHIFT[step], hits=len(shifted), trials=len(affected[5])
    )
    slowed = _slowed(fleet)
    hot = {name for name, share in slowed.items() if share >= CLEARLY_SLOWED}
    warm = {name for name, share in slowed.items() if share >= 0.05}
    yield from _per_device("throttling", 0.1, _devices(review, "throttling"), hot, warm)
    for kind, size, place in (
        ("silent", 1.0, 7),
        ("flapping", FLAPPING[step], 8),
        ("memory_leak", LEAK[step], 9),
        ("heat_trend", HEAT[step], 10),
        ("battery_wear", WEAR[step], 11),
    ):
        sound = affected[place]
        if kind == "heat_trend":
            sound = sound - affected[12] - affected[13]
        if kind != "silent":
            sound = sound - affected[7]
        yield from _per_device(kind, size, _devices(review, kind), sound, affected[place])
    broken = (affected[12] | affected[13]) - affected[7]
    yield from _per_device(
        "sensor_fault", 1.0, _devices(review, "sensor_fault"), broken, affected[12] | affected[13]
    )


def faults(step: int) -> tuple[Injection, ...]:
    """Return one fault of every kind, of one of five sizes."""
    return (
        Injection(fault="latency", size=LATENCY[step], with_artifact=1, target=PI),
        Injection(fault="energy", size=ENERGY[step], with_artifact=1, target=SMALL),
        Injection(fault="failures", size=FAILURES[step], with_artifact=1, target=PC),
        Injection(fault="output_drift", size=DRIFT[step], with_artifact=1, target=SMALL),
        Injection(fault="straggler", size=STRAGGLER[step], share=0.06, target=PI),
        Injection(fault="straggler", size=SHIFT[step], share=0.06, target=PC, since=5.0 * DAY),
        Injection(fault="throttling", size=5.0, share=0.1, target=PI),
        Injection(fault="silent", share=0.02, since=7.5 * DAY),
        Injection(fault="flapping", size=FLAPPING[step], share=0.03),
        Injection(fault="memory_leak", size=LEAK[step], share=0.03),
        Injection(fault="heating", size=HEAT[step], share=0.06, target=SMALL),
        Injection(fault="battery_wear", size=WEAR[step], share=0.1, target=SMALL),
        Injection(fault="stuck_sensor", share=0.02, since=3 * DAY),
        Injection(fault="impossible_sensor", share=0.02, since=3 * DAY),
    )


def _comparisons(review: Review, fleet: SimulatedFleet, step: int) -> Iterator[Outcome]:
    found = [one for one in review.findings if one.kind == "regression" and one.severity != "info"]
    told = {(one.effect.measure, one.group) for one in found if one.effect is not None}
    for fault, measure, target, sizes in (
        ("latency", "latency_p50_seconds", PI, LATENCY),
        ("energy", "energy_per_inference_joules", SMALL, ENERGY),
        ("failures", "failure_ratio", PC, FAILURES),
    ):
        hit = int((measure, f"target {target}") in told or (measure, "") in told)
        yield Outcome(kind=f"regression: {fault}", size=sizes[step], hits=hit, trials=1)
        for comparison in review.comparisons:
            row = next(
                one
                for one in comparison.measures
                if (one.measure, one.group) == (measure, f"target {target}")
            )
            if row.effect is not None:
                holds = int(row.effect.low <= sizes[step] <= row.effect.high)
                yield Outcome(kind=f"interval holds the truth: {fault}", size=0.0, hits=holds, trials=1)
    drift = {one.group for one in review.findings if one.kind == "output_drift"}
    yield Outcome(kind="output_drift", size=DRIFT[step], hits=int(f"target {SMALL}" in drift), trials=1)
    yield Outcome(
        kind="wrong target: output_drift", size=0.0, hits=len(drift - {f"target {SMALL}"}), trials=2
    )
    course = [
        one
        for one in review.findings
        if one.kind == "change_point" and one.group == f"target {PI}" and len(one.devices) > 20
    ]
    hit = int(any(abs(one.start - fleet.plan.start - 4 * DAY) <= 3 * 3600 for one in course))
    yield Outcome(kind="change_point of a target", size=LATENCY[step], hits=hit, trials=1)


def _per_device(
    kind: str, size: float, told: set[str], has: frozenset[str] | set[str], may: frozenset[str] | set[str]
) -> Iterator[Outcome]:
    """Detection among devices that have it, and false ones among all that do not."""
    yield Outcome(kind=kind, size=size, hits=len(told & has), trials=len(has))
    yield Outcome(kind=f"wrong device: {kind}", size=0.0, hits=len(told - may), trials=DEVICES - len(may))


def _reviewed(seed: int, plan: FleetPlan) -> tuple[SimulatedStore, Review, SimulatedFleet]:
    fleet = SimulatedFleet(seed, plan)
    store = SimulatedStore(fleet)
    return store, review_fleet(store, Selection(start=plan.start, end=plan.end)), fleet


def _moved_inputs(seed: int, injection: Injection) -> set[str]:
    """Return the targets whose inputs are told to have moved in the second half, in a fleet that keeps its artifact."""
    plan = FleetPlan(devices=DEVICES, days=DAYS, rollout_at=None, injections=(injection,))
    fleet = SimulatedFleet(seed, plan)
    span = Selection(start=plan.start, end=plan.end)
    table = SimulatedStore(fleet).inputs(span, level=Level.HOUR, by=("device", "artifact", "time"))
    middle = (plan.start + plan.end) / 2
    sides = (table.keys[table.axes.index("time")].astype(np.float64) >= middle).astype(np.int64)
    targets = {one.device: one.board.target for one in fleet.devices}
    drifts = input_drift.drifts(table, sides, groups=targets, seed=seed)
    return {one.group for one in input_drift.told(drifts, artifacts=(), start=middle, end=plan.end, since="")}


def _devices(review: Review, kind: str, measure: str | None = None) -> set[str]:
    def fits(one: Finding) -> bool:
        return one.kind == kind and (
            measure is None or (one.effect is not None and one.effect.measure == measure)
        )

    return {name for one in review.findings if fits(one) for name in one.devices}


def _slowed(fleet: SimulatedFleet) -> dict[str, float]:
    block = fleet.block(0)
    shares = (block.heat.throttled * block.alive).sum(axis=1) / block.alive.sum(axis=1)
    return {one.device: float(share) for one, share in zip(fleet.devices, shares, strict=True)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--fleets", type=int, default=200, help="fleets of each half")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--json", type=Path, help="where to write the rates")
    parser.add_argument("--write-docs", action="store_true", help="put the tables into docs/analysis.md")
    options = parser.parse_args(arguments)
    outcomes: list[Outcome] = []
    started = time.monotonic()
    for seed in range(options.first, options.first + options.fleets):
        outcomes += [*null_fleet(seed), *faulty_fleet(seed), *changed_fleet(seed)]
        if options.json is not None:
            document = {
                "fleets": seed + 1 - options.first,
                "devices": DEVICES,
                "days": DAYS,
                "rates": rates(outcomes),
            }
            options.json.parent.mkdir(parents=True, exist_ok=True)
            options.json.write_text(json.dumps(document, indent=1) + "\n")
        print(
            f"{seed + 1 - options.first} of {options.fleets}, {time.monotonic() - started:.0f} s",
            file=sys.stderr,
        )
    for row in rates(outcomes):
        print(
            f"{row['kind']:45} {row['size']:<10g} {row['hits']:>6} of {row['trials']:<7} {row['rate']:.4f} ({row['low']:.4f} to {row['high']:.4f})"
        )
    if options.write_docs:
        write_tables(rates(outcomes), fleets=options.fleets)
    return 0


if __name__ == "__main__":
    sys.exit(main())
