"""The table ``[sound]`` of a ``preprocess.toml``: what an artifact's manifest says, with what mostly goes without saying left out."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

from device_agent.contract.errors import ConfigError, ContractError
from device_agent.contract.fields import Fields
from device_agent.contract.sound import Logarithm, Mel, Mfcc, Normalization, Sound, Spectrum, frames_of
from device_agent.contract.sound_codec import decode_sound
from device_agent.sources.known_keys import require_known_keys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from device_agent.contract.manifest import Extensible

_DEFAULTS: Final[Mapping[str, Mapping[str, object]]] = {
    "": {"channels": "mono", "full_scale": 1.0},
    "spectrum": {"symmetry": "periodic", "padding": "none", "value": "power"},
    "mel": {"triangles": "hertz", "norm": "none", "low_hz": 0.0},
    "logarithm": {},
    "mfcc": {},
    "normalization": {"over": "constants"},
}
_STEPS: Final[Mapping[str, type[Extensible]]] = {
    "spectrum": Spectrum,
    "mel": Mel,
    "logarithm": Logarithm,
    "mfcc": Mfcc,
    "normalization": Normalization,
}
_NOT_WRITTEN: Final = ("extra", "proof")
"""Fields of the manifest that are no keys: packing makes the proof."""
_MOST: Final = 1 << 24
"""What is larger is refused where it is read, and not computed with before."""
_WHOLE: Final = 1e-6
"""So far from a whole number of samples a duration may be, by rounding."""


def parse_sound(table: Mapping[str, object], *, origin: str) -> Sound:
    """Read the table.

    Args:
        table: What stands in it.
        origin: File it came from, for messages.

    Raises:
        ConfigError: It is wrong; the message names ``origin`` and key.
    """
    _require_known(table, f"{origin}: sound.")
    try:
        fields = Fields({"sound": _completed(table, origin)}, where=origin)
        sound = decode_sound(fields.child("sound"))
    except ContractError as error:
        raise ConfigError(error.args[0], hint=error.hint) from error
    _refuse_deaf_bands(sound, origin)
    return sound


def _completed(table: Mapping[str, object], origin: str) -> dict[str, object]:
    """Return the table with everything said that a manifest says; what is of a wrong type stays, and is refused where it is read."""
    steps = {name: _with_defaults(name, table[name]) for name in _DEFAULTS if name in table}
    whole: dict[str, object] = {**_DEFAULTS[""], **table, **steps}
    rate, spectrum, mel = whole.get("sample_rate"), steps.get("spectrum"), steps.get("mel")
    if isinstance(mel, dict) and isinstance(rate, int) and 0 < rate <= _MOST:
        mel.setdefault("high_hz", rate / 2)
    normalization = steps.get("normalization")
    if isinstance(normalization, dict) and normalization.get("over") != "constants":
        normalization.setdefault("mean", [])
        normalization.setdefault("std", [])
    if "duration" in whole:
        whole["samples"] = _samples_of(whole, origin)
        del whole["duration"]
    numbers = _framing(spectrum)
    if numbers is not None and isinstance(spectrum, dict):
        _complete_frames(whole, spectrum, *numbers, padded=spectrum["padding"] != "none")
    return whole


def _with_defaults(name: str, step: object) -> object:
    return {**_DEFAULTS[name], **step} if isinstance(step, dict) else step


def _framing(spectrum: object) -> tuple[int, int, int] | None:
    """Return length, hop and FFT size where they are numbers that frames can be counted by."""
    if not isinstance(spectrum, dict):
        return None
    numbers = [spectrum.get(key) for key in ("frame_length", "hop", "fft_size")]
    whole = [number for number in numbers if type(number) is int and 0 < number <= _MOST]
    return (whole[0], whole[1], whole[2]) if len(whole) == len(numbers) else None


def _complete_frames(
    whole: dict[str, object],
    spectrum: dict[str, object],
    length: int,
    hop: int,
    fft_size: int,
    *,
    padded: bool,
) -> None:
    """Count the frames of the samples; or, where only frames are given, the samples that they need."""
    samples, frames = whole.get("samples"), spectrum.get("frames")
    if samples is None and type(frames) is int and 0 < frames <= _MOST:
        reach = (frames - 1) * hop
        least = fft_size // 2 + 1 if spectrum["padding"] == "reflect" else 1
        whole["samples"] = max(least, reach + fft_size % 2) if padded else reach + length
    elif type(samples) is int:
        spectrum.setdefault("frames", frames_of(samples, length, hop, fft_size, padded=padded))


def _samples_of(whole: Mapping[str, object], origin: str) -> int:
    """Return the samples of a duration.

    Raises:
        ContractError: It is no number, or not one of whole samples, or samples are given beside it.
    """
    fields = Fields({"sound": whole}, where=origin).child("sound")
    seconds = fields.number("duration", low=1e-6, high=1e6)
    rate = fields.integer("sample_rate", low=1, high=_MOST)
    if "samples" in whole:
        fields.refuse("duration", "either duration or samples", seconds)
    samples = round(seconds * rate)
    if abs(samples - seconds * rate) > _WHOLE:
        fields.refuse("duration", f"whole samples at {rate} Hz", f"{seconds * rate:g} samples")
    return samples


def _refuse_deaf_bands(sound: Sound, origin: str) -> None:
    """Refuse bands that all lie between two frequencies of the spectrum, as those of kHz for Hz do: every recording would be the same.

    One or two of many do in models that were trained so.
    """
    if sound.mel is None or sound.spectrum is None:
        return
    from device_agent.sources.sound.mel import mel_weights  # noqa: PLC0415  NumPy, for bands alone

    _, weights = mel_weights(sound.mel, sound.spectrum.fft_size // 2 + 1, sound.sample_rate)
    if not weights.any():
        apart = sound.sample_rate / sound.spectrum.fft_size
        raise ConfigError(
            f"{origin}: sound.mel: expected bands that hold a frequency of the spectrum, which are {apart:g} Hz apart; "
            f"none of {sound.mel.bands} from {sound.mel.low_hz:g} to {sound.mel.high_hz:g} Hz does.",
            hint="Are low_hz and high_hz in Hz?",
        )


def _require_known(table: Mapping[str, object], where: str) -> None:
    """Refuse unknown keys of the table and of the steps within it."""
    require_known_keys(table, ("duration", *_keys_of(Sound)), where=where)
    for name, step in _STEPS.items():
        written = table.get(name)
        if isinstance(written, dict):  # what else it may be is refused where it is read
            require_known_keys(written, _keys_of(step), where=f"{where}{name}.")


def _keys_of(step: type[Extensible]) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(step) if field.name not in _NOT_WRITTEN)
