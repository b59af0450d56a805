"""What an artifact, or the table ``[sound]`` of a ``preprocess.toml``, declares about sound."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final, Literal

from device_agent.contract.sound import (
    Logarithm,
    Mel,
    Mfcc,
    Normalization,
    Sound,
    SoundAxis,
    SoundProof,
    Spectrum,
)

if TYPE_CHECKING:
    from device_agent.contract.fields import Fields
    from device_agent.contract.manifest import Manifest, PayloadTensor

MAX_SAMPLES: Final = 1 << 24
MAX_FFT: Final = 1 << 15
MAX_FEATURES: Final = MAX_FFT // 2 + 1
MAX_TRANSFORMED: Final = 1 << 26
"""Samples of all frames together that are transformed: a hop of 1 would make hours of a minute."""
LARGEST_PRIME: Final = 7
"""Of an FFT's size: of larger ones the transform would become the square that it avoids."""

_MAX_RATE: Final = 1_000_000
_MAX_SCALE: Final = float(1 << 31)
_AMOUNT: Final = (1e-30, 1e30)
_AXES: Final[tuple[SoundAxis, ...]] = ("batch", "channel", "time", "feature")
_OVER: Final[tuple[Literal["constants", "clip", "feature"], ...]] = ("constants", "clip", "feature")


def decode_sound(fields: Fields) -> Sound:
    """Read a declaration about sound; its ``proof`` where there is one.

    Raises:
        ContractError: It breaks a rule.
    """
    sample_rate = fields.integer("sample_rate", low=1, high=_MAX_RATE)
    samples = fields.integer("samples", low=1, high=MAX_SAMPLES)
    spectrum = _spectrum(fields.child("spectrum"), samples) if fields.has("spectrum") else None
    mel = _mel(fields.child("mel"), sample_rate) if fields.has("mel") else None
    logarithm = _logarithm(fields.child("logarithm")) if fields.has("logarithm") else None
    mfcc = _mfcc(fields.child("mfcc"), mel) if fields.has("mfcc") else None
    for key, step, needed in (
        ("mel", mel, spectrum),
        ("logarithm", logarithm, spectrum),
        ("mfcc", mfcc, logarithm),
    ):
        if step is not None and needed is None:
            fields.refuse(key, f"{'logarithm' if key == 'mfcc' else 'spectrum'} beside it", fields.value(key))
    sound = Sound(
        sample_rate=sample_rate,
        channels=fields.choice("channels", ("mono", "mix")),
        samples=samples,
        full_scale=fields.number("full_scale", low=1.0, high=_MAX_SCALE),
        layout=_layout(fields, has_features=spectrum is not None),
        spectrum=spectrum,
        mel=mel,
        logarithm=logarithm,
        mfcc=mfcc,
        normalization=None,  # its length is known by the number of features only
        proof=_proof(fields.child("proof")) if fields.has("proof") else None,
    )
    normalization = (
        _normalization(fields.child("normalization"), sound.features) if fields.has("normalization") else None
    )
    if sound.frames * sound.features > MAX_SAMPLES:
        got = sound.frames * sound.features
        fields.refuse("spectrum.frames", f"at most {MAX_SAMPLES} values of all frames", got)
    return dataclasses.replace(sound, normalization=normalization, extra=fields.unknown())


def require_sound_agreement(manifest: Manifest, sound: Sound, fields: Fields) -> None:
    """Check what the declaration alone does not show: recordings fit the model's one input, and their proof is there.

    Args:
        manifest: The whole.
        sound: Its ``sound``.
        fields: Of the manifest.

    Raises:
        ContractError: It is not so.
    """
    if sound.proof is None:
        fields.refuse("sound.proof", "the recording that shows what the host made of it", None)
    members = {member.name for member in manifest.members}
    for key, name, suffix in (
        ("recording", sound.proof.recording, ".wav"),
        ("expected", sound.proof.expected, ".npy"),
    ):
        if name not in members or not name.endswith(suffix):
            fields.refuse(f"sound.proof.{key}", f"the name of a {suffix} member", name)
    shapes = [_source_shape(tensor) for tensor in manifest.inputs]
    if shapes != [sound.shape]:
        fields.refuse("inputs", f"one of the float model's shape {list(sound.shape)}, as sound gives", shapes)


def _source_shape(tensor: PayloadTensor) -> tuple[int, ...]:
    return tuple(tensor.shape[tensor.source_axes.index(axis)] for axis in range(len(tensor.shape)))


