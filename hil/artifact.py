"""What is tested: an ``.ewa`` file, and a small network for whoever brings none."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from device_agent.contract.archive import ArtifactArchive
from device_agent.contract.errors import ArchiveError
from hil.errors import RigError
from host_tools.pipeline import convert
from host_tools.recipe import Recipe
from host_tools.verify.verification_report import Budget

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from device_agent.contract.manifest import Manifest

_SEED = 7
_SIDE = 16
_SAMPLES = 32


def open_artifact(path: Path) -> ArtifactArchive:
    """Open an artifact and check every member of it.

    Raises:
        ContractError: It is no artifact.
        TrustError: It is not what its manifest says.
        StorageError: It cannot be read.
    """
    archive = ArtifactArchive.open(path)
    archive.check_members()
    return archive


def golden_inputs(archive: ArtifactArchive) -> list[list[NDArray[np.generic]]]:
    """Return the inputs of every golden sample, in the payload's type and layout.

    Raises:
        ArchiveError: A member is no array.
        TrustError: A member is not what the manifest says.
    """
    return [[_array(archive, name) for name in sample.inputs] for sample in archive.manifest.golden]


def golden_outputs(archive: ArtifactArchive) -> list[list[NDArray[np.generic]]]:
    """Return the outputs of every golden sample, likewise; raises the same."""
    return [[_array(archive, name) for name in sample.outputs] for sample in archive.manifest.golden]


def describe(manifest: Manifest) -> str:
    """Return name, version and target as one text."""
    return f"{manifest.name} {manifest.version} for {manifest.target}"


def sample_artifact(folder: Path, target: str) -> Path:
    """Convert a network of a thousand weights for a target; return its artifact.

    Args:
        folder: Gets the network, its samples and what the conversion writes.
        target: Capability profile.

    Raises:
        InputError: The target is unknown.
        RigError: Verification did not let it pass.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model, samples = folder / "sample.onnx", folder / "samples.npy"
    model.write_bytes(_network().SerializeToString(deterministic=True))
    np.save(
        samples,
        np.random.default_rng(_SEED).normal(size=(_SAMPLES, 3, _SIDE, _SIDE)).astype(np.float32),
    )
    made = convert(
        model,
        data=samples,
        targets=(target,),
        out=folder / "out",
        recipe=Recipe(method="minmax"),
        budget=Budget(min_agreement=0.0, min_sqnr_db=-100.0),
        latency=False,
        threads=1,
        cache=folder / "cache",
    )
    del made
    shipped = sorted((folder / "out").glob("*.ewa"))
    if not shipped:
        raise RigError(
            f"the sample network was not shipped for {target}; {folder / 'out' / 'report.html'} says why."
        )
    return shipped[0]


def _array(archive: ArtifactArchive, name: str) -> NDArray[np.generic]:
    try:
        array: NDArray[np.generic] = np.load(io.BytesIO(archive.read(name)), allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ArchiveError(f"{archive.path.name}: {name}: no array: {error}.") from error
    return array


def _network() -> onnx.ModelProto:
    """Return a convolution, pooling and a classifier of ten classes."""
    random = np.random.default_rng(_SEED)
    weights = {
        "kernel": random.normal(size=(8, 3, 3, 3), scale=0.3),
        "kernel_bias": random.normal(size=8, scale=0.1),
        "dense": random.normal(size=(10, 8)),
        "dense_bias": random.normal(size=10, scale=0.1),
    }
    nodes = [
        helper.make_node(
            "Conv", ["x", "kernel", "kernel_bias"], ["c"], name="conv",
            kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1],
        ),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], axis=1, name="flatten"),
        helper.make_node("Gemm", ["f", "dense", "dense_bias"], ["y"], transB=1, name="classifier"),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "sample",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, _SIDE, _SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10])],
        initializer=[
            numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
