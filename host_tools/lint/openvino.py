"""Read an OpenVINO IR (``.xml``, ``.bin``) into facts.

Integers show in two ways: as codes, behind a FakeQuantize and a Convert and before Convert, Subtract and Multiply (ours; and everybody's
weights), or as FakeQuantize alone, whose levels and bounds are the scale (other tools' activations). Either way an operator is told
with the codes that it reads and writes, and the layers between are not told.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.lint.facts import LintedFile, LintedOp, LintedTensor, channels_first
from host_tools.lint.openvino_layers import Layer, Network, Port, read_layers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

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
        self.tails = {id(layer): self._tail(layer) for layer in network.layers}
        self.not_told = {id(layer) for tail in self.tails.values() for layer in tail}
        for layer in network.layers:
            if self._codes_before(layer) is not None:
                self.not_told.update(map(id, _way_back(layer)))
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
            inputs=tuple(self._plain(port) for port in fed),
            outputs=tuple(self._plain(port) for port in results if port is not None),
            ops=tuple(self._op(layer) for layer in told),
        )

    def _op(self, layer: Layer) -> LintedOp:
        weight, tail = self._weight(layer), self.tails[id(layer)]
        last = 1 if weight is not None or layer.kind == "Pad" else None
        ports = [port for port in layer.inputs[:last] if port is not None]
        tensors = [self._read(port) for port in ports]
        outputs = [self._written(port) for port in (layer, *tail)[-1].outputs]
        works_on_codes = (
            bool(ports) and self._plain(ports[0]).is_integer and any(one.is_integer for one in outputs)
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
                if one.is_integer or (one.is_float and not (one.is_constant and len(tensors) > 1))
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

    # Integers

    def _read(self, port: Port) -> LintedTensor:
        """Return a value as its readers see it: codes where a way from codes to real numbers ends, or a FakeQuantize does."""
        codes = self._codes_before(port.layer)
        if codes is not None:
            return self._dequantized(codes, port.layer)
        if port.layer.kind == "FakeQuantize":
            return self._rounded(port)
        return self._codes(port) if self._plain(port).is_integer else self._plain(port)

    def _written(self, port: Port) -> LintedTensor:
        """Return an output: codes where nothing but FakeQuantize reads it."""
        readers = [reader for reader, place in port.readers if place == 0]
        if (
            readers
            and len(readers) == len(port.readers)
            and all(one.kind == "FakeQuantize" for one in readers)
        ):
            return self._rounded(readers[0].outputs[0])
        return self._read(port)

    def _rounded(self, port: Port) -> LintedTensor:
        """Return what leaves a FakeQuantize: the codes behind it, else the scale of its bounds."""
        layer = port.layer
        source = layer.inputs[0] if layer.inputs else None
        converts = [one for one, _ in port.readers if one.kind == "Convert" and self._is_integer(one)]
        if converts:
            return self._codes(converts[0].outputs[0])
        bounds = [self._numbers(layer, place) for place in (3, 4)]
        levels = int(layer.settings.get("levels", "256"))
        return replace(
            self._of_bounds(layer.name, port, bounds, levels),
            is_constant=source is not None and source.layer.kind in ("Const", "Convert"),
        )

    def _codes(self, port: Port) -> LintedTensor:
        """Return integers with the scale of the way that leads from them, else of the FakeQuantize before them."""
        plain = self._plain(port)
        for end in _ways_on(port):
            if self._codes_before(end) is port:
                return self._dequantized(port, end)
        before = port.layer.inputs[0] if port.layer.kind == "Convert" and port.layer.inputs else None
        if before is not None and before.layer.kind == "FakeQuantize":
            levels = int(before.layer.settings.get("levels", "256"))
            bounds = [self._numbers(before.layer, place) for place in (1, 2)]
            lowest = self._numbers(before.layer, 3)
            found = self._of_bounds(plain.name, port, bounds, levels)
            shift = 0 if lowest is None else int(np.rint(lowest.reshape(-1)[0]))
            return replace(
                found, dtype=plain.dtype, zero_point=tuple(zero + shift for zero in found.zero_point)
            )
        source = port.layer.inputs[0] if port.layer.kind == "Pad" and port.layer.inputs else None
        return (
            replace(self._codes(source), name=plain.name, shape=plain.shape) if source is not None else plain
        )

    def _of_bounds(
        self, name: str, port: Port, bounds: Sequence[NDArray[np.generic] | None], levels: int
    ) -> LintedTensor:
        """Return unsigned codes with the scale and zero point that bounds and levels amount to."""
        plain = replace(self._plain(port), name=name, dtype="uint8" if levels <= 256 else "uint16")
        if levels < 2 or any(bound is None or not bound.size for bound in bounds):
            return plain
        low, high = (np.asarray(bound, np.float64).reshape(-1) for bound in bounds)
        scale = (high - low) / (levels - 1)
        with np.errstate(all="ignore"):
            zero = np.nan_to_num(np.rint(-low / scale), posinf=0.0, neginf=0.0)
        return replace(
            plain,
            scale=tuple(scale.tolist()),
            zero_point=tuple(int(one) for one in np.broadcast_to(zero, scale.shape)),
            axis=None if scale.size == 1 else 1,
        )

    def _codes_before(self, layer: Layer) -> Port | None:
        """Return the codes at the beginning of Convert, Subtract and Multiply, when ``layer`` is the end of that; else None."""
        if (
            layer.kind != "Multiply"
            or len(layer.inputs) != 2
            or self.network.constant(layer.inputs[1]) is None
        ):
            return None
        before = layer.inputs[0]
        if before is not None and before.layer.kind == "Subtract" and len(before.layer.inputs) == 2:
            before = before.layer.inputs[0]
        if before is None or before.layer.kind != "Convert" or not before.layer.inputs:
            return None
        codes = before.layer.inputs[0]
        return codes if codes is not None and self._plain(codes).is_integer else None

    def _dequantized(self, codes: Port, end: Layer) -> LintedTensor:
        """Return codes with the scale, and the zero point, of the way that ends with ``end``."""
        plain = self._plain(codes)
        scale = np.asarray(self._numbers(end, 1), np.float64)
        subtract = end.inputs[0].layer if end.inputs[0] is not None else end
        shift = self._shift(subtract) if subtract.kind == "Subtract" else None
        zero = np.zeros(1, np.int64) if shift is None else np.rint(shift).astype(np.int64)
        axes = [axis for axis, extent in enumerate(scale.shape) if extent > 1]
        aligned = [axis + len(codes.shape) - scale.ndim for axis in axes]
        count = scale.size
        return replace(
            plain,
            scale=tuple(scale.reshape(-1).tolist()),
            zero_point=tuple(int(one) for one in np.broadcast_to(zero.reshape(-1), (count,)))
            if zero.size in (1, count)
            else (0,) * count,
            axis=None if count == 1 else (aligned[0] if aligned else 0),
        )

    def _shift(self, subtract: Layer) -> NDArray[np.float64] | None:
        """Return what is subtracted: a constant, also one of integers behind a Convert."""
        port = subtract.inputs[1]
        found = self.network.constant(port)
        if found is None and port is not None and port.layer.kind == "Convert" and port.layer.inputs:
            found = self.network.constant(port.layer.inputs[0])
        return None if found is None else np.asarray(found, np.float64)

    # Weights

    def _weight(self, layer: Layer) -> LintedTensor | None:
        """Return the weight, output channels first; None where a MatMul has two activations."""
        port = layer.inputs[1] if layer.kind in _WEIGHTED and len(layer.inputs) > 1 else None
        if port is None:
            return None
        weight = self._read(port)
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
        return self._plain(found[0]) if found else None

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
            listed = self._numbers(layer, 1)
            found = [] if listed is None else [int(one) for one in listed.reshape(-1)]
        elif layer.kind == "Pad":
            begin, end = self._numbers(layer, 1), self._numbers(layer, 2)
            if begin is not None and end is not None:
                found = [
                    axis for axis in range(rank) if begin[axis : axis + 1].any() or end[axis : axis + 1].any()
                ]
        rank += len(found) if layer.kind == "Unsqueeze" else 0
        return tuple(sorted({axis % rank for axis in found})) if rank else ()

    def _numbers(self, layer: Layer, place: int) -> NDArray[np.generic] | None:
        return self.network.constant(layer.inputs[place]) if place < len(layer.inputs) else None

    def _is_integer(self, layer: Layer) -> bool:
        return bool(layer.outputs) and self._plain(layer.outputs[0]).is_integer

    def _plain(self, port: Port) -> LintedTensor:
        """Return a value as it stands in the file."""
        is_constant = port.layer.kind == "Const"
        return LintedTensor(
            name=port.layer.name,
            dtype=port.dtype,
            shape=port.shape,
            codes=self.network.constant(port) if is_constant else None,
            is_constant=is_constant,
        )


def _way_back(end: Layer) -> list[Layer]:
    """Return Multiply, and the Subtract before it: layers that are part of a scale."""
    before = end.inputs[0]
    return [end, before.layer] if before is not None and before.layer.kind == "Subtract" else [end]


def _ways_on(codes: Port) -> list[Layer]:
    """Return the Multiply layers that a Convert from codes leads to, by way of a Subtract or not."""
    found: list[Layer] = []
    for convert, _ in codes.readers:
        if convert.kind != "Convert" or not convert.outputs:
            continue
        for layer, _ in convert.outputs[0].readers:
            is_shift = layer.kind == "Subtract" and layer.outputs
            found += [one for one, _ in layer.outputs[0].readers] if is_shift else [layer]
    return found


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
