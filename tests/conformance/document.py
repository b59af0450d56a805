"""`text`: docs/operators.md, from the record of the node tests and from the profiles."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from targets import catalog
from tests.conformance import record
from tests.conformance.running import DISPUTED, TARGETS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from targets.profile import CapabilityProfile
    from tests.conformance.record import Line

FILE: Final = Path(__file__).parents[2] / "docs" / "operators.md"
_TITLES: Final = {"onnx_qdq": "ONNX QDQ", "openvino_ir": "OpenVINO IR", "tflite": "TFLite"}
_NOT_OPERATORS: Final = frozenset({"QuantizeLinear", "BatchNormalization"})
"""What profiles list beside operators of the canonical graph: re-quantization, and what the importer folds."""

_OF_THE_DATA: Final = "The shape of"
"""How the reason of a shape begins that nobody knows before a run."""

_HEAD: Final = """# Operators

Made by `make conformance ARGS=--write` from the code: change neither table by hand.

## What was run

Every node test of the `onnx` package ({tests} models), each as it stands (*fed*: weights, axes and shapes are inputs of the model too) and as an exporter would write it
(*constant*: all but the first float input are constants), goes through the importer, through the float path of every lowering, and runs on that format's own engine.
Its outputs must be the test's, within the test's tolerance. (Outputs in float16 and bfloat16 are compared as closely as those types tell numbers apart, and floats to
8 units in the last place of the largest one, which is what float32 keeps of sums that cancel. {disputed} are held against ONNX Runtime on the test's own
model: they align corners by the extent that input times scale would have, 2.4, where every engine takes the one that comes out, 2.)

*Refused* is an error of Edgewright's own that names operator, node and reason, before a file is written. *Failed* is everything else: other numbers, a foreign exception, an
engine that refuses the file. There are none, and `make conformance` ends with 1 if there is one.

| format | engine | passed | refused | failed |
|---|---|---:|---:|---:|
{totals}

## Operators by format

*float*: how many of the operator's tests pass, both variants together; with its `_expanded` ones, which hold its function body. *int8* and *int16* activations: whether the
format's profile here ({profiles}) has such a kernel, and its limits; the profiles of other targets say more or less ([targets.md](targets.md)). An operator without an integer
kernel runs in float there, between integers. *ranks*, *modes* and the like are limits of the integer kernel.

Conv, ConvTranspose and pools over three axes (video, volumes) run in ONNX QDQ and OpenVINO IR and are refused for TFLite. Its CONV_3D and CONV_3D_TRANSPOSE compute float32 alone and take no groups, 3-D pools it has none, and TFLite Micro none of them: such a
network would be float where it computes most, on targets that are chosen for their integers.

| operator | {columns} |
|---|{rules}|
{rows}

## Operators of which no test passes in any format

With the reason that most of their tests have.

- *The shape … depends on the data* ({dynamic}): every tensor of a payload has one shape. End the export before such an operator, and do what it does on what the agent gives out; of a
  detector that is boxes and scores, before NonMaxSuppression.
- *No input is a float tensor*: that is a matter of the test, which has nothing that could be calibrated, and not of the operator within a network.

{never}

## Why tests are refused

By the reason, without the names; the number of tests and variants is behind it.

{reasons}
"""


def text() -> str:
    """Return the document."""
    lines = list(record.read().values())
    profiles = {format_: catalog.load(identity) for format_, identity in TARGETS.items()}
    by_operator: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        by_operator[line.operator].append(line)
    for profile in profiles.values():
        for operator in {*profile.ops, *(profile.wide.ops if profile.wide else ())} - _NOT_OPERATORS:
            by_operator.setdefault(operator, [])
    return _HEAD.format(
        tests=len({line.name for line in lines}),
        totals="\n".join(_total(at, format_, profiles[format_], lines) for at, format_ in enumerate(TARGETS)),
        profiles=", ".join(f"`{identity}`" for identity in TARGETS.values()),
        disputed=" and ".join(f"`{name}`" for name in sorted(DISPUTED)),
        columns=" | ".join(f"{title} float | int8 | int16" for title in _TITLES.values()),
        rules="|".join("---|---|---" for _ in _TITLES),
        rows="\n".join(
            _row(operator, members, list(profiles.values()))
            for operator, members in sorted(by_operator.items())
        ),
        dynamic=", ".join(
            name for name, reason in _never(by_operator).items() if reason.startswith(_OF_THE_DATA)
        ),
        never="\n".join(f"- {name}: {reason}" for name, reason in _never(by_operator).items()),
        reasons="\n\n".join(_reasons(at, format_, lines) for at, format_ in enumerate(TARGETS)),
    )


def _never(by_operator: Mapping[str, Sequence[Line]]) -> dict[str, str]:
    """Return the commonest reason of every operator that has tests and passes none, in the order of names."""
    found: dict[str, str] = {}
    for operator, lines in sorted(by_operator.items()):
        reasons = [reason for line in lines for reason in line.reasons]
        if reasons and None not in reasons:
            counts = Counter(str(reason) for reason in reasons)
            found[operator] = min(counts, key=lambda reason: (-counts[reason], reason))
    return found


def _total(at: int, format_: str, profile: CapabilityProfile, lines: Sequence[Line]) -> str:
    passed = sum(line.reasons[at] is None for line in lines)
    engine = {"onnx": "ONNX Runtime", "openvino": "OpenVINO", "tflite": "LiteRT"}[profile.engine.name]
    return f"| {_TITLES[format_]} | {engine} | {passed} | {len(lines) - passed} | 0 |"


def _row(operator: str, lines: Sequence[Line], profiles: Sequence[CapabilityProfile]) -> str:
    cells = [operator]
    for at, profile in enumerate(profiles):
        passed = sum(line.reasons[at] is None for line in lines)
        cells.append(f"{passed} of {len(lines)}" if lines else "no test")
        cells.append(_integer(operator, profile, "int8"))
        cells.append(_integer(operator, profile.wide, "int16") if profile.wide else "")
    return f"| {' | '.join(cells)} |"


def _integer(operator: str, profile: CapabilityProfile, precision: str) -> str:
    support = profile.ops.get(operator)
    if support is None or precision not in support.precisions:
        return ""
    limits = [
        f"{field.name.replace('_', ' ')} {_shown(value)}"
        if value is not True
        else field.name.replace("_", " ")
        for field in dataclasses.fields(support.constraints)
        if (value := getattr(support.constraints, field.name)) not in (None, False)
    ]
    return "yes" if not limits else f"yes; {', '.join(limits)}"


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _reasons(at: int, format_: str, lines: Sequence[Line]) -> str:
    counts = Counter(line.reasons[at] for line in lines if line.reasons[at] is not None)
    listed = [
        f"- {reason} ({count})"
        for reason, count in sorted(counts.items(), key=lambda one: (-one[1], str(one[0])))
    ]
    return f"### {_TITLES[format_]}\n\n" + "\n".join(listed)
