"""`Player`: does on a rig, one after another, what a scenario's schedule says."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from hil.scenario.schedule import MOVES
from hil.senses import AMBIENT_CELSIUS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from hil.agent import Agent
    from hil.broker import Broker
    from hil.protocols import Program
    from hil.scenario.scenario import FaultKind, Scenario
    from hil.scenario.schedule import Action

SMALL_DISK_MEBIBYTES = 4
_LOAD = "while True: pass"
_HERE = frozenset(
    {"power_cut", "network_cut", "network_silent", "network_slow", "slow_reader", "broker_killed"}
)
"""Faults that this machine makes, whether the board is on or off."""


class Player:
    """Does the actions. What concerns a board that is off is done when it has its power back, before the agent is started on it."""

    def __init__(self, agent: Agent, broker: Broker, tell: Callable[[str], None]) -> None:
        self._agent = agent
        self._rig = agent.rig
        self._broker = broker
        self._tell = tell
        self._loads: list[Program] = []
        self._load_count = 0
        self._is_off = False
        self._is_hurried = False
        self._in_force: dict[tuple[str, str], Action] = {}
        """What holds on the board by now, by sense or fault: the last word on each."""

    def hurry(self, rate: float) -> None:
        """Let the agent that is started next have so many seconds in a true one."""
        if rate != 1.0:
            self._rig.clock.hurry(rate)
            self._is_hurried = True

    def keep_true_pace(self) -> None:
        """Let its seconds be true ones from now on."""
        if self._is_hurried:
            self._rig.clock.hurry(1.0)
            self._is_hurried = False

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
        self.keep_true_pace()
        if scenario.rails:
            self._rig.rails.clear()
        if scenario.batteries:
            self._rig.battery.take_out()

    def do(self, action: Action) -> None:
        """Do one thing."""
        if action.verb not in MOVES:
            self._tell(
                f"{action.at_seconds:8.2f} s  {action.verb} {action.subject} {action.value or ''}".rstrip()
            )
        if action.verb in ("load", "unload"):
            self._load_count += int(action.value) if action.verb == "load" else -int(action.value)
            self._load()
        elif action.kind in _HERE:
            self._make(action)
        else:
            self._bring_into_force(action)

    def _bring_into_force(self, action: Action) -> None:
        """Do what a board forgets, or cannot be told, while it is off; of one that is off it is only kept."""
        thing = "fault" if action.kind else action.verb
        self._in_force[thing, action.subject] = action
        if self._is_off:
            return
        self._tell_board(action)
        if action.verb == "undo":
            del self._in_force[thing, action.subject]

    def _tell_board(self, action: Action) -> None:
        if action.verb == "temperature":
            if not self._is_in_force("sensor_gone"):  # it would be back
                self._rig.thermal.set_celsius(action.value)
        elif action.verb == "power":
            self._rig.meter.set_watts(action.value)
        elif action.verb == "rail":
            self._rig.rails.set_watts(action.rail, action.value)
        elif action.verb == "battery":
            self._rig.battery.set_charge(action.value, watts=action.watts)
        else:
            self._make(action)

    def _is_in_force(self, kind: FaultKind) -> bool:
        fault = self._in_force.get(("fault", kind))
        return fault is not None and fault.verb == "fault"

    def _make(self, fault: Action) -> None:
        """Begin a fault, or end it."""
        begin, undo = self._faults()[fault.kind]
        (begin if fault.verb == "fault" else undo)(fault.value)

    def _load(self) -> None:
        """Let as many processes compute as are to; none on a board that is off."""
        if self._is_off:
            return
        while len(self._loads) > self._load_count:
            self._loads.pop().kill()
        command, log = [*self._rig.agent_command[:1], "-c", _LOAD], f"{self._agent.folder}/load.log"
        while len(self._loads) < self._load_count:
            self._loads.append(self._rig.shell.spawn(command, log=log))

    def _faults(self) -> Mapping[str, tuple[Callable[[float], None], Callable[[float], None]]]:
        """Return how each kind of fault begins, with the action's value, and how it is undone; asks the rig for nothing yet."""
        rig, links = self._rig, self._rig.network.links()
        return {
            "power_cut": (self._cut_power, self._restore_power),
            "agent_killed": (self._kill_agent, self._start_agent),
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
                lambda _: rig.thermal.set_celsius(self._celsius()),
            ),
            "throttled": (
                lambda _: rig.thermal.set_throttled(is_throttled=True),
                lambda _: rig.thermal.set_throttled(is_throttled=False),
            ),
        }

    def _celsius(self) -> float:
        told = self._in_force.get(("temperature", ""))
        return AMBIENT_CELSIUS if told is None else told.value

    def _cut_power(self, _: float) -> None:
        self._agent.to("off")
        self._is_off = True
        self._loads.clear()

    def _restore_power(self, _: float) -> None:
        self._agent.to("booted")
        self._is_off = False
        for action in list(self._in_force.values()):
            self._bring_into_force(action)
        self._load()
        self._start_agent(0.0)

    def _start_agent(self, _: float) -> None:
        self._agent.to("agent_up")  # no further: nobody may hear it

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
