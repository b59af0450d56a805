"""The main job on one machine: EfficientNet-Lite0 to three targets, each run by the agent, all reported over MQTT.

``python -m examples.demo --out DIR`` (or ``make demo``): prepare the model and photos, convert once for three
targets, start the embedded broker, run the agent on each artifact in turn, compare, and leave two pages behind.
Exit status 0 only if every artifact passed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from iotcore import Broker

from device_agent.contract.errors import EdgewrightError
from device_agent.contract.topics import DEFAULT_ROOT
from device_agent.telemetry.histogram import Histogram
from examples.efficientnet_lite.prepare import prepare
from host_tools.cli.conversion import report_table, summary_table, wide_console
from host_tools.cli.progress import ProgressBars
from host_tools.output_folder import open_output_folder
from host_tools.pipeline import convert
from host_tools.processor import suited
from host_tools.review.broker_address import parse_broker
from host_tools.review.history import DeviceHistory, History
from host_tools.review.listener import listen
from host_tools.review.telemetry_page import render_telemetry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.table import Table

    from device_agent.contract.telemetry.measurements import InferenceWindow
    from host_tools.pipeline import Conversion
    from host_tools.review.listener import Listener

TARGETS = tuple(suited(name) for name in ("x86_64-onnxruntime", "x86_64-openvino", "cortex-a-tflite"))
"""One of each engine, as this machine's processor needs it."""
_AGENT_SECONDS = 12.0
_STOP_SECONDS = 20.0
_CONFIG = """\
[device]
id = "{device}"

[artifact]
path = "{artifact}"

[engine]
threads = 2

[source]
kind = "directory"
path = "{photos}"
loop = true

[results]
jsonl = "results.jsonl"
max_rate_hz = 20

[mqtt]
host = "127.0.0.1"
port = {port}

[telemetry]
interval_seconds = 1.0
pss_interval_seconds = 2.0

[spool]
path = "spool.db"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRun:
    """What one agent did: how it ended, and how many of the photos that it classified were right."""

    device: str
    target: str
    exit_status: int
    log: Path
    frames: int
    right: int

    @property
    def succeeded(self) -> bool:
        """Whether the agent drained, said goodbye and classified something."""
        return self.exit_status == 0 and self.frames > 0


def main() -> int:
    """Run the demo and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", default="out/demo", metavar="DIR", help="where everything goes (default: out/demo)"
    )
    out = Path(parser.parse_args().out)
    console = wide_console()
    try:
        with ProgressBars(quiet=False) as progress:
            prepare(out / "model", lambda line: progress.stage(line, None))
            conversion = convert(
                out / "model" / "efficientnet_lite0.onnx",
                data=out / "model" / "calibration",
                evaluation=out / "model" / "evaluation",
                labels=out / "model" / "labels.csv",
                targets=TARGETS,
                out=out / "artifacts",
                version="1.0.0",
                progress=progress,
            )
            runs, history = _run_agents(conversion, out, progress)
    except EdgewrightError as error:
        console.print(f"demo: {error}", style="red", markup=False)
        return 1
    page = _write_telemetry_page(history, out)
    console.print(report_table(conversion.report))
    console.print(_agent_table(runs, history))
    console.print(
        "20 photos are too few for a claim about accuracy; agreement with float and SQNR say more.",
        style="dim",
    )
    console.print(f"Conversion report  {conversion.report_page}", markup=False)
    console.print(f"Telemetry page     {page}", markup=False)
    failed = [run for run in runs if not run.succeeded]
    for run in failed:
        console.print(
            f"{run.target}: the agent failed with status {run.exit_status}; see {run.log}",
            style="red",
            markup=False,
        )
    shipped = set(TARGETS) == set(conversion.artifacts)
    return 0 if shipped and not failed and len(runs) == len(TARGETS) else 1


def _run_agents(conversion: Conversion, out: Path, progress: ProgressBars) -> tuple[list[AgentRun], History]:
    """Run the agent on each artifact in turn while listening to the embedded broker."""
    history = History()
    runs: list[AgentRun] = []
    labels = _labels(out / "model" / "labels.csv")
    progress.stage("Running the agent on each artifact", len(conversion.artifacts))
    with (
        _embedded_broker() as port,
        listen(parse_broker(f"mqtt://127.0.0.1:{port}"), root=DEFAULT_ROOT) as listener,
    ):
        for target, artifact in conversion.artifacts.items():
            runs.append(_run_agent(target, artifact, out, port, labels, listener, history))
            progress.step()
    return runs, history


