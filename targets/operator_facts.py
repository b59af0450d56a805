"""Facts of operators: which there are, within which limits, and which belong together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from targets.document import shown
from targets.facts import Facts, finite_number, whole_number
from targets.profile import FixedOutput, OpConstraints, OpSupport, Precision

PRECISIONS: tuple[Precision, ...] = get_args(Precision)
MODES = ("nearest", "linear", "cubic", "constant", "reflect", "edge", "wrap")


def operators(facts: Facts) -> dict[str, OpSupport]:
    """Read what the target has of each operator."""
    names = dict.fromkeys(key.split(".")[1] for key in facts.under("ops"))
    return {name: _op(facts, f"ops.{name}") for name in names}


def _op(facts: Facts, key: str) -> OpSupport:
    def limit(name: str) -> int | None:
        return facts.stated(f"{key}.{name}", lambda at: facts.whole(at, 1))

    return OpSupport(
        precisions=facts.choices(f"{key}.precisions", PRECISIONS),
        constraints=OpConstraints(
            max_rank=limit("max_rank"),
            max_batch=limit("max_batch"),
            max_stride=limit("max_stride"),
            max_kernel=limit("max_kernel"),
            max_dilation=limit("max_dilation"),
            axes=facts.stated(f"{key}.axes", lambda at: _axes(facts, at)),
            modes=facts.stated(f"{key}.modes", lambda at: facts.choices(at, MODES)),
            constant_operand=facts.stated(f"{key}.constant_operand", facts.flag) or False,
        ),
        requantization_ratio=facts.stated(f"{key}.requantization_ratio", lambda at: _ratio(facts, at)),
    )


def _axes(facts: Facts, key: str) -> tuple[int, ...]:
    values = facts.items(key, "a list of axes")
    axes = tuple(axis for axis in map(whole_number, values) if axis is not None and axis >= 0)
    if len(axes) != len(values) or not axes:
        facts.refuse(key, f"expected a list of whole numbers >= 0, got {shown(values)}")
    return axes


def _ratio(facts: Facts, key: str) -> tuple[float, float]:
    values = facts.items(key, "[low, high]")
    bounds = [finite_number(value) for value in values]
    if len(bounds) != 2 or bounds[0] is None or bounds[1] is None or not 0.0 <= bounds[0] < bounds[1]:
        facts.refuse(key, f"expected [low, high] with 0 <= low < high, got {shown(values)}")
    return bounds[0], bounds[1]


def same_scale(facts: Facts, support: Mapping[str, OpSupport]) -> frozenset[str]:
    """Read the operators whose inputs and outputs share one scale."""
    names: set[str] = set()
    for key in facts.under("same_scale"):
        for name in facts.operators(key):
            if name not in support:
                facts.refuse(key, f"operator {name!r} has no support listed in ops or op_groups")
            names.add(name)
    return frozenset(names)


def fixed_outputs(
    facts: Facts, support: Mapping[str, object], section: str = "fixed_outputs"
) -> dict[str, FixedOutput]:
    """Read the operators whose kernels fix the parameters of their outputs."""
    outputs: dict[str, FixedOutput] = {}
    for key in facts.under(section):
        name = facts.operator(key, key.split(".", 1)[1])
        if name not in support:
            facts.refuse(key, f"operator {name!r} has no support listed in ops or op_groups")
        output = facts.optional(key, lambda at: _fixed_output(facts, at))
        if output is not None:
            outputs[name] = output
    return outputs


def _fixed_output(facts: Facts, key: str) -> FixedOutput:
    value = facts.value(key, "{ scale, zero_point }")
    scale = finite_number(value.get("scale")) if isinstance(value, Mapping) else None
    zero_point = whole_number(value.get("zero_point")) if isinstance(value, Mapping) else None
    named = isinstance(value, Mapping) and set(value) == {"scale", "zero_point"}
    if not named or scale is None or scale <= 0.0 or zero_point is None or not -128 <= zero_point <= 127:
        expected = "{ scale = a number > 0, zero_point = -128 to 127 }"
        facts.refuse(key, f"expected {expected}, got {shown(value)}")
    return FixedOutput(scale=scale, zero_point=zero_point)


def fusions(facts: Facts) -> tuple[tuple[str, ...], ...]:
    """Read the chains of operators that run as one."""
    chains: dict[tuple[str, ...], None] = {}
    for key in facts.under("fusions"):
        for chain in facts.items(key, "a list of operator chains"):
            if not isinstance(chain, tuple) or len(chain) < 2:
                expected = 'chains of two or more operators, e.g. ["Conv", "Relu"]'
                facts.refuse(key, f"expected {expected}, got {shown(chain)}")
            chains[tuple(facts.operator(key, name) for name in chain)] = None
    return tuple(chains)
