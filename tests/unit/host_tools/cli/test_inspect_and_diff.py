"""`edgewright inspect` and `edgewright diff`: exit status, JSON, what each kind of file is told as, and bad input."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from device_agent.contract.archive import ArtifactArchive
from device_agent.contract.manifest import Preprocessing
from host_tools.cli.main import main
from host_tools.tflite_file import read_tflite
from targets import catalog
from tests.e2e.small_network import write_network
from tests.integration.support import null_artifact, onnx_artifact, write_ewa
from tests.unit.host_tools.lint.peers import TfliteModel, fully_connected, onnx_conv, openvino_fake_quantized
from tests.unit.host_tools.lower.lowering_cases import between
from tests.unit.host_tools.model.onnx_models import saved
from tests.unit.host_tools.model.test_tflite_operators_in import conv


@pytest.fixture
def network(tmp_path):
    return write_network(tmp_path / "small.onnx", dynamic_batch=True)


def test_a_model_on_every_target_by_the_plan_alone(network, capsys):
    assert main(["inspect", str(network), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["kind"], said["name"], said["opset"]) == ("model", "small", 13)
    assert said["macs"] == sum(node["macs"] for node in said["nodes"]) > 0
    assert said["weight_bytes"] == {"float32": 4 * said["parameters"], "int8": said["weight_bytes"]["int8"]}
    assert said["weight_bytes"]["int8"] < said["weight_bytes"]["float32"]
    assert said["int8_peak"]["bytes"] * 4 == said["float_peak"]["bytes"]
    assert [one["target"] for one in said["targets"]] == list(catalog.ids())
    assert not any(one["rehearsed"] for one in said["targets"])
    assert {node["precision"] for one in said["targets"] for node in one["nodes"]} >= {"int8", "float32"}
    assert all(0.0 < one["integer_macs"] <= 1.0 for one in said["targets"])
    assert "--shape images=1,3,16,16" in said["cautions"][0]


def test_targets_that_take_it(network, capsys):
    asked = ["--target", "cortex-a-tflite", "--target", "x86_64-onnxruntime"]
    assert main(["inspect", str(network), *asked, "--shape", "images=2,3,16,16", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [(one["status"], one["rehearsed"]) for one in said["targets"]] == [("integer", True)] * 2
    assert said["inputs"][0]["shape"] == [2, 3, 16, 16]


def test_a_target_that_refuses(tmp_path, capsys):
    path = saved(tmp_path, between("odd", "m = Shrink (a)").proto())
    assert main(["inspect", str(path)]) == 0  # nobody asked for a target
    capsys.readouterr()
    assert main(["inspect", str(path), "--target", "x86_64-onnxruntime", "--target", "cortex-a-tflite"]) == 3
    said = capsys.readouterr().out
    assert "refused: Shrink 'Shrink_m': the TFLite lowering does not know this operator." in said
    assert main(["inspect", str(path), "--target", "all", "--json"]) == 3
    statuses = {one["target"]: one["status"] for one in json.loads(capsys.readouterr().out)["targets"]}
    assert statuses["cortex-a-tflite"] == "refused"
    assert statuses["x86_64-onnxruntime"] == "partly_float"
    assert set(statuses) == set(catalog.ids())


def test_files_that_are_quantized_already(tmp_path, capsys):
    lite, quantized = tmp_path / "peer.tflite", tmp_path / "peer.onnx"
    lite.write_bytes(fully_connected(version=4, per_channel=False))
    quantized.write_bytes(onnx_conv(zero_point=np.int8(0)))
    for path, format_ in (
        (lite, "tflite"), (quantized, "onnx_qdq"), (openvino_fake_quantized(tmp_path), "openvino_ir"),
    ):  # fmt: skip
        assert main(["inspect", str(path), "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert (said["kind"], said["format"], said["is_quantized"]) == ("payload", format_, True)
        assert said["operators"]
        assert sum(said["weight_bytes"].values()) > 0
        assert main(["inspect", str(path)]) == 0
        assert "edgewright targets check" in capsys.readouterr().out
    assert main(["inspect", str(openvino_fake_quantized(tmp_path)), "--target", "all"]) == 2
    assert "edgewright targets check" in capsys.readouterr().err


def test_the_name_of_a_file_does_not_matter(network, tmp_path, capsys):
    artifact = onnx_artifact(tmp_path / "small.ewa").read_bytes()
    contents = {
        "float onnx": (network.read_bytes(), "model"),
        "float tflite": (small_tflite(), "model"),
        "tflite": (fully_connected(version=4, per_channel=False), "payload"),
        "onnx": (onnx_conv(zero_point=np.int8(0)), "payload"),
        "artifact": (artifact, None),
    }
    for name, (content, kind) in contents.items():
        path = tmp_path / name
        path.write_bytes(content)
        assert main(["inspect", str(path), "--json"]) == 0, capsys.readouterr().err
        assert json.loads(capsys.readouterr().out).get("kind") == kind


def test_a_float_tflite_file_is_a_model(tmp_path, capsys):
    path = tmp_path / "small.tflite"
    path.write_bytes(small_tflite())
    assert main(["inspect", str(path), "--json", "--target", "cortex-a-tflite"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["kind"], said["producer"]) == ("model", "TFLite schema 3")
    assert [(one["name"], one["shape"]) for one in said["inputs"]] == [("x", [1, 6, 5, 4])]
    assert said["macs"] == 6 * 5 * 3 * 3 * 4 * 3
    assert [one["status"] for one in said["targets"]] == ["integer"]
    data = np.random.default_rng(1).normal(size=(8, 6, 5, 4)).astype(np.float32)
    np.save(tmp_path / "data.npy", data)
    asked = ["--target", "cortex-a-tflite", "--target", "x86_64-onnxruntime", "--no-latency", "--quiet"]
    out = ["--data", str(tmp_path / "data.npy"), "--out", str(tmp_path / "out"), "--min-agreement", "0"]
    assert main(["convert", str(path), *asked, *out, "--method", "minmax", "--no-diagnose", "--cache", str(tmp_path)]) == 0  # fmt: skip
    made = tmp_path / "out" / "small-0.1.0-cortex-a-tflite.ewa"
    (payload,) = ArtifactArchive.open(made).payload().values()
    assert [op.kind for op in read_tflite(payload).graphs[0].operators] == ["CONV_2D", "MEAN"]


def small_tflite() -> bytes:
    model = TfliteModel()
    rng = np.random.default_rng(0)
    x = model.tensor("x", (1, 6, 5, 4), "FLOAT32")
    w = model.tensor("w", (3, 3, 3, 4), "FLOAT32", data=rng.normal(size=(3, 3, 3, 4)).astype(np.float32))
    b = model.tensor("b", (3,), "FLOAT32", data=np.zeros(3, np.float32))
    axes = model.tensor("axes", (2,), "INT32", data=np.asarray([1, 2], np.int32))
    m, y = model.tensor("m", (1, 6, 5, 3), "FLOAT32"), model.tensor("y", (1, 3), "FLOAT32")
    model.operator("CONV_2D", [x, w, b], [m], options=conv(0, activation=1))
    model.operator("MEAN", [m, axes], [y], options=schema.ReducerOptionsT())
    return model.write([x], [y])


def test_an_artifact_is_shown_as_ever(tmp_path, capsys):
    path = onnx_artifact(tmp_path / "small.ewa")
    assert main(["inspect", str(path)]) == 0
    assert "verdict" in capsys.readouterr().out
    assert main(["inspect", str(path), "--json"]) == 0
    digest = json.loads(capsys.readouterr().out)["digest"]
    assert main(["inspect", str(path), "--digest", digest]) == 0
    assert main(["inspect", str(path), "--digest", f"sha256:{'0' * 64}"]) == 5
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    capsys.readouterr()
    assert main(["inspect", str(path)]) == 5
    assert main(["diff", str(path), str(path)]) == 5


@pytest.mark.parametrize(
    ("crop", "sized"),
    [
        (None, "resized to 32x48 (bilinear)"),
        ((30, 40), "resized to cover 32x48, the centre 30x40 cut out (bilinear)"),
    ],
)
def test_an_artifact_says_what_it_does_with_pictures(tmp_path, capsys, crop, sized):
    archive = ArtifactArchive.open(null_artifact(tmp_path / "null.ewa"))
    preprocessing = Preprocessing(
        resize=(32, 48),
        crop=crop,
        resample="bilinear",
        color="BGR",
        layout="NHWC",
        mean=(123.675, 116.28, 0.0),
        std=(58.4, 1.0, 1.0),
    )
    manifest = replace(archive.manifest, preprocessing=preprocessing)
    path = write_ewa(tmp_path / "pictures.ewa", manifest, archive.payload())
    assert main(["inspect", str(path)]) == 0
    said = f"pictures     BGR, {sized}, minus 123.675, 116.28, 0, by 58.4, 1, 1, NHWC\n"
    assert said in capsys.readouterr().out
    assert main(["inspect", str(tmp_path / "null.ewa")]) == 0
    assert "pictures" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["small.onnx", "--digest", "sha256:0"], "--digest is about an artifact"),
        (["small.onnx", "--target", "no-such"], "no-such"),
        (["small.onnx", "--target", "all", "--target", "cortex-a-tflite"], "names every target already"),
        (["small.onnx", "--target", "cortex-a-tflite", "--target", "cortex-a-tflite"], "named twice"),
        (["small.onnx", "--shape", "images"], "expected NAME=1,3,224,224"),
        (["small.onnx", "--shape", "others=1,3,16,16"], "'others', which is no input"),
        (["absent.onnx"], "no such file"),
        (["torn.onnx"], "torn.onnx"),
        (["folder.onnx"], "is a directory"),
        (["small.ewa", "--shape", "x=1"], "--shape is about a float model"),
        (["peer.tflite", "--digest", "sha256:0"], "--digest is about an artifact"),
        (["torn.tflite"], "not a sound .tflite file"),
        (["torn.bin"], "torn.bin is not an ONNX model, or was cut short"),
        (["folder"], "folder is a directory, and no SavedModel"),
        (["absent"], "no such file"),
        (["torn.zip"], "torn.zip"),
    ],
)
def test_wrong_input_is_one_line(arguments, said, network, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    onnx_artifact(tmp_path / "small.ewa")
    (tmp_path / "peer.tflite").write_bytes(fully_connected(version=4, per_channel=False))
    for name in ("torn.onnx", "torn.tflite"):
        (tmp_path / name).write_bytes(network.read_bytes()[:500])
    (tmp_path / "torn.bin").write_bytes(network.read_bytes()[:500])
    (tmp_path / "torn.zip").write_bytes((tmp_path / "small.ewa").read_bytes()[:500])
    for name in ("folder.onnx", "folder"):
        (tmp_path / name).mkdir()
    assert main(["inspect", *arguments]) == 2
    told = capsys.readouterr()
    assert said in told.err
    assert len(told.err.splitlines()) == 1
    assert not told.out


def test_diff_is_0_for_the_same_and_1_for_others(tmp_path, capsys):
    one, other = tmp_path / "one.tflite", tmp_path / "other.tflite"
    one.write_bytes(fully_connected(version=4, per_channel=False))
    other.write_bytes(fully_connected(version=12, per_channel=True))
    assert main(["diff", str(one), str(one)]) == 0
    assert "are the same." in capsys.readouterr().out
    assert main(["diff", str(one), str(one), "--json"]) == 0
    same = json.loads(capsys.readouterr().out)
    assert (same["identical"], same["differs"], same["operators"]) == (True, False, [])
    assert main(["diff", str(one), str(other)]) == 1
    assert "differ." in capsys.readouterr().out
    assert main(["diff", str(one), str(other), "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["differs"]
    (changed,) = said["operators"]
    assert {"what": "version", "a": "4", "b": "12"} in changed["changes"]


def test_diff_of_what_cannot_be_compared(tmp_path, capsys):
    lite = tmp_path / "one.tflite"
    lite.write_bytes(fully_connected(version=4, per_channel=False))
    quantized = tmp_path / "peer.onnx"
    quantized.write_bytes(onnx_conv(zero_point=np.int8(0)))
    torn = tmp_path / "torn.tflite"
    torn.write_bytes(lite.read_bytes()[:100])
    for other, said in (
        (quantized, "nothing in common"),
        (torn, "not a sound .tflite file"),
        (tmp_path / "absent.tflite", "No such file"),
        (tmp_path / "model.pt", "got '.pt'"),
        (null_artifact(tmp_path / "null.ewa"), "expected a payload called"),
    ):
        assert main(["diff", str(lite), str(other)]) == 2, other
        told = capsys.readouterr()
        assert said in told.err
        assert len(told.err.splitlines()) == 1
    with pytest.raises(SystemExit) as ended:
        main(["diff", str(lite), str(lite), "--run", "0"])
    assert ended.value.code == 2
