"""What is rolled out: versions of a model that computes nothing, each as large as is asked for."""

from __future__ import annotations

import json
import random
import time
from typing import TYPE_CHECKING, Final

from device_agent.contract.archive import member_of, write_archive
from device_agent.contract.manifest import Manifest, PayloadTensor, Requires, Tolerance
from host_tools.fleet.field.releases import create_release
from host_tools.made_with import made_with

if TYPE_CHECKING:
    from pathlib import Path

    from host_tools.fleet.records import Release
    from host_tools.repository.repository import Repository

MODEL: Final = "simulated"
TARGET: Final = "x86_64-onnxruntime"
"""A capability profile is asked for; the null engine runs anywhere."""
_NOTHING: Final = "sha256:" + "0" * 64


def write_artifact(path: Path, version: str, *, size_bytes: int) -> Path:
    """Write the artifact of a version; its payload is random, so that it is as large on the wire."""
    payload = {
        "inputs": ["x"],
        "outputs": [{"name": "y", "size_bytes": 40}],
        "filling": random.Random(version).randbytes(size_bytes // 2).hex(),
    }
    members = {"payload/null.json": json.dumps(payload).encode()}
    manifest = Manifest(
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
    with path.open("wb") as stream:
        write_archive(stream, manifest, members)
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


def _tensors(name: str) -> tuple[PayloadTensor, ...]:
    return (
        PayloadTensor(
            name=name,
            shape=(1, 10),
            dtype="float32",
            scale=None,
            zero_point=None,
            source_name=name,
            source_axes=(0, 1),
        ),
    )
