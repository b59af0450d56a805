"""Rules of scales, zero points and types of what flows between operators: `ARITHMETIC_RULES`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from host_tools.lint.finding import Breach, listed_fact
from host_tools.lint.weights import FLOAT32_NOISE
from host_tools.plan.qparams import SMALLEST_SCALE, code_range

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from host_tools.lint.facts import LintedOp, LintedTensor
    from host_tools.lint.weights import Rule
    from targets.profile import CapabilityProfile, FixedOutput

_WEIGHTED: Final = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_PRODUCTS: Final = frozenset({"Mul", "MatMul"})


def parameters(op: LintedOp, op_type: str, profile: CapabilityProfile) -> Iterator[Breach]:
    """Integers that mean real numbers have a scale."""
    del op_type, profile
    for tensor in (*_activations(op), *_weights(op)):
        if not tensor.scale:
            yield Breach(
                where=tensor.name, got=f"{tensor.dtype} without a scale", allowed="a scale", fact="scale.kind"
            )


def activation_type(op: LintedOp, op_type: str, profile: CapabilityProfile) -> Iterator[Breach]:
    """Activations are stored in the type that the target's kernels take."""
    del op_type
    rules = profile.activations
    wanted = code_range(rules.bits, signed=rules.signed).dtype
    for tensor in _activations(op):
        if tensor.dtype != wanted:
            is_width = tensor.dtype.strip("uint") != wanted.strip("uint")
            fact = "activations.bits" if is_width else "activations.signed"
            yield Breach(where=tensor.name, got=tensor.dtype, allowed=wanted, fact=fact)


def activation_granularity(op: LintedOp, op_type: str, profile: CapabilityProfile) -> Iterator[Breach]:
    """An activation has one scale."""
    del op_type, profile
    for tensor in _activations(op):
        if len(tensor.scale) > 1:
            got = f"{len(tensor.scale)} scales"
            yield Breach(where=tensor.name, got=got, allowed="one", fact="activations.bits")


def zero_point(op: LintedOp, op_type: str, profile: CapabilityProfile) -> Iterator[Breach]:
    """The zero point of an activation is one that the target has."""
    del op_type
    rules = profile.activations
    for tensor in _activations(op):
        if _is_fixed(tensor, profile) or tensor.dtype not in _HALVES:
            continue
        half = _HALVES[tensor.dtype]
        lowest, middle = (0, half) if tensor.dtype.startswith("u") else (-half, 0)
        legal = {"symmetric": {middle}, "midpoint": {lowest, middle}}.get(rules.zero_point)
        odd = [
            one
            for one in tensor.zero_point
            if not lowest <= one < lowest + 2 * half or (legal and one not in legal)
        ]
        if odd:
            allowed = (
                " or ".join(map(str, sorted(legal))) if legal else f"{lowest} to {lowest + 2 * half - 1}"
            )
            yield Breach(where=tensor.name, got=str(odd[0]), allowed=allowed, fact="activations.zero_point")


def scale(op: LintedOp, op_type: str, profile: CapabilityProfile) -> Iterator[Breach]:
    """Every scale is a normal, positive float32 and not below the target's smallest."""
    del op_type
    floor = max(profile.scale.minimum, SMALLEST_SCALE)
    for tensor in (*_activations(op), *_weights(op)):
        odd = [one for one in tensor.scale if not (math.isfinite(one) and one >= floor)]
        if odd and not _is_fixed(tensor, profile):
            yield Breach(
                where=tensor.name, got=f"{odd[0]:g}", allowed=f"at least {floor:g}", fact="scale.minimum"
            )


def power_of_two(op: LintedOp, op_type: str, profile: CapabilityProfile) -> Iterator[Breach]:
    """Every scale is a power of two where the target only shifts."""
    del op_type
    if profile.scale.kind != "power_of_two":
        return
    for tensor in (*_activations(op), *_weights(op)):
        odd = [one for one in tensor.scale if math.isfinite(one) and one > 0 and math.frexp(one)[0] != 0.5]
        if odd and not _is_fixed(tensor, profile):
            above = math.ldexp(1.0, math.frexp(odd[0])[1])
            got, allowed = f"{odd[0]:.9g}", f"a power of two, e.g. {above:.9g}"
            yield Breach(where=tensor.name, got=got, allowed=allowed, fact="scale.kind")


def range_width(op: LintedOp, op_type: str, profile: CapabilityProfile) -> Iterator[Breach]:
    """No activation's range is narrower than the target's narrowest."""
    del op_type
    for tensor in _activations(op):
        if not tensor.scale or tensor.dtype not in _HALVES or _is_fixed(tensor, profile):
            continue
        width = min(tensor.scale) * (2 * _HALVES[tensor.dtype] - 1)
        if width < profile.scale.minimum_range * (1 - FLOAT32_NOISE):
            allowed = f"at least {profile.scale.minimum_range:g}"
            yield Breach(where=tensor.name, got=f"{width:g}", allowed=allowed, fact="scale.minimum_range")


