"""No network for a while, and no broker for a day (``--rig-offline-windows N``), by clocks that are hurried.

Hurried is the agent's own time, so that it is asked what a day asks of it: windows of ten seconds, attempts to connect, pauses and commits
as they are on a device, in minutes. How fast it may go the machine decides: a window that takes longer is a longer window. So nothing here
is judged by how long it took: what has passed is counted in the agent's own messages, and a machine that does other things is slow, not wrong.
"""

from __future__ import annotations

import contextlib
import math
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from hil.errors import AgentError
from hil.scenario.player import bring_back
from hil.scenario.run import totals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from device_agent.contract.telemetry.measurements import InferenceWindow
    from hil.agent import Agent
    from hil.broker import Broker
    from hil.plugin.fixtures import Measure
    from hil.plugin.record import TestRecord
    from hil.rig import Rig

WINDOW_SECONDS = 0.1
OFFLINE_SECONDS = 3.0
ACK_SECONDS = 5.0
"""Until an agent gives a silent broker up: on a busy machine an acknowledgement may take more than one, and would never be in time."""
GIVEN_UP = {"cut": "no connection to the broker", "silent": "no acknowledgement within"}
"""What it writes to its log then."""
UNDERWAY_SECONDS = 1.0
"""A look at whether anything is still on its way."""

DAILY_SECONDS = 10.0
"""A window, as an agent has it by itself."""
AWAY_RATE, WITH_BROKER_RATE = 200.0, 10.0
"""Seconds in a true one. With a broker fewer: its answers, and what carries them, take true time."""
AS_ON_A_DEVICE: Mapping[str, Mapping[str, object]] = {
    "source": {"kind": "null", "rate_hz": 0.5},
    "telemetry": {"interval_seconds": DAILY_SECONDS},
    "mqtt": {
        "reconnect_min_seconds": 0.5,
        "reconnect_max_seconds": 60.0,
        "resend_seconds": 30.0,
        # Answers take true time, so what waits for them waits the true seconds that it would on a device.
        "connect_timeout_seconds": 5.0 * WITH_BROKER_RATE,
        "ack_timeout_seconds": 30.0 * WITH_BROKER_RATE,
        "keepalive_seconds": int(30 * WITH_BROKER_RATE),
    },
    "spool": {"commit_interval_seconds": 1.0},
}
PATIENCE = 20.0
"""Times as long as it ought to take; a machine may have other things to do."""
STALLED_SECONDS = 120.0
"""An agent that makes no message in so many true seconds of a hurry has stopped making them."""
ANSWER_SECONDS = 300.0
"""Until an agent has told its status: a process of its own on the board asks it."""
MOST_DRAWN = 500
"""Windows on the page."""
EVENTS_AS_WINDOWS = 3
"""So many windows' worth of the messages that are waited for may be events and not windows."""
FEW_MESSAGES = 100
"""The smallest spool that an agent may be given."""


@pytest.mark.needs("network")
@pytest.mark.parametrize("how", ["cut", "silent"])
def test_what_happened_while_the_network_was_away_arrives_whole(
    rig: Rig, agent: Agent, measure: Measure, how: str
) -> None:
    agent.start(
        telemetry={"interval_seconds": WINDOW_SECONDS},
        mqtt={"max_messages_per_second": 100_000.0, "ack_timeout_seconds": ACK_SECONDS},
    )
    for link in rig.network.links():
        link.cut() if how == "cut" else link.fall_silent()
    before = hear_the_last(agent)
    agent.listen_for(OFFLINE_SECONDS)
    agent.wait_for(lambda: GIVEN_UP[how] in agent.log(), what="that the agent gives the broker up")
    assert len(agent.windows) == before, "nothing comes through"
    for link in rig.network.links():
        link.mend()
    least = int(0.6 * OFFLINE_SECONDS / WINDOW_SECONDS)
    agent.wait_for(
        lambda: len(agent.windows) >= before + least and not agent.said.missing_count,
        what=f"{least} windows of the time without a network, and none missing",
        seconds=ANSWER_SECONDS,
    )
    assert agent.stop() == 0
    agent.wait_for(lambda: agent.said.missing_count == 0, what="every message", seconds=60.0, ended=True)
    counted = sum(window.latency_count for window in agent.windows)
    measure("windows_of_the_outage", len(agent.windows) - before, "1", low=least)
    measure("messages_missing", agent.said.missing_count, "1", high=0)
    measure("inferences_not_told", totals(agent)[0] - counted, "1", low=0, high=0)
    assert not agent.events("telemetry_lost")


