"""Bringing a model to an opset of 18 to 21, with ONNX's own version converter."""

from __future__ import annotations

import onnx
import onnx_ir as ir
from onnx import version_converter

from host_tools.errors import ModelError, UnsupportedOperatorError

LOWEST_READ = 7
LOWEST, HIGHEST = 18, 21
_IR_VERSION = 10  # the newest that every supported ONNX Runtime reads (1.18), and right for opset 21


def normalise_opset(model: ir.Model) -> str | None:
    """Convert the default domain to opset 18 to 21 in place; other domains' imports go.

    Returns:
        A note when the model was converted.

    Raises:
        ModelError: Opset below 7, or none declared.
        UnsupportedOperatorError: The converter cannot carry an operator over; its message is passed on.
    """
    imports = model.graph.opset_imports
    declared = imports.get("", imports.get("ai.onnx"))
    if declared is None:
        raise ModelError("The model declares no opset of the default ONNX domain.", hint="Export it again.")
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
    _convert(model, declared, target)
    return f"Converted from opset {declared} to {target}."


def _convert(model: ir.Model, declared: int, target: int) -> None:
    try:
        proto = ir.to_proto(model)
        converted = ir.from_proto(version_converter.convert_version(proto, target))
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
