"""Frames over MQTT, where anybody may send anything, and frames out of nothing."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from device_agent.contract.errors import DeviceError
from device_agent.sources.mqtt import MqttSource
from device_agent.sources.synthetic import SyntheticSource
from tests.unit.device_agent.sources.payload_tensors import PICTURE, PREPROCESSING, tensor

if TYPE_CHECKING:
    from device_agent.contract.manifest import PayloadTensor, Preprocessing

REPOSITORY = Path(__file__).parents[4]
CODES = tensor((1, 4), "int8", scale=0.5, zero_point=0)


def mqtt_source(
    payload: PayloadTensor = CODES,
    preprocessing: Preprocessing | None = None,
    *,
    queue_frames: int = 3,
    max_frame_bytes: int = 4096,
) -> tuple[MqttSource, list[str]]:
    said: list[str] = []
    source = MqttSource(
        [payload],
        preprocessing,
        queue_frames=queue_frames,
        max_frame_bytes=max_frame_bytes,
        on_refused=said.append,
    )
    return source, said


def npy(array: object, *, allow_pickle: bool = False) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asarray(array), allow_pickle=allow_pickle)
    return stream.getvalue()


def png(size: tuple[int, int] = (3, 2)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, (255, 0, 0)).save(stream, "PNG")
    return stream.getvalue()


# --- MQTT ---


def test_arrays_and_pictures_become_frames_in_order() -> None:
    source, said = mqtt_source(PICTURE, PREPROCESSING)
    source.offer(npy(np.zeros((1, 3, 2, 3), np.float32)))
    source.offer(png())
    source.offer(npy(np.ones((3, 2, 3))))
    frames = [source.next(0.0) for _ in range(3)]
    assert [frame.id for frame in frames] == ["mqtt-1", "mqtt-2", "mqtt-3"]
    assert [frame.inputs[0].sum() for frame in frames] == [0.0, 255.0 * 6, 18.0]
    assert source.next(0.0) is None
    assert (source.dropped, source.refused, said) == (0, 0, [])


def test_the_oldest_frames_are_dropped_and_counted() -> None:
    source, _ = mqtt_source(queue_frames=2)
    for value in range(5):
        source.offer(npy(np.full((1, 4), value / 2)))
    assert source.dropped == 3
    assert [source.next(0.0).inputs[0][0, 0] for _ in range(2)] == [3, 4]
    assert source.next(0.0) is None


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"", "not .npy, and the artifact does not say how to prepare pictures"),
        (b"\xff" * 50, "does not say how to prepare pictures"),
        (b"\x93NUMPY garbage", "a frame: not an .npy"),
        (npy(np.zeros((3, 3))), "expected shape (1, 4), got (3, 3)"),
        (npy([[np.nan, 0, 0, 0]]), "NaN or infinite"),
        (npy([["a", "b", "c", "d"]]), "expected numbers"),
        (npy(np.zeros((1, 4)))[:-1], "is 32 bytes, got 31"),
        (npy(np.array([{"a": 1}], dtype=object), allow_pickle=True), "expected numbers, got object"),
        (pickle.dumps([1]), "not .npy"),
        (npy(np.zeros((1, 4), [("a", "f4")])), "expected numbers"),
    ],
    ids=["empty", "bytes", "garbage", "shape", "nan", "text", "cut", "pickled npy", "pickle", "record"],
)
def test_malformed_frames_are_counted_and_reported(payload: bytes, words: str) -> None:
    source, said = mqtt_source()
    source.offer(payload)
    source.offer(npy(np.zeros((1, 4))))
    assert source.next(0.0) is None
    assert source.refused == 1
    assert words in said[0]
    assert source.next(0.0).id == "mqtt-2", "and the next one is taken"


def test_pictures_that_are_none_are_counted_and_reported() -> None:
    source, said = mqtt_source(PICTURE, PREPROCESSING, max_frame_bytes=1 << 20)
    for payload in (b"", b"no picture", png()[:40], b"%!PS-Adobe-3.0 EPSF-3.0\n" + b" " * 100):
        source.offer(payload)
        assert source.next(0.0) is None
    assert source.refused == len(said) == 4


def test_too_large_a_frame_is_not_kept_and_says_so() -> None:
    source, said = mqtt_source(max_frame_bytes=200)
    source.offer(b"x" * 201)
    assert source.next(0.0) is None
    assert (source.refused, said) == (
        1,
        ["a frame of more than 200 bytes, which are accepted at most (source.max_frame_bytes)."],
    )
    source.offer(npy(np.zeros((1, 4))))
    assert source.next(0.0) is not None, "160 bytes are within the limit"


def test_large_frames_do_not_fill_the_memory() -> None:
    source, _ = mqtt_source(queue_frames=1000, max_frame_bytes=200)
    payload = bytes(1 << 20)
    for _ in range(1000):
        source.offer(payload)
    held = sum(len(item.payload) for item in source._queue._items if isinstance(item.payload, bytes))
    assert held == 0


def test_waiting_ends_when_a_frame_comes_or_the_time_is_up() -> None:
    source, _ = mqtt_source()
    start = time.monotonic()
    assert source.next(0.05) is None
    assert time.monotonic() - start >= 0.04
    sender = threading.Timer(0.05, source.offer, [npy(np.zeros((1, 4)))])
    sender.start()
    assert source.next(3600.0) is not None, "this test has not so much time"
    sender.join()


def test_frames_of_many_threads_are_all_counted() -> None:
    source, _ = mqtt_source(queue_frames=16)
    payload = npy(np.zeros((1, 4)))
    threads = [threading.Thread(target=lambda: [source.offer(payload) for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    taken = 0
    while any(thread.is_alive() for thread in threads):
        taken += source.next(0.0) is not None
    while source.next(0.0) is not None:
        taken += 1
    assert taken + source.dropped == 2000


def test_a_closed_source_holds_nothing() -> None:
    source, _ = mqtt_source()
    source.offer(npy(np.zeros((1, 4))))
    source.close()
    source.close()
    assert source.next(0.0) is None


def test_a_model_of_two_inputs_is_refused() -> None:
    with pytest.raises(DeviceError, match="frames over MQTT are one input, but the model has x, ids"):
        MqttSource(
            [CODES, tensor((1,), "int64", name="ids")],
            None,
            queue_frames=1,
            max_frame_bytes=1,
            on_refused=lambda _: None,
        )


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80) | st.binary(max_size=80).map(lambda tail: b"\x93NUMPY\x01\0" + tail))
def test_any_payload_is_a_frame_or_refused(payload: bytes) -> None:
    source, said = mqtt_source(PICTURE, PREPROCESSING)
    source.offer(payload)
    assert (source.next(0.0) is None) == (len(said) == 1)


# --- out of nothing ---


def test_zeros_in_the_payloads_type_and_shape() -> None:
    tensors = [tensor((1, 2, 3), "int16"), tensor((), "float32", name="s"), tensor((4,), "bool", name="b")]
    source = SyntheticSource(tensors, as_arrays=True)
    frame = source.next(0.0)
    assert [(array.dtype.name, array.shape, int(array.sum())) for array in frame.inputs] == [
        ("int16", (1, 2, 3), 0),
        ("float32", (), 0),
        ("bool", (4,), 0),
    ]
    assert source.next(0.0) is frame
    assert (source.dropped, source.refused) == (0, 0)
    source.close()


def test_zeros_need_no_numpy() -> None:
    program = """
import sys
from device_agent.contract.manifest import PayloadTensor
from device_agent.sources.synthetic import SyntheticSource
sizes = {"float32": 4, "int8": 1, "uint8": 1, "int16": 2, "int32": 4, "int64": 8, "bool": 1}
for dtype, size in sizes.items():
    tensor = PayloadTensor(name="x", shape=(2, 3), dtype=dtype, scale=None, zero_point=None, source_name="x", source_axes=(0, 1))
    (buffer,) = SyntheticSource([tensor], as_arrays=False).next(0.0).inputs
    assert bytes(buffer) == bytes(6 * size), dtype
print([name for name in sys.modules if name.split(".")[0] in ("numpy", "PIL")])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=REPOSITORY
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
