"""What a new artifact makes worse on a few devices only, and what it makes better, in fleets of their own.

Beside the faults of `detection.faults` they would change what those fleets draw, and with it every figure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.review.detection_outcomes import DAYS, DEVICES, PI, SMALL, Outcome
from host_tools.review.analysis.artifacts import compare
from host_tools.review.simulation.fleet import SimulatedFleet
from host_tools.review.simulation.plan import FleetPlan
from host_tools.review.simulation.store import SimulatedStore
from host_tools.review.simulation.truth import Injection
from host_tools.review.store.windows import Selection

if TYPE_CHECKING:
    from collections.abc import Iterator

FEW = (0.03, 0.05, 0.07, 0.1, 0.2)
BETTER = (0.01, 0.02, 0.03, 0.05, 0.1)
_FEW_SHARE = 0.1


def changed_fleet(seed: int) -> Iterator[Outcome]:
    """Compare both artifacts of a fleet in which B is slower on a tenth of one target, and faster on all of another."""
    step = seed % len(FEW)
    slower = Injection(fault="latency", size=FEW[step], with_artifact=1, target=PI, share=_FEW_SHARE)
    faster = Injection(fault="latency", size=-BETTER[step], with_artifact=1, target=SMALL)
    plan = FleetPlan(devices=DEVICES, days=DAYS, injections=(slower, faster))
    fleet = SimulatedFleet(seed, plan)
    old, new = fleet.artifacts
    found = compare(SimulatedStore(fleet), old, new, Selection(start=plan.start, end=plan.end)).findings

    few = set(fleet.truth.devices[0])
    told = {
        name for one in found if one.kind == "regression" and "peers" in one.evidence for name in one.devices
    }
    yield Outcome(kind="regression on some devices", size=FEW[step], hits=len(told & few), trials=len(few))
    yield Outcome(
        kind="wrong device: regression on some devices",
        size=0.0,
        hits=len(told - few),
        trials=DEVICES - len(few),
    )
    better = {
        one.group
        for one in found
        if one.kind == "improvement"
        and one.effect is not None
        and one.effect.measure == "latency_p50_seconds"
    }
    right = f"target {SMALL}"
    yield Outcome(kind="improvement", size=BETTER[step], hits=int(right in better), trials=1)
    yield Outcome(kind="wrong target: improvement", size=0.0, hits=len(better - {right}), trials=2)
