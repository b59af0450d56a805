"""A `Computation` becomes an ONNX file by tf2onnx; what tf2onnx has no word for is refused by name."""

from __future__ import annotations

import logging
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import onnx
import tensorflow as tf
import tf2onnx.convert

from host_tools.model.from_tensorflow.child.refusal import Refusal, cause

if TYPE_CHECKING:
    from pathlib import Path

    from host_tools.model.from_tensorflow.child.computation import Computation

_OPSET = 15  # the one that tf2onnx itself prefers and tests most; the loader takes it on from there
_SHOWN = 3


def write_onnx(computation: Computation, path: Path) -> dict[str, str]:
    """Trace, freeze, convert and write.

    Returns:
        The packages that did it: version by name.

    Raises:
        Refusal: It cannot be traced, tf2onnx fails on it, or an operator has no counterpart in ONNX.
    """
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    logging.getLogger("tensorflow").setLevel(logging.CRITICAL)
    try:
        traced = tf.function(computation.call, input_signature=computation.specs, autograph=False)
        proto, _ = tf2onnx.convert.from_function(traced, input_signature=computation.specs, opset=_OPSET)
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
