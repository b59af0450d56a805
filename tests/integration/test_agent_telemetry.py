"""The agent against a real broker, read by ``mosquitto_sub``."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from iotcore import Broker

from device_agent.contract.telemetry.codec import decode
from device_agent.contract.telemetry.event import Event
from device_agent.contract.telemetry.measurements import MEASUREMENTS
from device_agent.contract.telemetry.result import Result
from device_agent.contract.telemetry.states import Birth, Health
from device_agent.contract.telemetry.units import decode_units
from host_tools.free_port import free_port
from tests.integration.support import (
    AgentProcess,
    Line,
    Mosquitto,
    can_connect,
    npy,
    null_artifact,
    onnx_artifact,
    publish,
    retained,
    wait_until,
    write_config,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tests.integration.support import Reader

HEALTH = "ew/v1/device/dev-1/service/agent/status/health"


def numbers(lines: Iterable[Line]) -> set[int]:
    """Return the numbers of the messages of the one run that there is."""
    keys = {line.key for line in lines if "boot_id" in line.body}
    assert len({boot_id for boot_id, _ in keys}) == 1
    return {seq for _, seq in keys}


def require_valid(lines: Iterable[Line]) -> None:
    for line in lines:
        parts = line.topic.removeprefix("ew/v1/device/dev-1/").split("/")
        match parts[2:]:
            case ["m", kind]:
                decode(MEASUREMENTS[kind], line.payload, where=line.topic)
            case ["m", _, "meta"]:
                assert decode_units(line.payload, where=line.topic)
            case ["e", _]:
                decode(Event, line.payload, where=line.topic)
            case ["o", _]:
                decode(Result, line.payload, where=line.topic)
            case ["status", "health"]:
                decode(Health, line.payload, where=line.topic)
            case ["status", "birth"]:
                decode(Birth, line.payload, where=line.topic)
            case other:
                raise AssertionError(other)


@pytest.mark.parametrize(("version", "reader_version"), [("3.1.1", "mqttv311"), ("5", "mqttv5")])
def test_everything_that_mosquitto_sub_reads_is_valid_and_complete(
    tmp_path: Path, listen: Callable[..., Reader], mosquitto: Mosquitto, version: str, reader_version: str
) -> None:
    mosquitto.start()
    reader = listen(mosquitto.port, version=reader_version)
    config = write_config(
        tmp_path,
        mosquitto.port,
        null_artifact(tmp_path / "a.ewa"),
        mqtt={"version": version, "will_delay_seconds": 1 if version == "5" else 0},
        results={"mqtt": True, "max_rate_hz": 5.0},
    )
    with AgentProcess(config) as agent:
        reader.wait_for("/status/health", lambda line: line.body["status"] == "up")
        wait_until(lambda: len(reader.about("/m/inference")) >= 3, what="three windows")
        reader.wait_for("/o/inference")
        status = agent.stop()
    reader.wait_for("/status/health", lambda line: line.body["status"] == "down")
    reader.close()
    lines = reader.lines()
    assert status == 0
    require_valid(lines)
    for ending in (
        "/m/system",
        "/m/thermal",
        "/m/power",
        "/m/inference/meta",
        "/status/birth",
        "/e/engine_loaded",
    ):
        assert reader.about(ending), ending
    births = [decode(Birth, line.payload, where="birth") for line in reader.about("/status/birth")]
    assert births[-1].engine == "null"
    assert births[-1].model_name == "small"
    seen = numbers(lines)
    assert seen == set(range(max(seen) + 1)), (
        "no number is missing, though states were replaced before they were sent"
    )


def test_windows_add_up_to_the_totals(
    tmp_path: Path, listen: Callable[..., Reader], mosquitto: Mosquitto
) -> None:
    mosquitto.start()
    reader = listen(mosquitto.port)
    config = write_config(
        tmp_path, mosquitto.port, null_artifact(tmp_path / "a.ewa"), source={"max_frames": 60}
    )
    with AgentProcess(config) as agent:
        assert agent.wait() == 0
    reader.wait_for("/status/health", lambda line: line.body["status"] == "down")
    reader.close()
    windows = [line.body for line in reader.about("/m/inference")]
    assert sum(window["latency_count"] for window in windows) == 60
    assert windows[-1]["inferences_total"] == 60
    for window in windows:
        if window["latency_count"]:
            assert 0.002 <= window["latency_p50_seconds"] <= window["latency_max_seconds"]
    assert "60 frames were inferred" in reader.about("/status/health")[-1].body["reason"]


def test_a_stop_long_before_the_end_of_a_window_is_drained_too(
    tmp_path: Path, listen: Callable[..., Reader], mosquitto: Mosquitto
) -> None:
    mosquitto.start()
    reader = listen(mosquitto.port)
    config = write_config(
        tmp_path,
        mosquitto.port,
        null_artifact(tmp_path / "a.ewa"),
        telemetry={"interval_seconds": 600.0},
        spool={"drain_timeout_seconds": 6.0},
    )
    with AgentProcess(config) as agent:
        reader.wait_for("/status/health", lambda line: line.body["status"] == "up")
        time.sleep(6.5)  # longer than there is to drain
        assert agent.stop() == 0
    reader.wait_for("/status/health", lambda line: line.body["status"] == "down")
    reader.close()
    (window,) = [line.body for line in reader.about("/m/inference")]
    assert window["latency_count"] == window["inferences_total"] > 0


def test_a_broker_that_is_down_at_the_start_gets_everything_later(
    tmp_path: Path, listen: Callable[..., Reader], mosquitto: Mosquitto
) -> None:
    mosquitto.start()
    reader = listen(mosquitto.port)
    mosquitto.stop()
    config = write_config(tmp_path, mosquitto.port, null_artifact(tmp_path / "a.ewa"))
    with AgentProcess(config) as agent:
        agent.wait_for_log("no connection to the broker")
        agent.wait_for_log("health: up")
        time.sleep(1.0)
        mosquitto.start()
        wait_until(lambda: len(reader.about("/m/inference")) >= 4, what="windows")
        assert agent.stop() == 0
    reader.wait_for("/status/health", lambda line: line.body["status"] == "down")
    reader.close()
    windows = sorted((line.body for line in reader.about("/m/inference")), key=lambda body: body["seq"])
    assert windows[0]["inferences_total"] == windows[0]["latency_count"]  # nothing came before it
    assert sum(window["latency_count"] for window in windows) == windows[-1]["inferences_total"]
    events = [line.topic.rsplit("/", 1)[-1] for line in reader.lines() if "/e/" in line.topic]
    assert events == ["artifact_verified", "engine_loaded", "self_test_absent"]


def test_a_broker_that_goes_away_for_a_while_loses_no_message_and_doubles_none(
    tmp_path: Path, listen: Callable[..., Reader], mosquitto: Mosquitto
) -> None:
    mosquitto.start()
    reader = listen(mosquitto.port)
    config = write_config(
        tmp_path,
        mosquitto.port,
        null_artifact(tmp_path / "a.ewa"),
        results={"mqtt": True, "max_rate_hz": 40.0},
    )
    with AgentProcess(config) as agent:
        for _ in range(2):
            count = len(reader.about("/m/inference"))
            wait_until(lambda least=count + 2: len(reader.about("/m/inference")) >= least, what="windows")
            mosquitto.stop()
            time.sleep(1.5)
            mosquitto.start()
        reader.wait_for("/e/reconnected")
        wait_until(lambda: len(reader.about("/e/reconnected")) >= 2, what="both returns")
        count = len(reader.about("/m/inference"))
        wait_until(lambda: len(reader.about("/m/inference")) >= count + 2, what="windows after")
        assert agent.stop() == 0
    reader.wait_for("/status/health", lambda line: line.body["status"] == "down")
    reader.close()
    lines = [line for line in reader.lines() if not line.topic.endswith("/meta")]
    by_key: dict[tuple[str, int], set[bytes]] = {}
    for line in lines:
        by_key.setdefault(line.key, set()).add(line.payload)
    # What comes twice is the same message to the byte; but for number 0, the last will of one connection and the next.
    assert all(len(payloads) == 1 for (_, seq), payloads in by_key.items() if seq)
    for kind in ("inference", "system", "thermal", "power"):
        assert len(distinct(lines, f"/m/{kind}")) == len(distinct(lines, "/m/inference"))
    windows = distinct(lines, "/m/inference")
    assert sum(window["latency_count"] for window in windows) == windows[-1]["inferences_total"]
    inside = set(range(windows[0]["seq"], windows[-1]["seq"] + 1))
    assert inside <= {seq for _, seq in by_key}
    assert len(distinct(lines, "/o/inference")) > 40


def distinct(lines: Iterable[Line], ending: str) -> list[dict[str, Any]]:
    """Return the bodies under a topic, each number once, in their order."""
    bodies = {line.body["seq"]: line.body for line in lines if line.topic.endswith(ending)}
    return [bodies[seq] for seq in sorted(bodies)]


def test_sigterm_drains_publishes_the_last_window_and_leaves_a_retained_goodbye(
    tmp_path: Path, listen: Callable[..., Reader], mosquitto: Mosquitto
) -> None:
    mosquitto.start()
    reader = listen(mosquitto.port)
    config = write_config(
        tmp_path,
        mosquitto.port,
        null_artifact(tmp_path / "a.ewa"),
        telemetry={"interval_seconds": 3600.0},
        results={"jsonl": "results.jsonl", "max_rate_hz": 0.0},
        spool={"drain_timeout_seconds": 600.0},
    )
    results = tmp_path / "results.jsonl"
    with AgentProcess(config) as agent:
        reader.wait_for("/status/health", lambda line: line.body["status"] == "up")
        wait_until(lambda: results.is_file() and results.read_text().count("\n") > 10, what="results")
        assert agent.stop() == 0, "long before the window's end, and before it need give up what waits"
    last = reader.wait_for("/m/inference")
    assert last.body["latency_count"] > 10
    goodbye = retained(mosquitto.port, HEALTH)
    assert goodbye.retained
    assert (goodbye.body["status"], goodbye.body["reason"], goodbye.body["seq"]) == (
        "down",
        "stopped by SIGTERM",
        0,
    )
    reader.close()


def test_a_killed_agent_is_reported_down_by_its_last_will(
    tmp_path: Path, listen: Callable[..., Reader], mosquitto: Mosquitto
) -> None:
    mosquitto.start()
    reader = listen(mosquitto.port)
    config = write_config(tmp_path, mosquitto.port, null_artifact(tmp_path / "a.ewa"))
    with AgentProcess(config) as agent:
        reader.wait_for("/status/health", lambda line: line.body["status"] == "up")
        assert agent.stop(signal.SIGKILL) == -signal.SIGKILL
    will = reader.wait_for("/status/health", lambda line: line.body["status"] == "down")
    assert "without a goodbye" in will.body["reason"]
    assert retained(mosquitto.port, HEALTH).body["status"] == "down"
    reader.close()


def test_what_a_killed_agent_could_not_send_is_sent_by_the_next(
    tmp_path: Path, listen: Callable[..., Reader], mosquitto: Mosquitto
) -> None:
    config = write_config(tmp_path, mosquitto.port, null_artifact(tmp_path / "a.ewa"))
    with AgentProcess(config) as agent:
        agent.wait_for_log("health: up")
        time.sleep(1.5)
        agent.stop(signal.SIGKILL)
    mosquitto.start()
    reader = listen(mosquitto.port)
    with AgentProcess(config) as agent:
        wait_until(
            lambda: len({line.body["boot_id"] for line in reader.about("/m/inference")}) == 2, what="two runs"
        )
        assert agent.stop() == 0
    reader.close()


def test_the_embedded_broker_of_the_demo_works_too(tmp_path: Path, listen: Callable[..., Reader]) -> None:
    port = free_port()
    with Broker(port=port, listen="127.0.0.1"):
        reader = listen(port)
        config = write_config(tmp_path, port, null_artifact(tmp_path / "a.ewa"))
        with AgentProcess(config) as agent:
            reader.wait_for("/status/health", lambda line: line.body["status"] == "up")
            wait_until(lambda: len(reader.about("/m/inference")) >= 2, what="windows")
            assert agent.stop() == 0
        reader.wait_for("/status/health", lambda line: line.body["status"] == "down")
        assert retained(port, HEALTH).body["reason"] == "stopped by SIGTERM"
        reader.close()
    require_valid(reader.lines())


# --- what goes wrong ---


@pytest.fixture
def refusing_broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker that takes everything from the agent but events."""
    rules = tmp_path / "acl"
    device = "ew/v1/device/dev-1"
    rules.write_text(
        "topic read #\ntopic readwrite ew/v1/probe\nuser agent\n"
        f"topic write {device}///m/#\ntopic write {device}/service/agent/status/#\n"
    )
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "agent", "pw"], check=True)
    broker = Mosquitto(
        tmp_path / "refusing", "allow_anonymous true", f"acl_file {rules}", f"password_file {passwords}"
    )
    yield broker.start()
    broker.stop()