@pytest.mark.needs("network", "clock")
def test_a_day_without_a_broker_arrives_whole(
    agent: Agent,
    broker: Broker,
    measure: Measure,
    hil_record: TestRecord,
    request: pytest.FixtureRequest,
) -> None:
    count: int = request.config.getoption("--rig-offline-windows")
    start_hurried(agent)
    before = len(agent.windows)
    broker.kill()
    spend(agent, count)
    bring_back(broker, agent)
    agent.wait_for(
        lambda: len(agent.windows) >= before + count and not agent.said.missing_count,
        what=f"{count} windows of the time without a broker",
        seconds=patience(count),
    )
    end_in_order(agent)
    away = in_order(agent)[before : before + count]
    moments = [window.envelope.time for window in away]
    drawn = range(0, len(away), math.ceil(len(away) / MOST_DRAWN))
    hil_record.add_series(
        "Windows of the time without a broker",
        unit="s",
        lines=[
            (
                "length",
                [moments[one] - moments[0] for one in drawn],
                [away[one].window_seconds for one in drawn],
            )
        ],
    )
    measure(
        "hours_away",
        (moments[-1] - moments[0]) / 3600.0,
        "h",
        low=(count - 1) * DAILY_SECONDS / 3600.0 * 0.99,
    )
    measure("windows_of_the_outage", len(away), "1", low=count)
    measure("longest_window", max(one.window_seconds for one in away), "s", note="by the agent's own clock")
    measure("messages_missing", agent.said.missing_count, "1", high=0)
    counted = sum(window.latency_count for window in agent.windows)
    measure("inferences_not_told", totals(agent)[0] - counted, "1", low=0, high=0)
    assert not agent.events("telemetry_lost")


@pytest.mark.needs("network", "clock")
def test_what_a_full_spool_lost_is_what_it_says(
    agent: Agent, broker: Broker, measure: Measure, request: pytest.FixtureRequest
) -> None:
    count: int = request.config.getoption("--rig-offline-windows")
    agent.configure(spool={"max_messages": max(FEW_MESSAGES, count)})
    start_hurried(agent, mqtt={"resend_seconds": 0.0})  # what outlives its acknowledgement takes room, too
    unsure = cut_off(agent)
    broker.kill()
    known = len(agent.events("reconnected"))
    spend(agent, count)
    bring_back(broker, agent)
    back = agent.wait_for(
        lambda: [event.envelope.uptime_seconds for event in agent.events("reconnected")[known:]],
        what="the agent's word that it has a broker again",
        seconds=patience(count),
    )[0]
    agent.wait_for(
        lambda: sum(window.envelope.uptime_seconds > back for window in agent.windows) >= 3,
        what="windows of the time after it",
        seconds=patience(count),
    )
    end_in_order(agent)
    said = agent.said
    lost = max(sample.spool_dropped_total or 0 for sample in said.system)
    told = sum(
        number
        for event in agent.events("telemetry_lost")
        for number in event.details.values()
        if isinstance(number, int)
    )
    measure("messages_lost", lost, "1", low=1, note="by the counter of the last sample")
    measure("heard_whose_acknowledgement_was_cut_off", unsure, "1", note="at most")
    measure("missing_beyond_the_counter", said.missing_count - lost, "1", low=-unsure, high=0)
    measure("told_beyond_the_counter", told - lost, "1", low=0, high=0)
    newest = [window for window in in_order(agent) if window.envelope.uptime_seconds <= back][
        -FEW_MESSAGES // 10 :
    ]
    gaps = [after.envelope.seq - one.envelope.seq for one, after in pairwise(newest)]
    measure("longest_gap_of_the_newest", max(gaps), "1", note="messages from one window to the next")
    assert max(gaps) < 2 * min(gaps), "the oldest go first: none is missing between two of the newest windows"


