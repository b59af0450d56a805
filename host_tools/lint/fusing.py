"""Join the operators that a target runs as one: a file with Q and DQ keeps real numbers between Conv and Relu, and no kernel sees them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from host_tools.lint.facts import LintedFile, LintedOp
    from targets.profile import CapabilityProfile


def fused(file: LintedFile, profile: CapabilityProfile) -> tuple[LintedOp, ...]:
    """Return the operators with every chain of the profile's ``fusions`` as one, where it reads codes and real numbers lie between.

    Args:
        file: What the file says.
        profile: The target, for its fusions.
    """
    readers = Counter(tensor.name for op in file.ops for tensor in (*op.data, op.weight, op.bias) if tensor)
    readers.update(tensor.name for tensor in file.outputs)
    by_input = {op.data[0].name: op for op in file.ops if op.data}
    absorbed: set[int] = set()
    joined: list[LintedOp] = []
    for op in file.ops:
        if id(op) in absorbed:
            continue
        result = op
        chains: set[tuple[str, ...]] = {(kind,) for kind in op.stands_for}
        while op.data and all(tensor.is_integer for tensor in op.data):
            follower = _follower(result, readers, by_input)
            chains = set() if follower is None else _longer(chains, follower, profile)
            if follower is None or not chains:
                break
            absorbed.add(id(follower))
            result = replace(result, outputs=follower.outputs)
        joined.append(result)
    return tuple(joined)


def _longer(
    chains: set[tuple[str, ...]], follower: LintedOp, profile: CapabilityProfile
) -> set[tuple[str, ...]]:
    """Return the beginnings of the profile's fusions that ``chains`` are with the follower behind them."""
    return {
        (*chain, kind)
        for chain in chains
        for kind in follower.stands_for
        if any(one[: len(chain) + 1] == (*chain, kind) for one in profile.fusions)
    }


def _follower(op: LintedOp, readers: Counter[str], by_input: Mapping[str, LintedOp]) -> LintedOp | None:
    """Return the one operator that reads the real numbers that ``op`` writes."""
    if len(op.outputs) != 1 or not op.outputs[0].is_float or readers[op.outputs[0].name] != 1:
        return None
    follower = by_input.get(op.outputs[0].name)
    if follower is None or follower.is_conversion or any(not one.is_constant for one in follower.data[1:]):
        return None
    return follower