def test_a_broker_that_refuses_events_breeds_no_others_and_hears_of_it_by_health(
    tmp_path: Path, listen: Callable[..., Reader], refusing_broker: Mosquitto
) -> None:
    reader = listen(refusing_broker.port)
    (tmp_path / "pw").write_text("pw\n")
    config = write_config(
        tmp_path,
        refusing_broker.port,
        null_artifact(tmp_path / "a.ewa"),
        mqtt={"version": "5", "username": "agent", "password_file": "pw"},
    )
    with AgentProcess(config) as agent:
        health = reader.wait_for(
            "/status/health", lambda line: "the broker refuses messages of" in line.body["reason"]
        )
        assert health.body["status"] == "degraded"
        assert "///e/" in health.body["reason"]
        reader.wait_for("/status/health", lambda line: line.body["status"] == "up")
        count = len(reader.about("/m/inference"))
        wait_until(lambda: len(reader.about("/m/inference")) >= count + 4, what="windows")
        assert agent.stop() == 0
    goodbye = retained(refusing_broker.port, HEALTH)
    assert goodbye.body["reason"] == "stopped by SIGTERM"
    reader.close()
    told = [line for line in agent.log.splitlines() if "message_refused: The broker refused" in line]
    assert len(told) == 1, "the refusal of the event that tells of refusals is told by nothing"
    dropped = reader.about("/m/system")[-1].body["spool_dropped_total"]
    assert dropped == 4, "artifact_verified, engine_loaded, self_test_absent, message_refused"
    assert numbers(reader.lines())


