"""`edgewright convert` as a user runs it: one model, every target of the catalogue, and everything that can be wrong."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

from device_agent.contract.archive import ArtifactArchive
from device_agent.sources.adapt import to_payload, to_source
from device_agent.sources.preprocess import load_image
from device_agent.startup import load_payload
from host_tools.cli.main import main
from host_tools.processor import is_suited, suited
from targets import catalog
from tests.e2e.small_network import samples, write_network

if TYPE_CHECKING:
    from collections.abc import Sequence

OPENVINO = suited("x86_64-openvino")
"""The target of OpenVINO on this processor."""


@dataclass(frozen=True)
class Workplace:
    """A folder with model and data."""

    folder: Path
    model: Path
    data: Path

    def run(
        self, *arguments: str, out: str = "out", json_report: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run the command in this process: what it imports costs more than what it does here."""
        command = self._command(arguments, out, json_report=json_report)
        output, errors, before = io.StringIO(), io.StringIO(), Path.cwd()
        os.chdir(self.folder)
        try:
            with redirect_stdout(output), redirect_stderr(errors):
                status = main(command)
        except SystemExit as ended:  # argparse
            assert isinstance(ended.code, int)
            status = ended.code
        finally:
            os.chdir(before)
        return subprocess.CompletedProcess(command, status, output.getvalue(), errors.getvalue())

    def run_alone(
        self, *arguments: str, out: str = "out", json_report: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run the command as a user does, in a process of its own."""
        command = self._command(arguments, out, json_report=json_report)
        return subprocess.run(
            [sys.executable, "-m", "host_tools", *command],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            env=environment(),
        )

    def _command(self, arguments: Sequence[str], out: str, *, json_report: bool) -> list[str]:
        command = ["convert", str(self.model), "--data", str(self.data), "--out", out]
        command += ["--cache", "cache", "--no-latency", "--threads", "1", *arguments]
        return [*command, "--json"] if json_report else command


def environment() -> dict[str, str]:
    root = Path(__file__).parents[2]
    return {**os.environ, "PYTHONPATH": str(root)}


@pytest.fixture
def workplace(tmp_path: Path) -> Workplace:
    model = write_network(tmp_path / "small.onnx")
    np.save(tmp_path / "calibration.npy", samples(24))
    return Workplace(folder=tmp_path, model=model, data=tmp_path / "calibration.npy")


def test_every_target_from_one_calibration(workplace: Workplace) -> None:
    np.save(workplace.folder / "eval.npy", samples(32, seed=11))
    here = [target for target in catalog.ids() if is_suited(catalog.load(target))]
    targets = [argument for target in here for argument in ("--target", target)]
    done = workplace.run_alone(*targets, "--eval", "eval.npy", "--min-agreement", "0.5", json_report=True)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [target["target"] for target in report["targets"]] == here
    for target in report["targets"]:
        assert target["verdict"] in ("pass", "marginal"), (target["target"], target["reasons"])
        execution = target["execution"]
        assert execution["stand_in"] or execution["unplanned_float_ops"] == [], target["target"]
        assert target["layers"], target["target"]
    page = (workplace.folder / "out" / "report.html").read_text()
    assert all(f'id="{target}"' in page for target in here)
    for target in here:
        archive = ArtifactArchive.open(workplace.folder / "out" / f"small-0.1.0-{target}.ewa")
        assert archive.manifest.target == target
        assert len(archive.manifest.golden) == 2


def test_model_explorer_finds_every_layer_in_the_file(workplace: Workplace) -> None:
    targets = ("cortex-a-tflite", "x86_64-onnxruntime", OPENVINO)
    done = workplace.run(
        *(argument for target in targets for argument in ("--target", target)), "--min-agreement", "0.5"
    )
    assert done.returncode == 0, done.stderr
    folders = {target: workplace.folder / "out" / target for target in targets}
    graph = onnx.load(folders["x86_64-onnxruntime"] / "model.onnx").graph
    written = Interpreter(str(folders["cortex-a-tflite"] / "model.tflite")).get_tensor_details()
    names = {
        "cortex-a-tflite": {tensor["name"] for tensor in written},
        "x86_64-onnxruntime": {node.name for node in graph.node},
    }
    report = json.loads((workplace.folder / "out" / "report.json").read_text())
    for target in report["targets"][:2]:
        seen = json.loads((folders[target["target"]] / "model_explorer.json").read_text())
        values = {name: result["value"] for name, result in seen["results"].items()}
        assert set(values) <= names[target["target"]]
        layers = [layer["sqnr_db"] for layer in target["layers"] if layer["sqnr_db"] is not None]
        assert sorted(values.values()) == sorted(round(one, 2) for one in layers)
        assert [one["value"] for one in seen["thresholds"]] == [10.0, 20.0, 30.0]
    assert not (folders[OPENVINO] / "model_explorer.json").exists(), "Model Explorer opens no IR"
    assert "model-explorer TARGET/model.tflite" in (workplace.folder / "out" / "report.html").read_text()


def test_files_for_a_vendors_compiler_lie_beside_the_payload_and_go_when_it_is_refused(
    workplace: Workplace,
) -> None:
    folder = workplace.folder / "out" / "qualcomm-htp"
    assert workplace.run("--target", "qualcomm-htp", "--min-agreement", "0.5").returncode == 0
    assert {file.name for file in folder.iterdir()} == {
        "model.onnx",
        "model_float.onnx",
        "model.encodings",
        "plan.json",
        "diagnosis.json",
        "model_explorer.json",
    }
    encodings = json.loads((folder / "model.encodings").read_text())
    assert {"images", "logits"} <= {entry["name"] for entry in encodings["activation_encodings"]}
    archive = ArtifactArchive.open(workplace.folder / "out" / "small-0.1.0-qualcomm-htp.ewa")
    assert [member.name for member in archive.manifest.payload] == ["payload/model.onnx"], (
        "no engine loads the others"
    )
    (folder / "model.encodings").write_text("of an earlier run")
    assert workplace.run("--target", "qualcomm-htp", "--min-agreement", "0.5").returncode == 0
    assert json.loads((folder / "model.encodings").read_text()) == encodings


def test_the_same_input_gives_the_same_bytes(workplace: Workplace) -> None:
    targets = ("--target", "x86_64-onnxruntime", "--target", OPENVINO, "--target", "cortex-a-tflite")
    for out in ("first", "second"):
        done = workplace.run_alone(*targets, "--min-agreement", "0.5", out=out)
        assert done.returncode == 0, done.stderr
    first, second = (sorted((workplace.folder / out).glob("*.ewa")) for out in ("first", "second"))
    assert len(first) == len(second) == 3
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_openvino_gives_the_same_bytes_whatever_the_threads_and_the_process(workplace: Workplace) -> None:
    """Its own names hold a counter of the process; the report inside the artifact leaves them out."""
    first = workplace.run_alone("--target", OPENVINO, out="alone")
    second = workplace.run_alone(
        "--target", "cortex-a-tflite", "--target", OPENVINO, "--threads", "2", out="beside"
    )
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    artifacts = [workplace.folder / out / f"small-0.1.0-{OPENVINO}.ewa" for out in ("alone", "beside")]
    assert artifacts[0].read_bytes() == artifacts[1].read_bytes()


def test_the_second_run_reads_the_statistics_from_the_cache(workplace: Workplace) -> None:
    first = workplace.run_alone("--target", "x86_64-onnxruntime", "--min-agreement", "0.5")
    second = workplace.run_alone("--target", "cortex-a-tflite", "--method", "mse", "--min-agreement", "0.5")
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert "cache" in second.stderr.lower()
    assert "cache" not in first.stderr.lower()


def test_explain_gives_a_reason_for_every_node(workplace: Workplace) -> None:
    done = workplace.run("--target", "cortex-a-tflite", "--explain", "--min-agreement", "0.5")
    assert done.returncode == 0, done.stderr
    for node in ("stem", "depthwise", "residual", "classifier"):
        assert re.search(rf"\b{node}\b", done.stdout), node


def test_a_budget_that_is_not_met_fails_and_ships_nothing(workplace: Workplace) -> None:
    done = workplace.run_alone("--target", "x86_64-onnxruntime", "--min-sqnr", "90", "--no-mixed-precision")
    assert done.returncode == 4
    assert not list((workplace.folder / "out").glob("*.ewa"))
    assert (workplace.folder / "out" / "report.html").is_file()
    assert "output SQNR" in done.stdout


def test_a_goal_that_integers_miss_is_reached_by_floats(workplace: Workplace) -> None:
    done = workplace.run("--target", "x86_64-onnxruntime", "--min-sqnr", "55", json_report=True)
    assert done.returncode == 0, done.stderr
    (target,) = json.loads(done.stdout)["targets"]
    assert target["stages"][-1]["name"] == "mixed precision"
    assert target["stages"][-1]["is_kept"]
    assert target["execution"]["float_ops"] > 0


def test_mixed_precision_is_asked_for_beside_a_recipe(workplace: Workplace) -> None:
    (workplace.folder / "recipe.toml").write_text('method = "minmax"\nmixed_precision = false\n')
    asked = ("--target", "nxp-neutron", "--recipe", "recipe.toml", "--mixed-precision", "--min-sqnr", "30")
    done = workplace.run(*asked, json_report=True)
    (target,) = json.loads(done.stdout)["targets"]
    assert [stage["name"] for stage in target["stages"]] == ["ranges", "mixed precision"]


@pytest.mark.parametrize(
    "method", ["minmax", "percentile", "mse", "entropy", "moving_average", "cosine", "search"]
)
def test_every_method(workplace: Workplace, method: str) -> None:
    done = workplace.run(
        "--target", "x86_64-onnxruntime", "--method", method, "--min-agreement", "0.3", json_report=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["targets"][0]["method"] == method


def pictures(folder: Path, *, mean: int = 127) -> None:
    folder.mkdir()
    rng = np.random.default_rng(3)
    for index in range(6):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(folder / f"{index}.png")
    (folder / "preprocess.toml").write_text(
        f'[preprocess]\nresize = [16, 16]\nresample = "bilinear"\ncolor = "RGB"\nlayout = "NCHW"\nmean = [{mean}, {mean}, {mean}]\nstd = [128, 128, 128]\n'
    )


def assert_refused(done: subprocess.CompletedProcess[str], status: int, expected: str) -> None:
    """One line, the right exit status, and nothing of Python's."""
    assert (done.returncode, "Traceback" in done.stderr) == (status, False), done.stderr
    assert expected in done.stderr


def fails(workplace: Workplace, *arguments: str, status: int = 2) -> str:
    done = workplace.run("--target", "x86_64-onnxruntime", *arguments)
    assert done.returncode == status, (done.returncode, done.stderr)
    assert "Traceback" not in done.stderr
    line = next(line for line in done.stderr.splitlines() if line.startswith("edgewright: "))
    assert not list((workplace.folder / "out").glob("**/*.partial"))
    return line


def replaced(workplace: Workplace, **paths: Path) -> Workplace:
    return Workplace(
        folder=workplace.folder,
        model=paths.get("model", workplace.model),
        data=paths.get("data", workplace.data),
    )


def test_no_such_model(workplace: Workplace) -> None:
    assert "none.onnx" in fails(replaced(workplace, model=workplace.folder / "none.onnx"))


def test_not_onnx(workplace: Workplace) -> None:
    (workplace.folder / "bad.onnx").write_bytes(b"these are not the bytes of a model")
    assert "bad.onnx" in fails(replaced(workplace, model=workplace.folder / "bad.onnx"))


def test_external_data_missing(workplace: Workplace) -> None:
    model = onnx.load(workplace.model)
    path = workplace.folder / "external.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    (workplace.folder / "weights.bin").unlink()
    assert "weights.bin" in fails(replaced(workplace, model=path))


def test_a_dynamic_shape_is_asked_for_and_fixed(workplace: Workplace) -> None:
    model = write_network(workplace.folder / "dynamic.onnx", dynamic_batch=True)
    open_shape = replaced(workplace, model=model)
    line = fails(open_shape)
    assert "images" in line
    assert "--shape" in line
    done = open_shape.run(
        "--target", "x86_64-onnxruntime", "--shape", "images=1,3,16,16", "--min-agreement", "0.3"
    )
    assert done.returncode == 0, done.stderr
    assert "--shape" in fails(open_shape, "--shape", "images=1,x")


def test_an_unknown_target_is_answered_with_those_there_are(workplace: Workplace) -> None:
    done = workplace.run_alone("--target", "cortex-a-tflit")
    assert done.returncode == 2
    assert "cortex-a-tflite" in done.stderr


def test_a_profile_with_a_wrong_key_is_named(workplace: Workplace) -> None:
    profile = workplace.folder / "mine.toml"
    assert main(["targets", "new", "mine", "--based-on", "nxp-neutron", "--out", str(profile)]) == 0
    profile.write_text(profile.read_text() + '\n[weights]\nbitz = { is = 8, source = "ours" }\n')
    done = workplace.run("--target", "mine.toml")
    assert done.returncode == 2
    assert "mine.toml" in done.stderr
    assert "bitz" in done.stderr


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.zeros((0, 3, 16, 16), np.float32), "sample"),
        (np.zeros((4, 3, 8, 8), np.float32), "16"),
        (np.zeros((4, 3, 16, 16), np.int64), "int64"),
        (np.full((4, 3, 16, 16), np.nan, np.float32), "NaN"),
        (np.full((4, 3, 16, 16), np.inf, np.float32), "inf"),
        (np.zeros((4, 16), np.float32), "shape"),
    ],
    ids=["empty", "shape", "dtype", "nan", "inf", "rank"],
)
def test_wrong_data(workplace: Workplace, array: np.ndarray, expected: str) -> None:
    path = workplace.folder / "wrong.npy"
    np.save(path, array)
    assert expected.lower() in fails(replaced(workplace, data=path)).lower()


