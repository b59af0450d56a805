"""What the sample has to release: three versions of a model that computes nothing, and takes its time for it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from host_tools.errors import OutputError
from host_tools.fleet.field.releases import create_release
from host_tools.made_with import made_with
from host_tools.pack.null_artifact import NULL_TARGET, write_null_artifact
from host_tools.repository.keys import KeyRing
from host_tools.repository.repository import Repository

if TYPE_CHECKING:
    from pathlib import Path

    from host_tools.fleet.records.releases import Release
    from host_tools.fleet.sample.folder import SampleFolder

MODEL: Final = "sample"
TARGET: Final = NULL_TARGET
LATENCY_SECONDS: Final = {"1.0": 0.020, "2.0": 0.016, "3.0": 0.040}
"""By version: the first, a better one, a slow one."""
_WHY_UNVERIFIED: Final = "a sample: it computes nothing that could be verified"


def release_all(folder: SampleFolder) -> dict[str, Release]:
    """Make what is missing of repository, keys and releases; return the releases by version.

    Raises:
        EdgewrightError: Something of it is damaged, or cannot be written.
    """
    repository = Repository(folder.repository, KeyRing(folder.keys))
    if repository.signed.is_published:
        repository.refresh()  # it may have stood still for longer than its timestamp is good for
    else:
        repository.init()
    return {
        version: create_release(
            repository,
            folder.repository,
            [_artifact(folder, version)],
            created_by="sample",
            created_seconds=time.time(),
            unverified_because=_WHY_UNVERIFIED,
        ).release
        for version in LATENCY_SECONDS
    }


def artifact_path(folder: SampleFolder, version: str) -> Path:
    """Return where an artifact lies."""
    return folder.artifacts / f"{MODEL}-{version}-{TARGET}.ewa"


def _artifact(folder: SampleFolder, version: str) -> Path:
    """Write an artifact unless it is there: the same bytes each time, as long as the same Edgewright makes it."""
    path = artifact_path(folder, version)
    if path.exists():
        return path
    partial = path.with_suffix(".new")
    try:
        path.parent.mkdir(exist_ok=True)
        settings = {"latency_seconds": LATENCY_SECONDS[version]}
        write_null_artifact(partial, settings, name=MODEL, version=version, made_with=made_with())
        partial.replace(path)
    except OSError as error:
        raise OutputError(f"{error.filename or path}: {error.strerror}.") from error
    return path
