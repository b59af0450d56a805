"""What a target can do: `CapabilityProfile` and its parts.

Facts only: no behaviour, no input or output. `catalog` reads them from TOML, the host's `plan` obeys them,
the agent compares ids. Operator names are ONNX operator types throughout, whatever the target's own format
calls them; only `ArtifactFormat.max_op_versions` speaks the format's own language.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

Precision = Literal["int8", "int16", "float16", "float32"]
PlanPrecision = Literal[
    "int8",
    "int8-dynamic",
    "weights-int8",
    "weights-int4",
    "weights-kmeans8",
    "weights-kmeans4",
    "weights-float16",
]
"""What becomes smaller: weights and activations by calibrated ranges (int8), weights and at run time activations, or weights alone."""
PLAN_PRECISIONS: tuple[PlanPrecision, ...] = get_args(PlanPrecision)
UNCALIBRATED: tuple[PlanPrecision, ...] = tuple(one for one in PLAN_PRECISIONS if one != "int8")
"""Those that need no calibration."""
GROUPED: tuple[PlanPrecision, ...] = ("weights-int8", "weights-int4")
"""Those whose weights are codes, of which a group may share a scale."""
CLUSTERED: tuple[PlanPrecision, ...] = ("weights-kmeans8", "weights-kmeans4")
"""Those whose weights are indices into a codebook of floats each."""
LARGEST_GROUP = 1 << 16
"""Weights that one scale may serve."""
ZeroPointRule = Literal["symmetric", "midpoint", "asymmetric"]
ZERO_POINTS: tuple[ZeroPointRule, ...] = get_args(ZeroPointRule)
ScaleKind = Literal["float32", "power_of_two"]
Rounding = Literal["half_even", "half_up", "half_away_from_zero"]
Fallback = Literal["float32", "float16", "refuse"]
Format = Literal["onnx_qdq", "openvino_ir", "tflite"]
TensorType = Literal["float32", "int8", "uint8"]
EngineName = Literal["onnx", "tflite", "openvino"]
Proof = Literal["engine", "vendor_tool", "document"]
_OPSET_OF_16_BITS: Final = 21
"""The first in which QuantizeLinear writes codes of 16 bits."""
Sidecar = Literal["float_onnx", "qualcomm_encodings", "nncase_quant_scheme"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightRules:
    """How constant weights may be quantized.

    Attributes:
        bits: Width of a weight in bits, 4 to 16.
        signed: Whether the stored type is signed.
        symmetric: Whether the zero point must be 0.
        narrow_range: Whether the lowest code (-128 for int8) is forbidden.
        per_channel_ops: Operators whose weights may have one scale per output channel; every other operator
            takes one per tensor.
    """

    bits: int
    signed: bool
    symmetric: bool
    narrow_range: bool
    per_channel_ops: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationRules:
    """How activations may be quantized; always one scale per tensor.

    Attributes:
        bits: Width in bits, 8 or 16.
        signed: Whether the stored type is signed; re-basing between signed and unsigned is exact.
        zero_point: `symmetric` (0, or the middle code when unsigned), `midpoint` (lowest or middle code) or
            `asymmetric` (any code).
    """

    bits: int
    signed: bool
    zero_point: ZeroPointRule


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleRules:
    """Which scales are legal.

    Attributes:
        kind: Any float32, or powers of two only.
        minimum: Smallest legal scale, in input units per code; greater than 0.
        minimum_range: Smallest legal width of a real range, in input units.
    """

    kind: ScaleKind
    minimum: float
    minimum_range: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BiasRules:
    """How biases are stored.

    Attributes:
        quantized: False when the target keeps biases in float.
        bits: Width of the integer bias; 20, 32, 40 or 64.
        scale: The only rule in use: input scale times weight scale.
    """

    quantized: bool
    bits: int
    scale: Literal["input_times_weight"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundingRules:
    """How the hardware rounds a number half way between two codes; a property of the silicon, never a choice.

    Attributes:
        weights: When we quantize weights and biases for it.
        activations: When the device quantizes an activation.
        requantization: When it rescales an accumulator to output codes. Parity is measured against halves to even; where this differs the
            report says so, and the profile's parity tolerance has room for it.
    """

    weights: Rounding
    activations: Rounding
    requantization: Rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class AccumulatorRules:
    """Limits of the integer accumulator.

    Attributes:
        bits: Width of the accumulator.
        max_weight_sum: Largest legal sum of absolute weight codes of one output channel; None when there is no
            limit.
    """

    bits: int
    max_weight_sum: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpConstraints:
    """Static limits of one operator; None means no limit known. All extents are per spatial axis."""

    max_rank: int | None = None
    max_batch: int | None = None
    max_stride: int | None = None
    max_kernel: int | None = None
    max_dilation: int | None = None
    axes: tuple[int, ...] | None = None
    """Only axes (of the ONNX, NCHW tensor, non-negative) on which the operator may work; None when any."""
    modes: tuple[str, ...] | None = None
    """Only these values of the `mode` attribute, e.g. ``("nearest",)`` for Resize; None when any."""
    constant_operand: bool = False
    """Whether the second operand must be constant: a MatMul of two activations then runs in float."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpSupport:
    """What the target does with one operator.

    Attributes:
        precisions: Precisions that have a kernel, best first; empty when the operator is forbidden.
        constraints: Static limits beyond which the operator counts as unsupported in integer precision.
        requantization_ratio: Legal half-open interval [low, high) of the kernel's rescale factor, or None.
            What the factor is depends on the operator: s_input * s_weight / s_output for Conv, ConvTranspose,
            Gemm, MatMul; s_input_a * s_input_b / s_output for Mul; s_input / s_output (each input) for
            everything else.
    """

    precisions: tuple[Precision, ...]
    constraints: OpConstraints = field(default_factory=OpConstraints)
    requantization_ratio: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedOutput:
    """Quantization that the kernel hard-codes for an operator's output.

    In the signed 8-bit codes of the TFLite specification.
    """

    scale: float
    zero_point: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """Types of the payload's inputs and outputs as the application sees them."""

    input_type: TensorType
    output_type: TensorType


