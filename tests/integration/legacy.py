"""The interpreter in which tflite-runtime 2.14 runs: it needs NumPy 1, and so an environment of its own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
DEFAULT_PYTHON = REPOSITORY / ".venv-tflite-legacy" / "bin" / "python"


def legacy_python() -> str:
    """Return its path; a test that needs it fails without it, and says how to make it."""
    python = Path(os.environ.get("EDGEWRIGHT_LEGACY_PYTHON", DEFAULT_PYTHON))
    assert python.exists(), (
        f"{python} is not there: run `make .venv-tflite-legacy/.ready` "
        "(tflite-runtime 2.14 under NumPy 1, Python 3.10 or 3.11), or name another in EDGEWRIGHT_LEGACY_PYTHON."
    )
    return str(python)


def run_legacy(*arguments: str, expected: int = 0) -> str:
    """Run it in the repository and return what it prints."""
    done = subprocess.run(
        [legacy_python(), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=REPOSITORY,
    )
    assert done.returncode == expected, done.stdout + done.stderr
    return done.stdout
