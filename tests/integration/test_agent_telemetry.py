"""The agent against a real broker, read by ``mosquitto_sub``."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
from iotcore import Broker

from device_agent.contract.telemetry import MEASUREMENTS, Birth, Event, Health, Result
from device_agent.contract.telemetry_codec import decode
from device_agent.contract.units import decode_units
from tests.integration.support import (
    AgentProcess,
    Line,
    Mosquitto,
    free_port,
    null_artifact,
    retained,
    wait_until,
    write_config,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

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
    # Health of the steps of the start may be replaced by the next step's before it is sent; everything else arrives.
    assert len(set(range(max(seen) + 1)) - seen) <= 6


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
    assert all(0.002 <= window["latency_p50_seconds"] < 0.1 for window in windows if window["latency_count"])
    assert "60 frames were inferred" in reader.about("/status/health")[-1].body["reason"]


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
    # Every number between is there, but for birth and health that newer ones replaced when the link came up twice.
    inside = set(range(windows[0]["seq"], windows[-1]["seq"] + 1))
    assert len(inside - {seq for _, seq in by_key}) <= 4
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
    )
    with AgentProcess(config) as agent:
        reader.wait_for("/status/health", lambda line: line.body["status"] == "up")
        time.sleep(0.5)
        began = time.monotonic()
        assert agent.stop() == 0
        assert time.monotonic() - began < 3.0
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
