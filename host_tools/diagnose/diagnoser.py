"""`diagnose`: where each target loses accuracy, and what would bring it back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from host_tools.diagnose.diagnosis import Diagnosis, FloatRung, LayerDiagnosis, TensorDiagnosis, WhatIf
from host_tools.diagnose.findings import Evidence, findings_of
from host_tools.diagnose.layer_runner import quantized_constant
from host_tools.diagnose.measuring import Bench, is_quantized
from host_tools.diagnose.ratios import decibels, gain, share
from host_tools.diagnose.remedies import costliest, try_remedies
from host_tools.diagnose.tensor_fit import output_fit, weight_fit
from host_tools.model.graph_editor import constant_of
from host_tools.plan.planned_values import with_planned_values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import onnx_ir as ir
    from numpy.typing import NDArray

    from host_tools.diagnose.layers import Layer
    from host_tools.diagnose.local_error import LocalError
    from host_tools.diagnose.measuring import Measured
    from host_tools.diagnose.remedies import Trial
    from host_tools.model.float_model import FloatModel
    from host_tools.observe.statistics import Statistics
    from host_tools.plan.quantization_plan import QuantizationPlan
    from host_tools.progress import Progress
    from host_tools.verify.candidate import Candidate, Evaluation
    from host_tools.verify.samples import SampleErrors
    from host_tools.verify.verification_report import LayerError, TargetReport
    from targets.profile import Rounding

EXPLAINED_LAYERS = 12
_ENOUGH = 0.005  # of the summed error: less is not worth a sentence
_WEIGHT_AXIS = {"ConvTranspose": 1, "MatMul": -1}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subject:
    """One target to diagnose.

    Attributes:
        model: The model that plan and statistics are about.
        candidate: Profile, plan and payload.
        statistics: What the plan was made from.
        report: What verification found.
        samples: The same, sample by sample.
    """

    model: FloatModel
    candidate: Candidate
    statistics: Statistics
    report: TargetReport
    samples: SampleErrors


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Examined:
    """What holds for every target whose plan comes to the same arithmetic."""

    bench: Bench
    measured: Measured
    trials: Mapping[int, Trial]
    ladder: tuple[FloatRung, ...]


def diagnose(
    original: FloatModel,
    subjects: Sequence[Subject],
    *,
    evaluation: Evaluation,
    threads: int,
    progress: Progress,
) -> dict[str, Diagnosis]:
    """Diagnose every target; plans that come to the same arithmetic are measured once.

    Args:
        original: The float model whose outputs are the reference.
        subjects: One a target.
        evaluation: Samples; the first few are used.
        threads: Samples that are run at the same time.
        progress: Told of every sample.

    Returns:
        By target, in the order of ``subjects``.

    Raises:
        DataError: A sample cannot be read.
        ModelError: ONNX Runtime refuses a layer or fails.
        LoweringError: A constant does not fit its parameters.
    """
    examined: dict[object, _Examined] = {}
    found: dict[str, Diagnosis] = {}
    for subject in subjects:
        key = (id(subject.model), _arithmetic(subject.candidate.plan), _rounding(subject))
        if key not in examined:
            examined[key] = _examine(original, subject, evaluation, threads, progress)
        found[subject.report.target] = _diagnosis(original, subject, examined[key], evaluation)
    return found


def _examine(
    original: FloatModel, subject: Subject, evaluation: Evaluation, threads: int, progress: Progress
) -> _Examined:
    plan = subject.candidate.plan
    bench = Bench(
        original,
        subject.model,
        plan,
        rounding=_rounding(subject),
        data=evaluation.data,
        threads=threads,
    )
    progress.stage(f"Diagnosing {subject.report.target}", 2 * bench.sample_count)
    measured = bench.measure(progress)
    trials, ladder = try_remedies(
        bench,
        measured,
        plan,
        is_power_of_two=subject.candidate.profile.scale.kind == "power_of_two",
        progress=progress,
    )
    return _Examined(bench=bench, measured=measured, trials=trials, ladder=ladder)


def _rounding(subject: Subject) -> Rounding:
    return subject.candidate.profile.rounding.weights


def _arithmetic(plan: QuantizationPlan) -> object:
    """Return what decides the numbers of a run; codes that only start elsewhere come to the same."""
    tensors = tuple(
        (
            name,
            tensor.role,
            tensor.values,
            tensor.codes,
            None
            if tensor.qparams is None
            else (
                tensor.qparams.scale,
                tuple(tensor.qparams.quant_min - zero for zero in tensor.qparams.zero_point),
                tensor.qparams.quant_max - tensor.qparams.quant_min,
                tensor.qparams.axis,
            ),
        )
        for name, tensor in plan.tensors.items()
    )
    return tensors, tuple(node.fused_into for node in plan.nodes.values()), plan.requantize


def _diagnosis(
    original: FloatModel, subject: Subject, examined: _Examined, evaluation: Evaluation
) -> Diagnosis:
    bench, measured = examined.bench, examined.measured
    explained = {layer.rank for layer in costliest(bench.switches, measured)[:EXPLAINED_LAYERS]}
    can_float = subject.candidate.profile.fallback.to != "refuse"
    describer = _Describer(subject, examined, explained=explained, can_float=can_float)
    return Diagnosis(
        model=original.name,
        model_digest=original.digest,
        target=subject.report.target,
        verdict=subject.report.verdict,
        sample_count=measured.sample_count,
        sample_origin=evaluation.origin,
        output_sqnr_db=decibels(measured.signal, measured.noise),
        layers=tuple(describer.describe(layer) for layer in bench.layers if is_quantized(layer, bench.plan)),
        ladder=examined.ladder if can_float else (),
        samples=subject.samples,
        notes=(),
    )


class _Describer:
    """Puts together what is known of each layer."""

    def __init__(
        self, subject: Subject, examined: _Examined, *, explained: set[int], can_float: bool
    ) -> None:
        self._subject = subject
        self._examined = examined
        self._explained = explained
        self._can_float = can_float
        self._plan = subject.candidate.plan
        self._constants = subject.model.graph.graph.initializers
        self._planned = with_planned_values(subject.model, self._plan).graph.graph.initializers
        self._seen: dict[str, LayerError] = {layer.value: layer for layer in subject.report.layers}
        self._alone = sum(examined.measured.alone.values())

    def describe(self, layer: Layer) -> LayerDiagnosis:
        """Return everything about one layer."""
        value = layer.outputs[0]
        error = self._examined.measured.local.get(value)
        seen = self._seen.get(value)
        output, weights = self._output(value, error), self._weights(layer)
        what_if = self._what_if(layer)
        trial = self._examined.trials.get(layer.rank)
        copied = None if layer.copies is None else self._examined.bench.layers[layer.copies].name
        is_explained = (
            what_if is not None and what_if.noise_share >= _ENOUGH and layer.rank in self._explained
        )
        return LayerDiagnosis(
            name=layer.name,
            op_type=layer.op_type,
            fused=tuple(node.op_type for node in layer.nodes[1:]),
            value=value,
            position=layer.rank,
            precision=self._plan.nodes[layer.name].precision if layer.nodes else "int8",
            cumulative_db=None if seen is None else seen.sqnr_db,
            is_seen=seen is not None,
            local_db=None if error is None or copied else _of(error, error.noise),
            weights_db=_of(error, error.weights_noise) if error is not None and layer.weights else None,
            output_db=_of(error, error.output_noise)
            if error is not None and output is not None and not copied
            else None,
            copies=copied,
            what_if=what_if,
            output=output,
            weights=weights,
            findings=findings_of(
                Evidence(
                    error=error,
                    output=output,
                    weights=weights,
                    seen=self._subject.statistics.tensors.get(value),
                )
            )
            if error is not None and is_explained
            else (),
            remedies=trial.remedies(can_float=self._can_float) if trial is not None and is_explained else (),
            reason=self._plan.nodes[layer.name].reason if layer.nodes else self._plan.tensors[value].reason,
        )

    def _what_if(self, layer: Layer) -> WhatIf | None:
        measured = self._examined.measured
        if layer.rank not in measured.alone:
            return None
        trial = self._examined.trials.get(layer.rank)
        return WhatIf(
            alone_db=decibels(measured.signal, measured.alone[layer.rank]),
            noise_share=share(measured.alone[layer.rank], self._alone),
            gain_db=gain(measured.noise, measured.without[layer.rank]),
            gain_weights_db=None if trial is None else trial.gain_weights_db,
            gain_output_db=None if trial is None else trial.gain_output_db,
        )

    def _output(self, value: str, error: LocalError | None) -> TensorDiagnosis | None:
        planned = self._plan.tensors[value]
        if planned.qparams is None or error is None:
            return None
        return output_fit(planned, planned.qparams, error, self._subject.statistics.tensors.get(value))

    def _weights(self, layer: Layer) -> TensorDiagnosis | None:
        named = [name for name in layer.weights if self._plan.tensors[name].role != "bias"]
        if not named:
            return None
        planned = self._plan.tensors[named[0]]
        exact = _array(self._constants, named[0])
        if planned.qparams is None or exact.size == 0:
            return None
        rounding = _rounding(self._subject)
        quantized = quantized_constant(_array(self._planned, named[0]), named[0], self._plan, rounding)
        axis = planned.qparams.axis
        if axis is None:
            axis = _WEIGHT_AXIS.get(layer.op_type, 0) % max(exact.ndim, 1)
        return weight_fit(planned, planned.qparams, exact, quantized, axis=axis)


def _array(constants: Mapping[str, ir.Value], name: str) -> NDArray[np.generic]:
    array = constant_of(constants.get(name))
    return np.zeros(0, np.float32) if array is None else array


def _of(error: LocalError, noise: NDArray[np.float64]) -> float | None:
    return decibels(float(error.signal.sum()), float(noise.sum()))
