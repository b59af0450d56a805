"""Gates: what a release may cost, and what was found of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

GateMeasure = Literal[
    "latency_p50",
    "latency_p95",
    "energy_per_inference",
    "temperature",
    "throttled_share",
    "output_agreement",
    "crashes",
]
GateOutcome = Literal["passed", "failed", "undecided", "not_measured", "unavailable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What the candidate may cost, against the previous artifact on the same devices.

    Attributes:
        measure: What is compared. Latencies and energy by their ratio; temperature in °C, throttled share, mean cosine of outputs and crashes
            (per device-hour) by their difference.
        worst: The largest worsening that is allowed: 0.1 is a tenth slower, 5.0 five degrees warmer, 0.02 a mean cosine of outputs of
            0.98.
        confidence: Of the decision, each way.
        least_devices: Devices with figures of both artifacts before it decides.
        required: Whether a stage waits for it when it cannot be measured; else it is told and passed over.
    """

    measure: GateMeasure
    worst: float
    confidence: float = 0.99
    least_devices: int = 5
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GateFinding:
    """What a gate found, with the figures that an explanation shows.

    Attributes:
        gate: Which.
        outcome: What follows from it.
        devices: Devices with figures of both artifacts.
        estimate: The worsening, in the gate's unit; None: not measured.
        low: Lower end of its confidence interval.
        high: Upper end.
        text: One sentence for people.
    """

    gate: Gate
    outcome: GateOutcome
    devices: int = 0
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    text: str = ""
