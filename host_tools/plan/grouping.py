"""Groups of values that must share one scale, and the edges that must be re-quantized because they cannot.

Every operator of the target's ``same_scale`` joins its float data inputs and outputs. An output that a kernel fixes stays what it is: if
everything in its group fits the fixed range the group takes it over, else the value leaves the group and is re-quantized where a
same-scale operator reads it.

An operator reads and writes codes of one width. A value that is read in another width than it is written in has parameters in both, and the
edge between the two re-quantizes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from host_tools.model.topology import (
    NodeInput,
    data_indices,
    data_inputs,
    float_outputs,
    is_constant,
    is_float,
)
from host_tools.plan.codes import rebased
from host_tools.plan.disjoint_sets import DisjointSets
from host_tools.plan.qparams import code_range
from host_tools.plan.quantization_plan import QParams
from host_tools.plan.support import integer_precision

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from host_tools.model.topology import Network
    from host_tools.plan.placement import Placement
    from targets.profile import CapabilityProfile, Precision

Coded = tuple[str, "Precision"]
"""A value in codes of one width."""

_INTEGERS: frozenset[Precision] = frozenset({"int8", "int16"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """Which values share one scale.

    Attributes:
        groups: Value names, in order of appearance; every quantized activation and constant is in one, and in another for the readers that
            want codes of another width.
        precisions: The width of each group's codes, as the precision of the operators that read and write them.
        of: Index of the group in which it is stored, by value name.
        ties: Names of the same-scale nodes that hold a group together, by its index.
        edges: Inputs of nodes that read a value of another group, with the group that the input must be in.
    """

    groups: tuple[tuple[str, ...], ...]
    precisions: tuple[Precision, ...]
    of: Mapping[str, int]
    ties: Mapping[int, tuple[str, ...]]
    edges: Mapping[NodeInput, int]


def quantized_values(network: Network, placement: Placement, profile: CapabilityProfile) -> tuple[str, ...]:
    """Return the float activations and constant operands that exist as integers, in the network's order.

    A value does if an integer node writes it or reads it as data, or if it crosses an integer interface. Weights and biases are not here.
    """
    wanted: set[str] = set()
    inner: set[str] = set()
    for name, node in network.nodes.items():
        if not placement.is_integer(name):
            continue
        wanted.update(value for _, value in data_inputs(node))
        wanted.update(float_outputs(node))
        if placement.last_of(name) != name:
            inner.update(float_outputs(node))
            inner.update(
                output
                for tail in placement.chains[name][:-1]
                for output in float_outputs(network.nodes[tail])
            )
    if profile.interface.input_type != "float32":
        wanted.update(network.inputs)
    if profile.interface.output_type != "float32":
        given = network.outputs - placement.outputs_in_float
        wanted.update(name for name in given if not is_constant(network.values[name]))
    return tuple(name for name, value in network.values.items() if name in wanted - inner and is_float(value))


def fixed_values(network: Network, placement: Placement, profile: CapabilityProfile) -> dict[str, QParams]:
    """Return the values whose parameters a kernel hard-codes, in the target's own signedness."""
    fixed = {}
    for name in network.nodes:
        last = network.nodes[placement.last_of(name)]
        rules = profile.at(placement.precision[name])
        if (
            not placement.is_integer(name)
            or name in placement.fused_into
            or last.op_type not in rules.fixed_outputs
        ):
            continue
        for value in float_outputs(last):
            fixed[value] = fixed_qparams(last.op_type, rules)
    return fixed


