"""`IntegerNode`: all that an operator's simulation needs to know of one node that runs in integers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from host_tools.errors import LoweringError
from host_tools.model.topology import constant, is_constant, named, shape_of
from host_tools.plan.fusion import bounds_of
from host_tools.simulate.constants import constant_codes
from host_tools.simulate.curves import curve_of
from host_tools.simulate.quantizer import Grid, Quantizer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import onnx_ir as ir
    from numpy.typing import NDArray

    from host_tools.plan.quantization_plan import QParams, QuantizationPlan
    from host_tools.simulate.curves import Curve
    from targets.profile import CapabilityProfile

    Array = NDArray[np.generic]

PLAN_ANEW = "Plan this model anew."


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Operand:
    """One input of an integer node, as the node reads it.

    Attributes:
        name: Of the value.
        shape: Of the value.
        qparams: None for a setting: axes, shapes, bounds.
        constant: Codes, or a setting's own values; None for an activation.
    """

    name: str
    shape: tuple[int, ...]
    qparams: QParams | None
    constant: Array | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IntegerNode:
    """One node that reads and writes integers, with what it absorbs.

    Attributes:
        node: The canonical node.
        inputs: Its inputs; None for one that is left out.
        outputs: What writes each output; None for one that nobody reads.
        accumulator_bits: Width of the target's sums of products.
    """

    node: ir.Node
    inputs: tuple[Operand | None, ...]
    outputs: tuple[Quantizer | None, ...]
    accumulator_bits: int

    @property
    def where(self) -> str:
        """The node, for messages."""
        return where(self.node)

    @property
    def output(self) -> Quantizer:
        """What writes the first output."""
        return self.written(0)

    def written(self, index: int) -> Quantizer:
        """Return what writes an output.

        Raises:
            LoweringError: The plan has no codes for it.
        """
        quantizer = self.outputs[index]
        if quantizer is None:
            raise LoweringError(
                f"{self.where}: runs in integers, but its output {index} is planned as float.", hint=PLAN_ANEW
            )
        return quantizer

    def has(self, index: int) -> bool:
        """Tell whether an optional input is there."""
        return index < len(self.inputs) and self.inputs[index] is not None

    def operand(self, index: int) -> Operand:
        """Return an input that must be there.

        Raises:
            LoweringError: It is left out.
        """
        found = self.inputs[index] if index < len(self.inputs) else None
        if found is None:
            raise LoweringError(f"{self.where}: its input {index} is missing.")
        return found

    def grid(self, index: int) -> Grid:
        """Return the per-tensor parameters in which an input is read.

        Raises:
            LoweringError: It has none, or one scale per channel.
        """
        qparams = self.operand(index).qparams
        if qparams is None:
            raise LoweringError(
                f"{self.where}: runs in integers, but its input {index} ({self.operand(index).name!r}) is planned as float.",
                hint=PLAN_ANEW,
            )
        return Grid.of(qparams, where=f"{self.where}: input {self.operand(index).name!r}")

    def setting(self, index: int) -> NDArray[np.generic]:
        """Return the values of an input that is a setting: axes, shapes, amounts.

        Raises:
            LoweringError: It is computed.
        """
        value = self.operand(index).constant
        if value is None:
            raise LoweringError(f"{self.where}: input {self.operand(index).name!r} must be a constant.")
        return value

    def refuse(self, what: str) -> LoweringError:
        """Return the error for something that integers are not simulated for."""
        return LoweringError(f"{self.where}: {what}", hint="Keep this node in float.")


def integer_node(
    node: ir.Node,
    absorbed: Sequence[ir.Node],
    plan: QuantizationPlan,
    profile: CapabilityProfile,
    edges: Mapping[tuple[str, int], QParams],
) -> IntegerNode:
    """Read the plan for one node.

    Args:
        node: A node of integer precision that no other absorbs, of a model with the planned values.
        absorbed: The nodes that it absorbs, in order.
        plan: The plan; it covers the model.
        profile: Its target.
        edges: Parameters of the re-quantized edges, by node and input.

    Raises:
        LoweringError: The plan's parameters do not fit.
    """
    rounding = profile.rounding
    inputs = tuple(
        None if value is None else _operand(value, edges.get((named(node), index)), plan, profile)
        for index, value in enumerate(node.inputs)
    )
    written = [
        absorbed[-1].outputs[0] if absorbed and index == 0 else value
        for index, value in enumerate(node.outputs)
    ]
    outputs: list[Quantizer | None] = []
    for index, value in enumerate(written):
        qparams = stored_qparams(value, plan)
        if qparams is None:
            outputs.append(None)
            continue
        grid = Grid.of(qparams, where=f"{where(node)}: output {value.name!r}")
        plain = Quantizer(grid=grid, rounding=rounding.requantization, low=grid.low, high=grid.high)
        outputs.append(_with_absorbed(plain, absorbed if index == 0 else ()))
    bits = profile.at(plan.nodes[named(node)].precision).accumulator.bits
    return IntegerNode(node=node, inputs=inputs, outputs=tuple(outputs), accumulator_bits=bits)


def stored_qparams(value: ir.Value, plan: QuantizationPlan) -> QParams | None:
    """Return the parameters in which an activation is stored; None for float, and for an output that is left out."""
    planned = plan.tensors.get(named(value))
    return None if planned is None or planned.role == "fused" else planned.qparams


def _operand(
    value: ir.Value, edge: QParams | None, plan: QuantizationPlan, profile: CapabilityProfile
) -> Operand:
    planned = plan.tensors.get(named(value))
    qparams = edge if edge is not None or planned is None else planned.qparams
    values = constant(value) if is_constant(value) else None
    if values is not None and qparams is not None and planned is not None:
        values = constant_codes(values, planned, qparams, profile.rounding.weights)
    return Operand(name=named(value), shape=shape_of(value), qparams=qparams, constant=values)


def _with_absorbed(plain: Quantizer, absorbed: Sequence[ir.Node]) -> Quantizer:
    """Return the quantizer that also does what the absorbed nodes do: a clip of codes where all are clips, else a curve."""
    if not absorbed:
        return plain
    bounds = [bounds_of(node) for node in absorbed]
    clips = [bound for bound in bounds if bound is not None]
    if len(clips) == len(bounds):
        low, high = -math.inf, math.inf
        for one_low, one_high in clips:
            low, high = (min(max(bound, one_low), one_high) for bound in (low, high))
        return plain.clipped(low, high)
    curves: list[Curve] = [curve_of(node) for node in absorbed]

    def chained(values: NDArray[np.float64]) -> NDArray[np.float64]:
        for curve in curves:
            values = curve(values)
        return values

    return Quantizer(grid=plain.grid, rounding=plain.rounding, low=plain.low, high=plain.high, curve=chained)


def where(node: ir.Node) -> str:
    """Name a node for messages."""
    return f"{node.op_type} {node.name!r}"
