"""`compare`: what two files have not in common. Pure, but for engines when outputs are asked for."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

from device_agent.contract.manifest_codec import encode
from host_tools.difference.differences import Change, Differences, OperatorChange
from host_tools.difference.outputs import run_outputs
from host_tools.difference.tensors import constant_changes, plan_scale_changes, scale_changes
from host_tools.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from device_agent.contract.manifest import Manifest
    from host_tools.difference.side import Side
    from host_tools.lint.facts import LintedOp

_TOLD_ELSEWHERE: Final = ("payload", "members", "golden")
"""Fields of a manifest that list members: sizes, plans and payloads say more of them."""


def compare(a: Side, b: Side, *, run: int) -> Differences:
    """Return everything that differs.

    Args:
        a: The first file.
        b: The second.
        run: On how many inputs to run both; 0 for not at all.

    Raises:
        InputError: One is an artifact and the other a bare file of another format, or they cannot be run on the same inputs.
        EngineError: An engine is absent, or refuses its payload.
    """
    is_one_format = a.file.format == b.file.format
    artifacts = a.manifest is not None and b.manifest is not None
    if not is_one_format and not artifacts:
        raise InputError(
            f"{a.path} is {a.file.format} and {b.path} is {b.file.format}: their operators and tensors have nothing in common.",
            hint="Compare files of one format, or two artifacts.",
        )
    outputs = run_outputs(a, b, count=run) if run else None
    whole = (a, b) if artifacts else (a.bare(), b.bare())
    skipped: list[str] = []
    if not is_one_format:
        skipped.append(f"Operators and constants: {a.file.format} and {b.file.format} name them otherwise.")
    by_plan = not is_one_format and a.plan is not None and b.plan is not None
    if not is_one_format and not by_plan:
        skipped.append("Scales: not both artifacts hold a plan.")
    if is_one_format:
        scales = scale_changes(a.file, b.file)
    elif a.plan is not None and b.plan is not None:
        scales = plan_scale_changes(a.plan, b.plan)
    else:
        scales = ()
    return Differences(
        a=a.path,
        b=b.path,
        identical=whole[0].digest == whole[1].digest,
        manifest=_manifest_changes(a.manifest, b.manifest),
        verification=tuple(_changes(a.verification, b.verification)) if artifacts else (),
        sizes=_size_changes(*whole),
        operators=_operator_changes(a.file.ops, b.file.ops) if is_one_format else (),
        precisions=_precision_changes(a, b),
        constants=constant_changes(a.file, b.file) if is_one_format else (),
        scales=scales,
        scales_of="plans" if by_plan else "files",
        not_compared=tuple(skipped),
        outputs=outputs,
    )


# Manifest and sizes


def _manifest_changes(a: Manifest | None, b: Manifest | None) -> tuple[Change, ...]:
    if a is None or b is None:
        return ()
    return tuple(_changes(_flat(json.loads(encode(a))), _flat(json.loads(encode(b)))))


def _flat(document: Mapping[str, object]) -> dict[str, str]:
    """Return the fields of a manifest by dotted path."""
    return {
        path: text
        for key, value in document.items()
        if key not in _TOLD_ELSEWHERE
        for path, text in _leaves(value, key)
    }


def _leaves(value: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}")
    elif isinstance(value, list) and any(isinstance(one, (dict, list)) for one in value):
        for index, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{index}]")
    else:
        yield path, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _changes(a: Mapping[str, str], b: Mapping[str, str]) -> Iterator[Change]:
    for key in dict.fromkeys((*a, *b)):
        if a.get(key) != b.get(key):
            yield Change(what=key, a=a.get(key), b=b.get(key))


def _size_changes(a: Side, b: Side) -> tuple[Change, ...]:
    """Return sizes that differ, and members that have other bytes in the same size."""
    if a.digest == b.digest:
        return ()
    sizes_a, sizes_b = ({"file": str(side.size_bytes)} for side in (a, b))
    for side, sizes in ((a, sizes_a), (b, sizes_b)):
        sizes.update({name: str(size) for name, (size, _) in side.members.items()})
    found = list(_changes(sizes_a, sizes_b))
    told = {change.what for change in found}
    found += [
        Change(what=f"{name}, same size, digest", a=a.members[name][1], b=b.members[name][1])
        for name in a.members.keys() & b.members.keys() - told
        if a.members[name] != b.members[name]
    ]
    if not found:
        found.append(Change(what="file, same size, digest", a=a.digest, b=b.digest))
    return tuple(sorted(found, key=lambda change: (change.what != "file", change.what)))


# Operators


def _operator_changes(a: Sequence[LintedOp], b: Sequence[LintedOp]) -> tuple[OperatorChange, ...]:
    """Return operators that differ, matched by name, in A's order with B's own behind them."""
    ours, theirs = _by_name(a), _by_name(b)
    found: list[OperatorChange] = []
    for key in dict.fromkeys((*ours, *theirs)):
        name = key[0]
        if key not in theirs:
            found.append(OperatorChange(name=name, kind=ours[key].kind, how="removed"))
        elif key not in ours:
            found.append(OperatorChange(name=name, kind=theirs[key].kind, how="added"))
        else:
            changes = tuple(_changes(_said(ours[key]), _said(theirs[key])))
            if changes:
                found.append(OperatorChange(name=name, kind=ours[key].kind, how="changed", changes=changes))
    return tuple(found)


def _by_name(ops: Sequence[LintedOp]) -> dict[tuple[str, int], LintedOp]:
    """Return operators by name and how often that name came before."""
    seen: defaultdict[str, int] = defaultdict(int)
    named: dict[tuple[str, int], LintedOp] = {}
    for op in ops:
        named[op.name, seen[op.name]] = op
        seen[op.name] += 1
    return named


def _said(op: LintedOp) -> dict[str, str]:
    """Return all that a file says of an operator but for numbers in its tensors, as text."""
    said: dict[str, object] = {
        "kind": op.kind,
        "version": op.version,
        "computed in": op.computed_in,
        "reads": [one.name for one in op.data],
        "read shapes": [one.shape for one in op.data],
        "writes": [one.name for one in op.outputs],
        "written shapes": [one.shape for one in op.outputs],
        "weight": None if op.weight is None else op.weight.name,
        "weight shape": None if op.weight is None else op.weight.shape,
        "bias": None if op.bias is None else op.bias.name,
        "strides": op.strides,
        "kernel": op.kernel,
        "dilations": op.dilations,
        "axes": op.axes,
        "mode": op.mode,
        "activation": op.activation,
        **{f"settings.{key}": value for key, value in op.settings.items()},
    }
    return {key: json.dumps(value, ensure_ascii=False) for key, value in said.items()}


# Precision


def _precision_changes(a: Side, b: Side) -> tuple[Change, ...]:
    if a.executed is not None and b.executed is not None:
        counts_a, counts_b = dict(a.executed), dict(b.executed)
    else:
        counts_a, counts_b = (dict(Counter[str](op.computed_in for op in side.file.ops)) for side in (a, b))
    texts_a, texts_b = (
        {kind: str(count) for kind, count in counts.items()} for counts in (counts_a, counts_b)
    )
    return tuple(_changes(texts_a, texts_b))
