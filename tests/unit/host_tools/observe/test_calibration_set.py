"""`CalibrationSet`: samples at equal distances, those between, and how each part is told from the other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_tools.errors import DataError
from host_tools.model.float_model import TensorSpec
from host_tools.observe import open_data
from host_tools.observe.calibration_set import CalibrationSet

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


class Numbers:
    """A source of numbers, which announces ``total`` and gives ``given``."""

    where = "numbers"

    def __init__(self, total, given=None):
        self.total, self.given, self.read = total, total if given is None else given, 0

    def __len__(self):
        return self.total

    def samples(self):
        for place in range(self.given):
            self.read = place + 1
            yield str(place), {"x": np.array([2.0 * place, 0.0], np.float32)}

    def ids(self):
        return map(str, range(self.total))

    def fingerprint(self, count):
        return f"the first {count}"


@given(total=st.integers(1, 60), count=st.integers(1, 60))
def test_every_sample_is_in_one_of_the_two_parts_and_the_first_is_spread_evenly(total, count):
    data = CalibrationSet(Numbers(total), INPUTS)
    taken = seen(data.spread(count))
    assert len(taken) == min(count, total)
    assert all(
        part * total // len(taken) <= place < -(-(part + 1) * total // len(taken))
        for part, place in enumerate(taken)
    )
    if count < total:
        assert sorted(taken + seen(data.without_spread(count))) == list(range(total))


def test_parts_of_parts(data):
    assert seen(data.spread(4)) == [1, 3, 6, 8]
    assert seen(data.without_spread(4)) == [0, 2, 4, 5, 7, 9]
    assert seen(data.without_spread(4).spread(2)) == [2, 7]
    assert seen(data.spread(4).without_spread(1).without_spread(1)) == [1, 8]
    assert seen(data.without_spread(0)) == seen(data.spread(99)) == list(range(10))


def test_reading_again_starts_again_and_stops_at_the_last():
    source = Numbers(10)
    part = CalibrationSet(source, INPUTS).spread(2)
    assert seen(part) == seen(part) == [2, 7]
    assert source.read == 8


@pytest.mark.parametrize("count", [4, 5, 99])
def test_when_none_is_left_it_says_so(data, count):
    with pytest.raises(DataError, match=f"4 samples, none is left without {count}"):
        data.spread(4).without_spread(count)


@pytest.mark.parametrize("count", [0, -1])
def test_fewer_than_one_sample_is_refused(data, count):
    with pytest.raises(DataError, match=f"at least 1, got {count}"):
        data.spread(count)


@pytest.mark.parametrize(
    ("given", "told"), [(9, "10 samples were announced, 9 came"), (11, "announced, more came")]
)
def test_what_was_announced_must_come(given, told):
    with pytest.raises(DataError, match=told):
        list(CalibrationSet(Numbers(10, given), INPUTS))


def test_a_part_needs_what_comes_before_its_last_sample():
    assert seen(CalibrationSet(Numbers(10, 8), INPUTS).spread(2)) == [2, 7]
    with pytest.raises(DataError, match="8 samples were announced, 7 came"):
        list(CalibrationSet(Numbers(10, 7), INPUTS).spread(2))


def test_parts_of_the_same_size_are_told_apart(data):
    parts = [
        data.spread(5),
        data.without_spread(5),
        data.without_spread(2).spread(5),
        data.spread(9).spread(5),
    ]
    assert {len(part) for part in parts} == {5}
    assert len({part.fingerprint() for part in parts}) == len({tuple(part.ids()) for part in parts}) == 4
    assert data.without_spread(0).fingerprint() == data.spread(10).fingerprint() == data.fingerprint()


@pytest.mark.parametrize("number", [-9, 8, 2**40])
def test_a_number_of_no_row_of_the_table_is_the_datas_fault(tmp_path, number):
    """ONNX Runtime refused it in the middle of calibration, and the model was blamed."""
    spec = TensorSpec(name="ids", shape=(1, 2), dtype="int64", rows=8)
    for numbers in ([-8, 7], [0, number]):
        np.save(tmp_path / "ids.npy", np.array([[0, 1], numbers]))
        samples = iter(open_data(tmp_path / "ids.npy", inputs=(spec,)))
        next(samples)
        if number in numbers:
            with pytest.raises(DataError, match=rf"sample 1, input 'ids': {number} names no row .* -8 to 7"):
                next(samples)
        else:
            assert next(samples).arrays["ids"].tolist() == [numbers]
