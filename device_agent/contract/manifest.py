"""`Manifest`: what an artifact is, what it needs, and how to feed it.

The first member of every ``.ewa`` archive. Types only; `manifest_codec` reads and writes them and holds
their rules. Unknown fields survive a round trip (``extra``, at every level); a newer major version is
refused by name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from device_agent.contract.document import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from device_agent.contract.sound import Sound
    from device_agent.contract.text import Text

MANIFEST_VERSION = "1.5"
"""1.1: ``heat``. 1.2: ``requires.processor_features`` and ``requires.otherwise``. 1.3: ``preprocessing.crop``. 1.4: ``sound``, ``text``.
1.5: ``requires.manifest_features``, ``rows`` of a tensor, ``text.max_bytes``."""

MANIFEST_FEATURES = frozenset({"crop", "sound", "text"})
"""What of a manifest readers of this version know and heed, among what may be required of them by name."""

WireType = Literal["float32", "int8", "uint8", "int16", "int32", "int64", "bool"]
EngineName = Literal["onnx", "tflite", "openvino", "null"]
FormatName = Literal["onnx_qdq", "openvino_ir", "tflite", "null"]
Verdict = Literal["pass", "marginal", "unverified"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Extensible:
    """Base of every type here; ``extra`` holds fields of a newer minor version as they came, read-only."""

    extra: Mapping[str, object] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Make the mapping read-only."""
        object.__setattr__(self, "extra", frozen(self.extra))


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadTensor(Extensible):
    """One input or output as the payload has it, and how it relates to the float model's.

    Attributes:
        name: The payload's own name.
        shape: Static shape in the payload's layout.
        dtype: Element type in the payload.
        scale: real = scale * (code - zero_point). None for integers that are no codes (ids, flags) and for
            float tensors; but a float output may carry the step of its planned quantization here, as the
            unit of `Tolerance.max_lsb` and for nothing else.
        zero_point: None exactly where the tensor holds no codes.
        source_name: Name in the float model.
        source_axes: ``payload = transpose(source, source_axes)``; identity when the layout is the float
            model's. For example (0, 2, 3, 1) for an NHWC payload of an NCHW model.
        rows: Of an input of integers that are no codes: its numbers name rows of a table with so many, each from ``-rows`` to ``rows - 1``;
            engines differ in what they do with others. None: nothing is known of them. Since 1.5.
    """

    name: str
    shape: tuple[int, ...]
    dtype: WireType
    scale: float | None
    zero_point: int | None
    source_name: str
    source_axes: tuple[int, ...]
    rows: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing(Extensible):
    """How a picture becomes the float model's input: colour, resize, crop, (x - mean) / std on 0..255, layout.

    Attributes:
        resize: (height, width) in pixels; with a ``crop`` what the picture, its aspect kept, must cover.
        resample: Filter for resizing.
        color: Channel order; ``L`` is one grey channel.
        layout: Where channels stand in the float model's input.
        mean: Subtracted, one a channel, on the 0..255 scale.
        std: Then divided by, one a channel; each > 0.
        crop: (height, width) cut out of the centre after resizing, none larger than ``resize``; None: nothing is cut off. A reader of 1.2,
            who does not know it, gets frames of another size than the model's, and refuses them.
    """

    resize: tuple[int, int]
    resample: Literal["nearest", "bilinear", "bicubic"]
    color: Literal["RGB", "BGR", "L"]
    layout: Literal["NCHW", "NHWC"]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Member(Extensible):
    """One file of the archive: name (a relative POSIX path without ``..``), length in bytes and digest."""

    name: str
    size_bytes: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenSample(Extensible):
    """The ``.npy`` members of one sample's inputs and outputs: in the payload's order, type and layout."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance(Extensible):
    """How far a device's outputs may be from the golden ones.

    Attributes:
        max_lsb: Largest difference of an integer output, in codes; for float outputs in units of the
            output's planned scale.
        min_share_within_one: Smallest share of outputs within one code, 0 to 1.
        absolute: For float outputs without a planned scale: largest absolute difference.
    """

    max_lsb: int
    min_share_within_one: float
    absolute: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Requires(Extensible):
    """What the device must provide. Versions are compared numerically, part by part.

    Attributes:
        target: Capability profile id.
        engine: What runs the payload.
        engine_min_versions: Lowest version by library, under its distribution name: one engine may have several libraries, each
            with a count of its own (tflite-runtime 2.14 is older than ai-edge-litert 2.0). A library that is not named is refused.
        agent_min_version: Lowest version of the agent.
        processor_features: The engine's kernels compute what was verified where the processor has one of these, as Linux names them in
            ``/proc/cpuinfo``; empty: on every processor. Since 1.2.
        otherwise: Target to convert for where the processor has none of them; None: none is known. Since 1.2.
        manifest_features: Names of what this manifest declares and a device must heed, for it would else do something else than was verified:
            an agent that does not know one (`MANIFEST_FEATURES`) refuses the artifact. Since 1.5; before it nothing says so.
    """

    target: str
    engine: EngineName
    engine_min_versions: Mapping[str, str]
    agent_min_version: str
    processor_features: tuple[str, ...] = ()
    otherwise: str | None = None
    manifest_features: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Make the mappings read-only."""
        Extensible.__post_init__(self)
        object.__setattr__(self, "engine_min_versions", MappingProxyType(dict(self.engine_min_versions)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Heat(Extensible):
    """What a device does with this artifact when it gets hot, unless its own configuration says otherwise. Steps add up.

    Attributes:
        slow_celsius: From here on at most ``slow_rate_hz`` frames a second; None: there is no such step.
        slow_rate_hz: Frames a second; None exactly where ``slow_celsius`` is.
        pause_celsius: From here on nothing is inferred; None: there is no such step.
        hysteresis_celsius: How far below its temperature a step is taken back.
        hold_seconds: For how long it must be that cool.
    """

    slow_celsius: float | None
    slow_rate_hz: float | None
    pause_celsius: float | None
    hysteresis_celsius: float
    hold_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest(Extensible):
    """Everything that host and device must agree on about one artifact.

    Attributes:
        name: Model name.
        version: Version of the model as the user counts it, e.g. ``1.4.0``.
        target: Capability profile id.
        profile_digest: Digest of the profile it was made for.
        model_digest: Digest of the float model.
        data_digest: Digest of the calibration data.
        format: What the payload is.
        requires: What the device must provide.
        payload: Payload members, main file first.
        members: Every other member (golden tensors, plan, report).
        inputs: Payload inputs.
        outputs: Payload outputs.
        preprocessing: How pictures are prepared; None when the model does not take pictures.
        golden: Golden samples.
        tolerance: For the golden self-test.
        verdict: What verification said: ``pass``, ``marginal`` or ``unverified``.
        made_with: Tool names and versions.
        heat: What to do about heat; None: what the device is configured to do.
        sound: How recordings are prepared; None when the model does not take them. Since 1.4.
        text: How texts are prepared; None when the model does not take them. Since 1.4. Of ``preprocessing``, ``sound`` and ``text`` there is
            at most one.
        schema_version: ``MAJOR.MINOR`` of the document.
    """

    name: str
    version: str
    target: str
    profile_digest: str
    model_digest: str
    data_digest: str
    format: FormatName
    requires: Requires
    payload: tuple[Member, ...]
    members: tuple[Member, ...]
    inputs: tuple[PayloadTensor, ...]
    outputs: tuple[PayloadTensor, ...]
    preprocessing: Preprocessing | None
    golden: tuple[GoldenSample, ...]
    tolerance: Tolerance
    verdict: Verdict
    made_with: Mapping[str, str]
    heat: Heat | None = None
    sound: Sound | None = None
    text: Text | None = None
    schema_version: str = MANIFEST_VERSION

    def __post_init__(self) -> None:
        """Make the mappings read-only."""
        Extensible.__post_init__(self)
        object.__setattr__(self, "made_with", MappingProxyType(dict(self.made_with)))
