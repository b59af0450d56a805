"""Power rails and a battery that runs down and is charged again: what the board's sensors tell, the agent's telemetry tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hil.agent_config import default_tables
from hil.scenario.run import run_scenario
from hil.scenario.scenario import BatteryPoint, RailPoint, Scenario

if TYPE_CHECKING:
    from hil.agent import Agent
    from hil.broker import Broker
    from hil.plugin.fixtures import Measure
    from hil.plugin.record import TestRecord

WINDOWS = 24
"""How many reports a scenario lasts, whatever the board: enough to see every step in two of them."""
RAILS = {"VDD_CPU": (0.75, 3.125, 0.5), "VDD_DRAM": (0.25, 0.5, 0.25)}
"""Watts in the three thirds of the time."""
FIRST_CHARGE, LOWEST_CHARGE, LAST_CHARGE = 0.52, 0.40, 0.46
GIVES_WATTS, TAKES_WATTS = -6.5, 11.0
PERCENT = 0.01
WATTS_WITHIN = 0.002
MOST_TORN = 1
"""Status and power of a battery are two files: at the turn one report may have the one as it was and the other as it is."""


def scenario_of(seconds: float) -> Scenario:
    """Return rails that change twice, and a battery that is emptied for two thirds of the time and charged in the last."""
    return Scenario(
        name="rails and a battery",
        seed=0,
        duration_seconds=seconds,
        rails=tuple(
            RailPoint(name=name, at_seconds=third * seconds / 3, watts=watts)
            for third in range(3)
            for name, watts in ((name, steps[third]) for name, steps in RAILS.items())
        ),
        batteries=(
            BatteryPoint(at_seconds=0.0, charge_ratio=FIRST_CHARGE, watts=GIVES_WATTS),
            BatteryPoint(at_seconds=seconds * 2 / 3, charge_ratio=LOWEST_CHARGE, watts=TAKES_WATTS),
            BatteryPoint(at_seconds=seconds, charge_ratio=LAST_CHARGE, watts=TAKES_WATTS),
        ),
    )


@pytest.mark.needs("rails", "battery", "network")
def test_rails_and_a_battery_are_told_as_the_board_has_them(
    agent: Agent, broker: Broker, measure: Measure, hil_record: TestRecord
) -> None:
    tables = default_tables(agent.rig, device=agent.device, folder=agent.folder, broker_port=None)
    interval = float(str(tables["telemetry"]["interval_seconds"]))
    outcome = run_scenario(scenario_of(WINDOWS * interval), agent, broker)
    assert outcome.unmet == []
    for rail, steps in RAILS.items():
        _, watts = told(agent, f"rail:{rail}", "_watts")
        assert in_steps(watts, steps), f"{rail}: {watts} are not {steps}, one after another"
    times, charges = told(agent, "battery", "_charge_ratio")
    hil_record.add_series("Charge of the battery", unit="1", lines=[("battery", times, charges)])
    turn = charges.index(min(charges))
    assert charges[: turn + 1] == sorted(charges[: turn + 1], reverse=True), "it runs down"
    assert charges[turn:] == sorted(charges[turn:]), "and is charged"
    measure("charge_at_first", charges[0], "1", low=FIRST_CHARGE - 2 * PERCENT, high=FIRST_CHARGE + PERCENT)
    measure(
        "charge_at_least", charges[turn], "1", low=LOWEST_CHARGE - PERCENT, high=LOWEST_CHARGE + 2 * PERCENT
    )
    measure("charge_at_last", charges[-1], "1", low=LAST_CHARGE - 2 * PERCENT, high=LAST_CHARGE + PERCENT)
    _, watts = told(agent, "battery", "_watts")
    torn = [
        value for value in watts if min(abs(value - GIVES_WATTS), abs(value - TAKES_WATTS)) > WATTS_WITHIN
    ]
    measure("torn_reports", len(torn), "1", high=MOST_TORN)
    assert watts[0] == pytest.approx(GIVES_WATTS), "negative while it gives"
    assert watts[-1] == pytest.approx(TAKES_WATTS)
    measure("messages_missing", outcome.missing_messages, "1", high=0)
    assert not sensors_of_supplies(agent), "what was put into the tree is taken out of it"


def told(agent: Agent, scope: str, ending: str) -> tuple[list[float], list[float]]:
    """Return seconds and values of what was told of a scope, by a name that ends so."""
    begin = agent.said.power[0].envelope.uptime_seconds
    found = [
        (sample.envelope.uptime_seconds - begin, reading.value)
        for sample in agent.said.power
        for reading in sample.readings
        if reading.scope == scope and reading.name.endswith(ending) and reading.value is not None
    ]
    assert found, f"nothing was told of {scope}"
    return [at for at, _ in found], [value for _, value in found]


def in_steps(values: list[float], steps: tuple[float, ...]) -> bool:
    """Say whether values are the steps one after another, each at least once, and nothing else."""
    seen: list[float] = []
    for value in values:
        near = [step for step in steps if abs(step - value) <= WATTS_WITHIN]
        if not near:
            return False
        if not seen or seen[-1] != near[0]:
            seen.append(near[0])
    return tuple(seen) == steps


def sensors_of_supplies(agent: Agent) -> list[str]:
    """Return what the board's sensors have of rails and batteries now."""
    rig = agent.rig
    tree = [
        "find",
        f"{rig.sysfs_root}/class/power_supply",
        f"{rig.sysfs_root}/class/hwmon",
        "-name",
        "*_label",
    ]
    labels = rig.shell.run(tree).stdout.decode().split()
    supplies = rig.shell.run(["ls", f"{rig.sysfs_root}/class/power_supply"]).stdout.decode().split()
    return labels + supplies
