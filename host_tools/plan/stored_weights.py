"""Weights that a plan stores as other numbers than float32, without codes of a scale: which nodes read them, and what stands against it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from host_tools.model.topology import constant_weight, named

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    import onnx_ir as ir

    from host_tools.model.topology import Network
    from targets.profile import CapabilityProfile, PlanPrecision


def weights_of(network: Network) -> Mapping[str, list[str]]:
    """Return the nodes that multiply by a constant, or look rows of it up, by the constant's name."""
    found: dict[str, list[str]] = {}
    for name, node in network.nodes.items():
        if (value := constant_weight(node)) is not None:
            found.setdefault(named(value), []).append(name)
    return found


def reader_in_the_way(
    network: Network,
    weight: str,
    nodes: Collection[str],
    profile: CapabilityProfile,
    precision: PlanPrecision,
) -> str:
    """Return why what reads a weight keeps it from being stored as a precision does; empty when nothing does.

    Args:
        network: The canonical graph.
        weight: The constant.
        nodes: Those that read it as a weight.
        profile: A target that has the precision.
        precision: It.
    """
    ops = profile.uncalibrated[precision].ops
    for name in nodes:
        if network.nodes[name].op_type not in ops:
            kind = precision.removeprefix("weights-")
            return f"{profile.id} reads no {kind} weight of {network.nodes[name].op_type} ([{precision}] ops)"
    value = network.values[weight]
    if len(network.readers[weight]) != len(nodes) or weight in network.outputs:
        return f"{_other(network, value, nodes)} reads it too"
    return ""


def told(left: list[str]) -> Iterator[str]:
    """Yield the sentence that counts weights that stay in float32, by operator and node; none where none does."""
    if left:
        shown = f"{', '.join(left[:3])}{f' and {len(left) - 3} more' if len(left) > 3 else ''}"
        yield f"{len(left)} weights stay in float32: {shown}; --explain says why."


def _other(network: Network, value: ir.Value, nodes: Collection[str]) -> str:
    """Name what reads a weight as something else than a weight."""
    readers = [reader.node for reader in network.readers[named(value)]]
    for name in nodes:
        readers.remove(name)
    return f"{network.nodes[readers[0]].op_type} {readers[0]!r}" if readers else "whoever runs the model"
