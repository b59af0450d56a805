"""`Step`: one node with what it absorbs, ready to run on stored values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from host_tools.errors import LoweringError
from host_tools.model.topology import is_constant, named, outputs_of
from host_tools.simulate.float_node import FloatNode
from host_tools.simulate.operators import OPERATORS
from host_tools.simulate.reading import PLAN_ANEW, integer_node, stored_qparams, where
from host_tools.simulate.stored import Array, Stored, codes_reader, float_reader, quantized, real_constant

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import onnx_ir as ir

    from host_tools.plan.quantization_plan import QParams, QuantizationPlan
    from host_tools.simulate.stored import Reader
    from targets.profile import CapabilityProfile

Run = Callable[[Stored], Sequence[Array]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """One node and what it absorbs.

    Attributes:
        operator: The node's operator, without what it absorbs.
        run: Takes the stored values so far, gives those of ``writes``.
        reads: Names of the activations that it reads.
        writes: Names of what it stores.
        forgets: Names of what nothing reads after it.
    """

    operator: str
    run: Run
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    forgets: tuple[str, ...]


def steps_of(
    graph: ir.Graph, plan: QuantizationPlan, profile: CapabilityProfile, *, kept: Collection[str]
) -> tuple[Step, ...]:
    """Prepare every node that no other absorbs, in the graph's order.

    Args:
        graph: The canonical graph with the planned values.
        plan: A plan that covers it.
        profile: Its target.
        kept: Names that are never forgotten.

    Raises:
        LoweringError: The plan does not fit, or has an operator in integers that is not simulated.
        ModelError: ONNX Runtime refuses a float node.
        VerificationError: A sum of products may pass 2^53.
    """
    chains = _chains(graph, plan)
    edges = {(edge.node, edge.input_index): edge.qparams for edge in plan.requantize}
    last = {
        named(value): place for place, nodes in enumerate(chains) for node in nodes for value in node.inputs
    }
    steps = []
    for place, nodes in enumerate(chains):
        is_integer = plan.nodes[named(nodes[0])].precision != "float32"
        run = (
            _integer(nodes, plan, profile, edges)
            if is_integer
            else _float(nodes, plan, profile, edges, opset=graph.opset_imports[""])
        )
        writes = tuple(named(value) for value in outputs_of(nodes[-1]))
        read = {
            named(value)
            for node in nodes
            for value in node.inputs
            if value is not None and not is_constant(value)
        }
        inside = {named(value) for node in nodes[:-1] for value in node.outputs}
        done = {name for name in read - inside if last[name] == place} | (set(writes) - set(last))
        steps.append(
            Step(
                operator=nodes[0].op_type,
                run=run,
                reads=tuple(sorted(read - inside - {""})),
                writes=writes,
                forgets=tuple(sorted(done.difference(kept))),
            )
        )
    return tuple(steps)


def _chains(graph: ir.Graph, plan: QuantizationPlan) -> list[list[ir.Node]]:
    """Return every node that no other absorbs, each with those that it absorbs behind it."""
    chains: dict[str, list[ir.Node]] = {}
    for node in graph:
        chains.setdefault(_root(node, plan), []).append(node)
    return list(chains.values())


def _root(node: ir.Node, plan: QuantizationPlan) -> str:
    """Return the name of the node that does this one's work."""
    name = named(node)
    for _ in plan.nodes:
        into = plan.nodes[name].fused_into
        if into is None:
            return name
        if into not in plan.nodes:
            raise LoweringError(
                f"{where(node)}: the plan fuses it into {into!r}, which it does not have.", hint=PLAN_ANEW
            )
        name = into
    raise LoweringError(f"{where(node)}: the plan fuses it into itself.", hint=PLAN_ANEW)


def _integer(
    nodes: Sequence[ir.Node],
    plan: QuantizationPlan,
    profile: CapabilityProfile,
    edges: Mapping[tuple[str, int], QParams],
) -> Run:
    """Prepare a node of integer precision."""
    head = nodes[0]
    prepare = OPERATORS.get(head.op_type)
    if prepare is None or head.domain not in ("", "ai.onnx"):
        raise LoweringError(
            f"{where(head)}: planned in integers, which are not simulated for this operator.",
            hint=f"Keep it in float; simulated are {', '.join(sorted(OPERATORS))}.",
        )
    seen = integer_node(head, nodes[1:], plan, profile, edges)
    kernel = prepare(seen)
    readers: list[Reader] = []
    for index, operand in enumerate(seen.inputs):
        if operand is None:
            readers.append(_always(np.empty(0)))
        elif operand.constant is not None:
            readers.append(_always(operand.constant))
        else:
            seen.grid(index)  # refuses a float one, by node
            readers.append(codes_reader(operand.name, plan, operand.qparams, profile.rounding))
    count = len(outputs_of(nodes[-1]))

    def run(stored: Stored) -> Sequence[Array]:
        return kernel([read(stored) for read in readers])[:count]

    return run


def _float(
    nodes: Sequence[ir.Node],
    plan: QuantizationPlan,
    profile: CapabilityProfile,
    edges: Mapping[tuple[str, int], QParams],
    *,
    opset: int,
) -> Run:
    """Prepare a node that runs in float32."""
    rounding = profile.rounding
    constants = {
        named(value): real_constant(value, plan, rounding)
        for node in nodes
        for value in node.inputs
        if value is not None and is_constant(value)
    }
    session = FloatNode(nodes, constants, opset)
    readers = [
        float_reader(read.value, plan, edges.get((read.node, read.index)), rounding)
        for read in session.inputs
    ]
    written = [(named(value), stored_qparams(value, plan)) for value in outputs_of(nodes[-1])]

    def run(stored: Stored) -> Sequence[Array]:
        results = session.run([read(stored) for read in readers])
        return [
            result
            if qparams is None or result.dtype != np.float32
            else quantized(result, qparams, rounding.activations, name)
            for result, (name, qparams) in zip(results, written, strict=True)
        ]

    return run


def _always(array: Array) -> Reader:
    return lambda _: array