def test_an_npz_with_another_key(workplace: Workplace) -> None:
    path = workplace.folder / "wrong.npz"
    np.savez(path, pictures=samples(2))
    line = fails(replaced(workplace, data=path))
    assert "pictures" in line
    assert "images" in line


def test_weights_that_are_not_finite(workplace: Workplace) -> None:
    model = onnx.load(workplace.model)
    weight = next(one for one in model.graph.initializer if one.name == "w2")
    values = onnx.numpy_helper.to_array(weight).copy()
    values[0] = np.nan
    weight.CopyFrom(onnx.numpy_helper.from_array(values, "w2"))
    onnx.save(model, workplace.folder / "nan.onnx")
    assert "w2" in fails(replaced(workplace, model=workplace.folder / "nan.onnx"))


def test_labels_of_another_number(workplace: Workplace) -> None:
    (workplace.folder / "labels.txt").write_text("1\n2\n")
    assert "labels.txt" in fails(workplace, "--eval", str(workplace.data), "--labels", "labels.txt")


def test_a_metric_without_labels(workplace: Workplace) -> None:
    done = workplace.run("--target", "cortex-a-tflite", "--metric", "nosuch:thing")
    assert_refused(done, 2, "--metric needs --labels")


def test_a_metric_that_is_not_there_is_told_before_the_model_runs(workplace: Workplace) -> None:
    (workplace.folder / "labels.txt").write_text("0\n" * 24)
    given = ("--eval", "calibration.npy", "--labels", "labels.txt", "--metric", "nosuch:thing")
    assert_refused(
        workplace.run("--target", "cortex-a-tflite", *given), 2, "--metric nosuch:thing: ModuleNotFoundError"
    )
    assert not (workplace.folder / "cache").exists()


