"""Latency as MLPerf's single stream has it (one frame after another, warm-up by count and time, no percentile from too few), and energy.

What was measured while the processor was throttled is invalid, and not slow: the test is then skipped with that reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hil.latency import MLPERF_COUNTS, after_warm_up, latency_of
from hil.throttling import throttled_by

if TYPE_CHECKING:
    from hil.agent import Agent
    from hil.plugin.fixtures import Measure
    from hil.plugin.record import TestRecord
    from hil.rig import Rig

WARM_UP_COUNT = 100
WARM_UP_SECONDS = 1.0
LEAST_SECONDS = 2.0
MOST_SECONDS = 20.0
WATTS = 4.0
BACK_TO_BACK = {"kind": "null", "rate_hz": 0.0}


def measure_long_enough(agent: Agent) -> float:
    """Let it run until there are enough inferences for MLPerf's 90th percentile, or time is up; return what was taken in."""
    elapsed = 0.0
    while elapsed < MOST_SECONDS:
        agent.listen_for(0.5)
        elapsed += 0.5
        kept, _ = after_warm_up(agent.windows, count=WARM_UP_COUNT, seconds=WARM_UP_SECONDS)
        if elapsed >= LEAST_SECONDS and sum(one.latency_count for one in kept) >= MLPERF_COUNTS[0.9]:
            break
    return elapsed


def test_latency_of_one_frame_after_another(agent: Agent, measure: Measure, hil_record: TestRecord) -> None:
    agent.start(source=BACK_TO_BACK)
    measure_long_enough(agent)
    assert agent.stop() == 0
    slowed = throttled_by(agent.said.thermal)
    if slowed:
        pytest.skip(f"invalid: the processor was throttled meanwhile ({', '.join(slowed)})")
    windows, warm_up = after_warm_up(agent.windows, count=WARM_UP_COUNT, seconds=WARM_UP_SECONDS)
    latency = latency_of(windows, warm_up_count=warm_up)
    reached = (
        f"MLPerf's count for p{latency.meets_mlperf * 100:g}" if latency.meets_mlperf else "no MLPerf count"
    )
    measure(
        "latency_count",
        latency.count,
        "1",
        low=1,
        note=f"{warm_up} before it were warm-up; {reached} is reached",
    )
    for one in latency.percentiles:
        name = f"latency_p{one.share * 100:g}".replace(".", "_")
        measure(
            name,
            one.value * 1e3,
            "ms",
            note=f"95 % confidence: {one.low * 1e3:.4g} to {one.high * 1e3:.4g} ms",
        )
        assert one.low <= one.value <= one.high
    measure("latency_mean", latency.mean * 1e3, "ms")
    begin = agent.windows[0].envelope.uptime_seconds
    hil_record.add_series(
        "Latency of every window",
        unit="ms",
        lines=[
            (
                label,
                [window.envelope.uptime_seconds - begin for window in windows],
                [1e3 * (getattr(window, field) or 0.0) for window in windows],
            )
            for label, field in (("p50", "latency_p50_seconds"), ("p99", "latency_p99_seconds"))
        ],
    )


@pytest.mark.needs("thermal")
def test_figures_taken_while_it_is_throttled_are_found_out(rig: Rig, agent: Agent) -> None:
    rig.thermal.set_throttled(is_throttled=True)
    try:
        agent.start(source=BACK_TO_BACK)
        agent.wait_for(lambda: throttled_by(agent.said.thermal), what="a reading that tells the throttling")
        assert agent.stop() == 0
    finally:
        rig.thermal.set_throttled(is_throttled=False)


@pytest.mark.needs("meter")
def test_energy_of_an_inference_is_what_the_meter_says(rig: Rig, agent: Agent, measure: Measure) -> None:
    rig.meter.set_watts(WATTS)
    agent.start(source={"kind": "null", "rate_hz": 40.0})

    def told() -> list[float]:
        return [
            reading.value
            for sample in agent.said.power
            for reading in sample.readings
            if reading.name == "inference_gross_joules" and reading.value is not None
        ]

    agent.wait_for(lambda: len(told()) >= 4, what="energy of four windows")
    assert agent.stop() == 0
    energy = sorted(told())[len(told()) // 2]
    per_second = sorted(window.throughput_per_second or 0.0 for window in agent.windows)[
        len(agent.windows) // 2
    ]
    measure("inference_energy", energy, "J", low=0.0)
    measure(
        "energy_against_meter",
        energy * per_second / WATTS,
        "1",
        low=0.8,
        high=1.25,
        margin=0.05,
        note=f"energy of an inference times inferences a second, by the {WATTS:g} W that the meter told",
    )
