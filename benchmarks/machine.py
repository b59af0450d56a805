"""Where and with what a run was made."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from host_tools.processor import features

_REPOSITORY = Path(__file__).resolve().parents[1]
TOOLS = (
    "edgewright",
    "numpy",
    "onnx",
    "onnxruntime",
    "openvino",
    "ai-edge-litert",
    "nncf",
    "litert-quantizer",
    "paho-mqtt",
)


def facts() -> dict[str, str]:
    """Return the code's commit, and processor, cores, memory, kernel and load of this machine, by name; what cannot be read is ``unknown``."""
    return {
        "commit": commit(_REPOSITORY),
        "processor": _field("/proc/cpuinfo", "model name"),
        "cores": f"{len(os.sched_getaffinity(0))} usable of {os.cpu_count()}",
        "memory": _field("/proc/meminfo", "MemTotal"),
        "instructions": _instructions(),
        "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])} {platform.machine()}",
        "load average before": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }


def commit(folder: Path) -> str:
    """Return the first twelve digits of what is checked out in a folder, and whether files differ from it; ``unknown`` without Git or a repository."""
    try:
        head = _git(folder, "rev-parse", "--short=12", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{head}, and changes to it" if changed else head


def versions() -> dict[str, str]:
    """Return the version of every tool that is installed here, and of Python."""
    found = {"python": platform.python_version()}
    for tool in TOOLS:
        try:
            found[tool] = version(tool)
        except PackageNotFoundError:
            found[tool] = "not installed"
    return found


def now() -> str:
    """Return the time in UTC, to the minute."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%MZ")


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _field(path: str, name: str) -> str:
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return "unknown"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "unknown")


def _instructions() -> str:
    flags = features() or frozenset()
    told = [name for name in ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8") if name in flags]
    return ", ".join(told) or "none of AVX2, AVX-512, VNNI, AMX"
