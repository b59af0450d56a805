"""Write the canonical graph with its weights as codes, and where the plan says so with integer products of activations quantized at run time.

What stands for what:

- Gemm and MatMul on a weight in groups become ``MatMulNBits`` of ONNX Runtime, which multiplies by the packed codes themselves;
- a table that Gather reads is looked up as int8 codes, and the rows that were found are scaled;
- the int8 weight of any other float node stands behind a DequantizeLinear;
- a weight in float16 stands behind a Cast, one of a codebook behind a Gather; ONNX Runtime does both once, when it loads the file;
- a dynamic Gemm, MatMul or Conv becomes DynamicQuantizeLinear, then MatMulInteger or ConvInteger, then the product of both scales: standard
  ONNX, in the pattern that ONNX Runtime fuses.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx_ir as ir

from host_tools.errors import LoweringError
from host_tools.lower.coverage import require_coverage
from host_tools.lower.interface import payload_tensors
from host_tools.lower.onnx_file import onnx_bytes
from host_tools.lower.payload import Payload
from host_tools.lower.qdq_nodes import QdqNodes
from host_tools.model.topology import bias_of, constant, constant_weight, named, shape_of
from host_tools.packing import packed
from host_tools.plan.clustering import nearest
from host_tools.plan.codes import codes_of
from host_tools.plan.uncalibrated_weights import summed_axis
from host_tools.plan.weight_groups import bits_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from host_tools.model.float_model import FloatModel
    from host_tools.plan.quantization_plan import QParams, QuantizationPlan
    from targets.profile import CapabilityProfile

ORT_DOMAIN: Final = "com.microsoft"
_IN_FLOAT: Final = 1
"""MatMulNBits' accuracy_level that leaves activations in float32; other levels quantize them on the way."""


def lower(model: FloatModel, plan: QuantizationPlan, profile: CapabilityProfile) -> Payload:
    """Write a plan without calibration as ONNX.

    Returns:
        A payload of one file; `Payload.tensor_names` names every activation by its own name.

    Raises:
        LoweringError: The plan or the model cannot be written so; the message names value or node.
    """
    require_coverage(model, plan)
    source = model.graph.graph
    writer = _Writer(plan=plan)
    inputs = [writer.declare(value) for value in source.inputs if not value.is_initializer()]
    for node in source:
        writer.write(node)
    opsets = {"": source.opset_imports[""]}
    if any(node.domain == ORT_DOMAIN for node in writer.out.nodes):
        opsets[ORT_DOMAIN] = 1
    graph = ir.Graph(
        inputs,
        [writer.written(value) for value in source.outputs],
        nodes=writer.out.nodes,
        initializers=writer.out.initializers,
        opset_imports=opsets,
        name=model.name,
    )
    return Payload(
        format="onnx_qdq",
        files={"model.onnx": onnx_bytes(graph, opset=profile.artifact.opset)},
        inputs=payload_tensors(model.inputs, {}),
        outputs=payload_tensors(model.outputs, {}),
        tensor_names={name: name for name in writer.activations},
        notes=(),
    )


