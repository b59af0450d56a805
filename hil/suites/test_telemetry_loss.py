"""Brokers and agents that die, brokers that read slowly, disks that are full: nothing is lost, or it is counted and told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hil.scenario.parse import parse_scenario
from hil.scenario.run import run_scenario

if TYPE_CHECKING:
    from hil.agent import Agent
    from hil.broker import Broker
    from hil.plugin.fixtures import Measure
    from hil.plugin.record import TestRecord
    from hil.scenario.scenario import Scenario

HEAD = """
[scenario]
name = "telemetry loss"
duration_seconds = 2.5
[agent.mqtt]
resend_seconds = 30.0
"""
FAULTS = {
    "a broker that is killed": '[[fault]]\nkind = "broker_killed"\nat_seconds = 0.7\nfor_seconds = 0.5\n',
    "a reader that is slow": '[[fault]]\nkind = "slow_reader"\nat_seconds = 0.5\nfor_seconds = 1.5\nbytes_per_second = 1000\n',
    "a disk that is full": '[[fault]]\nkind = "disk_full"\nat_seconds = 0.5\nfor_seconds = 1.5\n'
    '[expect]\nforbidden_events = ["telemetry_lost"]\n',
    "a disk that is read-only": '[[fault]]\nkind = "disk_read_only"\nat_seconds = 0.5\nfor_seconds = 1.5\n'
    '[expect]\nforbidden_events = ["telemetry_lost"]\n',
    "a cable that is out": '[[fault]]\nkind = "cable_out"\nat_seconds = 0.5\nfor_seconds = 1.5\n',
    "packets that are lost": '[[fault]]\nkind = "packets_lost"\nat_seconds = 0.5\nfor_seconds = 1.5\nloss_share = 0.2\n',
    "a clock that jumps": '[[fault]]\nkind = "clock_jump"\nat_seconds = 0.5\njump_seconds = -90000000.0\n',
}
SLOW_BYTES_PER_SECOND = 1_000.0
"""A window has about four times as much."""
LEAST_WAITING = 80
"""Messages in the spool, what is on its way among them: twenty windows."""
MOST_GROWTH_MEBIBYTES = 8.0
"""Twice what messages may take in memory where no disk takes them."""


def scenario_of(fault: str) -> Scenario:
    return parse_scenario((HEAD + FAULTS[fault]).encode(), origin=fault)


@pytest.mark.parametrize(
    "fault", [pytest.param(fault, marks=pytest.mark.needs(*scenario_of(fault).needs)) for fault in FAULTS]
)
def test_no_message_is_lost_by(agent: Agent, broker: Broker, measure: Measure, fault: str) -> None:
    outcome = run_scenario(scenario_of(fault), agent, broker)
    measure("messages_missing", outcome.missing_messages, "1", high=0)
    assert outcome.unmet == []


@pytest.mark.needs("network")
def test_a_broker_that_reads_slowly_costs_no_memory_and_no_message(
    agent: Agent, measure: Measure, hil_record: TestRecord
) -> None:
    agent.start(telemetry={"interval_seconds": 0.1}, mqtt={"max_messages_per_second": 100_000.0})
    agent.listen_for(2.0)
    for link in agent.rig.network.links():
        link.read_slowly(SLOW_BYTES_PER_SECOND)
    before = agent.windows[-1].envelope.uptime_seconds
    waiting = agent.wait_for(
        lambda: (found := waiting_in(agent)) >= LEAST_WAITING and found,
        what=f"{LEAST_WAITING} messages that wait",
    )
    for link in agent.rig.network.links():
        link.read_slowly(0.0)
    agent.wait_for(lambda: 0 <= waiting_in(agent) < LEAST_WAITING // 2, what="they are sent")
    assert agent.stop() == 0
    agent.wait_for(lambda: agent.said.missing_count == 0, what="every message", ended=True)
    samples = [sample for sample in agent.said.system if sample.process_rss_bytes]
    times = [sample.envelope.uptime_seconds for sample in samples]
    memory = [(sample.process_rss_bytes or 0) / 2**20 for sample in samples]
    hil_record.add_series("Resident memory", unit="MiB", lines=[("agent", times, memory)])
    usual = max(one for at, one in zip(times, memory, strict=True) if at <= before)
    measure("messages_waiting", waiting, "1", low=LEAST_WAITING)
    measure("memory_growth", max(memory) - usual, "MiB", high=MOST_GROWTH_MEBIBYTES)
    measure("messages_missing", agent.said.missing_count, "1", high=0)
    assert not agent.events("telemetry_lost")


def waiting_in(agent: Agent) -> int:
    """Return how many messages wait in the agent, as it says itself; -1 where it does not answer in time."""
    spool = agent.status().get("spool")
    return int(spool["messages"]) if spool else -1


@pytest.mark.needs("network", "power")
def test_a_power_cut_without_a_network_costs_at_most_what_was_not_committed(
    agent: Agent, measure: Measure
) -> None:
    agent.start(spool={"commit_interval_seconds": 0.2}, telemetry={"interval_seconds": 0.2})
    for link in agent.rig.network.links():
        link.cut()
    agent.listen_for(2.0)
    agent.cut_power()
    for link in agent.rig.network.links():
        link.mend()
    agent.to("model_active")
    assert agent.stop() == 0
    first = agent.windows[0].envelope.boot_id
    of_first = [window for window in agent.windows if window.envelope.boot_id == first]
    assert of_first[-1].envelope.uptime_seconds > 1.5, "what was told before the cut is told after it"
    measure("messages_missing", agent.said.missing_count, "1", high=12, note="three windows of four messages")
