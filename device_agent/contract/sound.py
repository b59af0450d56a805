"""`Sound`: how a recording becomes the float model's input, step by step. Since manifest 1.4.

Types only; `sound_codec` reads them and holds their rules. A step that is None is not done; the order is that of the fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from device_agent.contract.manifest import Extensible

SoundAxis = Literal["batch", "channel", "time", "feature"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spectrum(Extensible):
    """Frames of the waveform, each under a window, and what of their discrete Fourier transform.

    Attributes:
        window: ``hann`` is 0.5 - 0.5 cos, ``hamming`` 0.54 - 0.46 cos, ``rectangular`` 1.
        symmetry: Whether the window's period is its length (``periodic``) or one less (``symmetric``).
        frame_length: Samples under the window.
        hop: Samples from one frame to the next.
        fft_size: Samples that are transformed, at least ``frame_length``: the others are zeros. No prime factor above 7.
        padding: ``none``: the first frame begins with the first sample. Else frame ``i`` stands around sample ``i * hop``, and what lies
            outside is ``zero`` or the waveform mirrored at its first and last sample (``reflect``).
        frames: How many of the frames are used, from the first.
        value: ``power`` is the squared magnitude.
    """

    window: Literal["hann", "hamming", "rectangular"]
    symmetry: Literal["periodic", "symmetric"]
    frame_length: int
    hop: int
    fft_size: int
    padding: Literal["none", "zero", "reflect"]
    frames: int
    value: Literal["power", "magnitude"]

    @property
    def bins(self) -> int:
        """Frequencies of the transform, from 0 to half the sample rate."""
        return self.fft_size // 2 + 1

    def frames_of(self, samples: int) -> int:
        """Return how many frames so many samples have, 0 or more."""
        return frames_of(samples, self.frame_length, self.hop, self.fft_size, padded=self.padding != "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mel(Extensible):
    """Bands of the spectrum: triangles whose corners are equally far apart in mel.

    Attributes:
        bands: How many.
        scale: ``htk`` is 2595 log10(1 + f / 700); ``slaney`` is linear below 1000 Hz and logarithmic above.
        triangles: Whether their flanks are straight over ``hertz`` or over ``mel``.
        low_hz: Where the first begins.
        high_hz: Where the last ends; at most half the sample rate.
        norm: ``none``: every peak is 1; ``slaney``: every triangle has area 1 over Hz.
    """

    bands: int
    scale: Literal["htk", "slaney"]
    triangles: Literal["hertz", "mel"]
    low_hz: float
    high_hz: float
    norm: Literal["none", "slaney"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Logarithm(Extensible):
    """The logarithm of every value.

    Attributes:
        kind: ``decibel`` is 10 log10 of power, 20 log10 of magnitude.
        floor: What is less counts as this; None exactly where there is an ``offset``.
        offset: Added to every value.
        top: How far below the clip's largest logarithm a value may lie, in the unit of ``kind``; what is less becomes this. None: anywhere.
    """

    kind: Literal["natural", "log10", "decibel"]
    floor: float | None
    offset: float | None
    top: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mfcc(Extensible):
    """The first ``coefficients`` of the orthonormal DCT-II over the bands."""

    coefficients: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalization(Extensible):
    """(x - mean) / std.

    Attributes:
        over: ``constants``: by ``mean`` and ``std``; ``clip``: by those of the clip itself; ``feature``: by those of every feature over the
            clip. The clip's own std is the square root of its variance and 1e-7.
        mean: One number, or one a feature; empty exactly where ``over`` is not ``constants``.
        std: As many, each > 0.
    """

    over: Literal["constants", "clip", "feature"]
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundProof(Extensible):
    """Members that show whether a device computes what the host did: a recording, and the input that the host got of it, bit for bit.

    Attributes:
        recording: Name of a ``.wav``.
        expected: Name of an ``.npy``: float32, in the float model's shape.
    """

    recording: str
    expected: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound(Extensible):
    """How a recording becomes the float model's one input.

    Attributes:
        sample_rate: In Hz; a recording of another is refused.
        channels: ``mono``: a recording of several is refused; ``mix``: their mean is taken.
        samples: Of a longer recording the first so many; a shorter one is filled with zeros at its end.
        full_scale: What the largest amplitude of integers is worth: 1.0, or 32768.0 for models that take 16-bit numbers.
        layout: Axes of the input; ``batch`` and ``channel`` are of extent 1. ``feature`` is there exactly where there is a spectrum.
        spectrum: None: the model takes the waveform.
        mel: None: every frequency is a feature.
        logarithm: None: values as they are.
        mfcc: None: bands as they are.
        normalization: None: values as they are.
        proof: In an artifact always; None before it is packed.
    """

    sample_rate: int
    channels: Literal["mono", "mix"]
    samples: int
    full_scale: float
    layout: tuple[SoundAxis, ...]
    spectrum: Spectrum | None
    mel: Mel | None
    logarithm: Logarithm | None
    mfcc: Mfcc | None
    normalization: Normalization | None
    proof: SoundProof | None = None

    @property
    def features(self) -> int:
        """Values a frame; 1 of a waveform."""
        if self.spectrum is None:
            return 1
        bands = self.spectrum.bins if self.mel is None else self.mel.bands
        return bands if self.mfcc is None else self.mfcc.coefficients

    @property
    def frames(self) -> int:
        """Extent of the axis ``time``: frames, or samples of a waveform."""
        return self.samples if self.spectrum is None else self.spectrum.frames

    @property
    def shape(self) -> tuple[int, ...]:
        """The input's shape in the float model's layout."""
        extents = {"batch": 1, "channel": 1, "time": self.frames, "feature": self.features}
        return tuple(extents[axis] for axis in self.layout)


def frames_of(samples: int, frame_length: int, hop: int, fft_size: int, *, padded: bool) -> int:
    """Return how many whole frames so many samples have, 0 or more; ``padded`` by half of ``fft_size`` on either side."""
    room = samples + 2 * (fft_size // 2) - fft_size if padded else samples - frame_length
    return 0 if room < 0 else 1 + room // hop
