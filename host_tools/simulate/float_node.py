"""`FloatNode`: one node that the plan leaves in float, on ONNX Runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_ir as ir

from host_tools.errors import ModelError
from host_tools.model.reference import open_session, run_session
from host_tools.plan.topology import is_constant, named, outputs_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.generic]

_IR_VERSION = 10


class FloatNode:
    """A node and those it absorbs, in float32."""

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
        copies = []
        for node in nodes:
            inputs = [None if value is None else _copy(value, values) for value in node.inputs]
            outputs = [_copy(value, values) for value in node.outputs]
            copies.append(
                ir.Node(
                    "", node.op_type, inputs, list(node.attributes.values()), outputs=outputs, name=node.name
                )
            )
        inner = {named(value) for node in nodes for value in node.outputs}
        read = {named(value): value for node in nodes for value in node.inputs if value is not None}
        initializers = []
        for name, value in read.items():
            if is_constant(value):
                values[name].const_value = ir.tensor(constants[name], name=name)
                initializers.append(values[name])
        self.inputs = tuple(
            name for name, value in read.items() if name not in inner and not is_constant(value)
        )
        self.outputs = tuple(named(value) for value in outputs_of(nodes[-1]))
        graph = ir.Graph(
            [values[name] for name in self.inputs],
            [values[name] for name in self.outputs],
            nodes=copies,
            initializers=initializers,
            opset_imports={"": opset},
            name=nodes[0].name,
        )
        content = ir.to_proto(ir.Model(graph, ir_version=_IR_VERSION)).SerializeToString()
        self._session = open_session(content, threads=1, name=named(nodes[0]), arena=False)

    def run(self, feeds: Mapping[str, Array]) -> Sequence[Array]:
        """Return the outputs of the last node.

        Raises:
            ModelError: ONNX Runtime failed.
        """
        return run_session(self._session, self.outputs, {name: feeds[name] for name in self.inputs})


def _copy(value: ir.Value, values: dict[str, ir.Value]) -> ir.Value:
    name = named(value)
    if not name:
        return ir.Value(name="")
    if name not in values:
        if value.dtype is None:
            raise ModelError(f"Value {name!r} has no known type.")
        values[name] = ir.Value(name=name, shape=value.shape, type=ir.TensorType(value.dtype))
    return values[name]
