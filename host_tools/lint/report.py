"""Findings as a table for people and as data for programs. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from host_tools.terminal_text import plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from host_tools.lint.facts import LintedFile
    from host_tools.lint.finding import Finding

_HEADINGS: Final = ("severity", "rule", "where", "got", "allowed", "fact")


def render(findings: Sequence[Finding], precisions: Mapping[str, int], *, path: str, target: str) -> str:
    """Return a summary, one line a finding, and below the facts with their sources.

    Args:
        findings: What `host_tools.lint.rules.check` found.
        precisions: What `host_tools.lint.rules.precisions` counted.
        path: How the user calls it.
        target: The target's id.
    """
    lines = [f"{path} for {target}: {_counted(findings)}. {_operators(precisions)}."]
    if not findings:
        return lines[0] + "\n"
    notes = {key: f"[{number}]" for number, key in enumerate(dict.fromkeys(map(_note, findings)), start=1)}
    rows = [_HEADINGS, *(_row(one, notes[_note(one)]) for one in findings)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    lines += [
        "",
        *(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ),
        "",
    ]
    for (fact, value, source), number in notes.items():
        lines.append(f"{number} {fact}{f' = {plain(value)}' if value else ''}")
        lines.append(f"    {source}")
    return "\n".join(lines) + "\n"


def data(
    findings: Sequence[Finding], precisions: Mapping[str, int], *, path: str, target: str
) -> dict[str, object]:
    """Return `render` as JSON-able data."""
    counts = Counter(one.severity for one in findings)
    return {
        "file": path,
        "target": target,
        "errors": counts["error"],
        "warnings": counts["warning"],
        "operators": dict(precisions),
        "findings": [asdict(one) for one in findings],
    }


def render_left(file: LintedFile, left: Sequence[str]) -> str:
    """Return which operators XNNPACK leaves to LiteRT's built-in kernels, and why.

    Args:
        file: A TFLite file.
        left: What `host_tools.lint.xnnpack.left_to_built_in` says of it.
    """
    reasons = [(op, reason) for op, reason in zip(file.ops, left, strict=True) if reason]
    lines = [f"XNNPACK takes {len(left) - len(reasons)} of {len(left)} operators."]
    lines += [f"  {plain(f'{op.kind} {op.name!r}')}: {plain(reason)}" for op, reason in reasons]
    return "\n".join(lines) + "\n"


def left_data(file: LintedFile, left: Sequence[str]) -> list[dict[str, str]]:
    """Return `render_left` as JSON-able data: the operators that are left."""
    return [
        {"operator": op.kind, "name": op.name, "reason": reason}
        for op, reason in zip(file.ops, left, strict=True)
        if reason
    ]


def _counted(findings: Sequence[Finding]) -> str:
    counts = Counter(one.severity for one in findings)
    said = [
        f"{counts[kind]} {kind}{'' if counts[kind] == 1 else 's'}"
        for kind in ("error", "warning")
        if counts[kind]
    ]
    return ", ".join(said) or "clean"


def _operators(precisions: Mapping[str, int]) -> str:
    total = sum(precisions.values())
    each = ", ".join(f"{count} {kind}" for kind, count in precisions.items())
    return f"{total} operator{'' if total == 1 else 's'}: {each}"


def _note(one: Finding) -> tuple[str, str, str]:
    return one.fact, one.value, one.source


def _row(one: Finding, note: str) -> tuple[str, ...]:
    return (one.severity, one.rule, plain(one.where), plain(one.got), plain(one.allowed), note)
