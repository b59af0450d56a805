"""Precisions that need no calibration, from the command line to an agent that passes its self-test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from device_agent.contract.archive import ArtifactArchive
from tests.e2e.test_convert import environment
from tests.integration.support import AgentProcess, write_config
from tests.unit.host_tools.lower.uncalibrated_networks import constants, network

TARGET = "x86_64-onnxruntime"
NO_BROKER = 1


@pytest.fixture
def model(tmp_path: Path) -> Path:
    numbers = np.random.default_rng(8)
    wide = {name: numbers.standard_normal(one.shape).astype(np.float32) for name, one in constants().items()}
    network(tmp_path, weights=wide)
    return tmp_path / "network.onnx"


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment())


def convert(model: Path, precision: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(
        model.parent, "host_tools", "convert", str(model), "--precision", precision, "--out", "out", "--no-latency", "--threads", "1",
        "--quiet", *arguments,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("target_id", "precision", "versions"),
    [
        ("x86_64-onnxruntime", "weights-int4", {"onnxruntime": "1.18"}),
        ("x86_64-onnxruntime", "weights-int8", {"onnxruntime": "1.22"}),
        ("x86_64-onnxruntime", "int8-dynamic", {"onnxruntime": "1.18"}),
        ("x86_64-onnxruntime", "weights-float16", {"onnxruntime": "1.18"}),
        ("x86_64-onnxruntime", "weights-kmeans4", {"onnxruntime": "1.18"}),
        ("x86_64-openvino", "weights-kmeans8", {"openvino": "2024.4"}),
        ("x86_64-openvino", "weights-int4", {"openvino": "2026.4"}),
        ("x86_64-openvino", "weights-float16", {"openvino": "2024.4"}),
        ("cortex-a-tflite", "weights-float16", {"ai-edge-litert": "2.0", "tensorflow": "2.21"}),
        ("x86_64-openvino", "int8-dynamic", {"openvino": "2026.4"}),
    ],
)
def test_a_model_is_converted_without_data_and_an_agent_runs_it(
    model: Path, target_id: str, precision: str, versions: dict[str, str]
) -> None:
    done = convert(model, precision, "--target", target_id, "--min-agreement", "0.3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not calibrated: the precision needs no data" in done.stdout
    folder = model.parent / "out"
    assert not (folder / "statistics.json").exists()
    report = json.loads((folder / "report.json").read_text())
    (target,) = report["targets"]
    assert "random inputs" in target["agreement"]["sample_origin"]
    assert target["verdict"] in ("pass", "marginal"), target["reasons"]
    assert target["execution"]["unplanned_float_ops"] == []
    # What OpenVINO does at run time only OpenVINO knows: there is nothing to hold it against.
    assert target_id != TARGET or target["parity"]["lost_db"] < 0.5
    archive = ArtifactArchive.open(folder / f"network-0.1.0-{target_id}.ewa")
    assert json.loads(archive.read("plan.json"))["precision"] == precision
    assert json.loads(archive.read("recipe.json"))["precision"] == precision
    assert archive.manifest.requires.engine_min_versions == versions
    np.savez(
        model.parent / "frames.npz",
        ids=np.random.default_rng(1).integers(0, 50, (4, 1, 6)),
        more=np.random.default_rng(2).standard_normal((4, 1, 6, 40)).astype(np.float32),
    )
    config = write_config(
        model.parent,
        NO_BROKER,
        folder / f"network-0.1.0-{target_id}.ewa",
        device={"targets": [target_id]},
        source={"kind": "replay", "path": "frames.npz", "rate_hz": 0.0},
        results={"jsonl": "results.jsonl", "max_rate_hz": 0.0},
    )
    with AgentProcess(config) as agent:
        assert agent.wait() == 0, "the self-test holds this engine's outputs against those of the host"
    assert len((model.parent / "results.jsonl").read_text().splitlines()) == 4


def test_channels_are_scaled_and_matrices_rounded_by_what_they_give_on_data(model: Path) -> None:
    for name, seed, count in (("data", 1, 40), ("eval", 2, 200)):  # on 40 chance decides about half a decibel
        numbers = np.random.default_rng(seed)
        more = numbers.standard_normal((count, 1, 6, 40)) * np.geomspace(3.0, 0.1, 40)
        np.savez(
            model.parent / f"{name}.npz",
            ids=numbers.integers(0, 50, (count, 1, 6)),
            more=more.astype(np.float32),
        )
    chosen = (
        "--target",
        TARGET,
        "--data",
        "data.npz",
        "--eval",
        "eval.npz",
        "--min-agreement",
        "0",
        "--json",
    )
    reports = {}
    for scaling, rounding in (("none", "nearest"), ("awq", "nearest"), ("awq", "gptq")):
        done = convert(model, "weights-int4", *chosen, "--rounding", rounding, "--scaling", scaling)
        assert done.returncode == 0, done.stdout + done.stderr
        reports[scaling, rounding] = json.loads(done.stdout)
    counts = [report["calibration_samples"] for report in reports.values()]
    assert counts == [0, 40, 40]
    (nearest,), (scaled,), (rounded,) = (report["targets"] for report in reports.values())
    assert rounded["agreement"]["sqnr_db"] > nearest["agreement"]["sqnr_db"]
    assert "(AWQ)" in scaled["stages"][0]["note"]
    archive = ArtifactArchive.open(model.parent / "out" / f"network-0.1.0-{TARGET}.ewa")
    plan = json.loads(archive.read("plan.json"))
    assert "on 40 calibration samples (GPTQ)" in plan["method_reason"]
    assert archive.manifest.data_digest == plan["data_digest"]
    recipe = json.loads(archive.read("recipe.json"))
    assert (recipe["rounding"], recipe["scaling"], recipe["schema_version"]) == ("gptq", "awq", "1.6")


@pytest.mark.parametrize("target_id", ["x86_64-onnxruntime-avx2", "x86_64-openvino-avx2", "cortex-a-tflite"])
def test_integers_in_a_file_whose_floats_have_16_bits(model: Path, target_id: str) -> None:
    numbers = np.random.default_rng(1)
    np.savez(
        model.parent / "data.npz",
        ids=numbers.integers(0, 50, (20, 1, 6)),
        more=numbers.standard_normal((20, 1, 6, 40)).astype(np.float32),
    )
    (model.parent / "recipe.toml").write_text(
        'float_weights = "float16"\n[keep_float]\nops = ["Add", "Gemm"]\n'
    )
    chosen = ("--target", target_id, "--data", "data.npz", "--min-agreement", "0")
    done = convert(model, "int8", *chosen, "--recipe", "recipe.toml", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    (target,) = json.loads(done.stdout)["targets"]
    assert target["verdict"] in ("pass", "marginal"), target["reasons"]
    assert target["execution"]["unplanned_float_ops"] == []
    assert target["execution"]["integer_ops"] > 0
    path = model.parent / "out" / f"network-0.1.0-{target_id}.ewa"
    archive = ArtifactArchive.open(path)
    plan = json.loads(archive.read("plan.json"))
    assert {one["name"] for one in plan["tensors"] if one.get("float_type") == "float16"} == {"head", "table"}
    assert json.loads(archive.read("recipe.json"))["schema_version"] == "1.5"
    checked = run(model.parent, "host_tools", "targets", "check", str(path), "--target", target_id)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "float16-weights" not in checked.stdout


def test_data_are_needed_where_something_is_calibrated(model: Path) -> None:
    done = convert(model, "int8", "--target", TARGET)
    assert done.returncode == 2
    assert "--data: precision int8 needs calibration data, got none." in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("int8-dynamic:32", "--target", TARGET), 2, "int8-dynamic has no groups"),
        (
            ("weights-int4:none", "--target", TARGET),
            2,
            "expected channel, or a whole number of weights up to 65536",
        ),
        (
            ("weights-int3", "--target", TARGET),
            2,
            "expected one of int8, int8-dynamic, weights-int8, weights-int4, weights-kmeans8, weights-kmeans4, weights-float16",
        ),
        (("weights-int4:48", "--target", TARGET), 3, "has groups of 16, 32, 64, 128, 256 weights, got 48"),
        (("weights-int4", "--target", "ethos-u55"), 3, "has no kernels for weights-int4"),
        (("weights-float16", "--target", "ethos-u55"), 3, "has no kernels for weights-float16"),
        (
            ("weights-kmeans4", "--target", "cortex-a-tflite"),
            3,
            "LiteRT looks nothing up by indices of 8 bits",
        ),
        (("weights-kmeans4:32", "--target", TARGET), 2, "weights-kmeans4 has no groups"),
        (
            ("weights-kmeans4", "--target", TARGET, "--rounding", "gptq", "--data", "x"),
            2,
            "rounding: gptq is for",
        ),
        (("weights-float16:32", "--target", TARGET), 2, "weights-float16 has no groups"),
        (("weights-int8", "--target", TARGET, "--float-weights", "float64"), 2, "invalid choice: 'float64'"),
        (("weights-int4", "--target", TARGET, "--method", "mse"), 2, "method: for precision int8 only"),
        (("weights-int4", "--target", TARGET, "--limit", "3"), 2, "--limit needs --data"),
        (
            ("weights-int4", "--target", TARGET, "--rounding", "gptq"),
            2,
            "--rounding gptq needs calibration data, got none.",
        ),
        (
            ("weights-int4", "--target", TARGET, "--scaling", "awq"),
            2,
            "--scaling awq needs calibration data, got none.",
        ),
        (
            ("int8-dynamic", "--target", TARGET, "--scaling", "awq"),
            2,
            "scaling: awq is for weights-int8 and weights-int4",
        ),
        (
            ("int8", "--target", TARGET, "--rounding", "gptq"),
            2,
            "rounding: gptq is for weights-int8 and weights-int4",
        ),
    ],
)
def test_what_cannot_be_had_is_refused_in_a_sentence(
    model: Path, arguments: tuple[str, ...], status: int, message: str
) -> None:
    done = convert(model, *arguments)
    assert (done.returncode, "Traceback" in done.stderr) == (status, False), done.stderr
    assert message in done.stderr
