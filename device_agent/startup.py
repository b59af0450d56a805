"""From an artifact's file to a tested engine: the steps before the first inference, each refusing with its reason."""

from __future__ import annotations

import io
import logging
import re
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Final

from device_agent import __version__
from device_agent.contract.archive import ArchiveLimits, ArtifactArchive
from device_agent.contract.errors import ContractError, EngineError, IncompatibleError, SelfTestError
from device_agent.contract.manifest import MANIFEST_FEATURES, MANIFEST_VERSION
from device_agent.contract.zip_layout import MAX_ARCHIVE_BYTES
from device_agent.engines import library_of, load_engine
from device_agent.engines.processor import features, usable_processors
from device_agent.same_preparation import require_same_preparation
from device_agent.sources.artifact_text import require_library

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from device_agent.config import AgentConfig
    from device_agent.contract.manifest import Manifest, PayloadTensor, Requires, Tolerance
    from device_agent.engines.engine import Engine

_LOG = logging.getLogger("edgewright.startup")
_LEADING_NUMBER: Final = re.compile(r"\d+")


class NonFiniteOutputError(SelfTestError):
    """The engine gives NaN or infinity for a golden sample: it does not compute at all, however near the rest may be."""

    code = "self_test_nonfinite"


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTest:
    """What the golden samples showed.

    Attributes:
        samples: How many there are; 0: nothing was tested.
        largest_lsb: Largest difference of a quantized output, in codes.
        smallest_equal_share: Smallest share of an output's values within one code.
    """

    samples: int
    largest_lsb: float
    smallest_equal_share: float


def verify_artifact(config: AgentConfig) -> ArtifactArchive:
    """Check the artifact's digest before anything is parsed, whether it is for this device, engine and agent, and every member.

    Raises:
        TrustError: Wrong digest, or meant for something else; the message says what.
        ContractError: Not an artifact.
        StorageError: It cannot be read.
    """
    limits = ArchiveLimits(max_archive_bytes=min(config.artifact.max_bytes, MAX_ARCHIVE_BYTES))
    archive = ArtifactArchive.open(
        config.artifact.path, expected_digest=config.artifact.digest, limits=limits
    )
    require_compatible(archive.manifest, config)
    archive.check_members()
    return archive


def require_compatible(
    manifest: Manifest,
    config: AgentConfig,
    *,
    agent_version: str = __version__,
    processor: frozenset[str] | None = None,
) -> None:
    """Hold what the artifact requires against what is here. Imports the engine's library, to ask its version.

    Args:
        manifest: Of the artifact.
        config: Of the device.
        agent_version: This agent's.
        processor: What the processor can do; None: ask this machine's. One that does not say is taken to do.

    Raises:
        IncompatibleError: Wrong target, engine, engine version or agent version; the manifest declares what this agent does not know; the
            processor lacks what the kernels need; or the library is absent that reads the artifact's tokeniser.
    """
    requires, what = manifest.requires, f"{manifest.name} {manifest.version}"
    if config.device.targets and requires.target not in config.device.targets:
        raise IncompatibleError(
            f"{what} is for target {requires.target!r}; device.targets has {', '.join(config.device.targets)}.",
            hint="Install the artifact of this device's target.",
        )
    if config.engine.name not in ("auto", requires.engine):
        raise IncompatibleError(
            f"{what} needs engine {requires.engine!r}; engine.name is {config.engine.name!r}.",
            hint="Set engine.name to 'auto'.",
        )
    if not at_least(agent_version, requires.agent_min_version):
        raise IncompatibleError(
            f"{what} needs agent {requires.agent_min_version} or newer; this is {agent_version}.",
            hint="Update the agent.",
        )
    _require_features(requires, what)
    _require_processor(requires, what, features() if processor is None else processor)
    try:
        library, version = library_of(requires.engine)
    except EngineError as error:
        raise IncompatibleError(f"{what} needs engine {requires.engine!r}: {error}") from error
    least = requires.engine_min_versions.get(library)
    if least is None or not at_least(version, least):
        raise IncompatibleError(
            f"{what} needs {described_versions(requires)}; {library} {version} is installed.",
            hint="Update the engine, or convert for the older one.",
        )
    require_library(manifest)


def _require_features(requires: Requires, what: str) -> None:
    """Refuse what a newer host declared and this agent would not heed, before it runs something else than was verified.

    Raises:
        IncompatibleError: The manifest requires to be read by an agent that knows more.
    """
    unknown = sorted(set(requires.manifest_features) - MANIFEST_FEATURES)
    if unknown:
        raise IncompatibleError(
            f"{what} declares {', '.join(unknown)}, which this agent ({__version__}, manifest {MANIFEST_VERSION}) does not know "
            "and would not do.",
            hint="Update the agent.",
        )


