"""A `ModelInspection` as tables for a terminal, and as data for programs. Pure."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from host_tools.inspection.figures import bar, counted, percent, shaped, sized
from host_tools.terminal_text import plain
from targets import catalog

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import RenderableType

    from host_tools.inspection.inspection import ModelInspection
    from host_tools.inspection.support import Status, TargetSupport
    from host_tools.model.float_model import TensorSpec

_LARGEST: Final = 5
_REASONS: Final = 4
_SAID: Final = {"integer": "integers", "partly_float": "part in float", "refused": "refused"}
_STYLES: Final = {"integer": "green", "partly_float": "yellow", "refused": "red"}
_THEM: Final = "the target"


def render(found: ModelInspection) -> RenderableType:
    """Return what a terminal shows: the model, its operators, its largest layers, the targets, and what to know."""
    parts: list[RenderableType] = [
        _summary(found),
        Text(),
        _operators(found),
        _largest(found),
    ]
    if found.targets:
        parts += [_targets(found), *_reasons(found)]
    parts += _sentences("Before you calibrate", found.cautions)
    parts += _sentences("Loaded with changes", found.notes)
    return Group(*parts)


def data(found: ModelInspection) -> dict[str, object]:
    """Return everything as JSON-able data; bytes in bytes, shares from 0 to 1."""
    return {
        "kind": "model",
        **asdict(found),
        "macs": found.macs,
        "parameters": found.parameters,
        "weight_bytes": {"float32": found.float_bytes, "int8": found.int8_bytes},
        "targets": [{**asdict(one), "integer_macs": found.integer_macs(one)} for one in found.targets],
    }


def table_of(headings: Sequence[str], *, right: Iterable[int] = ()) -> Table:
    """Return an empty table whose columns ``right`` hold numbers."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    numbers = frozenset(right)
    for place, heading in enumerate(headings):
        is_number = place in numbers
        table.add_column(
            heading, justify="right" if is_number else "left", no_wrap=is_number, overflow="fold"
        )
    return table


def titled(title: str, table: Table) -> Group:
    """Return a table below its title, which may be wider."""
    return Group(Text(title, style="bold"), table)


def lines_of(rows: Iterable[tuple[str, str]]) -> Text:
    """Return lines of a name and what it is."""
    return Text("\n".join(f"{name:<12} {value}" for name, value in rows))


def _summary(found: ModelInspection) -> Text:
    opset = f"opset {found.opset}" + (
        f" (read as {found.canonical_opset})" if found.opset != found.canonical_opset else ""
    )
    rows = [
        ("model", f"{plain(found.name)}, {opset}{f', by {plain(found.producer)}' if found.producer else ''}"),
        ("file", sized(found.file_bytes) + "".join(f" + {plain(name)}" for name in found.external_files)),
        *(("input", _described(spec)) for spec in found.inputs),
        *(("output", _described(spec)) for spec in found.outputs),
        (
            "parameters",
            f"{counted(found.parameters)}: {sized(found.float_bytes)} as float32, {sized(found.int8_bytes)} at int8",
        ),
        ("MACs", counted(found.macs)),
        (
            "activations",
            f"at most {sized(found.float_peak.bytes)} at once as float32 (at {plain(found.float_peak.node)}), "
            f"{sized(found.int8_peak.bytes)} at int8 (at {plain(found.int8_peak.node)})",
        ),
    ]
    return lines_of(rows)


def _described(spec: TensorSpec) -> str:
    return f"{plain(spec.name)}: {spec.dtype} {shaped(spec.shape)}"


def _operators(found: ModelInspection) -> Group:
    counts = Counter(node.kind for node in found.nodes)
    macs: Counter[str] = Counter()
    weights: Counter[str] = Counter()
    for node in found.nodes:
        macs[node.kind] += node.macs
        weights[node.kind] += node.int8_bytes
    table = table_of(("operator", "count", "MACs", "", "", "at int8"), right=(1, 2, 3, 5))
    for kind, count in sorted(counts.items(), key=lambda one: (-macs[one[0]], -one[1], one[0])):
        size = sized(weights[kind]) if weights[kind] else ""
        cells = _macs(macs[kind], found.macs, most=max(macs.values()))
        table.add_row(Text(plain(kind)), str(count), *cells, size)
    return titled("Operators", table)


