"""A model beside the main one, with a real worker and engine: commands, budgets and retries, seen from the agent's loop."""

from __future__ import annotations

import time
from pathlib import Path
from queue import SimpleQueue
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from device_agent.beside.models import Beside
from device_agent.config import ArtifactSection, parse_config
from device_agent.contract.digest import digest_of_file
from device_agent.contract.topics import DeviceTopics
from device_agent.frames import FrameDoor
from device_agent.inbox import FromModel
from device_agent.occurrences import (
    ArtifactVerified,
    Failed,
    ModelFailed,
    ModelOrdered,
    SourceEnded,
    WorkerStopped,
)
from device_agent.orders import Orders
from device_agent.telemetry.recorder import Recorder
from device_agent.telemetry.spool import Spool, SpoolLimits
from device_agent.telemetry.stamp import Stamper
from device_agent.update.updated_model import UpdatedModel
from tests.integration.support import float_tensor, manifest_of, null_artifact, write_ewa

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

LEAST = (
    '[device]\nid = "a"\n[artifact]\npath = "main.ewa"\n[spool]\npath = "s.db"\ndrain_timeout_seconds = 0.2\n'
)
GATE = (
    '[[model]]\nname = "gate"\n[model.artifact]\npath = "gate.ewa"\n[model.engine]\nretry_min_seconds = 0.1\n'
)


class Loop:
    """What the agent's loop does with them."""

    def __init__(self, folder: Path, text: str, updated: Mapping[str, UpdatedModel]) -> None:
        config = parse_config((LEAST + GATE + text).encode(), origin="agent.toml", folder=folder)
        self.inbox: SimpleQueue[Any] = SimpleQueue()
        self.passed_on: list[object] = []
        self.ends: list[tuple[tuple[str, str], str, str]] = []
        self.orders = Orders(lambda key, *, code, reason: self.ends.append((key, code, reason)))
        self.spool = Spool(
            config.spool.path, SpoolLimits(max_bytes=1 << 20, max_rows=1000, memory_max_bytes=1 << 20)
        )
        stampers = [
            Stamper(boot_id=name, wall_seconds=time.time, monotonic_seconds=time.monotonic, synchronized=bool)
            for name in ("run", "run-local")
        ]
        self.beside = Beside(
            config,
            inbox=self.inbox,
            recorder=Recorder(
                spool=self.spool,
                stamper=stampers[0],
                topics=DeviceTopics("a"),
                payload_max_bytes=16_384,
                local_stamper=stampers[1],
            ),
            doors={name: FrameDoor() for name in ("main", "gate")},
            changed=lambda: None,
            updated=updated,
        )
        (self.gate,) = self.beside.models
        self.verified = 0

    def until(self, claim: Callable[[], object]) -> None:
        deadline = time.monotonic() + 120.0
        while not claim():
            assert time.monotonic() < deadline, (self.gate.state, self.gate.trouble)
            self.beside.turn(time.monotonic(), may_begin=True)
            while not self.inbox.empty():
                item = self.inbox.get()
                self.verified += isinstance(item, FromModel) and isinstance(item.occurrence, ArtifactVerified)
                self.beside.see(item, self.passed_on.append)
            time.sleep(0.005)

    def order(self, operation: Any, model: str = "gate") -> None:
        key = (operation, f"c{len(self.ends)}")
        self.orders.begin(key, ["gate"])
        self.beside.order(ModelOrdered(key, operation, model), self.orders)

    @property
    def inferences(self) -> int:
        return self.gate.runner.meter.inferences_total


