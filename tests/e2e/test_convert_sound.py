"""Sound from end to end: WAV files calibrate, the artifact says what becomes of them, and the agent hears the same."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from device_agent.contract.archive import ArtifactArchive, member_of, write_archive
from device_agent.sources.adapt import to_payload, to_source
from device_agent.sources.directory import DirectorySource
from device_agent.sources.sound.prepare import load_sound
from device_agent.startup import load_payload, run_self_test
from host_tools.cli.main import main
from tests.integration.support import AgentProcess, command, write_config
from tests.unit.device_agent.sources.recordings import tone, wav16

TARGETS = ("x86_64-onnxruntime", "cortex-a-tflite")
NO_BROKER = 1
DECLARED = """
[sound]
sample_rate = 8000
duration = 0.5
layout = ["batch", "channel", "time", "feature"]
[sound.spectrum]
window = "hann"
frame_length = 200
hop = 80
fft_size = 256
frames = 46
[sound.mel]
bands = 20
scale = "slaney"
norm = "slaney"
[sound.logarithm]
kind = "decibel"
floor = 1e-10
top = 80
[sound.mfcc]
coefficients = 12
[sound.normalization]
mean = [-20]
std = [30]
"""


def write_listener(path, shape=(1, 1, 46, 12)):
    """Write sound → conv/relu → pool → scores [1,4]."""
    rng = np.random.default_rng(4)
    constants = {
        "w0": rng.normal(0.0, 0.3, (8, shape[1], 3, 3)),
        "b0": rng.normal(0.0, 0.1, 8),
        "w1": rng.normal(0.0, 0.5, (4, 8)),
        "b1": rng.normal(0.0, 0.1, 4),
    }
    nodes = [
        helper.make_node("Conv", ["sound", "w0", "b0"], ["c"], strides=[2, 1], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "w1", "b1"], ["scores"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "listener",
        [helper.make_tensor_value_info("sound", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 4])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """A folder with recordings, and an artifact of each target below out/."""
    folder = tmp_path_factory.mktemp("sound")
    write_listener(folder / "listener.onnx")
    for part, first in (("calibration", 0), ("field", 100)):
        (folder / part).mkdir()
        for seed in range(first, first + 12):
            count = 3_000 if seed % 3 else 5_000  # shorter ones and longer ones than half a second
            (folder / part / f"{seed}.wav").write_bytes(wav16(tone(count, seed=seed, rate=8_000), rate=8_000))
    (folder / "preprocess.toml").write_text(DECLARED)
    command = ["convert", str(folder / "listener.onnx"), "--data", str(folder / "calibration")]
    command += [argument for target in TARGETS for argument in ("--target", target)]
    command += [
        "--out",
        str(folder / "out"),
        "--cache",
        str(folder / "cache"),
        "--no-latency",
        "--threads",
        "1",
    ]
    status = main([*command, "--min-agreement", "0.5"])
    assert status == 0
    return folder


def artifact(folder, target):
    return folder / "out" / f"listener-0.1.0-{target}.ewa"


@pytest.mark.parametrize("target", TARGETS)
def test_the_device_feeds_what_the_host_would(converted, target):
    archive = ArtifactArchive.open(artifact(converted, target))
    manifest = archive.manifest
    assert manifest.schema_version == "1.5"
    assert manifest.preprocessing is None
    assert manifest.sound.shape == (1, 1, 46, 12)
    engine, _ = load_payload(archive, threads=1)
    try:
        assert run_self_test(archive, engine).samples > 0
        source = DirectorySource(converted / "field", manifest.inputs, manifest.sound, loop=False)
        for path in sorted((converted / "field").iterdir()):
            frame = source.next(0.0)
            assert frame.id == path.name
            real = load_sound(path, replace(manifest.sound, proof=None))
            expected = to_payload({"sound": real}, manifest.inputs)
            assert frame.inputs[0].tobytes() == expected[0].tobytes()
            scores = to_source(engine.infer(frame.inputs), manifest.outputs)["scores"]
            assert np.isfinite(scores).all()
    finally:
        engine.close()


def test_inspect_says_what_becomes_of_recordings(converted, capsys):
    assert main(["inspect", str(artifact(converted, TARGETS[0]))]) == 0
    said = (
        "recordings   8000 Hz, one channel, 4000 samples of full scale 1, 46 frames of 200 every 80, hann (periodic), power of FFT 256, "
        "20 mel bands (slaney, flanks over hertz, of equal area) from 0 to 4000 Hz, dB of at least 1e-10, at most 80 below the largest, "
        "12 coefficients, minus -20, by 30, batch x channel x time x feature\n"
    )
    assert said in capsys.readouterr().out


def test_the_agent_runs_over_a_folder_of_recordings_and_tells_which_it_cannot_take(converted, tmp_path):
    field = tmp_path / "field"
    field.mkdir()
    for path in sorted((converted / "field").iterdir())[:3]:
        (field / path.name).write_bytes(path.read_bytes())
    (field / "0.wav").write_bytes(wav16(tone(100), rate=44_100))
    config = write_config(
        tmp_path,
        NO_BROKER,
        artifact(converted, TARGETS[0]),
        source={"kind": "directory", "path": str(field), "rate_hz": 0.0},
        results={"jsonl": "results.jsonl", "max_rate_hz": 0.0},
    )
    done = command("check", "--config", str(config))
    assert "golden samples: within" in done.stdout
    with AgentProcess(config) as agent:
        assert agent.wait() == 0
        log = agent.log
    assert "recorded at 44100 Hz; the model takes 8000 Hz" in log
    results = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert len(results) == 3


def test_an_artifact_whose_host_heard_something_else_is_refused(converted, tmp_path):
    """As of a host whose arithmetic is another: its model was calibrated on inputs that this device does not make."""
    archive = ArtifactArchive.open(artifact(converted, TARGETS[0]))
    manifest = archive.manifest
    names = [member.name for member in (*manifest.payload, *manifest.members)]
    members = {name: archive.read(name) for name in names}
    expected = bytearray(members[manifest.sound.proof.expected])
    expected[-4] ^= 1  # the last bit of the last float
    members[manifest.sound.proof.expected] = bytes(expected)
    described = tuple(member_of(member.name, members[member.name]) for member in manifest.members)
    with (tmp_path / "other.ewa").open("wb") as stream:
        write_archive(stream, replace(manifest, members=described), members)
    config = write_config(tmp_path, NO_BROKER, tmp_path / "other.ewa")
    with AgentProcess(config) as agent:
        assert agent.wait() == 4
        assert "1 of 552 values differ from the host's" in agent.log


def refusal(folder, capsys, *arguments):
    command = [
        "convert",
        str(folder / "listener.onnx"),
        "--target",
        TARGETS[0],
        "--out",
        str(folder / "other"),
    ]
    assert main([*command, "--no-latency", "--cache", str(folder / "cache"), *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_a_declaration_of_another_shape_is_refused_before_anything_is_read(converted, tmp_path, capsys):
    other = tmp_path / "other.toml"
    other.write_text(DECLARED.replace("coefficients = 12", "coefficients = 13"))
    line = refusal(converted, capsys, "--data", str(converted / "calibration"), "--preprocess", str(other))
    assert "[sound] gives one input of shape [1, 1, 46, 13] (batch, channel, time, feature)" in line
    assert "the model has 'sound' [1, 1, 46, 12]" in line


def test_sound_is_not_folded_into_the_model(converted, capsys):
    line = refusal(converted, capsys, "--data", str(converted / "calibration"), "--fold-preprocessing")
    assert "--fold-preprocessing: preprocess.toml declares sound" in line


def test_a_declaration_of_sound_for_pictures_is_refused(converted, tmp_path, capsys):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(b"")
    line = refusal(
        converted,
        capsys,
        "--data",
        str(tmp_path / "pictures"),
        "--preprocess",
        str(converted / "preprocess.toml"),
    )
    assert "holds pictures, but its preprocess.toml has no table [preprocess]" in line
