"""Read an ``.onnx`` file with QuantizeLinear and DequantizeLinear into facts.

An operator reads codes where a DequantizeLinear stands before it and writes codes where nothing but QuantizeLinear reads it; so each is
told with the tensors of codes, and Q and DQ themselves are not told, but for a DQ that leads straight into a Q: a change of scale. So is a
weight that is stored in float16 and made float32 by a Cast told as it is stored, and one that is looked up in a codebook.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import onnx

from host_tools.lint.facts import LintedFile, LintedOp, LintedTensor, channels_first
from host_tools.lint.onnx_tensors import Tensors, attribute, has, integer, integers
from targets.operators import OPERATORS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from targets.profile import PlanPrecision


_MOST_NODES: Final = 100_000
_DEFAULT_DOMAINS: Final = ("", "ai.onnx")
_DATA: Final[Mapping[str, tuple[int, ...]]] = MappingProxyType(
    {"BatchNormalization": (0,), "Clip": (0,), "Pad": (0, 2), "Resize": (0,)}
)
"""Operators with real inputs that are settings; of every other operator each input with real values is data."""
_WEIGHT, _BIAS = 1, 2
_FOUR_BITS: Final = 4
_WEIGHTED: Final = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_AXES_INPUT: Final[Mapping[str, int]] = MappingProxyType(
    {"ReduceMean": 1, "Squeeze": 1, "Unsqueeze": 1, "Slice": 3}
)
_ON_INTEGERS: Final = ("QLinear", "QGemm", "QAttention")
"""Operators of ONNX's and ONNX Runtime's operator form, which get scales as inputs of their own."""


def read_onnx(data: bytes) -> LintedFile:
    """Return what the file says.

    Raises:
        ValueError: It is no ONNX model, has no graph or opset, or is beyond what a model can be.
        Exception: Whatever ONNX raises on bytes or tensors that are not sound.
    """
    model = onnx.ModelProto.FromString(data)
    opsets = [one.version for one in model.opset_import if one.domain in _DEFAULT_DOMAINS]
    if not opsets or not model.graph.node:
        raise ValueError("expected an ONNX model with an opset and nodes")
    if len(model.graph.node) > _MOST_NODES:
        raise ValueError(f"it has {len(model.graph.node)} nodes; expected at most {_MOST_NODES}")
    _require_text(model.graph)
    return _Reader(_with_shapes(model).graph).read(opset=max(opsets))


def _with_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with the shapes and types that follow from it; as it is where ONNX cannot tell."""
    try:
        return onnx.shape_inference.infer_shapes(model, data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError):
        return model


def _require_text(graph: onnx.GraphProto) -> None:
    """Refuse names that are not UTF-8, which protobuf hands out as bytes."""
    values = (*graph.input, *graph.output, *graph.value_info, *graph.initializer)
    texts: list[object] = [value.name for value in values]
    for node in graph.node:
        texts += [node.name, node.op_type, node.domain, *node.input, *node.output]
    odd = [text for text in texts if not isinstance(text, str)]
    if odd:
        raise ValueError(f"a name is not UTF-8: {odd[0]!r}")


