"""An artifact for the null engine: for what is of the agent and the board alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from host_tools.pack import null_artifact

if TYPE_CHECKING:
    from pathlib import Path


def write_null_artifact(path: Path) -> None:
    """Write an artifact whose outputs are zeros of the null engine.

    Raises:
        OSError: It cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    null_artifact.write_null_artifact(
        path,
        {"latency_seconds": 0.002},
        name="nothing",
        version="1.0.0",
        made_with={},
        agent_min_version="0.0.1",
    )
