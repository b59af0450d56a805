"""From an artifact's file to a tested engine: the three steps before the first inference, each refusing with its reason."""

from __future__ import annotations

import io
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from device_agent import __version__
from device_agent.contract.archive import ArchiveLimits, ArtifactArchive
from device_agent.contract.errors import EngineError, IncompatibleError, SelfTestError
from device_agent.engines import library_version, load_engine

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from device_agent.config import AgentConfig
    from device_agent.contract.manifest import Manifest
    from device_agent.engines.engine import Engine

_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTest:
    """What the golden samples showed; ``samples`` 0 when there are none."""

    samples: int
    largest_lsb: float
    smallest_equal_share: float


def verify_artifact(config: AgentConfig) -> ArtifactArchive:
    """Check the artifact's digest, then whether it is for this device, engine and agent.

    Raises:
        TrustError: Wrong digest, or meant for something else; the message says what.
        ContractError: Not an artifact.
        StorageError: It cannot be read.
    """
    limits = ArchiveLimits(max_archive_bytes=config.artifact.max_bytes)
    archive = ArtifactArchive.open(
        config.artifact.path, expected_digest=config.artifact.digest, limits=limits
    )
    require_compatible(archive.manifest, config)
    return archive


def require_compatible(manifest: Manifest, config: AgentConfig) -> None:
    """Hold what the artifact requires against what is here.

    Raises:
        IncompatibleError: Wrong target, engine, engine version or agent version.
    """
    requires, what = manifest.requires, f"{manifest.name} {manifest.version}"
    if config.device.targets and requires.target not in config.device.targets:
        raise IncompatibleError(
            f"{what} is for target {requires.target!r}; this device takes {', '.join(config.device.targets)}.",
            hint="Install the artifact of this device's target.",
        )
    if config.engine.name not in ("auto", requires.engine):
        raise IncompatibleError(
            f"{what} needs engine {requires.engine!r}; the configuration says {config.engine.name!r}."
        )
    if version_key(__version__) < version_key(requires.agent_min_version):
        raise IncompatibleError(
            f"{what} needs agent {requires.agent_min_version} or newer; this is {__version__}.",
            hint="Update the agent.",
        )
    try:
        found = library_version(requires.engine)
    except EngineError as error:
        raise IncompatibleError(f"{what} needs engine {requires.engine!r}: {error}") from error
    if version_key(found) < version_key(requires.engine_min_version):
        raise IncompatibleError(
            f"{what} needs {requires.engine} {requires.engine_min_version} or newer; {found} is installed.",
            hint="Update the engine, or convert for the older one.",
        )


def load_payload(archive: ArtifactArchive, config: AgentConfig) -> tuple[Engine, float]:
    """Load the verified payload; return the engine and how long it took, in seconds.

    Raises:
        EngineError: The engine refuses it.
        TrustError: A member is not what the manifest says.
    """
    files = archive.payload()
    start = time.monotonic()
    engine = load_engine(archive.manifest.requires.engine, files, threads=config.engine.threads)
    return engine, time.monotonic() - start


def run_self_test(archive: ArtifactArchive, engine: Engine) -> SelfTest:
    """Run the golden samples and hold the outputs against the recorded ones.

    Raises:
        SelfTestError: An output is NaN or infinite, or further away than the manifest tolerates.
        EngineError: The engine failed.
    """
    largest, smallest_share = 0.0, 1.0
    for index, sample in enumerate(archive.manifest.golden):
        outputs = engine.infer([_array(archive, name) for name in sample.inputs])
        for position, name in enumerate(sample.outputs):
            distance, share = _compare(archive, position, outputs[position], _array(archive, name), index)
            largest, smallest_share = max(largest, distance), min(smallest_share, share)
    return SelfTest(
        samples=len(archive.manifest.golden), largest_lsb=largest, smallest_equal_share=smallest_share
    )


def _compare(
    archive: ArtifactArchive,
    position: int,
    found: NDArray[np.generic],
    golden: NDArray[np.generic],
    sample: int,
) -> tuple[float, float]:
    """Return the largest distance of one output in LSB (or in units of the absolute tolerance) and the share within one."""
    from numpy import abs as absolute  # noqa: PLC0415 - the null engine's process must not load numpy
    from numpy import asarray, float64, isfinite  # noqa: PLC0415

    tensor, tolerance = archive.manifest.outputs[position], archive.manifest.tolerance
    where = f"golden sample {sample}, output {tensor.name!r}"
    if found.shape != golden.shape or found.dtype != golden.dtype:
        raise SelfTestError(
            f"{where}: expected {golden.dtype} {golden.shape}, got {found.dtype} {found.shape}."
        )
    real = asarray(found, float64)
    if not isfinite(real).all():
        raise SelfTestError(
            f"{where}: NaN or infinite values.", hint="This engine cannot run the artifact; keep the old one."
        )
    distance = absolute(real - asarray(golden, float64))
    if golden.dtype.kind == "f":
        largest = float(distance.max(initial=0.0))
        if largest > tolerance.absolute:
            raise SelfTestError(
                f"{where}: {largest:.4g} away from the golden output.", hint="Is it the right engine version?"
            )
        return 0.0, 1.0
    largest, share = float(distance.max(initial=0.0)), float((distance <= 1).mean()) if distance.size else 1.0
    if largest > tolerance.max_lsb or share < tolerance.min_equal_share:
        raise SelfTestError(
            f"{where}: up to {largest:g} codes away (tolerance {tolerance.max_lsb}), {share:.3f} within one "
            f"(tolerance {tolerance.min_equal_share}).",
            hint="Is it the right engine version?",
        )
    return largest, share


def _array(archive: ArtifactArchive, name: str) -> NDArray[np.generic]:
    from numpy.lib.format import read_array  # noqa: PLC0415 - as above

    try:
        array: NDArray[np.generic] = read_array(io.BytesIO(archive.read(name)), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise SelfTestError(f"{name}: not a whole .npy: {error}.") from error
    return array


def version_key(version: str) -> tuple[int, ...]:
    """Return the numbers of a version, to compare part by part: ``1.10.0`` is newer than ``1.9``."""
    return tuple(int(part) for part in _NUMBER.findall(version.split("+", 1)[0]))
