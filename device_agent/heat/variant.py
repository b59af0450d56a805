"""Loading the artifact that stands in for another one while a device is hot, or that one again."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from device_agent.contract.errors import IncompatibleError
from device_agent.contract.preparation import prepared_alike
from device_agent.memory_budget import MemoryBudget
from device_agent.startup import load_payload, run_self_test, verify_artifact

if TYPE_CHECKING:
    from pathlib import Path

    from device_agent.config import AgentConfig
    from device_agent.contract.archive import ArtifactArchive
    from device_agent.contract.manifest import Manifest
    from device_agent.engines.engine import Engine


def load_stand_in(
    config: AgentConfig, path: Path, digest: str | None, *, like: Manifest, memory_max_bytes: int
) -> tuple[ArtifactArchive, Engine]:
    """Verify, load and test an artifact, as the agent does at its start.

    Args:
        config: Of the agent; its own artifact is not looked at.
        path: The artifact.
        digest: What it must be, if that is known.
        like: Manifest whose inputs, outputs and preparation of frames it must have, for frames and results stay what they are.
        memory_max_bytes: Most that it may add to the resident memory; 0: any.

    Raises:
        EdgewrightError: It must not or cannot be used.
    """
    archive = verify_artifact(replace(config, artifact=replace(config.artifact, path=path, digest=digest)))
    manifest = archive.manifest
    for which, is_same in (
        ("inputs are not those", manifest.inputs == like.inputs),
        ("outputs are not those", manifest.outputs == like.outputs),
        ("preparation of frames is not that", prepared_alike(manifest, like)),
    ):
        if not is_same:
            raise IncompatibleError(
                f"{path.name}: its {which} of {like.name} {like.version}, so it cannot stand in for it.",
                hint="Convert both with the same calibration and preprocessing.",
            )
    with ExitStack() as on_failure:
        with MemoryBudget(memory_max_bytes).spending():
            engine, _ = load_payload(archive, threads=config.engine.threads)
            on_failure.callback(engine.close)
            run_self_test(archive, engine)
        on_failure.pop_all()
    return archive, engine
