"""Constants and scales of two files, tensor by tensor. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from host_tools.difference.differences import ConstantChange, ScaleChange
from host_tools.plan.codes import rebased

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from host_tools.lint.facts import LintedFile, LintedTensor
    from host_tools.plan.quantization_plan import QuantizationPlan, TensorPlan

Role = Literal["weight", "bias", "constant"]


def constant_changes(a: LintedFile, b: LintedFile) -> tuple[ConstantChange, ...]:
    """Return the constants that both have, but not with the same values; those of one alone are told with their operators."""
    ours, theirs = _constants(a), _constants(b)
    found = []
    for name, (operator, role, tensor) in ours.items():
        if name in theirs:
            change = _constant_change(operator, role, tensor, theirs[name][2])
            if change is not None:
                found.append(change)
    return tuple(found)


def _constants(file: LintedFile) -> dict[str, tuple[str, Role, LintedTensor]]:
    found: dict[str, tuple[str, Role, LintedTensor]] = {}
    for op in file.ops:
        parts: list[tuple[Role, LintedTensor | None]] = [("weight", op.weight), ("bias", op.bias)]
        parts += [("constant", one) for one in op.data]
        for role, tensor in parts:
            if tensor is not None and tensor.is_constant and tensor.codes is not None:
                found.setdefault(tensor.name, (op.name, role, tensor))
    return found


def _constant_change(operator: str, role: Role, a: LintedTensor, b: LintedTensor) -> ConstantChange | None:
    if a.codes is None or b.codes is None:
        return None
    elements = int(a.codes.size)
    if a.codes.shape != b.codes.shape or bool(a.scale) != bool(b.scale):
        return ConstantChange(
            name=a.name,
            operator=operator,
            role=role,
            changed=None,
            elements=elements,
            largest=None,
            largest_steps=None,
        )
    is_one_grid = a.dtype == b.dtype and a.parameters == b.parameters and a.axis == b.axis
    if is_one_grid and np.array_equal(a.codes, b.codes, equal_nan=a.codes.dtype.kind == "f"):
        return None
    real_a, real_b = _real(a), _real(b)
    with np.errstate(
        all="ignore"
    ):  # scales of a file that is not trusted may be 0 or not finite: so are the figures, then
        difference = np.abs(real_a - real_b)
        steps = difference / _along(a, a.scale) if a.scale else None
    unequal = (a.codes != b.codes) if is_one_grid else (real_a != real_b)
    changed = int(np.count_nonzero(unequal))
    if not changed:
        return None  # the same numbers in another type: told with the scales
    return ConstantChange(
        name=a.name,
        operator=operator,
        role=role,
        changed=changed,
        elements=elements,
        largest=float(difference.max(initial=0.0)),
        largest_steps=None if steps is None else float(steps.max(initial=0.0)),
    )


def _real(tensor: LintedTensor) -> NDArray[np.float64]:
    """Return the real numbers that a constant stands for."""
    codes = np.asarray(tensor.codes).astype(np.float64)
    if not tensor.scale:
        return codes
    with np.errstate(all="ignore"):
        return (codes - _along(tensor, tensor.zero_point)) * _along(tensor, tensor.scale)


def _along(tensor: LintedTensor, numbers: tuple[float, ...]) -> NDArray[np.float64]:
    """Return one number, or one per channel, so that it spreads over the tensor."""
    array = np.asarray(numbers, np.float64)
    rank = np.asarray(tensor.codes).ndim
    if array.size <= 1 or tensor.axis is None or not 0 <= tensor.axis < rank:
        return array.reshape(-1)[:1]
    shape = [1] * rank
    shape[tensor.axis] = array.size
    return array.reshape(shape)


def scale_changes(a: LintedFile, b: LintedFile) -> tuple[ScaleChange, ...]:
    """Return the tensors that both have, but not with the same type, scales and zero points."""
    ours, theirs = dict(_tensors(a)), dict(_tensors(b))
    found = []
    for name, one in ours.items():
        other = theirs.get(name)
        if other is not None and (one.dtype, *one.parameters) != (other.dtype, *other.parameters):
            found.append(
                _scale_change(
                    name, (one.dtype, one.scale, one.zero_point), (other.dtype, other.scale, other.zero_point)
                )
            )
    return tuple(found)


def _tensors(file: LintedFile) -> Iterator[tuple[str, LintedTensor]]:
    """Yield every tensor by name; codes before the real numbers that carry the same name."""
    found = [*file.inputs, *file.outputs]
    for op in file.ops:
        found += [one for one in (*op.data, op.weight, op.bias, *op.outputs) if one is not None]
    for one in sorted(found, key=lambda tensor: bool(tensor.scale)):
        yield one.name, one


def plan_scale_changes(a: QuantizationPlan, b: QuantizationPlan) -> tuple[ScaleChange, ...]:
    """Return the values of the canonical graph that two plans give other parameters, or another codebook.

    Signed and unsigned codes are the same, moved by 128.
    """
    found = []
    for name, planned in a.tensors.items():
        other = b.tensors.get(name)
        if other is not None and (_parameters(planned), planned.codebook) != (
            _parameters(other),
            other.codebook,
        ):
            found.append(_scale_change(name, _parameters(planned), _parameters(other)))
    return tuple(found)


def _parameters(planned: TensorPlan) -> tuple[str, tuple[float, ...], tuple[int, ...]]:
    qparams = planned.qparams
    if qparams is None:
        numbers = planned.codebook
        return planned.float_type if numbers is None else f"codebook of {len(numbers)}", (), ()
    signed = rebased(qparams, signed=True) if qparams.dtype == "uint8" else qparams
    return signed.dtype, signed.scale, signed.zero_point


def _scale_change(
    name: str,
    a: tuple[str, tuple[float, ...], tuple[int, ...]],
    b: tuple[str, tuple[float, ...], tuple[int, ...]],
) -> ScaleChange:
    ratios = _ratios(a[1], b[1])
    return ScaleChange(
        name=name,
        a_type=a[0],
        b_type=b[0],
        lowest_ratio=min(ratios, default=None),
        highest_ratio=max(ratios, default=None),
        a_zero_point=_short(a[2]),
        b_zero_point=_short(b[2]),
    )


def _ratios(a: tuple[float, ...], b: tuple[float, ...]) -> list[float]:
    """Return B's scales over A's, one scale against all channels of the other; none where they cannot be paired."""
    if not a or not b or not (len(a) == len(b) or 1 in (len(a), len(b))):
        return []
    wide = max(len(a), len(b))
    ours, theirs = (a * wide if len(a) == 1 else a), (b * wide if len(b) == 1 else b)
    return [high / low for low, high in zip(ours, theirs, strict=True) if low > 0.0]


def _short(zero_point: tuple[int, ...]) -> tuple[int, ...]:
    return zero_point[:1] if len(set(zero_point)) == 1 else zero_point