def test_a_frame_whose_name_is_not_utf_8_is_a_frame_like_others(
    tmp_path: Path, listen: Callable[..., Reader], mosquitto: Mosquitto
) -> None:
    reader = listen(mosquitto.start().port)
    frames = tmp_path / "frames"
    frames.mkdir()
    (frames / "bad").write_bytes(npy(np.zeros((3, 3))))
    (frames / "good").write_bytes(npy(np.zeros((1, 8), np.float32)))
    for name, ending in (("bad", b"/\xfe.npy"), ("good", b"/\xff.npy")):
        (frames / name).rename(os.fsdecode(os.fsencode(frames) + ending))
    config = write_config(
        tmp_path,
        mosquitto.port,
        onnx_artifact(tmp_path / "a.ewa"),
        source={"kind": "directory", "path": "frames", "loop": True, "rate_hz": 20.0},
        results={"mqtt": True, "jsonl": "results.jsonl"},
    )
    with AgentProcess(config) as agent:
        assert reader.wait_for("/o/inference").body["frame"] == "\\udcff.npy"
        refused = reader.wait_for("/e/frames_refused").body
        assert "The last one: \\udcfe.npy: input 'x': expected shape (1, 8), got (3, 3)" in refused["text"]
        assert agent.stop() == 0
    reader.close()
    assert json.loads((tmp_path / "results.jsonl").read_text().splitlines()[0])["frame"] == "\\udcff.npy"