def _macs(macs: int, whole: int, *, most: int) -> tuple[str, str, Text]:
    """Return a number of MACs, its share of the whole, and a bar beside that of the row with the most."""
    if not macs:
        return "", "", Text()
    return counted(macs), percent(macs / whole), Text(bar(macs / most), style="cyan")


def _largest(found: ModelInspection) -> Group:
    headings = ("layer", "operator", "output", "MACs", "", "", "at int8")
    table = table_of(headings, right=(3, 4, 6))
    ranked = sorted(
        found.nodes, key=lambda node: (-node.macs, -node.parameters, -math.prod(node.output_shape))
    )
    for node in ranked[:_LARGEST]:
        table.add_row(
            Text(plain(node.name, widest=36)),
            Text(plain(node.kind)),
            shaped(node.output_shape),
            *_macs(node.macs, found.macs, most=ranked[0].macs),
            sized(node.int8_bytes) if node.int8_bytes else "",
        )
    return titled("Largest layers", table)


def _targets(found: ModelInspection) -> Group:
    """Return a row for targets that do the same with the model."""
    title = "Targets"
    if not all(one.rehearsed for one in found.targets):
        title = "Targets, by the plan alone (--target ID asks the lowering too)"
    table = table_of(("target", "runs in", "integer", "float", "MACs in integers", ""), right=(2, 3, 4))
    rows: defaultdict[tuple[Status, str, str, str, str], list[str]] = defaultdict(list)
    for one in found.targets:
        rows[_row(found, one)].append(one.target)
    for (status, *cells), targets in rows.items():
        said = Text(_SAID[status], style=_STYLES[status])
        names = (
            targets if len(rows) > 1 or len(targets) < len(catalog.ids()) else [f"all {len(targets)} targets"]
        )
        table.add_row(Text(", ".join(names)), said, *cells)
    return titled(title, table)


def _row(found: ModelInspection, one: TargetSupport) -> tuple[Status, str, str, str, str]:
    if one.status == "refused":
        return one.status, "", "", "", ""
    share = found.integer_macs(one)
    alone = [node for node in one.nodes if node.fused_into is None]
    in_float = sum(node.precision in ("float16", "float32") for node in alone)
    shares = ("", "") if share is None else (percent(share), bar(share))
    return one.status, str(len(alone) - in_float), str(in_float), *shares


def _reasons(found: ModelInspection) -> list[Text]:
    """Return why targets refuse, run something in float, or are in doubt; targets that say the same are told together."""
    said: defaultdict[str, list[str]] = defaultdict(list)
    for one in found.targets:
        text = _reason(one)
        if text:
            said[text.replace(repr(one.target), _THEM)].append(one.target)
    found_texts = []
    for text, targets in said.items():
        own = text.replace(_THEM, repr(targets[0])) if len(targets) == 1 else text
        found_texts.append(Text(f"\n{', '.join(targets)}:\n{own}"))
    return found_texts


def _reason(one: TargetSupport) -> str:
    if one.status == "refused":
        return _indented(f"refused: {one.refusal}\n{one.hint}")
    lines = _floats(one)
    if one.doubt:
        lines.append(f"in doubt until calibrated; under assumed ranges the plan was refused: {one.doubt}")
    return _indented("\n".join(lines))


def _floats(one: TargetSupport) -> list[str]:
    """Return why nodes run in float, those with the same reason together."""
    reasons: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for node in one.in_float:
        own = f"{node.kind} {node.name!r}: "
        reasons[node.kind, node.reason.replace(own, "")].append(node.name)
    lines = [
        f"{len(names)} {kind} in {reason}" if len(names) > 1 else f"{kind} {names[0]!r} in {reason}"
        for (kind, reason), names in reasons.items()
    ]
    more = [f"and {len(lines) - _REASONS} more reasons (--json has all)"] if len(lines) > _REASONS else []
    return [*lines[:_REASONS], *more]


def _indented(text: str) -> str:
    return "\n".join(f"  {plain(line, widest=400)}" for line in text.splitlines() if line.strip())


def _sentences(title: str, sentences: Sequence[str]) -> list[Text]:
    if not sentences:
        return []
    lines = "".join(f"\n  - {plain(sentence, widest=400)}" for sentence in sentences)
    return [Text(f"\n{title}:{lines}")]
