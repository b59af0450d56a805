"""`reconstruct`: operator by operator, in the order in which they run, weights are rounded and biases set anew.

Each operator sees what it will see on the device: inputs that all operators before it have left, quantized. It is given the integers and
the bias for which its output comes closest, over the calibration samples, to what the float model has there. So it also makes up, as far as
it can, for what was lost before it.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from threadpoolctl import threadpool_limits

from host_tools.plan.topology import NodeInput, bias_of, constant, named, network_of, shape_of, weight_of
from host_tools.reconstruct.goals import goal_of
from host_tools.reconstruct.moments import Moments
from host_tools.reconstruct.patches import Patches
from host_tools.reconstruct.reading import read_at
from host_tools.reconstruct.rounding import rounded
from host_tools.reconstruct.steps import StepWriter, rounding_of_inputs, steps_of
from host_tools.reconstruct.stream import Stream, sizes_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_ir as ir
    from numpy.typing import NDArray

    from host_tools.model.float_model import FloatModel
    from host_tools.observe.calibration_set import CalibrationSet
    from host_tools.plan.quantization_plan import QParams, QuantizationPlan, TensorPlan
    from host_tools.plan.topology import Network
    from host_tools.progress import Progress
    from host_tools.reconstruct.checkpoint import Checkpoint
    from host_tools.reconstruct.goals import Goal
    from host_tools.reconstruct.steps import Step, StepRunner
    from targets.profile import CapabilityProfile

    Float64 = NDArray[np.float64]

_PLACES_PER_COLUMN: Final = 24
_LEAST_PLACES: Final = 4096
"""Places that are looked at, over all samples: as many as a column of the moments needs to be known well, and not more."""

_CAUTION: Final = 20.0
"""How many columns' worth of damping a sample is good for; more caution trusts the weights more and the samples less."""

_INDEPENDENT_PLACES: Final = 8
"""Places of one sample that count as independent: neighbours are alike."""

_MOST_MOMENTS: Final = 4608**2
"""Second moments of one operator, all groups together: those of a 3 x 3 convolution of 512 channels take 170 MB, a few times over."""

_BELOW_ONE: Final = 1.0 - 2.0**-18
"""Biases end so far from the last code: models hold them in float32, where a whole number of 32 bits is up to 64 off."""


def reconstruct(
    model: FloatModel,
    plan: QuantizationPlan,
    profile: CapabilityProfile,
    data: CalibrationSet,
    *,
    threads: int,
    progress: Progress,
    checkpoint: Checkpoint | None = None,
    deadline: float | None = None,
) -> QuantizationPlan:
    """Round weights and set biases by what each operator gives on quantized inputs.

    Args:
        model: The float model that the plan is for.
        plan: Its scales and placement stay.
        profile: The target.
        data: Calibration samples, in any order; as many as memory allows are used at once.
        threads: Threads of one inference.
        progress: Told of every operator with weights.
        checkpoint: Keeps finished operators; removed at the end. None: nothing is kept.
        deadline: Time (`time.monotonic`) after which what is left keeps the weights and biases that the plan has, and says so in the plan's
            warnings. None: no limit.

    Returns:
        The plan with codes for weights and values for biases; the plan itself where no operator's weights can be rounded so. Operators
        that are too wide for their moments to fit into memory stay as they are, and the plan's warnings name them.

    Raises:
        DataError: A sample cannot be read.
        ModelError: ONNX Runtime refuses or fails to run an operator.
        OutputError: The checkpoint cannot be written.
    """
    network = network_of(model.graph)
    steps = steps_of(network, plan)
    writer = StepWriter(model, network, profile, threads=threads)
    sizes = sizes_of(steps, network, plan, len(data))
    inputs = {name: qparams for name in network.inputs if (qparams := plan.tensors[name].qparams) is not None}
    stream = Stream(steps=steps, data=data, inputs=inputs, sizes=sizes, rounding=rounding_of_inputs(profile))
    improvable = [step for step in steps if _is_improvable(step, plan)]
    progress.stage("Reconstructing operator by operator", len(improvable))
    current, done = _with_wide_ones_named(plan, steps), 0
    for step in steps:
        if done == len(improvable):
            break
        if deadline is not None and time.monotonic() >= deadline:
            return _stopped(current, improvable, done)
        stream.fill()
        exact = writer.exact(step)
        if _is_improvable(step, plan):
            goal = goal_of(step, network)
            solver = _Solver(step=step, goal=goal, network=network, plan=current, profile=profile)
            solution = solver.restored(checkpoint)
            if solution is None:
                with threadpool_limits(
                    1, user_api="blas"
                ):  # threads would add up in another order, and spin beside ONNX Runtime's
                    solution = solver.solve(stream, exact)
                if checkpoint is not None:
                    checkpoint.keep(named(step.head), codes=solution.codes, bias=solution.bias)
            current = solver.applied(solution)
            done += 1
            progress.step()
        stream.finish(exact, writer.quantized(step, current))
    if checkpoint is not None:
        checkpoint.remove()
    return current


def _stopped(plan: QuantizationPlan, improvable: Sequence[Step], done: int) -> QuantizationPlan:
    warning = f"reconstruction stopped after {done} of {len(improvable)} operators, when its time was up."
    return dataclasses.replace(plan, warnings=(*plan.warnings, warning))


