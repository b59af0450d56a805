"""The artifact of each model: whole, of this device, loaded, tested, and the source that feeds it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from device_agent.answers import Answers
from device_agent.config import alone
from device_agent.contract.errors import EdgewrightError
from device_agent.frames import FrameDoor, open_source
from device_agent.heat.variant import load_stand_in
from device_agent.memory_budget import MemoryBudget
from device_agent.startup import described_versions, load_payload, run_self_test, verify_artifact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from device_agent.config import AgentConfig
    from device_agent.contract.archive import ArtifactArchive
    from device_agent.contract.manifest import Manifest


def look_at_artifact(config: AgentConfig) -> tuple[Mapping[str, object], EdgewrightError | None]:
    """Do with the artifact what the agent would before its first inference."""
    found: dict[str, object] = {"path": str(config.artifact.path)}
    try:
        archive = verify_artifact(config)
        manifest = archive.manifest
        found |= {
            "model": f"{manifest.name} {manifest.version}",
            "target": manifest.target,
            "target checked": "yes" if config.device.targets else "no: device.targets is not set",
            "engine": f"{manifest.requires.engine}: {described_versions(manifest.requires)}",
            "verdict": manifest.verdict,
            "golden samples": len(manifest.golden),
            "digest": archive.digest,
        }
        door = FrameDoor()
        found["self-test"] = _self_test(archive, config)
        open_source(
            config.source,
            archive,
            door=door,
            on_refused=lambda _: None,
            describe=Answers(manifest.outputs, config.results),
        ).close()
    except EdgewrightError as error:
        return {**found, "refused": str(error)}, error
    split = _split(config, manifest)
    if isinstance(split, EdgewrightError):
        return {**found, "split": f"refused: {split}"}, split
    return {**found, **split, "compatible": "yes"}, None


def _split(config: AgentConfig, like: Manifest) -> Mapping[str, object] | EdgewrightError:
    """Load side b, if there is to be one."""
    wanted = config.split
    if wanted.path is None:
        return {}
    most = config.engine.memory_max_bytes
    try:
        archive, engine = load_stand_in(config, wanted.path, wanted.digest, like=like, memory_max_bytes=most)
    except EdgewrightError as error:
        return error
    engine.close()
    manifest = archive.manifest
    return {
        "split": f"{wanted.ratio:g} of the frames go to {manifest.name} {manifest.version}, {archive.digest}"
    }


def look_at_models(config: AgentConfig) -> tuple[Mapping[str, object], EdgewrightError | None]:
    """Look at each model beside the main one as at that."""
    found = {model.name: look_at_artifact(alone(config, model)) for model in config.model}
    problem = next((problem for _, problem in found.values() if problem is not None), None)
    return {name: facts for name, (facts, _) in found.items()}, problem


def _self_test(archive: ArtifactArchive, config: AgentConfig) -> str:
    with ExitStack() as after, MemoryBudget(config.engine.memory_max_bytes).spending():
        engine, _ = load_payload(archive, threads=config.engine.threads)
        after.callback(engine.close)
        tested = run_self_test(archive, engine)
    if not tested.samples:
        return "the artifact brings no golden samples"
    return f"{tested.samples} golden samples: within {tested.largest_lsb:g} LSB"
