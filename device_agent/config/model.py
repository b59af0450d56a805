"""What `agent.toml` says of the model: what runs, on which frames, and where results go."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003  `section` evaluates the annotations
from typing import Literal

from device_agent.config.section import DAY_SECONDS, setting

EngineChoice = Literal["auto", "onnx", "tflite", "openvino", "null"]
SourceKind = Literal["directory", "replay", "mqtt", "http", "camera", "null"]
Overflow = Literal["drop_oldest", "drop_newest", "block"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactSection:
    """What to run.

    Attributes:
        path: The ``.ewa`` file.
        digest: ``sha256:…`` of the file; when given, another file is refused before it is parsed.
        max_bytes: Largest file that is opened.
    """

    path: Path
    digest: str | None = None
    max_bytes: int = setting(1 << 31, low=1, high=1 << 40)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSection:
    """What runs it.

    Attributes:
        name: ``auto`` takes the engine that the artifact asks for.
        threads: Threads of one inference; never more are started than there are processors for the agent, which it then says.
        max_consecutive_errors: After so many failed inferences in a row the agent gives up; one of several models fails alone.
        memory_max_bytes: Most that loading and testing the model may add to the agent's resident memory; 0: any.
        retry_min_seconds: Pause before one of several models is begun again after it has failed; doubled each time.
        retry_max_seconds: Longest pause.
    """

    name: EngineChoice = "auto"
    threads: int = setting(1, low=1, high=256)
    max_consecutive_errors: int = setting(1_000, low=1, high=1 << 31)
    memory_max_bytes: int = setting(0, low=0, high=1 << 40)
    retry_min_seconds: float = setting(5.0, low=0.05, high=DAY_SECONDS)
    retry_max_seconds: float = setting(300.0, low=0.05, high=DAY_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSection:
    """Where frames come from.

    Attributes:
        kind: ``directory`` of pictures, recordings, ``.npy`` or ``.txt``, ``replay`` of an ``.npz``, ``mqtt`` topic, ``http`` for programs
            on this machine, ``camera`` (V4L2) or video file, or ``null`` (zeros).
        path: Directory, file or camera (``/dev/video0``); for ``directory``, ``replay`` and ``camera``.
        topic: Where frames arrive; for ``mqtt``; by default the device's own ``…/i/frame``, of a further model
            ``…/i/NAME``.
        loop: Begin again at the end; for ``directory`` and ``replay``. A directory is listed anew each time.
        watch: Wait for new files instead of ending; for ``directory``.
        rate_hz: Frames a second at most; 0: as fast as they come.
        max_frames: Stop after so many; 0: never.
        queue_frames: Frames that wait; for ``mqtt``, ``http`` and ``camera``.
        overflow: When as many wait: ``drop_oldest`` or ``drop_newest``, which is counted, or ``block`` whoever brings more;
            not for ``mqtt``.
        http_address: Where it listens; for ``http``.
        http_port: TCP port; for ``http``.
        http_timeout_seconds: How long a client waits for its result; for ``http``.
        max_frame_bytes: Largest frame that is accepted; for ``mqtt`` and ``http``. Of an MQTT message 128 KiB larger
            the rest goes by and is not kept.
    """

    kind: SourceKind = "null"
    path: Path | None = None
    topic: str | None = None
    loop: bool = False
    rate_hz: float = setting(0.0, low=0.0, high=100_000.0)
    max_frames: int = setting(0, low=0, high=1 << 53)
    watch: bool = False
    queue_frames: int = setting(4, low=1, high=10_000)
    overflow: Overflow = "drop_oldest"
    http_address: str = "127.0.0.1"
    http_port: int = setting(8_090, low=1, high=65_535)
    http_timeout_seconds: float = setting(10.0, low=0.1, high=3_600.0)
    max_frame_bytes: int = setting(16 << 20, low=1, high=1 << 28)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultsSection:
    """Where outputs go. Results are sampled and queued, so that writing them never holds up inference; what is dropped is counted.

    Attributes:
        mqtt: Publish them under ``…/o/inference``.
        jsonl: Append them to this file, one a line; ``-`` is standard output.
        jsonl_max_bytes: When the file is larger it is renamed to ``….1`` (replacing an older one) and begun anew.
        top_k: Largest values that are kept of an output of more than ``raw_max_values``.
        raw_max_values: Outputs of at most so many values are written whole.
        max_rate_hz: Results a second at most; the other frames are inferred and not written. 0: all.
        queue_results: Results that wait to be written.
    """

    mqtt: bool = False
    jsonl: Path | None = None
    jsonl_max_bytes: int = setting(64 << 20, low=1 << 12, high=1 << 40)
    top_k: int = setting(5, low=1, high=1_000)
    raw_max_values: int = setting(16, low=0, high=4_096)
    max_rate_hz: float = setting(1.0, low=0.0, high=100_000.0)
    queue_results: int = setting(64, low=1, high=65_536)


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSection:
    """A second artifact for a share of the frames: an A/B comparison, each side reported apart.

    Attributes:
        path: The ``.ewa`` of side ``b``, with the inputs, outputs and preprocessing of the model's own, which is ``a``.
        digest: ``sha256:…`` of it; when given, another file is refused.
        ratio: Share of the frames, by their ids, that go to ``b``.
        seed: Which frames these are; the same seed and the same frame id is always the same side.
    """

    path: Path | None = None
    digest: str | None = None
    ratio: float = setting(0.5, low=0.0, high=1.0)
    seed: str = "0"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSection:
    """A further model, beside the one of ``[artifact]``.

    Attributes:
        name: Lower case letters, digits and ``_``, a letter first, at most 64; it stands in messages, events and commands. The
            model of ``[artifact]`` is called ``main``.
        artifact: What to run, with the keys of ``[artifact]``.
        engine: What runs it, with those of ``[engine]``.
        source: Where its frames come from, with those of ``[source]``.
        results: Where its outputs go, with those of ``[results]``.
        split: A second artifact for a share of its frames, with those of ``[split]``.
    """

    name: str
    artifact: ArtifactSection
    engine: EngineSection = field(default_factory=EngineSection)
    source: SourceSection = field(default_factory=SourceSection)
    results: ResultsSection = field(default_factory=ResultsSection)
    split: SplitSection = field(default_factory=SplitSection)
