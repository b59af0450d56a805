"""What a device is and how it is: each state is retained by the broker until another replaces it."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from device_agent.contract.telemetry.message import Message

if TYPE_CHECKING:
    from collections.abc import Mapping

    from device_agent.contract.telemetry.message import Scalar, Severity, Variant

HealthStatus = Literal["up", "down", "degraded", "draining"]
CommandStatus = Literal["executing", "successful", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningModel:
    """One of several models, or one side of an A/B split, as a birth message tells it; None: not known yet.

    Attributes:
        model: Its name in the device's configuration.
        variant: Which side of a split; None when there is none.
        artifact: Digest of its artifact.
        model_name: From the manifest, likewise the next two.
        model_version: The model's version.
        target: Capability profile id.
        engine: Engine that runs it.
        engine_version: Version of the library.
    """

    model: str
    variant: Variant | None
    artifact: str | None
    model_name: str | None
    model_version: str | None
    target: str | None
    engine: str | None
    engine_version: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Birth(Message):
    """What the agent is; retained, sent on every connect. Engine, model and target are those of the main model.

    Attributes:
        agent_version: Version of Edgewright.
        python_version: Version of the interpreter.
        engine: Engine that runs, None when none does.
        engine_version: Version of the library that runs.
        model_name: From the manifest, likewise the next two.
        model_version: The model's version.
        target: Capability profile id.
        host: Facts of the machine: ``machine``, ``kernel``, ``cpu_model``, ``cpu_count``, …
        models: Every model and variant, where there is more than one; else empty.
    """

    agent_version: str
    python_version: str
    engine: str | None
    engine_version: str | None
    model_name: str | None
    model_version: str | None
    target: str | None
    host: Mapping[str, Scalar]
    models: tuple[RunningModel, ...] = ()

    def __post_init__(self) -> None:
        """Make the mappings read-only."""
        Message.__post_init__(self)
        object.__setattr__(self, "host", MappingProxyType(dict(self.host)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Health(Message):
    """Whether the agent works; retained. With `down` it is the last will, written when the agent connects.

    Attributes:
        status: `up`, `degraded` (works, but ``reason``), `draining` (stops after what it holds) or `down`.
        pid: Process id of the agent; None when not known.
        reason: Why; empty when up.
    """

    status: HealthStatus
    pid: int | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported(Message):
    """What a device that takes updates follows; retained at ``…/twin/reported``, sent on every connect and whenever it changes.

    What runs is the envelope's ``artifact``.

    Attributes:
        group: The group whose desired state it reads; None: it has none.
        targets: Capability profiles that may run here, best first; empty: any.
        desired_serial: Serial of the desired state that it last followed; 0: none yet.
        desired: Digest of what that wants here; None: nothing.
        in_trial: Whether that is what its trial wants.
        on_probation: What runs is not known to be good yet.
        counter_floor: Releases below it are refused unless that is signed.
    """

    group: str | None
    targets: tuple[str, ...]
    desired_serial: int
    desired: str | None
    in_trial: bool
    on_probation: bool
    counter_floor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm(Message):
    """A state that needs care; retained at ``…/a/<alarm>`` until an empty payload says that it is over."""

    severity: Severity
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandState(Message):
    """How far a command is; retained at ``…/cmd/<op>/<cmd_id>`` in place of the request (`commands.CommandRequest`).

    Attributes:
        status: `executing`, or how it ended: `successful` or `failed`. Nothing else follows an end.
        code: Why it failed, for programs; empty unless it failed.
        reason: What there is to say, for people; empty when nothing.
        result: What the command gave, by name; only `snapshot` gives something.
    """

    status: CommandStatus
    code: str
    reason: str
    result: Mapping[str, Scalar] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the mappings read-only."""
        Message.__post_init__(self)
        object.__setattr__(self, "result", MappingProxyType(dict(self.result)))
