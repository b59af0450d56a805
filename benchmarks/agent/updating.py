"""Memory of the agent without an engine while it takes one update after another, its child processes with it."""

from __future__ import annotations

import functools
import http.server
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from benchmarks.agent.artifacts import cool_board, null_artifact
from benchmarks.agent.bench import embedded_broker, running_agent
from benchmarks.agent.footprint import PSS_LIMIT
from benchmarks.agent.processes import Watcher
from benchmarks.findings import Finding, ranged_finding
from benchmarks.tasks import NotMeasuredError
from host_tools.repository.keys import KeyRing
from host_tools.repository.repository import Repository

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from benchmarks.agent.bench import AgentRun
    from benchmarks.agent.processes import Sample
    from benchmarks.options import Options
    from host_tools.progress import Progress

_SAMPLE_SECONDS: Final = 0.01
_PATIENCE_SECONDS: Final = 300.0
_SUBJECT: Final = "agent with the null engine, taking updates"
NOTES: Final = (
    "Memory while updating: a signed repository on loopback releases a new artifact for the null engine as soon as the one before is kept; "
    "each is checked for, fetched, tried, run beside the old one and activated. Agent and child processes are added, read from "
    f"/proc/PID/smaps_rollup every {1000 * _SAMPLE_SECONDS:.0f} ms. Between updates there is no child, as for all but a second of the hour between two checks by default. "
    "PSS hangs on who else has Python's pages; “as if alone” counts every page of the agent and its children whole, a file's unchanged pages once: a machine with no "
    "other Python.",
)
_SETTINGS: Final = """\
[source]
kind = "null"
rate_hz = 50.0

[heat]
pause_celsius = 150.0

[sensors]
sysfs_root = "{board}"

[telemetry]
interval_seconds = 1.0

[update]
url = "{url}"
root = "{root}"
directory = "updates"
first_check_seconds = 1.0
check_interval_seconds = 2.0
require_synced_clock = false
shadow_frames = 20
probation_seconds = 1.0
probation_inferences = 20
probation_p95_ratio = 1000.0
"""


def measure_runs(options: Options, progress: Progress) -> list[Finding]:
    """Measure several times, in fresh processes and folders."""
    runs = [measure(options, progress, name=f"updating-{number}") for number in range(options.repeats)]
    return [finding for run in runs for finding in run]


def measure(options: Options, progress: Progress, *, name: str = "updating") -> list[Finding]:
    """Let the agent update for the window, and read its memory."""
    progress.stage(f"Memory while updating, {options.agent_seconds:.0f} s", round(options.agent_seconds))
    work = options.work / "agent" / name
    repository = Repository(work / "repository", KeyRing(work / "keys"))
    settings = _SETTINGS.replace("{root}", str(repository.init())).replace(
        "{board}", str(cool_board(work / "board"))
    )
    try:
        with (
            served(work / "repository") as url,
            embedded_broker() as broker,
            running_agent(broker, work / name, _artifact(work, 0), settings.format(url=url)) as agent,
        ):
            agent.wait_until_up()
            watcher = Watcher(agent.process.pid, interval_seconds=_SAMPLE_SECONDS)
            updates = _updates(agent, repository, work, options.agent_seconds, progress)
            samples = watcher.stop()
    except NotMeasuredError as error:
        return [Finding(subject=_SUBJECT, figure="PSS", unit="bytes", limit=PSS_LIMIT, missing=str(error))]
    during = [one for one in samples if one.children]
    seconds = options.agent_seconds
    return [
        _finding("PSS, whole window", samples, f"{updates} updates in {seconds:.0f} s"),
        _finding("PSS, while there is a child process", during, f"{updates} updates in {seconds:.0f} s"),
        *(
            _alone(name, found)
            for name, found in (("whole window", samples), ("while there is a child process", during))
        ),
    ]


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder over HTTP on loopback; gives the URL."""

    class Silent(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Silent, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


def _updates(agent: AgentRun, repository: Repository, work: Path, seconds: float, progress: Progress) -> int:
    """Release artifact after artifact for so long; return how many were kept."""
    end, kept = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        path = repository.add(_artifact(work, kept + 1), release_counter=kept + 1)
        repository.release(f"device/{agent.device}", [path])
        patience = time.monotonic() + _PATIENCE_SECONDS
        while _told(agent, "update_committed") <= kept:
            if time.monotonic() > patience or _told(agent, "update_rejected", "update_rolled_back"):
                raise NotMeasuredError(f"update {kept + 1} was not kept; see {agent.folder / 'agent.log'}")
            agent.listen_for(0.5)
            progress.step()
        kept += 1
    return kept


def _told(agent: AgentRun, *names: str) -> int:
    return sum(event.name in names for event in agent.said.events)


def _artifact(work: Path, number: int) -> Path:
    return null_artifact(work / f"nothing-{number}.ewa", latency_seconds=0.001, version=f"1.0.{number}")


def _alone(when: str, samples: Sequence[Sample]) -> Finding:
    figure, sizes = f"as if alone, {when}", [one.alone for one in samples if one.alone is not None]
    if not sizes:
        return Finding(subject=_SUBJECT, figure=figure, unit="bytes", missing="no sample was taken")
    return ranged_finding(
        subject=_SUBJECT,
        figure=figure,
        unit="bytes",
        values=sizes,
        sample=f"{len(sizes)} samples",
    )


def _finding(figure: str, samples: Sequence[Sample], sample: str) -> Finding:
    if not samples:
        return Finding(
            subject=_SUBJECT, figure=figure, unit="bytes", limit=PSS_LIMIT, missing="no sample was taken"
        )
    return ranged_finding(
        subject=_SUBJECT,
        figure=figure,
        unit="bytes",
        values=[one.total for one in samples],
        sample=f"{len(samples)} samples, {sample}",
        limit=PSS_LIMIT,
    )
