"""A fixed part of the node tests, in every format; docs/operators.md as the record and the profiles have it. All of them: `make conformance`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from tests.conformance import document, record
from tests.conformance.node_tests import node_tests
from tests.conformance.running import TARGETS, Outcome, outcomes_of

if TYPE_CHECKING:
    from pathlib import Path

PART = (
    "add", "argmax", "averagepool", "clip", "concat", "conv", "depthtospace", "erf", "gather", "gelu", "gemm", "greater", "gru", "layernormalization",
    "lstm", "matmul", "maxpool", "negativeloglikelihoodloss", "reducesum", "resize", "softmax", "swish", "where",
)  # fmt: skip
"""Modules of `onnx.backend.test.case.node`: what models are made of."""

EVERY = 4
"""Of a module with many tests, every so many are run."""


@pytest.mark.slow
def test_the_part_comes_out_as_recorded(tmp_path: Path) -> None:
    known = record.read()
    chosen = [test for at, test in enumerate(node_tests(PART)) if at % EVERY == 0]
    assert len({test.operator for test in chosen}) >= len(PART) - 2
    for test in chosen:
        outcomes = outcomes_of(test, tmp_path)
        assert [f"{name}: {one.reason}" for name, one in outcomes.items() if one.kind == "failed"] == [], (
            test.id
        )
        assert known[test.id] == record.line_of(test, outcomes.values()), test.id


def test_other_numbers_are_a_failure(tmp_path: Path) -> None:
    test = next(test for test in node_tests(("relu",)) if test.name == "test_relu")
    (wanted,) = test.outputs
    assert wanted is not None
    wrong = dataclasses.replace(test, outputs=[wanted + 0.01])
    assert {one.kind for one in outcomes_of(test, tmp_path).values()} == {"passed"}
    assert {one.kind for one in outcomes_of(wrong, tmp_path).values()} == {"failed"}


def test_a_refusal_has_its_reason_without_the_names() -> None:
    reason = "Pad 'Pad_y': its pads are computed from data. Export the model with constant pads."
    assert record.general(reason) == "Pad: its pads are computed from data"
    assert record.general("Input 'x': axis 0 has extent 0. Fix it.") == "Input: axis N has extent N"


def test_the_record_has_no_failure_and_the_document_is_its() -> None:
    lines = record.read()
    assert all(len(line.reasons) == len(TARGETS) for line in lines.values())
    assert document.FILE.read_text(encoding="utf-8") == document.text(), "run `make conformance ARGS=--write`"


def test_failed_outcomes_never_reach_the_record() -> None:
    test = next(iter(node_tests(("relu",))))
    with pytest.raises(ValueError, match=r"test_relu\[fed\] failed"):
        record.line_of(test, [Outcome(kind="failed", reason="other numbers")])
