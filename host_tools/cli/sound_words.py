"""What becomes of a recording, in words: one line for `edgewright inspect`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from device_agent.contract.sound import Logarithm, Mel, Normalization, Sound, Spectrum


def sound_in_words(sound: Sound) -> str:
    """Say what becomes of a recording, in the order in which it does."""
    return ", ".join(_parts(sound))


def _parts(sound: Sound) -> Iterator[str]:
    channels = "one channel" if sound.channels == "mono" else "channels mixed"
    yield f"{sound.sample_rate} Hz, {channels}, {sound.samples} samples of full scale {sound.full_scale:g}"
    if sound.spectrum is not None:
        yield _spectrum(sound.spectrum)
    if sound.mel is not None:
        yield _mel(sound.mel)
    if sound.logarithm is not None:
        yield _logarithm(sound.logarithm)
    if sound.mfcc is not None:
        yield f"{sound.mfcc.coefficients} coefficients"
    if sound.normalization is not None:
        yield _normalization(sound.normalization)
    yield " x ".join(sound.layout)


def _spectrum(spectrum: Spectrum) -> str:
    padded = "" if spectrum.padding == "none" else f" around every hop ({spectrum.padding})"
    return (
        f"{spectrum.frames} frames of {spectrum.frame_length} every {spectrum.hop}{padded}, {spectrum.window} ({spectrum.symmetry}), "
        f"{spectrum.value} of FFT {spectrum.fft_size}"
    )


def _mel(mel: Mel) -> str:
    norm = "" if mel.norm == "none" else ", of equal area"
    return f"{mel.bands} mel bands ({mel.scale}, flanks over {mel.triangles}{norm}) from {mel.low_hz:g} to {mel.high_hz:g} Hz"


def _logarithm(logarithm: Logarithm) -> str:
    name = {"natural": "ln", "log10": "log10", "decibel": "dB"}[logarithm.kind]
    of = f"+ {logarithm.offset:g}" if logarithm.floor is None else f"of at least {logarithm.floor:g}"
    top = "" if logarithm.top is None else f", at most {logarithm.top:g} below the largest"
    return f"{name} {of}{top}"


def _normalization(normalization: Normalization) -> str:
    if normalization.over == "clip":
        return "by the clip's own mean and std"
    if normalization.over == "feature":
        return "by every feature's own mean and std"
    mean, std = (
        f"{values[0]:g}" if len(values) == 1 else f"{len(values)} numbers"
        for values in (normalization.mean, normalization.std)
    )
    return f"minus {mean}, by {std}"
