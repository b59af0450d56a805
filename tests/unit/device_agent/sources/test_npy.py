"""``.npy`` bytes of a stranger: read exactly, or refused as a `FrameError`; never unpickled, never more memory than was sent."""

from __future__ import annotations

import contextlib
import io
import pickle
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays, scalar_dtypes

from device_agent.sources.adapt import FrameError
from device_agent.sources.npy import batched, read_npy
from tests.unit.device_agent.sources.payload_tensors import tensor


def npy_of(array: np.ndarray, **options: object) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, **options)  # type: ignore[arg-type]  # version or allow_pickle
    return stream.getvalue()


def forged(header: str, data: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    text = header.encode("latin-1") + b"\n"
    length = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + length + text + data


def header(shape: str, descr: str = "'<f4'", order: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"


@settings(max_examples=150, deadline=None)
@given(arrays(scalar_dtypes(), array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)), st.booleans())
def test_what_numpy_wrote_is_read(array: np.ndarray, fortran: bool) -> None:
    array = np.asfortranarray(array) if fortran else array
    data = npy_of(array)
    try:
        read = read_npy(data, where="f")
    except FrameError:
        assert array.dtype.itemsize == 0 or array.dtype.kind in "US"
        return
    assert (read.dtype, read.shape) == (array.dtype, array.shape)
    assert read.tobytes() == array.tobytes()
    assert not read.flags.writeable


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_both_versions_are_read(version: tuple[int, int]) -> None:
    assert read_npy(npy_of(np.arange(3), version=version), where="f").tolist() == [0, 1, 2]


def test_version_3_is_refused() -> None:
    with pytest.raises(FrameError, match=r"f: not an \.npy of version .* but \(3, 0\)"):
        read_npy(npy_of(np.arange(3), version=(3, 0)), where="f")


class Bomb:
    def __reduce__(self) -> tuple[object, ...]:
        return exec, ("raise SystemExit('unpickled')",)


def test_pickled_objects_are_refused_and_not_run() -> None:
    data = npy_of(np.array([Bomb()], dtype=object), allow_pickle=True)
    with pytest.raises(FrameError, match="f: expected numbers, got object"):
        read_npy(data, where="f")
    with pytest.raises(FrameError, match="f: not an"):
        read_npy(pickle.dumps(Bomb()), where="f")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not an .npy"),
        (b"\x93NUMPY", "not an .npy"),
        (b"PK\x03\x04" + b"\0" * 60, "not an .npy"),
        (forged("", b""), "not an .npy"),
        (forged("[" * 9000), "not an .npy"),
        (forged("{'descr': '<f4'}"), "not an .npy"),
        (forged(header("(1,)", "__import__('os')"), b"1234"), "not an .npy"),
        (forged(header("(1,)", "'<f99'"), b"1234"), "not an .npy"),
        (forged(header("'abc'"), b"1234"), "not an .npy"),
        (forged(header("(2,)"), b"1234"), r"float32 of shape \(2,\) is 8 bytes, got 4"),
        (forged(header("(1,)"), b"12345"), "is 4 bytes, got 5"),
        (forged(header("(-1,)"), b""), "is -4 bytes, got 0"),
        (forged(header("(-1, -1)"), b"1234"), "is 4 bytes, got 4"),
        (forged(header("(0, 4611686018427387904, 4611686018427387904)")), "is no array"),
        (forged(header("(" + "1," * 70 + ")"), b"1234"), "is no array"),
        (forged(header("(3,)", "'<U0'")), "is no array"),
        (forged(header("(1,)", "[('a', '<f4')]"), b"1234"), "expected numbers"),
        (forged(header("(1,)", "'|O'"), b"12345678"), "expected numbers, got object"),
        (forged(header("(1,)", "('<f4', (2,))"), b"12345678"), "expected numbers"),
    ],
)
def test_what_is_no_array_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(FrameError, match=words):
        read_npy(data, where="f")


def test_a_header_that_promises_terabytes_costs_nothing() -> None:
    data = forged(header("(1099511627776,)"), b"1234")
    tracemalloc.start()
    with pytest.raises(FrameError, match="is 4398046511104 bytes, got 4"):
        read_npy(data, where="f")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_changed_bytes_are_read_or_refused(data: st.DataObject) -> None:
    changed = bytearray(npy_of(np.arange(6, dtype=np.float32).reshape(2, 3)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(changed) - 1))
        piece = data.draw(
            st.binary(max_size=2) | st.sampled_from([b"9" * 30, b"(" * 50, b"-", b"O", b"V0", b"\0"])
        )
        changed[at : at + len(piece)] = piece
    with contextlib.suppress(FrameError):
        read_npy(bytes(changed), where="f")


def test_a_single_sample_gets_its_batch_axis() -> None:
    payload = tensor((1, 2, 2, 3), axes=(0, 2, 3, 1))
    assert batched(np.zeros((3, 2, 2)), payload).shape == (1, 3, 2, 2)
    assert batched(np.zeros((1, 3, 2, 2)), payload).shape == (1, 3, 2, 2)
    assert batched(np.zeros((2, 2)), payload).shape == (2, 2), "wrong shapes are told by `to_payload`"
    assert batched(np.zeros(4), tensor((2, 4))).shape == (4,), "a batch of two is not one sample"