def test_functions_of_the_user_s_own_lie_in_the_current_folder(workplace: Workplace) -> None:
    """By the installed command, whose path begins with the folder of the command and not with the current one."""
    (workplace.folder / "own.py").write_text(
        "import numpy as np\n"
        "def data(): return list(np.load('calibration.npy'))\n"
        "def metric(outputs, label): return float(label == 3)\n"
    )
    (workplace.folder / "labels.txt").write_text("3\n" * 24)
    command = [
        str(Path(sys.executable).with_name("edgewright")),
        "convert",
        str(workplace.model),
        "--out",
        "out",
    ]
    command += [
        "--data",
        "own:data",
        "--eval",
        "own:data",
        "--labels",
        "labels.txt",
        "--metric",
        "own:metric",
    ]
    command += ["--target", "cortex-a-tflite", "--no-latency", "--cache", "cache", "--json"]
    done = subprocess.run(command, cwd=workplace.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (quality,) = json.loads(done.stdout)["targets"][0]["quality"]
    assert (quality["metric"], quality["float_value"]) == ("own:metric", 1.0)


def test_labels_of_another_list(workplace: Workplace) -> None:
    (workplace.folder / "labels.txt").write_text("999\n" * 24)
    done = workplace.run("--target", "cortex-a-tflite", "--eval", "calibration.npy", "--labels", "labels.txt")
    assert_refused(done, 2, "sample 0 has label 999")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--min-sqnr", "nan"), "expected a finite number"),
        (("--max-quality-drop", "-1"), "expected a number of at least 0"),
        (("--min-agreement", "1.5"), "expected a share from 0 to 1"),
        (("--threads", "99999"), "--threads: expected 1 to"),
        (("--name", "../../etc/x y"), "--name: expected letters"),
        (("--name", ""), "--name: expected letters"),
        (("--json", "--explain"), "not allowed with"),
    ],
)
def test_arguments_that_mean_nothing(workplace: Workplace, arguments: tuple[str, ...], expected: str) -> None:
    done = workplace.run("--target", "cortex-a-tflite", *arguments)
    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_a_key_that_no_recipe_has(workplace: Workplace) -> None:
    (workplace.folder / "recipe.toml").write_text('methd = "mse"\n')
    done = workplace.run("--target", "cortex-a-tflite", "--recipe", "recipe.toml")
    assert_refused(done, 2, "recipe.toml: methd")


