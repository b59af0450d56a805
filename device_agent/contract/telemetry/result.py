"""What one frame gave, where results are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from device_agent.contract.telemetry.message import Message

if TYPE_CHECKING:
    from device_agent.contract.telemetry.message import Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class TopK:
    """The k largest values of an output, largest first, by index into the flattened array."""

    name: str
    shape: tuple[int, ...]
    indices: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """All values of an output, flattened in C order."""

    name: str
    shape: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Smallest, largest and mean value of an output."""

    name: str
    shape: tuple[int, ...]
    minimum: float
    maximum: float
    mean: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Result(Message):
    """What one frame gave, in real units (dequantized) and the float model's layout.

    Attributes:
        frame: The frame's id.
        latency_seconds: Time in the engine.
        outputs: One entry an output, in the payload's order.
        model: Which of several models; None when there is only one.
        variant: Which side of an A/B split; None when there is none.
    """

    frame: str
    latency_seconds: float
    outputs: tuple[TopK | Raw | Summary, ...]
    model: str | None = None
    variant: Variant | None = None
