"""Merged percentiles against exact ones, and merging against merging by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_windows import SCALE, histograms, table

from host_tools.review.analysis import percentiles
from host_tools.review.analysis.regroup import chosen, joined, regroup
from host_tools.review.store.windows import Histograms, Level


@pytest.mark.parametrize("seed", range(6))
def test_percentiles_of_merged_histograms_are_within_one_percent_of_exact(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = [
        0.05
        * np.exp(rng.normal(0, rng.uniform(0.05, 0.5)))
        * np.exp(rng.normal(0, 0.1, 3000))
        * np.where(rng.random(3000) < 0.03, 1 + rng.pareto(2.5, 3000), 1)
        for _ in range(40)
    ]
    merged = percentiles.merge(histograms(rows), np.zeros(40, dtype=np.int64), 1)
    shares = (0.01, 0.1, 0.5, 0.9, 0.95, 0.99, 0.999)
    found = percentiles.quantiles(merged, shares)[0]
    exact = np.quantile(np.concatenate(rows), shares)
    assert np.abs(found / exact - 1).max() < 0.01


def test_percentiles_of_few_values_stay_between_smallest_and_largest() -> None:
    values = np.array([0.031, 0.032, 0.5])
    found = percentiles.quantiles(
        histograms([values]), (0.0, 0.5, 1.0), lowest=np.array([0.031]), highest=np.array([0.5])
    )[0]
    assert found[0] == 0.031
    assert found[2] == 0.5
    assert abs(found[1] / 0.032 - 1) < 0.022


def test_zeros_count_and_an_empty_row_has_no_percentile() -> None:
    hist = histograms([np.array([0.0, 0.0, 0.0, 1.0]), np.zeros(0), np.array([0.0])])
    found = percentiles.quantiles(hist, (0.5, 1.0))
    assert found[0, 0] == 0.0
    assert 0.97 < found[0, 1] <= 1.0
    assert np.isnan(found[1]).all()
    assert found[2].tolist() == [0.0, 0.0]
    assert percentiles.totals(hist).tolist() == [4, 0, 1]


def test_buckets_beyond_what_a_float_holds_have_percentiles_all_the_same() -> None:
    hist = Histograms(
        scale=5,
        offsets=np.array([0, 2]),
        indices=np.array([-999_999_999, 999_999_999], dtype=np.int32),
        counts=np.array([1, 1], dtype=np.int64),
        zero_counts=np.zeros(1, dtype=np.int64),
    )
    assert np.isfinite(percentiles.quantiles(hist, (0.1, 0.9))).all()
    found = percentiles.quantiles(hist, (0.1, 0.9), lowest=np.array([0.01]), highest=np.array([0.02]))
    assert found.tolist() == [[0.01, 0.02]]


def test_a_share_outside_0_to_1_is_refused() -> None:
    with pytest.raises(ValueError, match="within 0 and 1, got"):
        percentiles.quantiles(histograms([np.ones(3)]), (1.5,))


@given(
    st.lists(st.lists(st.floats(1e-6, 1e3), max_size=20), min_size=1, max_size=12),
    st.integers(1, 4),
    st.randoms(use_true_random=False),
)
def test_merging_is_counting_together(rows: list[list[float]], groups: int, random: object) -> None:
    group = np.array([random.randrange(-1, groups) for _ in rows])  # type: ignore[attr-defined]
    values = [np.array(one) for one in rows]
    merged = percentiles.merge(histograms(values), group, groups)
    for number in range(groups):
        expected = histograms(
            [
                np.concatenate(
                    [np.zeros(0), *[one for one, mine in zip(values, group, strict=True) if mine == number]]
                )
            ]
        )
        part = slice(merged.offsets[number], merged.offsets[number + 1])
        assert merged.indices[part].tolist() == expected.indices.tolist()
        assert merged.counts[part].tolist() == expected.counts.tolist()
    assert merged.scale == SCALE


def test_merging_many_sparse_groups_sorts_instead_of_filling_a_table() -> None:
    rng = np.random.default_rng(0)
    rows = [np.array([10.0 ** rng.uniform(-8, 3)]) for _ in range(9000)]
    group = np.arange(9000) // 2
    merged = percentiles.merge(histograms(rows), group, 4500)
    assert percentiles.totals(merged).tolist() == [2] * 4500
    assert all(
        np.all(np.diff(merged.indices[a:b]) > 0)
        for a, b in zip(merged.offsets, merged.offsets[1:], strict=False)
    )


def _some() -> object:
    return table(
        {"device": ["b", "a", "a", "b"], "artifact": [None, "x", "x", "x"], "time": [0, 0, 3600, 3600]},
        latencies=[np.ones(2), np.ones(3), np.full(4, 2.0), np.ones(5)],
        latency_min=[1.0, np.nan, 0.5, 1.0],
        celsius_max=[np.nan, 50.0, 60.0, 55.0],
        watts_sum=[1.0, 2.0, 3.0, 4.0],
    )


def test_regroup_adds_keeps_extremes_and_counts_devices() -> None:
    by_artifact = regroup(_some(), ("artifact",))
    assert by_artifact.key("artifact").tolist() == [None, "x"]
    assert by_artifact.inferences.tolist() == [2, 12]
    assert by_artifact.devices.tolist() == [1, 2]
    assert by_artifact.latency_min.tolist() == [1.0, 0.5]
    assert np.isnan(by_artifact.celsius_max[0])
    assert by_artifact.celsius_max[1] == 60.0
    by_day = regroup(_some(), ("time", "device"), level=Level.DAY)
    assert by_day.key("device").tolist() == ["a", "b"]
    assert by_day.watts_sum.tolist() == [5.0, 5.0]
    assert percentiles.totals(regroup(_some(), ()).hist).tolist() == [14]


def test_choosing_and_joining_rows_keeps_their_histograms() -> None:
    whole = _some()
    again = joined([chosen(whole, np.array([True, False, False, True])), chosen(whole, np.array([2, 1]))])
    assert again.key("device").tolist() == ["b", "b", "a", "a"]
    assert percentiles.totals(again.hist).tolist() == [2, 5, 4, 3]


def test_regroup_refuses_what_the_table_does_not_have() -> None:
    with pytest.raises(ValueError, match="expected axes of device, artifact, time"):
        regroup(_some(), ("label:target",))
    with pytest.raises(ValueError, match="3600 s or more"):
        regroup(_some(), ("device",), level=Level.MINUTE)