class _Reader:
    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.tensors = Tensors(graph)

    def read(self, *, opset: int) -> LintedFile:
        ops = [op for node in self.graph.node if (op := self._op(node)) is not None]
        fed = [value.name for value in self.graph.input if value.name not in self.tensors.constants]
        return LintedFile(
            format="onnx_qdq",
            schema=opset,
            inputs=tuple(self.tensors.plain(name) for name in fed),
            outputs=tuple(self.tensors.plain(value.name) for value in self.graph.output),
            ops=tuple(ops),
            precision=_precision(self.graph),
        )

    # Operators

    def _op(self, node: onnx.NodeProto) -> LintedOp | None:
        """Return a node as an operator; None for constants, also unpacked or looked up ones, and for the Q and DQ around others."""
        is_default = node.domain in _DEFAULT_DOMAINS
        if node.output and node.output[0] in self.tensors.looking_up:
            return None
        if is_default and (
            node.op_type in ("Constant", "DequantizeLinear") or self.tensors.is_unpacking(node)
        ):
            return None
        if is_default and (node.op_type == "QuantizeLinear" or self.tensors.is_doubling(node)):
            return self._change_of_scale(node)
        kind = node.op_type if is_default else f"{node.domain}::{node.op_type}"
        is_weighted = is_default and node.op_type in _WEIGHTED
        weight = self._weight(node) if is_weighted else None
        data = self._data(
            node, taken=_WEIGHT if weight is not None else len(node.input) if is_weighted else None
        )
        if node.op_type.startswith(_ON_INTEGERS) or not is_default:
            self.tensors.guessed.update(dict.fromkeys(node.output, data[0].dtype if data else "float32"))
        outputs = [self.tensors.written(name, data) for name in node.output if name]
        kernel = integers(node, "kernel_shape")
        if not kernel and weight is not None and node.op_type.startswith("Conv"):
            kernel = (
                self.tensors.plain(node.input[_WEIGHT]).shape
                or self.tensors.read(node.input[_WEIGHT]).shape
                or ()
            )
            kernel = kernel[2:]
        return LintedOp(
            name=node.name or (node.output[0] if node.output else kind),
            kind=kind,
            stands_for=(node.op_type,) if is_default and node.op_type in OPERATORS else (),
            data=tuple(data),
            weight=weight,
            bias=self.tensors.read(node.input[_BIAS]) if weight is not None and has(node, _BIAS) else None,
            outputs=tuple(outputs),
            strides=integers(node, "strides"),
            kernel=kernel,
            dilations=integers(node, "dilations"),
            axes=self._axes(node),
            mode=_mode(node),
            works_on_codes=bool(node.input)
            and self.tensors.plain(node.input[0]).is_integer
            and any(output.is_integer for output in outputs),
        )

    def _change_of_scale(self, node: onnx.NodeProto) -> LintedOp | None:
        """Return a Q that reads codes of another scale through a DQ; None for one behind an operator or a graph input."""
        if node.op_type != "QuantizeLinear" or not node.input or not node.output:
            return None
        source = self.tensors.read(node.input[0])
        if not source.is_integer:
            return None
        return LintedOp(
            name=node.name or node.output[0],
            kind=node.op_type,
            stands_for=("QuantizeLinear",),
            data=(source,),
            outputs=(self.tensors.codes(node, node.output[0]),),
            is_conversion=True,
        )

    def _data(self, node: onnx.NodeProto, *, taken: int | None) -> list[LintedTensor]:
        """Return the tensors with real values, up to input ``taken`` where the rest are weight and bias."""
        places = _DATA.get(node.op_type, range(len(node.input)))
        names = [node.input[at] for at in places if has(node, at) and (taken is None or at < taken)]
        tensors = [one for name in names if (one := self.tensors.read(name)).is_float or one.is_integer]
        if node.op_type.startswith(_ON_INTEGERS):
            return [one for one in tensors if one.is_integer]
        given = next((one for one in tensors if one.scale), None)
        return [
            replace(one, scale=given.scale, zero_point=given.zero_point)
            if given is not None and one.is_integer and one.is_constant and not one.scale
            else one
            for one in tensors  # a constant that is read as codes has the scale of what it is compared with
        ]

    def _weight(self, node: onnx.NodeProto) -> LintedTensor | None:
        """Return the weight, output channels first; None where a MatMul or Gemm has two activations."""
        if not has(node, _WEIGHT):
            return None
        weight = self.tensors.read(node.input[_WEIGHT])
        if not weight.is_constant:
            return weight if node.op_type != "MatMul" else None
        rank = len(weight.shape or ())
        if node.op_type == "ConvTranspose":
            return _transposed_channels_first(weight, groups=integer(node, "group", 1))
        is_transposed = node.op_type == "Conv" or (node.op_type == "Gemm" and integer(node, "transB", 0) == 1)
        return weight if is_transposed or rank < 2 else channels_first(weight, rank - 1)

    def _axes(self, node: onnx.NodeProto) -> tuple[int, ...]:
        """Return the axes that a node works on."""
        rank = len(self.tensors.plain(node.input[0]).shape or ()) if node.input else 0
        place = _AXES_INPUT.get(node.op_type)
        if place is not None and self.tensors.has_values(node, place):
            found = [int(axis) for axis in self.tensors.array(node.input[place]).reshape(-1)]
        elif node.op_type in ("Concat", "Softmax", "Split"):
            found = [integer(node, "axis", 0 if node.op_type == "Split" else -1)]
        elif node.op_type == "Pad" and self.tensors.has_values(node, 1):
            pads = self.tensors.array(node.input[1]).reshape(-1)
            found = [
                axis for axis in range(rank) if pads[axis : axis + 1].any() or pads[rank + axis :][:1].any()
            ]
        else:
            found = list(integers(node, "axes"))
        rank += len(found) if node.op_type == "Unsqueeze" else 0
        return tuple(sorted({axis % rank for axis in found})) if rank else ()


def _precision(graph: onnx.GraphProto) -> PlanPrecision:
    """Tell from operators that only files without calibration have."""
    bits = [
        one.i
        for node in graph.node
        if node.op_type == "MatMulNBits"
        for one in node.attribute
        if one.name == "bits"
    ]
    if bits:
        return "weights-int4" if min(bits) == _FOUR_BITS else "weights-int8"
    is_dynamic = any(node.op_type == "DynamicQuantizeLinear" for node in graph.node)
    return "int8-dynamic" if is_dynamic else "int8"


def _transposed_channels_first(weight: LintedTensor, *, groups: int) -> LintedTensor:
    """Return the weight of a ConvTranspose, (inputs, outputs / groups, ...), as (outputs, inputs / groups, ...)."""
    shape = weight.shape or ()
    if len(shape) < 2 or groups < 1 or shape[0] % groups:
        return weight
    whole = (groups, shape[0] // groups, *shape[1:])
    order = (0, 2, 1, *range(3, len(whole)))
    after = (groups * shape[1], shape[0] // groups, *shape[2:])
    is_along_outputs = weight.axis == 1
    return LintedTensor(
        name=weight.name,
        dtype=weight.dtype,
        shape=after,
        scale=weight.scale * groups if is_along_outputs else weight.scale,
        zero_point=weight.zero_point * groups if is_along_outputs else weight.zero_point,
        axis=0 if is_along_outputs else 1 if weight.axis == 0 else weight.axis,
        codes=None if weight.codes is None else weight.codes.reshape(whole).transpose(order).reshape(after),
        is_constant=True,
        codebook=weight.codebook,
    )


def _mode(node: onnx.NodeProto) -> str:
    found = attribute(node, "mode")
    if node.op_type not in ("Resize", "Pad"):
        return ""
    return ("nearest" if node.op_type == "Resize" else "constant") if found is None else found.s.decode()
