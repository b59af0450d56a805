"""`Options`: what a run was asked for. Handed as JSON to the process of each benchmark."""

from __future__ import annotations

import argparse
import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from host_tools.processor import suited

if TYPE_CHECKING:
    from collections.abc import Sequence

BENCHMARKS = ("accuracy", "latency", "conversion", "memory", "agent", "field", "hard")
TARGETS = tuple(suited(target) for target in ("x86_64-onnxruntime", "x86_64-openvino", "cortex-a-tflite"))
"""The standard targets: of those for this kind of processor, the ones whose kernels compute on it what was planned."""
CALIBRATION_IMAGES = 200
EVALUATION_IMAGES = 800
HARD_TARGETS = (
    "generic-per-tensor-symmetric",
    "generic-power-of-two",
    "nxp-neutron",
    "amd-vitis-dpu",
    "espressif-esp32s3",
    "generic-per-tensor",
    "generic-symmetric",
)
SIMULATED_IMAGES = EVALUATION_IMAGES
PEER_MINUTES = 20
THREADS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a run was asked for.

    Attributes:
        data: Folder with ``labels.csv`` (file, index, split) and ``images``.
        work: Folder of this run; everything in it is made by this run.
        images: Use at most so many of each split; None: all that the benchmarks want (200 and 800).
        rounds: Interleaved rounds of latency and of agent against engine.
        repeats: Fresh processes for each conversion, memory and start-up figure.
        agent_seconds: Length of the window in which the agent's memory is sampled.
        slow_peers: Also run ONNX Runtime's percentile calibration (minutes, 13 GB).
        hard_targets: The targets of the benchmark ``hard``.
        peer_minutes: How long a peer of ``hard`` may take.
        simulated: Evaluation images that the simulator runs on, which takes seconds for each.
    """

    data: Path
    work: Path
    images: int | None
    rounds: int
    repeats: int
    agent_seconds: float
    slow_peers: bool
    hard_targets: tuple[str, ...] = HARD_TARGETS
    peer_minutes: int = PEER_MINUTES
    simulated: int = SIMULATED_IMAGES

    @property
    def calibration_images(self) -> int:
        """How many calibration images the benchmarks use."""
        return min(CALIBRATION_IMAGES, self.images or CALIBRATION_IMAGES)

    @property
    def evaluation_images(self) -> int:
        """How many evaluation images the benchmarks use."""
        return min(EVALUATION_IMAGES, self.images or EVALUATION_IMAGES)

    def to_json(self) -> str:
        """Return the options as JSON; `from_json` reads it back."""
        return json.dumps(
            {field.name: _plain(getattr(self, field.name)) for field in dataclasses.fields(self)}
        )

    @classmethod
    def from_json(cls, text: str) -> Options:
        """Read what `to_json` wrote."""
        document = json.loads(text)
        paths = {name: Path(document[name]) for name in ("data", "work")}
        return cls(**{**document, **paths, "hard_targets": tuple(document["hard_targets"])})


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else value


def some_of(text: str, *, known: Sequence[str]) -> tuple[str, ...]:
    """Read ``NAME,…``, for argparse; returns the names in the order of ``known``.

    Raises:
        argparse.ArgumentTypeError: A name is not known.
    """
    wanted = text.split(",")
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise argparse.ArgumentTypeError(f"expected some of {', '.join(known)}, got {', '.join(unknown)}")
    return tuple(name for name in known if name in wanted)
