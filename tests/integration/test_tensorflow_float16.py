"""Float16 files of TensorFlow's own converter: read as what they are, and as ours are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from host_tools.lint.reading import read
from host_tools.lint.rules import check
from host_tools.lint.xnnpack import left_to_built_in
from host_tools.lower.payload import Payload
from host_tools.model import load
from host_tools.model.reference import FloatRunner
from host_tools.plan.planned_values import with_stored_weights
from host_tools.verify.probes import PROBES
from targets import catalog
from tests.integration.environments import run_tensorflow
from tests.unit.host_tools.lower.uncalibrated_networks import made

if TYPE_CHECKING:
    from pathlib import Path

    from host_tools.lint.facts import LintedFile

CONVERTER = """
import sys
import keras, numpy as np, tensorflow as tf

keras.utils.set_random_seed(3)
x = picture = keras.Input((16, 16, 3), batch_size=1, name="picture")
x = keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(x)
x = keras.layers.DepthwiseConv2D(3, padding="same")(x)
x = keras.layers.Flatten()(x)
model = keras.Model(picture, keras.layers.Dense(5)(x))
converter = tf.lite.TFLiteConverter.from_keras_model(model)
for name, half in (("float32", False), ("float16", True)):
    if half:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    with open(f"{sys.argv[1]}/{name}.tflite", "wb") as file:
        file.write(converter.convert())
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made_in = tmp_path_factory.mktemp("float16")
    run_tensorflow("-c", CONVERTER, str(made_in))
    return made_in


def stored(file: LintedFile) -> list[tuple[str, tuple[int, ...] | None, str]]:
    return [(op.kind, op.weight.shape, op.weight.dtype) for op in file.ops if op.weight is not None]


def test_the_converters_file_is_read_as_ours_is(folder: Path) -> None:
    theirs = read(folder / "float16.tflite")
    profile, _, payload = made(load(folder / "float32.tflite"), "cortex-a-tflite", "weights-float16")
    (folder / "ours.tflite").write_bytes(payload.files["model.tflite"])
    ours = read(folder / "ours.tflite")
    assert stored(theirs) == stored(ours)
    assert {dtype for _, _, dtype in stored(theirs)} == {"float16"}
    assert (theirs.precision, ours.precision) == ("weights-float16", "weights-float16")
    assert check(theirs, profile) == check(ours, profile) == ()
    (told,) = check(theirs, catalog.load("cortex-m-tflm"))[:1]
    assert (told.rule, told.got) == ("plan-precision", "weights-float16")


@pytest.mark.parametrize("name", ["float16", "ours"])
def test_what_is_said_ahead_of_xnnpack_is_what_it_does(folder: Path, name: str) -> None:
    data = (folder / f"{name}.tflite").read_bytes() if name == "float16" else _ours(folder)
    path = folder / f"{name}-again.tflite"
    path.write_bytes(data)
    payload = Payload(
        format="tflite", files={"model.tflite": data}, inputs=(), outputs=(), tensor_names={}, notes=()
    )
    ran = PROBES["tflite"].executed_ops(payload, threads=1)
    file = read(path)
    assert [op.kind for op in file.ops] == [op.op_type for op in ran]
    for op, reason, one in zip(file.ops, left_to_built_in(file), ran, strict=True):
        assert (not reason) == (one.kernel == "XNNPACK"), (op.kind, reason, one)


def _ours(folder: Path) -> bytes:
    return made(load(folder / "float32.tflite"), "cortex-a-tflite", "weights-float16")[2].files[
        "model.tflite"
    ]


def test_both_compute_the_same(folder: Path) -> None:
    model = load(folder / "float32.tflite")
    plan = made(model, "cortex-a-tflite", "weights-float16")[1]
    (spec,) = model.inputs
    arrays = {spec.name: np.random.default_rng(1).standard_normal(spec.shape).astype(np.float32)}
    (ours,) = FloatRunner(with_stored_weights(model, plan), threads=1).run(arrays).values()
    (theirs,) = FloatRunner(load(folder / "float16.tflite"), threads=1).run(arrays).values()
    # Theirs has biases in float16 too; all of them are 0 here.
    np.testing.assert_allclose(ours, theirs, atol=1e-6 * float(np.abs(ours).max()))
