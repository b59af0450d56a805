"""Plays a scenario on a rig, and says whether what was expected came true."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hil.errors import AgentError, BootError, UnsupportedFeatureError
from hil.scenario.player import Player
from hil.scenario.scenario import NEEDS
from hil.scenario.schedule import Action, schedule, with_next_moves

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hil.agent import Agent
    from hil.broker import Broker
    from hil.scenario.scenario import Scenario


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came of a scenario.

    Attributes:
        seed: Of the schedule that was played.
        played: Every action, with the moment when it was done, in seconds of the scenario.
        inferences: Results of all starts together.
        errors: Failed inferences, likewise.
        missing_messages: By their numbers.
        starts: How often the agent was started.
        events: Names, in order of arrival.
        temperatures: Moments and degrees that were set.
        unmet: What was expected and did not come true; empty: all did.
    """

    seed: int
    played: list[tuple[float, Action]] = field(default_factory=list)
    inferences: int = 0
    errors: int = 0
    missing_messages: int = 0
    starts: int = 0
    events: list[str] = field(default_factory=list)
    temperatures: list[tuple[float, float]] = field(default_factory=list)
    unmet: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "seed": self.seed,
            "inferences": self.inferences,
            "errors": self.errors,
            "missing_messages": self.missing_messages,
            "starts": self.starts,
            "events": self.events,
            "played": [{"at_seconds": round(at, 3), **action.document()} for at, action in self.played],
            "unmet": self.unmet,
        }


def run_scenario(
    scenario: Scenario,
    agent: Agent,
    broker: Broker,
    *,
    seed: int | None = None,
    hurry: float = 1.0,
    slowness: float = 1.0,
    tell: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Start the agent, play the schedule, undo what is left, stop the agent, and judge.

    Args:
        scenario: What is played.
        agent: On its rig, not started.
        broker: Where it reports.
        seed: Takes the place of the scenario's own.
        hurry: How many seconds of the scenario, and of the agent, pass in a true one; see `Clock.hurry`.
        slowness: How many times longer the scenario takes, but not the agent's own seconds: for a board that does not follow.
        tell: Called with a line for people at every action but the many small moves of temperature and charge.

    Raises:
        UnsupportedFeatureError: The rig lacks what the scenario needs.
        RigError: The rig failed.
        AgentError: The agent does not come up at all.
    """
    needs = scenario.needs if hurry == 1.0 else (*scenario.needs, "clock")
    missing = [feature for feature in needs if feature not in agent.rig.features]
    if missing:
        raise UnsupportedFeatureError(
            f"scenario {scenario.name!r} needs {', '.join(missing)}, which rig {agent.rig.board.name!r} does not have."
        )
    player = Player(agent, broker, tell)
    outcome = Outcome(seed=scenario.seed if seed is None else seed)
    if any("disk" in NEEDS[fault.kind] for fault in scenario.faults):
        player.use_small_disk()
    player.hurry(hurry)
    player.build_supplies(scenario)
    try:
        agent.start(**scenario.agent)
        _play_to_the_end(scenario, schedule(scenario, seed), agent, player, outcome, hurry / slowness)
    finally:
        player.put_back(scenario)
    _judge(scenario, agent, outcome)
    return outcome


def _play_to_the_end(
    scenario: Scenario,
    actions: Sequence[Action],
    agent: Agent,
    player: Player,
    outcome: Outcome,
    pace: float,
) -> None:
    try:
        _play(scenario, actions, agent, player, outcome, pace)
        _settle(scenario, agent, outcome)
    except BootError as error:  # the board's failure, and so the scenario's outcome
        outcome.unmet.append(str(error))


def _play(
    scenario: Scenario,
    actions: Sequence[Action],
    agent: Agent,
    player: Player,
    outcome: Outcome,
    pace: float,
) -> None:
    begin = time.monotonic()
    late: dict[str, float] = {}
    for action, next_move in with_next_moves(actions):
        due = action.at_seconds + (late.get(action.kind, 0.0) if action.verb == "undo" else 0.0)
        _listen_until(agent, begin + due / pace)
        at = (time.monotonic() - begin) * pace
        if at >= next_move:  # a board that takes its time is not made later by what is past
            continue
        if action.verb == "fault":  # one that begins late lasts as long all the same
            late[action.kind] = at - action.at_seconds
        outcome.played.append((at, action))
        if action.verb == "temperature":
            outcome.temperatures.append((at, action.value))
        player.do(action)
    _listen_until(agent, begin + scenario.duration_seconds / pace)
    player.keep_true_pace()


def _listen_until(agent: Agent, moment: float) -> None:
    agent.listen_for(max(0.0, moment - time.monotonic()))


def _settle(scenario: Scenario, agent: Agent, outcome: Outcome) -> None:
    """Wait until what is on its way has come, and stop the agent."""
    expected = scenario.expectation
    try:
        count = len(agent.windows)
        agent.wait_for(
            lambda: len(agent.windows) >= count + 2,
            what="windows after the end",
            seconds=expected.settle_seconds,
        )
        if agent.stop() != 0:
            outcome.unmet.append("the agent did not end in order")
        agent.wait_for(
            lambda: agent.said.health is not None and agent.said.health.status == "down",
            what="the goodbye",
            seconds=expected.settle_seconds,
            ended=True,
        )
        agent.wait_for(
            lambda: agent.said.missing_count <= expected.missing_messages_max,
            what=f"{agent.said.missing_count} messages are missing, expected at most {expected.missing_messages_max}",
            seconds=1.0,
            ended=True,
        )
    except AgentError as error:
        outcome.unmet.append(str(error))


def _judge(scenario: Scenario, agent: Agent, outcome: Outcome) -> None:
    expected = scenario.expectation
    outcome.starts = agent.starts
    outcome.inferences, outcome.errors = totals(agent)
    outcome.missing_messages = agent.said.missing_count
    outcome.events = [event.name for event in agent.said.events]
    if outcome.inferences < expected.inferences_min:
        outcome.unmet.append(f"{outcome.inferences} results, expected at least {expected.inferences_min}")
    if outcome.errors > expected.errors_max:
        outcome.unmet.append(f"{outcome.errors} inferences failed, expected at most {expected.errors_max}")
    outcome.unmet += [f"event {name} was not told" for name in expected.events if name not in outcome.events]
    outcome.unmet += [
        f"event {name} was told" for name in expected.forbidden_events if name in outcome.events
    ]


def totals(agent: Agent) -> tuple[int, int]:
    """Return results and failed inferences of all starts together: the totals of each start's last window."""
    last = {window.envelope.boot_id: window for window in agent.windows}
    return (
        sum(window.inferences_total for window in last.values()),
        sum(window.errors_total for window in last.values()),
    )
