"""The same for longer (``--rig-soak SECONDS``): numbers without a gap, no error, memory and files that do not grow."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

    from hil.agent import Agent
    from hil.plugin.fixtures import Measure
    from hil.plugin.record import TestRecord

MOST_GROWTH = 0.1
"""Share of its memory by which the second half may be above the first, while things settle: a leak is far more in a day."""


def test_it_goes_on_as_it_began(
    agent: Agent, measure: Measure, hil_record: TestRecord, request: pytest.FixtureRequest
) -> None:
    seconds: float = request.config.getoption("--rig-soak")
    agent.start(
        source={"kind": "null", "rate_hz": 100.0}, telemetry={"interval_seconds": max(0.2, seconds / 100)}
    )
    agent.listen_for(seconds)
    assert agent.stop() == 0
    agent.wait_for(lambda: agent.said.missing_count == 0, what="every message", seconds=60.0, ended=True)
    memory = [sample.process_rss_bytes / 2**20 for sample in agent.said.system if sample.process_rss_bytes]
    times = [sample.envelope.uptime_seconds for sample in agent.said.system if sample.process_rss_bytes]
    half = len(memory) // 2
    hil_record.add_series("Resident memory", unit="MiB", lines=[("agent", times, memory)])
    measure("memory", memory[-1], "MiB")
    measure("memory_growth", max(memory[half:]) / max(memory[: half or 1]) - 1.0, "1", high=MOST_GROWTH)
    measure("errors", agent.windows[-1].errors_total, "1", high=0)
    measure("messages_missing", agent.said.missing_count, "1", high=0)
    waiting = [sample.spool_messages for sample in agent.said.system if sample.spool_messages is not None]
    measure("messages_waiting", waiting[-1], "1", high=100)
    assert agent.said.missing_count == 0
    assert "Traceback" not in agent.log()