def fixed_output(op: LintedOp, op_type: str, profile: CapabilityProfile) -> Iterator[Breach]:
    """An output whose parameters the kernel hard-codes has these."""
    fixed = profile.fixed_outputs.get(op_type)
    if fixed is None:
        return
    for tensor in op.outputs:
        if tensor.scale and not _equals(tensor, fixed):
            got = f"scale {tensor.scale[0]:.9g}, zero point {tensor.zero_point[0]}"
            allowed = f"scale {fixed.scale:.9g}, zero point {fixed.zero_point + _shift(tensor)}"
            yield Breach(where=tensor.name, got=got, allowed=allowed, fact=f"fixed_outputs.{op_type}")


def same_scale(op: LintedOp, op_type: str, profile: CapabilityProfile) -> Iterator[Breach]:
    """Inputs and outputs share one scale and zero point where the kernel copies codes."""
    if (
        op_type not in profile.same_scale
        or op_type in profile.fixed_outputs
        or not op.data
        or not op.data[0].scale
    ):
        return
    first = op.data[0]
    for tensor in (*op.data[1:], *op.outputs):
        if tensor.scale and not _same(first, tensor):
            got = f"scale {tensor.scale[0]:.9g}, zero point {tensor.zero_point[0]}"
            allowed = f"scale {first.scale[0]:.9g}, zero point {first.zero_point[0]}, as {first.name!r}"
            fact = listed_fact(profile, "same_scale", op_type)
            yield Breach(where=tensor.name, got=got, allowed=allowed, fact=fact)


def requantization_ratio(op: LintedOp, op_type: str, profile: CapabilityProfile) -> Iterator[Breach]:
    """The factor from accumulator to output is one that the kernel can do."""
    support = profile.ops.get(op_type)
    if support is None or support.requantization_ratio is None:
        return
    low, high = support.requantization_ratio
    factors = _factors(op, op_type)
    outside = [
        factor / tensor.scale[0]
        for tensor in op.outputs
        for factor in factors
        if tensor.scale and tensor.scale[0] > 0 and not low <= factor / tensor.scale[0] < high
    ]
    if outside:
        yield Breach(
            where=f"{op.kind} {op.name!r}",
            got=f"{outside[0]:.6g}",
            allowed=f"[{low:g}, {high:g})",
            fact=f"ops.{op_type}.requantization_ratio",
        )


def _factors(op: LintedOp, op_type: str) -> Sequence[float]:
    """Return what one step of the accumulator is worth, one number per channel or input; see `OpSupport.requantization_ratio`."""
    scales = [tensor.scale[0] for tensor in op.data if tensor.scale]
    if op.weight is not None and op_type in _WEIGHTED:
        return [scales[0] * one for one in op.weight.scale] if scales else []
    return [math.prod(scales)] if op_type in _PRODUCTS else scales


def _activations(op: LintedOp) -> list[LintedTensor]:
    return [tensor for tensor in (*op.data, *op.outputs) if tensor.is_integer]


def _weights(op: LintedOp) -> list[LintedTensor]:
    return [op.weight] if op.weight is not None and op.weight.is_integer else []


def _is_fixed(tensor: LintedTensor, profile: CapabilityProfile) -> bool:
    return any(_equals(tensor, fixed) for fixed in profile.fixed_outputs.values())


def _equals(tensor: LintedTensor, fixed: FixedOutput) -> bool:
    is_scale = len(tensor.scale) == 1 and math.isclose(tensor.scale[0], fixed.scale, rel_tol=FLOAT32_NOISE)
    return is_scale and tensor.zero_point[0] == fixed.zero_point + _shift(tensor)


def _shift(tensor: LintedTensor) -> int:
    """Return how far the codes of a fixed output lie above the signed ones that profiles speak of."""
    return 128 if tensor.dtype == "uint8" else 0


def _same(one: LintedTensor, other: LintedTensor) -> bool:
    close = all(
        math.isclose(a, b, rel_tol=FLOAT32_NOISE) for a, b in zip(one.scale, other.scale, strict=False)
    )
    return close and len(one.scale) == len(other.scale) and one.zero_point == other.zero_point


_HALVES: Final[Mapping[str, int]] = {
    "int8": 128,
    "uint8": 128,
    "int16": 32768,
    "uint16": 32768,
    "int4": 8,
    "uint4": 8,
}

ARITHMETIC_RULES: Final[Mapping[str, Rule]] = {
    "parameters": parameters,
    "activation-type": activation_type,
    "activation-granularity": activation_granularity,
    "zero-point": zero_point,
    "scale": scale,
    "power-of-two": power_of_two,
    "range-width": range_width,
    "fixed-output": fixed_output,
    "same-scale": same_scale,
    "requantization-ratio": requantization_ratio,
}
