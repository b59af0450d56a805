"""What can happen to the agent: what `core.Core.handle` takes in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from device_agent.heat.policy import HeatRules

ModelOperation = Literal["pause", "resume", "restart_model"]


@dataclass(frozen=True, slots=True)
class Started:
    """The agent is up; ``now_seconds`` is monotonic, here and in `Tick`."""

    now_seconds: float


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed."""

    now_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactVerified:
    """The artifact is whole and meant for this device; ``unchecked`` says what could not be looked at, and why.

    ``heat`` is what it declares and the configuration leaves to it.
    """

    digest: str
    name: str
    version: str
    target: str
    verdict: str
    unchecked: str = ""
    heat: HeatRules | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLoaded:
    """The engine holds the payload."""

    engine: str
    engine_version: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTestPassed:
    """The engine gave the golden outputs. ``samples`` is 0 when the artifact brings none: then nothing was tested."""

    samples: int
    largest_lsb: float
    smallest_equal_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A step, the source or the inference loop cannot go on. ``code`` is the error's."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class SourceEnded:
    """The source has no more frames, or the frames asked for have been inferred."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowClosed:
    """A window was sampled: what it saw."""

    inferences: int
    errors: int
    last_error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatRead:
    """The temperature was read; None with the reason when it could not be."""

    celsius: float | None
    why_absent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSwitched:
    """Another artifact runs now, with the same inputs and outputs; ``is_variant`` says whether only while it is hot."""

    digest: str
    name: str
    version: str
    is_variant: bool


@dataclass(frozen=True, slots=True)
class SwitchFailed:
    """The other artifact cannot be used; the one before runs on."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantStarted:
    """Side `b` of a split is loaded and tested, and takes its share of the frames."""

    digest: str
    name: str
    version: str
    engine: str
    engine_version: str


@dataclass(frozen=True, slots=True)
class VariantFailed:
    """Side `b` of a split cannot be used, or cannot go on; side `a` takes all frames."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFailed:
    """The main one of several models cannot go on, as `Failed` would say if it were alone; the others run on."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class WorkerStopped:
    """The worker has left its loop and will infer no more."""


@dataclass(frozen=True, slots=True)
class StopRequested:
    """Somebody wants the agent to end: ``SIGTERM``, ``SIGINT``. A second one ends it without waiting."""

    reason: str


@dataclass(frozen=True, slots=True)
class ModelOrdered:
    """A command about the model was begun; `effects.CommandDone` with the same ``key`` follows, once.

    ``model`` is the one of several that is meant; empty: all of them.
    """

    key: tuple[str, str]
    operation: ModelOperation
    model: str = ""


@dataclass(frozen=True, slots=True)
class InferenceLeft:
    """The worker has left the inference loop, because it was told to."""


@dataclass(frozen=True, slots=True)
class RestartRequested:
    """The agent is to end in order and begin anew, with another model."""

    reason: str


@dataclass(frozen=True, slots=True)
class LinkUp:
    """The broker accepted us."""


@dataclass(frozen=True, slots=True)
class LinkDown:
    """The connection is gone or could not be made."""

    reason: str


@dataclass(frozen=True, slots=True)
class Flushed:
    """Everything recorded has reached the broker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageChanged:
    """The spool went to memory, came back to disk, or set a damaged file aside; ``code`` is the notice's."""

    code: str
    message: str
    on_disk: bool


@dataclass(frozen=True, slots=True)
class Trouble:
    """Trouble ``name`` is as ``text`` says; an empty text: it is over. The agent works on, degraded."""

    name: str
    text: str


Occurrence = (
    Started
    | Tick
    | ArtifactVerified
    | EngineLoaded
    | SelfTestPassed
    | Failed
    | SourceEnded
    | WindowClosed
    | HeatRead
    | ModelSwitched
    | SwitchFailed
    | VariantStarted
    | VariantFailed
    | ModelFailed
    | WorkerStopped
    | StopRequested
    | ModelOrdered
    | InferenceLeft
    | RestartRequested
    | LinkUp
    | LinkDown
    | Flushed
    | StorageChanged
    | Trouble
)