def test_one_tensor_by_another_method_than_minmax(workplace: Workplace) -> None:
    (workplace.folder / "recipe.toml").write_text(
        'method = "minmax"\n[tensors.images]\nmethod = "percentile"\n'
    )
    done = workplace.run("--target", "cortex-a-tflite", "--recipe", "recipe.toml")
    assert done.returncode == 0, done.stderr
    archive = ArtifactArchive.open(workplace.folder / "out" / "small-0.1.0-cortex-a-tflite.ewa")
    assert json.loads(archive.read("recipe.json"))["tensors"] == {"images": {"method": "percentile"}}


def test_a_cache_that_cannot_be_written_is_told_before_the_model_runs(workplace: Workplace) -> None:
    (workplace.folder / "cache").write_text("a file")
    assert_refused(workplace.run_alone("--target", "cortex-a-tflite"), 7, "Choose another --cache DIR")


def test_a_target_that_cannot_do_it_is_no_loss_to_the_others(workplace: Workplace) -> None:
    network = onnx.load(workplace.model)
    last = network.graph.node[-1]
    name, last.output[0] = last.output[0], "before_atan"
    network.graph.node.append(onnx.helper.make_node("Atan", ["before_atan"], [name], name="atan"))
    onnx.save(network, workplace.model)
    targets = ("--target", "cortex-a-tflite", "--target", "x86_64-onnxruntime")
    done = workplace.run_alone(*targets, json_report=True)
    assert done.returncode == 3, done.stderr
    report = json.loads(done.stdout)
    assert report["verdict"] == "fail"
    assert [target["target"] for target in report["targets"]] == ["x86_64-onnxruntime"]
    (refusal,) = report["refused"]
    assert refusal["target"] == "cortex-a-tflite"
    assert "Atan" in refusal["reason"]
    assert (workplace.folder / "out" / "small-0.1.0-x86_64-onnxruntime.ewa").exists()
    assert "refused" in (workplace.folder / "out" / "report.html").read_text()


