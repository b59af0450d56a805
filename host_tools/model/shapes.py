"""Static shapes: fixing the inputs' dynamic axes, inferring everything else, and insisting on the result."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
import onnx_ir as ir

from host_tools.errors import DynamicShapeError, ModelError
from host_tools.model.admission import label
from host_tools.model.graph_editor import static_shape

if TYPE_CHECKING:
    from collections.abc import Mapping

_SMALL_BYTES = (
    1024  # constants up to this size take part in inference; weights are told by type and shape only
)
_NAMELESS = ("", "?")  # the second is what Paddle2ONNX writes for every extent that it does not know


def fix_input_shapes(graph: ir.Graph, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Give every input a static shape, from the model or from ``shapes``, and forget all inferred shapes.

    A symbol that ``shapes`` binds in one input holds for the others too.

    Args:
        graph: Changed in place.
        shapes: Input name to extents, each at least 1.

    Raises:
        ModelError: ``shapes`` names no input, or contradicts the model's rank or fixed extents.
        DynamicShapeError: An axis stays unknown; names input and axis.
    """
    inputs = {str(value.name): value for value in graph.inputs}
    for name in shapes:
        if name not in inputs:
            raise ModelError(
                f"--shape names {name!r}, which is no input.", hint=f"Inputs are: {', '.join(inputs)}."
            )
    bound: dict[str, int] = {}
    for name, shape in shapes.items():
        _bind(inputs[name], shape, bound)
    for value in graph.inputs:
        value.shape = ir.Shape(_static_extents(value, shapes.get(str(value.name)), bound))
    forget_inferred(graph)


def forget_inferred(graph: ir.Graph) -> None:
    """Drop shapes of everything computed, so that inference starts from the inputs and never meets a stale claim."""
    for node in graph:
        for value in node.outputs:
            value.shape = None


def _bind(value: ir.Value, shape: tuple[int, ...], bound: dict[str, int]) -> None:
    if any(extent < 1 for extent in shape):
        raise ModelError(f"--shape {value.name}={_text(shape)}: every extent must be at least 1.")
    if value.shape is None:
        return
    if len(value.shape) != len(shape):
        raise ModelError(
            f"--shape {value.name}={_text(shape)} has rank {len(shape)}, the model's input has rank {len(value.shape)}: "
            f"{value.shape}."
        )
    for axis, (known, extent) in enumerate(zip(value.shape, shape, strict=True)):
        if isinstance(known, int):
            if known != extent and known > 0:
                raise ModelError(
                    f"--shape {value.name}={_text(shape)}: axis {axis} is fixed to {known} in the model."
                )
        elif (symbol := _symbol(known)) is not None and bound.setdefault(symbol, extent) != extent:
            raise ModelError(
                f"--shape {value.name}={_text(shape)}: axis {axis} is {symbol!r}, already fixed to {bound[symbol]}."
            )


def _symbol(extent: ir.SymbolicDim) -> str | None:
    """Return the name by which an unknown extent is the same as others; None where it is like no other."""
    name = None if extent.value is None else str(extent.value)
    return None if name in _NAMELESS else name


def _static_extents(
    value: ir.Value, given: tuple[int, ...] | None, bound: Mapping[str, int]
) -> tuple[int, ...]:
    if given is not None:
        return given
    if value.shape is None:
        raise DynamicShapeError(
            f"Input {value.name!r} has no shape.",
            hint=f"Fix it with --shape {value.name}=1,3,224,224 (its own extents).",
        )
    extents: list[int] = []
    for axis, extent in enumerate(value.shape):
        known = extent if isinstance(extent, int) else bound.get(_symbol(extent) or "")
        if known is None or known < 1:
            raise DynamicShapeError(_dynamic_axis(value, axis), hint=_shape_hint(value))
        extents.append(known)
    return tuple(extents)


def _dynamic_axis(value: ir.Value, axis: int) -> str:
    shape = value.shape if value.shape is not None else ()
    extent = list(shape)[axis]
    what = (
        "has extent 0"
        if isinstance(extent, int)
        else "is dynamic"
        if extent.value is None
        else f"is dynamic ({extent.value})"
    )
    return f"Input {value.name!r}: axis {axis} {what}."


def _shape_hint(value: ir.Value) -> str:
    shape = value.shape if value.shape is not None else ()
    guess = ",".join(str(extent) if isinstance(extent, int) and extent > 0 else "1" for extent in shape)
    return f"Fix it with --shape {value.name}={guess} (put your extents)."


def _text(shape: tuple[int, ...]) -> str:
    return ",".join(str(extent) for extent in shape)


def skeleton(model: ir.Model) -> onnx.ModelProto:
    """Serialize the model with large constants as mere inputs: enough for shape inference and checks, however big the weights."""
    light = model.clone()
    for name, value in list(light.graph.initializers.items()):
        if value.const_value is not None and value.const_value.nbytes > _SMALL_BYTES:
            del light.graph.initializers[name]
            value.const_value = None
            light.graph.inputs.append(value)
    return ir.to_proto(light)


def infer_shapes(model: ir.Model) -> None:
    """Infer types and shapes of all values from the inputs.

    Raises:
        ModelError: The graph contradicts itself.
    """
    try:
        inferred = onnx.shape_inference.infer_shapes(
            skeleton(model), check_type=True, strict_mode=True, data_prop=True
        )
    except (onnx.shape_inference.InferenceError, RuntimeError) as error:
        raise ModelError(f"Shapes do not fit together: {str(error).strip()}") from error
    known = {info.name: info.type for info in (*inferred.graph.value_info, *inferred.graph.output)}
    for node in model.graph:
        for value in node.outputs:
            proto = known.get(str(value.name))
            if proto is not None:
                value.type = ir.serde.deserialize_type_proto_for_type(proto)
                value.shape = ir.serde.deserialize_type_proto_for_shape(proto)


def require_static(graph: ir.Graph) -> None:
    """Insist that every computed value has a type and a static, non-empty shape.

    Raises:
        DynamicShapeError: Names value and node.
    """
    for node in graph:
        for value in node.outputs:
            if not value.name:
                continue
            shape = static_shape(value)
            if shape is None or value.dtype is None:
                raise DynamicShapeError(
                    f"The shape of {value.name!r}, output of {label(node)}, depends on the data: {value.shape}.",
                    hint="Export the model with fixed shapes; operators such as NonZero and NonMaxSuppression must stay outside.",
                )
            if 0 in shape:
                raise ModelError(f"{value.name!r}, output of {label(node)}, is empty: shape {_text(shape)}.")
