"""Ctrl-C and kill while weights are reconstructed: the same command goes on where it was, and writes the same plan."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.e2e.small_network import samples, write_network
from tests.e2e.test_convert import environment

if TYPE_CHECKING:
    from pathlib import Path

OPERATORS = 4
COMMAND = """
import os, sys
from host_tools.__main__ import main
from host_tools.reconstruct.checkpoint import Checkpoint

number, after = int(sys.argv[1]), int(sys.argv[2])
solved, keep = [], Checkpoint.keep

def kept(self, node, **arrays):
    keep(self, node, **arrays)
    solved.append(node)
    if len(solved) == after:
        os.kill(os.getpid(), number)

Checkpoint.keep = kept
sys.argv = ["edgewright", *sys.argv[3:]]
status = main()
print(f"solved {len(solved)}", file=sys.stderr)
sys.exit(status)
"""
"""The command, which sends itself a signal after so many operators, and says how many it solved."""


def convert(folder: Path, cache: str, *, number: int = 0, after: int = 0) -> subprocess.CompletedProcess[str]:
    arguments = ["convert", "small.onnx", "--data", "calibration.npy", "--recipe", "recipe.toml"]
    arguments += ["--target", "generic-per-tensor-symmetric", "--out", f"out-{cache}", "--cache", cache]
    arguments += ["--threads", "1", "--no-latency", "--no-diagnose", "--min-agreement", "0", "--quiet"]
    return subprocess.run(
        [sys.executable, "-c", COMMAND, str(number), str(after), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=environment(),
    )


def plan_of(folder: Path, cache: str) -> bytes:
    return (folder / f"out-{cache}" / "generic-per-tensor-symmetric" / "plan.json").read_bytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, data, a recipe, and what an uninterrupted conversion made of them."""
    folder = tmp_path_factory.mktemp("interrupted")
    write_network(folder / "small.onnx")
    np.save(folder / "calibration.npy", samples(24))
    (folder / "recipe.toml").write_text("equalization = false\nreconstruction = true\n")
    done = convert(folder, "whole")
    assert done.returncode in (0, 4), done.stderr
    assert f"solved {OPERATORS}" in done.stderr
    return folder


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda one: one.name)
def test_the_same_command_goes_on(folder: Path, number: signal.Signals) -> None:
    ended = convert(folder, number.name, number=number, after=2)
    if number is signal.SIGKILL:
        assert ended.returncode == -signal.SIGKILL
    else:
        assert ended.returncode == 128 + number
        told = ended.stderr.splitlines()
        assert "the same command goes on where it stopped" in "".join(told)
        assert "Traceback" not in ended.stderr
    assert not (folder / f"out-{number.name}" / "report.json").exists()
    assert len(list((folder / number.name).glob("*.reconstruction/*.npz"))) == 2

    done = convert(folder, number.name)
    assert done.returncode in (0, 4), done.stderr
    assert f"solved {OPERATORS - 2}" in done.stderr
    assert plan_of(folder, number.name) == plan_of(folder, "whole")
    assert not list((folder / number.name).glob("*.reconstruction"))
