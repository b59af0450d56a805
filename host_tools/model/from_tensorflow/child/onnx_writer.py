"""A `Computation` becomes an ONNX file by tf2onnx; what tf2onnx has no word for is refused by name."""

from __future__ import annotations

import logging
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import tensorflow as tf
import tf2onnx.convert

from host_tools.model.from_tensorflow.child.refusal import Refusal, cause

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from host_tools.model.from_tensorflow.child.computation import Computation

_OPSET = 15  # the one that tf2onnx itself prefers and tests most; the loader takes it on from there
_SHOWN = 3


def write_onnx(computation: Computation, path: Path, *, shapes: Mapping[str, list[int]]) -> dict[str, str]:
    """Trace, freeze, convert and write.

    Args:
        computation: What is traced.
        path: Where the ONNX file goes.
        shapes: Shapes that the user fixed, by input name; what does not fit is left open, and told when the ONNX file is read.

    Returns:
        The packages that did it: version by name.

    Raises:
        Refusal: It cannot be traced, tf2onnx fails on it, or an operator has no counterpart in ONNX.
    """
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    logging.getLogger("tensorflow").setLevel(logging.CRITICAL)
    specs = tuple(_fixed(spec, shapes.get(spec.name)) for spec in computation.specs)
    try:
        traced = tf.function(computation.call, input_signature=specs, autograph=False)
        proto, _ = tf2onnx.convert.from_function(
            traced, input_signature=specs, opset=_OPSET, custom_op_handlers={"Erfc": (_write_erfc, [])}
        )
        _bind_captured(proto, traced.get_concrete_function(*specs))
    except Exception as error:  # tf2onnx raises what it likes; the user needs the next step
        raise Refusal(
            f"tf2onnx {version('tf2onnx')} could not turn it into ONNX ({cause(error)}).",
            hint="Export the part that is to run on the device, or give the model as ONNX.",
        ) from error
    _require_known(proto)
    _put_in_order(proto, computation.outputs)
    proto.producer_name, proto.producer_version = "tf2onnx", version("tf2onnx")
    path.write_bytes(proto.SerializeToString())
    return {"tensorflow": tf.__version__, "tf2onnx": version("tf2onnx")}


def _fixed(spec: Any, shape: list[int] | None) -> Any:
    if shape is None or not spec.shape.is_compatible_with(shape):
        return spec
    return tf.TensorSpec(shape, spec.dtype, name=spec.name)


def _write_erfc(graph: Any, node: Any, _name: str, _arguments: object) -> None:
    """Write Erfc, which Keras' exact Gelu is made of, as 1 - Erf: ONNX has no other."""
    shapes, dtypes = node.output_shapes, node.output_dtypes
    source, outputs = node.input[0], list(node.output)
    graph.remove_node(node.name)
    erf = graph.make_node("Erf", [source], shapes=shapes, dtypes=dtypes).output[0]
    one = graph.make_const(
        f"{node.name}_one", np.ones((), onnx.helper.tensor_dtype_to_np_dtype(dtypes[0]))
    ).output[0]
    graph.make_node("Sub", [one, erf], outputs=outputs, name=node.name, shapes=shapes, dtypes=dtypes)


def _bind_captured(proto: Any, concrete: Any) -> None:
    """Give the numbers that the function holds on to, and that are no variables, their values: tf2onnx makes inputs of them."""
    captured = {inner.name: outer for outer, inner in concrete.graph.captures if inner.dtype != tf.resource}
    for value in [one for one in proto.graph.input if one.name in captured]:
        proto.graph.initializer.append(
            onnx.numpy_helper.from_array(np.asarray(captured[value.name]), value.name)
        )
        proto.graph.input.remove(value)


def _put_in_order(proto: Any, names: tuple[str, ...]) -> None:
    """Bring the outputs into the model's order: TensorFlow sorts them by name."""
    by_name = {output.name: output for output in proto.graph.output}
    ordered = [by_name[name] for name in names if name in by_name]
    if len(ordered) == len(by_name):
        del proto.graph.output[:]
        proto.graph.output.extend(ordered)


def _require_known(proto: Any) -> None:
    unknown = [
        node
        for node in proto.graph.node
        if node.domain in ("", "ai.onnx") and not onnx.defs.has(node.op_type)
    ]
    if unknown:
        kinds = sorted({node.op_type for node in unknown})
        more = f" and {len(kinds) - _SHOWN} more" if len(kinds) > _SHOWN else ""
        raise Refusal(
            f"TensorFlow's {', '.join(kinds[:_SHOWN])}{more} ({unknown[0].name!r}) has no counterpart in ONNX.",
            hint="Leave it out of what is exported, or write it in operators that both have.",
            code="unsupported_operator",
        )
