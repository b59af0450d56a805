"""How often a rollout of a good release is stopped, and one of a bad release is not, on simulated groups.

Every rollout is one of the default plan, over a group of its own, drawn from its seed, with nuisances as
`host_tools/fleet/simulation/group.py` lists them. Whatever stops a good one, or asks a person about it, is a false alarm; a bad one
is found when it is stopped by itself in its canary stage and every device that is there has gone back. Rates come with 95 %
intervals (Wilson). Seeds are 0, 1, 2, …: anybody gets the same.

    python -m benchmarks.fleet.detection --rollouts 1000 --json out/rollouts.json
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict

from benchmarks.marked import write_marked
from host_tools.fleet.records.rollouts import RolloutPlan
from host_tools.fleet.rollout.plan_file import DEFAULT_GATES, DEFAULT_STAGES
from host_tools.fleet.simulation.candidate import GOOD, Candidate
from host_tools.fleet.simulation.rollout import SimulatedRollout, simulate_rollout
from host_tools.review.analysis.estimates import wilson_interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEVICES: Final = 1_000
GOOD_NAME: Final = "good"
CANDIDATES: Final[Mapping[str, Candidate]] = {
    GOOD_NAME: GOOD,
    "crashes on 30 % of devices, every 10 min": Candidate(crash_share=0.3, crashes_per_hour=6.0),
    "40 % slower": Candidate(slower=0.4),
    "10 % of outputs wrong (cosine 0), latency healthy": Candidate(disagreeing=0.1),
}
PLAN: Final = RolloutPlan(
    id="r", release="simulated-2", group="lab", stages=DEFAULT_STAGES, gates=DEFAULT_GATES
)
DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "rollouts.md"
ASKED: Final = "a person is asked"
NOT_OVER: Final = "not over in 48 h"
_MARK: Final = "detection"


class Outcome(TypedDict):
    """How one rollout went.

    Attributes:
        candidate: Which.
        seed: Of everything drawn.
        state: Of the rollout at the end.
        stopped_stage: Number of the stage that stopped or asked; None: none.
        by: Measure of the gate that stopped it, or ``jobs``, or `ASKED` or `NOT_OVER`; empty where it finished.
        minutes: Until it ended.
        had: Devices that ever ran the candidate.
        stuck: Devices that still run it after a rollback.
    """

    candidate: str
    seed: int
    state: str
    stopped_stage: int | None
    by: str
    minutes: int
    had: int
    stuck: int


def outcome(name: str, seed: int, candidate: Candidate) -> Outcome:
    """Simulate one rollout of the default plan."""
    plan = dataclasses.replace(PLAN, id=f"r{seed}")
    found = simulate_rollout(seed, plan, devices=DEVICES, candidate=candidate)
    return {
        "candidate": name,
        "seed": seed,
        "state": found.rollout.state,
        "stopped_stage": found.stopped_stage,
        "by": stopped_by(found),
        "minutes": found.minutes,
        "had": found.had_candidate,
        "stuck": found.have_candidate if found.rollout.state == "rolled_back" else 0,
    }


def is_alarm(one: Outcome) -> bool:
    """Say whether a rollout did not go through to its end by itself."""
    return one["state"] != "finished"


def is_found(one: Outcome) -> bool:
    """Say whether a bad release was stopped by itself in the canary stage, and taken back."""
    return one["state"] == "rolled_back" and one["stopped_stage"] == 0


def tables(outcomes: Sequence[Outcome]) -> str:
    """Return the figures as Markdown."""
    lines = [
        "| release | rollouts | stopped | 95 % | in the canary stage, taken back | 95 % | minutes to the end, median (longest) | devices that had it, median (most) | stopped by |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in CANDIDATES:
        mine = [one for one in outcomes if one["candidate"] == name]
        if not mine:
            continue
        alarms, found = sum(map(is_alarm, mine)), sum(map(is_found, mine))
        minutes, had = [one["minutes"] for one in mine], [one["had"] for one in mine]
        lines.append(
            f"| {name} | {len(mine)} | {alarms} | {rate_interval(alarms, len(mine))} | {found} | {rate_interval(found, len(mine))}"
            f" | {statistics.median(minutes):g} ({max(minutes)}) | {statistics.median(had):g} ({max(had)}) | {stops(mine)} |"
        )
    return "\n".join(lines) + "\n"


def stops(outcomes: Sequence[Outcome]) -> str:
    """Return what stopped rollouts, the most frequent first, in words."""
    by = Counter(one["by"] for one in outcomes if one["by"])
    return ", ".join(f"{measure.replace('_', ' ')} {count}" for measure, count in by.most_common())


def write_tables(outcomes: Sequence[Outcome], document: Path = DOCUMENT) -> None:
    """Put the table between its marks in the document."""
    write_marked(document, _MARK, tables(outcomes))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print the table, write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rollouts", type=int, default=1_000, help="of each candidate")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--only", choices=sorted(CANDIDATES), action="append", help="these candidates only")
    parser.add_argument(
        "--json", type=Path, help="where to keep what came out; what is there is gone on with"
    )
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/rollouts.md")
    options = parser.parse_args(arguments)
    outcomes = kept_outcomes(options.json)
    done = {(one["candidate"], one["seed"]) for one in outcomes}
    started = time.monotonic()
    for name in options.only or CANDIDATES:
        for seed in range(options.first, options.first + options.rollouts):
            if (name, seed) in done:
                continue
            outcomes.append(outcome(name, seed, CANDIDATES[name]))
            if seed % 20 == 19:
                keep_outcomes(options.json, outcomes)
                print(f"{name}: {seed + 1}, {time.monotonic() - started:.0f} s", file=sys.stderr)
    keep_outcomes(options.json, outcomes)
    print(tables(outcomes), end="")
    if options.write_docs:
        write_tables(outcomes)
    return 0


def kept_outcomes(path: Path | None) -> list[Outcome]:
    """Return what an earlier run kept; nothing where there is no file."""
    if path is None or not path.exists():
        return []
    kept: list[Outcome] = json.loads(path.read_text(encoding="utf-8"))
    return kept


def keep_outcomes(path: Path | None, outcomes: Sequence[Outcome]) -> None:
    """Keep what came out so far, for a later run to go on with."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(outcomes, indent=0) + "\n", encoding="utf-8")


def stopped_by(found: SimulatedRollout) -> str:
    """Return why a rollout did not get to its end by itself; see `Outcome`."""
    if found.rollout.state == "finished":
        return ""
    if found.stopped_stage is None:
        return NOT_OVER
    if found.rollout.state == "paused":
        return ASKED
    failed = [one.gate.measure for one in found.findings if one.outcome == "failed"]
    return failed[0] if failed else "jobs"


def rate_interval(hits: int, trials: int) -> str:
    """Return the 95 % interval of a rate (Wilson), in words."""
    low, high = wilson_interval(hits, trials)
    return f"{100 * low:.2f} to {100 * high:.2f} %"


if __name__ == "__main__":
    sys.exit(main())
