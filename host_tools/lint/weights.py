"""Rules of weights and biases: `WEIGHT_RULES`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.lint.finding import Breach
from host_tools.plan.qparams import code_range

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from host_tools.lint.facts import LintedOp, LintedTensor
    from host_tools.plan.qparams import CodeRange
    from targets.profile import CapabilityProfile

    Rule = Callable[[LintedOp, str, CapabilityProfile], Iterator[Breach]]

FLOAT32_NOISE: Final = 1e-6
"""Relative difference of two scales that one multiplication and two roundings to float32 leave; far below half a code."""


def constant_weight(op: LintedOp, op_type: str, profile: CapabilityProfile) -> Iterator[Breach]:
    """The weight of a weighted operator is a constant."""
    del op_type, profile
    if op.weight is not None and not op.weight.is_constant:
        yield Breach(where=op.weight.name, got="a computed weight", allowed="a constant", fact="weights.bits")


def readable_constant(op: LintedOp, op_type: str, profile: CapabilityProfile) -> Iterator[Breach]:
    """What the rules look into is in the file."""
    del op_type, profile
    for tensor in (op.weight, op.bias):
        if tensor is not None and tensor.is_constant and tensor.codes is None:
            got = f"{tensor.dtype} values that are not in the file, or of a type that is not looked into"
            yield Breach(where=tensor.name, got=got, allowed="values to check", fact="weights.bits")


def weight_type(op: LintedOp, op_type: str, profile: CapabilityProfile) -> Iterator[Breach]:
    """The weight is stored in the type and within the width that the target has."""
    del op_type
    weight, codes = op.weight, _weight_codes(profile)
    if weight is None:
        return
    narrower = {"int8": "int4", "uint8": "uint4"}.get(codes.dtype)
    if weight.dtype not in (codes.dtype, narrower):
        yield Breach(where=weight.name, got=weight.dtype, allowed=codes.dtype, fact="weights.bits")
        return
    used = _extremes(weight)
    if used is not None and (used[0] < _lowest(codes, profile) or used[1] > codes.high):
        got = f"codes {used[0]} to {used[1]}"
        allowed = f"{profile.weights.bits} bits: {_lowest(codes, profile)} to {codes.high}"
        yield Breach(where=weight.name, got=got, allowed=allowed, fact="weights.bits")


def narrow_range(op: LintedOp, op_type: str, profile: CapabilityProfile) -> Iterator[Breach]:
    """The lowest code is not used."""
    del op_type
    used = None if op.weight is None else _extremes(op.weight)
    lowest = _lowest(_weight_codes(profile), profile)
    if op.weight is not None and profile.weights.narrow_range and used is not None and used[0] == lowest:
        yield Breach(
            where=op.weight.name,
            got=f"code {used[0]}",
            allowed=f"codes from {lowest + 1}",
            fact="weights.narrow_range",
        )


def weight_zero_point(op: LintedOp, op_type: str, profile: CapabilityProfile) -> Iterator[Breach]:
    """The weight is symmetric."""
    del op_type
    weight, middle = op.weight, _weight_codes(profile).middle
    if weight is None or not profile.weights.symmetric or not weight.is_integer:
        return
    odd = sorted(set(weight.zero_point) - {middle})
    if odd:
        got = f"zero point {', '.join(map(str, odd[:3]))}{', …' if len(odd) > 3 else ''}"
        yield Breach(where=weight.name, got=got, allowed=f"zero point {middle}", fact="weights.symmetric")


def weight_granularity(op: LintedOp, op_type: str, profile: CapabilityProfile) -> Iterator[Breach]:
    """The weight has one scale, or one per output channel where the target has such kernels."""
    weight = op.weight
    if weight is None or len(weight.scale) < 2:
        return
    outputs = weight.shape[0] if weight.shape else 0
    if op_type not in profile.weights.per_channel_ops:
        got = f"{len(weight.scale)} scales"
        yield Breach(where=weight.name, got=got, allowed=f"one for {op_type}", fact="weights.per_channel_ops")
    elif weight.axis != 0 or len(weight.scale) != outputs:
        got = f"{len(weight.scale)} scales along another axis"
        allowed = f"one, or one for each of {outputs} output channels"
        yield Breach(where=weight.name, got=got, allowed=allowed, fact="weights.per_channel_ops")


def weight_sum(op: LintedOp, op_type: str, profile: CapabilityProfile) -> Iterator[Breach]:
    """No output channel's absolute codes sum up to more than the accumulator holds."""
    del op_type
    weight, limit = op.weight, profile.accumulator.max_weight_sum
    if (
        weight is None
        or limit is None
        or weight.codes is None
        or not weight.codes.size
        or not weight.is_integer
    ):
        return
    codes = weight.codes.reshape(weight.codes.shape[0] if weight.codes.ndim else 1, -1).astype(np.int64)
    zeros = np.asarray(weight.zero_point or (0,), np.int64)
    centred = codes - (zeros.reshape(-1, 1) if zeros.size == codes.shape[0] else zeros[0])
    largest = int(np.abs(centred).sum(axis=1).max())
    if largest > limit:
        yield Breach(
            where=weight.name,
            got=f"a sum of absolute codes of {largest}",
            allowed=f"at most {limit}",
            fact="accumulator.max_weight_sum",
        )


