"""`Sensitivity`: how much noise leaves the outputs when one layer alone is exact, all others being quantized. Measured once, by running."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from host_tools.diagnose.measuring import Bench
from host_tools.diagnose.propagation import Setting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from host_tools.diagnose.layers import Layer
    from host_tools.model.float_model import FloatModel
    from host_tools.observe.calibration_set import CalibrationSet
    from host_tools.plan.quantization_plan import QuantizationPlan
    from host_tools.progress import Progress
    from targets.profile import Rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """What each layer costs at the outputs.

    Attributes:
        layers: All layers of the plan, in order of execution.
        arithmetic: By rank: squared error that goes when the layer computes with exact weights and its output stays in codes.
        output: By rank: squared error that goes besides when its output, and what only copies it, is not in codes either.
    """

    layers: tuple[Layer, ...]
    arithmetic: Mapping[int, float]
    output: Mapping[int, float]


def measure_sensitivity(
    original: FloatModel,
    model: FloatModel,
    plan: QuantizationPlan,
    *,
    rounding: Rounding,
    data: CalibrationSet,
    threads: int,
    progress: Progress,
) -> Sensitivity:
    """Run a few samples with every layer exact in turn.

    Args:
        original: The float model whose outputs are the reference.
        model: The model that the plan is about.
        plan: The plan.
        rounding: How the target rounds weights.
        data: Samples; the first few are used.
        threads: Samples that are run at the same time.
        progress: Told of every sample.

    Raises:
        DataError: A sample cannot be read.
        ModelError: ONNX Runtime refuses a layer or fails.
        LoweringError: A constant does not fit its parameters.
    """
    bench = Bench(original, model, plan, rounding=rounding, data=data, threads=threads)
    ranks = [layer.rank for layer in bench.switches]
    if not ranks:
        return Sensitivity(layers=bench.layers, arithmetic={}, output={})
    progress.stage("Measuring what each layer costs", bench.sample_count)
    as_planned = Setting(quantized=True, layers=frozenset(ranks[:1]), weights=True, output=True)
    before, *noises = bench.try_settings(
        [as_planned, *(_exact(rank, output) for output in (True, False) for rank in ranks)], progress
    )
    in_codes = dict(zip(ranks, noises[: len(ranks)], strict=True))
    in_float = dict(zip(ranks, noises[len(ranks) :], strict=True))
    return Sensitivity(
        layers=bench.layers,
        arithmetic={rank: _less(before, in_codes[rank]) for rank in ranks},
        output={rank: _less(in_codes[rank], in_float[rank]) for rank in ranks},
    )


def _exact(rank: int, output: bool) -> Setting:  # noqa: FBT001 - one of the two settings of every layer
    return Setting(quantized=True, layers=frozenset({rank}), weights=False, output=output)


def _less(before: float, after: float) -> float:
    """Return by how much noise fell; nothing can be said where it was or is not finite."""
    fall = before - after
    return fall if math.isfinite(fall) else 0.0
