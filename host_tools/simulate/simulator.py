"""`simulate`: a model and its plan become a `Simulator`, which computes what the target should output, code by code."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from host_tools.errors import DataError, LoweringError
from host_tools.lower.coverage import require_coverage, require_precisions
from host_tools.model.topology import network_of
from host_tools.plan.planned_values import with_planned_values
from host_tools.simulate.quantizer import Grid
from host_tools.simulate.reading import PLAN_ANEW
from host_tools.simulate.steps import steps_of
from host_tools.simulate.stored import nearest_codes, quantized, real_constant

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from host_tools.model.float_model import FloatModel
    from host_tools.plan.quantization_plan import QuantizationPlan
    from host_tools.simulate.stored import Array
    from targets.profile import CapabilityProfile, Rounding


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OneOperator:
    """What one operator gives for the inputs that an engine had.

    Attributes:
        value: What it writes.
        operator: Its type, without what it absorbs.
        codes: What it should give, in the plan's type.
        found: What the engine gave, the nearest codes of the plan.
    """

    value: str
    operator: str
    codes: NDArray[np.integer]
    found: NDArray[np.integer]


def simulate(
    model: FloatModel,
    plan: QuantizationPlan,
    profile: CapabilityProfile,
    *,
    requantization: Rounding | None = None,
) -> Simulator:
    """Prepare the simulation of a plan.

    Args:
        model: The float model.
        plan: A plan for this model and this target.
        profile: The target: how it rounds, and how wide its accumulator is.
        requantization: How activations are rounded instead, where an engine that stands in does it its own way.

    Raises:
        LoweringError: The plan is for another model or another version of the target, is of another precision than int8, does not fit the
            model, or has an operator in integers that is not simulated; the message names node or value.
        ModelError: ONNX Runtime refuses a node that stays in float.
        VerificationError: A sum of products may pass 2^53.
    """
    if plan.model_digest != model.digest:
        raise LoweringError(
            f"Model {model.name!r} has digest {model.digest}, the plan is for {plan.model_digest}.",
            hint=PLAN_ANEW,
        )
    if plan.profile_digest != profile.digest:
        raise LoweringError(
            f"Target {profile.id!r} has digest {profile.digest}, the plan is for {plan.target!r} with {plan.profile_digest}.",
            hint="Plan for this target anew.",
        )
    if plan.precision != "int8":
        raise LoweringError(
            f"Model {model.name!r} is planned as {plan.precision}: the plan has no codes of activations to simulate.",
            hint="Only plans of precision int8 are simulated.",
        )
    require_coverage(model, plan)
    require_precisions(plan, profile, ("int8", "int16", "float32"))
    if requantization is not None:
        rounding = replace(profile.rounding, activations=requantization, requantization=requantization)
        profile = replace(profile, rounding=rounding)
    return Simulator(with_planned_values(model, plan), plan, profile)


class Simulator:
    """Computes a plan in exact integer arithmetic, one sample a call. Made by `simulate`.

    What the numbers are:

    - scales are the plan's, rounded to float32, as every file holds them; a rescale factor is the exact quotient of their products;
    - the sum of a weighted operator's products and its bias is exact, and must fit ``accumulator.bits``: one that does not is an error,
      because nothing says what hardware gives then (`VerificationError`);
    - each operator with codes as output rounds once, by ``rounding.requantization``, and saturates; a fused Relu or Clip is part of it;
    - where the device quantizes a float (its own input, a float node's output) it rounds by ``rounding.activations``; codes of an integer
      interface are made by the agent, half to even;
    - float nodes run in float32 on ONNX Runtime, on dequantized values.
    """

    def __init__(self, model: FloatModel, plan: QuantizationPlan, profile: CapabilityProfile) -> None:
        self._model = model
        self._plan = plan
        self._profile = profile
        graph = model.graph.graph
        self._outputs = tuple(spec.name for spec in model.outputs)
        self._types = _types_of(model)
        self._constants = {
            name: real_constant(value, plan, profile.rounding)
            for name, value in graph.initializers.items()
            if name in self._outputs
        }
        self._steps = steps_of(graph, plan, profile, kept=self._outputs)

    def run(self, feeds: Mapping[str, Array]) -> dict[str, NDArray[np.float64]]:
        """Compute one sample.

        Args:
            feeds: One array an input of the float model, of its shape and type.

        Returns:
            Real values of the float model's outputs, float64; a quantized one is float32 scale * (code - zero_point), exactly.

        Raises:
            DataError: An input is absent, of another shape or type, or not finite.
            VerificationError: An accumulator overflows, or zero is divided by zero.
            ModelError: ONNX Runtime failed at a float node.
        """
        stored = self._stored(feeds, keep=False)
        return {name: self._real(name, stored[name]) for name in self._outputs}

    def trace(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Compute one sample and return every activation that exists on the target, inputs included.

        Args:
            feeds: As for `run`.

        Returns:
            By value name of the canonical graph: codes in the plan's type where the value is quantized, else floats.

        Raises:
            DataError: As for `run`, and the same for the others.
        """
        return self._stored(feeds, keep=True)

    def one_by_one(self, found: Iterable[tuple[str, NDArray[np.float64]]]) -> Iterator[OneOperator]:
        """Compute each operator by itself, on what an engine had in front of it: nothing that differed earlier is magnified.

        Args:
            found: Names and real values of inputs and activations inside the engine, finite, in the canonical layout.

        Yields:
            Each operator with a quantized output of which that and everything it reads were found, in the graph's order.

        Raises:
            VerificationError: An accumulator overflows, or zero is divided by zero.
            ModelError: ONNX Runtime failed at a float node.
        """
        stored: dict[str, Array] = {**self._constants}
        for name, values in found:
            qparams = self._plan.tensors[name].qparams
            if qparams is not None:
                stored[name] = nearest_codes(values, qparams)
            else:  # rows of a table stay whole numbers: a node that stays in float takes them as nothing else
                stored[name] = values.astype(self._types.get(name, np.dtype(np.float32)))
        for step in self._steps:
            if any(name not in stored for name in (*step.reads, *step.writes)):
                continue
            for name, codes in zip(step.writes, step.run(stored), strict=True):
                if self._plan.tensors[name].qparams is not None:
                    yield OneOperator(value=name, operator=step.operator, codes=codes, found=stored[name])

    def _stored(self, feeds: Mapping[str, Array], *, keep: bool) -> dict[str, Array]:
        stored = {**self._constants, **self._entered(feeds)}
        for step in self._steps:
            stored.update(zip(step.writes, step.run(stored), strict=True))
            if not keep:
                for name in step.forgets:
                    del stored[name]
        return stored

    def _entered(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Return the inputs as the graph stores them."""
        entered: dict[str, Array] = {}
        is_float_interface = self._profile.interface.input_type == "float32"
        rounding: Rounding = self._profile.rounding.activations if is_float_interface else "half_even"
        for spec in self._model.inputs:
            array = feeds.get(spec.name)
            if array is None or array.shape != spec.shape or array.dtype != np.dtype(spec.dtype):
                got = "nothing" if array is None else f"{array.dtype} {array.shape}"
                raise DataError(f"Input {spec.name!r}: expected {spec.dtype} {spec.shape}, got {got}.")
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise DataError(f"Input {spec.name!r}: a value is NaN or infinite, and has no code.")
            qparams = self._plan.tensors[spec.name].qparams
            entered[spec.name] = array if qparams is None else quantized(array, qparams, rounding, spec.name)
        return entered

    def _real(self, name: str, stored: Array) -> NDArray[np.float64]:
        qparams = self._plan.tensors[name].qparams
        if qparams is None or name in self._constants:
            return stored.astype(np.float64)
        return Grid.of(qparams, where=name).real(stored)


def _types_of(model: FloatModel) -> Mapping[str, np.dtype[np.generic]]:
    """Return the types of the float model's values, as far as the graph tells them."""
    values = network_of(model.graph).values
    return {name: value.dtype.numpy() for name, value in values.items() if value.dtype is not None}
