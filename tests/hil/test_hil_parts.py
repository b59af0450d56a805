"""Links, brokers, the strategy, and the agent under test, each by itself."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from device_agent.contract.archive import ArtifactArchive
from hil import broker as broker_module
from hil.agent import Agent
from hil.agent_config import encode
from hil.broker import Broker
from hil.errors import AgentError, RigError, UnsupportedFeatureError
from hil.link import Link
from hil.rig import open_rig
from hil.strategy import Strategy
from hil.telemetry import listening
from host_tools.free_port import free_port
from tests.integration.support import null_artifact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.rig import Rig


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    (tmp_path / "rig").mkdir()
    opened = open_rig("local", tmp_path / "rig")
    yield opened
    opened.close()


def echo_server() -> tuple[socket.socket, int]:
    server = socket.create_server(("127.0.0.1", 0))

    def echo(line: socket.socket) -> None:
        with line:
            while data := line.recv(1 << 16):
                line.sendall(data)

    def serve() -> None:
        while True:
            try:
                line, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=echo, args=(line,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    return server, server.getsockname()[1]


def test_a_link_carries_much_in_both_directions_and_closes_as_its_ends_do() -> None:
    server, port = echo_server()
    data = os.urandom(3 << 20)
    with (
        closing(server),
        closing(Link(port)) as link,
        socket.create_connection(("127.0.0.1", link.port), 20) as line,
    ):
        threading.Thread(
            target=lambda: (line.sendall(data), line.shutdown(socket.SHUT_WR)), daemon=True
        ).start()
        received = b""
        while piece := line.recv(1 << 16):
            received += piece
        assert received == data
        assert link.connections == 1


def test_what_a_silent_link_held_back_comes_when_it_is_mended_and_a_cut_breaks_what_there_is() -> None:
    server, port = echo_server()
    with (
        closing(server),
        closing(Link(port)) as link,
        socket.create_connection(("127.0.0.1", link.port), 20) as line,
    ):
        line.sendall(b"1")
        assert line.recv(1) == b"1"
        link.fall_silent()
        assert link.state == "silent"
        line.sendall(b"2")
        line.settimeout(0.3)
        with pytest.raises(TimeoutError):
            line.recv(1)
        link.mend()
        line.settimeout(20)
        assert line.recv(1) == b"2"
        link.cut()
        line.settimeout(20)
        with suppress(ConnectionResetError):
            assert line.recv(1) == b""
        with socket.create_connection(("127.0.0.1", link.port), 20) as other:
            other.settimeout(20)
            with suppress(ConnectionResetError):
                assert other.recv(1) == b""


def test_a_link_that_reads_slowly_takes_no_more_than_its_pace_and_at_once_all_when_that_ends() -> None:
    server, port = echo_server()

    def echoed(line: socket.socket, data: bytes) -> float:
        begin, received = time.monotonic(), b""
        line.sendall(data)
        while len(received) < len(data):
            received += line.recv(1 << 16)
        assert received == data
        return time.monotonic() - begin

    with (
        closing(server),
        closing(Link(port)) as link,
        socket.create_connection(("127.0.0.1", link.port), 60) as line,
    ):
        echoed(line, b"it waits for more at full pace now")
        link.read_slowly(2000.0)
        assert echoed(line, os.urandom(1000)) >= 0.5
        link.read_slowly(1.0)
        threading.Timer(0.2, link.read_slowly, (0.0,)).start()
        assert echoed(line, os.urandom(200_000)) < 60.0, "at its pace that would be two days"


def test_a_link_to_nobody_ends_each_connection() -> None:
    with closing(Link(free_port())) as link, socket.create_connection(("127.0.0.1", link.port), 20) as line:
        assert line.recv(1) == b""


@pytest.mark.parametrize("program", ["mosquitto", "iotcore"])
def test_a_broker_is_killed_and_heard_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    if program == "iotcore":
        monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    broker = Broker(tmp_path)
    assert broker.program == program
    broker.start()
    with listening(broker) as telemetry:
        telemetry.wait_until_heard()
        broker.kill()
        with pytest.raises(RigError, match="passes nothing on"):
            telemetry.wait_until_heard(seconds=0.3)
        broker.start()
        telemetry.wait_until_heard()
    broker.stop()
    broker.stop()
    broker.kill()


def test_a_broker_that_is_not_there_or_does_not_start_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "mosquitto"
    fake.write_text("#!/bin/sh\nexit 3\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(RigError, match=r"mosquitto does not listen: .*broker\.log says why"):
        Broker(tmp_path / "broker").start()
    fake.write_text(f"#!/bin/sh\necho $$ >{tmp_path}/pid\nexec sleep 600\n")
    monkeypatch.setattr(broker_module, "_START_SECONDS", 2.0)
    deaf = Broker(tmp_path / "deaf")
    with pytest.raises(RigError, match="does not listen"):
        deaf.start()
    assert not deaf.is_running
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    monkeypatch.setattr(broker_module, "find_spec", lambda _: None)
    with pytest.raises(RigError, match="apt-get install mosquitto"):
        Broker(tmp_path / "none")


class Told:
    """Notes what the strategy has done; fails where it is told to."""

    def __init__(self, fails: str = "") -> None:
        self.done: list[str] = []
        self.ended = False
        self._fails = fails

    def _do(self, what: str) -> None:
        self.done.append(what)
        if what == self._fails:
            raise RigError("the relay does not answer")

    def begin(self) -> None:
        self.ended = False
        self._do("begin")

    def wait_until_active(self) -> None:
        self._do("active")

    def end(self) -> None:
        self._do("end")

    def has_ended(self) -> bool:
        return self.ended


def test_the_strategy_goes_through_every_state_between(rig: Rig) -> None:
    told = Told()
    strategy = Strategy(rig, told)
    for state in ("model_active", "model_active", "booted", "agent_up", "off", "off", "model_active"):
        strategy.to(state)  # type: ignore[arg-type]  # a state each
        assert strategy.state == state
    assert told.done == ["begin", "active", "end", "begin", "begin", "active"]
    told.ended = True
    assert strategy.state == "booted", "it ended by itself"
    strategy.to("model_active")
    assert told.done[-2:] == ["begin", "active"]


def test_a_rig_that_broke_is_not_tried_again(rig: Rig) -> None:
    told = Told(fails="active")
    strategy = Strategy(rig, told)
    with pytest.raises(RigError, match="the relay does not answer"):
        strategy.to("model_active")
    with pytest.raises(RigError, match="rig 'local' is broken: the relay does not answer"):
        strategy.to("booted")
    with pytest.raises(RigError, match="is broken"):
        Strategy(rig, Told()).to("model_active")
    assert told.done == ["begin", "active"]


def test_a_feature_that_is_not_there_is_named_with_those_that_are(rig: Rig) -> None:
    with pytest.raises(
        UnsupportedFeatureError, match=r"rig 'local' has no 'console'\. It has shell, files, power"
    ):
        _ = rig.console


def test_an_agent_that_ends_or_does_not_speak_is_told_with_its_last_words(rig: Rig, tmp_path: Path) -> None:
    broker = Broker(tmp_path / "broker")
    artifact = ArtifactArchive.open(null_artifact(tmp_path / "a.ewa"))
    broker.start()
    with contextlib.ExitStack() as stack:
        stack.callback(broker.stop)
        telemetry = stack.enter_context(listening(broker))
        agent = Agent(rig, artifact=artifact, telemetry=telemetry, broker_port=broker.port, device="dev")
        with pytest.raises(AgentError, match=r"the agent ended with status 2: .*source: kynd: unknown"):
            agent.start(source={"kynd": "null"})
        assert agent.state == "booted"
        with pytest.raises(AgentError, match="status: "):
            agent.status()
        agent = Agent(rig, artifact=artifact, telemetry=telemetry, broker_port=broker.port, device="dev-2")
        agent.start()
        with pytest.raises(AgentError, match=r"a wonder: not within 0\.2 s"):
            agent.wait_for(lambda: False, what="a wonder", seconds=0.2)
        assert agent.stop() == 0
        assert agent.state == "booted"
        agent.close()


ANSWER_SECONDS = 0.05


def test_what_takes_long_to_answer_is_asked_less_often(tmp_path: Path) -> None:
    """On a slow board the questions took nearly half of the processor, and what was waited for the rest."""
    broker = Broker(tmp_path / "broker")
    broker.start()
    asked: list[str] = []

    def ask(what: str) -> str:
        asked.append(what)
        time.sleep(ANSWER_SECONDS)
        return ""

    with contextlib.ExitStack() as stack:
        stack.callback(broker.stop)
        telemetry = stack.enter_context(listening(broker))
        begin = time.monotonic()
        with pytest.raises(AgentError, match="a wonder: not within 2 s"):
            telemetry.wait_for(lambda: ask("claim"), what="a wonder", seconds=2.0, still=lambda: ask("still"))
        passed = time.monotonic() - begin
        begin = time.monotonic()
        with pytest.raises(AgentError, match="a wonder: it is gone"):
            telemetry.wait_for(lambda: None, what="a wonder", seconds=100.0, still=lambda: "it is gone")
        assert time.monotonic() - begin < 50.0, "the first answer counts"
    # The first question and the last have no rest before them.
    assert asked.count("claim") <= passed / (2 * ANSWER_SECONDS) + 2
    assert asked.count("still") <= passed / (10 * ANSWER_SECONDS) + 2


def test_what_does_not_end_in_time_is_killed_and_told(rig: Rig, tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    program = rig.shell.spawn(
        [
            sys.executable,
            "-c",
            "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(99)",
        ],
        log=log,
    )
    deadline = time.monotonic() + 20
    while b"ready" not in rig.files.read(log) and time.monotonic() < deadline:
        time.sleep(0.02)
    program.signal(15)
    assert program.status() is None
    rig.close()
    assert program.status() == -9


def test_a_configuration_is_written_as_the_agent_reads_it() -> None:
    from device_agent.config import parse_config

    text = encode(
        {
            "device": {"id": "a", "targets": ["x", "y"]},
            "artifact": {"path": 'a "b" ü.ewa'},
            "spool": {"path": "s"},
            "mqtt": {"enabled": False, "reconnect_min_seconds": 0.1},
        }
    )
    config = parse_config(text, origin="x", folder=Path("/f"))
    assert config.device.targets == ("x", "y")
    assert config.artifact.path == Path('/f/a "b" ü.ewa')
    assert config.mqtt.enabled is False
