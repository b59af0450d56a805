"""WAV files and declarations of sound for tests, written without the code that reads them."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from device_agent.contract.sound import Logarithm, Mel, Mfcc, Normalization, Sound, Spectrum

if TYPE_CHECKING:
    from collections.abc import Sequence

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
GUID = bytes.fromhex("000000001000800000aa00389b71")


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def form(
    number: int = PCM, channels: int = 1, rate: int = 16_000, bits: int = 16, *, stride: int | None = None
) -> bytes:
    width = channels * bits // 8 if stride is None else stride
    return struct.pack("<HHIIHH", number, channels, rate, rate * width % (1 << 32), width, bits)


def riff(*chunks: bytes) -> bytes:
    content = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(content)) + content


def wav16(samples: Sequence[int] | np.ndarray, *, channels: int = 1, rate: int = 16_000) -> bytes:
    """A file of 16 bits; the samples of several channels lie one beside the other."""
    content = np.asarray(samples, np.int16).astype("<i2").tobytes()
    return riff(chunk(b"fmt ", form(channels=channels, rate=rate)), chunk(b"data", content))


def tone(count: int = 16_000, *, seed: int = 0, rate: int = 16_000) -> np.ndarray:
    """A tone in noise, int16."""
    rng = np.random.default_rng(seed)
    hertz = rng.uniform(100.0, rate / 3)
    wave = 0.4 * np.sin(2 * np.pi * hertz * np.arange(count) / rate) + 0.1 * rng.standard_normal(count)
    return (np.clip(wave, -1.0, 0.999) * 32_767).astype(np.int16)


def spectrum(**changed: Any) -> Spectrum:
    usual: dict[str, Any] = {
        "window": "hann",
        "symmetry": "periodic",
        "frame_length": 400,
        "hop": 160,
        "fft_size": 512,
        "padding": "none",
        "frames": 98,
        "value": "power",
    }
    return Spectrum(**(usual | changed))


def mel(**changed: Any) -> Mel:
    usual: dict[str, Any] = {
        "bands": 40,
        "scale": "htk",
        "triangles": "hertz",
        "low_hz": 0.0,
        "high_hz": 8_000.0,
        "norm": "none",
    }
    return Mel(**(usual | changed))


def sound(**changed: Any) -> Sound:
    """40 bands of a second, and the natural logarithm of at least 1e-6."""
    usual: dict[str, Any] = {
        "sample_rate": 16_000,
        "channels": "mono",
        "samples": 16_000,
        "full_scale": 1.0,
        "layout": ("batch", "time", "feature"),
        "spectrum": spectrum(),
        "mel": mel(),
        "logarithm": Logarithm(kind="natural", floor=1e-6, offset=None, top=None),
        "mfcc": None,
        "normalization": None,
    }
    return Sound(**(usual | changed))


def waveform(samples: int = 16, **changed: Any) -> Sound:
    """The waveform itself."""
    bare: dict[str, Any] = {"layout": ("batch", "time"), "spectrum": None, "mel": None, "logarithm": None}
    return sound(samples=samples, **(bare | changed))


EVERY_STEP = sound(
    spectrum=spectrum(padding="reflect", frames=101, value="magnitude", window="hamming"),
    mel=mel(scale="slaney", norm="slaney", low_hz=20.0),
    logarithm=Logarithm(kind="decibel", floor=1e-10, offset=None, top=80.0),
    mfcc=Mfcc(coefficients=13),
    normalization=Normalization(over="feature", mean=(), std=()),
    layout=("batch", "channel", "feature", "time"),
)
