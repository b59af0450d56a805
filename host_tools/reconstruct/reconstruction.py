"""`reconstruct`: operator by operator, in the order in which they run, weights are rounded and biases set anew.

Each operator sees what it will see on the device: inputs that all operators before it have left, quantized. It is given the integers and
the bias for which its output comes closest, over the calibration samples, to what the float model has there. So it also makes up, as far as
it can, for what was lost before it.
"""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Final

from threadpoolctl import threadpool_limits

from host_tools.model.topology import bias_of, named, network_of, weight_of
from host_tools.reconstruct.goals import goal_of
from host_tools.reconstruct.patches import Patches
from host_tools.reconstruct.solver import Solver
from host_tools.reconstruct.steps import StepWriter, rounding_of_inputs, steps_of
from host_tools.reconstruct.stream import Stream, sizes_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from host_tools.model.float_model import FloatModel
    from host_tools.observe.calibration_set import CalibrationSet
    from host_tools.plan.quantization_plan import QuantizationPlan
    from host_tools.progress import Progress
    from host_tools.reconstruct.checkpoint import Checkpoint
    from host_tools.reconstruct.steps import Step
    from targets.profile import CapabilityProfile

_MOST_MOMENTS: Final = 4608**2
"""Second moments of one operator, all groups together: those of a 3 x 3 convolution of 512 channels take 170 MB, a few times over."""


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
        plan: Its placement stays, and its scales, but for powers of two of weights, which may be halved or doubled.
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
            solver = Solver(step=step, goal=goal, network=network, plan=current, profile=profile)
            solution = solver.restored(checkpoint)
            if solution is None:
                with threadpool_limits(
                    1, user_api="blas"
                ):  # threads would add up in another order, and spin beside ONNX Runtime's
                    solution = solver.solve(stream, exact)
                if checkpoint is not None:
                    checkpoint.keep(
                        named(step.head), codes=solution.codes, bias=solution.bias, scales=solution.scales
                    )
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