def stored_precisions(
    network: Network, precision: Mapping[str, Precision], values: Iterable[str], profile: CapabilityProfile
) -> dict[str, Precision]:
    """Return the width in which each value is stored, as the precision of operators.

    That is its writer's. What no integer operator writes is stored in the width that all its integer readers want, or in the target's usual
    one; so is what leaves or enters by an integer interface.

    Args:
        network: The graph.
        precision: By node name.
        values: Names of values that exist as integers.
        profile: The target.
    """
    usual = integer_precision(profile)
    narrow: set[str] = set(network.inputs) if profile.interface.input_type != "float32" else set()
    if profile.interface.output_type != "float32":
        narrow |= network.outputs
    stored = {}
    for value in values:
        writer = precision.get(network.writers.get(value, ""))
        readers = {
            precision[reader.node]
            for reader in network.readers[value]
            if reader.index in data_indices(network.nodes[reader.node])
        } & _INTEGERS
        if writer in _INTEGERS:
            stored[value] = writer
        else:
            stored[value] = next(iter(readers)) if len(readers) == 1 and value not in narrow else usual
    return stored


def fixed_qparams(op_type: str, profile: CapabilityProfile) -> QParams:
    """Return what a kernel hard-codes for its output, in the signedness of the target's activations.

    Profiles give it as signed codes; those of a 16-bit profile are 16-bit codes.
    """
    rule = profile.fixed_outputs[op_type]
    codes = code_range(profile.activations.bits, signed=True)
    qparams = QParams(
        scale=(rule.scale,),
        zero_point=(rule.zero_point,),
        dtype=codes.dtype,
        quant_min=codes.low,
        quant_max=codes.high,
        axis=None,
    )
    return qparams if profile.activations.signed else rebased(qparams, signed=False)


def group_values(
    network: Network,
    placement: Placement,
    profile: CapabilityProfile,
    quantized: tuple[str, ...],
    detached: frozenset[str],
) -> Grouping:
    """Join values by same-scale operators.

    Args:
        network: The graph.
        placement: Which nodes are integer.
        profile: Names the same-scale operators.
        quantized: From `quantized_values`.
        detached: Values that same-scale readers must re-quantize instead of join.
    """
    stored = stored_precisions(network, placement.precision, quantized, profile)
    read_as = _read_as(network, placement)
    sets = DisjointSets(dict.fromkeys((*stored.items(), *read_as.values())))
    tied: list[tuple[str, Coded]] = []
    pending: dict[NodeInput, Coded] = {
        node_input: coded for node_input, coded in read_as.items() if coded[1] != stored[coded[0]]
    }
    for name, node in network.nodes.items():
        outputs = float_outputs(network.nodes[placement.last_of(name)])
        if not is_same_scale(name, network, placement, profile) or not outputs:
            continue
        first, *others = ((value, stored[value]) for value in outputs)
        tied.append((name, first))
        for other in others:
            sets.join(first, other)
        for index, value in data_inputs(node):
            node_input = NodeInput(node=name, index=index)
            if value in detached:
                pending[node_input] = first
            else:
                sets.join(first, read_as[node_input])
    groups = sets.sets()
    of = {coded: index for index, members in enumerate(groups) for coded in members}
    ties: dict[int, list[str]] = {}
    for name, coded in tied:
        ties.setdefault(of[coded], []).append(name)
    return Grouping(
        groups=tuple(tuple(value for value, _ in members) for members in groups),
        precisions=tuple(members[0][1] for members in groups),
        of={value: of[value, width] for value, width in stored.items()},
        ties={index: tuple(names) for index, names in ties.items()},
        edges={node_input: of[coded] for node_input, coded in pending.items()},
    )


def _read_as(network: Network, placement: Placement) -> dict[NodeInput, Coded]:
    """Return in which codes every data input of an integer node reads its value."""
    return {
        NodeInput(node=name, index=index): (value, placement.precision[name])
        for name, node in network.nodes.items()
        if placement.is_integer(name) and name not in placement.fused_into
        for index, value in data_inputs(node)
    }


def is_same_scale(name: str, network: Network, placement: Placement, profile: CapabilityProfile) -> bool:
    """Tell whether a node is an integer one whose inputs and outputs must share one scale."""
    op_type = network.nodes[name].op_type
    last_type = network.nodes[placement.last_of(name)].op_type
    return (
        op_type in profile.same_scale
        and last_type
        not in profile.at(
            placement.precision[name]
        ).fixed_outputs  # the kernel says what the output is; there is nothing to share
        and placement.is_integer(name)
        and name not in placement.fused_into
    )
