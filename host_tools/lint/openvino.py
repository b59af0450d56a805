"""Read an OpenVINO IR (``.xml``, ``.bin``) into facts.

Integers show in two ways: as codes, behind a FakeQuantize and a Convert and before Convert, Subtract and Multiply (ours; and everybody's
weights), or as FakeQuantize alone, whose levels and bounds are the scale (other tools' activations). Either way an operator is told
with the codes that it reads and writes, and the layers between are not told.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from host_tools.lint.facts import LintedFile, LintedOp, LintedTensor, channels_first
from host_tools.lint.openvino_layers import read_layers
from host_tools.lint.openvino_tensors import Tensors, way_back

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from host_tools.lint.openvino_layers import Layer, Network, Port

_STANDS_FOR: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "Add": ("Add",),
        "AvgPool": ("AveragePool", "GlobalAveragePool"),
        "BatchNormInference": ("BatchNormalization",),
        "Clamp": ("Clip",),
        "Concat": ("Concat",),
        "Convolution": ("Conv",),
        "ConvolutionBackpropData": ("ConvTranspose",),
        "Divide": ("Div",),
        "GroupConvolution": ("Conv",),
        "GroupConvolutionBackpropData": ("ConvTranspose",),
        "HSwish": ("HardSwish",),
        "HardSigmoid": ("HardSigmoid",),
        "Interpolate": ("Resize",),
        "MatMul": ("Gemm", "MatMul"),
        "MaxPool": ("MaxPool",),
        "Maximum": ("Max",),
        "Minimum": ("Min",),
        "Multiply": ("Mul",),
        "PReLU": ("PRelu", "LeakyRelu"),
        "Pad": ("Pad",),
        "ReLU": ("Relu",),
        "ReduceMean": ("ReduceMean", "GlobalAveragePool"),
        "Reshape": ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"),
        "Sigmoid": ("Sigmoid",),
        "Slice": ("Slice", "Split"),
        "SoftMax": ("Softmax",),
        "Softmax": ("Softmax",),
        "Split": ("Split",),
        "Squeeze": ("Squeeze", "Reshape", "Flatten"),
        "StridedSlice": ("Slice", "Split"),
        "Subtract": ("Sub",),
        "Tanh": ("Tanh",),
        "Transpose": ("Transpose",),
        "Unsqueeze": ("Unsqueeze", "Reshape"),
        "VariadicSplit": ("Split",),
    }
)
_CHANNEL_AXIS: Final[Mapping[str, int]] = MappingProxyType({"Convolution": 0, "ConvolutionBackpropData": 1})
_GROUPED: Final = frozenset({"GroupConvolution", "GroupConvolutionBackpropData"})
_WEIGHTED: Final = frozenset({*_CHANNEL_AXIS, *_GROUPED, "MatMul"})
_KEEPING: Final = frozenset({"MatMul", "Transpose"})
"""What reads codes also where `Tensors.is_undone` says that others do not."""
_BOUNDS: Final = frozenset({"Maximum", "Minimum"})
"""How a Clip with two bounds is written."""
_NOT_TOLD: Final = frozenset({"Const", "Convert", "FakeQuantize", "Parameter", "Result", "ShapeOf"})
_MODES: Final = MappingProxyType(
    {"linear_onnx": "linear", "bilinear_pillow": "linear", "bicubic_pillow": "cubic"}
)


def read_openvino(xml: bytes, weights: bytes) -> LintedFile:
    """Return what the file says.

    Raises:
        ValueError: It is no OpenVINO network, or a constant lies outside the ``.bin``.
    """
    return _Reader(read_layers(xml, weights)).read()


class _Reader:
    def __init__(self, network: Network) -> None:
        self.network = network
        self.tensors = Tensors(network)
        self.tails = {id(layer): self._tail(layer) for layer in network.layers}
        self.not_told = {id(layer) for tail in self.tails.values() for layer in tail}
        for layer in network.layers:
            if self.tensors.codes_before(layer) is not None:
                self.not_told.update(map(id, way_back(layer)))
            if self.tensors.in_codebook(layer) is not None:
                self.not_told.add(id(layer))
            if layer.inputs and all(network.constant(port) is not None for port in layer.inputs):
                self.not_told.add(id(layer))

    def read(self) -> LintedFile:
        layers = self.network.layers
        results = [layer.inputs[0] for layer in layers if layer.kind == "Result" and layer.inputs]
        fed = [port for layer in layers if layer.kind == "Parameter" for port in layer.outputs]
        told = [layer for layer in layers if layer.kind not in _NOT_TOLD and id(layer) not in self.not_told]
        return LintedFile(
            format="openvino_ir",
            schema=self.network.version,
            inputs=tuple(self.tensors.plain(port) for port in fed),
            outputs=tuple(self.tensors.plain(port) for port in results if port is not None),
            ops=tuple(self._op(layer) for layer in told),
        )

    def _op(self, layer: Layer) -> LintedOp:
        weight, tail = self._weight(layer), self.tails[id(layer)]
        last = 1 if weight is not None or layer.kind == "Pad" else None
        ports = [port for port in layer.inputs[:last] if port is not None]
        tensors = [self._read(layer, port) for port in ports]
        outputs = [self.tensors.written(port) for port in (layer, *tail)[-1].outputs]
        works_on_codes = (
            bool(ports) and self.tensors.plain(ports[0]).is_integer and any(one.is_integer for one in outputs)
        )
        stands_for = _STANDS_FOR.get(layer.kind, ())
        if layer.kind == "MatMul" and weight is None:
            stands_for = ("MatMul",)
        if layer.kind == "Pad" and works_on_codes:  # how an AveragePool that counts its padding is written
            stands_for = ("Pad", "AveragePool")
        return LintedOp(
            name=layer.name,
            kind=layer.kind,
            stands_for=("Clip",) if tail and layer.kind in _BOUNDS else stands_for,
            # Small constants stay float; the plug-in takes them into the operator.
            data=tuple(
                one
                for one in tensors
                if one.is_integer
                or one.codebook
                or (one.is_float and not (one.is_constant and len(tensors) > 1))
            ),
            weight=weight,
            bias=self._bias(tail[-1]) if tail and weight is not None else None,
            outputs=tuple(outputs),
            strides=_integers(layer, "strides"),
            kernel=_integers(layer, "kernel") or self._kernel(layer),
            dilations=_integers(layer, "dilations"),
            axes=self._axes(layer),
            mode=_mode(layer),
            works_on_codes=works_on_codes,
        )

    def _read(self, layer: Layer, port: Port) -> LintedTensor:
        """Return what a layer reads: real numbers where OpenVINO takes the codes away."""
        seen = self.tensors.read(port)
        if layer.kind in _KEEPING or not seen.is_integer or not self.tensors.is_undone(port):
            return seen
        return replace(seen, dtype="float32", scale=(), zero_point=(), axis=None)

    def _tail(self, layer: Layer) -> tuple[Layer, ...]:
        """Return the layers behind that belong to this one: the Add of a bias, also behind a factor of 1; a Clip's second bound."""
        after = self._with_constant(layer)
        if after is None:
            return ()
        if layer.kind in _BOUNDS and {layer.kind, after.kind} == _BOUNDS and self._has_constant(layer):
            return (after,)
        if layer.kind not in _WEIGHTED or self._weight(layer) is None:
            return ()
        between: tuple[Layer, ...] = ()
        if after.kind == "Multiply" and self._is_one(after):
            between, after = (after,), self._with_constant(after) or after
        return (*between, after) if after.kind == "Add" else ()

    def _with_constant(self, layer: Layer) -> Layer | None:
        """Return the only reader of a layer, where that takes a constant besides."""
        readers = layer.outputs[0].readers if len(layer.outputs) == 1 else []
        return readers[0][0] if len(readers) == 1 and self._has_constant(readers[0][0]) else None

    def _has_constant(self, layer: Layer) -> bool:
        return any(self.network.constant(port) is not None for port in layer.inputs)

    def _is_one(self, layer: Layer) -> bool:
        factors = [one for port in layer.inputs if (one := self.network.constant(port)) is not None]
        return len(factors) == 1 and bool((factors[0] == 1).all())

    # Weights

    def _weight(self, layer: Layer) -> LintedTensor | None:
        """Return the weight, output channels first; None where a MatMul has two activations."""
        port = layer.inputs[1] if layer.kind in _WEIGHTED and len(layer.inputs) > 1 else None
        if port is None:
            return None
        weight = self.tensors.read(port)
        if not weight.is_constant:
            return weight if layer.kind != "MatMul" else None
        rank = len(weight.shape or ())
        if layer.kind in _GROUPED and rank > 2:
            return _ungrouped(weight, is_transposed=layer.kind != "GroupConvolution")
        if layer.kind == "MatMul":
            is_rows = layer.settings.get("transpose_b", "false").lower() in ("true", "1")
            return channels_first(weight, rank - 2 if is_rows and rank > 1 else max(rank - 1, 0))
        return channels_first(weight, _CHANNEL_AXIS.get(layer.kind, 0))

    def _bias(self, add: Layer) -> LintedTensor | None:
        found = [port for port in add.inputs if port is not None and self.network.constant(port) is not None]
        return self.tensors.plain(found[0]) if found else None

    def _kernel(self, layer: Layer) -> tuple[int, ...]:
        weight = layer.inputs[1] if layer.kind in _WEIGHTED - {"MatMul"} and len(layer.inputs) > 1 else None
        return () if weight is None else weight.shape[3 if layer.kind in _GROUPED else 2 :]

    # Settings

    def _axes(self, layer: Layer) -> tuple[int, ...]:
        rank = len(layer.inputs[0].shape) if layer.inputs and layer.inputs[0] is not None else 0
        found: Sequence[int] = ()
        if layer.kind in ("Concat", "SoftMax", "Softmax") and "axis" in layer.settings:
            found = [int(layer.settings["axis"])]
        elif layer.kind in ("ReduceMean", "Split", "VariadicSplit", "Squeeze", "Unsqueeze"):
            listed = self.tensors.numbers(layer, 1)
            found = [] if listed is None else [int(one) for one in listed.reshape(-1)]
        elif layer.kind == "Pad":
            begin, end = self.tensors.numbers(layer, 1), self.tensors.numbers(layer, 2)
            if begin is not None and end is not None:
                found = [
                    axis for axis in range(rank) if begin[axis : axis + 1].any() or end[axis : axis + 1].any()
                ]
        rank += len(found) if layer.kind == "Unsqueeze" else 0
        return tuple(sorted({axis % rank for axis in found})) if rank else ()


