"""Curves in few points, steps and spans, each as near as promised."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.field.spans import simplified, spans, stepped

curves = st.lists(st.floats(-50.0, 150.0), min_size=1, max_size=60)


@settings(deadline=None)  # a busy machine is no fault
@given(values=curves, within=st.floats(0.0, 20.0))
def test_simplified_curves_pass_every_sample_as_near_as_promised(values: list[float], within: float) -> None:
    times, samples = np.arange(len(values), dtype=np.float64), np.array(values)
    places = simplified(times, samples, within=within)
    assert {0, len(values) - 1} <= set(places.tolist())
    assert np.all(np.diff(places) > 0)
    drawn = np.interp(times, times[places], samples[places])
    assert np.abs(drawn - samples).max() <= within + 1e-9


@settings(deadline=None)  # a busy machine is no fault
@given(values=curves, within=st.floats(0.0, 20.0))
def test_steps_are_as_near_as_promised(values: list[float], within: float) -> None:
    samples = np.array(values)
    places = stepped(samples, within=within)
    held = samples[places[np.searchsorted(places, np.arange(len(values)), side="right") - 1]]
    assert np.abs(held - samples).max() <= within


@settings(deadline=None)  # a busy machine is no fault
@given(values=st.lists(st.sampled_from([0.0, 1.0, 2.0]), max_size=40))
def test_spans_cover_everything_once(values: list[float]) -> None:
    times = np.arange(len(values), dtype=np.float64)
    found = spans(times, np.array(values))
    for time, value in zip(times.tolist(), values, strict=True):
        assert any(one.begin <= time <= one.end and one.value == value for one in found)
    assert all(one.end == after.begin and one.value != after.value for one, after in pairwise(found))


def test_an_empty_curve_has_no_spans() -> None:
    assert spans(np.zeros(0), np.zeros(0)) == []
