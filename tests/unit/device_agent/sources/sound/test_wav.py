"""WAV files: every width to the very numbers, and whatever else is refused by name and never with a foreign exception."""

from __future__ import annotations

import contextlib
import struct
import tracemalloc
import wave
from fractions import Fraction
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_agent.sources.sound.wav import MAX_CHUNKS, SoundError, read_wav
from tests.unit.device_agent.sources.recordings import (
    EXTENSIBLE,
    FLOAT,
    GUID,
    PCM,
    chunk,
    form,
    riff,
    wav16,
    waveform,
)

MIX = waveform(channels="mix")


def refused(data: bytes, sound=MIX) -> str:
    with pytest.raises(SoundError) as caught:
        read_wav(data, sound, where="a.wav")
    assert str(caught.value).startswith("a.wav: ")
    return str(caught.value)


@given(
    st.sampled_from((8, 16, 24, 32)).flatmap(
        lambda bits: st.tuples(
            st.just(bits),
            st.lists(st.integers(-(1 << (bits - 1)), (1 << (bits - 1)) - 1), min_size=1, max_size=16),
        )
    )
)
def test_integers_of_every_width_become_their_share_of_full_scale(wanted):
    bits, integers = wanted
    stored = [value + 128 for value in integers] if bits == 8 else integers
    content = b"".join(value.to_bytes(bits // 8, "little", signed=bits != 8) for value in stored)
    found = read_wav(
        riff(chunk(b"fmt ", form(bits=bits)), chunk(b"data", content)), waveform(), where="a.wav"
    )
    assert [Fraction(value) for value in found.tolist()] == [
        Fraction(value, 1 << (bits - 1)) for value in integers
    ]


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=16))
def test_floats_are_taken_as_they_are_but_for_what_processors_flush(values):
    content = np.array(values, "<f4").tobytes()
    found = read_wav(
        riff(chunk(b"fmt ", form(FLOAT, bits=32)), chunk(b"data", content)), waveform(), where="a.wav"
    )
    assert found.tolist() == [value if abs(value) >= 2.0**-126 else 0.0 for value in values]


def test_python_s_own_writer_is_understood():
    stream = BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(struct.pack("<6h", 100, 200, -100, -300, 0, 1))
    assert (read_wav(stream.getvalue(), MIX, where="a") * 32_768).tolist() == [150.0, -200.0, 0.5]


def test_full_scale_is_what_the_largest_integer_is_worth():
    found = read_wav(wav16([-32_768, 1]), waveform(full_scale=32_768.0), where="a")
    assert found.tolist() == [-32_768.0, 1.0]


def test_only_what_the_model_takes_is_read():
    data = wav16(range(1_000))
    assert len(read_wav(data, waveform(5), where="a")) == 5
    assert len(read_wav(data, waveform(5_000), where="a")) == 1_000


def test_extensible_formats_are_read_where_they_say_one_of_ours():
    ours = form(EXTENSIBLE, bits=16) + struct.pack("<HHIH14s", 22, 16, 4, PCM, GUID)
    data = struct.pack("<2h", 1, -1)
    assert read_wav(riff(chunk(b"fmt ", ours), chunk(b"data", data)), waveform(), where="a").tolist() == [
        2.0**-15,
        -(2.0**-15),
    ]
    other = form(EXTENSIBLE, bits=16) + struct.pack("<HHIH14s", 22, 12, 4, PCM, GUID)
    assert "extensible format of 12 bits in 16" in refused(riff(chunk(b"fmt ", other), chunk(b"data", data)))
    strange = form(EXTENSIBLE, bits=16) + struct.pack("<HHIH14s", 22, 16, 4, PCM, bytes(14))
    assert "of a kind that is not read" in refused(riff(chunk(b"fmt ", strange), chunk(b"data", data)))
    short = form(EXTENSIBLE, bits=16) + b"\0\0"
    assert "extensible format has 18 bytes" in refused(riff(chunk(b"fmt ", short), chunk(b"data", data)))


def test_other_chunks_are_passed_over_with_the_byte_that_fills_odd_ones():
    data = riff(chunk(b"LIST", b"odd"), chunk(b"fmt ", form()), chunk(b"fact", b""), chunk(b"data", b"\1\0"))
    assert read_wav(data, waveform(), where="a").tolist() == [2.0**-15]


