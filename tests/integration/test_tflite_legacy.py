"""The engine template on tflite-runtime 2.14, which needs NumPy 1 and so an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.unit.device_agent.engines import payloads

REPOSITORY = Path(__file__).resolve().parents[2]
DEFAULT_PYTHON = REPOSITORY / ".venv-tflite-legacy" / "bin" / "python"


def legacy_python() -> str:
    python = Path(os.environ.get("EDGEWRIGHT_LEGACY_PYTHON", DEFAULT_PYTHON))
    assert python.exists(), (
        f"{python} is not there: run `make .venv-tflite-legacy/.ready` "
        "(tflite-runtime 2.14 under NumPy 1, Python 3.10 or 3.11), or name another in EDGEWRIGHT_LEGACY_PYTHON."
    )
    return str(python)


def run(*arguments: str) -> str:
    done = subprocess.run(
        [legacy_python(), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_tflite_runtime_passes_the_engine_template(tmp_path) -> None:
    for name, files in (
        ("float", payloads.tflite_float()),
        ("int8", payloads.tflite_int8()),
        ("open", payloads.tflite_float(is_open=True)),
    ):
        (tmp_path / f"{name}.tflite").write_bytes(files["model.tflite"])
    said = run("-m", "tests.unit.device_agent.engines.engine_template", str(tmp_path))
    assert said.splitlines()[-1] == "tflite-runtime 2.14.0"


def test_frames_become_the_same_codes_under_numpy_1() -> None:
    """NumPy 1 divides a float32 array by a float in float32; a code at the rounding edge would then differ from the host's."""
    program = """
import numpy as np
from device_agent.contract.manifest import PayloadTensor
from device_agent.sources.adapt import to_payload
scale = 0.018658448
edges = ((np.arange(-113, 140) + 0.5) * scale).astype(np.float32)
values = np.concatenate([np.nextafter(edges, np.float32(-9)), edges, np.nextafter(edges, np.float32(9))])[None]
tensor = PayloadTensor(name="x", shape=values.shape, dtype="int8", scale=scale, zero_point=-14, source_name="x", source_axes=(0, 1))
codes = to_payload({"x": values}, [tensor])[0]
print(np.__version__.split(".")[0], int(codes[0].astype(np.int64) @ np.arange(codes.size) ** 2))
"""
    legacy = run("-c", program).split()
    here = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=REPOSITORY
    ).stdout.split()
    assert (legacy[0], here[0]) == ("1", "2")
    assert legacy[1] == here[1]
