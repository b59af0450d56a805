"""Static limits of one operator, beyond which a target has no integer kernel: `LIMIT_RULES`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from host_tools.lint.finding import Breach
from targets.profile import OpConstraints

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from host_tools.lint.facts import LintedOp
    from host_tools.lint.weights import Rule
    from targets.profile import CapabilityProfile


def max_rank(op: LintedOp, op_type: str, profile: CapabilityProfile) -> Iterator[Breach]:
    """No tensor has more axes than the target takes."""
    limit = _limits(op_type, profile).max_rank
    rank = max((len(tensor.shape or ()) for tensor in (*op.data, *op.outputs)), default=0)
    if limit is not None and rank > limit:
        yield _breach(op, op_type, "max_rank", f"rank {rank}", f"at most {limit}")


def max_batch(op: LintedOp, op_type: str, profile: CapabilityProfile) -> Iterator[Breach]:
    """The batch is not larger than the target takes."""
    limit = _limits(op_type, profile).max_batch
    shape = (op.data[0].shape or ()) if op.data else ()
    if limit is not None and len(shape) > 1 and shape[0] > limit:
        yield _breach(op, op_type, "max_batch", f"batch {shape[0]}", f"at most {limit}")


def max_stride(op: LintedOp, op_type: str, profile: CapabilityProfile) -> Iterator[Breach]:
    """The stride is within the target's."""
    yield from _extent(op, op_type, "max_stride", op.strides, _limits(op_type, profile).max_stride)


def max_kernel(op: LintedOp, op_type: str, profile: CapabilityProfile) -> Iterator[Breach]:
    """The kernel is within the target's."""
    yield from _extent(op, op_type, "max_kernel", op.kernel, _limits(op_type, profile).max_kernel)


def max_dilation(op: LintedOp, op_type: str, profile: CapabilityProfile) -> Iterator[Breach]:
    """The dilation is within the target's."""
    yield from _extent(op, op_type, "max_dilation", op.dilations, _limits(op_type, profile).max_dilation)


def axes(op: LintedOp, op_type: str, profile: CapabilityProfile) -> Iterator[Breach]:
    """The operator works on axes that the target's kernel works on."""
    allowed = _limits(op_type, profile).axes
    if allowed is not None and not set(op.axes) <= set(allowed):
        got = f"channels-first axes {', '.join(map(str, op.axes))}"
        yield _breach(op, op_type, "axes", got, ", ".join(map(str, allowed)))


def mode(op: LintedOp, op_type: str, profile: CapabilityProfile) -> Iterator[Breach]:
    """The mode is one that the target's kernel has."""
    allowed = _limits(op_type, profile).modes
    if allowed is not None and op.mode and op.mode not in allowed:
        yield _breach(op, op_type, "modes", op.mode, " or ".join(allowed))


def constant_operand(op: LintedOp, op_type: str, profile: CapabilityProfile) -> Iterator[Breach]:
    """The second operand is a constant where the target's kernel wants one."""
    is_computed = op.weight is None and len(op.data) > 1 and not op.data[1].is_constant
    if _limits(op_type, profile).constant_operand and is_computed:
        yield _breach(op, op_type, "constant_operand", f"{op.data[1].name!r} is computed", "a constant")


def _limits(op_type: str, profile: CapabilityProfile) -> OpConstraints:
    return profile.ops[op_type].constraints if op_type in profile.ops else _NO_LIMITS


def _extent(
    op: LintedOp, op_type: str, key: str, extents: tuple[int, ...], limit: int | None
) -> Iterator[Breach]:
    if limit is not None and max(extents, default=0) > limit:
        yield _breach(op, op_type, key, "x".join(map(str, extents)), f"at most {limit} on every axis")


def _breach(op: LintedOp, op_type: str, key: str, got: str, allowed: str) -> Breach:
    return Breach(where=f"{op.kind} {op.name!r}", got=got, allowed=allowed, fact=f"ops.{op_type}.{key}")


_NO_LIMITS: Final = OpConstraints()

LIMIT_RULES: Final[Mapping[str, Rule]] = {
    "max-rank": max_rank,
    "max-batch": max_batch,
    "max-stride": max_stride,
    "max-kernel": max_kernel,
    "max-dilation": max_dilation,
    "axes": axes,
    "mode": mode,
    "constant-operand": constant_operand,
}
