"""Which version of a builtin operator a file must ask for, and the oldest runtime that has it.

A reader refuses a version it does not know, so each operator is written in the lowest one that expresses it.

Source: LiteRT, tflite/converter/tools/versioning/op_version.cc (`GetBuiltinOperatorVersion`) and runtime_version.cc,
commit f67457790c9c. Version 12 of FULLY_CONNECTED is for float activations with per-channel weights; an int8 one is version 4 whatever its
weights' granularity. Whether an old runtime then reads every channel's scale is the profile's fact (``weights.per_channel_ops``):
tflite-runtime 2.14.0 does (run: 48 random layers written as version 4, no code further than 1 from float64 arithmetic).
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from host_tools.lower.tflite.graph import Options, Tensor

_INT8_IS_2 = frozenset(
    {
        "ADD",
        "AVERAGE_POOL_2D",
        "BATCH_MATMUL",
        "CONCATENATION",
        "DEQUANTIZE",
        "LOGISTIC",
        "MAX_POOL_2D",
        "MAXIMUM",
        "MEAN",
        "MINIMUM",
        "MIRROR_PAD",
        "MUL",
        "PAD",
        "PADV2",
        "RELU",
        "RELU6",
        "RESIZE_BILINEAR",
        "RESIZE_NEAREST_NEIGHBOR",
        "SLICE",
        "SOFTMAX",
        "SPLIT_V",
        "STRIDED_SLICE",
        "SUB",
        "TANH",
        "TRANSPOSE",
    }
)
"""Operators whose int8 kernel came with version 2 and whose float kernel is version 1."""

_INT16_IS: Mapping[str, int] = MappingProxyType(
    {
        "ADD": 3, "AVERAGE_POOL_2D": 3, "BATCH_MATMUL": 3, "CONCATENATION": 3, "CONV_2D": 4, "DEPTHWISE_CONV_2D": 5, "DEQUANTIZE": 3,
        "FULLY_CONNECTED": 7, "LEAKY_RELU": 2, "LOGISTIC": 3, "MAX_POOL_2D": 3, "MAXIMUM": 4, "MEAN": 3, "MINIMUM": 4, "MIRROR_PAD": 3,
        "MUL": 4, "PAD": 3, "PADV2": 3, "RELU": 3, "RELU6": 3, "RESIZE_BILINEAR": 4, "RESIZE_NEAREST_NEIGHBOR": 4, "SLICE": 4,
        "SOFTMAX": 3, "SPLIT": 4, "SUB": 5, "TANH": 3, "TRANSPOSE": 5, "TRANSPOSE_CONV": 3,
    }
)  # fmt: skip
"""Version with which the kernel on 16-bit activations and 8-bit weights came; absent where every version has it.

The source asks for version 4, 5 and 7 of CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED only where the weights are 16-bit as well, and for
version 1 else; but runtimes from before those versions have no such kernel at all.
"""

_BEYOND_RANK_4: Mapping[str, int] = MappingProxyType({"PAD": 4, "PADV2": 4, "SLICE": 5, "STRIDED_SLICE": 4})
"""Version that the first rank above 4 asks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signature:
    """What an operator's version depends on: its tensors, the fields of its options, and whether it computes in int8."""

    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]
    fields: Mapping[str, object]
    is_int8: bool


def lowest(name: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor], options: Options | None) -> int:
    """Return the lowest version of a builtin operator that expresses these tensors and options.

    Args:
        name: Builtin operator.
        inputs: Input tensors that are present, in order.
        outputs: Output tensors.
        options: Options table, or None.
    """
    # SPLIT begins with the axis, TRANSPOSE_CONV with the output's shape.
    data = inputs[1] if name in {"SPLIT", "TRANSPOSE_CONV"} else inputs[0]
    is_int8 = data.type == "INT8"
    if name == "BROADCAST_TO":
        return 2
    base = 2 if is_int8 and name in _INT8_IS_2 else 1
    if data.type == "INT16":
        base = _INT16_IS.get(name, 1)
    if name == "QUANTIZE" and outputs[0].type == "INT16":
        base = 2
    if name in _SPECIAL:
        fields = options.fields if options is not None else {}
        return max(
            base, _SPECIAL[name](_Signature(inputs=inputs, outputs=outputs, fields=fields, is_int8=is_int8))
        )
    if name in _BEYOND_RANK_4 and len(data.shape) > 4:
        return max(base, _BEYOND_RANK_4[name])
    return base


