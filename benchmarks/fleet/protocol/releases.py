"""What is rolled out: versions of a model that computes nothing, each as large as is asked for."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Final

from host_tools.fleet.field.releases import create_release
from host_tools.made_with import made_with
from host_tools.pack.null_artifact import write_null_artifact

if TYPE_CHECKING:
    from pathlib import Path

    from host_tools.fleet.records.releases import Release
    from host_tools.repository.repository import Repository

MODEL: Final = "simulated"


def write_artifact(path: Path, version: str, *, size_bytes: int) -> Path:
    """Write the artifact of a version; its payload is random, so that it is as large on the wire."""
    filling = random.Random(version).randbytes(size_bytes // 2).hex()
    write_null_artifact(path, {"filling": filling}, name=MODEL, version=version, made_with=made_with())
    return path


def sign(repository: Repository, folder: Path, artifact: Path) -> Release:
    """Release an artifact into the repository, which lies in ``folder``."""
    return create_release(
        repository,
        folder,
        [artifact],
        created_by="benchmark",
        created_seconds=time.time(),
        unverified_because="a benchmark: it computes nothing that could be verified",
    ).release
