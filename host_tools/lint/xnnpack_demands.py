"""What XNNPACK's rules ask of tensors: each function yields a reason for every demand that is not met.

Source: as in `host_tools.lint.xnnpack`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from host_tools.lint.facts import LintedOp, LintedTensor

FLOATS: Final = frozenset({"float32", "float16"})
CODES: Final = frozenset({"int8", "uint8"})
SMALLEST_NORMAL: Final = float(np.finfo(np.float32).tiny)

_MOST_AXES: Final = 6
_FUSIBLE: Final = frozenset({"", "Relu", "Clip"})


def typed(tensor: LintedTensor | None, *, codes: bool = True) -> Iterator[str]:
    """Ask for real numbers, or for 8-bit codes with one scale."""
    if tensor is None or tensor.dtype in FLOATS:
        return
    if not codes or tensor.dtype not in CODES:
        yield (
            f"{tensor.name!r} is {tensor.dtype}; XNNPACK has it in float only"
            if not codes
            else f"{tensor.name!r} is {tensor.dtype}"
        )
    elif len(tensor.scale) != 1:
        yield f"{tensor.name!r} has {len(tensor.scale)} scales, not one"


def ranked(tensor: LintedTensor | None, lowest: int, highest: int = _MOST_AXES) -> Iterator[str]:
    """Ask for so many axes, none of them empty."""
    shape = () if tensor is None else tensor.shape or ()
    if tensor is None or not lowest <= len(shape) <= highest or min(shape, default=1) < 1:
        name = "" if tensor is None else tensor.name
        yield f"{name!r} has shape {list(shape)}; expected {lowest} to {highest} axes, none empty"


def static(tensor: LintedTensor | None, *types: str) -> Iterator[str]:
    """Ask for a constant of one of the types."""
    if tensor is None or not tensor.is_constant or (types and tensor.dtype not in types):
        yield f"{'an input' if tensor is None else repr(tensor.name)} is no constant{f' of {types[0]}' if types else ''}"


def equal_types(op: LintedOp, *tensors: LintedTensor | None) -> Iterator[str]:
    """Ask for tensors of one type; constants in float16 are made float32 before."""
    types = {
        "float32" if tensor.is_constant and tensor.dtype == "float16" else tensor.dtype
        for tensor in tensors
        if tensor is not None
    }
    if len(types) > 1:
        yield f"{op.kind} of mixed types: {', '.join(sorted(types))}"


def counted(op: LintedOp, lowest: int, highest: int | None = None) -> Iterator[str]:
    """Ask for so many inputs, none of the first ``lowest`` absent."""
    given = len(op.inputs)
    if not lowest <= given <= (highest or lowest) or any(one is None for one in op.inputs[:lowest]):
        yield f"it has {given} inputs; expected {lowest} to {highest or lowest}"


def fusible(op: LintedOp) -> Iterator[str]:
    """Ask for a fused activation that XNNPACK does by bounds."""
    if op.activation not in _FUSIBLE:
        yield f"{op.activation} is fused into it"


def ratio(
    one: LintedTensor, out: LintedTensor, low: float, high: float, *, closed: bool = False
) -> Iterator[str]:
    """Ask for a quotient of scales within [low, high), or up to high; in float32, as the delegate computes it."""
    if one.dtype != out.dtype or one.dtype not in CODES:
        return
    yield from within(quotient(one.scale[0], out.scale[0]), low, high, closed=closed)


def quotient(one: float, other: float) -> np.float32:
    """Return a quotient of scales as the delegate computes it; not a number, or infinite, where they are odd."""
    with np.errstate(all="ignore"):
        found: np.float32 = np.float32(one) / np.float32(other)
    return found


def within(factor: np.float32, low: float, high: float, *, closed: bool = False) -> Iterator[str]:
    """Ask for a rescale factor within [low, high), or up to high."""
    if not (low <= factor < high or (closed and factor == high)):
        yield f"the rescale factor is {factor:.6g}; expected {low:g} to {high:g}"


def weight(tensor: LintedTensor | None) -> Iterator[str]:
    """Ask for a constant weight in float, or in codes that XNNPACK can pack."""
    yield from static(tensor, "float32", "float16", "int8", "uint8")
    if tensor is None or tensor.dtype in FLOATS:
        return
    if len(tensor.scale) > 1 and (tensor.axis != 0 or any(tensor.zero_point) or tensor.dtype != "int8"):
        yield f"{tensor.name!r} has scales per channel that are not along the outputs, or zero points"
    if not tensor.scale or not all(math.isfinite(one) and one >= SMALLEST_NORMAL for one in tensor.scale):
        yield f"{tensor.name!r} has a scale that is no normal float32"


def bias(tensor: LintedTensor | None) -> Iterator[str]:
    """Ask for a constant bias in float, or in codes with scales."""
    yield from static(tensor, "float32", "float16", "int32")
    if tensor is not None and tensor.dtype == "int32":
        if any(tensor.zero_point) or not tensor.scale:
            yield f"{tensor.name!r} has a zero point, or no scale"
        elif not all(math.isfinite(one) and one >= SMALLEST_NORMAL for one in tensor.scale):
            yield f"{tensor.name!r} has a scale that is no normal float32"
