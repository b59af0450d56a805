"""What the last stage of a rollout costs the fleet's server: its beginning, and a round while it runs, with the real database.

A group is made in SQLite, in a file; its canary stage (1 %) has passed. Then the server makes a round, in which the last stage begins: every
device is read, its job is thought out and written, in one transaction. After that come rounds in which nothing happens. Seconds are of the
processor, of this process, the database's own among them; what the disk takes is not. Nothing is signed, no gate is looked at, nobody asks.

    python -m benchmarks.fleet.stage_start --write-docs
"""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.fleet.by_size import Clock, parser_by_size, tell
from host_tools.fleet.outside import NoField, always
from host_tools.fleet.records.devices import Device, Group, Provides
from host_tools.fleet.records.rollouts import RolloutPlan, Stage
from host_tools.fleet.service import FleetService
from host_tools.fleet.simulation.fixtures import BEGIN, OLD, PROFILE, new_rollout, release_of
from host_tools.fleet.store.opening import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from host_tools.fleet.rollout.wanted import Wanted
    from host_tools.fleet.store.fleet_store import FleetStore

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "rollouts.md"
_MARK: Final = "stage-start"
_ROUNDS: Final = 5
_PLAN: Final = RolloutPlan(
    id="r1",
    release="simulated-2",
    group="lab",
    stages=(
        Stage(name="canary", share_ppm=10_000, soak_seconds=0.0),
        Stage(name="all", share_ppm=1_000_000, soak_seconds=0.0),
    ),
    gates=(),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What the last stage took.

    Attributes:
        devices: Of the group.
        jobs: That its beginning made.
        begin_seconds: Of the processor, for the round in which it began.
        round_seconds: For a later round, the median of `_ROUNDS`.
        slowest_round_seconds: The longest of those.
        database_bytes: Of the file when it had begun.
    """

    devices: int
    jobs: int
    begin_seconds: float
    round_seconds: float
    slowest_round_seconds: float
    database_bytes: int


class _Signed(NoField):
    """Takes what shall be signed as signed."""

    def publish(
        self, group: str, wanted: Wanted, *, ask_anew: bool, is_current: Callable[[], bool] = always
    ) -> None:
        """Do nothing."""


def measure(devices: int, folder: Path) -> Cost:
    """Make a group, bring its rollout to the last stage, and measure."""
    clock, file = Clock(), folder / f"{devices}.db"
    store = open_store(str(file), wall_seconds=clock)
    service = FleetService(store, _Signed())
    try:
        _fill(store, devices)
        service.order("r1", "submit", actor="benchmark")
        service.round()
        with store.writing() as book:
            for batch in book.jobs.open_in("r1"):
                book.jobs.put([replace(job, state="closed", result="success") for job in batch])
        clock.seconds += 1.0
        begin = _processor_seconds(service.round)
        clock.seconds += 60.0  # else devices that were placed a moment ago are looked at again
        rounds = [_processor_seconds(service.round) for _ in range(_ROUNDS)]
        with store.reading() as book:
            jobs = book.jobs.counts("r1", stages=2)[1].total
    finally:
        store.close()
    return Cost(
        devices=devices,
        jobs=jobs,
        begin_seconds=begin,
        round_seconds=statistics.median(rounds),
        slowest_round_seconds=max(rounds),
        database_bytes=file.stat().st_size,
    )


def _fill(store: FleetStore, devices: int) -> None:
    rollout = new_rollout(_PLAN)
    with store.writing() as book:
        book.releases.add(release_of(_PLAN))
        book.groups.add(Group(name="lab", artifacts=rollout.previous, created_seconds=BEGIN))
        book.rollouts.add(rollout)
        provides = Provides(targets=(PROFILE,))
        book.devices.add(
            [
                Device(
                    id=f"d{number:07d}",
                    group="lab",
                    provides=provides,
                    artifact=OLD,
                    added_seconds=BEGIN - 86_400.0,
                )
                for number in range(devices)
            ]
        )


def _processor_seconds(do: Callable[[], None]) -> float:
    before = time.process_time()
    do()
    return time.process_time() - before


def table(costs: Sequence[Cost]) -> str:
    """Return the figures as Markdown."""
    lines = [
        "| devices | jobs that begin | processor s of their beginning | µs a job | processor ms of a round then, median (longest) | bytes of the database a device |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {one.devices:,} | {one.jobs:,} | {one.begin_seconds:.3g} | {1e6 * one.begin_seconds / one.jobs:.3g} | "
        f"{1e3 * one.round_seconds:.3g} ({1e3 * one.slowest_round_seconds:.3g}) | {one.database_bytes / one.devices:,.0f} |"
        for one in costs
    ]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure every size, print the table."""
    options = parser_by_size((__doc__ or "").splitlines()[0], document=DOCUMENT).parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        costs = [measure(size, Path(folder)) for size in options.sizes]
    tell([asdict(one) for one in costs], table(costs), options, document=DOCUMENT, mark=_MARK)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
