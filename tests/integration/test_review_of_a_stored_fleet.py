"""A simulated fleet's messages through ingest's rows into a real store, and the review of that store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from host_tools.review.analysis.review import review_fleet
from host_tools.review.ingest.batching import Collector, joined
from host_tools.review.ingest.rows import rows_of
from host_tools.review.simulation.boards import BOARDS
from host_tools.review.simulation.fleet import SimulatedFleet
from host_tools.review.simulation.messages import messages
from host_tools.review.simulation.plan import FleetPlan
from host_tools.review.simulation.store import SimulatedStore
from host_tools.review.simulation.truth import Injection
from host_tools.review.store.duckdb_engine import DuckDbEngine
from host_tools.review.store.opening import opened
from host_tools.review.store.windows import Level, Selection

DAY = 86400.0
PLAN = FleetPlan(
    devices=10,
    days=2.5,
    boards=BOARDS[:1],
    rollout_at=1.25 * DAY,
    injections=(
        Injection(fault="latency", size=0.08, with_artifact=1),
        Injection(fault="silent", share=0.1, since=2 * DAY),
    ),
)


def test_what_was_made_wrong_is_found_in_a_store_of_its_messages() -> None:
    fleet = SimulatedFleet(4, PLAN)
    store = opened(DuckDbEngine(Path(":memory:"), threads=1))
    try:
        collector = Collector()
        said = 0
        for at, device, message in messages(fleet):
            collector.add(device, rows_of(message, name=""), received=at, retained=False)
            said += 1
        assert store.write(joined([collector.take()])).messages == said
        store.roll_up()
        span = Selection(start=PLAN.start, end=PLAN.end + 1.0)  # the last windows end on the hour
        table = store.windows(span, level=Level.HOUR, by=("device", "artifact"))
        simulated = SimulatedStore(fleet).windows(span, level=Level.HOUR, by=("device", "artifact"))
        assert table.key("device").tolist() == simulated.key("device").tolist()
        assert np.array_equal(table.inferences, simulated.inferences)
        assert np.array_equal(table.hist.counts, simulated.hist.counts)
        assert table.energy_joules == pytest.approx(simulated.energy_joules)
        review = review_fleet(store, span)
    finally:
        store.close()
    regression = next(one for one in review.findings if one.kind == "regression")
    assert regression.effect is not None
    assert regression.effect.low < 0.08 < regression.effect.high
    silent = {name for one in review.findings if one.kind == "silent" for name in one.devices}
    assert silent == fleet.truth.affected("silent")
    assert {one.kind for one in review.findings} <= {"regression", "silent", "change_point"}
