"""`Coding`: how a file codes real numbers; `Quantization`: all that a file says of that."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import onnx_ir as ir
    from numpy.typing import NDArray

Form = Literal["ONNX QDQ", "ONNX operators on codes", "TFLite"]

RANGES: Final[Mapping[str, tuple[int, int]]] = MappingProxyType(
    {
        "int4": (-8, 7),
        "uint4": (0, 15),
        "int8": (-128, 127),
        "uint8": (0, 255),
        "int16": (-(1 << 15), (1 << 15) - 1),
        "uint16": (0, (1 << 16) - 1),
        "int32": (-(1 << 31), (1 << 31) - 1),
        "int64": (-(1 << 63), (1 << 63) - 1),
    }
)
"""Lowest and highest code of each type that codes of real numbers may have."""

_SUMS: Final = frozenset({"int32", "int64"})
"""Types of biases, which are added to a sum of products: their zero is 0."""

EXACT_IN_FLOAT32: Final = 1 << 22
"""Codes below this come out of a float32 as they went in, whatever the scale: a quarter of what its fraction holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coding:
    """real = scale * (code - zero_point), as the file has it.

    Attributes:
        dtype: Stored type, one of `RANGES`.
        scale: One entry, or one per channel; each finite and > 0.
        zero_point: One entry per scale, within the type.
        axis: Channel axis of several scales in the file's layout; None per tensor.
    """

    dtype: str
    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int | None = None

    @property
    def scheme(self) -> str:
        """In words: ``int8 symmetric per channel``."""
        low, high = RANGES[self.dtype]
        middle = 0 if low < 0 else (high + 1) // 2
        is_symmetric = all(zero == middle for zero in self.zero_point)
        granularity = "per tensor" if self.axis is None else "per channel"
        return f"{self.dtype} {'symmetric' if is_symmetric else 'asymmetric'} {granularity}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeCoding:
    """An operator that reads a value in another coding than the value's own.

    Attributes:
        source: The value.
        output: What the operator writes, behind a fused activation.
        coding: In which it reads.
    """

    source: str
    output: str
    coding: Coding


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantization:
    """What a quantized file says beside its float model.

    Attributes:
        form: How the file says it.
        activations: By value name; per tensor all.
        constants: Weights, biases and constant operands, by value name.
        edges: Operators that read in a coding of their own.
        exact_values: Constants whose codes float32 does not hold, as real numbers, flattened in C order, by value name.
    """

    form: Form
    activations: Mapping[str, Coding]
    constants: Mapping[str, Coding]
    edges: tuple[EdgeCoding, ...] = ()
    exact_values: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the mappings read-only."""
        for name in ("activations", "constants", "exact_values"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    @property
    def schemes(self) -> tuple[tuple[str, str, int], ...]:
        """What is coded (``activations``, ``constants``), in which scheme, and how many there are of it; the most frequent first."""
        return tuple(
            (what, scheme, count)
            for what, codings in (("activations", self.activations), ("constants", self.constants))
            for scheme, count in Counter(one.scheme for one in codings.values()).most_common()
        )

    @property
    def note(self) -> str:
        """What a report says of the model."""
        return (
            f"The file is quantized already ({self.form}, {len(self.activations)} values and {len(self.constants)} constants coded): scales, "
            "zero points and codes are the file's, nothing was calibrated; the float model beside it is the one that its codes stand for."
        )


def checked_coding(
    dtype: str,
    scale: Sequence[float],
    zero_point: Sequence[int],
    *,
    axis: int | None,
    shape: Sequence[int] | None,
) -> Coding:
    """Return a coding that can be believed.

    Args:
        dtype: Stored type.
        scale: As the file has them, at least one.
        zero_point: One per scale; none where all are 0.
        axis: Of several scales, counted from the back when negative; not looked at for one.
        shape: Of the tensor; None where it is not known.

    Raises:
        ValueError: What is wrong, as the end of a sentence that names the tensor.
    """
    if dtype not in RANGES:
        raise ValueError(f"is stored as {dtype}; expected one of {', '.join(RANGES)}")
    if not scale:
        raise ValueError("has no scale")
    zeros = tuple(zero_point) or (0,) * len(scale)
    if len(zeros) != len(scale):
        raise ValueError(f"has {len(scale)} scales and {len(zeros)} zero points; expected as many")
    for value in scale:
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"has the scale {value}; expected a finite number above 0")
    low, high = (0, 0) if dtype in _SUMS else RANGES[dtype]
    for zero in zeros:
        if not low <= zero <= high:
            raise ValueError(f"has the zero point {zero}; expected {low} to {high} for {dtype}")
    found = None if len(scale) == 1 else _axis(axis, len(scale), shape)
    return Coding(dtype=dtype, scale=tuple(map(float, scale)), zero_point=zeros, axis=found)


def _axis(axis: int | None, scales: int, shape: Sequence[int] | None) -> int:
    if axis is None:
        raise ValueError(f"has {scales} scales and no axis")
    if shape is None:
        raise ValueError(f"has {scales} scales, and a shape that is not known")
    if not -len(shape) <= axis < len(shape):
        raise ValueError(f"has scales along axis {axis}; expected one of its {len(shape)} axes")
    if shape[axis] != scales:
        raise ValueError(
            f"has {scales} scales along axis {axis} of the shape {list(shape)}; expected {shape[axis]}"
        )
    return axis % len(shape)


def carried_over(quantization: Quantization, graph: ir.Graph, origins: Mapping[str, str]) -> Quantization:
    """Return a quantization by the names of the canonical graph.

    Args:
        quantization: By the names that the graph had before.
        graph: The canonical graph.
        origins: `GraphEditor.origins`.
    """
    constants: dict[str, Coding] = {}
    exact: dict[str, tuple[float, ...]] = {}
    for name in graph.initializers:
        origin = origins.get(name, name)
        if origin in quantization.constants:
            constants[name] = quantization.constants[origin]
        if origin in quantization.exact_values:
            exact[name] = quantization.exact_values[origin]
    written = {value.name for node in graph for value in node.outputs} | {value.name for value in graph.inputs}  # fmt: skip
    activations = {name: coding for name, coding in quantization.activations.items() if name in written}
    return replace(quantization, constants=constants, activations=activations, exact_values=exact)


def meaning(codes: NDArray[np.int64], coding: Coding) -> NDArray[np.float64]:
    """Return the real numbers that codes stand for, same shape."""
    along = [1] * codes.ndim
    if coding.axis is not None:
        along[coding.axis] = len(coding.scale)
    scale = np.asarray(coding.scale, np.float64).reshape(along)
    zero_point = np.asarray(coding.zero_point, np.float64).reshape(along)
    real: NDArray[np.float64] = (codes.astype(np.float64) - zero_point) * scale
    return real.reshape(codes.shape)