def pooled(folder: Path, **attributes: object) -> Path:
    """Conv → AveragePool, the pool being all that reads the Conv."""
    node = onnx.helper.make_node("AveragePool", ["c"], ["y"], name="pool", **attributes)
    weight = onnx.numpy_helper.from_array(
        np.random.default_rng(1).normal(0, 1, (4, 3, 3, 3)).astype(np.float32), "w"
    )
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Conv", ["images", "w"], ["c"], name="conv", pads=[1, 1, 1, 1]), node],
        "pooled",
        [onnx.helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, [1, 3, 16, 16])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [weight],
    )
    path = folder / "pooled.onnx"
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 19)], ir_version=9), path
    )
    return path


def test_a_pool_that_counts_its_padding(workplace: Workplace) -> None:
    """OpenVINO's plug-in would pad its codes with 0, whatever their zero point."""
    counted = pooled(workplace.folder, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)
    done = replaced(workplace, model=counted).run("--target", OPENVINO, json_report=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["targets"][0]["agreement"]["sqnr_db"] > 30


def test_a_dilated_pool_runs_in_float_where_the_engine_has_no_integer_kernel(workplace: Workplace) -> None:
    dilated = pooled(workplace.folder, kernel_shape=[2, 2], dilations=[2, 2])
    done = replaced(workplace, model=dilated).run("--target", "x86_64-onnxruntime", json_report=True)
    assert done.returncode == 0, done.stderr
    assert "max_dilation" in " ".join(json.loads(done.stdout)["targets"][0]["warnings"])


def test_a_last_window_that_lies_in_the_padding(workplace: Workplace) -> None:
    """Engines drop it, the shape inference of older opsets does not."""
    np.save(workplace.folder / "small.npy", np.ones((4, 3, 3, 3), np.float32))
    ceiled = pooled(workplace.folder, kernel_shape=[2, 2], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1)
    model = onnx.load(ceiled)
    for axis in (2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = 3
    onnx.save(model, ceiled)
    done = replaced(workplace, model=ceiled, data=workplace.folder / "small.npy").run(
        *("--target", "x86_64-onnxruntime", "--target", OPENVINO, "--target", "cortex-a-tflite"),
        json_report=True,
    )
    assert done.returncode == 0, done.stderr
    assert min(target["agreement"]["sqnr_db"] for target in json.loads(done.stdout)["targets"]) > 30


def test_a_verdict_against_it_takes_the_older_artifact_away(workplace: Workplace) -> None:
    """Beside a report that says fail it would be taken for the one that the report is about."""
    artifact = workplace.folder / "out" / "small-0.1.0-cortex-a-tflite.ewa"
    assert workplace.run("--target", "cortex-a-tflite").returncode == 0
    assert artifact.exists()
    assert workplace.run("--target", "cortex-a-tflite", "--min-sqnr", "500").returncode == 4
    assert not artifact.exists()


def test_pictures_to_verify_on_may_say_themselves_how_they_become_inputs(workplace: Workplace) -> None:
    pictures(workplace.folder / "pictures")
    done = workplace.run("--target", "cortex-a-tflite", "--eval", "pictures", "--min-agreement", "0")
    assert done.returncode == 0, done.stderr


def test_two_ways_to_prepare_pictures_are_refused(workplace: Workplace) -> None:
    """What would be verified is not what the device will do."""
    pictures(workplace.folder / "pictures")
    pictures(workplace.folder / "others", mean=100)
    done = replaced(workplace, data=workplace.folder / "pictures").run(
        "--target", "cortex-a-tflite", "--eval", "others"
    )
    assert_refused(done, 2, "its preprocess.toml and that of --data differ")


def test_nothing_is_left_where_nothing_was_made(workplace: Workplace) -> None:
    workplace.run("--target", "cortex-a-tflite", "--min-sqnr", "nan")
    workplace.model.write_bytes(b"not ONNX")
    workplace.run("--target", "cortex-a-tflite")
    assert not (workplace.folder / "out").exists()


def test_labels_without_samples(workplace: Workplace) -> None:
    (workplace.folder / "labels.txt").write_text("1\n2\n")
    assert "--eval" in fails(workplace, "--labels", "labels.txt")


def test_an_unsupported_operator_is_named(workplace: Workplace) -> None:
    model = onnx.load(workplace.model)
    model.graph.node.append(
        onnx.helper.make_node("MyOp", ["logits"], ["mine"], "custom", domain="com.example")
    )
    model.opset_import.append(onnx.helper.make_opsetid("com.example", 1))
    model.graph.output[0].name = "mine"
    onnx.save(model, workplace.folder / "custom.onnx")
    line = fails(replaced(workplace, model=workplace.folder / "custom.onnx"))
    assert "MyOp" in line
    assert "custom" in line


@pytest.mark.parametrize("target", ["cortex-a-tflite", "x86_64-onnxruntime", OPENVINO])
def test_folded_preprocessing_lets_the_device_feed_pixels(workplace: Workplace, target: str) -> None:
    """The artifact asks for pixels, the payload's code of a pixel is the pixel, and its outputs are those of the unfolded one."""
    folder = workplace.folder
    pictures(folder / "pictures")
    of_pictures = replaced(workplace, data=folder / "pictures")
    chosen = ("--target", target, "--min-agreement", "0", "--method", "minmax")
    outputs = {}
    for out, more in (("plain", ()), ("folded", ("--fold-preprocessing",))):
        done = of_pictures.run(*chosen, *more, out=out)
        assert done.returncode == 0, done.stderr
        archive = ArtifactArchive.open(folder / out / f"small-0.1.0-{target}.ewa")
        manifest = archive.manifest
        preprocessing = manifest.preprocessing
        assert preprocessing is not None
        engine, _ = load_payload(archive, threads=1)
        frames = [
            to_payload({"images": load_image(path, preprocessing)}, manifest.inputs)
            for path in sorted((folder / "pictures").glob("*.png"))
        ]
        found = [to_source([np.array(one) for one in engine.infer(frame)], manifest.outputs) for frame in frames]  # fmt: skip
        outputs[out] = np.stack([one["logits"] for one in found])
        engine.close()
    assert (preprocessing.mean, preprocessing.std) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    (fed,) = manifest.inputs
    if fed.dtype != "float32":
        assert (fed.scale, fed.zero_point) == (1.0, -128)
    raw = np.asarray(Image.open(folder / "pictures" / "0.png")).transpose(2, 0, 1)[np.newaxis]
    moved = raw.transpose(fed.source_axes).astype(np.float64)
    np.testing.assert_array_equal(np.asarray(frames[0][0], np.float64), moved + (fed.zero_point or 0))
    error = np.square(outputs["folded"] - outputs["plain"]).mean() / np.square(outputs["plain"]).mean()
    assert error < 1e-3


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--preprocess", "told.toml"), "calibration.npy: expected a folder of pictures for --fold-preprocessing"),
        (("--data", "deep/bare"), "nothing says what to fold: there is no preprocess.toml in or beside the data"),
        (("--data", "pictures", "--eval", "calibration.npy"), "calibration.npy: expected a folder of pictures"),
        (("--data", "pictures", "--precision", "weights-int8"), "precision weights-int8 keeps the input in float"),
        (("--data", "pictures", "--preprocess", "grey.toml"), "1 channels on axis 1 (NCHW), got 'images'"),
    ],
    ids=["arrays", "nothing to fold", "arrays to verify on", "precision", "channels"],
)  # fmt: skip
def test_folding_that_cannot_be_is_refused(
    workplace: Workplace, arguments: tuple[str, ...], expected: str
) -> None:
    folder = workplace.folder
    pictures(folder / "pictures")
    text = (folder / "pictures" / "preprocess.toml").read_text()
    (folder / "told.toml").write_text(text)
    grey = text.replace("RGB", "L").replace("127, 127, 127", "127").replace("128, 128, 128", "128")
    (folder / "grey.toml").write_text(grey)
    (folder / "deep" / "bare").mkdir(parents=True)
    Image.new("RGB", (16, 16)).save(folder / "deep" / "bare" / "0.png")
    done = workplace.run("--target", "cortex-a-tflite", "--fold-preprocessing", *arguments)
    assert_refused(done, 2, expected)


