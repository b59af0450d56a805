"""Quantized files as others write them, taken to other targets without data: the integers stay, and the outputs are those of the file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from host_tools.cli.main import main
from host_tools.errors import InputError
from host_tools.lower.lowering import lower
from host_tools.model import load
from host_tools.observe import open_data
from host_tools.observe.observer import observe
from host_tools.pipeline import convert
from host_tools.plan.plan_file import decode
from host_tools.plan.planner import plan
from host_tools.progress import Silent
from host_tools.recipe import Recipe
from host_tools.tflite_file import read_tflite, values_of
from tests.unit.host_tools.model.onnx_models import saved
from tests.unit.host_tools.model.quantized_files import QuantType, by_onnxruntime, cnn
from tests.unit.host_tools.plan.plan_models import profile

WITHIN_ONE = 0.99


def converted(path: Path, targets: list[str], out: Path, **more: object) -> dict[str, object]:
    done = convert(path, targets=targets, out=out, latency=False, **more)  # type: ignore[arg-type]
    return json.loads(done.report_file.read_bytes())  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def int8_tflite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of int8, inputs and outputs too, that our own lowering wrote.

    With weights in 7 bits: of 8, processors without VNNI saturate the sums of two products, in ONNX Runtime as in OpenVINO.
    """
    folder = tmp_path_factory.mktemp("int8")
    np.save(folder / "calib.npy", np.random.default_rng(0).standard_normal((16, 3, 8, 8)).astype(np.float32))
    model = load(saved(folder, cnn(), "float.onnx"))
    data = open_data(folder / "calib.npy", inputs=model.inputs)
    statistics = observe(model, data, histograms=False, threads=1, progress=Silent())
    target = profile("cortex-m-tflm", weights={"bits": 7})
    path = folder / "model.tflite"
    path.write_bytes(lower(model, plan(model, statistics, target, Recipe(method="minmax")), target).files["model.tflite"])  # fmt: skip
    return path


def integers(path: Path) -> list[np.ndarray]:
    """Return all weights and biases of a TFLite file, in order."""
    tensors = read_tflite(path.read_bytes()).graphs[0].tensors
    found = [values_of(one) for one in tensors if one.content is not None and one.scale]
    return sorted((one for one in found if one is not None), key=lambda one: (str(one.dtype), one.shape, one.tobytes()))  # fmt: skip


def test_tflite_goes_to_other_formats_and_back(int8_tflite: Path, tmp_path: Path) -> None:
    targets = ["cortex-m-tflm", "x86_64-openvino", "x86_64-onnxruntime"]
    report = converted(int8_tflite, targets, tmp_path / "out")
    assert report["calibration_samples"] == 0
    assert report["is_imported"] is True
    for one in report["targets"]:  # type: ignore[attr-defined]
        assert one["verdict"] in ("pass", "marginal"), one["reasons"]
        assert one["original"]["within_one_share"] >= WITHIN_ONE, one["target"]
        assert one["original"]["engine"].startswith("tflite ")
    back = tmp_path / "out" / "cortex-m-tflm" / "model.tflite"
    before, after = integers(int8_tflite), integers(back)
    assert len(before) == len(after)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)
    # The file that comes back computes the same codes as the one that went in.
    samples = np.random.default_rng(5).integers(-128, 128, (8, *_shape(int8_tflite))).astype(np.int8)
    for sample in samples:
        np.testing.assert_array_equal(_run(int8_tflite, sample), _run(back, sample))


def _shape(path: Path) -> tuple[int, ...]:
    return tuple(Interpreter(str(path)).get_input_details()[0]["shape"])


def _run(path: Path, sample: np.ndarray) -> np.ndarray:
    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], sample)
    interpreter.invoke()
    return np.array(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))


@pytest.mark.parametrize("is_qdq", [True, False], ids=["qdq", "operators"])
@pytest.mark.parametrize(
    ("per_channel", "activations"), [(True, QuantType.QUInt8), (False, QuantType.QInt8)], ids=["channel", "tensor"]
)  # fmt: skip
def test_onnxruntimes_own_files(
    is_qdq: bool, per_channel: bool, activations: QuantType, tmp_path: Path
) -> None:
    path = by_onnxruntime(tmp_path, cnn(), is_qdq=is_qdq, per_channel=per_channel, activations=activations)
    report = converted(path, ["x86_64-openvino", "cortex-a-tflite"], tmp_path / "out")
    for one in report["targets"]:  # type: ignore[attr-defined]
        assert one["original"]["within_one_share"] >= WITHIN_ONE, one
        assert one["original"]["engine"].startswith("onnx")
        assert not one["execution"]["unplanned_float_ops"]
    assert not report["refused"]


def test_one_target_refuses_and_is_told_by_tensor(int8_tflite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    code = main(["convert", str(int8_tflite), "--target", "amd-vitis-dpu", "--target", "x86_64-openvino", "--out", str(tmp_path / "out"), "--no-latency", "--quiet"])  # fmt: skip
    said = capsys.readouterr().out
    assert code == 3
    assert "amd-vitis-dpu: refused: 'amd-vitis-dpu' cannot have the codes of this file" in said
    assert "beside the file itself in tflite" in said
    plan = decode((tmp_path / "out" / "x86_64-openvino" / "plan.json").read_bytes(), where="plan.json")
    assert "nothing was calibrated" in plan.method_reason


def test_inspect_says_how_it_is_coded_and_who_can_have_it(int8_tflite: Path, capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    assert main(["inspect", str(int8_tflite)]) == 0
    said = capsys.readouterr().out
    assert "yes: TFLite; `edgewright convert` keeps its scales and codes, without --data" in said
    assert "constants: int8 symmetric per channel" in said
    assert "Targets that can have its codes" in said
    assert main(["inspect", str(int8_tflite), "--target", "amd-vitis-dpu", "--json"]) == 3
    found = json.loads(capsys.readouterr().out)["relowering"]
    assert found["form"] == "TFLite"
    assert found["targets"][0]["status"] == "refused"
    assert all({"dtype", "scale", "zero_point", "axis"} == set(one) for one in found["constants"].values())


@pytest.mark.parametrize(
    "recipe", [Recipe(method="mse"), Recipe(precision="weights-int8"), Recipe(reconstruction=True)]
)
def test_what_is_settled_cannot_be_asked_for(recipe: Recipe, int8_tflite: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the model is quantized already") as caught:
        convert(int8_tflite, targets=["x86_64-openvino"], out=tmp_path / "out", recipe=recipe)
    assert "Leave it out" in str(caught.value.hint)


def test_the_float_reference_is_what_the_codes_stand_for(int8_tflite: Path) -> None:
    model = load(int8_tflite)
    assert model.quantization is not None
    assert [spec.dtype for spec in (*model.inputs, *model.outputs)] == ["float32", "float32"]
    assert "The file is quantized already (TFLite" in model.notes[0]