def _spectrum(fields: Fields, samples: int) -> Spectrum:
    fft_size = fields.integer("fft_size", low=2, high=MAX_FFT)
    if largest_prime(fft_size) > LARGEST_PRIME:
        fields.refuse("fft_size", f"a number without a prime factor above {LARGEST_PRIME}", fft_size)
    spectrum = Spectrum(
        window=fields.choice("window", ("hann", "hamming", "rectangular")),
        symmetry=fields.choice("symmetry", ("periodic", "symmetric")),
        frame_length=fields.integer("frame_length", low=2, high=fft_size),
        hop=fields.integer("hop", low=1, high=MAX_SAMPLES),
        fft_size=fft_size,
        padding=fields.choice("padding", ("none", "zero", "reflect")),
        frames=fields.integer("frames", low=1, high=MAX_SAMPLES),
        value=fields.choice("value", ("power", "magnitude")),
        extra=fields.unknown(),
    )
    most = min(spectrum.frames_of(samples), MAX_TRANSFORMED // fft_size)
    if spectrum.frames > most:
        fields.refuse("frames", f"at most {most}, of {samples} samples", spectrum.frames)
    if spectrum.padding == "reflect" and samples <= fft_size // 2:
        fields.refuse("padding", f"more than {fft_size // 2} samples to reflect", samples)
    return spectrum


def _mel(fields: Fields, sample_rate: int) -> Mel:
    low = fields.number("low_hz", low=0.0, high=sample_rate / 2)
    high = fields.number("high_hz", low=0.0, high=sample_rate / 2)
    if high < low + 1.0:
        fields.refuse("high_hz", f"at least 1 Hz more than low_hz, {low:g}", high)
    return Mel(
        bands=fields.integer("bands", low=1, high=1024),
        scale=fields.choice("scale", ("htk", "slaney")),
        triangles=fields.choice("triangles", ("hertz", "mel")),
        low_hz=low,
        high_hz=high,
        norm=fields.choice("norm", ("none", "slaney")),
        extra=fields.unknown(),
    )


def _logarithm(fields: Fields) -> Logarithm:
    least, most = _AMOUNT
    floor = fields.number("floor", low=least, high=most) if fields.has("floor") else None
    offset = fields.number("offset", low=least, high=most) if fields.has("offset") else None
    if (floor is None) == (offset is None):
        fields.refuse("floor", "either floor or offset: zero has no logarithm", floor)
    return Logarithm(
        kind=fields.choice("kind", ("natural", "log10", "decibel")),
        floor=floor,
        offset=offset,
        top=fields.number("top", low=least, high=most) if fields.has("top") else None,
        extra=fields.unknown(),
    )


def _mfcc(fields: Fields, mel: Mel | None) -> Mfcc:
    if mel is None:
        fields.refuse("coefficients", "mel beside it: coefficients are those of bands", None)
    return Mfcc(
        coefficients=fields.integer("coefficients", low=1, high=mel.bands),
        extra=fields.unknown(),
    )


def _normalization(fields: Fields, features: int) -> Normalization:
    over = fields.choice("over", _OVER)
    least, most = _AMOUNT
    counts = {"constants": (1, MAX_FEATURES), "clip": (0, 0), "feature": (0, 0)}[over]
    mean = fields.numbers("mean", least=counts[0], most=counts[1], low=-most, high=most)
    std = fields.numbers("std", least=counts[0], most=counts[1], low=least, high=most)
    for key, values in (("mean", mean), ("std", std)):
        if len(values) not in (0, 1, features):
            fields.refuse(key, f"1 number, or {features}, one a feature", f"{len(values)} numbers")
    return Normalization(over=over, mean=mean, std=std, extra=fields.unknown())


def _layout(fields: Fields, *, has_features: bool) -> tuple[SoundAxis, ...]:
    wanted = {"time", "feature"} if has_features else {"time"}
    given = fields.texts("layout", least=1, most=len(_AXES))
    known = tuple(axis for name in given for axis in _AXES if axis == name)
    if len(known) != len(given) or len(set(known)) != len(known):
        fields.refuse("layout", f"names out of {', '.join(_AXES)}, none twice", given)
    if {"time", "feature"} & set(known) != wanted:
        need = "time and feature" if has_features else "time, and no feature without a spectrum"
        fields.refuse("layout", need, given)
    return known


def _proof(fields: Fields) -> SoundProof:
    return SoundProof(
        recording=fields.text("recording"), expected=fields.text("expected"), extra=fields.unknown()
    )


def largest_prime(number: int) -> int:
    """Return the largest prime factor of a number above 1."""
    largest, factor = 1, 2
    while number > 1:
        if number % factor:
            factor += 1
        else:
            number //= factor
            largest = factor
    return largest
