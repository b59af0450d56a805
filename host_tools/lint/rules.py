"""`check`: every rule that a profile makes, held against a file. Pure.

A rule is a function whose docstring says what must hold. It gets an operator and one ONNX type that the operator stands for; an operator
that stands for several is judged as the one that breaks least. Rules of integer kernels are asked of operators that run in integers only.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from host_tools.lint.arithmetic import ARITHMETIC_RULES
from host_tools.lint.finding import Breach, Finding, Severity, finding
from host_tools.lint.fusing import fused
from host_tools.lint.limits import LIMIT_RULES
from host_tools.lint.operators import INTEGER, OPERATOR_RULES, computed_in, obstacle
from host_tools.lint.weights import WEIGHT_RULES
from host_tools.lint.whole import FILE_RULES, without_calibration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from host_tools.lint.facts import LintedFile, LintedOp
    from host_tools.lint.weights import Rule
    from targets.profile import CapabilityProfile, Format


def check(file: LintedFile, profile: CapabilityProfile) -> tuple[Finding, ...]:
    """Return every broken rule, the whole file's first, then operator by operator.

    Args:
        file: What the file says.
        profile: The target.
    """
    ops = fused(file, profile)
    if file.precision != "int8":
        profile = without_calibration(profile)
    found = [(rule, breach) for rule, judge in FILE_RULES.items() for breach in judge(file, ops, profile)]
    for op in ops if file.precision == "int8" else ():
        found += _least(op, file.format, profile)
    unique = dict.fromkeys(found)  # a tensor is read by several operators
    return tuple(finding(rule, SEVERITIES[rule], breach, profile) for rule, breach in unique)


def precisions(file: LintedFile, profile: CapabilityProfile) -> Mapping[str, int]:
    """Return how many operators the target runs in which precision: chains that it fuses as one, what falls back as what it falls back to.

    Args:
        file: What the file says.
        profile: The target.
    """
    counts: Counter[str] = Counter()
    for op in fused(file, profile):
        found: str = computed_in(op, profile)
        kinds = op.stands_for or (op.kind,)
        if _is_free(op, file.format, profile) and all(obstacle(op, kind, profile) for kind in kinds):
            found = profile.fallback.to
        counts[found] += 1
    return dict(sorted(counts.items()))


def _is_free(op: LintedOp, format_: Format, profile: CapabilityProfile) -> bool:
    """Tell whether the engine may run an operator on codes in float: it stands between Q and DQ, and float is allowed."""
    is_integer = computed_in(op, profile) in INTEGER
    return is_integer and format_ != "tflite" and not op.works_on_codes and profile.fallback.to != "refuse"


def _least(op: LintedOp, format_: Format, profile: CapabilityProfile) -> list[tuple[str, Breach]]:
    """Return the breaches of an operator as that of its types which breaks least."""
    judged = [list(_breaches(op, op_type, format_, profile)) for op_type in op.stands_for or (op.kind,)]
    return min(judged, key=lambda found: (sum(SEVERITIES[rule] == "error" for rule, _ in found), len(found)))


def _breaches(
    op: LintedOp, op_type: str, format_: Format, profile: CapabilityProfile
) -> Iterator[tuple[str, Breach]]:
    """Judge an operator as one of its types, in the width of its codes; what changes the width is judged in both."""
    for part, rules in _by_width(op, profile):
        for rule, breach in _narrow_breaches(part, op_type, format_, rules):
            yield rule, breach if rules is profile else replace(breach, fact=_wide_fact(breach.fact))


def _by_width(op: LintedOp, profile: CapabilityProfile) -> list[tuple[LintedOp, CapabilityProfile]]:
    """Return the operator, or what it reads and what it writes apart, each with the target as codes of that width see it."""
    if profile.wide is None or not op.is_conversion:
        return [(op, profile.wide if op.computed_in == "int16" and profile.wide is not None else profile)]
    read, written = (any(tensor.dtype == "int16" for tensor in tensors) for tensors in (op.data, op.outputs))
    if read == written:
        return [(op, profile.wide if read else profile)]
    halves = ((replace(op, outputs=()), read), (replace(op, data=()), written))
    return [(half, profile.wide if is_wide else profile) for half, is_wide in halves]


def _wide_fact(fact: str) -> str:
    """Return the key under which a profile has a fact for 16-bit activations."""
    if fact.startswith("fixed_outputs."):
        return fact.replace("fixed_outputs", "wide_outputs")
    return "wide.ops" if fact.endswith(".precisions") else _WIDE_FACTS.get(fact, fact)


_WIDE_FACTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "activations.bits": "wide.ops",
        "activations.signed": "wide.signed",
        "activations.zero_point": "wide.zero_point",
        "bias.bits": "wide.bias_bits",
        "ops": "wide.ops",
    }
)


def _narrow_breaches(
    op: LintedOp, op_type: str, format_: Format, profile: CapabilityProfile
) -> Iterator[tuple[str, Breach]]:
    """Judge an operator as one of its types, all in one width.

    Between Q and DQ the target's engine chooses: what it has no integer kernel for runs in float, so that rules of integers do not bind.
    """
    rules: dict[str, Rule] = dict(OPERATOR_RULES)
    if computed_in(op, profile) in INTEGER:
        found = obstacle(op, op_type, profile) if _is_free(op, format_, profile) else None
        if found is not None:
            yield "falls-back", found
            return
        rules |= {**LIMIT_RULES, **ARITHMETIC_RULES, **WEIGHT_RULES}
    elif op.is_conversion and op.stands_for and all(tensor.is_integer for tensor in (*op.data, *op.outputs)):
        rules = dict(ARITHMETIC_RULES)
    if op_type not in profile.ops:
        rules = dict(OPERATOR_RULES)  # of what the profile has no word for, nothing more can be said
    for rule, judge in rules.items():
        for breach in judge(op, op_type, profile):
            yield rule, breach


_WARNINGS: Final = frozenset(
    {
        "artifact-target",
        "codebook-weights",
        "could-be-integer",
        "falls-back",
        "float16-weights",
        "form",
        "known-shape",
    }
    | {"readable-constant"}
)

SEVERITIES: Final[Mapping[str, Severity]] = MappingProxyType(
    {
        rule: "warning" if rule in _WARNINGS else "error"
        for rule in (*FILE_RULES, *OPERATOR_RULES, *LIMIT_RULES, *ARITHMETIC_RULES, *WEIGHT_RULES)
    }
)
"""Every rule's id and severity."""
