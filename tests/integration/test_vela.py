"""Arm's own compiler judges the TFLite file: Vela puts every operator on the Ethos-U, for a small network and for EfficientNet-Lite0."""

from __future__ import annotations

import io
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from PIL import Image

from examples.efficientnet_lite import graph, photos
from host_tools.lower.lowering import lower
from host_tools.model import load
from host_tools.observe.observer import observe
from host_tools.observe.sources.opening import open_data
from host_tools.plan.planner import plan
from host_tools.progress import Silent
from host_tools.recipe import KeepFloat, Recipe
from targets import catalog
from tests.e2e.small_network import samples, write_network
from tests.integration.environments import vela

if TYPE_CHECKING:
    from numpy.typing import NDArray

ACCELERATORS = {"ethos-u55": "ethos-u55-128", "ethos-u85": "ethos-u85-256"}
"""By target."""


@dataclass(frozen=True)
class Placement:
    """What Vela says of a file: how many operators it leaves to the CPU, how many it takes, and what its own file is made of."""

    cpu: int
    npu: int
    operators_left: tuple[str, ...]


def compiled(file: Path, accelerator: str) -> Placement:
    out = file.parent / accelerator
    command = [
        vela(),
        str(file),
        "--accelerator-config",
        accelerator,
        "--output-dir",
        str(out),
        "--show-cpu-operations",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    cpu, npu = (
        re.search(rf"^{kind} operators = (\d+) \(", done.stdout, re.MULTILINE) for kind in ("CPU", "NPU")
    )
    assert cpu is not None, done.stdout
    assert npu is not None, done.stdout
    assert list(out.glob("*_summary_*.csv")), "Vela writes a summary of what it estimates"
    model = schema.ModelT.InitFromPackedBuf((out / f"{file.stem}_vela.tflite").read_bytes())
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    codes = [
        code.customCode.decode()
        if code.customCode
        else names[max(code.builtinCode, code.deprecatedBuiltinCode)]
        for code in model.operatorCodes
    ]
    return Placement(
        int(cpu[1]), int(npu[1]), tuple(codes[op.opcodeIndex] for op in model.subgraphs[0].operators)
    )


def written(
    model_file: Path,
    data: NDArray[np.float32],
    *,
    target: str = "ethos-u55",
    keep_float: frozenset[str] = frozenset(),
) -> Path:
    model, profile = load(model_file), catalog.load(target)
    np.save(model_file.with_suffix(".npy"), data)
    calibration = open_data(model_file.with_suffix(".npy"), inputs=model.inputs)
    statistics = observe(model, calibration, histograms=False, threads=1, progress=Silent())
    recipe = Recipe(method="minmax", keep_float=KeepFloat(ops=keep_float))
    payload = lower(model, plan(model, statistics, profile, recipe), profile)
    path = model_file.with_name(f"{model_file.stem}-{target}.tflite")
    path.write_bytes(payload.files["model.tflite"])
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    path = write_network(tmp_path_factory.mktemp("small") / "small.onnx")
    return {target: written(path, samples(8), target=target) for target in ACCELERATORS}


@pytest.fixture(scope="module")
def efficientnet(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """EfficientNet-Lite0 with its published weights, calibrated on crops of four photos."""
    path = tmp_path_factory.mktemp("efficientnet") / "efficientnet_lite0.onnx"
    onnx.save(graph.build_model(graph.load_weights()), path)
    crops = [next(iter(photos.calibration_images(photo).values())) for photo in photos.load_photos()[:4]]
    data = np.stack([as_input(crop) for crop in crops])
    return {target: written(path, data, target=target) for target in ACCELERATORS}


def as_input(encoded: bytes) -> NDArray[np.float32]:
    """Return a picture as the network wants it: (3, 224, 224), (x - 127) / 128."""
    with Image.open(io.BytesIO(encoded)) as image:
        pixels = np.asarray(image.convert("RGB").resize((224, 224), Image.Resampling.BICUBIC), np.float32)
    return (pixels.transpose(2, 0, 1) - 127) / 128


@pytest.mark.parametrize("target", ACCELERATORS)
def test_every_operator_of_a_small_network_is_on_the_npu(target: str, small: dict[str, Path]) -> None:
    found = compiled(small[target], ACCELERATORS[target])
    assert found.cpu == 0
    assert found.npu >= 6
    assert found.operators_left == ("ethos-u",)


@pytest.mark.parametrize("target", ACCELERATORS)
def test_every_operator_of_efficientnet_is_on_the_npu(target: str, efficientnet: dict[str, Path]) -> None:
    found = compiled(efficientnet[target], ACCELERATORS[target])
    assert found.cpu == 0
    assert found.npu >= 60
    assert found.operators_left == ("ethos-u",)


def test_a_float_island_would_be_seen(tmp_path: Path) -> None:
    """The proof that the tests above can fail."""
    file = written(write_network(tmp_path / "mixed.onnx"), samples(8), keep_float=frozenset({"Add"}))
    found = compiled(file, "ethos-u55-128")
    assert found.cpu > 0
    assert "ADD" in found.operators_left
