"""Nothing of ours sends anything that its owner did not ask for, though two of the engines do when they are merely imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from host_tools.processor import suited
from tests.e2e.small_network import samples, write_network

ROOT = Path(__file__).parents[2]
PROXIES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
LISTEN = """
import runpy, sys
from pathlib import Path
heard = Path(sys.argv.pop(1))
watched = ("os.fork", "socket.connect", "socket.getaddrinfo", "socket.sendto")
def listen(event, arguments):
    if event in watched:
        with heard.open("a") as file:
            file.write(f"{event} {arguments}\\n")
sys.addaudithook(listen)
sys.argv[0] = "edgewright"
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""


def run(folder: Path, *arguments: str) -> list[str]:
    """Run a module with a home of its own, where it may not find that it is on a build server; return what it did behind our back."""
    home, heard = folder / "home", folder / "heard"
    home.mkdir(exist_ok=True)
    variables = {
        name: value for name, value in os.environ.items() if name not in ("CI", "TF_BUILD", "JENKINS_URL")
    }
    done = subprocess.run(
        [sys.executable, "-c", LISTEN, str(heard), *arguments],
        cwd=folder,
        env={
            **variables,
            "HOME": str(home),
            "PYTHONPATH": str(ROOT),
            **dict.fromkeys(PROXIES, "http://127.0.0.1:9"),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    files = [path.relative_to(home) for path in home.rglob("*") if path.is_file()]
    left = [
        str(file) for file in files if "matplotlib" not in file.parts
    ]  # which remembers the fonts of the machine
    return left + (heard.read_text().splitlines() if heard.exists() else [])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_network(tmp_path / "small.onnx")
    np.save(tmp_path / "calibration.npy", samples(8))
    return tmp_path


def test_a_conversion_tells_nobody(folder: Path) -> None:
    """OpenVINO's import would tell Google Analytics, ONNX Runtime's would tell Microsoft; both leave an identifier in the home."""
    targets = ("x86_64-onnxruntime", suited("x86_64-openvino"), "cortex-a-tflite")
    asked = [argument for target in targets for argument in ("--target", target)]
    given = ["--data", "calibration.npy", "--out", "out", "--cache", "cache", "--threads", "1", "--quiet"]
    assert run(folder, "host_tools", "convert", "small.onnx", *given, *asked) == []


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_the_test_above_would_hear_it(folder: Path, engine: str) -> None:
    """So that it cannot pass for the wrong reason. OpenVINO's event goes to nobody: the child that would send it has no module for it."""
    (folder / "loud.py").write_text(
        f"import urllib.request\nurllib.request.urlopen = None\nimport {engine}\n"
    )
    assert run(folder, "loud") != []
