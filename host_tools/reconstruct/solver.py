"""`Solver`: one operator's integers and bias, from the samples that are on their way."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.model.topology import NodeInput, bias_of, constant, named, shape_of, weight_of
from host_tools.reconstruct.exponents import FACTORS, Exponents, with_scales
from host_tools.reconstruct.moments import Moments
from host_tools.reconstruct.patches import Patches
from host_tools.reconstruct.problem import Problem
from host_tools.reconstruct.reading import read_at
from host_tools.reconstruct.rounding import fitted

if TYPE_CHECKING:
    import onnx_ir as ir
    from numpy.typing import NDArray

    from host_tools.model.topology import Network
    from host_tools.plan.quantization_plan import QParams, QuantizationPlan, TensorPlan
    from host_tools.reconstruct.checkpoint import Checkpoint
    from host_tools.reconstruct.goals import Goal
    from host_tools.reconstruct.steps import Step, StepRunner
    from host_tools.reconstruct.stream import Stream
    from targets.profile import CapabilityProfile

    Float64 = NDArray[np.float64]

_PLACES_PER_COLUMN: Final = 24
_LEAST_PLACES: Final = 4096
"""Places that are looked at, over all samples: as many as a column of the moments needs to be known well, and not more."""

_CAUTION: Final = 20.0
"""How many columns' worth of damping a sample is good for where weights move to make up for what was lost before; more caution trusts
the weights more and the samples less. What rounding them does needs the inputs' moments alone, which are known better: there it is one
column's. With 20 for both, EfficientNet-Lite0 had 19.1 dB on `amd-vitis-dpu` instead of 20.3 (64 calibration photos kept from the fit);
with 0.2 for rounding 20.0."""

_INDEPENDENT_PLACES: Final = 8
"""Places of one sample that count as independent: neighbours are alike."""

_BELOW_ONE: Final = 1.0 - 2.0**-18
"""Biases end so far from the last code: models hold them in float32, where a whole number of 32 bits is up to 64 off."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Solution:
    """Codes of a weight, in its shape, its scales, and a real bias, shape (outputs,), which an operator without a bias leaves out."""

    codes: Float64
    bias: Float64
    scales: Float64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Solver:
    """One operator.

    Attributes:
        step: It, and what it absorbs.
        goal: What it is to give.
        network: The graph.
        plan: The plan so far.
        profile: The target.
    """

    step: Step
    goal: Goal
    network: Network
    plan: QuantizationPlan
    profile: CapabilityProfile

    def solve(self, stream: Stream, exact: StepRunner) -> Solution:
        """Gather moments from all samples, and find the integers; where scales are powers of two, the exponents too."""
        node = self.step.head
        patches = _patches(node)
        moments, samples = self._moments(stream, exact, patches)
        has_bias = bias_of(node) is not None
        inputs = moments.input_moments if has_bias else moments.input_moments_about_zero
        wanted = moments.output_moments if has_bias else moments.output_moments_about_zero
        weights = patches.weights(np.asarray(constant(weight_of(node)), np.float64))
        columns_a_sample = patches.columns / samples
        target = fitted(weights, inputs, wanted, damping=_CAUTION * columns_a_sample)
        problem = Problem(
            weights=target,
            inputs=inputs,
            outputs=target @ inputs,
            damping=columns_a_sample,
            largest_sum=self.profile.accumulator.max_weight_sum,
        )
        qparams, real, codes = problem.solved(
            Exponents(
                step=self.step,
                weight=_qparams(self.plan, named(weight_of(node))),
                plan=self.plan,
                profile=self.profile,
            )
        )
        means = (real @ moments.input_means[:, :, np.newaxis])[:, :, 0]
        bias = (moments.output_means - means).reshape(-1)
        return Solution(codes=patches.as_weight(codes), bias=bias, scales=np.asarray(qparams.scale))

    def _moments(self, stream: Stream, exact: StepRunner, patches: Patches) -> tuple[Moments, int]:
        """Return the moments of what the operator reads and is to give, and how many samples' worth of places are in them."""
        node, goal = self.step.head, self.goal
        moments = Moments(patches.groups, patches.columns, patches.outputs)
        wanted = max(_LEAST_PLACES, _PLACES_PER_COLUMN * patches.columns)
        each = min(patches.places, -(-wanted // len(stream.travellers)))
        reader = NodeInput(node=named(node), index=0)
        for number, (traveller, found) in enumerate(stream.exact_results(exact)):
            places = _scattered(patches.places, each, number)
            source = read_at(reader, named(node.inputs[0]), traveller.quantized, self.plan, self.profile)
            result = goal.wanted(traveller, found, self.network, self.plan, self.profile)
            moments.add(patches.inputs_at(source, places), patches.outputs_at(result, places))
        return moments, len(stream.travellers) * min(each, _INDEPENDENT_PLACES)

    def restored(self, checkpoint: Checkpoint | None) -> Solution | None:
        """Return the solution that a checkpoint has; None when it has none, or one that does not fit."""
        node = self.step.head
        kept = checkpoint.find(named(node)) if checkpoint is not None else None
        if kept is None or set(kept) != {"codes", "bias", "scales"}:
            return None
        qparams, shape = _qparams(self.plan, named(weight_of(node))), shape_of(weight_of(node))
        codes, bias, scales = kept["codes"], kept["bias"], kept["scales"]
        patches = _patches(node)
        fits = (
            codes.shape == shape
            and (codes == np.clip(np.rint(codes), qparams.quant_min, qparams.quant_max)).all()
            and bias.shape == (patches.groups * patches.outputs,)
            and np.isfinite(bias).all()
            and scales.shape == (len(qparams.scale),)
            and np.isin(scales / qparams.scale, FACTORS if self._has_exponents else 1.0).all()
        )
        return Solution(codes=codes, bias=bias, scales=scales) if fits else None

    def applied(self, solution: Solution) -> QuantizationPlan:
        """Return the plan with a solution in it."""
        node = self.step.head
        weight, bias = named(weight_of(node)), bias_of(node)
        planned = self.plan.tensors[weight]
        qparams = _qparams(self.plan, weight)
        stored = solution.codes.astype(np.dtype(qparams.dtype).newbyteorder("<")).tobytes()
        factors = solution.scales / qparams.scale
        moved = (
            f", {int((factors != 1.0).sum())} of {factors.size} scales too" if (factors != 1.0).any() else ""
        )
        tensors = dict(self.plan.tensors)
        tensors[weight] = dataclasses.replace(
            planned,
            qparams=with_scales(qparams, solution.scales),
            codes=stored,
            reason=f"{planned.reason}; rounded so that its output on quantized inputs is nearest to the float model's{moved}",
        )
        if bias is not None:
            tensors[named(bias)] = self._bias_plan(named(bias), solution.bias, factors)
        return dataclasses.replace(self.plan, tensors=tensors)

    @property
    def _has_exponents(self) -> bool:
        return self.profile.scale.kind == "power_of_two"

    def _bias_plan(self, name: str, values: Float64, factors: Float64) -> TensorPlan:
        planned = self.plan.tensors[name]
        if planned.qparams is not None:
            scales = np.asarray(planned.qparams.scale) * factors
            planned = dataclasses.replace(planned, qparams=with_scales(planned.qparams, scales))
        if planned.qparams is not None:
            limit = np.asarray(planned.qparams.scale) * planned.qparams.quant_max * _BELOW_ONE
            values = np.clip(values, -limit, limit)
        return dataclasses.replace(
            planned,
            values=tuple(float(value) for value in values),
            reason=f"{planned.reason.partition('; corrected')[0]}; set so that the mean of each output channel is the float model's",
        )


def _patches(node: ir.Node) -> Patches:
    patches = Patches.of(node)
    if patches is None:
        raise ValueError(f"{named(node)!r}: its inputs cannot be gathered")
    return patches


def _qparams(plan: QuantizationPlan, name: str) -> QParams:
    qparams = plan.tensors[name].qparams
    if qparams is None:
        raise ValueError(f"{name!r} is not quantized")
    return qparams


def _scattered(places: int, count: int, number: int) -> NDArray[np.intp]:
    """Return which places of a sample are looked at: all, or a scatter that differs from sample to sample and is the same every time."""
    if count >= places:
        return np.arange(places, dtype=np.intp)
    return np.random.default_rng([number, places]).choice(places, size=count, replace=False).astype(np.intp)
