"""Facts of a session for its report: board, artifact, commit, versions."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from device_agent import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from device_agent.contract.archive import ArtifactArchive
    from hil.broker import Broker
    from hil.rig import Rig

_PACKAGES = ("numpy", "onnxruntime", "ai-edge-litert", "openvino", "paho-mqtt", "pytest", "tuf")
_GIT_SECONDS = 10.0


def rig_facts(rig: Rig) -> dict[str, str]:
    """Return which board it is and what it offers."""
    power = rig.parts.power
    return {
        "rig": rig.board.name,
        "rig_kind": rig.board.section.kind,
        "rig_description": rig.board.section.description,
        "rig_features": " ".join(rig.features),
        "power_cut_takes": "nothing" if power is None else power.cuts,
        "sensors": rig.board.section.sensors,
        **rig.facts,
    }


def artifact_facts(archive: ArtifactArchive) -> dict[str, str]:
    """Return what is tested."""
    manifest = archive.manifest
    return {
        "artifact": f"{manifest.name} {manifest.version}",
        "artifact_digest": archive.digest,
        "artifact_target": manifest.target,
        "artifact_engine": manifest.requires.engine,
        "artifact_verdict": manifest.verdict,
        "artifact_made_with": ", ".join(f"{tool} {of}" for tool, of in sorted(manifest.made_with.items())),
    }


def broker_facts(broker: Broker) -> dict[str, str]:
    """Return which broker passes the telemetry on."""
    return {"broker": broker.program}


def host_facts(folder: Path) -> dict[str, str]:
    """Return commit and versions of this machine.

    Args:
        folder: Where pytest was started; the commit is the one that is checked out there.
    """
    found = {
        "git_commit": _commit(folder),
        "edgewright_version": __version__,
        "python_version": platform.python_version(),
        "host": f"{platform.system()} {platform.release()} {platform.machine()}",
    }
    for package in _PACKAGES:
        try:
            found[f"{package}_version"] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _commit(folder: Path) -> str:
    """Return the commit, with `+changes` where files differ from it."""
    try:
        done = subprocess.run(
            [
                "git",
                "-C",
                str(folder),
                "describe",
                "--always",
                "--dirty=+changes",
                "--abbrev=40",
                "--exclude=*",
            ],
            capture_output=True,
            text=True,
            timeout=_GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown: git cannot be asked"
    return done.stdout.strip() or "unknown: pytest was not started in a git checkout"
