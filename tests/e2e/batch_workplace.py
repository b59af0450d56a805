"""A folder with small networks, data and a JOBS.toml, and user code that is slow, or that kills its process as the kernel would."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from host_tools.batch.expansion import expand
from host_tools.batch.job import Job
from host_tools.batch.jobs_file import read_jobs_file
from tests.e2e.small_network import samples, write_network

ROOT = Path(__file__).parents[2]
DEFAULTS = """\
[defaults]
data = "calibration.npy"
targets = ["x86_64-onnxruntime"]
method = "minmax"
latency = false
budget = { min_agreement = 0.3 }
"""
CODE = '''\
"""Data of a user's own."""

import os
import signal
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def killed():
    """What the kernel does to a process that takes too much memory."""
    os.kill(os.getpid(), signal.SIGKILL)


class _Slow:
    def __len__(self):
        return 8

    def __iter__(self):
        for sample in np.load(HERE / "calibration.npy")[:8]:
            (HERE / "slow.pid").write_text(str(os.getpid()))
            while not (HERE / "go").exists():
                time.sleep(0.05)
            yield sample


def slow():
    """Does not end before a file named `go` is there."""
    return _Slow()
'''


@dataclass(frozen=True)
class BatchWorkplace:
    """A folder with models ``a.onnx`` and ``b.onnx``, data, and code."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> BatchWorkplace:
        for seed, name in enumerate("ab"):
            write_network(folder / f"{name}.onnx", seed=seed)
        np.save(folder / "calibration.npy", samples(8))
        (folder / "own.py").write_text(CODE)
        return cls(folder)

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def list_jobs(self, models: str, defaults: str = DEFAULTS) -> Path:
        path = self.folder / "jobs.toml"
        path.write_text(defaults + models)
        return path

    def jobs(self, models: str, defaults: str = DEFAULTS) -> tuple[Job, ...]:
        file = read_jobs_file(self.list_jobs(models, defaults))
        return expand(file, folder=self.folder, out=self.out, cache=str(self.folder / "cache"))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [
            sys.executable,
            "-m",
            "host_tools",
            "batch",
            "jobs.toml",
            "--out",
            "out",
            "--cache",
            "cache",
        ]
        return subprocess.Popen(
            [*command, *arguments],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    def slow_process(self) -> int:
        """Wait for the slow job and return its process."""
        marker = self.folder / "slow.pid"
        wait_for(lambda: marker.exists() and marker.read_text() != "")
        return int(marker.read_text())


def wait_for(is_so: Callable[[], bool], *, seconds: float = 60.0) -> None:
    """Wait until something is so, and fail when it does not come to be."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(0.02)


def is_running(process: int) -> bool:
    """Say whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
