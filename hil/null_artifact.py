"""An artifact for the null engine, which needs no inference library: for what is of the agent and the board alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from device_agent.contract.archive import member_of, write_archive
from device_agent.contract.manifest import Manifest, PayloadTensor, Requires, Tolerance

if TYPE_CHECKING:
    from pathlib import Path


def write_null_artifact(path: Path) -> None:
    """Write an artifact whose outputs are zeros of the null engine.

    Raises:
        OSError: It cannot be written.
    """
    data = json.dumps(
        {"inputs": ["x"], "outputs": [{"name": "y", "size_bytes": 40}], "latency_seconds": 0.002}
    ).encode()
    nothing = "sha256:" + "0" * 64
    x, y = (
        PayloadTensor(
            name=name, shape=(1, 10), dtype="float32", scale=None, zero_point=None, source_name=name, source_axes=(0, 1)
        )
        for name in "xy"
    )  # fmt: skip
    manifest = Manifest(
        name="nothing",
        version="1.0.0",
        target="x86_64-onnxruntime",
        profile_digest=nothing,
        model_digest=nothing,
        data_digest=nothing,
        format="null",
        requires=Requires(
            target="x86_64-onnxruntime",
            engine="null",
            engine_min_versions={"null": "1.0"},
            agent_min_version="0.0.1",
        ),
        payload=(member_of("payload/null.json", data),),
        members=(),
        inputs=(x,),
        outputs=(y,),
        preprocessing=None,
        golden=(),
        tolerance=Tolerance(max_lsb=1, min_share_within_one=0.99, absolute=1e-5),
        verdict="unverified",
        made_with={},
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        write_archive(stream, manifest, {"payload/null.json": data})
