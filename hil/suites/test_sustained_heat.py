"""Heat that lasts (``--rig-heat SECONDS``): a board that heats up by what it computes, under the agent's own policy.

The loop is closed: the sensor tells what a body with one heat capacity would have by the results that the agent has given, with noise on
it. At full rate it would end far above the pause, so that only fewer frames keep it below. A policy that flaps takes its measure again as
often as the body warms up; one that comes too late, or gives too much back at once, overshoots.

Source: Newton's law of cooling, dT/dt = (T_end - T) / tau, where T_end rises with the share of the full rate.
"""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hil.agent import Agent
    from hil.plugin.fixtures import Measure
    from hil.plugin.record import TestRecord

AMBIENT_CELSIUS = 40.0
FULL_CELSIUS = 95.0
"""Where it would end at the full rate."""
SLOW_CELSIUS, PAUSE_CELSIUS, HYSTERESIS_CELSIUS = 70.0, 85.0, 5.0
SLOW_SHARE = 0.25
"""Of the full rate: it ends at 53.75 °C then, below the hysteresis."""
NOISE_CELSIUS = 0.5
"""Either way, evenly; the policy's median of three takes most of it."""
TIME_CONSTANTS = 10.0
"""How many of them the test lasts."""
HOLDS = 60.0
"""How many times the policy's hold it lasts."""
READS = 10.0
"""Of the temperature, in a hold."""
FULL_RATE_HZ = 50.0
OVERSHOOT_CELSIUS = 8.0
"""Above the first threshold: what it gains while the policy takes three reads, and this machine hears of it."""
SEED = 7


@dataclass(slots=True)
class HeatedBody:
    """A body that takes the temperature to which it is heated, as fast as its time constant says.

    Args:
        tau_seconds: The time constant.
    """

    tau_seconds: float
    celsius: float = AMBIENT_CELSIUS
    curve: list[tuple[float, float]] = field(default_factory=list)

    def pass_time(self, seconds: float, *, share: float) -> float:
        """Let it be heated by a share of the full rate for so long; return its temperature then."""
        end = AMBIENT_CELSIUS + (FULL_CELSIUS - AMBIENT_CELSIUS) * share
        self.celsius = end + (self.celsius - end) * math.exp(-seconds / self.tau_seconds)
        return self.celsius


@pytest.mark.needs("thermal", "network")
def test_heat_that_lasts_neither_flaps_nor_overshoots(
    agent: Agent, measure: Measure, hil_record: TestRecord, request: pytest.FixtureRequest
) -> None:
    slowness = agent.rig.board.section.slowness
    seconds = request.config.getoption("--rig-heat") * slowness
    hold, rate = seconds / HOLDS, FULL_RATE_HZ / slowness
    agent.rig.thermal.set_celsius(AMBIENT_CELSIUS)
    agent.start(
        source={"kind": "null", "rate_hz": rate},
        telemetry={"interval_seconds": max(0.1, hold / 4)},
        heat={
            "slow_celsius": SLOW_CELSIUS,
            "slow_rate_hz": rate * SLOW_SHARE,
            "pause_celsius": PAUSE_CELSIUS,
            "hysteresis_celsius": HYSTERESIS_CELSIUS,
            "hold_seconds": hold,
            "interval_seconds": max(0.1, hold / READS),
        },
    )
    body = HeatedBody(tau_seconds=seconds / TIME_CONSTANTS)
    heat(agent, body, seconds=seconds, rate=rate)
    assert agent.stop() == 0
    agent.rig.thermal.set_celsius(AMBIENT_CELSIUS)
    times, celsius = ([point[part] for point in body.curve] for part in (0, 1))
    begin = agent.windows[0].envelope.uptime_seconds
    hil_record.add_series("Temperature of the body", unit="°C", lines=[("body", times, celsius)])
    hil_record.add_series(
        "Inferences a second",
        unit="1/s",
        lines=[
            (
                "main",
                [window.envelope.uptime_seconds - begin for window in agent.windows],
                [window.throughput_per_second or 0.0 for window in agent.windows],
            )
        ],
    )
    taken = [str(event.details["measures"]) for event in agent.events("heat_measures_taken")]
    measure(
        "highest", max(celsius), "°C", low=SLOW_CELSIUS, high=SLOW_CELSIUS + OVERSHOOT_CELSIUS, margin=1.0
    )
    measure(
        "measures_taken",
        len(taken),
        "1",
        low=1,
        high=most_often(HOLDS),
        note="a policy that flaps takes one every time that it is warm",
    )
    settled = [value for at, value in body.curve if at > seconds / 2]
    measure(
        "lowest_of_the_second_half",
        min(settled),
        "°C",
        low=AMBIENT_CELSIUS,
        note="as hot as it may be, not colder than it must",
    )
    measure("messages_missing", agent.said.missing_count, "1", high=0)
    assert set(taken) == {"slow"}, "it never had to pause"
    assert not agent.events("heat_unknown")


def heat(agent: Agent, body: HeatedBody, *, seconds: float, rate: float) -> None:
    """Heat the body by what the agent computes, as its telemetry tells it, and let the sensor tell the body's temperature."""
    noise = random.Random(SEED)  # noqa: S311  no secret: it is to be the same again
    begin = before = time.monotonic()
    while (now := time.monotonic()) < begin + seconds:
        share = min(1.0, (agent.windows[-1].throughput_per_second or 0.0) / rate)
        celsius = body.pass_time(now - before, share=share)
        body.curve.append((now - begin, celsius))
        agent.rig.thermal.set_celsius(celsius + noise.uniform(-NOISE_CELSIUS, NOISE_CELSIUS))
        before = now
        agent.listen_for(seconds / HOLDS / READS)


def most_often(holds: float) -> int:
    """Return how often a policy that doubles its hold can take a measure in so many of them: holds of 1, 2, 4 … fill the time."""
    return math.ceil(math.log2(holds + 1.0)) + 1
