"""What a child process is told, and what it answers: one line of JSON each way."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from device_agent.update.occurrences import (
    CheckFailed,
    Fetched,
    FetchFailed,
    NothingDesired,
    Offered,
    Shadowed,
    TrialFailed,
    TrialUnbegun,
    Tried,
    Unmet,
    Wanted,
)
from device_agent.update.state import Candidate, Release

if TYPE_CHECKING:
    from device_agent.config import EngineChoice

Answer = (
    NothingDesired
    | Offered
    | Wanted
    | CheckFailed
    | Fetched
    | FetchFailed
    | Tried
    | Shadowed
    | TrialFailed
    | TrialUnbegun
)
"""How a step ended; the last is said by whoever begins it, for there is no child that could."""
_ANSWERS: Final = {
    kind.__name__: kind
    for kind in (
        NothingDesired,
        Offered,
        Unmet,
        Wanted,
        CheckFailed,
        Fetched,
        FetchFailed,
        Tried,
        Shadowed,
        TrialFailed,
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Where the repository is and what bounds its downloads; see `config.operation.UpdateSection`. Paths are texts here."""

    url: str
    stall_seconds: float
    min_bytes_per_second: float
    tls_ca: str | None
    tls_cert: str | None
    tls_key: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckJob:
    """Ask what is desired; ``models`` are those beside the main one, ``split`` those that are not updated, by their names."""

    network: Network
    root: str
    cache: str
    subjects: tuple[str, ...]
    device: str
    targets: tuple[str, ...]
    models: tuple[str, ...] = ()
    split: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchJob:
    """Download a candidate."""

    network: Network
    store: str
    candidate: Candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialJob:
    """Verify, load and test an artifact; then, if ``beside`` names the current one, run on frames that come.

    Attributes:
        artifact: File.
        digest: Of it.
        max_bytes: Largest file.
        targets: Capability profiles that may run here; empty: any.
        engine: Engine that is configured.
        threads: Of one inference.
        memory_max_bytes: Address space of the process.
        model_max_bytes: Most that loading and testing may add to its resident memory, as ``engine.memory_max_bytes`` says; 0: any.
        cpu_max_seconds: Processor time of the process.
        beside: File of the current artifact; None: only test.
    """

    artifact: str
    digest: str
    max_bytes: int
    targets: tuple[str, ...]
    engine: EngineChoice
    threads: int
    memory_max_bytes: int
    model_max_bytes: int
    cpu_max_seconds: int
    beside: str | None = None


Job = CheckJob | FetchJob | TrialJob
_JOBS: Final = {kind.__name__: kind for kind in (CheckJob, FetchJob, TrialJob)}


def encode(message: Job | Answer) -> bytes:
    """Write a job or an answer as one line."""
    return json.dumps(_plain(message)).encode() + b"\n"


def decode_job(line: bytes) -> Job:
    """Read a job that `encode` wrote."""
    fields: dict[str, Any] = json.loads(line)
    kind = _JOBS[fields.pop("kind")]
    if "network" in fields:
        fields["network"] = Network(**fields["network"])
    if "candidate" in fields:
        release = Release(**fields["candidate"].pop("release"))
        fields["candidate"] = Candidate(release=release, **fields["candidate"])
    job: Job = kind(**fields)
    return job


def decode_answer(line: bytes) -> Answer | None:
    """Read an answer that `encode` wrote; None when it is none, for the process may have died while it wrote."""
    try:
        answer: Answer = _answer(json.loads(line))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return answer


def _plain(message: Job | Answer | Unmet) -> dict[str, Any]:
    fields = asdict(message)
    if isinstance(message, Wanted):
        fields["answers"] = [_plain(one) for one in message.answers]
    return {"kind": type(message).__name__, **fields}


def _answer(fields: dict[str, Any]) -> Any:
    kind = _ANSWERS[fields.pop("kind")]
    if kind is Wanted:
        return Wanted(tuple(_answer(one) for one in fields["answers"]))
    if "release" in fields:
        fields["release"] = Release(**fields["release"])
    return kind(**fields)
