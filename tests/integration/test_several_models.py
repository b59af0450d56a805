"""Several models on one agent, and an A/B split of the frames of one: real engines, a real broker, counted to the frame."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from device_agent.contract.commands import CommandRequest, encode_request
from device_agent.contract.digest import digest_of_file
from device_agent.contract.telemetry.codec import decode
from device_agent.contract.telemetry.states import Birth, CommandState
from device_agent.split import Assignment
from host_tools.review.history import History
from host_tools.review.listener import Delivery
from tests.integration.support import (
    TELL_THE_END,
    AgentProcess,
    command,
    float_tensor,
    manifest_of,
    npy,
    null_artifact,
    onnx_artifact,
    publish,
    wait_until,
    write_config,
    write_ewa,
)
from tests.integration.update_repository import Fleet
from tests.unit.device_agent.engines import payloads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.integration.support import Mosquitto, Reader

HEALTH = "/status/health"


def tflite_artifact(path: Path) -> Path:
    """An artifact for LiteRT: int8 ``x`` [1, 4] to its Relu."""
    files = payloads.tflite_int8()
    payload = {f"payload/{name}": data for name, data in files.items()}
    tensors = [replace(float_tensor(name, (1, 4)), dtype="int8") for name in ("x", "y")]
    manifest = manifest_of(payload, engine="null", inputs=tensors[:1], outputs=tensors[1:], form="tflite")
    requires = replace(manifest.requires, engine="tflite", engine_min_versions={"ai-edge-litert": "1.0"})
    return write_ewa(path, replace(manifest, name="gate", requires=requires), payload)


def fussy_artifact(path: Path) -> Path:
    """An artifact for ONNX Runtime that fails for every frame whose first value is no index from 0 to 3."""
    nodes = [
        helper.make_node("Cast", ["x"], ["i"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "i"], ["y"], axis=0),
    ]
    graph = helper.make_graph(
        nodes,
        "fussy",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8])],
        [onnx.numpy_helper.from_array(np.arange(4, dtype=np.float32), "table")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    payload = {"payload/model.onnx": bytes(model.SerializeToString())}
    ends = [float_tensor("x", (1, 8)), float_tensor("y", (1, 8))]
    manifest = manifest_of(payload, engine="onnx", inputs=ends[:1], outputs=ends[1:], form="onnx_qdq")
    return write_ewa(path, replace(manifest, name="fussy"), payload)


def frames(path: Path, count: int, *, width: int = 8, dtype: str = "float32") -> Path:
    aside = path.with_name(f"new-{path.name}")  # an agent that looks meanwhile finds no half of it
    np.savez(aside, x=np.random.default_rng(1).integers(0, 3, (count, 1, width)).astype(dtype))
    return aside.replace(path)


def config_of(
    folder: Path, port: int, main: Path, *, tables: dict[str, Any], models: Sequence[dict[str, Any]] = ()
) -> Path:
    """Write a configuration with ``[[model]]`` tables."""
    path = write_config(folder, port, main, **tables)
    text = path.read_text()
    for model in models:
        text += f"[[model]]\nname = {json.dumps(model['name'])}\n"
        for name, table in model.items():
            if name != "name":
                lines = [f"{key} = {json.dumps(value)}" for key, value in table.items()]
                text += "\n".join([f"[model.{name}]", *lines, ""])
    path.write_text(text)
    return path


def windows(reader: Reader) -> dict[tuple[str | None, str | None], list[dict[str, Any]]]:
    """Return the windows of each model and side, each number once, in their order."""
    found: dict[tuple[str | None, str | None], dict[int, dict[str, Any]]] = {}
    for line in reader.about("/m/inference"):
        body = line.body
        found.setdefault((body.get("model"), body.get("variant")), {})[body["seq"]] = body
    return {whose: [bodies[seq] for seq in sorted(bodies)] for whose, bodies in found.items()}


def counted(bodies: Sequence[dict[str, Any]]) -> int:
    """Return the inferences of windows that add up to their totals."""
    total: int = sum(body["latency_count"] for body in bodies)
    assert total == bodies[-1]["inferences_total"]
    assert total == sum(sum(body["hist"]["counts"].values()) for body in bodies)
    return total


def events(reader: Reader, name: str) -> list[dict[str, Any]]:
    return [line.body["details"] for line in reader.about(f"/e/{name}")]


def order(reader: Reader, port: int, operation: str, command_id: str, **arguments: str) -> CommandState:
    """Give a command and return its end."""
    request = encode_request(CommandRequest(time=time.time(), arguments=arguments), operation)  # type: ignore[arg-type]
    topic = f"ew/v1/device/dev-1///cmd/{operation}/{command_id}"
    publish(port, topic, request)
    ending = f"/cmd/{operation}/{command_id}"
    line = reader.wait_for(ending, lambda line: line.body["status"] in ("successful", "failed"))
    return decode(CommandState, line.payload, where=ending)


def test_two_engines_and_a_split_are_reported_apart_to_the_frame(
    tmp_path: Path, listen: Callable[..., Reader], mosquitto: Mosquitto
) -> None:
    mosquitto.start()
    reader = listen(mosquitto.port)
    main, b = onnx_artifact(tmp_path / "a.ewa"), onnx_artifact(tmp_path / "b.ewa", golden=False)
    gate = tflite_artifact(tmp_path / "gate.ewa")
    frames(tmp_path / "main.npz", 200)
    frames(tmp_path / "gate.npz", 120, width=4, dtype="int8")
    all_results = {"mqtt": True, "max_rate_hz": 0.0, "queue_results": 1000}
    config = config_of(
        tmp_path,
        mosquitto.port,
        main,
        tables={
            "source": {"kind": "replay", "path": "main.npz", "rate_hz": 0.0},
            "results": all_results,
            "split": {"path": "b.ewa", "ratio": 0.3, "seed": "spring"},
        },
        models=[
            {
                "name": "gate",
                "artifact": {"path": str(gate), "digest": digest_of_file(gate)},
                "source": {"kind": "replay", "path": "gate.npz", "rate_hz": 200.0},
                "results": all_results,
            }
        ],
    )
    with AgentProcess(config) as agent:
        assert agent.wait() == 0, agent.log
    goodbye = reader.wait_for(HEALTH, lambda line: line.body["status"] == "down").body["reason"]
    reader.close()
    assert "no model has any more frames" in goodbye

    assignment = Assignment(ratio=0.3, seed="spring")
    side = {str(number): assignment.variant_of(str(number)) for number in range(200)}
    share = Counter(side.values())
    assert 30 <= share["b"] <= 90
    found = windows(reader)
    assert set(found) == {("main", "a"), ("main", "b"), ("gate", None)}
    assert {whose: counted(bodies) for whose, bodies in found.items()} == {
        ("main", "a"): share["a"],
        ("main", "b"): share["b"],
        ("gate", None): 120,
    }
    digests: dict[tuple[str | None, str | None], Path] = {
        ("main", "a"): main,
        ("main", "b"): b,
        ("gate", None): gate,
    }
    for whose, bodies in found.items():
        assert {body["artifact"] for body in bodies} == {digest_of_file(digests[whose])}

    results = [line.body for line in reader.about("/o/inference")]
    of_main = {one["frame"]: one for one in results if one["model"] == "main"}
    assert {frame: one["variant"] for frame, one in of_main.items()} == side
    assert all(one["artifact"] == digest_of_file(digests["main", one["variant"]]) for one in of_main.values())
    assert len([one for one in results if one["model"] == "gate"]) == 120
    assert all("variant" not in one for one in results if one["model"] == "gate")

    births = [decode(Birth, line.payload, where="birth") for line in reader.about("/status/birth")]
    told = {(one.model, one.variant): (one.model_name, one.engine, one.artifact) for one in births[-1].models}
    assert told == {
        ("main", "a"): ("small", "onnx", digest_of_file(main)),
        ("main", "b"): ("small", "onnx", digest_of_file(b)),
        ("gate", None): ("gate", "tflite", digest_of_file(gate)),
    }
    assert [one["model"] for one in events(reader, "model_started")] == ["gate"]
    assert [one["variant"] for one in events(reader, "variant_started")] == ["b"]
    assert sorted(one["model"] for one in events(reader, "model_ended")) == ["gate", "main"]

    history = History()
    for number, line in enumerate(reader.lines()):
        history.add(Delivery(topic=line.topic, payload=line.payload, received=1.0 + number, retained=False))
    device = history.devices["dev-1"]
    assert not history.refused_count
    assert device.missing_count == 0
    last = {name: series[-1].inferences_total for name, series in device.inference_of.items()}
    assert last == {"main/a": share["a"], "main/b": share["b"], "gate": 120}


def test_a_model_that_fails_leaves_the_others_and_is_begun_again(
    tmp_path: Path, listen: Callable[..., Reader], mosquitto: Mosquitto
) -> None:
    """The main one and one beside it because their frames are not there, another one because its engine fails on every frame."""
    mosquitto.start()
    reader = listen(mosquitto.port)
    retry = {"retry_min_seconds": 0.2, "retry_max_seconds": 0.4}
    endless = {"kind": "replay", "loop": True, "rate_hz": 100.0}
    config = config_of(
        tmp_path,
        mosquitto.port,
        onnx_artifact(tmp_path / "a.ewa"),
        tables={"engine": retry, "source": {**endless, "path": "main.npz"}},
        models=[
            {
                "name": "null_one",
                "artifact": {"path": str(null_artifact(tmp_path / "n.ewa"))},
                "source": {"rate_hz": 50.0},
            },
            {
                "name": "gate",
                "artifact": {"path": str(tflite_artifact(tmp_path / "gate.ewa"))},
                "engine": retry,
                "source": {**endless, "path": "gate.npz"},
            },
            {
                "name": "fussy",
                "artifact": {"path": str(fussy_artifact(tmp_path / "f.ewa"))},
                "engine": {**retry, "max_consecutive_errors": 3},
                "source": {**endless, "path": "fussy.npz"},
            },
        ],
    )

    np.savez(tmp_path / "fussy.npz", x=np.full((3, 1, 8), 99.0, np.float32))

    def inferring(*names: str) -> None:
        before = {whose[0]: len(bodies) for whose, bodies in windows(reader).items()}
        wait_until(
            lambda: all(
                sum(
                    body["latency_count"]
                    for body in windows(reader).get((name, None), [])[before.get(name, 0) :]
                )
                for name in names
            ),
            what=f"inferences of {names}",
        )

    with AgentProcess(config) as agent:
        reader.wait_for(
            HEALTH,
            lambda line: "model gate: device:" in line.body["reason"] and "main.npz" in line.body["reason"],
        )
        inferring("null_one")
        wait_until(lambda: len(events(reader, "model_failed")) >= 8, what="attempts")
        failures = {(one["model"], one["code"]) for one in events(reader, "model_failed")}
        assert failures == {("main", "device"), ("gate", "device"), ("fussy", "engine")}
        frames(tmp_path / "gate.npz", 5, width=4, dtype="int8")
        inferring("gate", "null_one")
        status = json.loads(command("status", "--config", str(config), "--json").stdout)
        assert status["models"]["gate"]["state"] == "running"
        assert status["health"]["status"] == "degraded"
        frames(tmp_path / "main.npz", 5)
        frames(tmp_path / "fussy.npz", 5)
        inferring("main", "gate", "null_one", "fussy")
        wait_until(lambda: reader.about(HEALTH)[-1].body["status"] == "up", what="all well")
        (tmp_path / "gate.ewa").write_bytes(b"damaged")
        told = order(reader, mosquitto.port, "restart_model", "r1", model="gate")
        assert (told.status, told.code) == ("failed", "model_failed")
        inferring("main", "null_one")
        assert agent.stop() == 0
    reader.wait_for(HEALTH, lambda line: line.body["status"] == "down")
    reader.close()
    found = windows(reader)
    assert all(counted(bodies) > 0 for bodies in found.values()), (
        "to the last frame of each, for they were drained"
    )
    attempts = len([one for one in events(reader, "model_failed") if one["model"] == "fussy"])
    assert found["fussy", None][-1]["errors_total"] == 3 * attempts


def test_an_engine_that_hangs_costs_the_other_models_nothing(
    tmp_path: Path, listen: Callable[..., Reader], mosquitto: Mosquitto
) -> None:
    mosquitto.start()
    reader = listen(mosquitto.port)
    config = config_of(
        tmp_path,
        mosquitto.port,
        null_artifact(tmp_path / "a.ewa"),
        tables={"spool": {"drain_timeout_seconds": 8.0}},
        models=[
            {
                "name": "stuck",
                "artifact": {"path": str(null_artifact(tmp_path / "b.ewa", latency_seconds=50.0))},
            }
        ],
    )
    with AgentProcess(config, prelude=TELL_THE_END) as agent:
        reader.wait_for("/e/model_started")
        wait_until(lambda: len(windows(reader).get(("main", None), [])) >= 3, what="windows of the other")
        assert agent.stop() == 0
        assert "the engine does not come back" in agent.log
        assert "the interpreter ends" not in agent.log
    reader.wait_for(HEALTH, lambda line: line.body["status"] == "down")
    reader.close()
    found = windows(reader)
    assert counted(found["main", None]) == found["main", None][-1]["inferences_total"] > 0
    assert found["stuck", None][-1]["inferences_total"] == 0
    final = max(line.body["uptime_seconds"] for line in reader.about("/m/inference"))
    draining = next(line.body for line in reader.about(HEALTH) if line.body["status"] == "draining")
    assert final > draining["uptime_seconds"], "the last window was closed after the stop"


def test_a_side_whose_engine_fails_is_given_up_and_the_other_takes_all_frames(
    tmp_path: Path, listen: Callable[..., Reader], mosquitto: Mosquitto
) -> None:
    """The first 60 frames are what both can infer, from then on `b` fails, three times in a row."""
    mosquitto.start()
    reader = listen(mosquitto.port)
    x = np.ones((100, 1, 8), np.float32)
    x[60:] = 99.0
    np.savez(tmp_path / "main.npz", x=x)
    a, b = easy_artifact(tmp_path / "a.ewa"), fussy_artifact(tmp_path / "b.ewa")
    config = config_of(
        tmp_path,
        mosquitto.port,
        a,
        tables={
            "engine": {"max_consecutive_errors": 3},
            "source": {"kind": "replay", "path": "main.npz", "rate_hz": 100.0},
            "split": {"path": str(b), "ratio": 0.5},
        },
    )
    with AgentProcess(config) as agent:
        assert agent.wait() == 0, agent.log
    reader.wait_for(HEALTH, lambda line: line.body["status"] == "down")
    reader.close()
    assignment = Assignment(ratio=0.5, seed="0")
    to_b = [number for number in range(100) if assignment.variant_of(str(number)) == "b"]
    good, failed = [number for number in to_b if number < 60], [number for number in to_b if number >= 60][:3]
    found = windows(reader)
    assert set(found) == {(None, "a"), (None, "b")}
    assert counted(found[None, "b"]) == len(good)
    assert found[None, "b"][-1]["errors_total"] == 3
    assert counted(found[None, "a"]) == 100 - len(good) - len(failed)
    (given_up,) = reader.about("/e/variant_failed")
    assert "3 inferences failed in a row" in given_up.body["text"]
    assert any("side b: 3 inferences failed" in line.body["reason"] for line in reader.about(HEALTH))


def easy_artifact(path: Path, graph_name: str = "easy") -> Path:
    """An artifact for ONNX Runtime with the inputs and outputs of `fussy_artifact`, which takes any frame; another name is another file."""
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        graph_name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    payload = {"payload/model.onnx": bytes(model.SerializeToString())}
    ends = [float_tensor("x", (1, 8)), float_tensor("y", (1, 8))]
    manifest = manifest_of(payload, engine="onnx", inputs=ends[:1], outputs=ends[1:], form="onnx_qdq")
    return write_ewa(path, manifest, payload)


def test_commands_mean_one_model_or_all_and_frames_of_one_topic_reach_both(
    tmp_path: Path, listen: Callable[..., Reader], mosquitto: Mosquitto
) -> None:
    mosquitto.start()
    reader = listen(mosquitto.port)
    topic = "ew/v1/device/dev-1///i/frame"
    shared = {"kind": "mqtt", "topic": topic, "rate_hz": 0.0}
    results = {"mqtt": True, "max_rate_hz": 0.0}
    config = config_of(
        tmp_path,
        mosquitto.port,
        onnx_artifact(tmp_path / "a.ewa"),
        tables={"source": shared, "results": results},
        models=[
            {
                "name": "second",
                "artifact": {"path": str(onnx_artifact(tmp_path / "b.ewa", golden=False))},
                "source": shared,
                "results": results,
            }
        ],
    )

    def given() -> Counter[str]:
        return Counter(line.body["model"] for line in reader.about("/o/inference"))

    def send(value: float = 0.0) -> None:
        publish(mosquitto.port, topic, npy(np.full((1, 8), value, np.float32)))

    def newest_output_of(model: str) -> Any:
        return [line.body["outputs"] for line in reader.about("/o/inference") if line.body["model"] == model][
            -1
        ]

    def both_answer() -> bool:
        send()
        return len(given()) == 2

    def require_only_main_answers() -> None:
        before = given()
        send()
        wait_until(lambda: given()["main"] == before["main"] + 1, what="a result of main")
        assert given()["second"] == before["second"]

    with AgentProcess(config) as agent:
        reader.wait_for(HEALTH, lambda line: line.body["status"] == "up")
        wait_until(both_answer, what="both take frames")
        before = {model: newest_output_of(model) for model in ("main", "second")}
        send(1.0)  # frames are inferred in their order, so that none waits before this one
        for model, output in before.items():
            wait_until(
                lambda one=model, old=output: newest_output_of(one) != old,  # type: ignore[misc]
                what=f"{model} has inferred the last frame",
            )
        assert order(reader, mosquitto.port, "pause", "p1", model="second").status == "successful"
        require_only_main_answers()
        wait_until(
            lambda: "model second: paused by a command" in reader.about(HEALTH)[-1].body["reason"],
            what="its health says so",
        )
        already = given()["second"]
        assert order(reader, mosquitto.port, "resume", "u1").reason == "main: it was so already"
        wait_until(lambda: given()["second"] == already + 1, what="the frame that had waited")
        assert order(reader, mosquitto.port, "pause", "p2").status == "successful"
        assert order(reader, mosquitto.port, "resume", "u2", model="main").status == "successful"
        require_only_main_answers()
        assert order(reader, mosquitto.port, "resume", "u3", model="second").status == "successful"
        told = order(reader, mosquitto.port, "restart_model", "r1", model="third")
        assert (told.code, told.reason) == (
            "unknown_model",
            "there is no model 'third'; there are main, second",
        )
        snapshot = order(reader, mosquitto.port, "snapshot", "s1").result
        assert str(snapshot["models_second"]).startswith("running, ")
        assert agent.stop() == 0


def test_check_looks_at_every_model_and_names_the_one_that_cannot_run(tmp_path: Path) -> None:
    gate = tflite_artifact(tmp_path / "gate.ewa")
    frames(tmp_path / "gate.npz", 3, width=4, dtype="int8")
    config = config_of(
        tmp_path,
        1,
        null_artifact(tmp_path / "a.ewa"),
        tables={"mqtt": {"enabled": False}},
        models=[
            {
                "name": "gate",
                "artifact": {"path": str(gate)},
                "source": {"kind": "replay", "path": "gate.npz"},
                "split": {"path": str(onnx_artifact(tmp_path / "b.ewa"))},
            }
        ],
    )
    done = command("check", "--config", str(config), "--json")
    assert done.returncode == 5
    assert "its inputs are not those of gate" in done.stderr
    found = json.loads(done.stdout)["models"]
    assert "its inputs are not those of gate" in found["gate"]["split"]
    config.write_text(
        config.read_text().replace("b.ewa", "gate.ewa") + "[model.engine]\nmemory_max_bytes = 1\n"
    )
    done = command("check", "--config", str(config))
    assert done.returncode == 7
    assert "engine.memory_max_bytes: loading and testing the model added" in done.stderr


def test_updates_are_of_the_main_model_and_one_that_fails_beside_another_is_taken_back(
    tmp_path: Path,
) -> None:
    fleet = Fleet(tmp_path)
    delivered = easy_artifact(tmp_path / "delivered.ewa")
    np.savez(tmp_path / "main.npz", x=np.full((5, 1, 8), 99.0, np.float32))
    config = config_of(
        tmp_path,
        1,
        delivered,
        tables={
            "mqtt": {"enabled": False},
            "engine": {"max_consecutive_errors": 3},
            "source": {"kind": "replay", "path": "main.npz", "loop": True},
            "update": {
                "url": fleet.server.url,
                "root": str(fleet.root),
                "directory": "updates",
                "first_check_seconds": 0.2,
                "check_interval_seconds": 0.5,
                "require_synced_clock": False,
                "shadow_frames": 0,
                "probation_seconds": 600.0,
                "probation_bad_windows": 1000,
            },
        },
        models=[{"name": "second", "artifact": {"path": str(null_artifact(tmp_path / "n.ewa"))}}],
    )
    try:
        with AgentProcess(config) as agent:
            agent.wait_for_log("model_started: Model second")
            fleet.offer(fussy_artifact(tmp_path / "new.ewa"), counter=1)
            agent.wait_for_log("update_rolled_back", seconds=150.0)
            wait_until(
                lambda: "model_started: Model second" in agent.log.split("update_rolled_back", 1)[1],
                what="both run again",
                seconds=90.0,
            )
            assert agent.stop() == 0
    finally:
        fleet.server.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "spool" / "spool.db")) as spool:
        rows = spool.execute("SELECT topic, payload FROM message ORDER BY id").fetchall()
    told = [(topic.rsplit("/", 1)[-1], json.loads(payload)) for topic, payload in rows]
    (taken_back,) = [body["data"] for name, body in told if name == "update_rolled_back"]
    assert "3 inferences failed in a row" in taken_back["text"]
    last = {body["model"]: body for name, body in told if name == "inference" and "model" in body}
    assert last["main"]["artifact"] == digest_of_file(delivered)
    assert last["main"]["inferences_total"] > 0
    assert last["second"]["inferences_total"] > 0
