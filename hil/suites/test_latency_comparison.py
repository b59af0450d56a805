"""Two artifacts on one board (``--rig-artifact A --rig-against B``), in rounds A B A B … A; the same tests whether A differs from itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hil.artifact import describe, open_artifact
from hil.comparison import LEAST_ROUNDS, compare
from hil.latency import after_warm_up, latency_of
from hil.throttling import throttled_by

if TYPE_CHECKING:
    from collections.abc import Callable

    from device_agent.contract.archive import ArtifactArchive
    from device_agent.contract.telemetry.measurements import InferenceWindow
    from hil.agent import Agent
    from hil.latency import Latency
    from hil.plugin.fixtures import Measure
    from hil.plugin.record import TestRecord

WARM_UP_COUNT, WARM_UP_SECONDS = 20, 0.3
LEAST_INFERENCES = 100
"""Of a round, after its warm-up."""
LONGEST_ROUND_SECONDS = 120.0


@pytest.fixture
def against(request: pytest.FixtureRequest) -> ArtifactArchive:
    """Return the artifact of ``--rig-against``, every member checked."""
    named = request.config.getoption("--rig-against")
    if named is None:
        pytest.skip("nothing to compare with: say pytest --rig-against FILE")
    return open_artifact(Path(named))


@pytest.mark.needs("network")
def test_latency_of_two_artifacts_in_turn(
    make_agent: Callable[..., Agent],
    artifact: ArtifactArchive,
    against: ArtifactArchive,
    measure: Measure,
    hil_record: TestRecord,
    request: pytest.FixtureRequest,
) -> None:
    rounds = max(LEAST_ROUNDS, request.config.getoption("--rig-rounds"))
    agents = [make_agent(artifact=artifact), make_agent(artifact=against)]
    of: list[list[Latency]] = [[], []]
    for turn in range(2 * rounds + 1):
        of[turn % 2].append(one_round(agents[turn % 2]))
    p50 = [[one.percentiles[0].value for one in side] for side in of]
    found = compare(*p50)
    hil_record.add_series(
        "Median latency of every round",
        unit="ms",
        lines=[
            (
                label,
                [2.0 * number + side for number in range(len(p50[side]))],
                [1e3 * one for one in p50[side]],
            )
            for side, label in enumerate(("A", "B"))
        ],
    )
    note = f"A: {describe(artifact.manifest)}; B: {describe(against.manifest)}"
    measure("rounds", found.rounds, "1", low=LEAST_ROUNDS, note=note)
    measure(
        "latency_ratio",
        found.ratio,
        "1",
        note=f"B to A, 95 % confidence: {found.low:.4g} to {found.high:.4g}; they {'differ' if found.differs else 'do not differ'}",
    )
    measure("latency_ratio_low", found.low, "1")
    measure("latency_ratio_high", found.high, "1", high=request.config.getoption("--rig-slower-at-most"))


def one_round(agent: Agent) -> Latency:
    """Start an agent, take figures of one frame after another, and stop it; a throttled round makes all of them invalid."""
    before = len(agent.windows)

    def kept() -> tuple[list[InferenceWindow], int]:
        return after_warm_up(agent.windows[before:], count=WARM_UP_COUNT, seconds=WARM_UP_SECONDS)

    agent.start(source={"kind": "null", "rate_hz": 0.0}, telemetry={"interval_seconds": 0.2})
    agent.wait_for(
        lambda: sum(window.latency_count for window in kept()[0]) >= LEAST_INFERENCES,
        what=f"{LEAST_INFERENCES} inferences after the warm-up",
        seconds=LONGEST_ROUND_SECONDS,
    )
    assert agent.stop() == 0
    windows, warm_up = kept()
    boot = windows[-1].envelope.boot_id
    slowed = throttled_by(sample for sample in agent.said.thermal if sample.envelope.boot_id == boot)
    if slowed:
        pytest.skip(f"invalid: the processor was throttled meanwhile ({', '.join(slowed)})")
    return latency_of(windows, warm_up_count=warm_up)
