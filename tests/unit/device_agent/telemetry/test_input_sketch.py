"""What is said of a model's inputs against numpy on the same values, and what a look may cost."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from device_agent.contract.manifest import PayloadTensor
from device_agent.contract.telemetry.measurements import INPUT_BUCKETS, InputSketch
from device_agent.telemetry.input_sketch import BUDGET_NS, NEVER, InputSketcher
from device_agent.telemetry.input_values import MOST_VALUES


def tensor(
    dtype: str = "float32", *, scale: float | None = None, zero_point: int | None = None
) -> PayloadTensor:
    return PayloadTensor(name="x:0", shape=(1, 4), dtype=dtype, scale=scale, zero_point=zero_point,  # type: ignore[arg-type]
                         source_name="image", source_axes=(0, 1))  # fmt: skip


def sketched(one: PayloadTensor, *frames: np.ndarray) -> tuple[int, tuple[InputSketch, ...]]:
    sketcher = InputSketcher(1)
    sketcher.begin([one])
    for number, frame in enumerate(frames):
        sketcher.take([frame], number)
    return sketcher.close_window()


@given(arrays(np.float32, st.integers(1, 300), elements=st.floats(-1e9, 1e9, width=32)))
def test_a_sketch_is_what_numpy_says_of_the_values(frame: np.ndarray) -> None:
    frames, (one,) = sketched(tensor(), frame, frame[::-1])
    values = np.concatenate((frame, frame)).astype(np.float64)
    size = float(np.abs(values).max())
    assert (frames, one.name, one.value_count, one.saturated_ratio) == (2, "image", len(values), None)
    assert one.mean == pytest.approx(values.mean(), rel=1e-9, abs=1e-9 * size)
    assert one.deviation == pytest.approx(values.std(), rel=1e-6, abs=1e-6 * size)
    assert (one.minimum, one.maximum) == (values.min(), values.max())
    for told, side in ((one.positive, values[values > 0]), (one.negative, -values[values < 0])):
        expected: dict[int, int] = {}
        for value in side.tolist():
            index = next((i for i in INPUT_BUCKETS if value <= 2.0 ** ((i + 1) / 2)), INPUT_BUCKETS[-1])
            if value > 2.0 ** (INPUT_BUCKETS[0] / 2):
                expected[index] = expected.get(index, 0) + 1
        assert told == expected
    assert one.zero_count == len(values) - sum(one.positive.values()) - sum(one.negative.values())


def test_codes_are_told_in_real_units_and_the_ends_of_their_type_are_saturated() -> None:
    codes = np.array([[0, 255, 128, 64]], dtype=np.uint8)
    _, (one,) = sketched(tensor("uint8", scale=0.5, zero_point=128), codes)
    assert (one.minimum, one.maximum, one.mean) == (-64.0, 63.5, pytest.approx(-8.125))
    assert one.saturated_ratio == 0.5
    assert one.zero_count == 1


def test_large_frames_are_thinned_and_no_channel_is_left_out() -> None:
    frame = np.zeros((1, 224, 224, 3), dtype=np.float32)
    frame[..., 1], frame[..., 2] = 1.0, 2.0
    _, (one,) = sketched(tensor(), frame)
    assert MOST_VALUES / 2 <= one.value_count <= MOST_VALUES
    assert one.mean == pytest.approx(1.0, abs=0.01)


def test_what_is_no_number_is_left_out() -> None:
    frames, sketches = sketched(tensor(), np.array([np.nan, np.inf], dtype=np.float32))
    assert (frames, sketches) == (1, ())
    _, (one,) = sketched(tensor(), np.array([np.nan, 3.0], dtype=np.float32))
    assert (one.value_count, one.mean, one.deviation) == (1, 3.0, 0.0)


def test_looks_are_as_rare_as_they_are_dear() -> None:
    sketcher = InputSketcher(2)
    assert sketcher.due == NEVER
    sketcher.begin([tensor()])
    assert sketcher.due == 0
    frame, looks, taken = np.zeros(1 << 20, dtype=np.float32), 0, 0
    for taken in range(5_000):
        if taken >= sketcher.due:
            sketcher.take([frame], taken)
            looks += 1
            assert sketcher.due > taken + 1
    assert looks < taken / 2, f"a look at {MOST_VALUES} values costs more than {2 * BUDGET_NS} ns"
    never = InputSketcher(0)
    never.begin([tensor()])
    assert never.due == NEVER


def test_another_models_inputs_begin_anew_and_the_same_ones_go_on() -> None:
    sketcher = InputSketcher(1)
    sketcher.begin([tensor()])
    sketcher.take([np.ones(4, dtype=np.float32)], 0)
    sketcher.begin([tensor()])
    assert sketcher.close_window()[0] == 1
    sketcher.take([np.ones(4, dtype=np.float32)], 0)
    sketcher.begin([tensor("uint8", scale=1.0, zero_point=0)])
    assert sketcher.close_window() == (0, ())
    assert math.isfinite(sketcher.due)
