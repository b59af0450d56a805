"""Heat that lasts (``--rig-heat SECONDS``): a board that heats up by what it computes, under the agent's own policy.

The loop is closed: the sensor tells what a body with one heat capacity would have by the results that the agent has given, with noise on
it. At full rate it would end far above the pause, so that only fewer frames keep it below. A policy that flaps takes its measure again as
often as the body warms up; one that comes too late, or gives too much back at once, overshoots.

Seconds are the agent's: the body takes its next step once the agent has told the temperature of the one before, by as much time as passed
on its clock. So nobody is too late because this machine, the network or the board does other things. All intervals are stretched to what
telling a temperature and hearing of it takes here.

Source: Newton's law of cooling, dT/dt = (T_end - T) / tau, where T_end rises with the share of the full rate.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
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
WINDOWS = 4.0
"""Of telemetry, in the shortest hold."""
TURNS = 2.0
"""A hold has time for so many, at least: a turn is that the sensor tells a temperature, and the agent is heard to tell it."""
TURNS_TIMED = 5
MOST_DOUBLED = 16.0
"""The policy's longest hold, in holds."""
NEAR_CELSIUS = 0.3
"""A sensor that tells half degrees tells a temperature so near."""
TOLD_SECONDS = 120.0
"""Until the agent has told a temperature."""
FULL_RATE_HZ = 50.0
OVERSHOOT_CELSIUS = 8.0
"""Above the first threshold: what it gains while the policy takes three reads, and windows of fewer frames follow."""
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
    hold = request.config.getoption("--rig-heat") * slowness / HOLDS
    rate = FULL_RATE_HZ / slowness
    agent.rig.thermal.set_celsius(AMBIENT_CELSIUS)
    agent.start(
        source={"kind": "null", "rate_hz": rate}, telemetry={"interval_seconds": max(0.1, hold / WINDOWS)}
    )
    hold = max(hold, TURNS * usual_turn(agent))
    rate = min(rate, usual_rate(agent))
    assert agent.stop() == 0
    agent.start(
        heat={
            "slow_celsius": SLOW_CELSIUS,
            "slow_rate_hz": rate * SLOW_SHARE,
            "pause_celsius": PAUSE_CELSIUS,
            "hysteresis_celsius": HYSTERESIS_CELSIUS,
            "hold_seconds": hold,
            "interval_seconds": max(0.1, hold / READS),
        },
    )
    seconds = hold * HOLDS
    body = HeatedBody(tau_seconds=seconds / TIME_CONSTANTS)
    spent = heat(agent, body, seconds=seconds, rate=rate, longest_step=hold / TURNS)
    assert agent.stop() == 0
    agent.wait_for(lambda: agent.said.missing_count == 0, what="every message", ended=True)
    agent.rig.thermal.set_celsius(AMBIENT_CELSIUS)
    times, celsius = ([point[part] for point in body.curve] for part in (0, 1))
    windows = [window for window in agent.windows if window.envelope.boot_id == running(agent)]
    begin = windows[0].envelope.uptime_seconds
    hil_record.add_series("Temperature of the body", unit="°C", lines=[("body", times, celsius)])
    hil_record.add_series(
        "Inferences a second",
        unit="1/s",
        lines=[
            (
                "main",
                [window.envelope.uptime_seconds - begin for window in windows],
                [window.throughput_per_second or 0.0 for window in windows],
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
        high=most_often(spent / hold),
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
    measure(
        "hold", hold, "s", note=f"at least {TURNS:g} times what it takes to tell a temperature and hear of it"
    )
    measure("messages_missing", agent.said.missing_count, "1", high=0)
    assert set(taken) == {"slow"}, "it never had to pause"
    assert not agent.events("heat_unknown")


def usual_turn(agent: Agent) -> float:
    """Tell temperatures that are too low to matter; return the median time from one to the next, on the agent's clock."""
    told = [tell(agent, AMBIENT_CELSIUS, after=0.0)]
    for turn in range(TURNS_TIMED):
        told.append(tell(agent, AMBIENT_CELSIUS + 1.0 + turn, after=told[-1]))
    return median(later - one for one, later in pairwise(told))


def usual_rate(agent: Agent) -> float:
    """Return how many inferences a second it made so far.

    Not in its best window: on a busy machine that is far above the others, and by its rate the body would never get hot.
    """
    seconds: float = sum(window.window_seconds for window in agent.windows)
    return sum(window.latency_count for window in agent.windows) / seconds


def heat(agent: Agent, body: HeatedBody, *, seconds: float, rate: float, longest_step: float) -> float:
    """Heat the body by what the agent computes, as its telemetry tells it, and let the sensor tell the body's temperature.

    Args:
        agent: Whose telemetry that is.
        body: What is heated.
        seconds: For how long.
        rate: Inferences a second that heat it most.
        longest_step: A turn that takes longer is one of so many seconds to the body.

    Returns:
        How many seconds passed for the agent.
    """
    noise = random.Random(SEED)  # noqa: S311  no secret: it is to be the same again
    begin = before = tell(agent, body.celsius, after=0.0)
    passed = 0.0
    while passed < seconds:
        now = tell(agent, body.celsius + noise.uniform(-NOISE_CELSIUS, NOISE_CELSIUS), after=before)
        step = min(now - before, longest_step)
        share = min(1.0, (agent.windows[-1].throughput_per_second or 0.0) / rate)
        passed += step
        body.curve.append((passed, body.pass_time(step, share=share)))
        before = now
    return before - begin


def tell(agent: Agent, celsius: float, *, after: float) -> float:
    """Let the sensor tell a temperature; return at which uptime, later than ``after``, the agent was heard to tell it."""
    agent.rig.thermal.set_celsius(celsius)

    def told() -> float:
        sample = agent.said.thermal[-1] if agent.said.thermal else None
        if sample is None or sample.envelope.boot_id != running(agent):
            return 0.0
        is_near = any(
            reading.value is not None and abs(reading.value - celsius) < NEAR_CELSIUS
            for reading in sample.readings
            if reading.name.endswith("_celsius")
        )
        uptime = sample.envelope.uptime_seconds
        return uptime if is_near and uptime > after else 0.0

    # Whether it still runs is not asked: over a slow way that takes longer than the answer.
    found: float = agent.wait_for(
        told, what=f"the agent tells {celsius:.1f} °C", seconds=TOLD_SECONDS, ended=True
    )
    return found


def running(agent: Agent) -> str:
    """Return which start of the agent was heard last."""
    birth = agent.said.birth
    return birth.envelope.boot_id if birth else ""


def most_often(holds: float) -> int:
    """Return how often a policy that doubles its hold can take a measure in so many of them: after 1, 2, 4 … 16, 16, 16 more."""
    taken, passed, hold = 0, 0.0, 1.0
    while passed < holds:
        taken, passed, hold = taken + 1, passed + hold, min(2.0 * hold, MOST_DOUBLED)
    return taken