def hear_the_last(agent: Agent) -> int:
    """Listen until nothing is on its way any more, however long this machine takes over it; return how many windows were heard."""
    heard = -1
    while heard != len(agent.windows):
        heard = len(agent.windows)
        agent.listen_for(UNDERWAY_SECONDS)
        agent.telemetry.wait_until_heard()
    return heard


def start_hurried(agent: Agent, **tables: dict[str, object]) -> None:
    """Start an agent as one is on a device, hurried, and hear three of its windows."""
    hurry(agent.rig, WITH_BROKER_RATE)
    agent.configure(**AS_ON_A_DEVICE)
    agent.start(**tables)
    agent.wait_for(lambda: len(agent.windows) >= 3, what="three windows")


def hurry(rig: Rig, rate: float) -> None:
    """Hurry a board as far as it can follow; always a little, for who is started at the true pace follows no other."""
    rig.clock.hurry(max(2.0, rate / rig.board.section.slowness))


def cut_off(agent: Agent) -> int:
    """Cut the network, at the true pace; return of how many messages it is not sure that the agent knows that they were heard.

    One that was heard, and whose acknowledgement is cut off, waits in the spool as if nobody had it, and is rightly counted as lost when its
    turn to make room comes. Of the ten seconds between two windows nearly all are without. To look for another moment would not help: each
    attempt makes the agent's pause before it connects again longer, and what it tells of that is on its way at the next.
    """
    agent.rig.clock.hurry(1.0)
    agent.listen_for(UNDERWAY_SECONDS)
    for link in agent.rig.network.links():
        link.cut()
    unsure = made(agent)
    agent.telemetry.wait_until_heard()
    return unsure


def spend(agent: Agent, count: int) -> None:
    """Let so many windows pass in a hurry, of which nothing is heard; as many messages as they have wait in the spool then, or were lost.

    Raises:
        AgentError: They do not come.
    """
    sequence = [window.envelope.seq for window in in_order(agent)]
    each = min(after - one for one, after in pairwise(sequence))
    begin = now = made(agent)
    stalled = asking = 0.0
    while (left := count + EVENTS_AS_WINDOWS - (now - begin) / each) > 0.0:
        ought = left * DAILY_SECONDS / AWAY_RATE * agent.rig.board.section.slowness
        pause = max(1.0, ought, asking)  # to ask a busy board costs time that the windows need
        hurry(agent.rig, AWAY_RATE)
        agent.listen_for(pause)
        asked = time.monotonic()
        before, now = now, made(agent)
        asking = time.monotonic() - asked
        stalled = 0.0 if now > before else stalled + pause
        if stalled > STALLED_SECONDS:
            raise AgentError(f"{count} windows: {left:.0f} have not passed, and no more come")
    hurry(agent.rig, WITH_BROKER_RATE)


def made(agent: Agent) -> int:
    """Return how many messages wait in the agent or were lost; leave it at the true pace.

    In a hurry its loop would have a hundredth of a second to answer, which a machine that does other things does not keep.
    """
    agent.rig.clock.hurry(1.0)

    def spool() -> Mapping[str, int] | None:
        with contextlib.suppress(AgentError):  # it did not answer in time: it is asked again
            told: Mapping[str, int] | None = agent.status().get("spool")
            return told
        return None

    told = agent.wait_for(spool, what="the agent's word on its spool", seconds=ANSWER_SECONDS)
    return int(told["messages"]) + int(told["dropped_total"])


def patience(count: int) -> float:
    """Return how many seconds, of a board that is not slow, so many windows may take with a broker."""
    return 60.0 + PATIENCE * count * DAILY_SECONDS / WITH_BROKER_RATE


def in_order(agent: Agent) -> list[InferenceWindow]:
    """Return its windows by their numbers; of one start."""
    return sorted(agent.windows, key=lambda window: window.envelope.seq)


def end_in_order(agent: Agent) -> None:
    """Stop it at the true pace, and hear its goodbye."""
    agent.rig.clock.hurry(1.0)
    assert agent.stop() == 0
    agent.wait_for(
        lambda: agent.said.health is not None and agent.said.health.status == "down",
        what="the goodbye",
        ended=True,
    )
    assert "Traceback" not in agent.log()