def _is_per_channel(tensor: Tensor) -> bool:
    return tensor.quantization is not None and tensor.quantization.is_per_channel


def _hybrid(op: _Signature, *, per_tensor: int, per_channel: int) -> int | None:
    """Return the version for float activations before 8-bit weights; None for others."""
    if op.inputs[0].type != "FLOAT32" or op.inputs[1].type != "INT8":
        return None
    return per_channel if _is_per_channel(op.inputs[1]) else per_tensor


def _dequantize(op: _Signature) -> int:
    source = op.inputs[0]
    if source.type == "INT4":
        return 6
    if source.type == "FLOAT16":
        return 3
    return 5 if _is_per_channel(source) else 1


def _convolution(op: _Signature) -> int:
    if op.inputs[0].shape[3] != op.inputs[1].shape[3]:
        return 6
    hybrid = _hybrid(op, per_tensor=2, per_channel=5)
    if hybrid is not None:
        return hybrid
    return 3 if op.is_int8 else 1


def _depthwise(op: _Signature) -> int:
    hybrid = _hybrid(op, per_tensor=4, per_channel=6)
    if hybrid is not None:
        return hybrid
    if op.is_int8:
        return 3
    dilated = op.fields.get("dilationHFactor", 1) != 1 or op.fields.get("dilationWFactor", 1) != 1
    return 2 if dilated else 1


def _embedding_lookup(op: _Signature) -> int:
    table = op.inputs[1]
    return 4 if _is_per_channel(table) or table.type == "INT4" else 1


def _fully_connected(op: _Signature) -> int:
    hybrid = _hybrid(op, per_tensor=3, per_channel=12)
    if hybrid is not None:
        return max(hybrid, 5 if op.fields.get("keepNumDims") else 1)
    if op.fields.get("keepNumDims"):
        return 5
    return 4 if op.is_int8 else 1


def _transpose_conv(op: _Signature) -> int:
    if op.fields.get("fusedActivationFunction"):
        return 4
    if len(op.inputs) == 4:
        return 3
    return 2 if op.is_int8 else 1


def _mul(op: _Signature) -> int:
    quantizations = (op.inputs[0].quantization, op.inputs[1].quantization, op.outputs[0].quantization)
    if any(quantization is None for quantization in quantizations):
        return 1
    a, b, out = (quantization.scale[0] for quantization in quantizations if quantization is not None)
    return 3 if a * b / out >= 1.0 else 1


def _split(op: _Signature) -> int:
    return 2 if op.is_int8 else 1


def _add(op: _Signature) -> int:
    return 4 if op.inputs[0].type == "INT64" else 1


def _sub(op: _Signature) -> int:
    return max(_add(op), _broadcast_beyond_4(op))


def _broadcast_beyond_4(op: _Signature) -> int:
    differ = op.inputs[0].shape != op.inputs[1].shape
    return 3 if differ and max(len(tensor.shape) for tensor in op.inputs) > 4 else 1


def _div(op: _Signature) -> int:
    return 2 if _broadcast_beyond_4(op) == 3 else 1


def _transpose(op: _Signature) -> int:
    return {5: 4, 6: 6}.get(len(op.inputs[0].shape), 8 if len(op.inputs[0].shape) > 6 else 1)


def _resize_bilinear(op: _Signature) -> int:
    return 3 if op.fields.get("halfPixelCenters") else 1


def _resize_nearest(op: _Signature) -> int:
    return 3 if op.fields.get("halfPixelCenters") or op.fields.get("alignCorners") else 1


