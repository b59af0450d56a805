"""Artifacts for the agent: a tiny model, made by our own pipeline, and a payload for the null engine."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.tasks import NotMeasuredError
from device_agent.contract.archive import write_archive
from device_agent.contract.digest import digest_of
from device_agent.contract.manifest import Manifest, Member, PayloadTensor, Requires, Tolerance
from host_tools import Budget, Recipe, convert

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.made import EngineKind

_SEED: Final = 7
_TARGETS: Final = {"onnx": "x86_64-onnxruntime", "tflite": "cortex-a-tflite"}
_SIDE: Final = 16


def tiny_artifact(folder: Path, engine: EngineKind) -> Path:
    """Return the artifact of a network so small (some microseconds) that what the agent adds is easily seen.

    Raises:
        NotMeasuredError: Verification did not let it pass.
    """
    path = folder / "out" / f"tiny-0.1.0-{_TARGETS[engine]}.ewa"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tiny.onnx").write_bytes(_tiny_model().SerializeToString(deterministic=True))
        samples = np.random.default_rng(_SEED).normal(size=(32, 3, _SIDE, _SIDE)).astype(np.float32)
        np.save(folder / "samples.npy", samples)
        convert(
            folder / "tiny.onnx",
            data=folder / "samples.npy",
            targets=tuple(_TARGETS.values()),
            out=folder / "out",
            recipe=Recipe(method="minmax"),
            budget=Budget(min_agreement=0.0, min_sqnr_db=-100.0),
            latency=False,
            threads=1,
            cache=folder / "cache",
        )
    if not path.is_file():
        raise NotMeasuredError(f"{path.name} was not shipped; {folder / 'out' / 'report.html'} says why.")
    return path


def null_artifact(path: Path, *, latency_seconds: float, version: str = "1.0.0") -> Path:
    """Write an artifact for the null engine, which needs neither an inference library nor numpy."""
    payload = json.dumps(
        {"inputs": ["x"], "outputs": [{"name": "y", "size_bytes": 4_000}], "latency_seconds": latency_seconds}
    ).encode()
    member = Member(name="payload/null.json", size_bytes=len(payload), digest=digest_of(payload))
    manifest = Manifest(
        name="nothing",
        version=version,
        target="null",
        profile_digest=digest_of(b"no profile"),
        model_digest=digest_of(b"no model"),
        data_digest=digest_of(b"no data"),
        format="null",
        requires=Requires(
            target="null", engine="null", engine_min_versions={"null": "1.0"}, agent_min_version="0.1.0"
        ),
        payload=(member,),
        members=(),
        inputs=(_tensor("x", (1, 3, 224, 224)),),
        outputs=(_tensor("y", (1, 1_000)),),
        preprocessing=None,
        golden=(),
        tolerance=Tolerance(max_lsb=0, min_share_within_one=1.0, absolute=0.0),
        verdict="unverified",
        made_with={},
    )
    stream = io.BytesIO()
    write_archive(stream, manifest, {member.name: payload})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(stream.getvalue())
    return path


def cool_board(folder: Path) -> Path:
    """Make a tree that stands for ``/sys`` of a board with one thermal zone, at 40 °C; many machines for tests have none."""
    zone = folder / "class/thermal/thermal_zone0"
    zone.mkdir(parents=True, exist_ok=True)
    (zone / "type").write_text("cpu-thermal", encoding="ascii")
    (zone / "temp").write_text("40000", encoding="ascii")
    return folder


def _tensor(name: str, shape: tuple[int, ...]) -> PayloadTensor:
    return PayloadTensor(
        name=name,
        shape=shape,
        dtype="float32",
        scale=None,
        zero_point=None,
        source_name=name,
        source_axes=tuple(range(len(shape))),
    )


def _tiny_model() -> onnx.ModelProto:
    """Return a convolution, pooling and a classifier of ten classes."""
    generator = np.random.default_rng(_SEED)
    weights = {
        "kernel": generator.normal(size=(8, 3, 3, 3), scale=0.3),
        "kernel_bias": generator.normal(size=8, scale=0.1),
        "dense": generator.normal(size=(10, 8)),
        "dense_bias": generator.normal(size=10, scale=0.1),
    }
    graph = helper.make_graph(
        [
            helper.make_node(
                "Conv",
                ["x", "kernel", "kernel_bias"],
                ["c"],
                kernel_shape=[3, 3],
                strides=[2, 2],
                pads=[1, 1, 1, 1],
                name="conv",
            ),
            helper.make_node("Relu", ["c"], ["r"], name="relu"),
            helper.make_node("GlobalAveragePool", ["r"], ["p"], name="pool"),
            helper.make_node("Flatten", ["p"], ["f"], axis=1, name="flatten"),
            helper.make_node("Gemm", ["f", "dense", "dense_bias"], ["y"], transB=1, name="classifier"),
        ],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, _SIDE, _SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10])],
        initializer=[
            numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