def test_a_refused_sample_of_a_replay_says_which_and_why(
    tmp_path: Path, listen: Callable[..., Reader], mosquitto: Mosquitto
) -> None:
    reader = listen(mosquitto.start().port)
    values = np.zeros((4, 1, 8), np.float32)
    values[2, 0, 0] = np.nan
    np.savez(tmp_path / "frames.npz", x=values)
    config = write_config(
        tmp_path,
        mosquitto.port,
        onnx_artifact(tmp_path / "a.ewa"),
        source={"kind": "replay", "path": "frames.npz"},
    )
    with AgentProcess(config) as agent:
        assert agent.wait() == 0
    refused = reader.wait_for("/e/frames_refused").body
    reader.close()
    assert "The last one: frames.npz: sample 2: input 'x': values that are NaN" in refused["text"]
    assert refused["details"] == {"frames": 1}


BREAK_A_WINDOW = """
from device_agent.telemetry import sampler
whole, windows = sampler.power_sample, []
def broken(*given):
    windows.append(1)
    if len(windows) {when}:
        raise ZeroDivisionError("a fault that nobody foresaw")
    return whole(*given)
sampler.power_sample = broken
"""


def test_a_fault_of_the_loop_is_an_end_with_its_reason(
    tmp_path: Path, listen: Callable[..., Reader], mosquitto: Mosquitto
) -> None:
    reader = listen(mosquitto.start().port)
    config = write_config(tmp_path, mosquitto.port, null_artifact(tmp_path / "a.ewa"))
    with AgentProcess(config, prelude=BREAK_A_WINDOW.format(when="== 2")) as agent:
        assert agent.wait() == 1
    reader.wait_for("/status/health", lambda line: line.body["status"] == "down")
    goodbye = retained(mosquitto.port, HEALTH).body
    assert goodbye["reason"] == "unexpected: ZeroDivisionError: a fault that nobody foresaw"
    failed = reader.wait_for("/e/agent_failed").body
    reader.close()
    assert failed["details"] == {"code": "unexpected", "phase": "running"}
    assert "ZeroDivisionError: a fault that nobody foresaw" in agent.log.splitlines()[-1]


