"""Bytes of a WAV file that a stranger may have sent, as one waveform; no more of them is touched than the model takes.

Source:
    Microsoft, "Multimedia Programming Interface and Data Specifications 1.0" (RIFF, WAVE) and "WAVEFORMATEXTENSIBLE structure".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from device_agent.contract.errors import DeviceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from device_agent.contract.sound import Sound

MAGIC: Final = b"RIFF"
MAX_CHUNKS: Final = 256
MAX_CHANNELS: Final = 64
_PCM: Final = 0x0001
_FLOAT: Final = 0x0003
_EXTENSIBLE: Final = 0xFFFE
_EXTENSION_BYTES: Final = 40
_GUID_TAIL: Final = bytes.fromhex("000000001000800000aa00389b71")
"""What follows the format's number in the sub-format of every format that has a number."""
_UNKNOWN_SIZE: Final = 0xFFFFFFFF
"""What ffmpeg writes into a pipe, where it cannot come back to fill in a size."""
_KINDS: Final = {(_PCM, 8), (_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32)}
_EXPONENT: Final = np.uint32(0x7F800000)
_CONVERT: Final = "Convert it: ffmpeg -i IN.wav"


class SoundError(DeviceError):
    """A recording cannot be read, or is not one that the model takes."""

    code = "sound"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Format:
    """What the ``fmt`` chunk says: number of the format, channels, rate in Hz, bits a sample."""

    number: int
    channels: int
    rate: int
    bits: int


def read_wav(data: bytes, sound: Sound, *, where: str) -> NDArray[np.float64]:
    """Return the first ``sound.samples`` samples of a recording, or all of a shorter one.

    Args:
        data: The whole file: PCM of 8, 16, 24 or 32 bits, or float32.
        sound: Its rate, channels, number of samples and full scale count.
        where: What to call it in messages.

    Returns:
        Shape (samples,), at least one; the largest integer amplitude is ``sound.full_scale``. What float32 cannot hold as a normal
        number is 0, so that it does not matter whether a processor flushes them.

    Raises:
        SoundError: No such file, one that was cut short, of another rate, of several channels where one is expected, without a sample, or
            with one that is NaN or infinite.
    """
    form, content = _chunks(data, where)
    if form.rate != sound.sample_rate:
        raise SoundError(
            f"{where}: recorded at {form.rate} Hz; the model takes {sound.sample_rate} Hz, and nothing is resampled unasked.",
            hint=f"{_CONVERT} -ar {sound.sample_rate} OUT.wav",
        )
    if form.channels > 1 and sound.channels == "mono":
        raise SoundError(
            f"{where}: {form.channels} channels; the model takes one.",
            hint=f'{_CONVERT} -ac 1 OUT.wav; or declare channels = "mix".',
        )
    stride = form.channels * form.bits // 8
    whole, left = divmod(len(content), stride)
    if left or not whole:
        raise SoundError(
            f"{where}: {len(content)} bytes of samples; expected a multiple of {stride}, above 0."
        )
    used = content[: min(whole, sound.samples) * stride]
    columns = _numbers(used, form, where, sound.full_scale).reshape(-1, form.channels).T
    waveform: NDArray[np.float64] = columns[0].copy()
    for column in columns[1:]:
        waveform += column
    if form.channels > 1:
        waveform /= form.channels
    return waveform


def _chunks(data: bytes, where: str) -> tuple[_Format, memoryview]:
    """Find format and samples.

    Raises:
        SoundError: It is no WAV file, or was cut short.
    """
    if data[:4] in (b"RF64", b"RIFX", b"BW64"):
        raise SoundError(
            f"{where}: a file of the kind {data[:4].decode()}; expected RIFF.", hint=f"{_CONVERT} OUT.wav"
        )
    if data[:4] != MAGIC or data[8:12] != b"WAVE":
        raise SoundError(f"{where}: not a WAV file: it does not begin as one.")
    view, at, form = memoryview(data), 12, None
    for _ in range(MAX_CHUNKS):
        if at + 8 > len(data):
            raise SoundError(
                f"{where}: no {'samples' if form else 'format'} in it.", hint="Was it cut short?"
            )
        name, size = struct.unpack_from("<4sI", data, at)
        at += 8
        if name == b"data" and size == _UNKNOWN_SIZE:
            size = len(data) - at
        if at + size > len(data):
            told = name.decode("latin-1")
            raise SoundError(
                f"{where}: chunk {told!r} has {len(data) - at} of {size} bytes.", hint="It was cut short."
            )
        if name == b"fmt ":
            form = _format(view[at : at + size], where)
        elif name == b"data":
            if form is None:
                raise SoundError(f"{where}: samples come before their format.")
            return form, view[at : at + size]
        at += size + size % 2  # chunks begin at even places
    raise SoundError(f"{where}: no samples among its first {MAX_CHUNKS} chunks.")


def _format(chunk: memoryview, where: str) -> _Format:
    if len(chunk) < 16:
        raise SoundError(f"{where}: its format has {len(chunk)} bytes; expected at least 16.")
    number, channels, rate, _, stride, bits = struct.unpack_from("<HHIIHH", chunk)
    if number == _EXTENSIBLE:
        number = _extended(chunk, bits, where)
    if (number, bits) not in _KINDS:
        raise SoundError(
            f"{where}: format {number} of {bits} bits; expected PCM (1) of 8, 16, 24 or 32 bits, or float (3) of 32.",
            hint=f"{_CONVERT} -c:a pcm_s16le OUT.wav",
        )
    if not 1 <= channels <= MAX_CHANNELS or stride != channels * bits // 8:
        raise SoundError(
            f"{where}: {channels} channels of {bits} bits in {stride} bytes; expected 1 to {MAX_CHANNELS} channels, packed."
        )
    return _Format(number=number, channels=channels, rate=rate, bits=bits)


def _extended(chunk: memoryview, bits: int, where: str) -> int:
    """Return the format's number out of the sub-format."""
    if len(chunk) < _EXTENSION_BYTES:
        raise SoundError(
            f"{where}: its extensible format has {len(chunk)} bytes; expected {_EXTENSION_BYTES}."
        )
    valid, _, number, tail = struct.unpack_from("<HIH14s", chunk, 18)
    if tail != _GUID_TAIL or valid not in (0, bits):
        raise SoundError(
            f"{where}: an extensible format of {valid} bits in {bits}, of a kind that is not read."
        )
    return int(number)


def _numbers(content: memoryview, form: _Format, where: str, full_scale: float) -> NDArray[np.float64]:
    """Return every sample of every channel as it lies there, shape (samples * channels,)."""
    if form.number == _FLOAT:
        return _floats(content, where)
    if form.bits == 8:  # the only one without a sign
        values = np.frombuffer(content, np.uint8).astype(np.float64) - 128.0
    elif form.bits == 24:
        low, middle, high = np.frombuffer(content, np.uint8).reshape(-1, 3).T.astype(np.int32)
        values = (low + middle * 256 + (high - 256 * (high > 127)) * 65536).astype(np.float64)
    else:
        values = np.frombuffer(content, np.dtype(f"<i{form.bits // 8}")).astype(np.float64)
    values *= full_scale / 2.0 ** (form.bits - 1)
    return values


def _floats(content: memoryview, where: str) -> NDArray[np.float64]:
    bits = np.frombuffer(content, np.dtype("<u4")).astype(np.uint32)
    exponents = bits & _EXPONENT
    if (exponents == _EXPONENT).any():
        raise SoundError(f"{where}: a sample is NaN or infinite.")
    bits[exponents == 0] = 0
    return bits.view(np.float32).astype(np.float64)
