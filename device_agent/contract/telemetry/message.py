"""What every message of a device has, and the words that messages share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from device_agent.contract.document import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

TELEMETRY_VERSION = "1.2"
"""1.1: `InferenceWindow.model`, `.variant`, the same of `Result`, and `Birth.models`.

1.2: `Reported`, `InputWindow`, pressure in `SystemSample`.
"""

Clock = Literal["synced", "unsynced", "floor"]
Severity = Literal["info", "warning", "error"]
Variant = Literal["a", "b"]
"""Whose frames: the model's own artifact is `a`, the one that is tried beside it is `b`."""
Scalar = str | int | float | bool | None
"""What an event's details and a host's facts may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What every message carries.

    Attributes:
        time: Unix time in seconds; trust it as far as ``clock`` says.
        boot_id: Id of this run of the agent.
        seq: Number of the message in this run, from 0.
        uptime_seconds: Monotonic time since the agent started.
        clock: `synced` by a time service, `unsynced`, or `floor`: known to be wrong and lifted to the last
            time that was known.
        artifact: Digest of the artifact that runs; None when none does.
    """

    time: float
    boot_id: str
    seq: int
    uptime_seconds: float
    clock: Clock
    artifact: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """Base of every message; ``extra`` holds the fields of a newer minor version, kept as they came."""

    envelope: Envelope
    schema_version: str = TELEMETRY_VERSION
    extra: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make ``extra`` read-only."""
        object.__setattr__(self, "extra", frozen(self.extra))
