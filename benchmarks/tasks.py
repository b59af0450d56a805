"""A measured task in a fresh process: wall time by lap, and the process's own peak memory.

A fresh process, because memory that one task leaves behind would count for the next, and because a user starts from nothing too. The peak
is ``VmHWM``: ``ru_maxrss`` would begin with the size of the process that started it.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchmarks.peers import HOW_TO_INSTALL, python_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

Doer = Literal[
    "edgewright",
    "onnxruntime_static",
    "nncf_default",
    "nncf_accurate",
    "litert_static",
    "aimet_adaround",
    "quark",
    "esp_ppq",
]
Scheme = Literal["per_channel", "per_tensor", "symmetric", "per_tensor_symmetric"]
_TIMEOUT_SECONDS = 1_800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A conversion.

    Attributes:
        doer: Whose conversion: a module of `benchmarks.peers`.
        model: Float model: ONNX, or TFLite for ``litert_static``.
        data: Calibration pictures (a folder) or arrays (``.npy``, (images, 3, height, width)).
        preprocess: How pictures become inputs.
        out: Folder to write to; fresh.
        method: Calibration method, in the doer's own words; empty: its default.
        targets: Targets, for ``edgewright``.
        is_float: Keep every operator in float, for ``edgewright``.
        scheme: What the integers must be, for ``onnxruntime_static``: weights per channel and activations with zero points, or without
            the one, the other or both.
        most_seconds: When it is given up.
        evaluation: Arrays to write ``scores.npy`` of, for ``esp_ppq``, whose file no engine here runs.
    """

    doer: Doer
    model: Path
    data: Path
    preprocess: Path
    out: Path
    method: str = ""
    targets: tuple[str, ...] = ()
    is_float: bool = False
    scheme: Scheme = "per_channel"
    most_seconds: float = _TIMEOUT_SECONDS
    evaluation: Path | None = None

    def samples(self) -> Iterator[NDArray[np.float32]]:
        """Read the samples one at a time, shape (1, 3, height, width), for doers that want them so."""
        import numpy as np  # noqa: PLC0415 - whoever measures what importing costs must not find it imported

        if self.data.is_dir():
            from device_agent.sources.preprocess import load_image  # noqa: PLC0415 - a cost of those who use it
            from device_agent.sources.preprocess_file import load_preprocessing  # noqa: PLC0415 - a cost of those who use it

            preprocessing = load_preprocessing(self.preprocess)
            for path in sorted(self.data.iterdir()):
                yield load_image(path, preprocessing)
            return
        arrays = np.load(self.data, mmap_mode="r", allow_pickle=False)
        for index in range(len(arrays)):
            yield np.array(arrays[index : index + 1])


@dataclass(slots=True)
class Stopwatch:
    """Wall time by lap, in seconds, counted from the moment the parent started the process."""

    latest: float
    laps: dict[str, float] = field(default_factory=dict)

    def lap(self, name: str) -> None:
        """Book the time since the last lap under ``name``."""
        self.lap_at(name, time.monotonic())

    def lap_at(self, name: str, moment: float) -> None:
        """The same, for a moment that has passed already (monotonic seconds)."""
        self.laps[name] = self.laps.get(name, 0.0) + moment - self.latest
        self.latest = moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a task cost.

    Attributes:
        laps: Seconds by lap, in order; empty when it failed.
        peak_bytes: Peak resident memory of the process, imports included.
        missing: Why there is nothing to report; empty when there is.
    """

    laps: dict[str, float]
    peak_bytes: int
    missing: str = ""

    def seconds(self, *without: str) -> float:
        """Return the wall time without some laps."""
        return sum(seconds for name, seconds in self.laps.items() if name not in without)


class NotMeasuredError(RuntimeError):
    """Something could not be measured; the message says why and what to do."""


def run_task(task: Task) -> Outcome:
    """Do a task in a fresh process and return what it cost; a failure is an outcome with a reason."""
    python = python_of(task.doer)
    if not python.is_file():
        return Outcome(laps={}, peak_bytes=0, missing=f"{python} is not there: {HOW_TO_INSTALL[task.doer]}")
    return run_python(
        "benchmarks.task",
        _plain(task),
        log=task.out.with_suffix(".log"),
        python=python,
        most_seconds=task.most_seconds,
    )


def run_once(task: Task) -> Outcome:
    """Return what a task cost, doing it if nobody in this run has; one that failed is done again."""
    answer = task.out.with_suffix(".answer.json")
    if answer.is_file():
        outcome = Outcome(**json.loads(answer.read_text(encoding="utf-8")))
        if not outcome.missing:
            return outcome
    shutil.rmtree(task.out, ignore_errors=True)  # what was cut off has left a cache, and would now seem quick
    return run_task(task)


def run_python(
    module: str,
    request: dict[str, Any],
    *,
    log: Path,
    python: Path | None = None,
    most_seconds: float = _TIMEOUT_SECONDS,
) -> Outcome:
    """Run a module that takes a JSON request and writes an `Outcome` to ``request["answer"]``; by default with this interpreter."""
    log.parent.mkdir(parents=True, exist_ok=True)
    answer = log.with_suffix(".answer.json")
    answer.unlink(missing_ok=True)
    request_path = log.with_suffix(".request.json")
    request_path.write_text(
        json.dumps({**request, "answer": str(answer), "started": time.monotonic()}), encoding="utf-8"
    )
    with log.open("w", encoding="utf-8") as stream:
        try:
            done = subprocess.run(
                [str(python or sys.executable), "-m", module, str(request_path)],
                stdout=stream,
                stderr=stream,
                check=False,
                timeout=most_seconds,
            )
        except subprocess.TimeoutExpired:
            return Outcome(
                laps={}, peak_bytes=0, missing=f"not done after {most_seconds:.0f} s; see {log.name}"
            )
    if not answer.is_file():
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["no message"]
        return Outcome(
            laps={},
            peak_bytes=0,
            missing=f"failed with status {done.returncode}: {lines[-1][:300]} (log: {log.name})",
        )
    return Outcome(**json.loads(answer.read_text(encoding="utf-8")))


def peak_bytes() -> int:
    """Return the peak resident memory of this process in bytes, as the kernel counts it."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise NotMeasuredError("/proc/self/status has no VmHWM: this kernel does not count peak memory.")


def _plain(task: Task) -> dict[str, Any]:
    document = dataclasses.asdict(task)
    return {name: str(value) if isinstance(value, Path) else value for name, value in document.items()}
