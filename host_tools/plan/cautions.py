"""What a plan must say of the samples that it comes from, and of a recipe's entries that it could not follow to the letter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from host_tools.model.topology import is_constant, is_float, named
from host_tools.observe.far_samples import FAR, far_ends

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from host_tools.model.topology import Network
    from host_tools.observe.statistics import Statistics
    from host_tools.plan.quantization_plan import TensorPlan
    from host_tools.plan.settling import Settlement
    from host_tools.recipe import Recipe, TensorOverride


def calibration_warnings(
    network: Network, statistics: Statistics, tensors: Mapping[str, TensorPlan]
) -> Iterator[str]:
    """Say what the samples cannot show: too few, always the same, or one far away from all others."""
    if statistics.sample_count == 1:
        yield "calibrated on a single sample: ranges may miss what other samples hold."
    for name in network.inputs:
        if name in statistics.tensors:
            yield from _far_sample(name, statistics)
    for name, value in network.values.items():
        if tensors[name].qparams is None or is_constant(value):
            continue
        seen = statistics.tensors[name]
        if seen.minimum == seen.maximum:
            yield f"{name!r} was {seen.minimum:g} everywhere in all samples: its range says nothing of other data."


def _far_sample(name: str, statistics: Statistics) -> Iterator[str]:
    """Tell of one sample of an input that reaches much further than the others do on average; of one that does so at both ends, once."""
    count = statistics.sample_count
    reached: dict[tuple[str, float | None], list[str]] = {}
    for end in far_ends(statistics.tensors[name], count):
        sample = statistics.far_samples.get((name, end.value))
        who = f"sample {sample} of {count}" if sample is not None else f"one of {count} samples"
        # Without names nobody knows whether both ends are of one sample.
        apart = end.value if sample is None else None
        reached.setdefault((who, apart), []).append(f"{end.value:.4g}")
    for (who, _), ends in reached.items():
        yield (
            f"{name!r}: {who} reaches {' and '.join(ends)}, more than {FAR} times as far as the others do on average, and sets the "
            f"scales of all. If it is damaged, mend it or leave it out."
        )


def override_warnings(
    network: Network, settlement: Settlement, tensors: Mapping[str, TensorPlan], recipe: Recipe
) -> Iterator[str]:
    """Say where a recipe's entries for tensors contradict one another, or come to nothing."""
    methods = {recipe.method, *(override.method for override in recipe.tensors.values())}
    if recipe.percentile != type(recipe)().percentile and "percentile" not in methods:
        yield f"the recipe's percentile {recipe.percentile:g} does not count: no range of it is chosen by method percentile."
    grouping = settlement.grouping
    for index, members in enumerate(grouping.groups):
        entries = {
            name: recipe.tensors[name]
            for name in members
            if name in recipe.tensors and grouping.of[name] == index
        }
        if not entries:
            continue
        if index in settlement.fixed:
            for name in entries:
                yield f"the recipe's entry for {name!r} does not count: {_fixed_by(network, settlement, index)}."
            continue
        yield from _contradictions(network, settlement, index, entries)
    for name in recipe.tensors:
        value = network.values[name]
        if tensors[name].qparams is None and is_float(value):
            yield f"the recipe's entry for {name!r} does not count: it does not exist in integers here, for {tensors[name].reason}."


def _contradictions(
    network: Network, settlement: Settlement, index: int, entries: Mapping[str, TensorOverride]
) -> Iterator[str]:
    ties = settlement.grouping.ties.get(index, ())
    through = " and ".join(f"{network.nodes[tie].op_type} {tie!r}" for tie in ties)
    ranges = {name: entry.range for name, entry in entries.items() if entry.range}
    if len(set(ranges.values())) > 1:
        low, high = min(low for low, _ in ranges.values()), max(high for _, high in ranges.values())
        wanted = ", ".join(f"[{one[0]:g}, {one[1]:g}] for {name!r}" for name, one in ranges.items())
        yield (
            f"the recipe wants the ranges {wanted}, which share one scale through {through} (same_scale): "
            f"[{low:g}, {high:g}], which holds all of them, is used."
        )
    methods = {name: entry.method for name, entry in entries.items() if entry.method}
    if len(set(methods.values())) > 1:
        wanted = ", ".join(f"{one} for {name!r}" for name, one in methods.items())
        yield (
            f"the recipe wants the methods {wanted}, which share one scale through {through} (same_scale): "
            f"{next(iter(methods.values()))} is used."
        )


def _fixed_by(network: Network, settlement: Settlement, index: int) -> str:
    """Name the kernel that fixes a group's parameters."""
    members = settlement.grouping.groups[index]
    kernels = settlement.profile.fixed_outputs
    writers = [
        node
        for node in network.nodes.values()
        if named(node.outputs[0]) in members and node.op_type in kernels
    ]
    names = " and ".join(f"{node.op_type} {node.name!r}" for node in writers)
    return f"the kernel of {names} fixes its scale (fixed_outputs of {settlement.profile.id!r})"
