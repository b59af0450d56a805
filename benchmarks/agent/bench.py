"""One run of `edgewright-agent` against the embedded broker, and the telemetry that it sent."""

from __future__ import annotations

import compileall
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import device_agent
from benchmarks.tasks import NotMeasuredError
from device_agent.contract.topics import DEFAULT_ROOT
from host_tools.review.broker_address import parse_broker
from host_tools.review.history import DeviceHistory, History
from host_tools.review.listener import listen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from host_tools.review.listener import Listener

_STOP_SECONDS: Final = 30.0
_START_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class Broker:
    """The embedded broker, and a subscription to all that passes it."""

    port: int
    listener: Listener


@dataclass(slots=True)
class AgentRun:
    """A running agent. Its telemetry gathers in ``history`` while somebody calls `listen_for`."""

    device: str
    folder: Path
    process: subprocess.Popen[bytes]
    started: float
    broker: Broker
    history: History = field(default_factory=History)

    @property
    def said(self) -> DeviceHistory:
        """What this agent said so far."""
        return self.history.devices.get(self.device) or DeviceHistory(device=self.device)

    def listen_for(self, seconds: float) -> None:
        """Take in telemetry for so long.

        Raises:
            NotMeasuredError: The agent ended.
        """
        for delivery in self.broker.listener.deliveries(seconds=seconds):
            if delivery is not None:
                self.history.add(delivery)
        if self.process.poll() is not None:
            raise NotMeasuredError(self.last_words())

    def wait_until_up(self) -> None:
        """Take in telemetry until the agent infers.

        Raises:
            NotMeasuredError: It ended, or took too long.
        """
        end = time.monotonic() + _START_SECONDS
        while self.said.birth is None or self.said.health is None or self.said.health.status != "up":
            if time.monotonic() > end:
                raise NotMeasuredError(
                    f"the agent was not up after {_START_SECONDS:.0f} s; see {self.folder / 'agent.log'}"
                )
            self.listen_for(0.2)

    def last_words(self) -> str:
        """Say how the agent ended, with the last line of its log."""
        lines = (self.folder / "agent.log").read_text(
            encoding="utf-8", errors="replace"
        ).strip().splitlines() or ["no message"]
        return f"edgewright-agent ended with status {self.process.poll()}: {lines[-1][:300]} (log: {self.folder / 'agent.log'})"


@contextmanager
def embedded_broker() -> Iterator[Broker]:
    """Start a broker on a free port of the loopback interface.

    Raises:
        NotMeasuredError: The package with the broker is not installed.
    """
    try:
        from iotcore import Broker as Embedded  # noqa: PLC0415 - its absence is reported, not a crash
    except ImportError as error:
        raise NotMeasuredError(
            f"iotcore (the embedded MQTT broker) is not installed: pip install 'iotcore>=0.4' ({error})"
        ) from error
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    with (
        Embedded(port=port, listen="127.0.0.1"),
        listen(parse_broker(f"mqtt://127.0.0.1:{port}"), root=DEFAULT_ROOT) as listener,
    ):
        yield Broker(port=port, listener=listener)


@contextmanager
def running_agent(broker: Broker, folder: Path, artifact: Path, settings: str) -> Iterator[AgentRun]:
    """Start the agent, and stop it with SIGTERM when the block ends.

    Args:
        broker: Where it reports.
        folder: Fresh folder for configuration, spool and log; its name becomes the device's id.
        artifact: What it runs.
        settings: Further TOML tables; those of device, artifact, mqtt and spool are given.

    Raises:
        NotMeasuredError: The command is not installed.
    """
    folder.mkdir(parents=True)
    config = folder / "agent.toml"
    config.write_text(
        f'[device]\nid = "{folder.name}"\n\n[artifact]\npath = "{artifact.resolve()}"\n\n'
        f'[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\n\n[spool]\npath = "spool.db"\n\n{settings}',
        encoding="utf-8",
    )
    _compile()
    with (folder / "agent.log").open("wb") as log:
        started = time.time()
        process = subprocess.Popen([command(), "run", "--config", str(config)], stdout=log, stderr=log)
        try:
            yield AgentRun(device=folder.name, folder=folder, process=process, started=started, broker=broker)
        finally:
            _stop(process)


@cache
def _compile() -> None:
    """Leave the agent's bytecode where an installer leaves it.

    Where the environment forbids to write any (``PYTHONDONTWRITEBYTECODE``), every start of a checkout would compile a hundred modules: a
    quarter of a second, and a fifth more memory for good.
    """
    compileall.compile_dir(Path(device_agent.__file__).parent, quiet=1)


def command() -> str:
    """Return the path of `edgewright-agent` beside this Python.

    Raises:
        NotMeasuredError: It is not there.
    """
    path = Path(sys.executable).parent / "edgewright-agent"
    if not path.is_file():
        raise NotMeasuredError(
            f"{path} is not there: install Edgewright into this environment (pip install -e '.[host]')."
        )
    return str(path)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
