"""The agent as a process, commanded over a real broker, asked over its socket, and watched by a service manager that is a socket."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import tarfile
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from device_agent.contract.commands import CommandRequest, encode_request
from device_agent.contract.telemetry.codec import decode
from device_agent.contract.telemetry.states import CommandState
from device_agent.telemetry.mqtt import _RESPONSE_TOPIC
from host_tools.free_port import free_port
from tests.integration.support import (
    AgentProcess,
    Mosquitto,
    can_connect,
    command,
    npy,
    null_artifact,
    onnx_artifact,
    retained,
    wait_until,
    write_config,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.support import Reader

CMD = "ew/v1/device/dev-1///cmd"
NO_BROKER = 1


def publish(port: int, topic: str, payload: bytes) -> None:
    """Publish retained, as whoever commands does."""
    parts = ["mosquitto_pub", "-h", "127.0.0.1", "-p", str(port), "-t", topic, "-q", "1", "-r", "-s"]
    subprocess.run(parts, input=payload, timeout=90, check=True)


def order(port: int, operation: str, command_id: str, **arguments: str) -> None:
    request = CommandRequest(time=time.time(), arguments=arguments)
    publish(port, f"{CMD}/{operation}/{command_id}", encode_request(request, operation))


def ends(reader: Reader, operation: str, command_id: str) -> list[CommandState]:
    lines = [line for line in reader.about(f"/cmd/{operation}/{command_id}") if b"boot_id" in line.payload]
    states = [decode(CommandState, line.payload, where=line.topic) for line in lines]
    return [state for state in states if state.status != "executing"]


def end(reader: Reader, operation: str, command_id: str) -> CommandState:
    return wait_until(lambda: ends(reader, operation, command_id), what=f"{operation}/{command_id} ends")[0]


def status_of(config: Path) -> dict[str, Any]:
    done = command("status", "--config", str(config), "--json")
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def wait_until_running(config: Path) -> dict[str, Any]:
    def running() -> dict[str, Any] | None:
        done = command("status", "--config", str(config), "--json")
        found = json.loads(done.stdout) if done.returncode == 0 else {}
        return found if found.get("agent", {}).get("phase") == "running" else None

    found: dict[str, Any] = wait_until(running, what="the agent runs")
    return found


def test_every_command_is_done_and_told_and_what_is_none_is_refused(
    tmp_path: Path, listen: Callable[..., Reader], mosquitto: Mosquitto
) -> None:
    mosquitto.start()
    reader = listen(mosquitto.port)
    config = write_config(tmp_path, mosquitto.port, null_artifact(tmp_path / "a.ewa"))
    with AgentProcess(config) as agent:
        reader.wait_for("/status/health", lambda line: line.body["status"] == "up")
        order(mosquitto.port, "pause", "p1")
        assert end(reader, "pause", "p1").status == "successful"
        before = status_of(config)
        assert before["health"] == {"status": "degraded", "reason": "paused by a command"}
        order(mosquitto.port, "restart_model", "r1")
        assert end(reader, "restart_model", "r1").status == "successful"
        order(mosquitto.port, "resume", "u1")
        assert end(reader, "resume", "u1").status == "successful"
        order(mosquitto.port, "log_level", "l1", level="debug")
        assert end(reader, "log_level", "l1").status == "successful"
        wait_until(
            lambda: (
                status_of(config)["inference"]["inferences_total"] > before["inference"]["inferences_total"]
            ),
            what="inference goes on",
        )
        order(mosquitto.port, "snapshot", "s1")
        result = end(reader, "snapshot", "s1").result
        assert result["agent_phase"] == "running"
        assert result["agent_log_level"] == "debug"
        assert result["broker_connected"] is True
        publish(mosquitto.port, f"{CMD}/reboot/x1", b"{}")
        publish(mosquitto.port, f"{CMD}/pause/x2", b"garbage")
        publish(mosquitto.port, f"{CMD}/pause/p1", encode_request(CommandRequest(time=time.time()), "pause"))
        assert end(reader, "reboot", "x1").code == "unknown_operation"
        assert end(reader, "pause", "x2").code == "malformed"
        wait_until(
            lambda: len(ends(reader, "pause", "p1")) == 2, what="the duplicate is told what became of it"
        )
        assert status_of(config)["health"]["status"] == "up", "and nothing was paused again"
        assert agent.stop() == 0
    assert retained(mosquitto.port, f"{CMD}/pause/p1").body["status"] == "successful"


def test_a_killed_agent_and_a_broker_away_leave_every_command_one_end(
    tmp_path: Path, listen: Callable[..., Reader], mosquitto: Mosquitto
) -> None:
    mosquitto.start()
    reader = listen(mosquitto.port)
    config = write_config(tmp_path, mosquitto.port, null_artifact(tmp_path / "a.ewa"))
    for number in range(3):
        with AgentProcess(config) as agent:
            wait_until_running(config)
            for command_id in ("a", "b"):
                order(mosquitto.port, "restart_model", f"{command_id}{number}")
            time.sleep(0.03 * number)
            agent.process.send_signal(signal.SIGKILL)
            agent.process.wait()
    order(mosquitto.port, "pause", "while-away")
    mosquitto.stop()
    with AgentProcess(config) as agent:
        agent.wait_for_log("no connection to the broker")
        mosquitto.start()
        for number in range(3):
            for command_id in ("a", "b"):
                end(reader, "restart_model", f"{command_id}{number}")
        assert end(reader, "pause", "while-away").status == "successful"
        assert agent.stop() == 0
    for number in range(3):
        for command_id in ("a", "b"):
            kinds = {
                (state.status, state.code) for state in ends(reader, "restart_model", f"{command_id}{number}")
            }
            assert len(kinds) == 1
            assert kinds < {("successful", ""), ("failed", "interrupted")}


def test_status_diag_and_bundle_of_an_agent_that_runs(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("open sesame\n")
    config = write_config(
        tmp_path,
        NO_BROKER,
        null_artifact(tmp_path / "a.ewa"),
        telemetry={"interval_seconds": 0.3},
        device={
            "targets": ["x86_64-onnxruntime", "open sesame"]
        },  # so that a text of the bundle would hold the password
        mqtt={"username": "dev-1", "password_file": "password", "topic_root": "ew/open"},
    )
    with AgentProcess(config) as agent:
        found = wait_until_running(config)
        assert found["agent"]["pid"] == agent.process.pid
        assert found["model"]["name"] == "small"
        assert found["broker"]["connected"] is False
        wait_until(
            lambda: status_of(config)["troubles"], what="the missing broker is among the last troubles"
        )
        text = command("status", "--config", str(config)).stdout
        assert f"pid {agent.process.pid}, running" in text
        assert "away for" in text
        findings = {
            one["name"]: one for one in json.loads(command("diag", "--config", str(config), "--json").stdout)
        }
        assert findings["agent"]["verdict"] == "ok"
        assert findings["broker"]["verdict"] == "warning"
        assert findings["artifact"]["verdict"] == findings["spool"]["verdict"] == "ok"
        bundle = tmp_path / "bundle.tar.gz"
        done = command("support-bundle", "--config", str(config), "--out", str(bundle))
        assert done.returncode == 0, done.stderr
        again = command("support-bundle", "--config", str(config), "--out", str(bundle))
        assert (again.returncode, "is there already" in again.stderr or "exists" in again.stderr) == (7, True)
        assert agent.stop() == 0
    assert bundle.stat().st_mode & 0o077 == 0
    with tarfile.open(bundle) as archive:
        parts = {
            member.name.split("/")[1]: archive.extractfile(member).read() for member in archive.getmembers()
        }
    assert set(parts) == {
        "about.json", "config.json", "status.json", "diagnosis.txt", "machine.json", "kernel.txt", "journal.txt"
    }  # fmt: skip
    assert json.loads(parts["status.json"])["agent"]["phase"] == "running"
    assert b"(struck out)" in parts["config.json"]
    assert not any(b"open sesame" in data for data in parts.values())


def test_without_an_agent_status_says_so_and_the_bundle_is_written_all_the_same(tmp_path: Path) -> None:
    config = write_config(tmp_path, NO_BROKER, tmp_path / "absent.ewa")
    done = command("status", "--config", str(config))
    assert done.returncode == 7
    assert "no agent answers" in done.stderr
    done = command("diag", "--config", str(config))
    assert done.returncode == 7
    assert "error   artifact: " in done.stdout
    done = command("support-bundle", "--config", str(config), "--out", str(tmp_path / "b.tar.gz"))
    assert done.returncode == 0, done.stderr
    with tarfile.open(tmp_path / "b.tar.gz") as archive:
        assert archive.extractfile("edgewright-support/status.json").read().startswith(b"not to be had: ")


def test_the_service_manager_hears_ready_status_watchdog_and_stopping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "n"))
        manager.settimeout(20.0)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "n"))
        monkeypatch.setenv("WATCHDOG_USEC", "400000")
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
        config = write_config(tmp_path, NO_BROKER, null_artifact(tmp_path / "a.ewa"))
        with AgentProcess(config) as agent:
            heard = []
            while heard.count("WATCHDOG=1") < 4 or "READY=1" not in heard:
                heard.append(manager.recv(4096).decode())
            os.kill(agent.process.pid, signal.SIGTERM)
            while "STOPPING=1" not in heard:
                heard.append(manager.recv(4096).decode())
            assert agent.wait() == 0
    assert heard.count("READY=1") == 1
    assert "STATUS=degraded: not running yet: verifying" in heard[: heard.index("READY=1")]
    assert "STATUS=up" in heard


def test_a_request_over_mqtt_5_is_answered_with_its_correlation_data(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    mosquitto.start()
    config = write_config(
        tmp_path,
        mosquitto.port,
        onnx_artifact(tmp_path / "a.ewa"),
        source={"kind": "mqtt"},
        mqtt={"version": "5"},
    )
    answers: queue.Queue[Any] = queue.Queue()
    asker = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
    asker.on_message = lambda _client, _userdata, message: answers.put(message)
    with AgentProcess(config) as agent:
        wait_until_running(config)
        wait_until(lambda: status_of(config)["broker"]["connected"], what="the agent is connected")
        asker.connect("127.0.0.1", mosquitto.port)
        asker.loop_start()
        asker.subscribe("answers/1", 1)
        frame = npy(np.linspace(-1, 1, 8, dtype=np.float32).reshape(1, 8))
        for correlation, body in ((b"c-1", frame), (b"c-2", b"garbage")):
            properties = Properties(PacketTypes.PUBLISH)
            properties.ResponseTopic, properties.CorrelationData = "answers/1", correlation
            asker.publish("ew/v1/device/dev-1///i/frame", body, 1, properties=properties).wait_for_publish(
                10.0
            )
        good, bad = answers.get(timeout=90.0), answers.get(timeout=90.0)
        assert agent.stop() == 0
    asker.disconnect()
    asker.loop_stop()
    assert (good.properties.CorrelationData, bad.properties.CorrelationData) == (b"c-1", b"c-2")
    assert json.loads(good.payload)["outputs"][0]["shape"] == [1, 4]
    assert "not .npy" in json.loads(bad.payload)["error"]


@pytest.mark.parametrize("topic", ["a/#", "+/b", "$SYS/x", "", "a\0b", "x" * 1025])
def test_answers_go_to_no_topic_that_would_end_the_connection(topic: str) -> None:
    assert _RESPONSE_TOPIC.fullmatch("answers/1")
    assert not _RESPONSE_TOPIC.fullmatch(topic)


def test_a_post_on_this_machine_is_answered_by_a_real_engine(tmp_path: Path) -> None:
    port = free_port()
    config = write_config(
        tmp_path,
        NO_BROKER,
        onnx_artifact(tmp_path / "a.ewa"),
        source={"kind": "http", "http_port": port, "rate_hz": 0.0},
    )
    body = npy(np.linspace(-1, 1, 8, dtype=np.float32).reshape(1, 8))
    with AgentProcess(config) as agent:
        wait_until_running(config)
        wait_until(lambda: can_connect(port), what="it listens")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/infer", data=body, timeout=90) as response:
            assert json.loads(response.read())["outputs"][0]["form"] == "raw"
        assert agent.stop() == 0