def _require_processor(requires: Requires, what: str, found: frozenset[str] | None) -> None:
    """Refuse before the self-test does: a few golden samples may miss sums that saturate on others.

    Raises:
        IncompatibleError: The processor has none of what the engine's kernels need to compute what was verified.
    """
    if found is None or not requires.processor_features or found & set(requires.processor_features):
        return
    vector_units = sorted(name for name in found if name.startswith(("avx", "amx"))) or ["no avx at all"]
    raise IncompatibleError(
        f"{what} needs a processor with {' or '.join(requires.processor_features)}; this one has {', '.join(vector_units)}. Without, "
        f"the kernels of engine {requires.engine!r} add products of 8-bit codes with saturation, and outputs would be wrong without a word.",
        hint=f"Convert for {requires.otherwise}."
        if requires.otherwise
        else "Convert for a target of this processor.",
    )


def described_versions(requires: Requires) -> str:
    """Return the libraries that would do, e.g. ``tflite-runtime 2.14 or newer, or ai-edge-litert 2.0 or newer``."""
    return ", or ".join(
        f"{library} {version} or newer" for library, version in requires.engine_min_versions.items()
    )


def at_least(found: str, wanted: str) -> bool:
    """Return whether ``found`` is ``wanted`` or newer, part by part as numbers: 1.10 is newer than 1.9; 1.2 is 1.2.0."""
    ours, theirs = _parts(found), _parts(wanted)
    longest = max(len(ours), len(theirs))
    return ours + (0,) * (longest - len(ours)) >= theirs + (0,) * (longest - len(theirs))


def load_payload(archive: ArtifactArchive, *, threads: int) -> tuple[Engine, float]:
    """Load the verified payload; return the engine and how long the engine took, in seconds.

    Args:
        archive: Whose payload.
        threads: Of one inference; never more are started than `useful_threads` says.

    Raises:
        EngineError: The engine refuses it.
        ContractError: The engine finds other inputs or outputs in it than the manifest names.
        TrustError: A file of the payload is not what the manifest says.
        StorageError: The archive cannot be read.
    """
    files = {name.rsplit("/", 1)[-1]: data for name, data in archive.payload().items()}
    start = monotonic()
    engine = load_engine(archive.manifest.requires.engine, files, threads=useful_threads(threads))
    seconds = monotonic() - start
    try:
        _require_names(engine, archive.manifest)
    except ContractError:
        engine.close()
        raise
    return engine, seconds


def useful_threads(wanted: int) -> int:
    """Return how many threads to start, and log it where that is fewer than are wanted.

    At every operator an engine's threads wait for one another, and until then they spin: more of them than processors take turns at that.
    """
    usable = usable_processors()
    if wanted > usable:
        _LOG.warning(
            "engine.threads is %d, but this process may run on %d processor(s): that many threads are started; more would wait for one another",
            wanted,
            usable,
        )
    return min(wanted, usable)


def run_self_test(archive: ArtifactArchive, engine: Engine) -> SelfTest:
    """Run the golden samples and hold the outputs against the recorded ones, by the manifest's tolerance.

    Before that, frames must be prepared here as they were on the host (`require_same_preparation`).

    Raises:
        NonFiniteOutputError: An output is NaN or infinite.
        SelfTestError: An output is further away than tolerated, or of another type or shape; or a frame becomes another input.
        ContractError: A golden member is not the array that it should be, or the tokeniser is none.
        TrustError: A golden member is not what the manifest says.
        EngineError: The engine failed.
    """
    manifest = archive.manifest
    require_same_preparation(archive)
    largest, smallest = 0.0, 1.0
    for number, sample in enumerate(manifest.golden):
        inputs = [
            _golden(archive, name, tensor)
            for name, tensor in zip(sample.inputs, manifest.inputs, strict=True)
        ]
        outputs = engine.infer(inputs)
        if len(outputs) != len(manifest.outputs):
            raise SelfTestError(
                f"the engine gives {len(outputs)} outputs, the manifest has {len(manifest.outputs)}."
            )
        for found, name, tensor in zip(outputs, sample.outputs, manifest.outputs, strict=True):
            where = f"golden sample {number}, output {tensor.name!r}"
            golden = _golden(archive, name, tensor)
            lsb, share = _compared(found, golden, tensor, manifest.tolerance, where=where)
            largest, smallest = max(largest, lsb), min(smallest, share)
    return SelfTest(samples=len(manifest.golden), largest_lsb=largest, smallest_equal_share=smallest)