def _ungrouped(weight: LintedTensor, *, is_transposed: bool) -> LintedTensor:
    """Return a weight (groups, outputs / groups, inputs / groups, ...) as (outputs, inputs / groups, ...).

    Args:
        weight: The weight.
        is_transposed: Whether outputs and inputs are exchanged.
    """
    shape = weight.shape or ()
    groups, first, second, *rest = shape
    outputs, inputs = (second, first) if is_transposed else (first, second)
    order = (0, 2, 1, *range(3, len(shape))) if is_transposed else range(len(shape))
    count = len(weight.scale)
    axis = 0 if count == groups * outputs or (count == outputs and is_transposed) else weight.axis
    repeats = groups if count == outputs and count != groups * outputs and is_transposed else 1
    return replace(
        weight,
        shape=(groups * outputs, inputs, *rest),
        scale=weight.scale * repeats,
        zero_point=weight.zero_point * repeats,
        axis=None if count < 2 else axis,
        codes=None
        if weight.codes is None
        else weight.codes.transpose(order).reshape(groups * outputs, inputs, *rest),
    )


def _integers(layer: Layer, name: str) -> tuple[int, ...]:
    text = layer.settings.get(name, "")
    return tuple(int(one) for one in text.split(",")) if text else ()


def _mode(layer: Layer) -> str:
    if layer.kind not in ("Interpolate", "Pad"):
        return ""
    said = layer.settings.get("mode" if layer.kind == "Interpolate" else "pad_mode", "")
    return _MODES.get(said, said)
