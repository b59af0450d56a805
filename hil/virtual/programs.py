"""Programs of this machine that build and run virtual boards."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from hil.errors import RigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def run_here(
    command: Sequence[str], *, stdin: str | None = None, environment: Mapping[str, str] | None = None
) -> str:
    """Run a program of this machine; return its standard output. Bytes that are no UTF-8 are replaced, for they may be of any locale.

    Raises:
        RigError: It is not installed, or ends with a status other than 0.
    """
    try:
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            env=environment,
        )
    except OSError as error:
        raise RigError(
            f"{command[0]}: cannot be started: {error.strerror or error}.",
            hint="`make hil-qemu` installs what virtual boards need; docs/hil.md lists the packages.",
        ) from error
    if done.returncode:
        raise RigError(f"{command[0]}: status {done.returncode}: {done.stderr.strip()[-2000:]}")
    return done.stdout
