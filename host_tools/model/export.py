"""A canonical model as ONNX bytes, for engines that read ONNX."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_ir as ir

from host_tools.errors import ModelError

if TYPE_CHECKING:
    from host_tools.model.float_model import FloatModel

_PROTOBUF_LIMIT_BYTES = (1 << 31) - 1


def export_onnx(model: FloatModel) -> bytes:
    """Serialize the canonical graph.

    Raises:
        ModelError: The weights exceed protobuf's limit of 2 GiB in one message.
    """
    return serialize(model.graph)


def serialize(graph: ir.Model) -> bytes:
    """Serialize an `onnx_ir` model, refusing what protobuf cannot hold.

    Raises:
        ModelError: As for `export_onnx`, or a name or text is none that protobuf can hold.
    """
    weights = sum(
        value.const_value.nbytes for value in graph.graph.initializers.values() if value.const_value
    )
    if weights >= _PROTOBUF_LIMIT_BYTES:
        raise ModelError(
            f"The model has {weights / (1 << 30):.1f} GiB of weights; at most 2 GiB fit into one ONNX file.",
            hint="Split the model, or store fewer weights.",
        )
    try:
        return bytes(ir.to_proto(graph).SerializeToString())
    except Exception as error:  # onnx_ir and protobuf have errors of their own, below no common one
        raise ModelError(f"The model cannot be serialized: {error}.") from error
