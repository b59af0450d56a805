"""`outcomes.tsv`: what every node test came to in every format, so that a change of it is seen in review.

One line a test and variant: name, variant, operator, and per format ``+`` where it passed, else the number of its reason below.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.conformance.running import TARGETS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.conformance.node_tests import NodeTest
    from tests.conformance.running import Outcome

FILE: Final = Path(__file__).with_name("outcomes.tsv")
_PASSED: Final = "+"
_LONGEST: Final = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One test of one variant.

    Attributes:
        name: The test.
        variant: ``fed`` or ``constant``.
        operator: The operator that it is about.
        reasons: One a format, in the order of `TARGETS`: None where it passed, else why it was refused.
    """

    name: str
    variant: str
    operator: str
    reasons: tuple[str | None, ...]


def line_of(test: NodeTest, outcomes: Iterable[Outcome]) -> Line:
    """Return the line of a test that nothing failed in.

    Raises:
        ValueError: A format failed.
    """
    outcomes = list(outcomes)
    if any(one.kind == "failed" for one in outcomes):
        raise ValueError(f"{test.id} failed: the record has no place for it")
    reasons = tuple(None if one.kind == "passed" else general(one.reason) for one in outcomes)
    return Line(name=test.name, variant=test.variant, operator=test.operator, reasons=reasons)


def general(reason: str) -> str:
    """Return what a reason says of every such case: without names, numbers, cures and a library's own lines."""
    first = reason.strip().splitlines()[0]
    unnamed = re.sub(r"^(\w+) '[^']*'(?:: | )", r"\1: ", first)
    unnamed = re.sub(r"'[^']*'", "'…'", unnamed)
    unnamed = re.sub(r"/[\w./]+/(\w+\.\w+)(:\d+)?", r"\1", unnamed)
    unnamed = re.sub(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?", "N", unnamed)
    unnamed = re.sub(r"[\[(]N(?:[,x ]+N)*,?[\])]", "[N]", unnamed)
    sentence = unnamed.split(" It knows ")[0].split(". ")[0].rstrip(".")
    return sentence if len(sentence) <= _LONGEST else f"{sentence[:_LONGEST]}…"


def write(lines: Iterable[Line]) -> None:
    """Write the record."""
    kept = list(lines)
    reasons = sorted({reason for line in kept for reason in line.reasons if reason is not None})
    number = {reason: str(at) for at, reason in enumerate(reasons)}
    rows = [f"#\t{number[reason]}\t{reason}" for reason in reasons]
    rows += [
        "\t".join(
            (
                one.name,
                one.variant,
                one.operator,
                *(number[r] if r is not None else _PASSED for r in one.reasons),
            )
        )
        for one in kept
    ]
    FILE.write_text("\n".join(rows) + "\n", encoding="utf-8")


def read() -> dict[str, Line]:
    """Read the record: lines by ``name[variant]``."""
    reasons: dict[str, str] = {}
    lines: dict[str, Line] = {}
    for row in FILE.read_text(encoding="utf-8").splitlines():
        first, *rest = row.split("\t")
        if first == "#":
            reasons[rest[0]] = rest[1]
            continue
        variant, operator, *codes = rest
        lines[f"{first}[{variant}]"] = Line(
            name=first,
            variant=variant,
            operator=operator,
            reasons=tuple(None if code == _PASSED else reasons[code] for code in codes),
        )
    if any(len(line.reasons) != len(TARGETS) for line in lines.values()):
        raise ValueError(f"{FILE}: a line does not have {len(TARGETS)} outcomes")
    return lines
