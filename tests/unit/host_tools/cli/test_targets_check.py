"""`edgewright targets check`: its table, its JSON, its exit status, and files that cannot be read."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import numpy as np
import pytest

from host_tools.cli.main import main
from tests.integration.support import TARGET, null_artifact, onnx_artifact
from tests.unit.host_tools.lint.peers import TfliteModel, fully_connected, onnx_conv, openvino_fake_quantized

if TYPE_CHECKING:
    from pathlib import Path


def check(path: Path, target: str, *options: str) -> int:
    return main(["targets", "check", str(path), "--target", target, *options])


@pytest.fixture
def per_channel(tmp_path: Path) -> Path:
    path = tmp_path / "peer.tflite"
    path.write_bytes(fully_connected(version=12, per_channel=True))
    return path


def test_a_clean_file(per_channel: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(per_channel, "cortex-a-tflite") == 0
    said = capsys.readouterr().out
    assert said == f"{per_channel} for cortex-a-tflite: clean. 1 operator: 1 int8.\n"


def test_a_table_with_facts_and_sources(per_channel: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(per_channel, "nxp-neutron") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("for nxp-neutron: 1 error. 1 operator: 1 int8.")
    assert lines[2].split() == ["severity", "rule", "where", "got", "allowed", "fact"]
    assert lines[3].split("  ")[0] == "error"
    assert "weight-granularity" in lines[3]
    assert lines[3].endswith("[1]")
    assert lines[5].startswith("[1] weights.per_channel_ops = []")
    assert "neutron_quantizer.py" in lines[6]


def test_json(per_channel: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(per_channel, "cortex-a-tflite-legacy", "--json") == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["errors"], said["warnings"], said["operators"]) == (1, 0, {"int8": 1})
    (finding,) = said["findings"]
    assert finding["rule"] == "operator-version"
    assert finding["where"] == "FULLY_CONNECTED 'y'"
    assert (finding["got"], finding["allowed"]) == ("version 12", "at most version 10")
    assert finding["fact"] == "artifact.max_op_versions"
    assert json.loads(finding["value"])["FULLY_CONNECTED"] == 10
    assert "tflite-runtime 2.14.0" in finding["source"]


def test_warnings_count_when_asked_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = TfliteModel()
    x, z, y = (model.tensor(name, (1, 16), "FLOAT32") for name in "xzy")
    model.operator("DIV", [x, z], [y])
    path = tmp_path / "float.tflite"
    path.write_bytes(model.write([], []))
    assert check(path, "cortex-a-tflite") == 0
    assert check(path, "cortex-a-tflite", "--strict") == 1
    assert "1 warning" in capsys.readouterr().out


def test_every_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx_file = tmp_path / "peer.ONNX"
    onnx_file.write_bytes(onnx_conv(zero_point=np.int8(0)))
    assert check(onnx_file, "aarch64-onnxruntime") == 0
    assert check(openvino_fake_quantized(tmp_path), "x86_64-openvino") == 0
    assert check(onnx_artifact(tmp_path / "small.ewa"), "aarch64-onnxruntime") == 0
    assert f"an artifact for {TARGET}" in capsys.readouterr().out


def test_what_cannot_be_read_is_told_in_one_line(
    per_channel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = tmp_path / "half.tflite"
    half.write_bytes(per_channel.read_bytes()[:200])
    renamed = tmp_path / "renamed.onnx"
    renamed.write_bytes(per_channel.read_bytes())
    empty = null_artifact(tmp_path / "null.ewa")
    torn = tmp_path / "torn.ewa"
    torn.write_bytes(onnx_artifact(tmp_path / "small.ewa").read_bytes()[:300])
    alone = tmp_path / "alone.xml"
    alone.write_bytes(b"<net version='11'/>")
    folder = tmp_path / "folder.tflite"
    folder.mkdir()
    pipe = tmp_path / "pipe.tflite"
    os.mkfifo(pipe)
    for path, message in (
        (tmp_path / "absent.tflite", "No such file"),
        (tmp_path / "absent.ewa", "No such file"),
        (tmp_path / "model.pt", "expected a file called *.ewa, *.tflite, *.onnx, *.xml, got '.pt'"),
        (tmp_path / "nothing", "no ending"),
        (half, "not a sound .tflite file"),
        (renamed, "not a sound .onnx file"),
        (torn, "torn.ewa"),
        (empty, "null.json: expected a payload called *.tflite"),
        (alone, "alone.bin: No such file"),
        (folder, "expected a file"),
        (pipe, "expected a file"),
    ):
        assert check(path, "cortex-a-tflite") == 2, path
        said = capsys.readouterr()
        assert message in said.err
        assert len(said.err.splitlines()) == 1
        assert not said.out


def test_a_changed_artifact_must_not_be_trusted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = onnx_artifact(tmp_path / "small.ewa")
    data = bytearray(path.read_bytes())
    data[data.index(b"QuantizeLinear")] ^= 1
    path.write_bytes(bytes(data))
    assert check(path, TARGET) == 5
    assert "model.onnx" in capsys.readouterr().err


def test_an_unknown_target(per_channel: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(per_channel, "no-such", "--json") == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "target"


def test_names_in_a_file_do_not_steer_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = TfliteModel()
    x, y = model.tensor("x", (1, 4), scale=[0.1]), model.tensor("\x1b[2Jy" + "y" * 200, (1, 4), scale=[0.1])
    model.operator("TANH", [x], [y], version=2)
    path = tmp_path / "names.tflite"
    path.write_bytes(model.write([x], [y]))
    assert check(path, "cortex-a-tflite") == 1
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert max(map(len, said.splitlines()[:4])) < 250
