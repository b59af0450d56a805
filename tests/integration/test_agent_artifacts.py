"""What the agent runs, and what it refuses to run: real artifacts, a real engine, frames over a real broker."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest

from device_agent.contract.archive import ArtifactArchive
from device_agent.contract.digest import digest_of_file
from device_agent.engines.processor import usable_processors
from device_agent.startup import load_payload
from tests.integration.support import (
    AgentProcess,
    Mosquitto,
    command,
    npy,
    null_artifact,
    onnx_artifact,
    publish,
    wait_until,
    write_config,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.support import Reader

FRAMES = "ew/v1/device/dev-1///i/frame"
NO_BROKER = 1


def spooled_events(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the events that wait in the spool of an agent that is gone, by name."""
    with contextlib.closing(sqlite3.connect(folder / "spool" / "spool.db")) as spool:
        rows = spool.execute("SELECT topic, payload FROM message WHERE topic LIKE '%/e/%'").fetchall()
    return {topic.rsplit("/", 1)[-1]: json.loads(payload)["data"] for topic, payload in rows}


def test_an_onnx_artifact_is_tested_and_run_on_frames_from_the_broker_and_survives_bad_ones(
    tmp_path: Path, listen: Callable[..., Reader], mosquitto: Mosquitto
) -> None:
    mosquitto.start()
    reader = listen(mosquitto.port)
    artifact = onnx_artifact(tmp_path / "a.ewa")
    config = write_config(
        tmp_path,
        mosquitto.port,
        artifact,
        device={"targets": ["x86_64-onnxruntime"]},
        source={"kind": "mqtt", "rate_hz": 0.0, "max_frame_bytes": 4096},
        results={"mqtt": True, "jsonl": "results.jsonl", "max_rate_hz": 0.0},
    )
    good = npy(np.linspace(-1, 1, 8, dtype=np.float32).reshape(1, 8))
    with AgentProcess(config) as agent:
        reader.wait_for("/status/health", lambda line: line.body["status"] == "up")
        for frame in (b"", b"\x93NUMPY garbage", b"\xff" * 9000, npy(np.zeros((3, 3))), good[:-4], good):
            publish(mosquitto.port, FRAMES, frame)
        result = reader.wait_for("/o/inference").body
        refused = reader.wait_for("/e/frames_refused").body
        mosquitto.stop()
        mosquitto.start()
        reader.wait_for("/e/reconnected")
        publish(mosquitto.port, FRAMES, good)
        wait_until(
            lambda: len(reader.about("/o/inference")) >= 2, what="subscribed again after the broker's return"
        )
        assert agent.stop() == 0
    reader.close()
    assert result["outputs"][0]["form"] == "raw"
    assert len(result["outputs"][0]["values"]) == 4
    assert 0 < result["latency_seconds"] < 1
    assert refused["severity"] == "warning"
    passed = reader.about("/e/self_test_passed")[0].body
    assert passed["details"]["largest_lsb"] == 0
    assert passed["artifact"] == digest_of_file(artifact)
    last = reader.about("/m/inference")[-1].body
    assert (last["inferences_total"], last["dropped_frames_total"]) == (2, 5)
    lines = (tmp_path / "results.jsonl").read_text().splitlines()
    assert [json.loads(line)["outputs"] for line in lines] == [result["outputs"]] * 2


def test_a_replayed_file_gives_every_result_and_ends_well(tmp_path: Path) -> None:
    np.savez(tmp_path / "frames.npz", x=np.random.default_rng(1).normal(0, 1, (20, 1, 8)).astype(np.float32))
    config = write_config(
        tmp_path,
        NO_BROKER,
        onnx_artifact(tmp_path / "a.ewa"),
        source={"kind": "replay", "path": "frames.npz", "rate_hz": 0.0},
        results={"jsonl": "out/results.jsonl", "max_rate_hz": 0.0},
    )
    with AgentProcess(config) as agent:
        assert agent.wait() == 0
    lines = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines] == [str(number) for number in range(20)]


def other_target(folder: Path) -> dict[str, dict[str, Any]]:
    null_artifact(folder / "a.ewa", target="cortex-a-tflite")
    return {"device": {"targets": ["x86_64-onnxruntime"]}}


def other_digest(folder: Path) -> dict[str, dict[str, Any]]:
    null_artifact(folder / "a.ewa")
    return {"artifact": {"digest": "sha256:" + "1" * 64}}


def one_bit_of_the_payload(folder: Path) -> dict[str, dict[str, Any]]:
    data = bytearray(null_artifact(folder / "a.ewa").read_bytes())
    data[data.index(b"latency_seconds", data.index(b"payload/null.json" + b"{"))] ^= 1
    (folder / "a.ewa").write_bytes(data)
    return {}


