"""What a poll over hawkBit's DDI costs the server, by the size of the fleet: counted, not timed, so that it is the same on every machine.

A fleet is made in SQLite: ten groups, each with a finished rollout that had a job for every device; in one of them a rollout runs that has
all of it. One of its devices polls over HTTP, in this process. Statements are those that reach the database, for the token
as well; steps are those of SQLite's virtual machine, which grow with every row that is looked at.

    python -m benchmarks.fleet.polls --write-docs
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
from sqlalchemy import Engine, event

from benchmarks.fleet.by_size import Clock, parser_by_size, tell
from host_tools.fleet.ddi.door import DdiSettings
from host_tools.fleet.ddi.tokens import make_ddi_token
from host_tools.fleet.outside import NoField
from host_tools.fleet.records.devices import Device, Group, Provides
from host_tools.fleet.records.jobs import Job
from host_tools.fleet.records.rollouts import RolloutPlan, Stage
from host_tools.fleet.serve.application import application
from host_tools.fleet.serve.limits import Limits, Rate
from host_tools.fleet.service import FleetService
from host_tools.fleet.simulation.fixtures import BEGIN, NEW, OLD, PROFILE, new_rollout, release_of
from host_tools.fleet.store.opening import open_store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastapi import FastAPI

    from host_tools.fleet.store.fleet_store import FleetStore

GROUPS: Final = 10
DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "hawkbit.md"
_MARK: Final = "polls"
_WIDE: Final = Rate(per_second=1e6, burst=1e6)
_POLL_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one request took: statements, and steps of SQLite's virtual machine."""

    statements: int
    steps: int


class Counting:
    """Counts for as long as it is entered; the connections of the store must be opened meanwhile."""

    def __init__(self) -> None:
        self.statements = self.steps = 0

    def __enter__(self) -> Counting:
        event.listen(Engine, "connect", self._connected)
        event.listen(Engine, "before_cursor_execute", self._executes)
        return self

    def __exit__(self, *_: object) -> None:
        event.remove(Engine, "connect", self._connected)
        event.remove(Engine, "before_cursor_execute", self._executes)

    def take(self) -> Cost:
        """Return what was counted since the last time."""
        cost = Cost(statements=self.statements, steps=self.steps)
        self.statements = self.steps = 0
        return cost

    def _connected(self, connection: Any, _record: object) -> None:
        connection.set_progress_handler(self._step, 1)

    def _step(self) -> int:
        self.steps += 1
        return 0

    def _executes(self, *_: object) -> None:
        self.statements += 1


def measure(devices: int) -> dict[str, Cost]:
    """Make a fleet, and count four polls of one device."""
    with tempfile.TemporaryDirectory() as folder:
        address, clock = str(Path(folder) / "fleet.db"), Clock()
        making = open_store(address, wall_seconds=clock)
        secret = _fill(making, devices)
        making.close()
        with Counting() as counting:
            store = open_store(address, wall_seconds=clock)
            app = application(
                FleetService(store, NoField()),
                limits=Limits(requests=_WIDE, refusals=_WIDE),
                ddi=DdiSettings(repository=Path(folder)),
            )
            polled = {}
            for what, waits in (
                ("an action is made", _POLL_SECONDS),
                ("the same action again", _POLL_SECONDS),
                ("a second later", 1.0),
            ):
                clock.seconds += waits
                counting.take()
                _poll(app, secret)
                polled[what] = counting.take()
            with store.writing() as book:
                book.rollouts.save(replace(book.rollouts.get("running"), state="aborted"))
                book.jobs.put([replace(book.jobs.get("running", _NAME), state="closed", result="success")])
                book.ddi_actions.end(1, "success", now_seconds=book.now_seconds)
                book.devices.put(replace(book.devices.get(_NAME)), now_seconds=book.now_seconds)
            clock.seconds += _POLL_SECONDS
            counting.take()
            _poll(app, secret)
            polled["nothing to do"] = counting.take()
            store.close()
    return polled


_NAME: Final = "d0000000"


def _fill(store: FleetStore, devices: int) -> str:
    """Make devices, groups, rollouts and jobs; return a token of the first device."""
    stage = Stage(name="all", share_ppm=1_000_000)
    plan = RolloutPlan(id="running", release="simulated-2", group="g0000", stages=(stage,))
    with store.writing() as book:
        book.releases.add(release_of(plan))
        size = -(-devices // GROUPS)
        for number in range(0, devices, size):
            group = f"g{number // size:04d}"
            rollout = new_rollout(replace(plan, id=f"done-{group}", group=group))
            book.groups.add(Group(name=group, artifacts=rollout.previous, created_seconds=BEGIN))
            book.rollouts.add(replace(rollout, state="finished"))
            names = [f"d{one:07d}" for one in range(number, min(number + size, devices))]
            provides = Provides(targets=(PROFILE,))
            book.devices.add(
                [Device(id=name, group=group, provides=provides, artifact=OLD) for name in names]
            )
            book.jobs.add([_job(rollout.plan.id, name, is_done=True) for name in names])
            if not number:
                running = replace(rollout, plan=plan, state="running", changed_seconds=BEGIN + 1)
                book.rollouts.add(running)
                book.jobs.add([_job("running", name, is_done=False) for name in names])
        return make_ddi_token(book, "target", _NAME, actor="benchmark")


def _job(rollout: str, device: str, *, is_done: bool) -> Job:
    return Job(
        rollout=rollout,
        device=device,
        stage=0,
        state="closed" if is_done else "scheduled",
        result="success" if is_done else "none",
        wanted=OLD if is_done else NEW,
        previous=OLD,
        created_seconds=BEGIN,
        changed_seconds=BEGIN,
    )


def _poll(app: FastAPI, secret: str) -> None:
    async def answered() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://fleet.test") as client:
            return await client.get(
                f"/DEFAULT/controller/v1/{_NAME}", headers={"Authorization": f"TargetToken {secret}"}
            )

    answer = asyncio.run(answered())
    if answer.status_code != httpx.codes.OK:
        raise RuntimeError(f"the poll was answered {answer.status_code}: {answer.text}")


def table(costs: dict[int, dict[str, Cost]]) -> str:
    """Return the figures as Markdown: statements / steps."""
    polls = list(next(iter(costs.values())))
    lines = ["| devices | " + " | ".join(polls) + " |", "|---" * (len(polls) + 1) + "|"]
    for devices, one in costs.items():
        cells = (f"{cost.statements} / {cost.steps:,}" for cost in one.values())
        lines.append(f"| {devices:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Count for every size, print the table."""
    options = parser_by_size((__doc__ or "").splitlines()[0], document=DOCUMENT).parse_args(arguments)
    costs = {size: measure(size) for size in options.sizes}
    figures = {size: {what: asdict(cost) for what, cost in one.items()} for size, one in costs.items()}
    tell(figures, table(costs), options, document=DOCUMENT, mark=_MARK)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
