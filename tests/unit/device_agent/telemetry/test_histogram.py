from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_agent.contract.errors import ContractError
from device_agent.telemetry.histogram import RELATIVE_ERROR, Histogram

MAX_UNCLAMPED_NS = 4_096 * 10**9
durations = st.lists(st.integers(min_value=1, max_value=MAX_UNCLAMPED_NS), max_size=60)


def histogram_of(values: list[int]) -> Histogram:
    made = Histogram()
    for value in values:
        made.record(value)
    return made


def state(histogram: Histogram) -> tuple[object, ...]:
    return (
        histogram.buckets(),
        histogram.count,
        histogram.sum_ns,
        histogram.min_ns,
        histogram.max_ns,
    )


@given(durations)
@settings(max_examples=150, deadline=None)
def test_count_sum_and_extremes_are_exact(values: list[int]) -> None:
    histogram = histogram_of(values)
    assert (histogram.count, histogram.sum_ns) == (len(values), sum(values))
    assert histogram.min_ns == (min(values) if values else 0)
    assert histogram.max_ns == (max(values) if values else 0)
    assert sum(count for _, count in histogram.buckets()) == len(values)


@given(st.lists(st.lists(st.integers(-3, 2 * MAX_UNCLAMPED_NS), max_size=20), max_size=4))
@settings(max_examples=150, deadline=None)
def test_recording_many_at_once_is_the_same_as_one_by_one(batches: list[list[int]]) -> None:
    at_once = Histogram()
    for batch in batches:
        at_once.record_all(batch)
    assert state(at_once) == state(histogram_of([value for batch in batches for value in batch]))


@given(durations.filter(bool), st.sampled_from([0.0, 0.5, 0.9, 0.95, 0.99, 1.0]))
@settings(max_examples=200, deadline=None)
def test_quantiles_stay_within_the_relative_error(values: list[int], share: float) -> None:
    true = sorted(values)[max(1, math.ceil(share * len(values))) - 1] * 1e-9
    found = histogram_of(values).quantile_seconds(share)
    assert found is not None
    assert abs(found - true) <= true * (RELATIVE_ERROR + 1e-9)


@given(durations, durations, durations)
@settings(max_examples=80, deadline=None)
def test_merge_is_associative_commutative_and_the_same_as_recording_together(
    a: list[int], b: list[int], c: list[int]
) -> None:
    left = histogram_of(a)
    left.merge(histogram_of(b))
    left.merge(histogram_of(c))
    right_tail = histogram_of(c)
    right_tail.merge(histogram_of(b))
    right = histogram_of(a)
    right.merge(right_tail)
    assert state(left) == state(right) == state(histogram_of(a + b + c))


@given(durations)
@settings(max_examples=80, deadline=None)
def test_buckets_carry_everything(values: list[int]) -> None:
    first = histogram_of(values)
    again = Histogram.from_buckets(
        first.buckets(), sum_ns=first.sum_ns, min_ns=first.min_ns, max_ns=first.max_ns
    )
    assert state(again) == state(first)


@given(st.integers(min_value=1, max_value=MAX_UNCLAMPED_NS))
@settings(max_examples=300, deadline=None)
def test_a_bucket_holds_what_opentelemetry_says(value: int) -> None:
    ((index, _),) = histogram_of([value]).buckets()
    base = 2 ** (1 / 32)
    seconds = value * 1e-9
    assert base**index * (1 - 1e-12) < seconds <= base ** (index + 1) * (1 + 1e-12)


def test_nonsense_durations_are_counted_at_the_edges() -> None:
    histogram = histogram_of([0, -5, 10**20])
    assert histogram.count == 3
    assert histogram.buckets() == ((-957, 2), (383, 1))
    assert histogram.max_ns == 10**20
    assert histogram.min_ns == 1


def test_empty_and_cleared_have_no_quantile() -> None:
    histogram = histogram_of([5, 6, 7])
    histogram.clear()
    assert histogram.quantile_seconds(0.5) is None
    assert state(histogram) == state(Histogram())
    histogram.record(9)
    assert histogram.min_ns == 9


def test_merging_an_empty_one_changes_nothing() -> None:
    histogram = histogram_of([5])
    histogram.merge(Histogram())
    assert state(histogram) == state(histogram_of([5]))


@pytest.mark.parametrize("bucket", [(-958, 1), (384, 1), (0, 0), (0, -3)])
def test_wrong_buckets_are_refused(bucket: tuple[int, int]) -> None:
    with pytest.raises(ContractError, match="bucket"):
        Histogram.from_buckets([bucket], sum_ns=1, min_ns=1, max_ns=1)


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_a_share_outside_0_to_1_is_misuse(share: float) -> None:
    with pytest.raises(ValueError, match="share"):
        histogram_of([1]).quantile_seconds(share)
