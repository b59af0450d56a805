"""Integers in an OpenVINO network: which codes an operator reads and writes, and with which scale."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.lint.facts import LintedTensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from host_tools.lint.openvino_layers import Layer, Network, Port


_MOST_ENTRIES: Final = 256
"""Of a codebook: indices have at most 8 bits."""
_MOST_TRANSPOSES: Final = 8
"""One after another; files come from anywhere, and may go in a circle."""


@dataclass(frozen=True, slots=True, eq=False)
class Tensors:
    """The tensors of one network, as operators read and write them."""

    network: Network

    def read(self, port: Port) -> LintedTensor:
        """Return a value as its readers see it: codes where a way from codes to real numbers ends, or a FakeQuantize does.

        A constant in float16 is told as it is stored, one that is looked up in a codebook with the size of that.

        A Transpose behind that hides nothing: OpenVINO moves it in front of the way.
        """
        if port.layer.kind == "Convert" and self.network.constant(port) is not None:
            stored = port.layer.inputs[0]
            return self.plain(port if stored is None else stored)
        if (looked_up := self.in_codebook(port.layer)) is not None:
            return looked_up
        source = before_transposes(port)
        if (
            source.layer.kind != "Transpose"
            and source is not port
            and (found := self.read(source)).is_integer
            and len(found.scale) == 1
        ):
            return replace(found, name=port.layer.name, shape=port.shape)
        codes = self.codes_before(port.layer)
        if codes is not None:
            return self._dequantized(codes, port.layer)
        if port.layer.kind == "FakeQuantize":
            return self._rounded(port)
        return self._codes(port) if self.plain(port).is_integer else self.plain(port)

    def written(self, port: Port) -> LintedTensor:
        """Return an output: codes where nothing but FakeQuantize reads it."""
        readers = [reader for reader, place in port.readers if place == 0]
        if (
            readers
            and len(readers) == len(port.readers)
            and all(one.kind == "FakeQuantize" for one in readers)
        ):
            return self._rounded(readers[0].outputs[0])
        return self.read(port)

    def _rounded(self, port: Port) -> LintedTensor:
        """Return what leaves a FakeQuantize: the codes behind it, else the scale of its bounds."""
        layer = port.layer
        source = layer.inputs[0] if layer.inputs else None
        converts = [one for one, _ in port.readers if one.kind == "Convert" and self._is_integer(one)]
        if converts:
            return self._codes(converts[0].outputs[0])
        bounds = [self.numbers(layer, place) for place in (3, 4)]
        levels = int(layer.settings.get("levels", "256"))
        return replace(
            self._of_bounds(layer.name, port, bounds, levels),
            is_constant=source is not None and source.layer.kind in ("Const", "Convert"),
        )

    def _codes(self, port: Port) -> LintedTensor:
        """Return integers with the scale of the way that leads from them, else of the FakeQuantize before them."""
        plain = self.plain(port)
        for end in _ways_on(port):
            if self.codes_before(end) is port:
                return self._dequantized(port, end)
        before = port.layer.inputs[0] if port.layer.kind == "Convert" and port.layer.inputs else None
        if before is not None and before.layer.kind == "FakeQuantize":
            levels = int(before.layer.settings.get("levels", "256"))
            bounds = [self.numbers(before.layer, place) for place in (1, 2)]
            lowest = self.numbers(before.layer, 3)
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
        plain = replace(self.plain(port), name=name, dtype="uint8" if levels <= 256 else "uint16")
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

    def codes_before(self, layer: Layer) -> Port | None:
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
        return codes if codes is not None and self.plain(codes).is_integer else None

    def in_codebook(self, layer: Layer) -> LintedTensor | None:
        """Return the constant that a Gather looks up in a codebook by constant indices of 4 or 8 bits; None for any other layer."""
        table = self.numbers(layer, 0) if layer.kind == "Gather" and layer.outputs else None
        indices = layer.inputs[1] if len(layer.inputs) > 1 else None
        if indices is not None and indices.layer.kind == "Convert" and indices.layer.inputs:
            indices = indices.layer.inputs[0]
        if table is None or table.ndim != 1 or not 1 <= table.size <= _MOST_ENTRIES or indices is None:
            return None
        if indices.layer.kind != "Const" or indices.dtype not in ("uint4", "uint8"):
            return None
        return LintedTensor(
            name=indices.layer.name,
            dtype=layer.outputs[0].dtype,
            shape=layer.outputs[0].shape,
            is_constant=True,
            codebook=table.size,
        )

    def is_undone(self, port: Port) -> bool:
        """Tell whether OpenVINO takes the codes before a value away: those of scale 1 and zero point 0 behind a Transpose, such as grey levels.

        Source: OpenVINO 2026.4.1 on x86-64, get_runtime_model: what reads them runs in f32, but a MatMul; with any other scale, zero point or
        operator in front, and with a FakeQuantize alone, it runs in u8. Shown again by ``tests/unit/host_tools/lint/test_openvino_undone.py``.
        """
        port = before_transposes(port)
        codes, scale = self.codes_before(port.layer), self.numbers(port.layer, 1)
        if codes is None or scale is None or not bool((scale == 1).all()) or len(way_back(port.layer)) > 1:
            return False
        rounded = codes.layer.inputs[0] if codes.layer.kind == "Convert" and codes.layer.inputs else None
        if rounded is None or rounded.layer.kind != "FakeQuantize" or not rounded.layer.inputs:
            return False
        source = rounded.layer.inputs[0]
        if (
            source is not None and source.layer.kind == "ReLU" and source.layer.inputs
        ):  # done by saturation, and taken away too
            source = source.layer.inputs[0]
        return source is not None and source.layer.kind == "Transpose"

    def _dequantized(self, codes: Port, end: Layer) -> LintedTensor:
        """Return codes with the scale, and the zero point, of the way that ends with ``end``."""
        plain = self.plain(codes)
        scale = np.asarray(self.numbers(end, 1), np.float64)
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

    def numbers(self, layer: Layer, place: int) -> NDArray[np.generic] | None:
        """Return the values of an input that is a constant; None for others."""
        return self.network.constant(layer.inputs[place]) if place < len(layer.inputs) else None

    def _is_integer(self, layer: Layer) -> bool:
        return bool(layer.outputs) and self.plain(layer.outputs[0]).is_integer

    def plain(self, port: Port) -> LintedTensor:
        """Return a value as it stands in the file."""
        is_constant = port.layer.kind == "Const"
        return LintedTensor(
            name=port.layer.name,
            dtype=port.dtype,
            shape=port.shape,
            codes=self.network.constant(port) if is_constant else None,
            is_constant=is_constant,
        )


def before_transposes(port: Port) -> Port:
    """Return the value that Transposes brought into another order."""
    for _ in range(_MOST_TRANSPOSES):
        source = port.layer.inputs[0] if port.layer.kind == "Transpose" and port.layer.inputs else None
        if source is None:
            break
        port = source
    return port


def way_back(end: Layer) -> list[Layer]:
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