def test_a_symmetric_target_has_no_code_for_every_pixel(workplace: Workplace) -> None:
    pictures(workplace.folder / "pictures")
    of_pictures = replaced(workplace, data=workplace.folder / "pictures")
    chosen = ("--target", "amd-vitis-dpu", "--target", "cortex-a-tflite", "--min-agreement", "0")
    done = of_pictures.run(*chosen, "--fold-preprocessing", json_report=True)
    assert (done.returncode, "Traceback" in done.stderr) == (3, False), done.stderr
    (refusal,) = json.loads(done.stdout)["refused"]
    assert refusal["target"] == "amd-vitis-dpu"
    assert "--fold-preprocessing: pixels from 0 to 255 would be codes in steps of 4" in refusal["reason"]
    assert (workplace.folder / "out" / "small-0.1.0-cortex-a-tflite.ewa").exists()


def test_values_without_axes_go_all_the_way(tmp_path):
    """A clip to a number that is found: what a spectrum's own network does with its loudest part."""
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]> net (float[1,3,6,6] x) => (float[1,4,6,6] y) {
            c = Conv (x, w)
            most = ReduceMax <keepdims = 0> (c)
            low = Sub (most, two)
            y = Clip (c, low)
        }"""
    )
    numbers = np.random.default_rng(1)
    for name, array in (("w", numbers.standard_normal((4, 3, 1, 1))), ("two", np.asarray(2.0))):
        model.graph.initializer.append(onnx.numpy_helper.from_array(array.astype(np.float32), name))
    onnx.save(model, tmp_path / "net.onnx")
    np.save(tmp_path / "data.npy", numbers.standard_normal((16, 1, 3, 6, 6)).astype(np.float32))
    place = Workplace(tmp_path, tmp_path / "net.onnx", tmp_path / "data.npy")
    targets = [f"--target={one}" for one in ("x86_64-onnxruntime", OPENVINO, "cortex-a-tflite")]
    done = place.run(*targets, json_report=True)
    assert done.returncode == 0, done.stderr
    found = [one["target"] for one in json.loads(done.stdout)["targets"] if one["verdict"] == "pass"]
    assert len(found) == 3


def test_evaluation_data_that_do_not_fit_are_told_before_anything_is_calibrated(tmp_path):
    place = Workplace(tmp_path, write_network(tmp_path / "small.onnx"), tmp_path / "data.npy")
    np.save(place.data, samples(8))
    np.save(tmp_path / "other.npy", samples(8)[..., :-1])
    done = place.run("--target=x86_64-onnxruntime", "--eval", str(tmp_path / "other.npy"))
    assert done.returncode == 2
    assert "other.npy" in done.stderr
    assert "Calibrating" not in done.stderr
    assert done.stderr.count("\n") == 1