def test_a_size_that_a_pipe_could_not_know_reaches_to_the_end():
    data = riff(chunk(b"fmt ", form()), b"data\xff\xff\xff\xff" + struct.pack("<3h", 1, 2, 3))
    assert len(read_wav(data, waveform(), where="a")) == 3


def test_another_rate_is_refused_and_says_how_to_mend_it():
    said = refused(wav16([1], rate=44_100))
    assert "recorded at 44100 Hz; the model takes 16000 Hz" in said
    assert "ffmpeg -i IN.wav -ar 16000 OUT.wav" in said


def test_several_channels_are_mixed_only_where_that_is_declared():
    stereo = wav16([10, 20, -4, 0], channels=2)
    assert (read_wav(stereo, MIX, where="a") * 32_768).tolist() == [15.0, -2.0]
    assert "2 channels; the model takes one" in refused(stereo, waveform())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "does not begin as one"),
        (b"RIFF\0\0\0\0WEBP", "does not begin as one"),
        (b"RF64" + bytes(40), "of the kind RF64; expected RIFF"),
        (b"RIFX" + bytes(40), "of the kind RIFX"),
        (riff(), "no format in it"),
        (riff(chunk(b"fmt ", form())), "no samples in it"),
        (riff(chunk(b"data", b"\0\0"), chunk(b"fmt ", form())), "samples come before their format"),
        (riff(chunk(b"fmt ", form()[:14])), "its format has 14 bytes"),
        (riff(chunk(b"fmt ", form()), b"data" + struct.pack("<I", 8) + b"\0\0"), "has 2 of 8 bytes"),
        (riff(chunk(b"fmt ", form()), chunk(b"data", b"")), "0 bytes of samples"),
        (riff(chunk(b"fmt ", form()), chunk(b"data", b"\0\0\0")), "expected a multiple of 2"),
        (riff(chunk(b"fmt ", form(FLOAT, bits=64))), "format 3 of 64 bits"),
        (riff(chunk(b"fmt ", form(6, bits=8))), "format 6 of 8 bits"),
        (riff(chunk(b"fmt ", form(channels=0))), "0 channels"),
        (riff(chunk(b"fmt ", form(channels=65))), "65 channels"),
        (riff(chunk(b"fmt ", form(stride=4))), "1 channels of 16 bits in 4 bytes"),
        (riff(*[chunk(b"junk", b"")] * (MAX_CHUNKS + 1)), f"no samples among its first {MAX_CHUNKS} chunks"),
        (
            riff(chunk(b"fmt ", form(FLOAT, bits=32)), chunk(b"data", struct.pack("<f", float("nan")))),
            "a sample is NaN or infinite",
        ),
        (
            riff(chunk(b"fmt ", form(FLOAT, bits=32)), chunk(b"data", struct.pack("<f", float("-inf")))),
            "a sample is NaN or infinite",
        ),
    ],
)
def test_what_is_no_recording_is_refused_by_name(data, said):
    assert said in refused(data)


@given(
    st.binary(max_size=60).map(lambda tail: b"RIFF\0\0\0\0WAVE" + tail)
    | st.tuples(st.integers(0, 70), st.binary(min_size=1, max_size=6)).map(
        lambda change: _overwritten(wav16(range(16), channels=2), *change)
    )
    | st.integers(0, 75).map(lambda length: wav16(range(16))[:length])
)
def test_nothing_but_our_own_error_comes_out(data):
    with contextlib.suppress(SoundError):
        found = read_wav(data, MIX, where="a")
        assert 1 <= len(found) <= MIX.samples
        assert np.isfinite(found).all()


def _overwritten(data: bytes, at: int, change: bytes) -> bytes:
    return data[:at] + change + data[at + len(change) :]


def test_what_a_long_recording_takes_of_memory_is_bounded_by_the_model():
    content = bytes(64 << 20)
    data = riff(chunk(b"fmt ", form()), chunk(b"data", content))
    tracemalloc.start()
    try:
        read_wav(data, waveform(1_000), where="a")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