def test_a_fault_that_keeps_even_the_goodbye_from_being_said_leaves_the_last_will(
    tmp_path: Path, listen: Callable[..., Reader], mosquitto: Mosquitto
) -> None:
    reader = listen(mosquitto.start().port)
    config = write_config(tmp_path, mosquitto.port, null_artifact(tmp_path / "a.ewa"))
    with AgentProcess(config, prelude=BREAK_A_WINDOW.format(when=">= 2")) as agent:
        assert agent.wait() == 1
    will = reader.wait_for("/status/health", lambda line: line.body["status"] == "down")
    reader.close()
    assert will.body["reason"] == "the connection was lost without a goodbye"
    assert retained(mosquitto.port, HEALTH).body["status"] == "down"


def test_a_certificate_that_is_away_for_a_moment_is_a_failed_attempt_and_not_the_end(
    tmp_path: Path, certificates: Path
) -> None:
    broker = Mosquitto(
        tmp_path / "tls",
        f"cafile {certificates}/authority.crt",
        f"certfile {certificates}/server.crt",
        f"keyfile {certificates}/server.key",
        "allow_anonymous true",
    ).start()
    authority = tmp_path / "ca.crt"
    shutil.copy(certificates / "authority.crt", authority)
    config = write_config(tmp_path, broker.port, null_artifact(tmp_path / "a.ewa"), mqtt={"tls_ca": "ca.crt"})
    try:
        with AgentProcess(config) as agent:
            agent.wait_for_log("connected to")
            authority.unlink()
            broker.stop()
            broker.start()
            agent.wait_for_log("no connection to the broker: mqtt.tls_ca")
            shutil.copy(certificates / "authority.crt", authority)
            agent.wait_for_log("reconnected")
            assert agent.stop() == 0
    finally:
        broker.stop()


def test_one_huge_message_costs_neither_the_connection_nor_the_memory(
    tmp_path: Path, listen: Callable[..., Reader], mosquitto: Mosquitto
) -> None:
    reader = listen(mosquitto.start().port)
    config = write_config(
        tmp_path,
        mosquitto.port,
        onnx_artifact(tmp_path / "a.ewa"),
        source={"kind": "mqtt", "rate_hz": 0.0, "max_frame_bytes": 100_000},
    )
    frames = "ew/v1/device/dev-1///i/frame"
    with AgentProcess(config) as agent:
        reader.wait_for("/status/health", lambda line: line.body["status"] == "up")
        status = Path(f"/proc/{agent.process.pid}/status")
        before = peak_bytes(status.read_text())
        publish(mosquitto.port, frames, bytes(200 << 20))
        refused = reader.wait_for("/e/frames_refused").body
        assert peak_bytes(status.read_text()) - before < 20 << 20
        assert refused["details"] == {"frames": 1}
        publish(mosquitto.port, frames, npy(np.zeros((1, 8), np.float32)))
        reader.wait_for("/m/inference", lambda line: line.body["inferences_total"] == 1)
        assert agent.log.count("connected to") == 1
        assert agent.stop() == 0
    reader.close()


def peak_bytes(status: str) -> int:
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def test_two_agents_of_one_id_slow_down_and_say_what_it_may_be(
    tmp_path: Path, listen: Callable[..., Reader], mosquitto: Mosquitto
) -> None:
    reader = listen(mosquitto.start().port)
    artifact = null_artifact(tmp_path / "a.ewa")
    configs = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        configs.append(
            write_config(tmp_path / name, mosquitto.port, artifact, mqtt={"reconnect_max_seconds": 60.0})
        )
    with AgentProcess(configs[0]) as one, AgentProcess(configs[1]) as two:
        said = reader.wait_for("/status/health", lambda line: "another client" in line.body["reason"])
        assert said.body["status"] == "degraded"
        time.sleep(max(0.0, 8.0 - said.body["uptime_seconds"]))
        counts = [agent.log.count("connected to") for agent in (one, two)]
        assert max(counts) <= 9, "0.1 s doubled: not again and again at the shortest pause"
        for agent in (one, two):
            agent.stop()
    reader.close()


