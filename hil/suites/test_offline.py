"""No network for a while, by a clock that runs faster: a window of a tenth of a second stands for one of ten."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hil.scenario.run import totals

if TYPE_CHECKING:
    from hil.agent import Agent
    from hil.plugin.fixtures import Measure
    from hil.rig import Rig

WINDOW_SECONDS = 0.1
OFFLINE_SECONDS = 3.0
UNDERWAY_SECONDS = 1.0
"""What was on its way has come by then."""


@pytest.mark.needs("network")
@pytest.mark.parametrize("how", ["cut", "silent"])
def test_what_happened_while_the_network_was_away_arrives_whole(
    rig: Rig, agent: Agent, measure: Measure, how: str
) -> None:
    agent.start(
        telemetry={"interval_seconds": WINDOW_SECONDS},
        mqtt={"max_messages_per_second": 100_000.0, "ack_timeout_seconds": 1.0},
    )
    for link in rig.network.links():
        link.cut() if how == "cut" else link.fall_silent()
    agent.listen_for(UNDERWAY_SECONDS)
    before = len(agent.windows)
    agent.listen_for(OFFLINE_SECONDS)
    assert len(agent.windows) == before, "nothing comes through"
    for link in rig.network.links():
        link.mend()
    least = int(0.6 * OFFLINE_SECONDS / WINDOW_SECONDS)
    agent.wait_for(
        lambda: len(agent.windows) >= before + least, what=f"{least} windows of the time without a network"
    )
    assert agent.stop() == 0
    agent.wait_for(lambda: agent.said.missing_count == 0, what="every message", seconds=60.0, ended=True)
    in_order = sorted(agent.windows, key=lambda window: window.envelope.seq)
    counted = sum(window.latency_count for window in in_order)
    measure("windows_of_the_outage", len(in_order) - before, "1", low=least)
    measure("messages_missing", agent.said.missing_count, "1", high=0)
    measure("inferences_not_told", totals(agent)[0] - counted, "1", low=0, high=0)
    assert not agent.events("telemetry_lost")