def _run_agent(
    target: str,
    artifact: Path,
    out: Path,
    port: int,
    labels: dict[str, int],
    listener: Listener,
    history: History,
) -> AgentRun:
    """Run one agent for a few seconds, stop it as systemd would, and read what it classified."""
    device = f"demo-{target}"
    folder = out / "agents" / target
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    photos = (out / "model" / "evaluation").resolve()
    (folder / "agent.toml").write_text(
        _CONFIG.format(device=device, artifact=artifact.resolve(), photos=photos, port=port)
    )
    command = [sys.executable, "-m", "device_agent", "run", "--config", str(folder / "agent.toml")]
    with (folder / "agent.log").open("w") as log, subprocess.Popen(command, stderr=log) as agent:
        _collect(listener, history, seconds=_AGENT_SECONDS, until=lambda: agent.poll() is not None)
        agent.send_signal(signal.SIGTERM)
        try:
            status = agent.wait(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            agent.kill()
            status = agent.wait()
        _collect(listener, history, seconds=1.0, until=lambda: False)
    frames, right = _score(folder / "results.jsonl", labels)
    return AgentRun(
        device=device, target=target, exit_status=status, log=folder / "agent.log", frames=frames, right=right
    )


def _collect(listener: Listener, history: History, *, seconds: float, until: Callable[[], bool]) -> None:
    """Take deliveries for so long, or until the agent ended by itself."""
    end = time.monotonic() + seconds
    for delivery in listener.deliveries(seconds=seconds):
        if delivery is not None:
            history.add(delivery)
        if time.monotonic() > end or until():
            return


def _score(results: Path, labels: dict[str, int]) -> tuple[int, int]:
    """Count the frames of a results file, and those whose top class is the label."""
    frames = right = 0
    if not results.is_file():
        return 0, 0
    for line in results.read_text(encoding="utf-8").splitlines():
        result = json.loads(line)
        frames += 1
        right += result["outputs"][0]["indices"][0] == labels[Path(result["frame"]).name]
    return frames, right


def _labels(path: Path) -> dict[str, int]:
    rows = (line.split(",") for line in path.read_text(encoding="utf-8").splitlines()[1:])
    return {file: int(label) for file, label in rows}


@contextmanager
def _embedded_broker() -> Iterator[int]:
    """Start the broker on a free port of the loopback interface; yield the port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    with Broker(port=port, listen="127.0.0.1"):
        yield port


def _write_telemetry_page(history: History, out: Path) -> Path:
    with open_output_folder(out) as folder:
        return folder.write(
            "telemetry.html", render_telemetry(history, origin="the embedded broker of the demo").encode()
        )


def _agent_table(runs: list[AgentRun], history: History) -> Table:
    table = summary_table("As the agent ran them, from its telemetry")
    for heading in ("Target", "Engine"):
        table.add_column(heading, no_wrap=True)
    for heading in ("p50 ms", "p95 ms", "Inferences", "Right %", "PSS MiB"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("Ended", no_wrap=True)
    for run in runs:
        table.add_row(*_agent_row(run, history.devices.get(run.device)))
    return table


def _agent_row(run: AgentRun, device: DeviceHistory | None) -> list[str]:
    if device is None or not device.inference:
        return [run.target, "–", "–", "–", "0", "–", "–", f"status {run.exit_status}, silent"]
    birth, latencies = device.birth, _merged(device.inference)
    pss = [sample.process_pss_bytes for sample in device.system if sample.process_pss_bytes is not None]
    return [
        run.target,
        f"{birth.engine} {birth.engine_version}" if birth else "–",
        *(f"{1e3 * (latencies.quantile_seconds(share) or 0.0):.2f}" for share in (0.5, 0.95)),
        str(device.inference[-1].inferences_total),
        f"{100.0 * run.right / run.frames:.0f}" if run.frames else "–",
        f"{pss[-1] / 2**20:.0f}" if pss else "–",
        f"{device.health.status}: {device.health.reason}" if device.health else "–",
    ]


def _merged(windows: list[InferenceWindow]) -> Histogram:
    """Merge the histograms of all windows: quantiles themselves must never be averaged."""
    merged = Histogram()
    for window in windows:
        if window.latency_count:
            merged.merge(
                Histogram.from_buckets(
                    window.hist.counts.items(),
                    sum_ns=round(window.latency_sum_seconds * 1e9),
                    min_ns=round((window.latency_min_seconds or 0.0) * 1e9),
                    max_ns=round((window.latency_max_seconds or 0.0) * 1e9),
                )
            )
    return merged


if __name__ == "__main__":
    sys.exit(main())
