"""Which values of the canonical graph have a coding of the file.

A file need not code every value: where an operator only moves or compares data, one side's coding is the other's too, and the result is the
same to the last code. Nothing else is guessed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from host_tools.model.topology import NodeInput, data_inputs, float_outputs, is_constant, named, weight_of
from host_tools.plan.support import finding

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx_ir as ir

    from host_tools.model.quantized import Coding, EdgeCoding, Quantization
    from host_tools.model.topology import Network
    from host_tools.plan.support import Finding

_MOVES: Final = frozenset(
    {
        "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity", "MaxPool", "Slice", "Split", "Concat", "DepthToSpace",
        "SpaceToDepth", "Expand", "Tile", "Relu",
    }
)  # fmt: skip
"""What these give are codes of what they read: Relu's zero is a code of every coding."""

_BOUNDS: Final = frozenset({"Clip"})
"""What is quantized in the coding of the result before it is held between bounds gives the same result; not the other way about."""

_MOST_ROUNDS: Final = 8
"""A round goes forwards and backwards through the whole graph; what is then not known is known nowhere."""


def known_codings(network: Network, quantization: Quantization) -> dict[str, Coding]:
    """Return the coding of every activation and constant operand that has one, by value name."""
    known = {name: one for name, one in quantization.activations.items() if name in network.values}
    known |= {name: one for name, one in quantization.constants.items() if name in network.values}
    for _ in range(_MOST_ROUNDS):
        before = len(known)
        for node in network.nodes.values():
            _forwards(node, known)
        for node in reversed(tuple(network.nodes.values())):
            _backwards(network, node, known)
        if len(known) == before:
            break
    return known


def _forwards(node: ir.Node, known: dict[str, Coding]) -> None:
    if node.op_type not in _MOVES:
        return
    read = {known.get(value) for _, value in data_inputs(node)}
    if len(read) == 1 and (coding := next(iter(read))) is not None:
        for value in float_outputs(node):
            known.setdefault(value, coding)


def _backwards(network: Network, node: ir.Node, known: dict[str, Coding]) -> None:
    if node.op_type not in _MOVES | _BOUNDS:
        return
    written = {known.get(value) for value in float_outputs(node)}
    if len(written) == 1 and (coding := next(iter(written))) is not None:
        for _, value in data_inputs(node):
            alone = len(network.readers[value]) == 1 and value not in network.outputs
            if alone and not is_constant(network.values[value]):
                known.setdefault(value, coding)


def without_coding(network: Network, known: Mapping[str, Coding]) -> dict[str, Finding]:
    """Return the nodes that the file computes in float, with what says so, by node name."""
    found = {}
    for name, node in network.nodes.items():
        weight = named(weight_of(node))
        values = [*([weight] if weight else []), *(value for _, value in data_inputs(node)), *float_outputs(node)]  # fmt: skip
        missing = [value for value in values if value not in known]
        if missing:
            found[name] = finding(
                node,
                "file_has_codes",
                f"the file has it in float: it has no scale for {missing[0]!r}",
            )
    return found


def reader_of(network: Network, edge: EdgeCoding) -> NodeInput | None:
    """Return the input that reads in a coding of its own; None where the canonical graph has no such input any more."""
    for node_input in network.readers.get(edge.source, ()):
        node: ir.Node | None = network.nodes[node_input.node]
        while node is not None:
            written = float_outputs(node)
            if edge.output in written:
                return node_input
            readers = network.readers[written[0]] if len(written) == 1 else ()
            node = (
                network.nodes[readers[0].node] if len(readers) == 1 else None
            )  # behind it stands its fused activation
            if node is not None and node.op_type not in ("Relu", "Clip", "Reshape", "Transpose"):
                break
    return None
