"""A session of the suites that ship, as whoever has the package installed starts it: in a folder of its own, warnings as errors."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LONGEST_SECONDS = 1800
"""So that what hangs ends; what is slow on a busy machine has far less of it."""


def run_suites(
    folder: Path, *modules: str, rig: str, options: tuple[str, ...] = (), own: tuple[Path, ...] = ()
) -> str:
    """Run suites on a rig; return what pytest says once all of it passed. ``own``: folders of modules, before ours."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "hil.plugin",
        "--pyargs",
        *(f"hil.suites.{one}" for one in modules),
    ]
    command += [f"--rig={rig}", "-q", "-rs", "-W", "error", "-p", "no:cacheprovider", "-p", "no:randomly"]
    command += ["--rootdir", str(folder), "-c", os.devnull, *options]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (*own, ROOT)))},
        capture_output=True,
        text=True,
        timeout=LONGEST_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    return done.stdout


def lacking(said: str) -> set[str]:
    """Return the features for want of which tests were skipped; a test that was skipped for anything else is a failure."""
    skipped = [line for line in said.splitlines() if line.startswith("SKIPPED")]
    found = [re.search(r"rig '[^']+' has no '?([a-z_, ]+)'?[;.]", line) for line in skipped]
    assert all(found), skipped
    return {feature for one in found if one for feature in one[1].split(", ")}
