"""`Session`: what the emitters share while one model is lowered: which tensor holds each value, in which layout and form.

An emitter reads its inputs through `read` or `read_constant`, adds its operators with `add`, and hands its result to `deliver`.
Layout, dequantization at a float node's door, re-quantized edges and quantization behind a float node happen there, nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from host_tools import layouts
from host_tools.errors import LoweringError
from host_tools.lower.integers import dequantize_array, quantize_array
from host_tools.lower.tflite.graph import TYPE_OF_DTYPE, GraphBuilder, Options, Quantization
from host_tools.lower.tflite.layout import Layouts, assign, shape_of
from host_tools.lower.tflite.plan_view import PLAN_ANEW, PlanView, as_quantization, input_name, refuse, where

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_ir as ir
    from numpy.typing import NDArray

    from host_tools.layouts import Layout
    from host_tools.lower.tflite.graph import TfliteType
    from host_tools.model.float_model import FloatModel
    from host_tools.plan.quantization_plan import QuantizationPlan, Requantize
    from targets.profile import CapabilityProfile


class Session(PlanView):
    """One lowering in progress.

    Attributes:
        graph: The file's tensors and operators so far.
        layouts: Where each value lies.
        values: Tensor that holds each value of the canonical graph, in the value's own layout.
        notes: Sentences for the payload.
    """

    def __init__(self, model: FloatModel, plan: QuantizationPlan, profile: CapabilityProfile) -> None:
        super().__init__(model, plan, profile)
        self.graph = GraphBuilder(profile.artifact.max_op_versions)
        self.layouts: Layouts = assign(self.source)
        self.values: dict[str, int] = {}
        self.notes: list[str] = []
        self._converted: dict[tuple[object, ...], int] = {}
        self._edges: dict[tuple[str, int], Requantize] = {(e.node, e.input_index): e for e in plan.requantize}

    # Reading

    def layout(self, value: ir.Value) -> Layout:
        """Return the layout of a value that is not a constant."""
        return self.layouts.of[str(value.name)]

    def read(self, node: ir.Node, index: int, layout: Layout | None = None) -> int:
        """Return the tensor that holds an input as the node reads it: integer or float by the node's precision.

        Args:
            node: The reading node.
            index: Which input.
            layout: Wanted layout; the value's own when None.

        Raises:
            LoweringError: An integer node would read a float value.
        """
        value = node.inputs[index]
        if value is None:
            raise refuse(node, f"input {index} is missing.")
        if self.is_constant(node, index):
            return self.read_constant(node, index, layout)
        tensor = self.in_precision(node, index, self.values[str(value.name)])
        if layout is None:
            return tensor
        return self.relayout(tensor, self.layout(value), layout, node)

    def in_precision(self, node: ir.Node, index: int, tensor: int) -> int:
        """Return the tensor dequantized, quantized or re-quantized as the plan says for this edge."""
        edge = self._edges.get((str(node.name), index))
        if edge is not None:
            tensor = self.requantized(tensor, as_quantization(edge.qparams))
        if not self.is_integer(node):
            return self.dequantized(tensor)
        if self.graph.tensors[tensor].quantization is None:
            raise refuse(
                node,
                f"runs in integers, but its input {index} ({self.graph.tensors[tensor].name!r}) is planned as float.",
                hint=PLAN_ANEW,
            )
        return tensor

    def read_constant(
        self, node: ir.Node, index: int, layout: Layout | None = None, *, rank: int | None = None
    ) -> int:
        """Return a constant tensor for an input, quantized per tensor where the node is an integer one.

        Args:
            node: The reading node.
            index: Which input.
            layout: Wanted layout after the rank was raised; the graph's own when None.
            rank: Rank to raise to with unit axes in front; the constant's own when None.

        Raises:
            LoweringError: The plan gives no parameters, or parameters per channel, to a constant of an integer node.
        """
        values, quantization = self.constant_codes(node, index)
        is_half = quantization is None and self.is_half(input_name(node, index))
        if rank is not None:
            values = values.reshape((1,) * (rank - values.ndim) + values.shape)
        if layout is not None:
            values = values.transpose(layout)
        if is_half:
            return self.dequantized(self.graph.constant(input_name(node, index), values.astype(np.float16)))
        return self.graph.constant(input_name(node, index), values, quantization)

    def constant_codes(self, node: ir.Node, index: int) -> tuple[NDArray[np.generic], Quantization | None]:
        """Return a constant input's codes and parameters, or its float values and None for a float node."""
        values = self.array(node, index)
        name = input_name(node, index)
        edge = self._edges.get((str(node.name), index))
        qparams = edge.qparams if edge is not None else self.qparams(name)
        if values.dtype != np.float32:
            return values, None
        if qparams is None:
            if self.is_integer(node):
                raise refuse(
                    node,
                    f"runs in integers, but its constant {name!r} has no quantization parameters.",
                    hint=PLAN_ANEW,
                )
            return values, None
        codes = quantize_array(values, qparams, self.profile.rounding.weights, where=name)
        if not self.is_integer(node):
            return dequantize_array(codes, qparams, where=name).astype(np.float32), None
        if qparams.axis is not None and len(set(qparams.scale)) > 1:
            raise refuse(
                node,
                f"constant {name!r} is planned with one scale per channel, which TFLite has for weights only.",
                hint=PLAN_ANEW,
            )
        return codes, as_quantization(qparams)

    # Changing form

    def dequantized(self, tensor: int) -> int:
        """Return the tensor as float32, behind a DEQUANTIZE where it holds integers or float16."""
        held = self.graph.tensors[tensor]
        if held.quantization is None and held.type != "FLOAT16":
            return tensor
        return self._convert(tensor, "DEQUANTIZE", None, Options(kind="DequantizeOptions"))

    def requantized(self, tensor: int, quantization: Quantization) -> int:
        """Return the tensor in other parameters, behind a QUANTIZE unless it has them."""
        if self.graph.tensors[tensor].quantization == quantization:
            return tensor
        return self._convert(tensor, "QUANTIZE", quantization, Options(kind="QuantizeOptions"))

    def _convert(
        self, tensor: int, operator: str, quantization: Quantization | None, options: Options
    ) -> int:
        key = (operator, tensor, quantization)
        if key not in self._converted:
            before = self.graph.tensors[tensor]
            suffix = "float" if quantization is None else quantization.dtype
            dtype: TfliteType = "FLOAT32" if quantization is None else quantization.type
            after = self.graph.tensor(f"{before.name}/{suffix}", before.shape, dtype, quantization)
            self.graph.operator(operator, [tensor], [after], options, where=f"{operator} of {before.name!r}")
            self._converted[key] = after
        return self._converted[key]

    def relayout(self, tensor: int, layout: Layout, wanted: Layout, node: ir.Node) -> int:
        """Return the tensor in another layout: itself, behind a RESHAPE when only unit axes move, or behind a TRANSPOSE (noted)."""
        return self.transpose(tensor, layouts.between(layout, wanted), node)

    def transpose(self, tensor: int, permutation: Layout, node: ir.Node, *, planned: bool = False) -> int:
        """Return the tensor transposed; ``planned`` says that the model itself has this Transpose, so it is not noted."""
        before = self.graph.tensors[tensor]
        if permutation == layouts.natural(len(permutation)):
            return tensor
        shape = layouts.permuted(before.shape, permutation)
        if not layouts.moves_data(before.shape, permutation):
            return self.reshape(tensor, shape, node)
        key = ("TRANSPOSE", tensor, permutation)
        if key not in self._converted:
            after = self.like(tensor, f"{before.name}/transposed", shape)
            order = self.graph.constant("permutation", np.asarray(permutation, np.int32))
            self.add(node, "TRANSPOSE", [tensor, order], [after], Options(kind="TransposeOptions"))
            self._converted[key] = after
            if not planned:
                self.notes.append(
                    f"{where(node)}: a TRANSPOSE of {before.name!r} {list(before.shape)} to {list(shape)} was inserted, "
                    "because its meaning depends on the channels-first order."
                )
        return self._converted[key]

    def reshape(self, tensor: int, shape: Sequence[int], node: ir.Node) -> int:
        """Return the tensor in another shape with its elements in the same order."""
        before = self.graph.tensors[tensor]
        wanted = tuple(shape)
        if before.shape == wanted:
            return tensor
        key = ("RESHAPE", tensor, wanted)
        if key not in self._converted:
            after = self.like(tensor, f"{before.name}/reshaped", wanted)
            self.copy_reshaped(tensor, after, node)
            self._converted[key] = after
        return self._converted[key]

    def copy_reshaped(self, tensor: int, after: int, node: ir.Node) -> None:
        """Add a RESHAPE from one tensor into another that exists."""
        shape = np.asarray(self.graph.tensors[after].shape, np.int32)
        target = self.graph.constant("shape", shape)
        self.add(
            node,
            "RESHAPE",
            [tensor, target],
            [after],
            Options(kind="ReshapeOptions", fields={"newShape": shape}),
        )

    # Writing

    def add(
        self,
        node: ir.Node,
        operator: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: Options | None = None,
    ) -> None:
        """Add an operator on behalf of a node; raises LoweringError when the target's version of it is too old."""
        self.graph.operator(operator, inputs, outputs, options, where=where(node))

    def like(self, tensor: int, name: str, shape: Sequence[int]) -> int:
        """Add an activation of another tensor's type and parameters."""
        model = self.graph.tensors[tensor]
        return self.graph.tensor(name, shape, model.type, model.quantization)

    def output(
        self, node: ir.Node, shape: Sequence[int], quantization: Quantization | None, index: int = 0
    ) -> int:
        """Add the activation that a node's operator writes; `deliver` it afterwards."""
        value = self.written(node, index)
        return self.graph.tensor(
            f"{value.name}/raw",
            shape,
            type_of(value) if quantization is None else quantization.type,
            quantization,
        )

    def deliver(self, node: ir.Node, tensor: int, layout: Layout | None = None, index: int = 0) -> None:
        """Make a tensor the node's output value, in the value's own layout and planned form.

        Args:
            node: The node that wrote it.
            tensor: What its operators wrote.
            layout: The tensor's layout; the value's own when None.
            index: Which output.
        """
        value = self.written(node, index)
        name = str(value.name)
        if layout is not None and name not in self.layouts.columns:
            tensor = self.relayout(tensor, layout, self.layout(value), node)
        qparams = self.qparams(name)
        tensor = (
            self.dequantized(tensor)
            if qparams is None
            else self.requantized(tensor, as_quantization(qparams))
        )
        if tensor not in self.values.values():
            self.graph.rename(tensor, name)
        self.values[name] = tensor


def type_of(value: ir.Value) -> TfliteType:
    """Return the type of a value that is not quantized.

    Raises:
        LoweringError: TFLite, or this lowering, has no such type.
    """
    name = "" if value.dtype is None else value.dtype.numpy().name
    for dtype, code in TYPE_OF_DTYPE.items():
        if dtype == name:
            return code
    raise LoweringError(
        f"Value {value.name!r} is of type {value.dtype}; TFLite files are written with {', '.join(TYPE_OF_DTYPE)}.",
        hint="Change the Cast in front of it, or choose a target of another format.",
    )


def output_shape(node: ir.Node, layout: Layout, index: int = 0) -> tuple[int, ...]:
    """Return an output's shape in a layout."""
    return layouts.permuted(shape_of(node.outputs[index]), layout)