def blocks(language: str) -> str:
    document = (Path(__file__).parents[2] / "docs" / "agent.md").read_text(encoding="utf-8")
    text = document.split("## A broker with TLS")[1].split("\n## ")[0]
    (found,) = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return str(found)


def test_the_documents_broker_with_tls_passwords_and_access_rules_works(
    tmp_path: Path, certificates: Path
) -> None:
    port, folder = free_port(), tmp_path / "mosquitto"
    folder.mkdir()
    shutil.copy(certificates / "authority.crt", folder / "ca.crt")
    for name in ("server.crt", "server.key"):
        shutil.copy(certificates / name, folder / name)
    (folder / "acl").write_text(blocks("acl"))
    for number, user in enumerate(("lab-1", "operator")):
        create = ["-c"] if number == 0 else []
        subprocess.run(
            ["mosquitto_passwd", *create, "-b", str(folder / "passwords"), user, f"pw-{user}"], check=True
        )
    conf = blocks("conf").replace("/etc/mosquitto", str(folder)).replace("8883", f"{port} 127.0.0.1")
    (folder / "mosquitto.conf").write_text(f"{conf}\nuser root\n")

    device = tmp_path / "device"
    device.mkdir()
    toml = blocks("toml").replace("8883", str(port)).replace("broker.example", "127.0.0.1")
    (device / "agent.toml").write_text(f"{toml}\n[telemetry]\ninterval_seconds = 0.3\n")
    (device / "password").write_text("pw-lab-1\n")
    onnx_artifact(device / "model.ewa")
    for here, there in (
        ("ca.crt", "authority.crt"),
        ("device.crt", "device.crt"),
        ("device.key", "device.key"),
    ):
        shutil.copy(certificates / there, device / here)
    operator = ["-h", "127.0.0.1", "-p", str(port), "-u", "operator", "-P", "pw-operator", "--cafile"]
    operator += [str(device / "ca.crt"), "--cert", str(device / "device.crt")]
    operator += ["--key", str(device / "device.key")]
    program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
    with subprocess.Popen(
        [program, "-c", str(folder / "mosquitto.conf")], stderr=subprocess.DEVNULL
    ) as broker:
        try:
            wait_until(lambda: can_connect(port), what="mosquitto listens")
            with AgentProcess(device / "agent.toml") as agent:
                agent.wait_for_log("health: up")
                frame = npy(np.zeros((1, 8), np.float32))
                topic = "ew/v1/device/lab-1///i/frame"
                subprocess.run(
                    [
                        "mosquitto_pub",
                        *operator,
                        "-t",
                        topic,
                        "-s",
                        "-q",
                        "1",
                        "--repeat",
                        "4",
                        "--repeat-delay",
                        "0.5",
                    ],
                    input=frame,
                    check=True,
                )  # more than once: the first may come before the source is open, and is counted as dropped
                seen = subprocess.run(
                    ["mosquitto_sub", *operator, "-t", "ew/v1/device/lab-1///m/inference", "-C", "3"],
                    capture_output=True,
                    check=True,
                    timeout=30,
                )
                assert agent.stop() == 0
        finally:
            broker.terminate()
    assert json.loads(seen.stdout.splitlines()[-1])["inferences_total"] >= 1
    assert "refused" not in agent.log


def test_a_board_with_more_sensors_than_fit_a_message_leaves_some_out_and_says_so(
    tmp_path: Path, listen: Callable[..., Reader], mosquitto: Mosquitto
) -> None:
    reader = listen(mosquitto.start().port)
    chip = tmp_path / "sys" / "class" / "hwmon" / "hwmon0"
    chip.mkdir(parents=True)
    (chip / "name").write_text("coretemp\n")
    for number in range(1, 121):
        (chip / f"temp{number}_input").write_text("41000\n")
        (chip / f"temp{number}_label").write_text(f"Package id 0 Core {number}\n")
    config = write_config(
        tmp_path,
        mosquitto.port,
        null_artifact(tmp_path / "a.ewa"),
        sensors={"sysfs_root": "sys"},
    )
    with AgentProcess(config) as agent:
        heat = reader.wait_for("/m/thermal").body
        assert agent.stop() == 0
    reader.close()
    shown = [name for name in heat if name.endswith("_celsius")]
    assert len(shown) > 90
    assert heat["readings_left_out_count"] > 0
    assert reader.about("/e/message_too_large") == []