def _with_wide_ones_named(plan: QuantizationPlan, steps: Sequence[Step]) -> QuantizationPlan:
    wide = [
        f"{step.head.op_type} {named(step.head)!r}: {patches.columns} inputs of an output are too many to be rounded together; its weights are "
        f"rounded to nearest."
        for step in steps
        if (patches := _gathered(step, plan)) is not None and _moments(patches) > _MOST_MOMENTS
    ]
    return dataclasses.replace(plan, warnings=(*plan.warnings, *wide)) if wide else plan


def _moments(patches: Patches) -> int:
    return patches.groups * patches.columns**2


def _is_improvable(step: Step, plan: QuantizationPlan) -> bool:
    """Tell whether a step's head has integer weights that can be solved for."""
    patches = _gathered(step, plan)
    return patches is not None and _moments(patches) <= _MOST_MOMENTS


def _gathered(step: Step, plan: QuantizationPlan) -> Patches | None:
    """Return the patches of a step's head if it has an integer weight, and a bias or need of none."""
    weight, bias = weight_of(step.head), bias_of(step.head)
    if weight is None or plan.tensors[named(weight)].qparams is None:
        return None
    return Patches.of(step.head) if bias is not None or step.head.op_type == "MatMul" else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Solution:
    """Codes of a weight, in its shape, and a real bias, shape (outputs,), which an operator without a bias leaves out."""

    codes: Float64
    bias: Float64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Solver:
    """One operator."""

    step: Step
    goal: Goal
    network: Network
    plan: QuantizationPlan
    profile: CapabilityProfile

    def solve(self, stream: Stream, exact: StepRunner) -> _Solution:
        """Gather moments from all samples and find the integers."""
        node = self.step.head
        patches = _patches(node)
        values = patches.weights(np.asarray(constant(weight_of(node)), np.float64))
        moments, samples = self._moments(stream, exact, patches)
        qparams = _qparams(self.plan, named(weight_of(node)))
        scales, zeros = (_by_output(numbers, values) for numbers in (qparams.scale, qparams.zero_point))
        has_bias = bias_of(node) is not None
        codes = rounded(
            values,
            scales,
            moments.input_moments if has_bias else moments.input_moments_about_zero,
            moments.output_moments if has_bias else moments.output_moments_about_zero,
            low=qparams.quant_min - zeros,
            high=qparams.quant_max - zeros,
            damping=_CAUTION * patches.columns / samples,
            largest_sum=self.profile.accumulator.max_weight_sum,
        )
        means = (codes * scales[:, :, np.newaxis] @ moments.input_means[:, :, np.newaxis])[:, :, 0]
        bias = (moments.output_means - means).reshape(-1)
        return _Solution(codes=patches.as_weight(codes + zeros[:, :, np.newaxis]), bias=bias)

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

    def restored(self, checkpoint: Checkpoint | None) -> _Solution | None:
        """Return the solution that a checkpoint has; None when it has none, or one that does not fit."""
        node = self.step.head
        kept = checkpoint.find(named(node)) if checkpoint is not None else None
        if kept is None or set(kept) != {"codes", "bias"}:
            return None
        qparams, shape = _qparams(self.plan, named(weight_of(node))), shape_of(weight_of(node))
        codes, bias = kept["codes"], kept["bias"]
        patches = _patches(node)
        fits = (
            codes.shape == shape
            and (codes == np.clip(np.rint(codes), qparams.quant_min, qparams.quant_max)).all()
            and bias.shape == (patches.groups * patches.outputs,)
            and np.isfinite(bias).all()
        )
        return _Solution(codes=codes, bias=bias) if fits else None

    def applied(self, solution: _Solution) -> QuantizationPlan:
        """Return the plan with a solution in it."""
        node = self.step.head
        weight, bias = named(weight_of(node)), bias_of(node)
        planned = self.plan.tensors[weight]
        qparams = _qparams(self.plan, weight)
        stored = solution.codes.astype(np.dtype(qparams.dtype).newbyteorder("<")).tobytes()
        tensors = dict(self.plan.tensors)
        tensors[weight] = dataclasses.replace(
            planned,
            codes=stored,
            reason=f"{planned.reason}; rounded so that its output on quantized inputs is nearest to the float model's",
        )
        if bias is not None:
            tensors[named(bias)] = self._bias_plan(named(bias), solution.bias)
        return dataclasses.replace(self.plan, tensors=tensors)

    def _bias_plan(self, name: str, values: Float64) -> TensorPlan:
        planned = self.plan.tensors[name]
        if planned.qparams is not None:
            limit = np.asarray(planned.qparams.scale) * planned.qparams.quant_max * _BELOW_ONE
            values = np.clip(values, -limit, limit)
        return dataclasses.replace(
            planned,
            values=tuple(float(value) for value in values),
            reason=f"{planned.reason.partition('; corrected')[0]}; set so that the mean of each output channel is the float model's",
        )


def _by_output(numbers: Sequence[float], values: Float64) -> Float64:
    """Return one number for each output of a weight given as (groups, outputs, columns), shape (groups, outputs)."""
    array = np.asarray(numbers, np.float64)
    return np.full(values.shape[:2], array[0]) if array.size == 1 else array.reshape(values.shape[:2])


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