@dataclass(frozen=True, slots=True, kw_only=True)
class FallbackRules:
    """What happens to an operator without an integer kernel.

    Attributes:
        to: The precision it runs in, or `refuse`.
        max_float_ops: Most operators that may fall back; None for no limit.
        max_partitions: Most separate integer regions; None for no limit.
    """

    to: Fallback
    max_float_ops: int | None
    max_partitions: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactFormat:
    """The file the target reads.

    Attributes:
        format: Which lowering writes it.
        opset: ONNX opset for `onnx_qdq` and the input of `openvino_ir`; schema version 3 for `tflite`.
        max_op_versions: For `tflite`: highest accepted version per builtin operator name, e.g.
            ``{"FULLY_CONNECTED": 9}``; an operator that is not listed has no known limit.
        qdq_bias: Whether integer biases get a DequantizeLinear of their own (`onnx_qdq`).
        quantize_outputs: Whether Q/DQ stand behind every operator that writes integers. False for consumers like
            TensorRT, which want them at the inputs of integer operators only (`onnx_qdq`).
        shields: Whether float operators are kept from ONNX Runtime's own quantization by a DequantizeLinear of half
            the scale and a Mul (`onnx_qdq`); False for files that another reader gets.
        sidecars: Files for the vendor's compiler, written beside the payload and never loaded by the engine:
            `float_onnx` (the float model with the plan's own weights and biases), `qualcomm_encodings`,
            `nncase_quant_scheme`.
        integer_ops: For `onnx_qdq`: operators that run on integers only when written on the codes themselves,
            between QuantizeLinear and DequantizeLinear, constants as codes of the same scale; with Q/DQ
            around them they stay float.
    """

    format: Format
    opset: int
    max_op_versions: Mapping[str, int]
    qdq_bias: bool
    quantize_outputs: bool
    integer_ops: frozenset[str] = frozenset()
    shields: bool = True
    sidecars: tuple[Sidecar, ...] = ()

    def opset_of(self, *, has_16_bits: bool) -> int:
        """Return the opset of an `onnx_qdq` file: the target's, or the first that can write codes of 16 bits."""
        return max(self.opset, _OPSET_OF_16_BITS) if has_16_bits else self.opset


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityRules:
    """How far an engine's output codes may be from others that are right: the golden outputs on a device, the plan's arithmetic on the host.

    Attributes:
        max_lsb: Largest accepted difference of one output code on a device; of 16-bit codes on a target of 8-bit ones, 256 count as one.
        min_share_within_one: Smallest accepted share of output codes within one, 0 to 1. On the host it decides only where operators cannot be
            compared one by one.
    """

    max_lsb: int
    min_share_within_one: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRequirement:
    """What must run the artifact.

    Attributes:
        name: `onnx`, `tflite` or `openvino`.
        min_versions: Lowest version that works, by library under its distribution name; no other library will do.
        processor_features: The kernels compute what the plan says where the processor has one of these, as Linux names them in
            ``/proc/cpuinfo``; empty: on every processor.
        otherwise: Id of the target for processors that have none of them; empty where there is none.
    """

    name: EngineName
    min_versions: Mapping[str, str]
    processor_features: frozenset[str] = frozenset()
    otherwise: str = ""

    def __post_init__(self) -> None:
        """Make the mapping read-only."""
        object.__setattr__(self, "min_versions", MappingProxyType(dict(self.min_versions)))


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRules:
    """What an operation costs beside the same operation on 8-bit activations, in time; 1 is as much.

    Attributes:
        int16: On 16-bit activations.
        float32: In float32, where the target falls back to it.
    """

    int16: float = 2.0
    float32: float = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class UncalibratedRules:
    """What a target does in a precision that needs no calibration (`UNCALIBRATED`).

    Attributes:
        ops: Operators that read constant weights as codes, by indices into a codebook, or stored in float16; every other reads them in float32.
        symmetric: Whether the zero point of weights must be 0, or the middle code where they are stored unsigned.
        groups: Group sizes along the axis that is summed over, in elements, best first; 0 is the whole of it: one scale an output channel.
            Empty for precisions without codes (not in `GROUPED`, nor ``int8-dynamic``).
        partial_group: Whether the last group of an axis may have fewer weights; where not, a matrix that no whole groups fill has one group a
            channel.
        min_versions: Lowest version that has the kernels, by library; of those that are left out, `EngineRequirement` has it.
    """

    ops: frozenset[str]
    symmetric: bool
    groups: tuple[int, ...]
    partial_group: bool
    min_versions: Mapping[str, str]

    def __post_init__(self) -> None:
        """Make the mapping read-only."""
        object.__setattr__(self, "min_versions", MappingProxyType(dict(self.min_versions)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One fact with its origin, for `targets show`: dotted key, value as written in TOML, source text."""

    key: str
    value: object
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CapabilityProfile:
    """Everything the host must know of a target to make a file that runs there as promised.

    Attributes:
        id: Name of the target; lower case, digits and hyphens.
        title: One line for people.
        proof: How the facts are proven: by running an `engine`, by a `vendor_tool`, or by `document` only.
        digest: ``sha256:…`` of the TOML file as read.
        same_scale: Operators whose inputs and outputs must share one scale and zero point.
        fixed_outputs: Output quantization hard-coded in kernels, by operator.
        fusions: Chains that run as one operator, e.g. ``("Conv", "Clip")``; the inner tensor is never
            quantized.
        facts: Every fact with its source, in file order.
        wide: The same target as an operator with 16-bit activations sees it: its operators are those that have such a kernel beside
            their 8-bit one, and activations, biases, accumulator and fixed outputs are that kernel's. None where there are none.
        cost: What wider precisions cost; Edgewright's own guess where the profile does not say.
        uncalibrated: What it does in each precision that needs no calibration; those that it does not have are absent.
    """

    id: str
    title: str
    proof: Proof
    digest: str
    weights: WeightRules
    activations: ActivationRules
    scale: ScaleRules
    bias: BiasRules
    rounding: RoundingRules
    accumulator: AccumulatorRules
    ops: Mapping[str, OpSupport]
    same_scale: frozenset[str]
    fixed_outputs: Mapping[str, FixedOutput]
    fusions: tuple[tuple[str, ...], ...]
    interface: Interface
    fallback: FallbackRules
    artifact: ArtifactFormat
    parity: ParityRules
    engine: EngineRequirement
    facts: tuple[Fact, ...]
    wide: CapabilityProfile | None = None
    cost: CostRules = field(default_factory=CostRules)
    uncalibrated: Mapping[PlanPrecision, UncalibratedRules] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the mappings read-only, so that a profile can be shared."""
        object.__setattr__(self, "ops", MappingProxyType(dict(self.ops)))
        object.__setattr__(self, "fixed_outputs", MappingProxyType(dict(self.fixed_outputs)))
        object.__setattr__(self, "uncalibrated", MappingProxyType(dict(self.uncalibrated)))

    def at(self, precision: Precision) -> CapabilityProfile:
        """Return the target as an operator of that precision sees it: `wide` for int16 where that is not the width of every one."""
        return self.wide if precision == "int16" and self.wide is not None else self
