"""Rules of which operators a target has, in which version, precision and form: `OPERATOR_RULES`."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from host_tools.lint.finding import Breach
from host_tools.lint.limits import LIMIT_RULES
from host_tools.plan.support import integer_precision

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from host_tools.lint.facts import ComputedIn, LintedOp
    from host_tools.lint.weights import Rule
    from targets.profile import CapabilityProfile

INTEGER: Final = ("int8", "int16")
FLOAT: Final = ("float16", "float32")


def computed_in(op: LintedOp, profile: CapabilityProfile) -> ComputedIn:
    """Return the precision that an operator runs in on the target.

    That is what its tensors say, but for targets that want no quantization behind operators: there codes at the inputs are enough.
    """
    if profile.artifact.quantize_outputs or op.is_conversion or not op.data:
        return op.computed_in
    read = [*op.data, *([] if op.weight is None else [op.weight])]
    return replace(op, outputs=()).computed_in if all(one.is_integer for one in read) else op.computed_in


def obstacle(op: LintedOp, op_type: str, profile: CapabilityProfile) -> Breach | None:
    """Return the first reason why the target has no integer kernel for an operator; None when it has one."""
    wanted, support = integer_precision(profile), profile.ops.get(op_type)
    if support is None:
        return Breach(where=label(op), got=op.kind, allowed="operators that the profile lists", fact="ops")
    if wanted not in support.precisions:
        allowed = f"{op_type} in {', '.join(support.precisions) or 'no precision'}"
        return Breach(where=label(op), got=wanted, allowed=allowed, fact=f"ops.{op_type}.precisions")
    return next((breach for judge in LIMIT_RULES.values() for breach in judge(op, op_type, profile)), None)


def operator(op: LintedOp, op_type: str, profile: CapabilityProfile) -> Iterator[Breach]:
    """The target has the operator; one that it does not list can run in float only, where that is allowed."""
    support = profile.ops.get(op_type)
    if computed_in(op, profile) not in (*INTEGER, *FLOAT):
        return
    if support is None and computed_in(op, profile) in INTEGER:
        got = f"{op.kind} in {computed_in(op, profile)}"
        yield Breach(where=label(op), got=got, allowed="operators that the profile lists", fact="ops")
    elif support is not None and not support.precisions:
        fact = f"ops.{op_type}.precisions"
        yield Breach(where=label(op), got=op.kind, allowed=f"no {op_type}", fact=fact)


def operator_version(op: LintedOp, op_type: str, profile: CapabilityProfile) -> Iterator[Breach]:
    """The target reads the operator's version."""
    del op_type
    limit = profile.artifact.max_op_versions.get(op.kind)
    if op.version is not None and limit is not None and op.version > limit:
        got, allowed = f"version {op.version}", f"at most version {limit}"
        yield Breach(where=label(op), got=got, allowed=allowed, fact="artifact.max_op_versions")


def precision(op: LintedOp, op_type: str, profile: CapabilityProfile) -> Iterator[Breach]:
    """The target has a kernel for the operator in that precision."""
    support = profile.ops.get(op_type)
    if support is None or not support.precisions or computed_in(op, profile) not in (*INTEGER, *FLOAT):
        return
    is_refused = (
        computed_in(op, profile) in FLOAT and profile.fallback.to == "refuse"
    )  # said by the rule "float-operator"
    if not is_refused and computed_in(op, profile) not in support.precisions:
        allowed = f"{op_type} in {', '.join(support.precisions)}"
        yield Breach(
            where=label(op), got=computed_in(op, profile), allowed=allowed, fact=f"ops.{op_type}.precisions"
        )


def float_operator(op: LintedOp, op_type: str, profile: CapabilityProfile) -> Iterator[Breach]:
    """No operator runs in float on a target that refuses to."""
    del op_type
    if computed_in(op, profile) in FLOAT and profile.fallback.to == "refuse":
        allowed = f"{integer_precision(profile)} only"
        yield Breach(where=label(op), got=computed_in(op, profile), allowed=allowed, fact="fallback.to")


def falls_back(op: LintedOp, op_type: str, profile: CapabilityProfile) -> Iterator[Breach]:
    """The target has an integer kernel for every operator."""
    found = obstacle(op, op_type, profile)
    if found is not None and computed_in(op, profile) in FLOAT and profile.fallback.to != "refuse":
        yield found


def could_be_integer(op: LintedOp, op_type: str, profile: CapabilityProfile) -> Iterator[Breach]:
    """What the target has an integer kernel for runs in integers."""
    if computed_in(op, profile) not in FLOAT or profile.fallback.to == "refuse":
        return
    if obstacle(op, op_type, profile) is None:
        allowed = f"{op_type} in {integer_precision(profile)}"
        yield Breach(
            where=label(op), got=computed_in(op, profile), allowed=allowed, fact=f"ops.{op_type}.precisions"
        )


def fused_activation(op: LintedOp, op_type: str, profile: CapabilityProfile) -> Iterator[Breach]:
    """An activation fused into an integer operator is one that the target's kernel does."""
    pairs = [chain[:2] for chain in profile.fusions]
    if op.activation and computed_in(op, profile) in INTEGER and (op_type, op.activation) not in pairs:
        got = f"{op.activation} fused into {op_type}"
        allowed = " or ".join(sorted({pair[1] for pair in pairs if pair[0] == op_type})) or "none"
        yield Breach(where=label(op), got=got, allowed=allowed, fact="fusions")


def form(op: LintedOp, op_type: str, profile: CapabilityProfile) -> Iterator[Breach]:
    """What runs in integers only on the codes themselves is written so: between Q and DQ it stays float."""
    if (
        computed_in(op, profile) in INTEGER
        and not op.works_on_codes
        and op_type in profile.artifact.integer_ops
    ):
        got, allowed = "real numbers between Q and DQ", "integer inputs and outputs"
        yield Breach(where=label(op), got=got, allowed=allowed, fact="artifact.integer_ops")


def label(op: LintedOp) -> str:
    """Name an operator for people."""
    return f"{op.kind} {op.name!r}"


OPERATOR_RULES: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "operator": operator,
        "operator-version": operator_version,
        "precision": precision,
        "float-operator": float_operator,
        "falls-back": falls_back,
        "could-be-integer": could_be_integer,
        "fused-activation": fused_activation,
        "form": form,
    }
)
"""Each rule by its id. Its docstring says what must hold."""
