"""`write_null_artifact`: an artifact for the null engine, which needs no inference library: for what is of agent, fleet and board alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from device_agent.contract.archive import member_of, write_archive
from device_agent.contract.manifest import Manifest, PayloadTensor, Requires, Tolerance

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NULL_TARGET: Final = "x86_64-onnxruntime"
"""A capability profile is asked for; the null engine runs anywhere."""
_PAYLOAD: Final = "payload/null.json"
_NOTHING: Final = "sha256:" + "0" * 64


def write_null_artifact(
    path: Path,
    settings: Mapping[str, object],
    *,
    name: str,
    version: str,
    made_with: Mapping[str, str],
    agent_min_version: str = "0.1.0",
) -> None:
    """Write an artifact whose outputs are zeros of the null engine.

    Args:
        path: Where; its folder is there.
        settings: Of the null engine beside inputs and outputs, e.g. ``latency_seconds``.
        name: The model's.
        version: The model's.
        made_with: Tools and their versions.
        agent_min_version: The oldest agent that takes it.

    Raises:
        OSError: It cannot be written.
    """
    document = {"inputs": ["x"], "outputs": [{"name": "y", "size_bytes": 40}], **settings}
    members = {_PAYLOAD: json.dumps(document).encode()}
    manifest = Manifest(
        name=name,
        version=version,
        target=NULL_TARGET,
        profile_digest=_NOTHING,
        model_digest=_NOTHING,
        data_digest=_NOTHING,
        format="null",
        requires=Requires(
            target=NULL_TARGET,
            engine="null",
            engine_min_versions={"null": "1.0"},
            agent_min_version=agent_min_version,
        ),
        payload=tuple(member_of(member, data) for member, data in members.items()),
        members=(),
        inputs=(_tensor("x"),),
        outputs=(_tensor("y"),),
        preprocessing=None,
        golden=(),
        tolerance=Tolerance(max_lsb=1, min_share_within_one=0.99, absolute=1e-5),
        verdict="unverified",
        made_with=made_with,
    )
    with path.open("wb") as stream:
        write_archive(stream, manifest, members)


def _tensor(name: str) -> PayloadTensor:
    return PayloadTensor(
        name=name,
        shape=(1, 10),
        dtype="float32",
        scale=None,
        zero_point=None,
        source_name=name,
        source_axes=(0, 1),
    )
