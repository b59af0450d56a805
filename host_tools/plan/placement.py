"""Placement: in which precision every node runs, which node absorbs which, and why.

The steps, in order: capability rules and the recipe say which nodes cannot be integer; fusions are taken behind integer producers; an
activation behind a float producer stays with it; operators that only move data, and light arithmetic, run in float between float
neighbours; a node that can run nowhere, or a broken limit of the target's fall-back, is refused with every offender named.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from host_tools.errors import CapabilityError
from host_tools.model.topology import float_outputs
from host_tools.plan.disjoint_sets import DisjointSets
from host_tools.plan.fusion import chains_of
from host_tools.plan.islands import float_islands
from host_tools.plan.support import Finding, finding, finding_of, integer_precision

if TYPE_CHECKING:
    from collections.abc import Mapping

    from host_tools.model.topology import Network
    from host_tools.plan.fusion import Chains
    from host_tools.plan.revisions import Revisions
    from host_tools.recipe import Recipe
    from targets.profile import CapabilityProfile, Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where every node runs.

    Attributes:
        precision: By node name.
        reasons: By node name.
        fused_into: By the name of an absorbed node: its producer.
        chains: By the name of a producer: the nodes it absorbs, in order.
        warnings: Fall-backs, one sentence each.
        outputs_in_float: Outputs that leave the model in float, whatever the type of the target's interface.
    """

    precision: Mapping[str, Precision]
    reasons: Mapping[str, str]
    fused_into: Mapping[str, str]
    chains: Chains
    warnings: tuple[str, ...]
    outputs_in_float: frozenset[str] = frozenset()

    def is_integer(self, node: str) -> bool:
        """Tell whether the named node runs in integers."""
        return self.precision[node] in ("int8", "int16")

    def last_of(self, node: str) -> str:
        """Return the name of the node whose outputs the named producer writes: itself, or the last it absorbs."""
        return self.chains[node][-1] if node in self.chains else node


def place(network: Network, profile: CapabilityProfile, recipe: Recipe, revisions: Revisions) -> Placement:
    """Decide precision and fusion of every node.

    Args:
        network: The canonical graph.
        profile: The target.
        recipe: Names what the user keeps in float, and what gets 16-bit activations.
        revisions: What earlier attempts taught.

    Raises:
        CapabilityError: Nodes can run nowhere on the target, more run in float than it accepts, or some cannot have the 16-bit activations that
            the recipe asks for; the message names all of them.
    """
    findings = _findings(network, profile, recipe, revisions)
    chains = chains_of(
        network,
        profile,
        absorbable=lambda name: not (_is_kept(network, name, recipe) or name in revisions.unfused),
    )
    fused_into = {tail: head for head, tails in chains.items() if head not in findings for tail in tails}
    findings = {name: found for name, found in findings.items() if name not in fused_into}
    followers = _followers(network, profile, chains, findings)
    widened = _widened(network, recipe)
    islands = float_islands(
        network,
        floats=set(findings) | set(followers),
        fused_into=fused_into,
        integer_doors=_integer_doors(network, profile, revisions),
        in_codes=widened | revisions.coded,
        falls_back=lambda op_type: float_precision(op_type, profile) is not None,
    )
    _refuse_homeless(network, profile, findings)
    reasons = {name: f"float: {found.text}" for name, found in findings.items()} | followers | islands
    wide = _wide(network, profile, widened, fused_into, set(reasons))
    precision: dict[str, Precision] = {}
    notes = {}
    for name, node in network.nodes.items():
        head = fused_into.get(name)
        if name in reasons:
            chosen = float_precision(node.op_type, profile) or "float32"
            notes[name] = f"{chosen}: {reasons[name].removeprefix('float: ')}"
            notes[name] += f"; falls back to {chosen} as fallback.to says" if name in findings else ""
        else:
            chosen = "int16" if (head or name) in wide else integer_precision(profile)
            notes[name] = _integer_reason(network, profile, name, head, chosen)
        precision[name] = chosen
    placement = Placement(
        precision=MappingProxyType(precision),
        reasons=MappingProxyType(notes),
        fused_into=MappingProxyType(fused_into),
        chains={head: tails for head, tails in chains.items() if head not in findings},
        warnings=tuple(
            f"{found.text}. Runs in {precision[name]} instead." for name, found in _ordered(network, findings)
        ),
        outputs_in_float=revisions.outputs_in_float,
    )
    _require_limits(network, profile, placement, findings)
    return placement


