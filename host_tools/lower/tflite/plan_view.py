"""`PlanView`: a model and its plan, asked node by node: precision, fusion, parameters, constants. Adds nothing to the file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from host_tools.errors import LoweringError
from host_tools.lower.tflite.graph import Quantization

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir as ir
    from numpy.typing import NDArray

    from host_tools.model.float_model import FloatModel
    from host_tools.plan.quantization_plan import NodePlan, QParams, QuantizationPlan
    from targets.profile import CapabilityProfile

NONE, RELU, RELU_N1_TO_1, RELU6 = 0, 1, 2, 3
"""Codes of ActivationFunctionType. Source: tflite/schema/schema.fbs."""

PLAN_ANEW = "Plan this model anew."
OTHER_WAY = "Change this part of the model before converting it, or choose a target of another format."

_ACTIVATIONS = {
    (0.0, math.inf): RELU,
    (-1.0, 1.0): RELU_N1_TO_1,
    (0.0, 6.0): RELU6,
    (-math.inf, math.inf): NONE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """A clip: values below ``low`` become ``low``, values above ``high`` become ``high``."""

    low: float
    high: float

    @property
    def activation(self) -> int | None:
        """The fused activation that does just this, or None."""
        return _ACTIVATIONS.get((self.low, self.high))


class PlanView:
    """What the plan says of a model, checked as it is read.

    Attributes:
        source: The canonical graph.
        plan: Its plan.
        profile: The target.
    """

    def __init__(self, model: FloatModel, plan: QuantizationPlan, profile: CapabilityProfile) -> None:
        self.source: ir.Graph = model.graph.graph
        self.plan = plan
        self.profile = profile
        self._fused = self._fused_by_root()

    def node_plan(self, node: ir.Node) -> NodePlan:
        """Return the plan's line for a node; `require_coverage` saw to it that there is one."""
        return self.plan.nodes[str(node.name)]

    def is_integer(self, node: ir.Node) -> bool:
        """Whether the node reads and writes integers; `require_precisions` saw to it that it is int8, int16 or float32."""
        return self.node_plan(node).precision in ("int8", "int16") and not self.is_dynamic(node)

    def is_dynamic(self, node: ir.Node) -> bool:
        """Whether the node reads and writes floats, and multiplies integers whose scale it finds at run time."""
        return self.node_plan(node).activations == "dynamic"

    def is_fused(self, node: ir.Node) -> bool:
        """Whether another node does this one's work."""
        return self.node_plan(node).fused_into is not None

    def fused(self, node: ir.Node) -> tuple[ir.Node, ...]:
        """Return the nodes that this one absorbs, in order."""
        return self._fused.get(str(node.name), ())

    def written(self, node: ir.Node, index: int = 0) -> ir.Value:
        """Return the value that the node writes: its own output, or that of the last node it absorbs."""
        absorbed = self.fused(node)
        return absorbed[-1].outputs[0] if absorbed and index == 0 else node.outputs[index]

    def qparams(self, name: str) -> QParams | None:
        """Return a value's planned parameters; None for float.

        Raises:
            LoweringError: The plan has no such tensor.
        """
        if name not in self.plan.tensors:
            raise LoweringError(
                f"The plan has no tensor {name!r}; it was made for another model.", hint=PLAN_ANEW
            )
        return self.plan.tensors[name].qparams

    def is_half(self, name: str) -> bool:
        """Whether the plan stores a constant in float16."""
        planned = self.plan.tensors.get(name)
        return planned is not None and planned.float_type == "float16"

    def is_stored(self, node: ir.Node, index: int) -> bool:
        """Whether a constant input lies in the file as codes although the node reads and writes floats."""
        if self.plan.precision == "int8" or not self.is_constant(node, index):
            return False
        return self.qparams(input_name(node, index)) is not None

    def output_quantization(self, node: ir.Node, index: int = 0) -> Quantization | None:
        """Return the parameters that the node writes: None for a float node, the plan's for an integer one.

        Raises:
            LoweringError: The node is an integer node but its output is planned as float.
        """
        if not self.is_integer(node):
            return None
        value = self.written(node, index)
        qparams = self.qparams(str(value.name))
        if qparams is None:
            raise refuse(
                node, f"runs in integers, but its output {value.name!r} is planned as float.", hint=PLAN_ANEW
            )
        return as_quantization(qparams)

    def bounds(self, node: ir.Node) -> Bounds:
        """Return the clip that the nodes absorbed by this one amount to.

        Raises:
            LoweringError: It absorbs an operator that TFLite cannot fuse.
        """
        low, high = -math.inf, math.inf
        for absorbed in self.fused(node):
            one = self.clip_bounds(absorbed)
            if one is None:
                raise LoweringError(
                    f"{where(absorbed)}: planned as fused into {node.name!r}, but TFLite fuses only Relu and Clip.",
                    hint="Remove the chain from the profile's fusions.",
                )
            low, high = (min(max(bound, one.low), one.high) for bound in (low, high))
        return Bounds(low=low, high=high)

    def clip_bounds(self, node: ir.Node) -> Bounds | None:
        """Return what a Relu or Clip node clips to; None for other operators."""
        if node.op_type == "Relu":
            return Bounds(low=0.0, high=math.inf)
        if node.op_type != "Clip":
            return None
        low, high = (self.array(node, index) if has_input(node, index) else None for index in (1, 2))
        return Bounds(
            low=-math.inf if low is None else float(low.reshape(-1)[0]),
            high=math.inf if high is None else float(high.reshape(-1)[0]),
        )

    def array(self, node: ir.Node, index: int) -> NDArray[np.generic]:
        """Return a constant input's values in the canonical layout. Not kept: an array may be a copy of the model's own bytes.

        Raises:
            LoweringError: The input is not a constant.
        """
        name = input_name(node, index)
        if not self.is_constant(node, index):
            raise refuse(node, f"input {index} ({name!r}) must be a constant for TFLite.")
        constant = self.source.initializers[name].const_value
        if constant is None:
            raise refuse(node, f"constant {name!r} has no values.", hint="Load the model with its data.")
        return constant.numpy()

    def is_constant(self, node: ir.Node, index: int) -> bool:
        """Whether an input is an initializer."""
        value = node.inputs[index] if has_input(node, index) else None
        return value is not None and value.name is not None and value.name in self.source.initializers

    def _fused_by_root(self) -> dict[str, tuple[ir.Node, ...]]:
        found: dict[str, tuple[ir.Node, ...]] = {}
        for node in self.source:
            root = self.node_plan(node).fused_into
            while (
                root is not None and root in self.plan.nodes and self.plan.nodes[root].fused_into is not None
            ):
                root = self.plan.nodes[root].fused_into
            if root is not None:
                found[root] = (*found.get(root, ()), node)
        return found


def has_input(node: ir.Node, index: int) -> bool:
    """Whether an optional input is there."""
    return len(node.inputs) > index and node.inputs[index] is not None


def input_name(node: ir.Node, index: int) -> str:
    """Return the name of an input; empty when it is missing."""
    value = node.inputs[index] if len(node.inputs) > index else None
    return "" if value is None else str(value.name)


def where(node: ir.Node) -> str:
    """Name a node for messages."""
    return f"{node.op_type} {node.name!r}"


def as_quantization(qparams: QParams) -> Quantization:
    """Round a plan's per-tensor parameters to the file's."""
    return Quantization.of(qparams.scale, qparams.zero_point, dtype=qparams.dtype)


def refuse(node: ir.Node, what: str, *, hint: str = OTHER_WAY) -> LoweringError:
    """Return the error for something that TFLite cannot express."""
    return LoweringError(f"{where(node)}: {what}", hint=hint)
