"""Resize: RESIZE_BILINEAR and RESIZE_NEAREST_NEIGHBOR, chosen by comparing where each output element reads.

ONNX and TFLite name their coordinate rules differently and agree only for some sizes. So the source positions of every output
element are computed under ONNX's rule and under each of TFLite's, and a TFLite rule is taken when all positions are the same.

Sources: ONNX operator Resize; tflite/kernels/internal/reference/resize_nearest_neighbor.h and resize_bilinear.h.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from host_tools.lower.tflite.emit import spatial
from host_tools.lower.tflite.graph import Options
from host_tools.lower.tflite.layout import shape_of
from host_tools.lower.tflite.plan_view import has_input, refuse

if TYPE_CHECKING:
    import onnx_ir as ir
    from numpy.typing import NDArray

    from host_tools.lower.tflite.session import Session

    Positions = NDArray[np.float64]

_RULES: tuple[dict[str, bool], ...] = ({}, {"halfPixelCenters": True}, {"alignCorners": True})
"""TFLite's coordinate rules, as option fields."""


def resize(session: Session, node: ir.Node) -> None:
    """Write a Resize of the spatial axes.

    Raises:
        LoweringError: The mode, coordinate rule or axes are not ones that TFLite has for these sizes.
    """
    mode = node.attributes.get_string("mode", "nearest")
    if mode not in {"nearest", "linear"}:
        raise refuse(node, f"mode {mode!r}; TFLite resizes by nearest and linear only.")
    if node.attributes.get_int("antialias", 0):
        raise refuse(
            node, "antialias = 1; TFLite's kernels do not low-pass.", hint="Resize before the model."
        )
    value = node.inputs[0]
    before, after = shape_of(value) if value is not None else (), shape_of(node.outputs[0])
    if before[:2] != after[:2]:
        raise refuse(
            node,
            f"resizes batch or channels ({list(before)} to {list(after)}); TFLite resizes spatial axes only.",
        )
    rule = _matching_rule(session, node, str(mode))
    data = spatial.read_image(session, node)
    quantization = session.graph.tensors[data].quantization
    shape = spatial.image_shape(node, node.outputs[0])
    size = session.graph.constant("size", np.asarray(shape[1:3], np.int32))
    result = session.output(node, shape, quantization)
    name, kind = (
        ("RESIZE_BILINEAR", "ResizeBilinearOptions")
        if mode == "linear"
        else ("RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighborOptions")
    )
    session.add(node, name, [data, size], [result], Options(kind=kind, fields=rule))
    spatial.deliver_image(session, node, spatial.clip(session, node, result, session.bounds(node)))


def _matching_rule(session: Session, node: ir.Node, mode: str) -> dict[str, bool]:
    value = node.inputs[0]
    before, after = shape_of(value) if value is not None else (), shape_of(node.outputs[0])
    scales = _scales(session, node, before, after)
    wanted = [
        _onnx_positions(node, mode, size, out, scale)
        for size, out, scale in zip(before[2:], after[2:], scales[2:], strict=True)
    ]
    for rule in _RULES:
        offered = [
            _tflite_positions(rule, mode, size, out) for size, out in zip(before[2:], after[2:], strict=True)
        ]
        if all(np.allclose(a, b, rtol=0, atol=1e-6) for a, b in zip(wanted, offered, strict=True)):
            return dict(rule)
    raise refuse(
        node,
        f"coordinate_transformation_mode {_rule_name(node)!r}"
        + (
            f" with nearest_mode {node.attributes.get_string('nearest_mode', 'round_prefer_floor')!r}"
            if mode == "nearest"
            else ""
        )
        + f" from {list(before[2:])} to {list(after[2:])} reads elements that no TFLite rule reads.",
        hint="Export with half_pixel or align_corners (linear), or asymmetric with floor (nearest).",
    )


def _rule_name(node: ir.Node) -> str:
    return str(node.attributes.get_string("coordinate_transformation_mode", "half_pixel"))


def _scales(session: Session, node: ir.Node, before: tuple[int, ...], after: tuple[int, ...]) -> list[float]:
    """Return output over input extent per axis: as given, or as the sizes imply."""
    if has_input(node, 2) and session.is_constant(node, 2) and session.array(node, 2).size:
        given = [float(scale) for scale in session.array(node, 2).reshape(-1)]
        along = node.attributes.get_ints("axes", tuple(range(len(before)))) or ()
        scales = [1.0] * len(before)
        for axis, scale in zip(along, given, strict=True):
            scales[axis % len(before)] = scale
        return scales
    if node.attributes.get_string("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise refuse(
            node, "keep_aspect_ratio_policy other than 'stretch'.", hint="Export with explicit sizes."
        )
    return [out / size for size, out in zip(before, after, strict=True)]


def _onnx_positions(node: ir.Node, mode: str, size: int, out: int, scale: float) -> Positions:
    """Return the source position of each output element along one axis, rounded for ``nearest`` and kept inside the input."""
    place = np.arange(out, dtype=np.float64)
    rule = _rule_name(node)
    if rule == "align_corners":
        position = place * (size - 1) / (out - 1) if out > 1 else np.zeros(1)
    elif rule == "asymmetric":
        position = place / scale
    elif rule == "half_pixel" or (rule == "pytorch_half_pixel" and out > 1):
        position = (place + 0.5) / scale - 0.5
    elif rule == "pytorch_half_pixel":
        position = np.zeros(1)
    elif rule == "half_pixel_symmetric":
        adjustment = out / (scale * size)
        position = size / 2 * (1 - adjustment) + (place + 0.5) / scale - 0.5
    else:
        raise refuse(node, f"coordinate_transformation_mode {rule!r} is not one that TFLite has.")
    if mode == "nearest":
        position = _rounded(position, str(node.attributes.get_string("nearest_mode", "round_prefer_floor")))
    return np.clip(position, 0, size - 1)


def _rounded(position: Positions, nearest_mode: str) -> Positions:
    # A position that is whole but for float noise must not fall to the neighbour.
    steady = np.round(position, 9)
    if nearest_mode == "floor":
        return np.floor(steady)
    if nearest_mode == "ceil":
        return np.ceil(steady)
    if nearest_mode == "round_prefer_ceil":
        return np.floor(steady + 0.5)
    return np.ceil(steady - 0.5)


def _tflite_positions(rule: dict[str, bool], mode: str, size: int, out: int) -> Positions:
    """Return where TFLite reads, under one rule."""
    place = np.arange(out, dtype=np.float64)
    aligned = rule.get("alignCorners", False) and out > 1
    step = (size - 1) / (out - 1) if aligned else size / out
    half = 0.5 if rule.get("halfPixelCenters", False) else 0.0
    position = (place + half) * step
    if mode == "linear":
        return np.clip(position - half, 0, size - 1)
    steady = np.round(position, 9)
    return np.clip(np.floor(steady + 0.5) if aligned else np.floor(steady), 0, size - 1)
