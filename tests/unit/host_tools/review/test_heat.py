"""The heat map's rows."""

from __future__ import annotations

import numpy as np
import pytest

from host_tools.review.serve.heat import frame, heat
from host_tools.review.store.windows import Histograms


def histogram(counts: dict[int, int], *, scale: int = 5) -> Histograms:
    return Histograms(
        scale=scale,
        offsets=np.array([0, len(counts)]),
        indices=np.array(list(counts), dtype=np.int32),
        counts=np.array(list(counts.values()), dtype=np.int64),
        zero_counts=np.zeros(1, dtype=np.int64),
    )


def test_every_latency_is_in_the_row_whose_edges_hold_it() -> None:
    found = heat(histogram({-200: 3, -190: 2}))
    assert found.counts[:, 0].tolist() == [3, *[0] * 9, 2]
    assert found.edges[[0, 1]].tolist() == pytest.approx([2.0 ** (-200 / 32), 2.0 ** (-199 / 32)])


@pytest.mark.parametrize("far", [9_999_999, 999_999_999])
def test_what_is_no_latency_leaves_the_others_their_rows(far: int) -> None:
    found = heat(histogram({-far: 1, -200: 3, -160: 2, far: 1}))
    assert found.counts.sum() == 7
    assert len(found.counts) <= 64
    assert np.isfinite(found.edges).all()
    assert np.count_nonzero(found.counts) == 4


@pytest.mark.parametrize("scale", [-10, 0, 20])
def test_of_nothing_but_what_is_none_there_is_one_row(scale: int) -> None:
    nothing = histogram({999_999_999: 5}, scale=scale)
    assert frame([nothing])[2] == 1
    assert heat(nothing).counts.tolist() == [[5]]
    assert frame([histogram({})]) == (0, 0, 0)
    assert heat(histogram({})).counts.shape == (0, 1)
