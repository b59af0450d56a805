"""`Differences` as tables for a terminal, and as data for programs. Pure."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.text import Text

from host_tools.inspection.figures import percent
from host_tools.inspection.terminal import table_of, titled
from host_tools.terminal_text import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from host_tools.difference.differences import (
        Change,
        ConstantChange,
        Differences,
        OperatorChange,
        OutputDifference,
        OutputsRun,
        ScaleChange,
    )

_MOST_ROWS: Final = 20
_ABSENT: Final = "–"
_DIGEST: Final = 20
"""How much of a digest is shown: the beginning tells two apart."""


def render(found: Differences) -> RenderableType:
    """Return what a terminal shows: only what differs."""
    names = f"{plain(found.a, widest=200)} and {plain(found.b, widest=200)}"
    if not found.differs:
        outputs = [_outputs(found.outputs)] if found.outputs is not None else []
        return Group(Text(f"{names} are the same.\n"), *outputs)
    parts: list[RenderableType] = [Text(f"{names} differ{_by_bytes_alone(found)}.\n")]
    parts += [_changes("Manifest", found.manifest)] if found.manifest else []
    parts += [_changes("Verification", found.verification)] if found.verification else []
    parts += [_changes("Sizes, in bytes", found.sizes)] if found.sizes else []
    parts += [_changes("Operators by precision", found.precisions)] if found.precisions else []
    parts += [_operators(found.operators)] if found.operators else []
    parts += [_constants(found.constants)] if found.constants else []
    parts += [_scales(found.scales, found.scales_of)] if found.scales else []
    parts += [_outputs(found.outputs)] if found.outputs is not None else []
    parts += [Text(f"Not compared: {sentence}") for sentence in found.not_compared]
    return Group(*parts)


def data(found: Differences) -> dict[str, object]:
    """Return everything as JSON-able data."""
    return {**asdict(found), "differs": found.differs}


def _by_bytes_alone(found: Differences) -> str:
    told = (
        found.manifest,
        found.verification,
        found.operators,
        found.precisions,
        found.constants,
        found.scales,
    )
    is_alone = not any(told) and not (found.outputs is not None and found.outputs.differs)
    return " in bytes that say nothing of graph, constants or scales" if is_alone else ""


def _changes(title: str, changes: Sequence[Change]) -> RenderableType:
    table = table_of(("", "A", "B"))
    for change in changes:
        table.add_row(Text(plain(change.what)), *(Text(_value(one)) for one in (change.a, change.b)))
    return titled(title, table)


def _value(text: str | None) -> str:
    if text is None:
        return _ABSENT
    return plain(text, widest=_DIGEST if text.startswith("sha256:") else 48)


def _operators(changes: Sequence[OperatorChange]) -> RenderableType:
    table = table_of(("", "operator", "kind", "what", "A", "B"))
    rows = [(one, change) for one in changes for change in (one.changes or (None,))]
    for one, change in rows[:_MOST_ROWS]:
        cells = ("", "", "") if change is None else (change.what, _value(change.a), _value(change.b))
        table.add_row(one.how, Text(plain(one.name, widest=36)), Text(plain(one.kind)), *map(Text, cells))
    return _with_rest(titled(f"Operators: {_counted(changes)}", table), len(rows))


def _counted(changes: Sequence[OperatorChange]) -> str:
    counts = {how: sum(one.how == how for one in changes) for how in ("added", "removed", "changed")}
    return ", ".join(f"{count} {how}" for how, count in counts.items() if count)


def _constants(changes: Sequence[ConstantChange]) -> RenderableType:
    table = table_of(("constant", "", "of", "changed", "largest", "in steps"), right=(3, 4, 5))
    ranked = sorted(changes, key=lambda one: (-(one.largest_steps or 0.0), -(one.largest or 0.0), one.name))
    for one in ranked[:_MOST_ROWS]:
        table.add_row(
            Text(plain(one.name, widest=36)),
            one.role,
            Text(plain(one.operator, widest=36)),
            "type or shape" if one.changed is None else percent(one.changed / max(one.elements, 1)),
            "" if one.largest is None else f"{one.largest:.3g}",
            "" if one.largest_steps is None else f"{one.largest_steps:.3g}",
        )
    return _with_rest(titled(f"Constants: {len(changes)} differ", table), len(ranked))


def _scales(changes: Sequence[ScaleChange], scales_of: str) -> RenderableType:
    table = table_of(("tensor", "scale B / A", "zero point A", "B", "type A", "B"), right=(1, 2, 3))
    ranked = sorted(changes, key=lambda one: (-_moved(one), one.name))
    for one in ranked[:_MOST_ROWS]:
        zeros = [_zero_points(zero_point) for zero_point in (one.a_zero_point, one.b_zero_point)]
        table.add_row(Text(plain(one.name, widest=48)), _ratio(one), *zeros, one.a_type, one.b_type)
    title = f"Scales and zero points, of the {scales_of}: {len(changes)} differ"
    return _with_rest(titled(title, table), len(ranked))


def _moved(one: ScaleChange) -> float:
    """Return by which factor a scale moved at most, either way; what has no ratio comes first."""
    if not one.lowest_ratio or not one.highest_ratio:
        return float("inf")
    return max(one.highest_ratio, 1.0 / one.lowest_ratio)


def _ratio(one: ScaleChange) -> str:
    if one.lowest_ratio is None or one.highest_ratio is None:
        return _ABSENT
    low, high = f"{one.lowest_ratio:.4g}", f"{one.highest_ratio:.4g}"
    return low if low == high else f"{low} … {high}"


def _zero_points(zero_point: tuple[int, ...]) -> str:
    if not zero_point:
        return _ABSENT
    return str(zero_point[0]) if len(zero_point) == 1 else f"{min(zero_point)} … {max(zero_point)}"


def _outputs(run: OutputsRun) -> RenderableType:
    title = f"Outputs on {run.golden} golden and {run.random} random inputs, A by {run.a_engine}, B by {run.b_engine}"
    table = table_of(
        ("output", "SQNR", "same class", "largest", "in LSB of A", "not finite"), right=(1, 2, 3, 4, 5)
    )
    for one in run.outputs:
        table.add_row(
            Text(plain(one.name)),
            _sqnr(one),
            "" if one.same_class is None else percent(one.same_class),
            f"{one.largest:.3g}",
            "" if one.largest_lsb is None else f"{one.largest_lsb:.3g}",
            str(one.nonfinite) if one.nonfinite else "",
        )
    return titled(title, table)


def _sqnr(one: OutputDifference) -> str:
    if one.sqnr_db is None:
        return _ABSENT if one.nonfinite else "equal"
    return f"{one.sqnr_db:.1f} dB"


def _with_rest(table: RenderableType, count: int) -> RenderableType:
    if count <= _MOST_ROWS:
        return table
    return Group(table, Text(f"and {count - _MOST_ROWS} more (--json has all)"))
