"""Whether memory stays where it is: the model is switched again and again, and infers in between.

``python -m benchmarks.agent.switching REQUEST.json`` is the process that does it, with the agent's own `ModelRunner`:
verify, load, self-test, infer, and the same again for the other artifact, as when a device gets hot and cools down.
"""

from __future__ import annotations

import dataclasses
import io
import json
import resource
import statistics
import sys
import time
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final

from benchmarks.findings import Finding, Limit
from benchmarks.tasks import NotMeasuredError, Outcome, peak_bytes, run_python
from device_agent.config import (
    AgentConfig,
    ArtifactSection,
    DeviceSection,
    EngineSection,
    HeatSection,
    SpoolSection,
)
from device_agent.contract.archive import ArtifactArchive, write_archive
from device_agent.frames import FrameDoor
from device_agent.model_runner import ModelRunner
from device_agent.occurrences import (
    ArtifactVerified,
    EngineLoaded,
    Failed,
    ModelSwitched,
    SelfTestPassed,
    SwitchFailed,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.options import Options
    from device_agent.occurrences import Occurrence
    from host_tools.progress import Progress

SWITCHES: Final = 1_000
INFERENCES: Final = 1_000
"""Between two switches: a million in all."""
FLAT_LIMIT: Final = Limit(bound=0.02, at_most=True)
_WARM_UP: Final = 100
"""Switches before memory is compared: pools and caches of engine and allocator fill up first."""
_PATIENCE_SECONDS: Final = 60.0
_SAMPLE_EVERY: Final = 10
NOTES: Final = (
    f"Switches: one process with the agent's own runner of models; two artifacts that differ in their version only take turns, {SWITCHES} times, each time "
    f"verified, loaded and self-tested anew, with {INFERENCES} inferences on zeros before the next. RSS is read every {_SAMPLE_EVERY} switches from /proc/self/statm; "
    f"the growth is the median of the last tenth over that of the first tenth after {_WARM_UP} switches of warming up.",
)


def measure(artifacts: Sequence[tuple[str, Path]], options: Options, progress: Progress) -> list[Finding]:
    """Switch each artifact for itself under another version.

    Args:
        artifacts: Name of the subject, and a file.
        options: Where files are kept.
        progress: Told of each.
    """
    progress.stage("Switching models", len(artifacts))
    findings = []
    for number, (subject, path) in enumerate(artifacts):
        folder = options.work / "agent" / f"switching-{number}"
        request = {
            "artifacts": [str(path), str(renamed(path, folder / "other.ewa"))],
            "switches": SWITCHES,
            "inferences": INFERENCES,
        }
        outcome = run_python("benchmarks.agent.switching", request, log=folder / "log.txt")
        findings += _findings(subject, outcome)
        progress.step()
    return findings


def renamed(path: Path, out: Path) -> Path:
    """Write an artifact that is another's in all but its version."""
    archive = ArtifactArchive.open(path)
    manifest = dataclasses.replace(archive.manifest, version=f"{archive.manifest.version}-other")
    members = {
        member.name: archive.read(member.name)
        for member in (*archive.manifest.payload, *archive.manifest.members)
    }
    stream = io.BytesIO()
    write_archive(stream, manifest, members)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(stream.getvalue())
    return out


def growth(sizes: Sequence[float], *, warm_up: int) -> tuple[float, float, float]:
    """Return the first and last median of sizes after a warm-up, and the growth between as a share.

    Example:
        >>> growth([50.0] + [100.0] * 10 + [101.0] * 10, warm_up=1)
        (100.0, 101.0, 0.01)
    """
    kept = sizes[warm_up:]
    tenth = max(1, len(kept) // 10)
    first, last = statistics.median(kept[:tenth]), statistics.median(kept[-tenth:])
    return first, last, last / first - 1.0


class Switching:
    """The agent's runner of models, and its reports.

    Args:
        artifacts: Two files with the same inputs and outputs.
    """

    def __init__(self, artifacts: Sequence[Path]) -> None:
        reports: SimpleQueue[Occurrence] = SimpleQueue()
        self._reports = reports
        config = AgentConfig(
            device=DeviceSection(id="switching"),
            artifact=ArtifactSection(path=artifacts[0]),
            spool=SpoolSection(path=artifacts[0].with_name("spool.db")),
            engine=EngineSection(threads=1),
            heat=HeatSection(variant_path=artifacts[1], variant_celsius=60.0),
        )
        self.runner = ModelRunner(config, report=reports.put, door=FrameDoor(), updated=None)
        for begin, ended in (
            (self.runner.verify, ArtifactVerified),
            (self.runner.load, EngineLoaded),
            (self.runner.test, SelfTestPassed),
        ):
            begin()
            self._wait_for(ended)
        self.runner.infer(None)
        self._is_variant = False

    def switch(self, *, inferences: int) -> None:
        """Switch to the other artifact and infer.

        Raises:
            NotMeasuredError: It failed, or took too long.
        """
        self._is_variant = not self._is_variant
        self.runner.hold(None, paused=False, variant=self._is_variant)
        self._wait_for(ModelSwitched)
        wanted = self.runner.meter.inferences_total + inferences
        end = time.monotonic() + _PATIENCE_SECONDS
        while self.runner.meter.inferences_total < wanted:
            if time.monotonic() > end:
                raise NotMeasuredError("the model does not infer after a switch")
            time.sleep(0.0005)

    def close(self) -> None:
        """End."""
        self.runner.close(_PATIENCE_SECONDS)

    def _wait_for(self, kind: type[Occurrence]) -> None:
        occurrence = self._reports.get(timeout=_PATIENCE_SECONDS)
        if isinstance(occurrence, Failed | SwitchFailed) or not isinstance(occurrence, kind):
            raise NotMeasuredError(f"expected {kind.__name__}, got {occurrence}")


def main(request_path: Path) -> None:
    """Do what a request asks for."""
    request = json.loads(request_path.read_text(encoding="utf-8"))
    switching = Switching([Path(path) for path in request["artifacts"]])
    sizes = []
    started = time.monotonic()
    for number in range(request["switches"]):
        switching.switch(inferences=request["inferences"])
        if number % _SAMPLE_EVERY == 0:
            sizes.append(float(resident_bytes()))
    seconds, inferences = time.monotonic() - started, switching.runner.meter.inferences_total
    switching.close()
    first, last, share = growth(sizes, warm_up=_WARM_UP // _SAMPLE_EVERY)
    laps = {
        "first": first,
        "last": last,
        "growth": share,
        "seconds": seconds,
        "inferences": float(inferences),
    }
    outcome = Outcome(laps=laps, peak_bytes=peak_bytes())
    Path(request["answer"]).write_text(json.dumps(dataclasses.asdict(outcome)), encoding="utf-8")


def resident_bytes() -> int:
    """Return this process's resident set, shared pages included."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def _findings(subject: str, outcome: Outcome) -> list[Finding]:
    figure = f"growth of RSS over {SWITCHES} model switches"
    if outcome.missing:
        return [
            Finding(subject=subject, figure=figure, unit="share", limit=FLAT_LIMIT, missing=outcome.missing)
        ]
    laps = outcome.laps
    sample = f"{laps['inferences']:.0f} inferences in between, {laps['seconds']:.0f} s"
    return [
        Finding(
            subject=subject,
            figure=figure,
            unit="share",
            value=laps["growth"],
            sample=sample,
            limit=FLAT_LIMIT,
        ),
        Finding(subject=subject, figure="RSS at its end", unit="bytes", value=laps["last"], sample=sample),
    ]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
