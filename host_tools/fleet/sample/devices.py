"""The sample's devices: real agents with the null engine, at a few frames a second, so that the machine stays quiet."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from device_agent.durable import write_durably
from host_tools.authority.folder import OWNER_ONLY
from host_tools.errors import OutputError
from host_tools.fleet.field.enrolment import Enrolment
from host_tools.fleet.sample.plans import GROUP
from host_tools.fleet.sample.processes import LOOPBACK, listens
from host_tools.fleet.sample.releases import TARGET, artifact_path
from host_tools.free_port import free_port

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from host_tools.authority.folder import AuthorityFolder
    from host_tools.fleet.sample.broker import Broker
    from host_tools.fleet.sample.folder import SampleFolder
    from host_tools.fleet.sample.processes import Processes
    from host_tools.progress import Progress

_TOKEN_LIFETIME: Final = timedelta(hours=1)
_Tables = dict[str, dict[str, object]]


def start_authority(folder: SampleFolder, processes: Processes) -> str:
    """Start what answers devices that enrol or renew; return its address."""
    port = free_port()
    processes.start_edgewright(
        "authority",
        "ca",
        "serve",
        folder.authority,
        "--host",
        LOOPBACK,
        "--port",
        str(port),
        "--name",
        LOOPBACK,
    )
    processes.wait_until(lambda: listens(port), what="the authority listens")
    return f"https://{LOOPBACK}:{port}"


def enrol_devices(
    folder: SampleFolder, authority: AuthorityFolder, url: str, processes: Processes, progress: Progress
) -> None:
    """Let every device that has no certificate get its own, with a claim token that is good for it alone.

    Raises:
        EndAsked: Somebody wants the end.
        OutputError: One could not, or a file cannot be written.
    """
    enrolment = Enrolment(authority, url=url)
    missing = [name for name in folder.names if not (folder.device(name) / "identity" / "current").exists()]
    if missing:
        progress.stage(f"Enrolling {len(missing)} devices", len(missing))
    for name in missing:
        place = folder.device(name)
        token = enrolment.token(group=GROUP, lifetime=_TOKEN_LIFETIME, device=name)
        config = _write(place / "enrol.toml", _toml(_identified(folder, name)))
        file = _write(place / "claim.token", token)
        command = [*_agent("enrol", config), "--token-file", str(file)]
        processes.finish(processes.start(name, command))
        file.unlink()
        progress.step()


def start_devices(
    folder: SampleFolder, broker: Broker, repository: str, processes: Processes, *, check_seconds: float
) -> None:
    """Start the agents.

    Raises:
        OutputError: One cannot be started, or a file cannot be written.
    """
    for name in folder.names:
        tables = _running(folder, name, broker, repository, check_seconds)
        config = _write(folder.device(name) / "agent.toml", _toml(tables))
        processes.start(name, _agent("run", config))


def _agent(verb: str, config: Path) -> list[str]:
    return [sys.executable, "-m", "device_agent", verb, "--config", str(config)]


def _identified(folder: SampleFolder, name: str) -> _Tables:
    return {
        "device": {"id": name, "targets": [TARGET]},
        "artifact": {"path": str(artifact_path(folder, "1.0"))},
        "spool": {"path": "state/spool.db"},
        "identity": {"folder": "identity"},
    }


def _running(
    folder: SampleFolder, name: str, broker: Broker, repository: str, check_seconds: float
) -> _Tables:
    return {
        **_identified(folder, name),
        "source": {"kind": "null", "rate_hz": 10.0},
        "mqtt": {"host": LOOPBACK, "port": broker.device_port, "reconnect_max_seconds": 5.0},
        "telemetry": {"interval_seconds": 2.0},
        "update": {
            "url": repository,
            "root": str(folder.repository / "metadata" / "1.root.json"),
            "directory": "updates",
            "group": GROUP,
            "first_check_seconds": 1.0,
            "check_interval_seconds": check_seconds,
            "require_synced_clock": False,  # laptops and containers seldom tell
            "shadow_frames": 0,
            "probation_seconds": 2.0,
            "probation_inferences": 5,
            "probation_p95_ratio": 1000.0,  # else each device finds a slow release by itself, before the gate does
        },
    }


def _toml(tables: Mapping[str, Mapping[str, object]]) -> str:
    """Write tables of texts, numbers, booleans and lists of texts: what JSON writes of them TOML reads."""
    lines = []
    for table, values in tables.items():
        lines.append(f"[{table}]")
        lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
    return "\n".join([*lines, ""])


def _write(path: Path, text: str) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, text.encode(), mode=OWNER_ONLY)
    except OSError as error:
        raise OutputError(f"{error.filename or path}: {error.strerror}.") from error
    return path
