"""A `PayloadInspection` for a terminal and as data. Pure."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.text import Text

from host_tools.inspection.figures import shaped, sized
from host_tools.inspection.terminal import lines_of, table_of, titled
from host_tools.terminal_text import plain

if TYPE_CHECKING:
    from rich.console import RenderableType

    from host_tools.inspection.payload import PayloadInspection, PayloadTensorFacts

_FORMATS: Final = {
    "tflite": "TFLite, schema",
    "onnx_qdq": "ONNX, opset",
    "openvino_ir": "OpenVINO IR, version",
}


def render(found: PayloadInspection) -> RenderableType:
    """Return what a terminal shows."""
    rows = [
        ("format", f"{_FORMATS.get(found.format, found.format)} {found.schema}"),
        ("quantized", "yes: it is not converted again" if found.is_quantized else "no"),
        ("file", sized(found.file_bytes)),
        *(("input", _described(one)) for one in found.inputs),
        *(("output", _described(one)) for one in found.outputs),
        *(("weights", f"{sized(size)} {dtype}") for dtype, size in sorted(found.weight_bytes.items())),
    ]
    table = table_of(("operator", "count", "computed in"), right=(1,))
    for kind, counts in sorted(found.operators.items(), key=lambda one: (-sum(one[1].values()), one[0])):
        said = ", ".join(f"{count} {precision}" for precision, count in sorted(counts.items()))
        table.add_row(Text(plain(kind)), str(sum(counts.values())), said)
    name = plain(found.path, widest=200)
    return Group(
        lines_of(rows),
        Text(),
        titled("Operators", table),
        Text(f"Hold it against a target: edgewright targets check {name} --target ID"),
    )


def data(found: PayloadInspection) -> dict[str, object]:
    """Return everything as JSON-able data."""
    return {"kind": "payload", **asdict(found)}


def _described(tensor: PayloadTensorFacts) -> str:
    scale = "" if tensor.scale is None else f", scale {tensor.scale:.6g}, zero point {tensor.zero_point}"
    return f"{plain(tensor.name)}: {tensor.dtype} {shaped(tensor.shape)}{scale}"
