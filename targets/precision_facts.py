"""Facts of what a target does besides int8: 16-bit activations, and precisions without calibration."""

from __future__ import annotations

import dataclasses

from targets.document import shown
from targets.facts import Facts, whole_number
from targets.operator_facts import fixed_outputs
from targets.operators import WITH_CONSTANTS
from targets.profile import (
    GROUPED,
    LARGEST_GROUP,
    ZERO_POINTS,
    ActivationRules,
    CapabilityProfile,
    OpSupport,
    PlanPrecision,
    UncalibratedRules,
)
from targets.software_facts import versions_by_library

_WIDE_FACTS = ("wide.signed", "wide.zero_point", "wide.bias_bits", "wide.accumulator_bits")


def wide(facts: Facts, narrow: CapabilityProfile) -> CapabilityProfile | None:
    """Read what the target does on 16-bit activations; None where it says nothing of them, or ``wide.ops = "none"``."""
    key = "wide.ops"
    names = facts.stated(key, facts.operators)
    if names is None:
        for inherited in (*_WIDE_FACTS, *facts.under("wide_outputs")):
            facts.stated(
                inherited, lambda at: facts.value(at, "a fact")
            )  # of the base, where this one has none
        return None
    if narrow.activations.bits != 8:
        facts.refuse(
            key, "activations.bits is 16 already: expected no operators here", hint="Leave [wide] out."
        )
    for name in names:
        if "int8" not in (narrow.ops[name].precisions if name in narrow.ops else ()):
            facts.refuse(
                key,
                f"{name} has no int8 kernel: expected operators whose ops.{name}.precisions hold int8",
                hint=f"Leave {name} out: 16 bits are for operators that cost too much in 8.",
            )
    bits = facts.whole("wide.bias_bits", 32, 64)
    if bits not in (32, 40, 64):
        facts.refuse("wide.bias_bits", f"expected 32, 40 or 64, got {bits}")
    return dataclasses.replace(
        narrow,
        activations=ActivationRules(
            bits=16, signed=facts.flag("wide.signed"), zero_point=facts.choice("wide.zero_point", ZERO_POINTS)
        ),
        bias=dataclasses.replace(narrow.bias, bits=bits),
        accumulator=dataclasses.replace(
            narrow.accumulator, bits=facts.whole("wide.accumulator_bits", 32, 64)
        ),
        ops={
            name: OpSupport(precisions=("int16",), constraints=narrow.ops[name].constraints) for name in names
        },
        fixed_outputs=fixed_outputs(facts, dict.fromkeys(names), section="wide_outputs"),
    )


def uncalibrated(facts: Facts, section: PlanPrecision) -> UncalibratedRules | None:
    """Read what the target does in a precision without calibration; None where it says nothing of it, or ``ops = "none"``."""
    names = facts.stated(f"{section}.ops", lambda at: facts.operators(at, WITH_CONSTANTS))
    if names is None:
        for inherited in facts.under(section):
            facts.stated(inherited, lambda at: facts.value(at, "a fact"))  # of the base
        return None
    min_versions = facts.stated(f"{section}.min_versions", lambda at: versions_by_library(facts, at)) or {}
    if section not in (*GROUPED, "int8-dynamic"):
        return UncalibratedRules(
            ops=frozenset(names), symmetric=True, groups=(), partial_group=True, min_versions=min_versions
        )
    key = f"{section}.groups"
    groups = tuple(whole_number(size) for size in facts.items(key, "a list of group sizes"))
    sizes = tuple(size for size in groups if size is not None and 0 <= size <= LARGEST_GROUP)
    if not sizes or len(sizes) != len(groups) or len(set(sizes)) != len(sizes):
        facts.refuse(key, f"expected whole numbers from 0 to {LARGEST_GROUP}, each once, got {shown(groups)}")
    return UncalibratedRules(
        ops=frozenset(names),
        symmetric=facts.flag(f"{section}.symmetric"),
        groups=sizes,
        partial_group=facts.stated(f"{section}.partial_group", facts.flag) is not False,
        min_versions=min_versions,
    )
