"""What a device costs the core of a rollout: seconds and memory for 1,000, 10,000 and 100,000 devices, each in its own process.

A good rollout of the default plan goes through to its end, minute by minute: jobs are made when a stage begins, each device
tells four things about its update within 20 minutes, every open job is held against its deadlines each minute, all gates are judged
each minute on figures of every device that has the release. Seconds are of the processor, memory is the most that was resident,
less what the process had before. No database, no network and no telemetry is in it.

    python -m benchmarks.fleet.scale --json out/scale.json
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.fleet.by_size import parser_by_size, tell
from host_tools.fleet.records.rollouts import ENDED_ROLLOUTS, RolloutPlan
from host_tools.fleet.rollout import jobs, orders
from host_tools.fleet.rollout.explanation import explain
from host_tools.fleet.rollout.gates import Crashes, Pairs, judge
from host_tools.fleet.rollout.machine import OfferTo, advance
from host_tools.fleet.rollout.plan_file import DEFAULT_GATES, DEFAULT_STAGES
from host_tools.fleet.simulation.fixtures import BEGIN, NEW, OLD, new_rollout, release_of, simulated_device
from host_tools.fleet.simulation.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from host_tools.fleet.records.gates import GateFinding

PLAN: Final = RolloutPlan(
    id="r1", release="simulated-2", group="lab", stages=DEFAULT_STAGES, gates=DEFAULT_GATES
)
_EVENTS: Final = ("update_started", "update_tried", "update_activated", "update_committed")
_WITHIN_MINUTES: Final = 20
_MINUTE: Final = 60.0
_FIGURES: Final = {"temperature": 50.0, "throttled_share": 0.01, "output_agreement": 0.996}
DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "rollouts.md"
_MARK: Final = "scale"


class Core:
    """One rollout of a group of many, and what each part of it took.

    Args:
        devices: How many.
    """

    def __init__(self, devices: int) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.minutes = 0
        self._now = BEGIN
        self._names = [f"d{number:06d}" for number in range(devices)]
        self._release = release_of(PLAN)
        self._rollout = orders.submit(new_rollout(PLAN), "benchmark", BEGIN).rollout
        self._ledger = Ledger(len(PLAN.stages))
        self._says: dict[int, list[tuple[str, str]]] = defaultdict(list)
        rng = self._rng = np.random.default_rng(0)
        self._figures = np.exp(rng.normal(0.0, 0.02, (2, devices)))
        self._findings: tuple[GateFinding, ...] = ()

    def run(self) -> None:
        """Go on to the end."""
        while self._rollout.state not in ENDED_ROLLOUTS:
            self.minute()
        with self._timed("explain"):
            explain(self._rollout, self._ledger.counts(), self._findings, self._now).text()

    def minute(self) -> None:
        """Let a minute pass."""
        self.minutes += 1
        self._now += _MINUTE
        with self._timed("what devices say"):
            for name, event in self._says.pop(self.minutes, ()):
                seen = jobs.Observation(
                    seconds=self._now,
                    event=event,
                    about=NEW,
                    running=NEW if event in _EVENTS[2:] else OLD,
                )
                self._ledger.put(jobs.observe(self._ledger[name], seen))
        with self._timed("deadlines"):
            for job in self._ledger.open_jobs():
                self._ledger.put(
                    jobs.expire(job, PLAN, running=OLD, last_seen_seconds=self._now, now_seconds=self._now)
                )
        with self._timed("gates"):
            self._findings = self._judged()
        with self._timed("advance"):
            found = advance(self._rollout, self._ledger.counts(), self._findings, self._now)
        self._rollout = found.rollout
        if any(isinstance(step, OfferTo) for step in found.steps):
            with self._timed("making jobs"):
                self._make_jobs()

    def _make_jobs(self) -> None:
        made = []
        for name in self._names:
            if name not in self._ledger:
                device = simulated_device(name, PLAN)
                job = jobs.job_for(self._rollout, self._release, device, self._now)
                if job is not None:
                    self._ledger.put(job)
                    made.append(name)
        minutes = np.sort(self._rng.integers(1, _WITHIN_MINUTES + 1, (len(made), len(_EVENTS))), axis=1)
        for name, row in zip(made, minutes.tolist(), strict=True):
            for minute, event in zip(row, _EVENTS, strict=True):
                self._says[self.minutes + minute].append((name, event))

    def _judged(self) -> tuple[GateFinding, ...]:
        has = self._ledger.counts()
        count = sum(one.succeeded for one in has)
        return tuple(judge(gate, self._measured(gate.measure, count)) for gate in PLAN.gates) if count else ()

    def _measured(self, measure: str, count: int) -> Pairs | Crashes:
        if measure == "crashes":
            none = np.zeros(count, dtype=np.int64)
            hours = np.ones(count)
            return Crashes(before=none, after=none, before_hours=24 * hours, after_hours=hours)
        level = _FIGURES.get(measure, 0.05)
        before, after = self._figures[:, :count]
        if measure in _FIGURES:
            return Pairs(before=np.full(count, level), after=level + 0.01 * (after - before))
        return Pairs(before=level * before, after=level * after)

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        began = time.process_time()
        yield
        self.seconds[part] += time.process_time() - began


def measure(devices: int) -> dict[str, object]:
    """Run one size in this process."""
    before = _resident()
    began = time.process_time()
    core = Core(devices)
    core.run()
    total = time.process_time() - began
    return {
        "devices": devices,
        "minutes": core.minutes,
        "seconds": total,
        "microseconds_per_device": 1e6 * total / devices,
        "bytes_per_device": (_resident() - before) / devices,
        "parts": {name: 1e6 * seconds / devices for name, seconds in core.seconds.items()},
    }


def table(rows: Sequence[dict[str, object]]) -> str:
    """Return the figures as Markdown."""
    parts = list(dict.fromkeys(name for row in rows for name in _parts(row)))
    lines = [
        "| devices | processor s, of a rollout of | µs a device | "
        + " | ".join(parts)
        + " | bytes a device |",
        "|" + "---|" * (len(parts) + 4),
    ]
    for row in rows:
        cells = [f"{_parts(row)[name]:.3g}" for name in parts]
        lines.append(
            f"| {row['devices']:,} | {row['seconds']:.3g} s, {row['minutes']} min | {row['microseconds_per_device']:.0f} | "
            + " | ".join(cells)
            + f" | {row['bytes_per_device']:.0f} |"
        )
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run every size, print the table."""
    parser = parser_by_size((__doc__ or "").splitlines()[0], document=DOCUMENT)
    parser.add_argument("--here", action="store_true", help="one size in this process, as JSON")
    options = parser.parse_args(arguments)
    if options.here:
        print(json.dumps(measure(options.sizes[0])))
        return 0
    rows = []
    for size in options.sizes:
        command = [sys.executable, "-m", "benchmarks.fleet.scale", "--here", "--sizes", str(size)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        rows.append(json.loads(done.stdout))
    tell(rows, table(rows), options, document=DOCUMENT, mark=_MARK)
    return 0


def _parts(row: dict[str, object]) -> dict[str, float]:
    parts = row["parts"]
    return parts if isinstance(parts, dict) else {}


def _resident() -> int:
    """Most bytes that this process had resident so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    sys.exit(main())
