"""`QuantizationPlan`: what every tensor and node becomes on one target, and why.

A plan speaks of the values and nodes of the canonical graph (`host_tools.model.float_model`). It holds every number that a lowering
needs, so that no lowering ever chooses a scale.

How a lowering reads it:

- a value whose `TensorPlan.qparams` is set exists as integers; a value without exists as float;
- a node of integer precision reads and writes integers; a float node reads floats, so its quantized inputs are dequantized at its
  door and its quantized outputs are quantized behind it;
- a node with `fused_into` (Relu, Clip after Conv) is done by the named producer: the value between the two has role ``fused`` and does
  not exist; the producer writes the fused node's output value. `host_tools.plan.qparams.saturates` tells whether the integer range of
  that output already does what the fused Relu or Clip does; where it says no, the lowering must write the activation;
- a node of int16 precision reads and writes 16-bit codes, also on a target whose other nodes are int8; a value is as wide as its writer;
- `Requantize` entries change the scale, or the width, of one edge only: the consumer sees the value re-quantized to the entry's parameters.

Such is a plan of precision ``int8``, made from statistics, or from what a file that is quantized already says (`host_tools.plan.imported`).
The other precisions (`PlanPrecision`) plan no activation, and need no statistics:

- ``weights-int8`` and ``weights-int4``: every node is float; the weights that have `TensorPlan.qparams` are stored as codes, and the node that
  reads one dequantizes it at its door, as any float node does;
- ``int8-dynamic``: besides, nodes whose `NodePlan.activations` is ``dynamic`` multiply integers: each run they find the scale of what they read
  from its own range, and give floats;
- ``weights-kmeans8`` and ``weights-kmeans4``: no codes of a scale. The weights that have a `TensorPlan.codebook` are stored as indices into it,
  and looked up where they are read (`host_tools.plan.codebooks`);
- ``weights-float16``: no codes at all. The weights whose `TensorPlan.float_type` is ``float16`` are stored so, and made float32 where they
  are read. In a plan of any precision a weight of a float node may be stored so (`host_tools.plan.float16`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from device_agent.contract.digest import digest_of
from host_tools.observe import statistics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from targets.profile import PlanPrecision, Precision

SCHEMA_VERSION = "1.0"
UNCALIBRATED_SCHEMA_VERSION = "1.1"
"""Of plans of a precision other than int8, which readers of 1.0 would take for something else."""
FLOAT16_SCHEMA_VERSION = "1.2"
"""Of plans that store weights in float16, which readers of 1.1 would take for float32."""
CODEBOOK_SCHEMA_VERSION = "1.3"
"""Of plans that store weights as indices into codebooks, which readers of 1.2 would take for float32."""

NO_DATA_DIGEST = digest_of(b"")
"""`QuantizationPlan.data_digest` of a plan that no data went into."""

Method = statistics.Method
Role = Literal["input", "activation", "output", "weight", "bias", "constant", "fused"]
IntegerType = Literal["int8", "uint8", "int16", "int32", "int64", "int4", "uint4"]
ActivationScheme = Literal["planned", "dynamic"]
FloatType = Literal["float32", "float16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class QParams:
    """real = scale * (code - zero_point).

    Attributes:
        scale: float64, one entry (per tensor), one per channel or one per group; each finite and > 0.
        zero_point: One entry per scale.
        dtype: Stored integer type.
        quant_min: Lowest code in use (-127 for narrow int8).
        quant_max: Highest code in use.
        axis: Channel axis in the canonical graph's layout, or None per tensor and per group.
        group_axis: Per group: the axis along which groups lie, in the canonical layout; else None.
        group_size: Per group: elements along `group_axis` that share a scale, of which the last group may have fewer. Scales and zero points
            then stand in C order of the weight's shape, with the number of groups in the place of that axis.
    """

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    dtype: IntegerType
    quant_min: int
    quant_max: int
    axis: int | None
    group_axis: int | None = None
    group_size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorPlan:
    """What one value becomes. Biases (`role` bias) have dtype int32 (or wider) and scale = input scale * weight scale.

    Attributes:
        name: Value name in the canonical graph.
        role: Its part.
        qparams: None when it stays float, or does not exist.
        reason: Why.
        values: For a constant: real numbers, flattened in C order, in the place of the model's own (a corrected bias). None: the model's own.
        codes: For a weight: integers already rounded, in the stored type, little-endian, C order of the canonical weight. None: the values,
            rounded to nearest.
        float_type: For a weight without parameters: how it is stored. It is computed with in the engine's own float type.
        codebook: For a weight without parameters: the float32 numbers that are left of its own, ascending, at most 256; it is stored as
            indices of the nearest. None: it has none.
    """

    name: str
    role: Role
    qparams: QParams | None
    reason: str
    values: tuple[float, ...] | None = None
    codes: bytes | None = None
    float_type: FloatType = "float32"
    codebook: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePlan:
    """How one node runs: its precision, the node that absorbs it, and why; with `activations` ``dynamic`` it finds its input's scale itself."""

    name: str
    op_type: str
    precision: Precision
    fused_into: str | None
    reason: str
    activations: ActivationScheme = "planned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Requantize:
    """Input ``input_index`` of ``node`` is read re-quantized to ``qparams``."""

    node: str
    input_index: int
    qparams: QParams
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizationPlan:
    """The whole plan for one model on one target.

    Attributes:
        model_digest: `FloatModel.digest` the plan is for.
        data_digest: `Statistics.data_digest` it was made from.
        target: Profile id.
        profile_digest: Profile digest.
        method: How ranges became parameters.
        tensors: By value name: every value of the canonical graph, initializers included.
        nodes: By node name: every node.
        requantize: Edges that change scale.
        warnings: What a reader of the report must know (fall-backs, clipped biases, widened ranges), one sentence each.
        method_reason: Who chose the method, and why.
        precision: What of the model became smaller.
        extra: Fields of a newer minor version of ``plan.json``, kept as they came: by name, or by path for those inside entries.
    """

    model_digest: str
    data_digest: str
    target: str
    profile_digest: str
    method: Method
    tensors: Mapping[str, TensorPlan]
    nodes: Mapping[str, NodePlan]
    requantize: tuple[Requantize, ...]
    warnings: tuple[str, ...]
    method_reason: str = ""
    precision: PlanPrecision = "int8"
    extra: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the mappings read-only."""
        object.__setattr__(self, "tensors", MappingProxyType(dict(self.tensors)))
        object.__setattr__(self, "nodes", MappingProxyType(dict(self.nodes)))
        object.__setattr__(self, "extra", MappingProxyType(dict(self.extra)))
