"""How often gates stop a rollout, against how bad the release is: the power curve, on the simulated groups of `benchmarks.fleet.detection`.

python -m benchmarks.fleet.power --rollouts 1000 --json out/power.json --write-docs
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.fleet.detection import (
    DOCUMENT,
    Outcome,
    is_alarm,
    is_found,
    keep_outcomes,
    kept_outcomes,
    outcome,
    rate_interval,
    stops,
)
from benchmarks.fleet.power_plot import Curve, Point, plot
from benchmarks.marked import write_marked
from host_tools.fleet.simulation.candidate import Candidate

if TYPE_CHECKING:
    from collections.abc import Sequence

IMAGE: Final = Path(__file__).parents[2] / "docs" / "images" / "rollout-power.svg"
_MARK: Final = "power"
_KEPT_EVERY: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One kind of fault, in several sizes, each in percent.

    Attributes:
        name: For the tables; ``{}`` is the size.
        allowed: What the default plan allows.
        sizes: In percent.
    """

    name: str
    allowed: str
    sizes: tuple[float, ...]

    def candidate(self, size: float) -> Candidate:
        """Return the release that is so bad."""
        share = size / 100.0
        if self is SLOWER:
            return Candidate(slower=share)
        if self is CRASHING:
            return Candidate(crash_share=share, crashes_per_hour=6.0)
        return Candidate(disagreeing=share)


SLOWER: Final = Effect(name="{} % slower", allowed="p50 10 %, p95 15 %", sizes=(5.0, 10.0, 15.0, 20.0, 40.0))
CRASHING: Final = Effect(
    name="crashes every 10 min on {} % of devices",
    allowed="0.05 a device-hour more",
    sizes=(1.0, 3.0, 10.0, 30.0),
)
WRONG: Final = Effect(
    name="{} % of outputs wrong (cosine 0)", allowed="a mean cosine of 0.98", sizes=(1.0, 2.0, 3.0, 5.0, 10.0)
)
GOOD: Final = Effect(name="good", allowed="", sizes=(0.0,))
EFFECTS: Final = (GOOD, SLOWER, CRASHING, WRONG)
RELEASES: Final = {
    effect.name.format(f"{size:g}"): effect.candidate(size) for effect in EFFECTS for size in effect.sizes
}


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the figures as Markdown."""
    lines = [
        "| release | allowed | rollouts | stopped | 95 % | in the canary stage, taken back | stopped by |",
        "|---|---|---|---|---|---|---|",
    ]
    for effect in EFFECTS:
        for size in effect.sizes:
            name = effect.name.format(f"{size:g}")
            mine = [one for one in outcomes if one["candidate"] == name]
            if mine:
                alarms = sum(map(is_alarm, mine))
                lines.append(
                    f"| {name} | {effect.allowed} | {len(mine)} | {alarms} | {rate_interval(alarms, len(mine))}"
                    f" | {sum(map(is_found, mine))} | {stops(mine)} |"
                )
    return "\n".join(lines) + "\n"


def curves(outcomes: Sequence[Outcome]) -> tuple[Curve, ...]:
    """Return the rate of stopped rollouts against the size of each kind of fault; size 0 is the good release."""
    found = []
    for effect, title in (
        (SLOWER, "slower, %"),
        (CRASHING, "devices that crash, %"),
        (WRONG, "outputs wrong, %"),
    ):
        points = []
        for size in (0.0, *effect.sizes):
            name = effect.name.format(f"{size:g}") if size else GOOD.name
            mine = [is_alarm(one) for one in outcomes if one["candidate"] == name]
            if mine:
                points.append(Point(size=size, hits=sum(mine), trials=len(mine)))
        found.append(Curve(title=title, points=tuple(points)))
    return tuple(found)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print the table, write JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fleet.power", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--rollouts", type=int, default=1_000, help="of each release (default: 1000)")
    parser.add_argument("--only", choices=sorted(RELEASES), action="append", help="these releases only")
    parser.add_argument("--processes", type=int, default=1, help="that simulate (default: 1)")
    parser.add_argument(
        "--json", type=Path, help="where to keep what came out; what is there is gone on with"
    )
    parser.add_argument("--write-docs", action="store_true", help="put table and plot into docs/rollouts.md")
    options = parser.parse_args(arguments)
    outcomes = kept_outcomes(options.json)
    done = {(one["candidate"], one["seed"]) for one in outcomes}
    names = options.only or list(RELEASES)
    # Seed by seed over all releases: broken off at any time, every release has as many rollouts.
    todo = [(name, seed) for seed in range(options.rollouts) for name in names if (name, seed) not in done]
    began = time.monotonic()
    with ProcessPoolExecutor(options.processes) as pool:
        for number, one in enumerate(pool.map(_one, todo), start=1):
            outcomes.append(one)
            if number % _KEPT_EVERY == 0 or number == len(todo):
                keep_outcomes(options.json, outcomes)
                print(f"{number} of {len(todo)} rollouts, {time.monotonic() - began:.0f} s", file=sys.stderr)
    print(table(outcomes), end="")
    if options.write_docs:
        write_marked(DOCUMENT, _MARK, table(outcomes))
        IMAGE.write_text(plot(curves(outcomes)), encoding="utf-8")
    return 0


def _one(which: tuple[str, int]) -> Outcome:
    name, seed = which
    return outcome(name, seed, RELEASES[name])


if __name__ == "__main__":
    sys.exit(main())
