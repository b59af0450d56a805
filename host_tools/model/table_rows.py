"""Which inputs of a model are numbers of rows of a table, as those of a text's tokens are, and how many rows there are."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from host_tools.model.topology import input_at, integers, named, network_of, outputs_of, shape_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx_ir as ir

    from host_tools.model.topology import Network

_SAME_NUMBERS: Final = frozenset(
    {"Cast", "Concat", "Expand", "Flatten", "Reshape", "Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"}
)  # fmt: skip
"""Operators whose outputs hold none but numbers of their first input; of Concat, of any."""
_DATA, _INDICES = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRows:
    """What an input is looked up in.

    Attributes:
        rows: How many there are: numbers from ``-rows`` to ``rows - 1`` name one.
        table: The value that holds them.
        node: The Gather that looks them up.
    """

    rows: int
    table: str
    node: str


def table_rows(model: ir.Model) -> Mapping[str, TableRows]:
    """Return, by name of an input, the smallest table that a Gather of a canonical model looks its numbers up in.

    An input whose numbers are changed on the way (an offset is added, say) is not followed further: nothing is known of it.
    """
    network = network_of(model)
    found = {name: _smallest_table(network, name) for name in network.inputs}
    return {name: table for name, table in found.items() if table is not None}


def _smallest_table(network: Network, start: str) -> TableRows | None:
    tables: list[TableRows] = []
    seen, waiting = {start}, deque([start])
    while waiting:
        for read in network.readers[waiting.popleft()]:
            node = network.nodes[read.node]
            if node.op_type == "Gather" and read.index == _INDICES:
                tables.append(_table_of(node))
            elif node.op_type in _SAME_NUMBERS and (read.index == _DATA or node.op_type == "Concat"):
                new = [named(value) for value in outputs_of(node) if named(value) not in seen]
                seen.update(new)
                waiting.extend(new)
    return min(tables, key=lambda table: table.rows, default=None)


def _table_of(node: ir.Node) -> TableRows:
    table = input_at(node, _DATA)
    (axis,) = integers(node, "axis", (0,))
    return TableRows(rows=shape_of(table)[axis], table=named(table), node=named(node))