def one_bit_of_the_file_with_a_digest(folder: Path) -> dict[str, dict[str, Any]]:
    path = null_artifact(folder / "a.ewa")
    digest = digest_of_file(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    return {"artifact": {"digest": digest}}


def cut(folder: Path) -> dict[str, dict[str, Any]]:
    path = null_artifact(folder / "a.ewa")
    path.write_bytes(path.read_bytes()[:-30])
    return {}


def not_an_archive(folder: Path) -> dict[str, dict[str, Any]]:
    (folder / "a.ewa").write_bytes(b"hello, world" * 100)
    return {}


def missing(folder: Path) -> dict[str, dict[str, Any]]:
    del folder
    return {}


def other_engine(folder: Path) -> dict[str, dict[str, Any]]:
    null_artifact(folder / "a.ewa")
    return {"engine": {"name": "tflite"}}


def other_processor(folder: Path) -> dict[str, dict[str, Any]]:
    null_artifact(folder / "a.ewa", processor_features=("sse9", "avx9_vnni"))
    return {}


def later_manifest(folder: Path) -> dict[str, dict[str, Any]]:
    null_artifact(folder / "a.ewa", manifest_features=("text", "video", "lidar"))
    return {}


def wrong_golden(folder: Path) -> dict[str, dict[str, Any]]:
    onnx_artifact(folder / "a.ewa", change=lambda output: output + np.float32(0.4))
    return {}


def nan_in_the_golden_output(folder: Path) -> dict[str, dict[str, Any]]:
    onnx_artifact(folder / "a.ewa", change=lambda output: output * np.float32(np.nan))
    return {}


def nan_from_the_engine(folder: Path) -> dict[str, dict[str, Any]]:
    onnx_artifact(folder / "a.ewa", broken=True)
    return {}


def other_name_of_the_input(folder: Path) -> dict[str, dict[str, Any]]:
    onnx_artifact(folder / "a.ewa", input_name="nope")
    return {}


def one_bit_of_a_golden_sample(folder: Path) -> dict[str, dict[str, Any]]:
    data = bytearray(onnx_artifact(folder / "a.ewa").read_bytes())
    data[data.index(b"\x93NUMPY") + 130] ^= 1
    (folder / "a.ewa").write_bytes(data)
    return {}


def cut_by_one_byte(folder: Path) -> dict[str, dict[str, Any]]:
    path = null_artifact(folder / "a.ewa")
    path.write_bytes(path.read_bytes()[:-1])
    return {}


def no_frames(folder: Path) -> dict[str, dict[str, Any]]:
    onnx_artifact(folder / "a.ewa")
    (folder / "empty").mkdir()
    return {"source": {"kind": "directory", "path": "empty"}}


@pytest.mark.parametrize(
    ("make", "status", "code", "says"),
    [
        (other_target, 5, "incompatible", "is for target 'cortex-a-tflite'"),
        (later_manifest, 5, "incompatible", "declares lidar, video, which this agent"),
        (other_digest, 5, "digest_mismatch", "expected sha256:1111"),
        (one_bit_of_the_payload, 5, "digest_mismatch", "payload/null.json"),
        (one_bit_of_the_file_with_a_digest, 5, "digest_mismatch", "expected sha256:"),
        (one_bit_of_a_golden_sample, 5, "digest_mismatch", "golden/0/input_0.npy"),
        (other_name_of_the_input, 5, "contract", "the payload's inputs are x; the manifest says nope"),
        (cut, 5, "archive", "a.ewa"),
        (cut_by_one_byte, 5, "archive", "the archive is cut"),
        (not_an_archive, 5, "archive", "not an .ewa archive"),
        (missing, 7, "storage", "cannot be read"),
        (other_engine, 5, "incompatible", "engine.name is 'tflite'"),
        (other_processor, 5, "incompatible", "needs a processor with sse9 or avx9_vnni; this one has "),
        (wrong_golden, 4, "self_test", "up to 8 codes away"),
        (nan_in_the_golden_output, 4, "self_test", "away"),
        (nan_from_the_engine, 4, "self_test_nonfinite", "4 of 4 values are NaN"),
        (no_frames, 7, "device", "no picture"),
    ],
)
def test_refusals_say_why_by_status_message_and_event(
    tmp_path: Path, make: Callable[[Path], dict[str, dict[str, Any]]], status: int, code: str, says: str
) -> None:
    tables = make(tmp_path)
    config = write_config(tmp_path, NO_BROKER, tmp_path / "a.ewa", **tables)
    with AgentProcess(config) as agent:
        assert agent.wait() == status, agent.log
    last = agent.log.strip().splitlines()[-1]
    assert last.startswith("edgewright-agent: ")
    assert says in last
    assert "Traceback" not in agent.log
    if code in ("archive", "digest_mismatch"):
        assert "is whole" not in agent.log
    checked = command("check", "--config", str(config))
    assert checked.returncode == status
    assert checked.stderr.strip() == last
    event = spooled_events(tmp_path)["agent_failed"]
    assert event["details"]["code"] == code
    assert says in event["text"]


def test_no_more_threads_are_started_than_there_are_processors(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    archive = ArtifactArchive.open(onnx_artifact(tmp_path / "a.ewa"))
    before = psutil.Process().num_threads()
    engine, _ = load_payload(archive, threads=256)
    started = psutil.Process().num_threads() - before
    engine.close()
    assert started <= usable_processors()
    assert (
        f"engine.threads is 256, but this process may run on {usable_processors()} processor" in caplog.text
    )