def _findings(
    network: Network, profile: CapabilityProfile, recipe: Recipe, revisions: Revisions
) -> dict[str, Finding]:
    """Return why nodes cannot be integer, by node name, in topological order."""
    findings = {}
    for name, node in network.nodes.items():
        found = finding_of(node, profile) or revisions.rejected.get(name)
        if found is None and _is_kept(network, name, recipe):
            key = "keep_float.nodes" if name in recipe.keep_float.nodes else "keep_float.ops"
            found = finding(node, "kept_in_float", f"the recipe keeps it in float ({key})")
        if found is not None:
            findings[name] = found
    return findings


def _is_kept(network: Network, name: str, recipe: Recipe) -> bool:
    return name in recipe.keep_float.nodes or network.nodes[name].op_type in recipe.keep_float.ops


def _widened(network: Network, recipe: Recipe) -> frozenset[str]:
    """Return the nodes that the recipe names for 16-bit activations."""
    widen = recipe.widen
    return frozenset(
        name for name, node in network.nodes.items() if name in widen.nodes or node.op_type in widen.ops
    )


def _wide(
    network: Network,
    profile: CapabilityProfile,
    widened: frozenset[str],
    fused_into: Mapping[str, str],
    floats: set[str],
) -> frozenset[str]:
    """Return the nodes that get 16-bit activations: those that the recipe names, or that absorb one it names.

    Raises:
        CapabilityError: The target has no such kernel for some of them; all are named.
    """
    asked = dict.fromkeys(fused_into.get(name, name) for name in network.nodes if name in widened)
    wide = [name for name in asked if name not in floats] if integer_precision(profile) == "int8" else []
    lasts = {head: tail for tail, head in fused_into.items()}  # the last of each chain stays
    obstacles = [
        found
        for name in wide
        if (found := wide_finding(network, profile, name, lasts.get(name, name))) is not None
    ]
    if obstacles:
        raise CapabilityError(
            f"{_count(obstacles)} cannot have 16-bit activations on {profile.id!r}:{_listed(obstacles)}",
            hint="Leave them out of the recipe's widen.ops and widen.nodes, or choose a target that has such kernels.",
        )
    return frozenset(wide)


def wide_finding(network: Network, profile: CapabilityProfile, name: str, last: str) -> Finding | None:
    """Return why a node cannot have 16-bit activations, or None where it can.

    Args:
        network: The graph.
        profile: The target.
        name: The node.
        last: The last node that it absorbs, or itself.
    """
    node = network.nodes[name]
    if profile.wide is None:
        return finding(
            node, "width_is_known", f"the target has 8-bit activations only (wide.ops of {profile.id!r})"
        )
    found = finding_of(node, profile.wide, listed_in="wide.ops")
    if found is None and profile.interface.output_type != "float32":
        written = network.outputs.intersection(float_outputs(network.nodes[last]))
        if written:
            sentence = (
                f"it writes {min(written)!r}, which leaves the model in {profile.interface.output_type}"
            )
            return finding(node, "output_is_narrow", f"{sentence} (interface.output_type of {profile.id!r})")
    return found


def float_precision(op_type: str, profile: CapabilityProfile) -> Precision | None:
    """Return the float precision in which an operator falls back, or None when it cannot."""
    wanted = profile.fallback.to
    if wanted == "refuse":
        return None
    if op_type not in profile.ops:
        return wanted
    floats = [
        precision for precision in profile.ops[op_type].precisions if precision in ("float16", "float32")
    ]
    return wanted if wanted in floats else floats[0] if floats else None


