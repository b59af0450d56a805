"""`CalibrationSet`: the first samples, those after, and how each is told from the other."""

from __future__ import annotations

import numpy as np
import pytest

from host_tools.errors import DataError
from host_tools.model.float_model import TensorSpec
from host_tools.observe import open_data

INPUTS = (TensorSpec(name="x", shape=(1, 2), dtype="float32"),)


@pytest.fixture
def data(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(20, dtype=np.float32).reshape(10, 2))
    return open_data(tmp_path / "x.npy", inputs=INPUTS)


def seen(data):
    """Return which samples come, by their first number; ids must be those that are announced."""
    samples = list(data)
    assert [sample.id for sample in samples] == list(data.ids())
    assert len(samples) == len(data)
    return [int(sample.arrays["x"][0, 0]) // 2 for sample in samples]


def test_first_and_after_part_the_samples(data):
    for count in range(1, 10):
        assert seen(data.first(count)) == list(range(count))
        assert seen(data.after(count)) == list(range(count, 10))
    assert seen(data.after(0)) == list(range(10))
    assert seen(data.first(99)) == list(range(10))


def test_parts_of_parts(data):
    assert seen(data.after(2).after(3)) == [5, 6, 7, 8, 9]
    assert seen(data.after(2).first(3)) == [2, 3, 4]
    assert seen(data.first(8).after(3)) == [3, 4, 5, 6, 7]
    assert seen(data.first(8).after(3).first(2).after(1)) == [4]
    assert seen(data.after(7).first(99)) == [7, 8, 9]


def test_reading_again_starts_again(data):
    part = data.after(6)
    assert seen(part) == seen(part) == [6, 7, 8, 9]


@pytest.mark.parametrize("count", [4, 5, 99])
def test_when_none_is_left_it_says_so(data, count):
    with pytest.raises(DataError, match=f"4 samples, none is left after {count}"):
        data.first(4).after(count)


@pytest.mark.parametrize("count", [0, -1])
def test_fewer_than_one_first_sample_is_refused(data, count):
    with pytest.raises(DataError, match=f"at least 1, got {count}"):
        data.first(count)


def test_parts_of_the_same_size_are_told_apart(data):
    parts = [data.first(4), data.after(6), data.after(5).first(4), data.first(8).after(4)]
    assert len({part.fingerprint() for part in parts}) == len(parts)
    assert data.after(0).fingerprint() == data.fingerprint()
