"""`Scenario`: what a scenario's file says. Seconds count from when the model is active."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, get_args

from hil.table import bounded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hil.protocols import Feature

LONGEST_SECONDS = 7 * 86_400.0
MAX_ENTRIES = 1_000

FaultKind = Literal[
    "power_cut",
    "agent_killed",
    "network_cut",
    "network_silent",
    "network_slow",
    "slow_reader",
    "broker_killed",
    "cable_out",
    "packets_lost",
    "packets_late",
    "disk_full",
    "disk_read_only",
    "clock_jump",
    "sensor_gone",
    "throttled",
]
FAULT_KINDS: tuple[FaultKind, ...] = get_args(FaultKind)

NEEDS: Mapping[FaultKind, tuple[Feature, ...]] = MappingProxyType(
    {
        "power_cut": ("power",),
        "agent_killed": (),
        "network_cut": ("network",),
        "network_silent": ("network",),
        "network_slow": ("network",),
        "slow_reader": ("network",),
        "broker_killed": ("network",),
        "cable_out": ("interface",),
        "packets_lost": ("interface",),
        "packets_late": ("interface",),
        "disk_full": ("disk",),
        "disk_read_only": ("disk", "write_protection"),
        "clock_jump": ("clock",),
        "sensor_gone": ("thermal",),
        "throttled": ("thermal",),
    }
)
"""What a rig must have for a fault."""

OWN_KEYS: Mapping[str, tuple[FaultKind, ...]] = MappingProxyType(
    {
        "delay_seconds": ("network_slow", "packets_late"),
        "bytes_per_second": ("slow_reader",),
        "loss_share": ("packets_lost",),
        "jump_seconds": ("clock_jump",),
    }
)
"""Keys of ``[[fault]]`` that only some kinds have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One ``[[fault]]``.

    Attributes:
        kind: What happens.
        at_seconds: When.
        for_seconds: How long until it is undone.
        jitter_seconds: Up to so much later, drawn from the seed.
        repeat: How often, one after another.
        every_seconds: From one beginning to the next, where it is repeated.
        delay_seconds: Of ``network_slow``: for how long every piece is held back; of ``packets_late``: every packet that the board sends.
        bytes_per_second: Of ``slow_reader``: how much is taken from each of the board's connections.
        loss_share: Of ``packets_lost``: which share of the packets that the board sends.
        jump_seconds: Of ``clock_jump``: how far, on or (negative) back.
    """

    kind: FaultKind
    at_seconds: float = bounded(low=0.0, high=LONGEST_SECONDS)
    for_seconds: float = bounded(1.0, low=0.05, high=LONGEST_SECONDS)
    jitter_seconds: float = bounded(0.0, low=0.0, high=LONGEST_SECONDS)
    repeat: int = bounded(1, low=1, high=MAX_ENTRIES)
    every_seconds: float = bounded(0.0, low=0.0, high=LONGEST_SECONDS)
    delay_seconds: float = bounded(0.1, low=0.001, high=60.0)
    bytes_per_second: float = bounded(2_000.0, low=1.0, high=1e9)
    loss_share: float = bounded(0.1, low=0.001, high=0.9)
    jump_seconds: float = bounded(3600.0, low=-1e9, high=1e9)


@dataclass(frozen=True, slots=True, kw_only=True)
class TemperaturePoint:
    """One ``[[temperature]]``: between two points it changes evenly.

    Attributes:
        at_seconds: When.
        celsius: What the sensor tells then.
    """

    at_seconds: float = bounded(low=0.0, high=LONGEST_SECONDS)
    celsius: float = bounded(low=-40.0, high=200.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerPoint:
    """One ``[[power]]``: what the meter tells from then on.

    Attributes:
        at_seconds: When.
        watts: How much.
    """

    at_seconds: float = bounded(low=0.0, high=LONGEST_SECONDS)
    watts: float = bounded(low=0.0, high=10_000.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RailPoint:
    """One ``[[rail]]``: what the monitor of a power rail tells from then on.

    Attributes:
        name: The rail, as its driver labels it.
        at_seconds: When.
        watts: How much.
    """

    name: str
    at_seconds: float = bounded(low=0.0, high=LONGEST_SECONDS)
    watts: float = bounded(low=0.0, high=10_000.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatteryPoint:
    """One ``[[battery]]``: between two points the charge changes evenly.

    Attributes:
        at_seconds: When.
        charge_ratio: What the battery tells then; 1 is full.
        watts: What it takes from then on, or (negative) gives.
    """

    at_seconds: float = bounded(low=0.0, high=LONGEST_SECONDS)
    charge_ratio: float = bounded(low=0.0, high=1.0)
    watts: float = bounded(0.0, low=-10_000.0, high=10_000.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One ``[[load]]``: processes on the board that compute and do nothing else.

    Attributes:
        at_seconds: When.
        for_seconds: How long.
        processes: How many.
    """

    at_seconds: float = bounded(low=0.0, high=LONGEST_SECONDS)
    for_seconds: float = bounded(1.0, low=0.05, high=LONGEST_SECONDS)
    processes: int = bounded(1, low=1, high=256)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """The table ``[expect]``: what must hold once all is undone and the agent was stopped in order.

    Attributes:
        missing_messages_max: Most messages that may be missing, to judge by their numbers.
        inferences_min: Least results, of all starts together.
        errors_max: Most failed inferences.
        events: Events that must have been told.
        forbidden_events: Events that must not.
        settle_seconds: How long the agent may take, after the end, to be heard again.
    """

    missing_messages_max: int = bounded(0, low=0, high=1_000_000_000)
    inferences_min: int = bounded(1, low=0, high=1_000_000_000)
    errors_max: int = bounded(0, low=0, high=1_000_000_000)
    events: tuple[str, ...] = ()
    forbidden_events: tuple[str, ...] = ()
    settle_seconds: float = bounded(30.0, low=0.1, high=3600.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One scenario.

    Attributes:
        name: For people.
        seed: What is drawn is drawn from it.
        duration_seconds: Its length.
        temperatures: By rising time; none: the temperature is left alone.
        powers: By rising time.
        rails: By rising time, those of each rail; none: there is no rail.
        batteries: By rising time; none: there is no battery.
        faults: By time.
        loads: By time.
        agent: Tables of ``agent.toml`` that are added to the defaults.
        expectation: What must hold at the end.
    """

    name: str
    seed: int
    duration_seconds: float
    temperatures: tuple[TemperaturePoint, ...] = ()
    powers: tuple[PowerPoint, ...] = ()
    rails: tuple[RailPoint, ...] = ()
    batteries: tuple[BatteryPoint, ...] = ()
    faults: tuple[Fault, ...] = ()
    loads: tuple[Load, ...] = ()
    agent: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    expectation: Expectation = field(default_factory=Expectation)

    def __post_init__(self) -> None:
        """Make the mappings read-only."""
        tables = {name: MappingProxyType(dict(table)) for name, table in self.agent.items()}
        object.__setattr__(self, "agent", MappingProxyType(tables))

    @property
    def needs(self) -> tuple[Feature, ...]:
        """Features that a rig must have for it, in alphabetical order."""
        found: set[Feature] = {"network"}
        for fault in self.faults:
            found.update(NEEDS[fault.kind])
        if self.temperatures:
            found.add("thermal")
        if self.powers:
            found.add("meter")
        if self.rails:
            found.add("rails")
        if self.batteries:
            found.add("battery")
        return tuple(sorted(found))
