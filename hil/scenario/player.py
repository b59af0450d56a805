"""`Player`: does on a rig, one after another, what a scenario's schedule says."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from hil.agent import Agent
    from hil.broker import Broker
    from hil.protocols import Program
    from hil.scenario.scenario import Scenario
    from hil.scenario.schedule import Action

SMALL_DISK_MEBIBYTES = 4
_LOAD = "while True: pass"
_MANY = ("temperature", "battery")
"""What is moved so often that nobody wants a line of each."""


class Player:
    """Does the actions."""

    def __init__(self, agent: Agent, broker: Broker, tell: Callable[[str], None]) -> None:
        self._agent = agent
        self._rig = agent.rig
        self._broker = broker
        self._tell = tell
        self._loads: list[Program] = []
        self._celsius = 40.0

    def use_small_disk(self) -> None:
        """Put the agent's spool on a disk that can be filled."""
        disk = self._rig.disk
        self._agent.run_behind(disk.shrink(SMALL_DISK_MEBIBYTES))
        self._agent.configure(spool={"path": f"{disk.folder}/spool.db", "max_bytes": 1 << 20})

    def build_supplies(self, scenario: Scenario) -> None:
        """Give the board the rails and the battery of a scenario, as they are at first: an agent finds its sensors when it starts."""
        first: dict[str, float] = {}
        for rail in scenario.rails:
            first.setdefault(rail.name, rail.watts)
        for name, watts in first.items():
            self._rig.rails.set_watts(name, watts)
        for point in scenario.batteries[:1]:
            self._rig.battery.set_charge(point.charge_ratio, watts=point.watts)

    def put_back(self, scenario: Scenario) -> None:
        """Leave the board without them and at the true pace, as it was; of a broken one nothing is asked."""
        if self._rig.broken is not None:
            return
        if self._rig.parts.clock is not None:
            self._rig.clock.hurry(1.0)
        if scenario.rails:
            self._rig.rails.clear()
        if scenario.batteries:
            self._rig.battery.take_out()

    def do(self, action: Action) -> None:
        """Do one thing."""
        if action.verb not in _MANY:
            self._tell(
                f"{action.at_seconds:8.2f} s  {action.verb} {action.subject} {action.value or ''}".rstrip()
            )
        if action.verb == "temperature":
            self._celsius = action.value
            self._rig.thermal.set_celsius(action.value)
        elif action.verb == "power":
            self._rig.meter.set_watts(action.value)
        elif action.verb == "rail":
            self._rig.rails.set_watts(action.rail, action.value)
        elif action.verb == "battery":
            self._rig.battery.set_charge(action.value, watts=action.watts)
        elif action.verb == "load":
            self._load(int(action.value))
        elif action.verb == "unload":
            ended, self._loads = self._loads[: int(action.value)], self._loads[int(action.value) :]
            for program in ended:
                program.kill()
        else:
            begin, undo = self._faults()[action.kind]
            (begin if action.verb == "fault" else undo)(action.value)

    def _load(self, processes: int) -> None:
        command = [*self._rig.agent_command[:1], "-c", _LOAD]
        log = f"{self._agent.folder}/load.log"
        self._loads += [self._rig.shell.spawn(command, log=log) for _ in range(processes)]

    def _faults(self) -> Mapping[str, tuple[Callable[[float], None], Callable[[float], None]]]:
        """Return how each kind of fault begins, with the action's value, and how it is undone; asks the rig for nothing yet."""
        rig, links = self._rig, self._rig.network.links()
        return {
            "power_cut": (
                self._cut_power,
                lambda _: self._agent.to("agent_up"),
            ),  # no further: nobody may hear it
            "agent_killed": (self._kill_agent, lambda _: self._agent.to("agent_up")),
            "network_cut": (lambda _: _each(link.cut for link in links), self._mend),
            "network_silent": (lambda _: _each(link.fall_silent for link in links), self._mend),
            "network_slow": (
                lambda delay: _each(partial(link.slow_down, delay) for link in links),
                self._mend,
            ),
            "slow_reader": (
                lambda pace: _each(partial(link.read_slowly, pace) for link in links),
                self._mend,
            ),
            "broker_killed": (lambda _: self._broker.kill(), self._restart_broker),
            "cable_out": (lambda _: rig.interface.unplug(), lambda _: rig.interface.plug_in()),
            "packets_lost": (
                lambda share: rig.interface.shape(loss_share=share),
                lambda _: rig.interface.shape(),
            ),
            "packets_late": (
                lambda delay: rig.interface.shape(delay_seconds=delay),
                lambda _: rig.interface.shape(),
            ),
            "disk_full": (lambda _: rig.disk.fill(), lambda _: rig.disk.free()),
            "disk_read_only": (
                lambda _: rig.write_protection.protect(),
                lambda _: rig.write_protection.release(),
            ),
            "clock_jump": (lambda value: rig.clock.jump(seconds=value), lambda _: rig.clock.jump(0.0)),
            "sensor_gone": (
                lambda _: rig.thermal.take_away(),
                lambda _: rig.thermal.set_celsius(self._celsius),
            ),
            "throttled": (
                lambda _: rig.thermal.set_throttled(is_throttled=True),
                lambda _: rig.thermal.set_throttled(is_throttled=False),
            ),
        }

    def _cut_power(self, _: float) -> None:
        self._agent.to("off")
        self._loads.clear()

    def _kill_agent(self, _: float) -> None:
        self._agent.kill()

    def _mend(self, _: float) -> None:
        for link in self._rig.network.links():
            link.slow_down(0.0)
            link.read_slowly(0.0)
            link.mend()

    def _restart_broker(self, _: float) -> None:
        bring_back(self._broker, self._agent)


def bring_back(broker: Broker, agent: Agent) -> None:
    """Start a broker again with the board cut off until this machine hears: what comes before that, nobody would count.

    Raises:
        RigError: It does not start, or passes nothing on.
    """
    for link in agent.rig.network.links():
        link.cut()
    broker.start()
    agent.telemetry.wait_until_heard()
    for link in agent.rig.network.links():
        link.mend()


def _each(calls: Iterable[Callable[[], None]]) -> None:
    for call in calls:
        call()