def _followers(
    network: Network, profile: CapabilityProfile, chains: Chains, findings: Mapping[str, Finding]
) -> dict[str, str]:
    """Return the activations that stay in float because the operator before them does."""
    return {
        tail: f"float: {network.nodes[tail].op_type} {tail!r} stays with {network.nodes[head].op_type} {head!r}, which runs in float"
        for head, tails in chains.items()
        if head in findings
        for tail in tails
        if tail not in findings and float_precision(network.nodes[tail].op_type, profile)
    }


def _integer_doors(network: Network, profile: CapabilityProfile, revisions: Revisions) -> frozenset[str]:
    """Return the inputs and outputs that cross the interface as integers."""
    inputs = network.inputs if profile.interface.input_type != "float32" else ()
    outputs = network.outputs if profile.interface.output_type != "float32" else ()
    return frozenset(inputs) | (frozenset(outputs) - revisions.outputs_in_float)


def _integer_reason(
    network: Network, profile: CapabilityProfile, name: str, head: str | None, precision: Precision
) -> str:
    op_type = network.nodes[name].op_type
    if head is None and precision != integer_precision(profile):
        return f"{precision}: the recipe asks for 16-bit activations (widen), and {profile.id} has such a kernel (wide.ops)"
    if head is None:
        return f"{precision}: {profile.id} has an {precision} kernel (ops.{op_type}.precisions)"
    return f"{precision}: done by {network.nodes[head].op_type} {head!r} (fusions)"


def _ordered(network: Network, findings: Mapping[str, Finding]) -> list[tuple[str, Finding]]:
    return [(name, findings[name]) for name in network.nodes if name in findings]


def _refuse_homeless(network: Network, profile: CapabilityProfile, findings: Mapping[str, Finding]) -> None:
    """Refuse nodes that run neither in integers nor in float.

    Raises:
        CapabilityError: There are some; all are named.
    """
    homeless = [
        found
        for name, found in _ordered(network, findings)
        if float_precision(network.nodes[name].op_type, profile) is None
    ]
    if homeless:
        where = (
            "it refuses to fall back (fallback.to)"
            if profile.fallback.to == "refuse"
            else "it has no float kernel for them"
        )
        raise CapabilityError(
            f"{_count(homeless)} cannot run on {profile.id!r}, and {where}:{_listed(homeless)}",
            hint="Change the model at these nodes, or choose a target that has them or falls back.",
        )


def _require_limits(
    network: Network, profile: CapabilityProfile, placement: Placement, findings: Mapping[str, Finding]
) -> None:
    """Hold the plan to the target's limits on falling back.

    Raises:
        CapabilityError: Too many nodes fall back, or too many separate integer regions result.
    """
    fallen = [found for _, found in _ordered(network, findings)]
    limit = profile.fallback.max_float_ops
    if limit is not None and len(fallen) > limit:
        raise CapabilityError(
            f"{_count(fallen)} fall back to float, but {profile.id!r} accepts {limit} (fallback.max_float_ops):{_listed(fallen)}",
            hint="Change the model at these nodes, or choose another target.",
        )
    limit = profile.fallback.max_partitions
    regions = count_regions(network, placement)
    if limit is not None and regions > limit:
        raise CapabilityError(
            f"the model falls into {regions} separate integer regions, but {profile.id!r} accepts {limit} (fallback.max_partitions). "
            f"What cuts it:{_listed(fallen)}",
            hint="Change the model at these nodes, or choose another target.",
        )


def count_regions(network: Network, placement: Placement) -> int:
    """Return how many separate regions the integer nodes form."""
    integer = [name for name in network.nodes if placement.is_integer(name)]
    regions = DisjointSets(integer)
    for name in integer:
        for value in float_outputs(network.nodes[name]):
            for node_input in network.readers[value]:
                if placement.is_integer(node_input.node):
                    regions.join(name, node_input.node)
    return len(regions.sets())


def _count(findings: list[Finding]) -> str:
    return f"{len(findings)} node{'' if len(findings) == 1 else 's'}"


def _listed(findings: list[Finding]) -> str:
    return "".join(f"\n  - {found.text}." for found in findings) + "\n"
