"""Products with a constant in front of matrices: a place for factors where nothing that stands before takes them up."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from host_tools.model.graph_editor import GraphEditor
from host_tools.model.topology import named

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from host_tools.model.float_model import FloatModel
    from host_tools.reconstruct.stored_matrices import StoredMatrix


def with_products(
    model: FloatModel, matrices: Sequence[StoredMatrix]
) -> tuple[FloatModel, Mapping[str, str]]:
    """Return a model in which matrices read by way of a product with ones, one product for all that read the same value.

    Args:
        model: The canonical model; not changed.
        matrices: The matrices; whatever else reads the same values goes on reading them as they are.

    Returns:
        The model, canonical too and with a digest of its own, and the name of each product's output by what it reads.
    """
    graph = model.graph.clone()
    editor = GraphEditor(graph.graph)
    nodes = {named(node): node for node in graph.graph}
    products: dict[str, ir.Value] = {}
    for matrix in matrices:
        node = nodes[matrix.node]
        value = node.inputs[0]
        if value is None:
            continue
        if matrix.read not in products:
            product = _product(editor, value, matrix.length, taken=nodes)
            graph.graph.insert_before(node, product)
            products[matrix.read] = product.outputs[0]
        node.replace_input_with(0, products[matrix.read])
    digest = hashlib.sha256("\n".join([model.digest, "products", *products]).encode())
    made = dataclasses.replace(model, graph=graph, digest=f"sha256:{digest.hexdigest()}")
    return made, {read: named(output) for read, output in products.items()}


def remove_products(graph: ir.Graph, outputs: Collection[str]) -> None:
    """Take products with ones out of a graph again, in place, by the names of their outputs."""
    editor = GraphEditor(graph)
    for node in editor.nodes("Mul"):
        if named(node.outputs[0]) in outputs:
            editor.bypass(node)
    editor.drop_unused_initializers()


def _product(editor: GraphEditor, value: ir.Value, length: int, *, taken: Collection[str]) -> ir.Node:
    """Return the product of a value with one number a channel, all of them 1, in no graph yet."""
    name = editor.fresh_name(f"{named(value)}/scaled")
    while name in taken:
        name = editor.fresh_name(f"{name}_")
    factor = editor.constant(f"{name}/factor", np.ones(length, np.float32))
    result = ir.Value(name=name, shape=value.shape, type=value.type)
    return ir.Node("", "Mul", [value, factor], outputs=[result], name=name)
