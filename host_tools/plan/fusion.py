"""Fusions: chains that a target runs as one operator, so that the value inside a chain does not exist.

A chain is taken only where it is exact: the inner value has one reader and is no output, and each absorbed operator has one
float input (a chain with Add in its tail is planned as separate operators).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from host_tools.model.topology import constant, data_indices, float_outputs, input_at, outputs_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx_ir as ir

    from host_tools.model.topology import Network
    from targets.profile import CapabilityProfile

_TFLITE_BOUNDS = frozenset({(0.0, math.inf), (0.0, 6.0), (-1.0, 1.0)})
"""RELU, RELU6 and RELU_N1_TO_1: the clipping members of TFLite's ActivationFunctionType (schema.fbs)."""

Chains = dict[str, tuple[str, ...]]
"""Name of the producing node to the names of the nodes that it absorbs, in order."""


def chains_of(network: Network, profile: CapabilityProfile, *, absorbable: Callable[[str], bool]) -> Chains:
    """Find the longest fusable chain behind every node.

    Args:
        network: The graph.
        profile: Names the chains.
        absorbable: Whether the named node may be absorbed (not kept in float, not taken apart by an earlier attempt).
    """
    patterns: dict[str, list[tuple[str, ...]]] = {}
    for pattern in sorted(profile.fusions, key=len, reverse=True):
        patterns.setdefault(pattern[0], []).append(pattern[1:])
    chains: Chains = {}
    absorbed: set[str] = set()
    for name, node in network.nodes.items():
        if name in absorbed:
            continue
        for tail_types in patterns.get(node.op_type, []):
            tails = _match(network, node, tail_types, profile, absorbable)
            if tails:
                chains[name] = tails
                absorbed.update(tails)
                break
    return chains


def _match(
    network: Network,
    head: ir.Node,
    tail_types: tuple[str, ...],
    profile: CapabilityProfile,
    absorbable: Callable[[str], bool],
) -> tuple[str, ...]:
    """Return the nodes behind ``head`` that match all of ``tail_types``; empty when they do not."""
    tails: list[str] = []
    node = head
    for op_type in tail_types:
        inner = float_outputs(node)
        if len(inner) != 1 or len(outputs_of(node)) != 1 or inner[0] in network.outputs:
            return ()
        readers = network.readers[inner[0]]
        if len(readers) != 1 or readers[0].index != 0:
            return ()
        name = readers[0].node
        node = network.nodes[name]
        if node.op_type != op_type or data_indices(node) != (0,) or not absorbable(name):
            return ()
        if not (expressible(node, profile) or _may_saturate(node, profile)):
            return ()
        tails.append(name)
    return tuple(tails)


def bounds_of(node: ir.Node) -> tuple[float, float] | None:
    """Return the bounds of a Relu or Clip, None for any other operator. A bound may be infinite."""
    if node.op_type == "Relu":
        return 0.0, math.inf
    if node.op_type != "Clip":
        return None
    return _scalar(input_at(node, 1), -math.inf), _scalar(input_at(node, 2), math.inf)


def _scalar(value: ir.Value | None, absent: float) -> float:
    return absent if value is None else float(np.reshape(constant(value), -1)[0])


def expressible(node: ir.Node, profile: CapabilityProfile) -> bool:
    """Tell whether the target's format can write ``node`` as a fused activation, whatever the scales are."""
    bounds = bounds_of(node)
    return bounds is None or profile.artifact.format != "tflite" or bounds in _TFLITE_BOUNDS


def _may_saturate(node: ir.Node, profile: CapabilityProfile) -> bool:
    """Tell whether a free scale and zero point can make the integer range end where ``node`` clips."""
    low, high = bounds_of(node) or (math.inf, -math.inf)
    if profile.scale.kind != "float32" or not low <= 0.0 <= high:
        return False
    return profile.activations.zero_point == "asymmetric" or (
        profile.activations.zero_point == "midpoint" and low == 0.0
    )
