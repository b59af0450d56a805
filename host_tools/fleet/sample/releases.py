"""What the sample has to release: three versions of a model that computes nothing, and takes its time for it."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from device_agent.contract.archive import member_of, write_archive
from device_agent.contract.manifest import Manifest, PayloadTensor, Requires, Tolerance
from host_tools.errors import OutputError
from host_tools.fleet.field.releases import create_release
from host_tools.made_with import made_with
from host_tools.repository.keys import KeyRing
from host_tools.repository.repository import Repository

if TYPE_CHECKING:
    from pathlib import Path

    from host_tools.fleet.records import Release
    from host_tools.fleet.sample.folder import SampleFolder

MODEL: Final = "sample"
TARGET: Final = "x86_64-onnxruntime"
"""A capability profile is asked for; the null engine runs anywhere."""
LATENCY_SECONDS: Final = {"1.0": 0.020, "2.0": 0.016, "3.0": 0.040}
"""By version: the first, a better one, a slow one."""
_WHY_UNVERIFIED: Final = "a sample: it computes nothing that could be verified"
_NOTHING: Final = "sha256:" + "0" * 64


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


def asked_of(release: Release) -> dict[str, Any]:
    """Return a release as the server is told of it."""
    return {
        "model": release.model,
        "version": release.version,
        "counter": release.counter,
        "artifacts": {target: asdict(one) for target, one in release.artifacts.items()},
    }


def _artifact(folder: SampleFolder, version: str) -> Path:
    """Write an artifact unless it is there: the same bytes each time, as long as the same Edgewright makes it."""
    path = artifact_path(folder, version)
    if path.exists():
        return path
    payload = {
        "inputs": ["x"],
        "outputs": [{"name": "y", "size_bytes": 40}],
        "latency_seconds": LATENCY_SECONDS[version],
    }
    members = {"payload/null.json": json.dumps(payload).encode()}
    partial = path.with_suffix(".new")
    try:
        path.parent.mkdir(exist_ok=True)
        with partial.open("wb") as stream:
            write_archive(stream, _manifest(version, members), members)
        partial.replace(path)
    except OSError as error:
        raise OutputError(f"{error.filename or path}: {error.strerror}.") from error
    return path


def _manifest(version: str, members: dict[str, bytes]) -> Manifest:
    return Manifest(
        name=MODEL,
        version=version,
        target=TARGET,
        profile_digest=_NOTHING,
        model_digest=_NOTHING,
        data_digest=_NOTHING,
        format="null",
        requires=Requires(
            target=TARGET, engine="null", engine_min_versions={"null": "1.0"}, agent_min_version="0.1.0"
        ),
        payload=tuple(member_of(name, data) for name, data in members.items()),
        members=(),
        inputs=_tensors("x"),
        outputs=_tensors("y"),
        preprocessing=None,
        golden=(),
        tolerance=Tolerance(max_lsb=1, min_share_within_one=0.99, absolute=1e-5),
        verdict="unverified",
        made_with=made_with(),
    )


def _tensors(*names: str) -> tuple[PayloadTensor, ...]:
    return tuple(
        PayloadTensor(
            name=name,
            shape=(1, 10),
            dtype="float32",
            scale=None,
            zero_point=None,
            source_name=name,
            source_axes=(0, 1),
        )
        for name in names
    )
