"""`GraphEditor`: the few edits that canonicalisation needs, each of which leaves a valid graph and keeps output names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray


def constant_of(value: ir.Value | None) -> NDArray[np.generic] | None:
    """Return the array behind an initializer, or None when the value is absent or computed."""
    if value is None or not value.is_initializer() or value.is_graph_input() or value.const_value is None:
        return None
    return np.asarray(value.const_value.numpy())


def scalar_of(value: ir.Value | None) -> float | None:
    """Return the number in a one-element constant, or None when the value is anything else."""
    array = constant_of(value)
    if array is None or array.size != 1 or array.dtype.kind not in "fiu":
        return None
    return float(array.reshape(-1)[0])


def static_shape(value: ir.Value | None) -> tuple[int, ...] | None:
    """Return a value's shape, or None when it is absent or not static."""
    if value is None or value.shape is None or not value.shape.is_static():
        return None
    return tuple(int(extent) for extent in value.shape.numpy())


def sole_consumer(value: ir.Value) -> ir.Node | None:
    """Return the one node that reads ``value`` once, or None when others do or the value is a graph output."""
    uses = value.uses()
    if len(uses) != 1 or value.is_graph_output():
        return None
    return next(iter(uses)).node


class GraphEditor:
    """Edits one graph in place.

    Attributes:
        origins: Names of constants that hold the numbers of another in another order or place, to the name of that one.
    """

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self.origins: dict[str, str] = {}
        self._names = {value.name for value in self._values() if value.name}

    def _values(self) -> Iterable[ir.Value]:
        yield from self.graph.inputs
        yield from self.graph.initializers.values()
        for node in self.graph:
            yield from node.outputs

    def nodes(self, *op_types: str) -> list[ir.Node]:
        """Return the present nodes of the given operators (all when none is given), in order."""
        return [node for node in self.graph if not op_types or node.op_type in op_types]

    def constant(
        self, base_name: str, array: NDArray[np.generic], *, origin: ir.Value | None = None
    ) -> ir.Value:
        """Add an initializer with a fresh name that starts with ``base_name``; ``origin`` is the constant whose very numbers it holds."""
        name = self.fresh_name(base_name)
        if origin is not None and origin.name:
            self.origins[name] = self.origins.get(origin.name, origin.name)
        tensor = ir.tensor(np.ascontiguousarray(array).reshape(array.shape), name=name)
        value = ir.Value(
            name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor
        )
        self.graph.register_initializer(value)
        return value

    def fresh_name(self, base_name: str) -> str:
        """Reserve a value name that nothing in the graph has."""
        name, number = base_name, 1
        while name in self._names:
            number += 1
            name = f"{base_name}_{number}"
        self._names.add(name)
        return name

    def replace(self, node: ir.Node, new_nodes: Sequence[ir.Node]) -> None:
        """Put ``new_nodes`` where ``node`` is; the last one's first output takes the place and name of ``node``'s first."""
        old, new = node.outputs[0], new_nodes[-1].outputs[0]
        for fresh in new_nodes[:-1]:
            fresh.outputs[0].name = self.fresh_name(f"{old.name}/{fresh.op_type.lower()}")
        new.name, new.shape, new.type = old.name, old.shape, old.type
        self.graph.insert_before(node, new_nodes)
        ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
        self.graph.remove(node, safe=True)

    def bypass(self, node: ir.Node) -> bool:
        """Remove a node whose first output equals its first input.

        Returns:
            False, with nothing changed, when output and input are both at the graph's border, so that one would lose its name.
        """
        source, result = node.inputs[0], node.outputs[0]
        if source is None:
            return False
        if result.is_graph_output():
            if source.is_graph_input() or source.is_initializer() or source.is_graph_output():
                return False
            name = result.name
            ir.convenience.replace_all_uses_with(result, source, replace_graph_outputs=True)
            self.graph.remove(node, safe=True)
            source.name = name
            return True
        ir.convenience.replace_all_uses_with(result, source)
        self.graph.remove(node, safe=True)
        return True

    def drop_unused_initializers(self) -> None:
        """Remove initializers that nothing reads."""
        for name, value in list(self.graph.initializers.items()):
            if not value.uses() and not value.is_graph_output():
                del self.graph.initializers[name]
