"""A temperature that rises and falls: the agent slows down, pauses, and goes on, and tells each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hil.scenario.parse import load_scenario
from hil.scenario.run import run_scenario

if TYPE_CHECKING:
    from hil.agent import Agent
    from hil.broker import Broker
    from hil.plugin.fixtures import Measure
    from hil.plugin.record import TestRecord

LEAST_WINDOW_SECONDS = 0.25
"""The window that the agent's end cuts short says nothing of the rate."""
SCENARIO = Path(__file__).with_name("hot_afternoon.toml")


@pytest.mark.needs("thermal", "meter", "network")
def test_a_board_that_gets_hot_slows_down_pauses_and_recovers(
    agent: Agent, broker: Broker, measure: Measure, hil_record: TestRecord
) -> None:
    outcome = run_scenario(load_scenario(SCENARIO), agent, broker, slowness=agent.rig.board.section.slowness)
    windows = [window for window in agent.windows if window.window_seconds > LEAST_WINDOW_SECONDS]
    begin = windows[0].envelope.time if windows else 0.0
    times = [window.envelope.time - begin for window in windows]
    rates = [window.throughput_per_second or 0.0 for window in windows]
    hil_record.add_series(
        "Temperature that the board told", unit="°C", lines=[("cpu-thermal", *zip_out(outcome.temperatures))]
    )
    hil_record.add_series("Inferences a second", unit="1/s", lines=[("main", times, rates)])
    assert outcome.unmet == []
    taken = [str(event.details["measures"]) for event in agent.events("heat_measures_taken")]
    lifted = [str(event.details["measures"]) for event in agent.events("heat_measures_lifted")]
    assert taken == ["slow", "slow,pause"]
    assert lifted == ["slow", ""]
    measure("lowest_rate", min(rates), "1/s", high=5.0, note="it paused for a while")
    measure("messages_missing", outcome.missing_messages, "1", high=0)


def zip_out(points: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Return the times and the values."""
    return [at for at, _ in points], [value for _, value in points]
