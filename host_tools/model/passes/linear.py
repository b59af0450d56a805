"""Gemm and MatMul become the canonical Gemm: transA=0, transB=1, alpha=beta=1, constant weight (outputs, inputs), bias (outputs,)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from host_tools.model.graph_editor import constant_of, static_shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from host_tools.model.graph_editor import GraphEditor

GEMM_ATTRIBUTES = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 1}


def canonical_linear(editor: GraphEditor) -> str | None:
    """Rewrite every Gemm, and every MatMul of a rank-2 input with a rank-2 constant.

    A Gemm whose second factor is computed becomes MatMul with what alpha, beta and the transpositions ask for around it.

    Returns:
        A note with the count of MatMul that became Gemm, or None.
    """
    count = 0
    for node in editor.nodes("MatMul"):
        _write_vectors_as_matrices(editor, node)
    for node in editor.nodes("MatMul"):
        count += _gemm_from_matmul(editor, node)
    for node in editor.nodes("Gemm"):
        weight = constant_of(node.inputs[1])
        if weight is None:
            _spell_out(editor, node)
        else:
            _canonical_gemm(editor, node, weight)
    return f"Wrote {count} MatMul with constant weights as Gemm." if count else None


def _write_vectors_as_matrices(editor: GraphEditor, node: ir.Node) -> None:
    """Write a MatMul with a vector as one with a matrix of one row (left) or column (right), whose axis is taken away behind it."""
    ranks = [None if shape is None else len(shape) for shape in map(static_shape, node.inputs)]
    if 1 not in ranks:
        return
    nodes: list[ir.Node] = []
    factors: list[ir.Value | None] = []
    for value, rank, axis in zip(node.inputs, ranks, (0, 1), strict=True):
        array = constant_of(value)
        if rank != 1:
            factors.append(value)
        elif array is not None:
            factors.append(editor.constant(f"{node.name or 'matmul'}/matrix", np.expand_dims(array, axis)))
        else:
            nodes.append(ir.node("Unsqueeze", [value, editor.constant("axis", np.asarray([axis], np.int64))]))
            factors.append(nodes[-1].outputs[0])
            extent = (static_shape(value) or ())[
                0
            ]  # known before shapes are inferred anew: it may be a Gemm's input
            nodes[-1].outputs[0].shape = ir.Shape((1, extent) if axis == 0 else (extent, 1))
            nodes[-1].outputs[0].type = value.type if value is not None else None
    nodes.append(ir.node("MatMul", factors, name=node.name))
    added = [axis for rank, axis in zip(ranks, (-2, -1), strict=True) if rank == 1]
    axes = editor.constant("axes", np.asarray(added, np.int64))
    nodes.append(ir.node("Squeeze", [nodes[-1].outputs[0], axes]))
    editor.replace(node, nodes)


def _gemm_from_matmul(editor: GraphEditor, node: ir.Node) -> bool:
    weight, shape = constant_of(node.inputs[1]), static_shape(node.inputs[0])
    if weight is None or weight.ndim != 2 or shape is None or len(shape) != 2 or weight.dtype != np.float32:
        return False
    value = editor.constant(
        f"{node.inputs[1].name}_t" if node.inputs[1] else "weight", weight.T, origin=node.inputs[1]
    )
    editor.replace(node, [ir.node("Gemm", [node.inputs[0], value], GEMM_ATTRIBUTES, name=node.name)])
    return True


def _factors(node: ir.Node) -> tuple[float, float, bool, bool]:
    attributes = node.attributes
    return (
        attributes.get_float("alpha", 1.0),
        attributes.get_float("beta", 1.0),
        bool(attributes.get_int("transA", 0)),
        bool(attributes.get_int("transB", 0)),
    )


def _canonical_gemm(editor: GraphEditor, node: ir.Node, weight: NDArray[np.generic]) -> None:
    alpha, beta, trans_a, trans_b = _factors(node)
    addend = node.inputs[2] if len(node.inputs) > 2 else None
    bias = _vector_bias(addend, weight.shape[0] if trans_b else weight.shape[1], beta)
    if (alpha, trans_a, trans_b) == (1.0, False, True) and (
        addend is None or (beta == 1.0 and _is_vector(addend))
    ):
        node.attributes.clear()
        node.attributes.update(
            {attr.name: attr for attr in ir.convenience.convert_attributes(GEMM_ATTRIBUTES)}
        )
        return
    nodes: list[ir.Node] = []
    data = node.inputs[0]
    if trans_a:
        nodes.append(ir.node("Transpose", [data], {"perm": [1, 0]}))
        data = nodes[-1].outputs[0]
    matrix = weight if trans_b else weight.T
    scaled = (np.asarray(matrix, dtype=np.float64) * alpha).astype(np.float32)
    same = node.inputs[1] if alpha == 1.0 else None
    inputs = [data, editor.constant(f"{node.name or 'gemm'}/weight", scaled, origin=same)]
    if bias is not None:
        same = addend if beta == 1.0 else None
        inputs.append(editor.constant(f"{node.name or 'gemm'}/bias", bias, origin=same))
    nodes.append(ir.node("Gemm", inputs, GEMM_ATTRIBUTES, name=node.name))
    if addend is not None and bias is None:
        nodes.extend(_added(editor, nodes[-1].outputs[0], addend, beta))
    editor.replace(node, nodes)


def _is_vector(addend: ir.Value) -> bool:
    array = constant_of(addend)
    return array is not None and array.ndim == 1 and array.size > 1


def _vector_bias(addend: ir.Value | None, outputs: int, beta: float) -> NDArray[np.float32] | None:
    """Return the addend as a (outputs,) vector, or None when it is absent, computed, or differs from row to row."""
    array = constant_of(addend)
    if (
        array is None
        or (array.ndim == 2 and array.shape[0] != 1)
        or array.shape[-1:] not in ((), (1,), (outputs,))
    ):
        return None
    vector = np.broadcast_to(np.asarray(array, dtype=np.float64).reshape(-1), (outputs,))
    return np.asarray(vector * beta, dtype=np.float32)


def _added(editor: GraphEditor, data: ir.Value, addend: ir.Value, beta: float) -> list[ir.Node]:
    if beta == 1.0:
        return [ir.node("Add", [data, addend])]
    array = constant_of(addend)
    if array is not None:
        product = (np.asarray(array, dtype=np.float64) * beta).astype(np.float32)
        return [ir.node("Add", [data, editor.constant("gemm/addend", product)])]
    scaled = ir.node("Mul", [addend, editor.constant("gemm/beta", np.asarray(beta, dtype=np.float32))])
    return [scaled, ir.node("Add", [data, scaled.outputs[0]])]


def _spell_out(editor: GraphEditor, node: ir.Node) -> None:
    alpha, beta, trans_a, trans_b = _factors(node)
    nodes: list[ir.Node] = []
    factors: list[ir.Value | None] = []
    for value, transposed in ((node.inputs[0], trans_a), (node.inputs[1], trans_b)):
        if transposed:
            nodes.append(ir.node("Transpose", [value], {"perm": [1, 0]}))
        factors.append(nodes[-1].outputs[0] if transposed else value)
    nodes.append(ir.node("MatMul", factors, name=node.name))
    if alpha != 1.0:
        factor = editor.constant("gemm/alpha", np.asarray(alpha, dtype=np.float32))
        nodes.append(ir.node("Mul", [nodes[-1].outputs[0], factor]))
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        nodes.extend(_added(editor, nodes[-1].outputs[0], node.inputs[2], beta))
    editor.replace(node, nodes)
