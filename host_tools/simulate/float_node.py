"""`FloatNode`: one node that the plan leaves in float, on ONNX Runtime."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx_ir as ir

from host_tools.errors import ModelError
from host_tools.model.reference import open_session, run_session
from host_tools.model.topology import is_constant, named, outputs_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.generic]

_IR_VERSION = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatInput:
    """Input ``index`` of the node named ``node``, which reads ``value``."""

    node: str
    index: int
    value: str


class FloatNode:
    """A node and those it absorbs, in float32.

    Attributes:
        inputs: What must be fed, one entry an edge: two edges may read one value, each in its own way.
    """

    def __init__(self, nodes: Sequence[ir.Node], constants: Mapping[str, Array], opset: int) -> None:
        """Make a session of just these nodes.

        Args:
            nodes: A chain, each node but the first reading the one before it.
            constants: What each constant input is, after quantization and back where the plan has codes for it.
            opset: Of the canonical graph.

        Raises:
            ModelError: ONNX Runtime refuses them.
        """
        values: dict[str, ir.Value] = {}
        inputs: list[FloatInput] = []
        fed: list[ir.Value] = []
        copies = []
        for node in nodes:
            read: list[ir.Value | None] = []
            for index, value in enumerate(node.inputs):
                name = named(value)
                if value is None or name in values:
                    read.append(None if value is None else values[name])
                elif is_constant(value):
                    values[name] = _copy(value, name)
                    values[name].const_value = ir.tensor(constants[name], name=name)
                    read.append(values[name])
                else:
                    inputs.append(FloatInput(node=named(node), index=index, value=name))
                    fed.append(_copy(value, f"{name}/{len(fed)}"))
                    read.append(fed[-1])
            written = [_copy(value, named(value)) for value in node.outputs]
            values.update((named(value), value) for value in written if value.name)
            attributes = list(node.attributes.values())
            copies.append(ir.Node("", node.op_type, read, attributes, outputs=written, name=node.name))
        self.inputs = tuple(inputs)
        self._fed = tuple(named(value) for value in fed)
        self._outputs = tuple(named(value) for value in outputs_of(nodes[-1]))
        graph = ir.Graph(
            fed,
            [values[name] for name in self._outputs],
            nodes=copies,
            initializers=[values[name] for name in constants],
            opset_imports={"": opset},
            name=nodes[0].name,
        )
        content = ir.to_proto(ir.Model(graph, ir_version=_IR_VERSION)).SerializeToString()
        self._session = open_session(content, threads=1, name=named(nodes[0]), arena=False)

    def run(self, arrays: Sequence[Array]) -> Sequence[Array]:
        """Return the outputs of the last node.

        Args:
            arrays: One for each of ``inputs``.

        Raises:
            ModelError: ONNX Runtime failed.
        """
        return run_session(self._session, self._outputs, dict(zip(self._fed, arrays, strict=True)))


def _copy(value: ir.Value, name: str) -> ir.Value:
    """Return a value of the same type under a name; an output that is left out has neither."""
    if not value.name:
        return ir.Value(name="")
    if value.dtype is None:
        raise ModelError(f"Value {value.name!r} has no known type.")
    return ir.Value(name=name, shape=value.shape, type=ir.TensorType(value.dtype))