_SPECIAL = MappingProxyType(
    {
        "ADD": _add,
        "CONV_2D": _convolution,
        "DEPTHWISE_CONV_2D": _depthwise,
        "DEQUANTIZE": _dequantize,
        "EMBEDDING_LOOKUP": _embedding_lookup,
        "FULLY_CONNECTED": _fully_connected,
        "TRANSPOSE_CONV": _transpose_conv,
        "MUL": _mul,
        "SPLIT": _split,
        "SUB": _sub,
        "MAXIMUM": _broadcast_beyond_4,
        "MINIMUM": _broadcast_beyond_4,
        "DIV": _div,
        "TRANSPOSE": _transpose,
        "RESIZE_BILINEAR": _resize_bilinear,
        "RESIZE_NEAREST_NEIGHBOR": _resize_nearest,
    }
)

_RUNTIMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "ABS": ("1.13.0",),
        "ADD": ("1.5.0", "1.14.0", "2.4.0", "2.6.0"),
        "ARG_MAX": ("1.9.0",),
        "ARG_MIN": ("1.9.0",),
        "AVERAGE_POOL_2D": ("1.5.0", "1.14.0", "2.3.0"),
        "BATCH_MATMUL": ("2.3.0", "2.3.0", "2.4.0"),
        "BROADCAST_TO": ("2.5.0", "2.5.0"),
        "CAST": ("1.5.0",),
        "CEIL": ("1.14.0",),
        "COS": ("1.14.0",),
        "CONCATENATION": ("1.5.0", "1.14.0", "2.3.0"),
        "CONV_2D": ("1.5.0", "1.14.0", "1.14.0", "2.3.0", "2.4.0", "2.9.0"),
        "CUMSUM": ("2.4.0",),
        "DEPTHWISE_CONV_2D": ("1.5.0", "1.12.0", "1.14.0", "2.2.0", "2.3.0", "2.3.0"),
        "DEPTH_TO_SPACE": ("2.1.0",),
        "DEQUANTIZE": ("1.13.1", "1.14.0", "1.15.0", "2.2.0", "2.7.0", "2.18.0"),
        "DIV": ("1.6.0", "2.3.0"),
        "ELU": ("1.14.0",),
        "EMBEDDING_LOOKUP": ("1.13.0", "1.14.0", "1.14.0", "2.18.0"),
        "EQUAL": ("1.14.0",),
        "EXP": ("1.7.0",),
        "FLOOR": ("1.9.0",),
        "FLOOR_MOD": ("1.13.0",),
        "FULLY_CONNECTED": (
            "1.5.0", "1.10.0", "1.14.0", "1.14.0", "2.0.0", "2.1.0", "2.3.0", "2.3.0", "2.3.0", "2.11.0", "2.15.0", "2.17.0",
        ),
        "GATHER": ("1.6.0",),
        "GATHER_ND": ("1.14.0",),
        "GELU": ("2.9.0",),
        "GREATER": ("1.14.0",),
        "GREATER_EQUAL": ("1.14.0",),
        "HARD_SWISH": ("1.15.0",),
        "LEAKY_RELU": ("1.13.1", "2.3.0"),
        "LESS": ("1.14.0",),
        "LESS_EQUAL": ("1.14.0",),
        "LOG": ("1.14.0",),
        "LOGICAL_AND": ("1.11.0",),
        "LOGICAL_NOT": ("1.11.0",),
        "LOGICAL_OR": ("1.11.0",),
        "LOG_SOFTMAX": ("1.14.0",),
        "LOGISTIC": ("1.14.0", "1.14.0", "2.3.0"),
        "MAX_POOL_2D": ("1.5.0", "1.14.0", "2.3.0"),
        "MAXIMUM": ("1.14.0", "1.14.0", "2.3.0", "2.3.0"),
        "MEAN": ("1.6.0", "1.14.0", "2.4.0"),
        "MINIMUM": ("1.14.0", "1.14.0", "2.3.0", "2.3.0"),
        "MIRROR_PAD": ("1.13.1", "2.3.0", "2.12.0"),
        "MUL": ("1.5.0", "1.14.0", "1.15.0", "2.3.0"),
        "NEG": ("1.9.0",),
        "NOT_EQUAL": ("1.14.0",),
        "ONE_HOT": ("1.11.0",),
        "PAD": ("1.5.0", "1.14.0", "2.4.0", "2.6.0"),
        "PADV2": ("1.9.0", "1.14.0", "2.4.0", "2.6.0"),
        "POW": ("1.10.0",),
        "PRELU": ("1.8.0",),
        "QUANTIZE": ("1.14.0", "1.15.0"),
        "REDUCE_MAX": ("1.11.0",),
        "REDUCE_MIN": ("1.11.0",),
        "REDUCE_PROD": ("1.11.0",),
        "RELU": ("1.5.0", "2.1.0", "2.5.0"),
        "RELU6": ("1.5.0", "1.14.0", "2.5.0"),
        "RELU_N1_TO_1": ("1.5.0",),
        "RESHAPE": ("1.5.0",),
        "RESIZE_BILINEAR": ("1.7.0", "1.14.0", "2.2.0", "2.5.0"),
        "RESIZE_NEAREST_NEIGHBOR": ("1.13.1", "1.14.0", "2.3.0", "2.4.0"),
        "ROUND": ("1.14.0",),
        "RSQRT": ("1.10.0",),
        "SELECT_V2": ("2.2.0",),
        "SIGN": ("2.11.0",),
        "SIN": ("1.9.0",),
        "SLICE": ("1.14.0", "1.14.0", "1.14.0", "2.4.0", "2.5.0"),
        "SOFTMAX": ("1.5.0", "1.14.0", "2.3.0"),
        "SPACE_TO_DEPTH": ("1.5.0",),
        "SPLIT": ("1.5.0", "1.14.0", "1.14.0", "2.3.0"),
        "SQRT": ("1.10.0",),
        "STRIDED_SLICE": ("1.6.0", "1.14.0", "2.1.0", "2.2.0"),
        "SUM": ("1.10.0",),
        "SUB": ("1.6.0", "1.14.0", "2.3.0", "2.4.0", "2.4.0"),
        "TANH": ("1.14.0", "1.14.0", "2.3.0"),
        "TILE": ("1.10.1",),
        "TOPK_V2": ("1.7.0",),
        "TRANSPOSE": ("1.6.0", "1.14.0", "1.15.0", "2.3.0", "2.4.0", "2.12.0", "2.14.4", "2.22.0"),
        "TRANSPOSE_CONV": ("1.9.0", "2.2.0", "2.3.0", "2.13.0"),
    }
)  # fmt: skip
"""First runtime with each version, from version 1 upwards."""


def runtime(codes: Sequence[tuple[str, int]]) -> str:
    """Return the oldest runtime that has all these (operator, version) pairs, e.g. ``2.3.0``."""
    needed = [_RUNTIMES[name][version - 1] for name, version in codes]
    return max(needed, key=lambda text: tuple(int(part) for part in text.split(".")), default="1.5.0")


def reason(name: str, version: int) -> str:
    """Say what made the version necessary, for messages."""
    return _REASONS.get((name, version), f"first in runtime {_RUNTIMES[name][version - 1]}")


def cure() -> str:
    """Say what the reader can do about a version that is too new."""
    return "Choose a target with a newer runtime, or let the profile run this operator in another precision."


_REASONS: Mapping[tuple[str, int], str] = MappingProxyType(
    {
        ("DEQUANTIZE", 3): "it reads float16",
        ("EMBEDDING_LOOKUP", 4): "each row has a scale of its own",
        ("FULLY_CONNECTED", 5): "its input has more than two dimensions",
        ("CONV_2D", 6): "it is a grouped convolution",
        ("TRANSPOSE_CONV", 4): "it has a fused activation",
        ("MUL", 3): "the product of its input scales is not below the output scale",
    }
)
