"""A `PayloadInspection` for a terminal and as data. Pure."""

from __future__ import annotations

from collections import defaultdict
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
    from host_tools.inspection.support import TargetSupport

_REASONS: Final = 5
_FORMATS: Final = {
    "tflite": "TFLite, schema",
    "onnx_qdq": "ONNX, opset",
    "openvino_ir": "OpenVINO IR, version",
}


def render(found: PayloadInspection) -> RenderableType:
    """Return what a terminal shows."""
    rows = [
        ("format", f"{_FORMATS.get(found.format, found.format)} {found.schema}"),
        ("quantized", _quantized(found)),
        *((("coded", _coded(what, scheme, count)) for what, scheme, count in _schemes(found))),
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
        *_relowering(found),
        Text(f"Hold it against a target: edgewright targets check {name} --target ID"),
    )


def _quantized(found: PayloadInspection) -> str:
    if not found.is_quantized:
        return "no"
    if found.relowering is None:
        return "yes"
    form = found.relowering.form
    return f"yes: {form}; `edgewright convert` keeps its scales and codes, without --data" if form else "yes"


def _schemes(found: PayloadInspection) -> tuple[tuple[str, str, int], ...]:
    return () if found.relowering is None else found.relowering.schemes


def _coded(what: str, scheme: str, count: int) -> str:
    return f"{count} {what if count > 1 else what.removesuffix('s')}: {scheme}"


def _relowering(found: PayloadInspection) -> list[RenderableType]:
    """Return which targets can have the codes, and why the others cannot; targets that say the same are told together."""
    one = found.relowering
    if one is None:
        return []
    if one.refusal:
        return [Text(f"Not converted: {one.refusal}\n  {one.hint}\n")]
    if not one.targets:
        return []
    table = table_of(("target", "its codes", "integer", "float"), right=(2, 3))
    rows: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    reasons: defaultdict[str, list[str]] = defaultdict(list)
    for target in one.targets:
        rows[_row(target)].append(target.target)
        if target.status == "refused":
            reasons[_reason(target)].append(target.target)
    for cells, names in rows.items():
        table.add_row(Text(", ".join(names)), *cells)
    texts = [
        Text(f"\n{', '.join(names)}:\n{reason}" + ("\n" if reason == list(reasons)[-1] else ""))
        for reason, names in reasons.items()
    ]
    return [titled("Targets that can have its codes", table), *texts]


def _row(target: TargetSupport) -> tuple[str, ...]:
    if target.status == "refused":
        return "refused", "", ""
    alone = [node for node in target.nodes if node.fused_into is None]
    in_float = sum(node.precision in ("float16", "float32") for node in alone)
    return "kept", str(len(alone) - in_float), str(in_float)


def _reason(target: TargetSupport) -> str:
    """Return why a target refuses, without its name and without more than a few of the tensors."""
    lines = [
        plain(line, widest=400)
        for line in target.refusal.replace(repr(target.target), "the target").splitlines()
        if line.strip()
    ]
    more = [f"  and {len(lines) - _REASONS} more (--json has all)"] if len(lines) > _REASONS else []
    return "\n".join(f"  {line}" for line in (*lines[:_REASONS], *more))


def data(found: PayloadInspection) -> dict[str, object]:
    """Return everything as JSON-able data."""
    return {"kind": "payload", **asdict(found)}


def _described(tensor: PayloadTensorFacts) -> str:
    scale = "" if tensor.scale is None else f", scale {tensor.scale:.6g}, zero point {tensor.zero_point}"
    return f"{plain(tensor.name)}: {tensor.dtype} {shaped(tensor.shape)}{scale}"
