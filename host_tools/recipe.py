"""`Recipe`: what the user asks of the plan, as data; `recipe_file` reads and writes it. An empty recipe leaves every choice to the plan.

Not here: what the target can do (its profile) and what was seen of the tensors (the statistics).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, get_args

from host_tools.plan.quantization_plan import FloatType, Method

if TYPE_CHECKING:
    from collections.abc import Mapping

    from targets.profile import PlanPrecision

SCHEMA_MAJOR = 1
SCHEMA_MINOR = 6
_SCHEMA_VERSION = f"{SCHEMA_MAJOR}.2"
"""Of a recipe that asks for no other precision than int8: what 1.3 added it does not use."""
_PRECISION_VERSION = f"{SCHEMA_MAJOR}.3"
_ROUNDING_VERSION = f"{SCHEMA_MAJOR}.4"
_FLOAT16_VERSION = f"{SCHEMA_MAJOR}.5"
_SCALING_VERSION = f"{SCHEMA_MAJOR}.6"
_VERSIONS = (_SCHEMA_VERSION, _PRECISION_VERSION, _ROUNDING_VERSION, _FLOAT16_VERSION, _SCALING_VERSION)
"""Each the first that has what a recipe may ask for."""
METHODS: tuple[Method, ...] = get_args(Method)
Spared = Literal["latency", "size"]
SPARED: tuple[Spared, ...] = get_args(Spared)
RoundingMethod = Literal["nearest", "gptq"]
ROUNDING_METHODS: tuple[RoundingMethod, ...] = get_args(RoundingMethod)
ScalingMethod = Literal["none", "awq"]
SCALING_METHODS: tuple[ScalingMethod, ...] = get_args(ScalingMethod)
FLOAT_TYPES: tuple[FloatType, ...] = get_args(FloatType)
DEFAULT_PERCENTILE = 99.99


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepFloat:
    """What must not be quantized.

    Attributes:
        ops: Operator types, e.g. ``Softmax``.
        nodes: Node names of the canonical graph.
    """

    ops: frozenset[str] = frozenset()
    nodes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Widen:
    """What gets 16-bit activations, on a target of 8-bit ones that has such kernels besides.

    Attributes:
        ops: Operator types.
        nodes: Node names of the canonical graph.
    """

    ops: frozenset[str] = frozenset()
    nodes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorOverride:
    """What the user wants for one tensor.

    Attributes:
        range: Real range (low, high) instead of the observed one, in the tensor's unit; finite, low < high.
        method: How the range is chosen instead of the recipe's method.
    """

    range: tuple[float, float] | None = None
    method: Method | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What the user asks.

    Attributes:
        precision: What of the model becomes integers. All but ``int8`` need no calibration, and know nothing of what else is here but
            `keep_float`.
        group: Weights that share a scale, along the axis that is summed over, where the precision has groups; None: what the target has best.
        rounding: How weights of the precisions of weights alone are rounded: to the nearest code, or by what their matrices give on
            calibration data.
        scaling: Whether, in the precisions of weights alone, input channels of matrices are scaled by how large activations are on calibration
            data before their weights are rounded.
        float_weights: How weights that get no codes are stored.
        method: How observed ranges become parameters; None lets the plan choose, and say so.
        percentile: Share of values that ``percentile`` keeps inside the range, in percent, above 50 and at most 100.
        bias_correction: Whether biases take back the shift that rounding the weights gives to each output channel's mean.
        equalization: Whether channels are scaled against one another; None: where it pays, unless a method is given.
        channel_splitting: Share of the channels of each value that become two, above 0 and at most 1; None: none, for it costs operations.
        reconstruction: Whether weights are rounded by what each operator gives; None: where it pays, unless a method is given.
        mixed_precision: Whether the operators that cost most run in wider precisions; None: where the user names a goal that nothing else
            reaches.
        spared: What mixed precision spends as little of as it can: time, or bytes of the file.
        keep_float: Nodes that stay in float.
        widen: Nodes with 16-bit activations; `keep_float` goes first.
        tensors: Overrides by value name.
        extra: Fields of a newer minor version, kept as they came.
        schema_version: ``MAJOR.MINOR`` of the document that it was read from.
    """

    precision: PlanPrecision = "int8"
    group: int | None = None
    rounding: RoundingMethod = "nearest"
    scaling: ScalingMethod = "none"
    float_weights: FloatType = "float32"
    method: Method | None = None
    percentile: float = DEFAULT_PERCENTILE
    bias_correction: bool = True
    equalization: bool | None = None
    channel_splitting: float | None = None
    reconstruction: bool | None = None
    mixed_precision: bool | None = None
    spared: Spared = "latency"
    keep_float: KeepFloat = field(default_factory=KeepFloat)
    widen: Widen = field(default_factory=Widen)
    tensors: Mapping[str, TensorOverride] = field(default_factory=dict)
    extra: Mapping[str, object] = field(default_factory=dict)
    schema_version: str = _SCHEMA_VERSION

    def __post_init__(self) -> None:
        """Make the mappings read-only."""
        object.__setattr__(self, "tensors", MappingProxyType(dict(self.tensors)))
        object.__setattr__(self, "extra", MappingProxyType(dict(self.extra)))
        lowest = self._lowest_version()
        if self.schema_version in _VERSIONS[: _VERSIONS.index(lowest)]:
            object.__setattr__(self, "schema_version", lowest)

    def _lowest_version(self) -> str:
        """Return the first version that has what is asked for."""
        if self.scaling != "none":
            return _SCALING_VERSION
        if self.float_weights != "float32" or self.precision == "weights-float16":
            return _FLOAT16_VERSION
        if self.rounding != "nearest":
            return _ROUNDING_VERSION
        return _SCHEMA_VERSION if self.precision == "int8" else _PRECISION_VERSION

    @property
    def fits_weights(self) -> bool:
        """Whether weights are scaled or rounded by calibration data, in a precision that needs none otherwise."""
        return (self.rounding, self.scaling) != ("nearest", "none")
