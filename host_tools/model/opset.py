"""Bring a model of any readable opset to one that every later step and every engine knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
import onnx_ir as ir
from onnx import inliner, version_converter

from host_tools.errors import ModelError, UnsupportedOperatorError
from host_tools.model.old_operators import tell_pixels, write_out_matrices

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LOWEST_READ = 7
LOWEST, HIGHEST = 18, 21
_IR_VERSION = 10  # the newest that every supported ONNX Runtime reads (1.18), and right for opset 21
_DEEPEST = 8  # functions within functions; ONNX's own are two deep


def declared_opset(model: ir.Model) -> int:
    """Return the opset of ONNX's own operators.

    Raises:
        ModelError: None is declared.
    """
    imports = model.graph.opset_imports
    declared = imports.get("", imports.get("ai.onnx"))
    if declared is None:
        raise ModelError("The model declares no opset of the default ONNX domain.", hint="Export it again.")
    return declared


def require_one_opset(model: ir.Model) -> None:
    """Insist that functions mean by ONNX's operators what the graph means: their bodies are put into it.

    Raises:
        UnsupportedOperatorError: One is of another opset.
        ModelError: The model declares none.
    """
    declared = declared_opset(model)
    for function in model.functions.values():
        own = function.opset_imports.get("", declared)
        if own != declared:
            raise UnsupportedOperatorError(
                f"The function {function.domain}::{function.name} is of opset {own}, the model of {declared}.",
                hint="Inline it first: onnx.inliner.inline_local_functions(model, convert_version=True).",
            )


def normalise_opset(model: ir.Model) -> str | None:
    """Convert the default domain to opset 18 to 21 in place; other domains' imports go.

    Operators that came with a later opset and are functions (Attention, RMSNormalization, RotaryEmbedding, Swish) become their bodies.

    Returns:
        A note when the model was converted.

    Raises:
        ModelError: Opset below 7, or none declared.
        UnsupportedOperatorError: The converter cannot carry an operator over; its message is passed on.
    """
    imports = model.graph.opset_imports
    declared = declared_opset(model)
    if declared < LOWEST_READ:
        raise ModelError(
            f"The model is of opset {declared}; at least {LOWEST_READ} is needed.",
            hint="Export it again with opset 18.",
        )
    imports.clear()
    imports[""] = declared
    model.ir_version = _IR_VERSION
    if LOWEST <= declared <= HIGHEST:
        return None
    target = LOWEST if declared < LOWEST else HIGHEST
    written_out = _convert(model, declared, target)
    note = f"Converted from opset {declared} to {target}."
    return f"{note} Written out: {', '.join(written_out)}." if written_out else note


def _convert(model: ir.Model, declared: int, target: int) -> tuple[str, ...]:
    """Convert in place; returns the operators that became their bodies."""
    written_out: tuple[str, ...] = ()
    try:
        proto = ir.to_proto(model)
        write_out_matrices(proto.graph, declared)
        if declared > target:
            proto, written_out = _with_bodies(proto)
        converted = ir.from_proto(_converted(proto, declared, target))
    except (RuntimeError, ValueError, version_converter.ConvertError, onnx.checker.ValidationError) as error:
        raise UnsupportedOperatorError(
            f"The model cannot be taken from opset {declared} to {target}: {str(error).strip()}",
            hint=f"Export it with an opset of {LOWEST} to {HIGHEST}.",
        ) from error
    reached = converted.graph.opset_imports.get("", 0)
    if reached != target:
        raise ModelError(f"The conversion from opset {declared} stopped at {reached} instead of {target}.")
    model.graph = converted.graph
    model.ir_version = _IR_VERSION
    tell_pixels(model.graph, declared)
    return written_out


def _with_bodies(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """Write out the operators that opset `HIGHEST` lacks, as far as the `onnx` package has bodies for them."""
    met: dict[str, None] = {}
    for _ in range(_DEEPEST):
        later = [op_type for op_type in _op_types(proto.graph) if _is_later_function(op_type)]
        if not later:
            break
        proto = _with_defaults(proto, later)
        inlined = inliner.inline_selected_functions(
            proto, [("", op_type) for op_type in later], inline_schema_functions=True
        )
        if _op_types(inlined.graph) == _op_types(proto.graph):  # a body that depends on what is not known
            break
        proto = inlined
        met.update(dict.fromkeys(later))
    return proto, tuple(met)


def _with_defaults(proto: onnx.ModelProto, op_types: Sequence[str]) -> onnx.ModelProto:
    """Return a copy in which nodes of these operators name the attributes that they leave to their defaults: a body refers to them."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for node in _nodes(copy.graph):
        if node.op_type in op_types:
            named = {attribute.name for attribute in node.attribute}
            defaults = onnx.defs.get_schema(node.op_type).attributes
            node.attribute.extend(
                one.default_value
                for name, one in defaults.items()
                if name not in named and one.default_value.name
            )
    return copy


def _op_types(graph: onnx.GraphProto) -> tuple[str, ...]:
    """Return the operators of a graph and of the graphs in it, each once."""
    return tuple(dict.fromkeys(node.op_type for node in _nodes(graph)))


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yield the nodes of ONNX's own domain, with those of the graphs in them."""
    for node in graph.node:
        if node.domain in ("", "ai.onnx"):
            yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)


def _is_later_function(op_type: str) -> bool:
    if onnx.defs.has(op_type, HIGHEST) or not onnx.defs.has(op_type):
        return False
    schema = onnx.defs.get_schema(op_type)
    return bool(schema.has_function or schema.has_context_dependent_function)  # type: ignore[attr-defined]  # its stub is behind


def _converted(proto: onnx.ModelProto, declared: int, target: int) -> onnx.ModelProto:
    """Convert, or relabel where the converter has no rule and none is needed."""
    try:
        return version_converter.convert_version(proto, target)
    except (RuntimeError, version_converter.ConvertError):
        if not all(_means_the_same(op_type, declared, target) for op_type in _op_types(proto.graph)):
            raise
    relabelled = onnx.ModelProto()
    relabelled.CopyFrom(proto)
    for entry in relabelled.opset_import:
        entry.version = target
    onnx.shape_inference.infer_shapes(
        relabelled, check_type=True, strict_mode=True
    )  # refuses types that came later
    return relabelled


def _means_the_same(op_type: str, a: int, b: int) -> bool:
    """Whether an operator differs in types alone between two opsets: inputs, outputs, attributes and their defaults are the same."""
    if not (onnx.defs.has(op_type, a) and onnx.defs.has(op_type, b)):
        return False
    return _signature(onnx.defs.get_schema(op_type, a)) == _signature(onnx.defs.get_schema(op_type, b))


def _signature(schema: onnx.defs.OpSchema) -> tuple[object, ...]:
    return (
        [(one.name, one.option) for one in (*schema.inputs, *schema.outputs)],
        {name: (one.type, one.default_value.SerializeToString()) for name, one in schema.attributes.items()},
    )