@dataclass(slots=True, kw_only=True)
class _Writer:
    """Writes node by node in the canonical order.

    Attributes:
        plan: What every weight becomes.
        out: What has been written.
        made: Canonical value to the value here.
        quantized: Canonical value to its codes, scale and zero point at run time.
        activations: Names of what nodes write.
    """

    plan: QuantizationPlan
    out: QdqNodes = field(default_factory=QdqNodes)
    made: dict[str, ir.Value] = field(default_factory=dict)
    quantized: dict[str, tuple[ir.Value, ir.Value, ir.Value]] = field(default_factory=dict)
    activations: list[str] = field(default_factory=list)

    def declare(self, value: ir.Value) -> ir.Value:
        """Return the value of the same name, shape and type, made on first demand."""
        name = named(value)
        if not name:
            return ir.Value(name="")
        if name not in self.made:
            self.made[name] = self.out.value(name, value.shape, value.dtype)
        return self.made[name]

    def written(self, value: ir.Value) -> ir.Value:
        """Return the graph output for a canonical one."""
        return self.read(value) or self.declare(value)

    def read(self, value: ir.Value | None) -> ir.Value | None:
        """Return what readers of a canonical value get: a constant is written when it is first read."""
        if value is None:
            return None
        name = named(value)
        if value.is_initializer() and name not in self.made:
            planned = self.plan.tensors.get(name)
            if planned is not None and planned.codebook is not None:
                codebook = np.asarray(planned.codebook, np.float32)
                self.made[name] = self.out.looked_up(name, nearest(constant(value), codebook), codebook)
                return self.made[name]
            is_half = planned is not None and planned.float_type == "float16"
            write = self.out.float16 if is_half else self.out.initializer
            self.made[name] = write(name, constant(value))
        return self.made[name]

    def write(self, node: ir.Node) -> None:
        """Write one node."""
        for value in node.outputs:
            if value.name and value.dtype == ir.DataType.FLOAT:
                self.activations.append(value.name)
        weight = constant_weight(node)
        qparams = None if weight is None else self.plan.tensors[named(weight)].qparams
        if weight is None or qparams is None:
            self._copy(node, [self.read(value) for value in node.inputs])
        elif self.plan.nodes[named(node)].activations == "dynamic":
            self._dynamic(node, weight, qparams)
        elif node.op_type == "Gather":
            self._table(node, weight, qparams)
        elif qparams.group_axis is not None:
            self._groups(node, weight, qparams)
        else:
            self._dequantized(node, weight, qparams)

    def _copy(self, node: ir.Node, inputs: list[ir.Value | None]) -> None:
        outputs = [self.declare(value) for value in node.outputs]
        self.out.add(node.op_type, inputs, outputs, node.attributes.values(), named(node))

    def _groups(self, node: ir.Node, weight: ir.Value, qparams: QParams) -> None:
        """Multiply by packed codes in groups: (outputs, groups, bytes of a group), scales and zero points likewise."""
        name, bits, size = named(weight), bits_of(qparams), qparams.group_size or 1
        codes, points = _unsigned(weight, qparams)
        if summed_axis(node) == 0:
            codes = codes.T
        rows, length = codes.shape
        grid = (rows, -(-length // size))
        codes = np.pad(codes, [(0, 0), (0, grid[1] * size - length)])
        blocks = packed(codes.reshape(*grid, size), bits=bits)
        scales, points = (
            (one.reshape(grid[::-1]).T if summed_axis(node) == 0 else one.reshape(grid))
            for one in (np.asarray(qparams.scale, np.float32), points)
        )
        parts = [
            self.out.initializer(f"{name}/codes", np.ascontiguousarray(blocks)),
            self.out.initializer(f"{name}/scales", np.ascontiguousarray(scales).reshape(-1)),
        ]
        if (points != 1 << (bits - 1)).any():  # what the operator takes where the input is absent
            table = np.ascontiguousarray(packed(np.ascontiguousarray(points), bits=bits))
            parts.append(self.out.initializer(f"{name}/zero_points", table.reshape(-1)))
        settings = {
            "K": length,
            "N": rows,
            "bits": bits,
            "block_size": size,
            "accuracy_level": _IN_FLOAT,
        }
        result = self._before_bias(node)
        self.out.add(
            "MatMulNBits",
            [self.read(node.inputs[0]), *parts],
            [result],
            [ir.AttrInt64(key, value) for key, value in settings.items()],
            named(node),
            domain=ORT_DOMAIN,
        )
        self._add_bias(node, result)

    def _table(self, node: ir.Node, weight: ir.Value, qparams: QParams) -> None:
        """Look codes up, and scale the rows that were found."""
        name, output = named(node), node.outputs[0]
        if qparams.axis != 0 or any(qparams.zero_point):
            raise LoweringError(
                f"Gather {name!r}: a table is looked up with one symmetric scale a row; the plan has others.",
                hint="Plan this model anew.",
            )
        codes, scales = _signed(weight, qparams), np.asarray(qparams.scale, np.float32).reshape(-1, 1)
        indices = self.read(node.inputs[1])
        rows = self.out.value(f"{name}/codes", output.shape, ir.DataType.INT8)
        real = self.out.value(f"{name}/codes/float", output.shape, ir.DataType.FLOAT)
        found = self.out.value(f"{name}/scales", None, ir.DataType.FLOAT)
        table = self.out.initializer(f"{named(weight)}/codes", codes)
        of_rows = self.out.initializer(f"{named(weight)}/scales", scales)
        self.out.add("Gather", [table, indices], [rows], node.attributes.values(), name)
        self.out.add("Gather", [of_rows, indices], [found], node.attributes.values(), f"{name}/scales/Gather")
        to_float = [ir.AttrInt64("to", int(ir.DataType.FLOAT))]
        self.out.add("Cast", [rows], [real], to_float, f"{name}/Cast")
        self.out.add("Mul", [real, found], [self.declare(output)], (), f"{name}/Mul")

    def _dequantized(self, node: ir.Node, weight: ir.Value, qparams: QParams) -> None:
        """Read the weight through a DequantizeLinear."""
        name = named(weight)
        codes = self.out.initializer(f"{name}/codes", _signed(weight, qparams))
        scale = self.out.initializer(f"{name}/scale", np.asarray(qparams.scale, np.float32))
        real = self.out.value(name, weight.shape, ir.DataType.FLOAT)
        axis = [ir.AttrInt64("axis", qparams.axis or 0)]
        self.out.add("DequantizeLinear", [codes, scale], [real], axis, f"{name}/DequantizeLinear")
        self._copy(node, [real if value is weight else self.read(value) for value in node.inputs])

    # Integer products

    def _dynamic(self, node: ir.Node, weight: ir.Value, qparams: QParams) -> None:
        """Multiply integers: the codes of the input, found at run time, by those of the weight."""
        name, codes = named(node), _signed(weight, qparams)
        scales = np.asarray(qparams.scale, np.float32)
        attributes: list[ir.Attr] = []
        op_type = "MatMulInteger"
        if node.op_type == "Gemm":
            codes = np.ascontiguousarray(codes.T)
        elif node.op_type == "Conv":
            op_type, attributes = "ConvInteger", list(node.attributes.values())
            scales = scales.reshape(1, -1, *[1] * (codes.ndim - 2))
        read, scale, zero_point = self._quantize(node)
        shape = node.outputs[0].shape
        table = self.out.initializer(f"{named(weight)}/codes", codes)
        of_weight = self.out.initializer(f"{named(weight)}/scale", scales)
        products = self.out.value(f"{name}/products", shape, ir.DataType.INT32)
        real = self.out.value(f"{name}/products/float", shape, ir.DataType.FLOAT)
        both = self.out.value(f"{name}/scale", ir.Shape(scales.shape), ir.DataType.FLOAT)
        self.out.add(op_type, [read, table, zero_point], [products], attributes, name)
        to_float = [ir.AttrInt64("to", int(ir.DataType.FLOAT))]
        self.out.add("Cast", [products], [real], to_float, f"{name}/Cast")
        self.out.add("Mul", [scale, of_weight], [both], (), f"{name}/scale/Mul")
        result = self._before_bias(node)
        self.out.add("Mul", [real, both], [result], (), f"{name}/Mul")
        self._add_bias(node, result)

    def _quantize(self, node: ir.Node) -> tuple[ir.Value, ir.Value, ir.Value]:
        """Return codes, scale and zero point of a node's input, found once for all that read it."""
        source = node.inputs[0]
        name = named(source)
        if source is None or name not in self.quantized:
            real = self.read(source)
            codes = self.out.value(
                f"{name}/codes", None if source is None else source.shape, ir.DataType.UINT8
            )
            scale = self.out.value(f"{name}/scale", ir.Shape(()), ir.DataType.FLOAT)
            zero_point = self.out.value(f"{name}/zero_point", ir.Shape(()), ir.DataType.UINT8)
            outputs = [codes, scale, zero_point]
            self.out.add("DynamicQuantizeLinear", [real], outputs, (), f"{name}/DynamicQuantizeLinear")
            self.quantized[name] = (codes, scale, zero_point)
        return self.quantized[name]

    # Biases

    def _before_bias(self, node: ir.Node) -> ir.Value:
        """Return the value of the product: the node's output, or one before its bias."""
        output = node.outputs[0]
        if bias_of(node) is None:
            return self.declare(output)
        return self.out.value(f"{named(output)}/product", output.shape, output.dtype)

    def _add_bias(self, node: ir.Node, product: ir.Value) -> None:
        bias = bias_of(node)
        if bias is None:
            return
        added = self.read(bias)
        if node.op_type == "Conv":
            rank = len(shape_of(node.outputs[0]))
            values = constant(bias).reshape(1, -1, *[1] * (rank - 2))
            added = self.out.initializer(f"{named(bias)}/aligned", values)
        self.out.add("Add", [product, added], [self.declare(node.outputs[0])], (), f"{named(node)}/bias")


def _signed(weight: ir.Value, qparams: QParams) -> NDArray[np.int8]:
    """Return symmetric codes, in the canonical shape."""
    return codes_of(constant(weight), qparams).astype(np.int8)


def _unsigned(weight: ir.Value, qparams: QParams) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return codes and zero points moved to unsigned ones."""
    is_signed = qparams.dtype in ("int4", "int8")
    shift = 1 << (bits_of(qparams) - 1) if is_signed else 0
    codes = codes_of(constant(weight), qparams)
    codes += shift
    return codes.astype(np.uint8), (np.asarray(qparams.zero_point) + shift).astype(np.uint8)
