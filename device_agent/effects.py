"""What the agent can be told to do: what `core.Core.handle` gives out, and `agent` carries out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from device_agent.contract.telemetry.message import Scalar, Severity
    from device_agent.contract.telemetry.states import HealthStatus
    from device_agent.heat.policy import Measure


@dataclass(frozen=True, slots=True)
class VerifyArtifact:
    """Check the artifact's digest, then its manifest against this device."""


@dataclass(frozen=True, slots=True)
class LoadEngine:
    """Load the payload."""


@dataclass(frozen=True, slots=True)
class RunSelfTest:
    """Run the golden samples."""


@dataclass(frozen=True, slots=True)
class StartInference:
    """Take frames and infer."""


@dataclass(frozen=True, slots=True)
class LeaveInference:
    """Leave the inference loop after the frame at hand; report `InferenceLeft`. The source stays open."""


@dataclass(frozen=True, slots=True)
class CommandDone:
    """A command about the model ended; an empty ``code`` is success."""

    key: tuple[str, str]
    code: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class StopWorker:
    """Leave the loop, or the step, as soon as that can be; report `WorkerStopped`."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Close the window and record its measurements; report `WindowClosed`."""

    final: bool


@dataclass(frozen=True, slots=True)
class ReadHeat:
    """Read the temperature, and the counters that wrap; report `HeatRead` where there is a heat policy."""


@dataclass(frozen=True, slots=True)
class ApplyHeat:
    """From now on these measures against heat hold, and no others."""

    measures: tuple[Measure, ...]


@dataclass(frozen=True, slots=True)
class RecordBirth:
    """Record the birth message and the units."""


@dataclass(frozen=True, slots=True)
class RecordHealth:
    """Record the retained health; `down` is the goodbye."""

    status: HealthStatus
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordEvent:
    """Record an event."""

    name: str
    severity: Severity
    text: str
    details: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReportLoss:
    """If messages were lost and nobody was told, record an event that tells."""


@dataclass(frozen=True, slots=True)
class Flush:
    """Report `Flushed` once everything recorded so far has reached the broker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """Close everything. ``code`` is ``ok``, ``restart``, or the error's code."""

    code: str
    message: str


Effect = (
    VerifyArtifact
    | LoadEngine
    | RunSelfTest
    | StartInference
    | LeaveInference
    | CommandDone
    | StopWorker
    | Sample
    | ReadHeat
    | ApplyHeat
    | RecordBirth
    | RecordHealth
    | RecordEvent
    | ReportLoss
    | Flush
    | Exit
)
