"""The ledger of samples."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from host_tools.verify.samples import SWAPS, WORST, SampleLedger


def add(
    ledger: SampleLedger, name: str, expected: list[float], found: list[float], label: int | None = None
) -> None:
    ledger.add(name, {"y": np.array([expected])}, {"y": np.array([found])}, label)


def test_worst_first_and_what_is_exact_is_no_error() -> None:
    ledger = SampleLedger()
    add(ledger, "exact", [1.0, 0.0], [1.0, 0.0])
    add(ledger, "bad", [1.0, 0.0], [1.5, 0.0])
    add(ledger, "good", [1.0, 0.0], [1.1, 0.0])
    result = ledger.result()
    assert [sample.id for sample in result.worst] == ["bad", "good"]
    assert result.sample_count == 3
    assert result.changed_count == 0


def test_classes_that_changed_are_counted_with_their_labels() -> None:
    ledger = SampleLedger()
    add(ledger, "a", [1.0, 0.0], [0.0, 1.0], label=0)
    add(ledger, "b", [1.0, 0.0], [0.0, 1.0], label=1)
    add(ledger, "c", [1.0, 0.0], [0.9, 0.0], label=0)
    (swap,) = ledger.result().swaps
    assert (swap.float_class, swap.payload_class) == (0, 1)
    assert (swap.count, swap.float_class_count) == (2, 3)
    assert (swap.float_right, swap.payload_right) == (1, 1)
    assert [sample.id for sample in ledger.result().changed] == ["a", "b"]


def test_without_labels_nothing_is_right_or_wrong() -> None:
    ledger = SampleLedger()
    add(ledger, "a", [1.0, 0.0], [0.0, 1.0])
    (swap,) = ledger.result().swaps
    assert (swap.float_right, swap.payload_right) == (None, None)


def test_outputs_that_are_no_classes_have_none() -> None:
    ledger = SampleLedger()
    ledger.add("a", {"y": np.ones((2, 2))}, {"y": np.zeros((2, 2))}, 1)
    result = ledger.result()
    assert result.class_samples == 0
    assert result.worst[0].float_class is None
    assert result.worst[0].label is None


@given(st.lists(st.floats(0.01, 10.0), min_size=1, max_size=60))
def test_no_more_is_kept_than_is_shown(errors: list[float]) -> None:
    ledger = SampleLedger()
    for index, error in enumerate(errors):
        add(ledger, str(index), [3.0, 0.0], [3.0 + error, 0.0])
    worst = ledger.result().worst
    assert len(worst) == min(len(errors), WORST)
    assert sorted(worst, key=lambda one: one.sqnr_db or 0.0) == list(worst)
    assert max(errors) == errors[int(worst[0].id)]


def test_swaps_are_bounded() -> None:
    ledger = SampleLedger()
    for index in range(SWAPS + 20):
        before, after = np.zeros((1, SWAPS + 21)), np.zeros((1, SWAPS + 21))
        before[0, index], after[0, index + 1] = 1.0, 1.0
        ledger.add(str(index), {"y": before}, {"y": after}, None)
    assert len(ledger.result().swaps) == SWAPS
