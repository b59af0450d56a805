"""What OpenVINO's ONNX reader takes without a word and computes otherwise: refused by name, so that no wrong file is written.

Source: the ``onnx`` package's node tests (`tests/conformance`) on OpenVINO 2026.4.1; each of these came out with other numbers or shapes.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from host_tools.errors import LoweringError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import onnx_ir as ir


_PEEPHOLES = 7
"""The input of LSTM; GRU and RNN have six."""


def require_read_right(graph: ir.Graph) -> None:
    """Refuse nodes that OpenVINO reads wrongly.

    Raises:
        LoweringError: Names node, reason and cure.
    """
    for node in graph:
        find = _MISREAD.get(node.op_type)
        found = None if find is None or node.domain not in ("", "ai.onnx") else find(node)
        if found is not None:
            what, cure = found
            raise LoweringError(
                f"{node.op_type} {node.name!r}: {what}, which OpenVINO reads without a word and computes otherwise.",
                hint=cure,
            )


def _resize(node: ir.Node) -> tuple[str, str] | None:
    cure = "Export the model without it, or choose a target of another format."
    if node.attributes.get_int("antialias", 0):
        return "antialias = 1", cure
    if node.attributes.get_int("exclude_outside", 0):
        return "exclude_outside = 1", cure
    policy = node.attributes.get_string("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch":
        return f"keep_aspect_ratio_policy = {policy!r}", "Export the model with the sizes that come out."
    return None


def _roi_align(node: ir.Node) -> tuple[str, str] | None:
    if node.attributes.get_string("mode", "avg") != "max":
        return None
    return "mode = 'max'", "Use mode 'avg', or choose a target of another format."


def _recurrent(node: ir.Node) -> tuple[str, str] | None:
    if len(node.inputs) > _PEEPHOLES and node.inputs[_PEEPHOLES] is not None:
        return (
            "peepholes (input P)",
            "Export the model without peepholes, or choose a target of another format.",
        )
    if not node.attributes.get_int("layout", 0):
        return None
    return "layout = 1 (batch first)", "Export the model with layout = 0 and a Transpose on either side."


def _fourier(node: ir.Node) -> tuple[str, str] | None:
    return (
        f"{node.op_type} along an axis",
        "Compute the spectrum before the model, or choose a target of another format.",
    )


_MISREAD: Mapping[str, Callable[[ir.Node], tuple[str, str] | None]] = MappingProxyType(
    {
        "DFT": _fourier,
        "GRU": _recurrent,
        "LSTM": _recurrent,
        "RNN": _recurrent,
        "Resize": _resize,
        "RoiAlign": _roi_align,
    }
)
