"""`simulate`: a model and its plan become a `Simulator`, which computes what the target should output, code by code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from host_tools.errors import DataError, LoweringError
from host_tools.lower.coverage import require_coverage, require_precisions
from host_tools.lower.integers import dequantize_array
from host_tools.lower.planned_values import with_planned_values
from host_tools.plan.topology import constant, is_constant, is_float, named, outputs_of
from host_tools.simulate.constants import constant_codes
from host_tools.simulate.float_node import FloatNode
from host_tools.simulate.operators import OPERATORS
from host_tools.simulate.quantizer import Grid, Quantizer
from host_tools.simulate.reading import PLAN_ANEW, integer_node, stored_qparams, where

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import onnx_ir as ir

    from host_tools.model.float_model import FloatModel
    from host_tools.plan.quantization_plan import QParams, QuantizationPlan
    from targets.profile import CapabilityProfile, Rounding

Array = NDArray[Any]
_Reader = Callable[["Mapping[str, Array]"], Array]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Step:
    """One node and what it absorbs.

    Attributes:
        run: Takes the stored values so far, gives the stored values of ``writes``.
        writes: Names of what it stores.
        forgets: Names of what nothing reads after it.
    """

    run: Callable[[Mapping[str, Array]], Sequence[Array]]
    writes: tuple[str, ...]
    forgets: tuple[str, ...]


def simulate(model: FloatModel, plan: QuantizationPlan, profile: CapabilityProfile) -> Simulator:
    """Prepare the simulation of a plan.

    Args:
        model: The float model.
        plan: A plan for this model and this target.
        profile: The target: how it rounds, and how wide its accumulator is.

    Raises:
        LoweringError: The plan is for another model or another version of the target, does not fit the model, or has an operator in
            integers that is not simulated; the message names node or value.
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
    require_coverage(model, plan)
    require_precisions(plan, profile, ("int8", "int16", "float32"))
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
        self._graph = model.graph.graph
        self._edges = {(edge.node, edge.input_index): edge.qparams for edge in plan.requantize}
        self._outputs = tuple(spec.name for spec in model.outputs)
        self._constants = {
            name: self._real_constant(value)
            for name, value in self._graph.initializers.items()
            if name in self._outputs
        }
        self._steps = self._prepared()

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
            entered[spec.name] = array if qparams is None else _quantized(array, qparams, rounding, spec.name)
        return entered

    def _real(self, name: str, stored: Array) -> NDArray[np.float64]:
        qparams = self._plan.tensors[name].qparams
        if qparams is None or name in self._constants:
            return stored.astype(np.float64)
        return Grid.of(qparams, where=name).real(stored)

    # -- preparing ----------------------------------------------------------------------------------------------------------------

    def _prepared(self) -> tuple[_Step, ...]:
        """Return one step a node that is not absorbed, in the graph's order."""
        chains: dict[str, list[ir.Node]] = {}
        for node in self._graph:
            root = self._root(node)
            chains.setdefault(root, []).append(node)
        runs = []
        for nodes in chains.values():
            is_integer = self._plan.nodes[named(nodes[0])].precision != "float32"
            runs.append((nodes, self._integer(nodes) if is_integer else self._float(nodes)))
        last = {
            named(value): place
            for place, (nodes, _) in enumerate(runs)
            for node in nodes
            for value in node.inputs
        }
        steps = []
        for place, (nodes, run) in enumerate(runs):
            writes = tuple(named(value) for value in _written(nodes))
            touched = {
                named(value)
                for node in nodes
                for value in node.inputs
                if value is not None and not is_constant(value)
            }
            inner = {named(value) for node in nodes[:-1] for value in node.outputs}
            unread = {name for name in writes if name not in last}
            done = {name for name in touched - inner if last[name] == place} | unread
            steps.append(_Step(run=run, writes=writes, forgets=tuple(sorted(done - set(self._outputs)))))
        return tuple(steps)

    def _root(self, node: ir.Node) -> str:
        """Return the name of the node that does this one's work."""
        name = named(node)
        for _ in self._plan.nodes:
            into = self._plan.nodes[name].fused_into
            if into is None:
                return name
            if into not in self._plan.nodes:
                raise LoweringError(
                    f"{where(node)}: the plan fuses it into {into!r}, which it does not have.", hint=PLAN_ANEW
                )
            name = into
        raise LoweringError(f"{where(node)}: the plan fuses it into itself.", hint=PLAN_ANEW)

    def _integer(self, nodes: Sequence[ir.Node]) -> Callable[[Mapping[str, Array]], Sequence[Array]]:
        """Prepare a node of integer precision."""
        head = nodes[0]
        prepare = OPERATORS.get(head.op_type)
        if prepare is None or head.domain not in ("", "ai.onnx"):
            raise LoweringError(
                f"{where(head)}: planned in integers, which are not simulated for this operator.",
                hint=f"Keep it in float; simulated are {', '.join(sorted(OPERATORS))}.",
            )
        seen = integer_node(head, nodes[1:], self._plan, self._profile, self._edges)
        kernel = prepare(seen)
        readers: list[_Reader] = []
        for index, operand in enumerate(seen.inputs):
            if operand is None:
                readers.append(lambda _: np.empty(0))
            elif operand.constant is not None:
                readers.append(lambda _, constant=operand.constant: constant)  # type: ignore[misc]  # bound now, not when called
            else:
                seen.grid(index)  # refuses a float one
                readers.append(self._as_codes(operand.name, operand.qparams))
        count = len(_written(nodes))

        def run(stored: Mapping[str, Array]) -> Sequence[Array]:
            return kernel([read(stored) for read in readers])[:count]

        return run

    def _as_codes(self, name: str, wanted: QParams | None) -> _Reader:
        """Return what reads a stored value as codes of the wanted parameters."""
        source = self._plan.tensors[name].qparams
        if wanted is None:
            raise LoweringError(f"Value {name!r}: read as codes, but planned as float.", hint=PLAN_ANEW)
        if source is None:
            rounding = self._profile.rounding.activations
            return lambda stored: _quantized(stored[name], wanted, rounding, name)
        if source == wanted:
            return lambda stored: stored[name]
        grid, target = Grid.of(source, where=name), Grid.of(wanted, where=name)
        writer = Quantizer(
            grid=target, rounding=self._profile.rounding.requantization, low=target.low, high=target.high
        )
        return lambda stored: writer.write_codes(stored[name], grid)

    def _float(self, nodes: Sequence[ir.Node]) -> Callable[[Mapping[str, Array]], Sequence[Array]]:
        """Prepare a node that runs in float32."""
        constants = {
            named(value): self._real_constant(value)
            for node in nodes
            for value in node.inputs
            if value is not None and is_constant(value)
        }
        session = FloatNode(nodes, constants, self._graph.opset_imports[""])
        readers = {name: self._as_float(nodes, name) for name in session.inputs}
        written = [(named(value), stored_qparams(value, self._plan)) for value in _written(nodes)]
        rounding = self._profile.rounding.activations

        def run(stored: Mapping[str, Array]) -> Sequence[Array]:
            results = session.run({name: read(stored) for name, read in readers.items()})
            return [
                result
                if qparams is None or result.dtype != np.float32
                else _quantized(result, qparams, rounding, name)
                for result, (name, qparams) in zip(results, written, strict=True)
            ]

        return run

    def _as_float(self, nodes: Sequence[ir.Node], name: str) -> _Reader:
        """Return what reads a stored value as a float node does: dequantized in float32, after re-quantization where the plan has one."""
        edge = next(
            (
                self._edges[named(node), index]
                for node in nodes
                for index, value in enumerate(node.inputs)
                if named(value) == name and (named(node), index) in self._edges
            ),
            None,
        )
        qparams = self._plan.tensors[name].qparams if edge is None else edge
        if qparams is None:
            return lambda stored: stored[name]
        read = self._as_codes(name, qparams)
        return lambda stored: _dequantized(read(stored), qparams)

    def _real_constant(self, value: ir.Value) -> Array:
        """Return a constant as a float reader gets it: through its codes where the plan has them."""
        values = constant(value)
        planned = self._plan.tensors.get(named(value))
        if planned is None or planned.qparams is None or not is_float(value):
            return values
        codes = constant_codes(values, planned, planned.qparams, self._profile.rounding.weights)
        return dequantize_array(codes, planned.qparams, where=planned.name).astype(np.float32)


def _written(nodes: Sequence[ir.Node]) -> tuple[ir.Value, ...]:
    """Return the values that a chain stores: the last node's, and the head's further ones."""
    return outputs_of(nodes[-1])


def _quantized(values: Array, qparams: QParams, rounding: Rounding, name: str) -> NDArray[np.integer]:
    """Return the codes of float32 values. float64 tells each quotient of two float32 from a half that it is not."""
    grid = Grid.of(qparams, where=f"Value {name!r}")
    if np.isnan(values).any():
        raise DataError(
            f"Value {name!r}: NaN has no code.", hint="Keep what reads it in float, or leave the sample out."
        )
    return Quantizer(grid=grid, rounding=rounding, low=grid.low, high=grid.high).write_real(
        values.astype(np.float64)
    )


def _dequantized(codes: Array, qparams: QParams) -> NDArray[np.float32]:
    """Return the real values in float32 arithmetic, as DequantizeLinear has them."""
    difference = (codes.astype(np.int32) - qparams.zero_point[0]).astype(np.float32)
    real: NDArray[np.float32] = difference * np.float32(qparams.scale[0])
    return real
