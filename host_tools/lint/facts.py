"""`LintedFile`: what a file says of its operators and tensors, in one form for every format."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from targets.profile import Format, PlanPrecision

ComputedIn = Literal["int8", "int16", "float16", "float32", "conversion", "other"]

_EIGHT_BITS = frozenset({"int4", "uint4", "int8", "uint8"})
_SIXTEEN_BITS = frozenset({"int16", "uint16"})
_FLOATS = frozenset({"float16", "float32", "float64", "bfloat16"})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LintedTensor:
    """One tensor, as an operator reads or writes it; real = scale * (code - zero_point).

    Attributes:
        name: Its name in the file.
        dtype: Stored type as NumPy spells it, also ``int4``, ``bfloat16``; the format's own word, in lower case, for any other.
        shape: Extents, -1 where the file leaves one open; None when the file does not say.
        scale: One entry, or one per channel; empty when the tensor is not quantized.
        zero_point: One entry per scale.
        axis: Channel axis of several scales; None per tensor.
        codes: Stored values of a constant; None for others, and where the file holds none.
        is_constant: Whether the file holds its values.
        codebook: Numbers of the codebook that a constant is stored as indices into; 0 where it is stored itself.
    """

    name: str
    dtype: str
    shape: tuple[int, ...] | None
    scale: tuple[float, ...] = ()
    zero_point: tuple[int, ...] = ()
    axis: int | None = None
    codes: NDArray[np.generic] | None = None
    is_constant: bool = False
    codebook: int = 0

    @property
    def is_integer(self) -> bool:
        """Whether its type is one that stands for real numbers once there is a scale."""
        return self.dtype in _EIGHT_BITS or self.dtype in _SIXTEEN_BITS

    @property
    def is_float(self) -> bool:
        """Whether it holds real numbers themselves."""
        return self.dtype in _FLOATS

    @property
    def parameters(self) -> tuple[tuple[float, ...], tuple[int, ...]]:
        """Scales and zero points, to compare."""
        return self.scale, self.zero_point


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LintedOp:
    """One operator.

    Attributes:
        name: Its name, or that of its first output where the format names no operators.
        kind: What the format calls the operator, e.g. ``CONV_2D``.
        stands_for: ONNX operator types that it can be, as profiles speak of them; empty when no profile has a word for it.
        version: Its version (``tflite``), else None.
        data: Tensors with real values that it reads, but for weight and bias, in order.
        weight: Its weight, **output channels first**, whatever the file's own order; None when it has none.
        bias: Its bias, one entry per output channel.
        outputs: What it writes.
        strides: Along the spatial axes; empty when the notion does not apply. So for kernel and dilations.
        axes: Axes that it works on, in ONNX's channels-first order, where the file says.
        mode: How it interpolates or pads; empty when the notion does not apply.
        activation: ONNX type of an activation fused into it by the file: ``Relu``, ``Clip``, ``Tanh``; empty for none.
        is_conversion: Whether it only changes between real numbers and codes, or between two scales.
        works_on_codes: Whether the file has it reading and writing integers without Q and DQ (ONNX).
        settings: Fields of the file's operator that a delegate looks at, by the format's names (``tflite``).
        inputs: All that it reads as the file has it, None for an optional input that is absent (``tflite``).
    """

    name: str
    kind: str
    stands_for: tuple[str, ...]
    data: tuple[LintedTensor, ...]
    outputs: tuple[LintedTensor, ...]
    version: int | None = None
    weight: LintedTensor | None = None
    bias: LintedTensor | None = None
    strides: tuple[int, ...] = ()
    kernel: tuple[int, ...] = ()
    dilations: tuple[int, ...] = ()
    axes: tuple[int, ...] = ()
    mode: str = ""
    activation: str = ""
    is_conversion: bool = False
    works_on_codes: bool = False
    inputs: tuple[LintedTensor | None, ...] = ()
    settings: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def computed_in(self) -> ComputedIn:
        """The precision that its tensors' types make it run in; ``other`` for shape and index arithmetic."""
        if self.is_conversion:
            return "conversion"
        types = {tensor.dtype for tensor in (*self.data, *self.outputs)}
        if types and types <= _EIGHT_BITS:
            return "int8"
        if types and types <= _EIGHT_BITS | _SIXTEEN_BITS:
            return "int16"
        if types & {"float32", "float64"}:
            return "float32"
        return "float16" if types & _FLOATS else "other"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LintedFile:
    """All that a file says.

    Attributes:
        format: What it is.
        schema: ONNX opset; schema version of a ``.tflite``, IR version of an OpenVINO file.
        inputs: Its inputs as the application feeds them.
        outputs: Its outputs as the application gets them.
        ops: Its operators, in the order of execution.
        made_for: The target that an artifact's manifest names; None for bare files.
        precision: What became integers, as an artifact's plan says; of a bare file what its operators tell, else int8.
    """

    format: Format
    schema: int
    inputs: tuple[LintedTensor, ...]
    outputs: tuple[LintedTensor, ...]
    ops: tuple[LintedOp, ...]
    made_for: str | None = None
    precision: PlanPrecision = "int8"


def channels_first(weight: LintedTensor, channel_axis: int) -> LintedTensor:
    """Return a weight whose output channels lie along ``channel_axis`` with them along axis 0."""
    shape = weight.shape or ()
    if channel_axis == 0 or len(shape) <= channel_axis:
        return weight
    order = (channel_axis, *(axis for axis in range(len(shape)) if axis != channel_axis))
    along = weight.axis
    return replace(
        weight,
        shape=tuple(shape[axis] for axis in order),
        axis=order.index(along) if along is not None and 0 <= along < len(order) else along,
        codes=None if weight.codes is None else weight.codes.transpose(order),
    )
