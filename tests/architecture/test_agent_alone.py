"""The agent without the host: the wheel in a clean environment, base dependencies only, `host_tools` and `hil` deleted."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.integration.support import null_artifact, write_config

ROOT = Path(__file__).parents[2]
SHIPPED = ("device_agent", "host_tools", "hil", "targets")
FORBIDDEN = (
    "cryptography",
    "numpy",
    "onnx",
    "onnxruntime",
    "PIL",
    "rich",
    "host_tools",
    "hil",
    "openvino",
    "tensorflow",
)
NO_BROKER = 1

RUN = """
import json, sys
from device_agent.cli import main
status = main(["run", "--config", sys.argv[1]])
print(json.dumps({"status": status, "modules": sorted({name.split(".")[0] for name in sys.modules})}))
"""


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a virtual environment in which only the device's half is installed."""
    folder = tmp_path_factory.mktemp("alone")
    source = folder / "source"
    for package in SHIPPED:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source / file)
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", folder, source, cwd=folder)
    (wheel,) = folder.glob("edgewright-*.whl")
    run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    run(folder / "venv/bin/python", "-m", "pip", "install", "--quiet", wheel, cwd=folder)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder / "venv")}))
    for package in ("host_tools", "hil"):
        shutil.rmtree(packages / package)
    return folder / "venv"


@pytest.mark.slow
def test_the_null_engine_runs_to_telemetry_without_numpy_or_the_host(
    environment: Path, tmp_path: Path
) -> None:
    config = write_config(
        tmp_path,
        NO_BROKER,
        null_artifact(tmp_path / "a.ewa"),
        source={"max_frames": 40},
        results={"jsonl": "results.jsonl", "mqtt": True},
    )
    output = run(environment / "bin/python", "-c", RUN, config, cwd=tmp_path)
    found = json.loads(output.splitlines()[-1])
    assert found["status"] == 0
    assert not set(FORBIDDEN) & set(found["modules"])
    assert {"device_agent", "paho", "psutil", "sqlite3"} <= set(found["modules"])
    with contextlib.closing(sqlite3.connect(tmp_path / "spool" / "spool.db")) as spool:
        topics = [topic for (topic,) in spool.execute("SELECT topic FROM message")]
    for ending in ("/m/inference", "/m/system", "/m/thermal", "/m/power", "/o/inference", "/status/health"):
        assert any(topic.endswith(ending) for topic in topics), ending
    assert (tmp_path / "results.jsonl").read_text().endswith("}\n")


@pytest.mark.slow
def test_the_command_is_installed_and_says_what_is_missing(environment: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path, NO_BROKER, null_artifact(tmp_path / "a.ewa"))
    found = json.loads(
        run(environment / "bin/edgewright-agent", "check", "--config", config, "--json", cwd=tmp_path)
    )
    assert found["engines"]["null"] == "null 1.0"
    assert found["engines"]["onnx"].startswith("unavailable: ")
    assert "edgewright[onnx]" in found["engines"]["onnx"]
    assert found["ok"] is True
