"""It comes up, infers, reports, and ends in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hil.agent import Agent
    from hil.plugin.fixtures import Measure


def test_the_agent_starts_infers_reports_and_says_goodbye(agent: Agent, measure: Measure) -> None:
    agent.start()
    birth = agent.said.birth
    assert birth is not None
    manifest = agent.artifact.manifest
    assert (birth.engine, birth.model_name) == (manifest.requires.engine, manifest.name)
    assert birth.envelope.artifact == agent.artifact.digest
    agent.wait_for(lambda: len(agent.windows) >= 3, what="three windows")
    assert agent.said.health is not None
    assert agent.said.health.status == "up"
    assert agent.stop() == 0
    agent.wait_for(
        lambda: agent.said.health and agent.said.health.status == "down", what="the goodbye", ended=True
    )
    measure("inferences", agent.windows[-1].inferences_total, "1", low=1)
    measure("errors", agent.windows[-1].errors_total, "1", high=0)
    measure("messages_missing", agent.said.missing_count, "1", high=0)
    assert "Traceback" not in agent.log()


def test_what_it_says_of_itself_on_the_board_is_what_it_reports(agent: Agent) -> None:
    agent.start()
    status = agent.status()
    assert status["agent"]["device"] == agent.device
    assert status["model"]["artifact"] == agent.artifact.digest
    assert status["broker"]["connected"]
    assert "Traceback" not in agent.log()