def bias_type(op: LintedOp, op_type: str, profile: CapabilityProfile) -> Iterator[Breach]:
    """The bias is an integer where the target has integer biases, in the stored type of that width."""
    del op_type
    bias, rules = op.bias, profile.bias
    if bias is None or (bias.is_float and _takes_float_bias(profile)):
        return
    allowed = ("int32" if rules.bits <= 32 else "int64") if rules.quantized else "float32"
    if bias.dtype != allowed:
        fact = "bias.bits" if rules.quantized and not bias.is_float else "bias.quantized"
        yield Breach(where=bias.name, got=bias.dtype, allowed=allowed, fact=fact)


def bias_width(op: LintedOp, op_type: str, profile: CapabilityProfile) -> Iterator[Breach]:
    """No bias needs more bits than the target has."""
    del op_type
    bias = op.bias
    if bias is None or bias.codes is None or bias.dtype not in ("int32", "int64") or not bias.codes.size:
        return
    most = 1 << (profile.bias.bits - 1)
    low, high = int(bias.codes.min()), int(bias.codes.max())
    if low < -most or high >= most:
        got = f"codes {low} to {high}"
        yield Breach(where=bias.name, got=got, allowed=f"{profile.bias.bits} bits", fact="bias.bits")


def bias_scale(op: LintedOp, op_type: str, profile: CapabilityProfile) -> Iterator[Breach]:
    """The scale of a bias is input scale times weight scale, its zero point 0."""
    del op_type, profile
    bias, weight = op.bias, op.weight
    if bias is None or weight is None or bias.dtype not in ("int32", "int64"):
        return
    if not op.data or len(op.data[0].scale) != 1 or not weight.scale:
        return  # said by the rule "parameters"
    expected = np.asarray(weight.scale) * op.data[0].scale[0]
    got = np.asarray(bias.scale)
    if got.size == 0:
        yield Breach(where=bias.name, got="no scale", allowed="input scale * weight scale", fact="bias.scale")
        return
    if got.size not in (1, expected.size) and expected.size != 1:
        said = f"{got.size} scales for a weight with {expected.size}"
        yield Breach(
            where=bias.name, got=said, allowed="one scale per scale of the weight", fact="bias.scale"
        )
        return
    with np.errstate(all="ignore"):
        apart = np.abs(got / expected - 1.0)
    if not (apart <= FLOAT32_NOISE).all():
        at = int(np.argmax(np.nan_to_num(apart, nan=np.inf)))
        said = f"{np.broadcast_to(got, apart.shape)[at]:.7g}"
        product = f"{np.broadcast_to(expected, apart.shape)[at]:.7g} (input * weight)"
        yield Breach(where=bias.name, got=said, allowed=product, fact="bias.scale")
    if any(bias.zero_point):
        yield Breach(where=bias.name, got="a zero point", allowed="zero point 0", fact="bias.scale")


def _takes_float_bias(profile: CapabilityProfile) -> bool:
    """OpenVINO keeps biases in float, and an ONNX dialect without Q/DQ on biases leaves them to the target."""
    artifact = profile.artifact
    return (
        not profile.bias.quantized
        or artifact.format == "openvino_ir"
        or (artifact.format == "onnx_qdq" and not artifact.qdq_bias)
    )


def _weight_codes(profile: CapabilityProfile) -> CodeRange:
    rules = profile.weights
    return code_range(rules.bits, signed=rules.signed, narrow=rules.narrow_range)


def _lowest(codes: CodeRange, profile: CapabilityProfile) -> int:
    """Return the lowest code of the width, which a narrow range leaves out."""
    return codes.low - profile.weights.narrow_range


def _extremes(tensor: LintedTensor) -> tuple[int, int] | None:
    """Return the lowest and highest code in use; None where there is none to see."""
    if tensor.codes is None or not tensor.codes.size or not tensor.is_integer:
        return None
    return int(tensor.codes.min()), int(tensor.codes.max())


WEIGHT_RULES: Final[Mapping[str, Rule]] = {
    "constant-weight": constant_weight,
    "readable-constant": readable_constant,
    "weight-type": weight_type,
    "narrow-range": narrow_range,
    "weight-zero-point": weight_zero_point,
    "weight-granularity": weight_granularity,
    "weight-sum": weight_sum,
    "bias-type": bias_type,
    "bias-width": bias_width,
    "bias-scale": bias_scale,
}
