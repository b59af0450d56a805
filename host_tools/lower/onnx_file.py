"""Bring a graph to the opset that a target reads, and write it: the same graph gives the same bytes, and they are valid ONNX."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import onnx
import onnx_ir as ir

from host_tools.errors import LoweringError

if TYPE_CHECKING:
    from collections.abc import Mapping

LOWEST_OPSET: Final = 13
"""Per-channel QuantizeLinear and DequantizeLinear came with it."""

_IR_VERSIONS: Final[Mapping[int, int]] = {13: 7, 14: 7, 15: 8, 16: 8, 17: 8, 18: 8, 19: 9, 20: 9, 21: 10}
"""The IR version that was published with each opset: the lowest that may carry it, so the oldest readers accept the file.

Source: ONNX ``docs/Versioning.md``, "Released Versions".
"""

_LATER_ATTRIBUTES: Final[Mapping[str, Mapping[str, tuple[int, object]]]] = {
    "AveragePool": {"dilations": (19, 1)},
    "ReduceMean": {"noop_with_empty_axes": (18, 0)},
    "Reshape": {"allowzero": (14, 0)},
    "Resize": {"antialias": (18, 0), "keep_aspect_ratio_policy": (18, "stretch"), "axes": (18, None)},
}
"""Attributes that an opset added, with the value that says the same as their absence (for a list: each of its entries)."""

_AXES_BECAME_INPUT: Final = (
    18  # of ReduceMean and Pad; the attribute num_outputs of Split came with the same opset
)


def onnx_bytes(graph: ir.Graph, *, opset: int) -> bytes:
    """Return the file's bytes.

    Args:
        graph: A graph of opset 18 to 21, which is changed in place.
        opset: The opset to write, 13 to 21. Operators of the canonical form mean the same from 18 to 21; below, attributes are moved
            back to where they were.

    Raises:
        LoweringError: The opset cannot express a node, or the graph is not valid ONNX; the message names the node where there is one.
    """
    if opset not in _IR_VERSIONS:
        raise LoweringError(
            f"The profile asks for opset {opset}; expected {LOWEST_OPSET} to {max(_IR_VERSIONS)}."
        )
    for node in graph:
        _express(node, opset)
    for name in [
        name for name, value in graph.initializers.items() if not value.uses() and not value.is_graph_output()
    ]:
        del graph.initializers[name]
    graph.opset_imports[""] = opset
    proto = ir.to_proto(ir.Model(graph, ir_version=_IR_VERSIONS[opset], producer_name="edgewright"))
    try:
        data: bytes = proto.SerializeToString(deterministic=True)
        del proto  # as large as the bytes, of which the checker makes its own
        onnx.checker.check_model(data, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        raise LoweringError(f"The graph is not valid ONNX of opset {opset}: {str(error).strip()}") from error
    return data


def _express(node: ir.Node, opset: int) -> None:
    """Rewrite what this opset does not have yet, or refuse."""
    if node.op_type == "HardSwish" and opset < 14:
        raise _unexpressible(node, opset, "the operator came with opset 14")
    for attribute, (since, absence) in _LATER_ATTRIBUTES.get(node.op_type, {}).items():
        if opset < since and attribute in node.attributes:
            value = node.attributes[attribute].value
            entries = value if isinstance(value, (list, tuple)) else [value]
            if any(entry != absence for entry in entries):
                raise _unexpressible(node, opset, f"{attribute} = {value!r} came with opset {since}")
            del node.attributes[attribute]
    if opset >= _AXES_BECAME_INPUT:
        return
    if node.op_type == "ReduceMean":
        _axes_as_attribute(node, opset)
    elif node.op_type == "Split":
        node.attributes.pop("num_outputs", None)
    elif node.op_type == "Pad" and len(node.inputs) > 3 and node.inputs[3] is not None:
        raise _unexpressible(node, opset, "axes of Pad came with opset 18")


def _axes_as_attribute(node: ir.Node, opset: int) -> None:
    axes = node.inputs[1] if len(node.inputs) > 1 else None
    if axes is None:
        return
    if axes.const_value is None:
        raise _unexpressible(node, opset, "axes that are not constant came with opset 18")
    node.attributes["axes"] = ir.AttrInt64s("axes", axes.const_value.numpy().reshape(-1).tolist())
    node.replace_input_with(1, None)
    node.resize_inputs(1)


def _unexpressible(node: ir.Node, opset: int, reason: str) -> LoweringError:
    return LoweringError(
        f"{node.op_type} {node.name!r} cannot be written in opset {opset}: {reason}.",
        hint="Choose a target that reads a newer opset.",
    )