def golden_inputs(archive: ArtifactArchive) -> list[list[NDArray[np.generic]]]:
    """Return the inputs of every golden sample, as the engine takes them; empty when the artifact brings none.

    Raises:
        ContractError: A golden member is not the array that it should be.
        TrustError: A golden member is not what the manifest says.
    """
    manifest = archive.manifest
    return [
        [_golden(archive, name, tensor) for name, tensor in zip(sample.inputs, manifest.inputs, strict=True)]
        for sample in manifest.golden
    ]


def _require_names(engine: Engine, manifest: Manifest) -> None:
    """Hold names and their order: two inputs of one shape could be exchanged without anything else noticing."""
    for what, found, tensors in (
        ("inputs", engine.input_names, manifest.inputs),
        ("outputs", engine.output_names, manifest.outputs),
    ):
        expected = tuple(tensor.name for tensor in tensors)
        if found != expected:
            raise ContractError(
                f"{manifest.name} {manifest.version}: the payload's {what} are {', '.join(found)}; the manifest says "
                f"{', '.join(expected)}."
            )


def _compared(
    found: NDArray[np.generic],
    golden: NDArray[np.generic],
    tensor: PayloadTensor,
    tolerance: Tolerance,
    *,
    where: str,
) -> tuple[float, float]:
    """Return the largest difference in codes and the share within one code; (0, 1) for floats that have no code."""
    import numpy as np  # noqa: PLC0415  the null engine's process must not load numpy

    array = np.asarray(found)
    if array.dtype == np.uint8 and array.ndim == 1 and array.nbytes == golden.nbytes:
        array = array.view(golden.dtype).reshape(golden.shape)  # a plain buffer, as the null engine gives it
    if array.shape != golden.shape or array.dtype != golden.dtype:
        raise SelfTestError(
            f"{where}: expected {golden.dtype} {golden.shape}, got {array.dtype} {array.shape}."
        )
    real = array.astype(np.float64)
    broken = int(np.count_nonzero(~np.isfinite(real)))
    if broken:
        raise NonFiniteOutputError(
            f"{where}: {broken} of {real.size} values are NaN or infinite.",
            hint="This engine cannot run the artifact: keep the old one, and try another engine version.",
        )
    apart = np.abs(real - golden.astype(np.float64))
    is_float = golden.dtype.kind == "f"
    if is_float and tensor.scale is None:
        largest = float(apart.max(initial=0.0))
        if not largest <= tolerance.absolute:
            raise SelfTestError(f"{where}: up to {largest:.4g} away; {tolerance.absolute:.4g} is tolerated.")
        return 0.0, 1.0
    codes = apart / tensor.scale if is_float and tensor.scale is not None else apart
    # A float output is the code times the scale: the division may miss the whole number by rounding.
    codes = np.round(codes, 3)
    largest = float(codes.max(initial=0.0))
    share = float((codes <= 1.0).mean()) if codes.size else 1.0
    if not largest <= tolerance.max_lsb or share < tolerance.min_share_within_one:
        raise SelfTestError(
            f"{where}: up to {largest:g} codes away, {share:.4f} within one code; "
            f"tolerated are {tolerance.max_lsb} and {tolerance.min_share_within_one}.",
            hint="Is it the engine version that the artifact was made for?",
        )
    return largest, share


def _golden(archive: ArtifactArchive, name: str, tensor: PayloadTensor) -> NDArray[np.generic]:
    from numpy.lib.format import read_array  # noqa: PLC0415  as above

    try:
        array: NDArray[np.generic] = read_array(io.BytesIO(archive.read(name)), allow_pickle=False)
    except (ValueError, EOFError, OSError, MemoryError, SyntaxError, TypeError) as error:
        raise ContractError(f"{archive.path.name}: {name}: not a whole .npy: {error}.") from error
    if array.shape != tensor.shape or array.dtype != tensor.dtype:
        raise ContractError(
            f"{archive.path.name}: {name}: expected {tensor.dtype} {tensor.shape}, got {array.dtype} {array.shape}."
        )
    return array


def _parts(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: ``2.14.0rc1+cpu`` is (2, 14, 0)."""
    parts = []
    for part in version.split("+", 1)[0].split("."):
        number = _LEADING_NUMBER.match(part)
        if number is None:
            break
        parts.append(int(number[0]))
    return tuple(parts)