def large_artifact(path: Path) -> Path:
    """An artifact for ONNX Runtime with 40 MiB of weights: above 32 MiB glibc always asks the kernel, and takes nothing that others left free."""
    width = 5 << 18
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "large",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, width])],
        [numpy_helper.from_array(np.ones((8, width), np.float32), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    payload = {"payload/model.onnx": bytes(model.SerializeToString())}
    ends = [float_tensor("x", (1, 8)), float_tensor("y", (1, width))]
    manifest = manifest_of(payload, engine="onnx", inputs=ends[:1], outputs=ends[1:], form="onnx_qdq")
    return write_ewa(path, manifest, payload)


@pytest.fixture
def loop_of(tmp_path: Path) -> Iterator[Callable[[str], Loop]]:
    loops: list[Loop] = []

    def make(text: str, updated: Mapping[str, UpdatedModel] = MappingProxyType({})) -> Loop:
        loops.append(Loop(tmp_path, text, updated))
        return loops[-1]

    yield make
    for loop in loops:
        loop.beside.stop()
        loop.beside.close(60.0)
        loop.spool.close()


def test_a_model_that_is_restarted_while_paused_stays_paused(
    tmp_path: Path, loop_of: Callable[[str], Loop]
) -> None:
    null_artifact(tmp_path / "gate.ewa", latency_seconds=0.001)
    loop = loop_of("")
    loop.order("pause")
    assert loop.ends == [(("pause", "c0"), "not_running", "gate: it is not running: waiting")]
    loop.until(lambda: loop.inferences > 3)
    loop.order("pause")
    loop.until(lambda: len(loop.ends) == 2)
    count = loop.inferences
    loop.order("restart_model", "")
    loop.until(lambda: len(loop.ends) == 3)
    assert loop.gate.state == "running"
    assert loop.gate.trouble == "paused by a command"
    assert loop.inferences == count
    loop.order("resume")
    loop.until(lambda: loop.inferences > count)
    assert [code for _, code, _ in loop.ends[1:]] == ["", "", ""]


def test_a_command_that_begins_a_model_before_its_turn_begins_it_once(
    tmp_path: Path, loop_of: Callable[[str], Loop]
) -> None:
    """Begun twice, it would be loaded behind its self-test, and infer untested."""
    null_artifact(tmp_path / "gate.ewa", latency_seconds=0.001)
    loop = loop_of("")
    loop.order("restart_model")
    loop.until(lambda: loop.inferences > 3)
    assert [code for _, code, _ in loop.ends] == [""]
    assert loop.verified == 1


def test_a_model_over_its_budget_is_unloaded_and_begun_again(
    tmp_path: Path, loop_of: Callable[[str], Loop]
) -> None:
    large_artifact(tmp_path / "gate.ewa")
    loop = loop_of("memory_max_bytes = 8000000\n")
    loop.until(lambda: "memory_budget: engine.memory_max_bytes" in loop.gate.trouble)
    assert loop.gate.runner.engine is None
    null_artifact(tmp_path / "gate.ewa")
    loop.until(lambda: loop.gate.state == "running")
    assert loop.gate.trouble == ""


def test_what_concerns_all_models_is_passed_on_once_and_only_then(
    tmp_path: Path, loop_of: Callable[[str], Loop]
) -> None:
    null_artifact(tmp_path / "gate.ewa")
    loop = loop_of("[model.source]\nmax_frames = 5\n")
    loop.inbox.put(SourceEnded("no more"))
    loop.inbox.put(Failed(code="engine", message="broken"))
    loop.until(lambda: loop.gate.state == "ended")
    failed, ended = loop.passed_on
    assert failed == ModelFailed(code="engine", message="broken")
    assert isinstance(ended, SourceEnded)
    assert loop.inferences == 5
    loop.order("resume")
    assert loop.ends[-1][1:] == ("not_running", "gate: it is not running: ended")
    loop.beside.stop()
    loop.inbox.put(WorkerStopped())
    loop.until(lambda: WorkerStopped() in loop.passed_on)
    assert loop.gate.state == "stopped"
    loop.inbox.put(FromModel("gate", Failed(code="engine", message="late")))
    loop.until(loop.inbox.empty)
    assert loop.gate.state == "stopped"


def test_a_model_is_switched_to_what_updates_say_and_shows_nothing_of_the_one_before(
    tmp_path: Path, loop_of: Callable[..., Loop]
) -> None:
    old = null_artifact(tmp_path / "gate.ewa", latency_seconds=0.001)
    new = null_artifact(tmp_path / "new.ewa", latency_seconds=0.002)
    failures: list[tuple[str, str]] = []
    gate = UpdatedModel(ArtifactSection(path=old), lambda code, message: failures.append((code, message)))
    loop = loop_of("", {"gate": gate})
    loop.until(lambda: loop.inferences > 3)
    assert list(loop.beside.close_windows(final=False)) == ["gate"]
    gate.artifact = ArtifactSection(path=new)
    assert loop.beside.close_windows(final=False) == {}, "that is not of what is to run"
    loop.until(
        lambda: loop.gate.state == "running" and loop.gate.runner.digest_of(None) == digest_of_file(new)
    )
    count = loop.inferences
    loop.until(lambda: loop.inferences > count)
    (window,) = loop.beside.close_windows(final=False).values()
    assert 0 < window.latencies.count <= loop.inferences - 4, "without those of the one before"
    assert gate.tap is not None, "its frames can be seen"
    gate.artifact = ArtifactSection(path=tmp_path / "none.ewa")
    loop.until(lambda: failures)
    assert failures[0][0] == "storage"
    gate.artifact = ArtifactSection(path=old)
    loop.until(
        lambda: loop.gate.runner.digest_of(None) == digest_of_file(old) and loop.gate.state == "running"
    )
    assert loop.gate.trouble == ""


def test_a_model_that_is_switched_while_it_is_begun_infers_only_what_was_tested(
    tmp_path: Path, loop_of: Callable[..., Loop]
) -> None:
    old = null_artifact(tmp_path / "gate.ewa", latency_seconds=0.001)
    new = null_artifact(tmp_path / "new.ewa", latency_seconds=0.002)
    gate = UpdatedModel(ArtifactSection(path=old), lambda *_: None)
    loop = loop_of("", {"gate": gate})
    loop.until(lambda: loop.gate.state == "starting")
    gate.artifact = ArtifactSection(path=new)
    loop.until(lambda: loop.verified == 2 and loop.gate.state == "running")
    assert loop.gate.runner.digest_of(None) == digest_of_file(new)
    loop.order("pause")
    loop.until(lambda: loop.ends)
    gate.artifact = ArtifactSection(path=old)
    loop.until(
        lambda: loop.gate.runner.digest_of(None) == digest_of_file(old) and loop.gate.state == "running"
    )
    assert loop.gate.trouble == "paused by a command", "a switch is no command to go on"
