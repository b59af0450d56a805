"""`Agent`: the agent under test, on whatever rig. It is told by its configuration, and heard by its telemetry."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

from hil.agent_config import default_tables, encode, merged
from hil.errors import AgentError
from hil.strategy import Strategy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from device_agent.contract.archive import ArtifactArchive
    from device_agent.contract.telemetry.event import Event
    from device_agent.contract.telemetry.measurements import InferenceWindow
    from hil.protocols import Program
    from hil.rig import Rig
    from hil.strategy import State
    from hil.telemetry import Telemetry
    from host_tools.review.history import DeviceHistory

# Who has ended is noticed at once; so these only end what hangs, and a machine that does other things needs them long.
_START_SECONDS = 180.0
_STOP_SECONDS = 120.0
_STATUS_SECONDS = 180.0


class Agent:
    """One agent with a folder, an id and a spool of its own.

    Args:
        rig: Where it runs.
        artifact: What it runs.
        telemetry: Where it is heard.
        broker_port: Of the broker, on this machine.
        device: Its id.
    """

    def __init__(
        self, rig: Rig, *, artifact: ArtifactArchive, telemetry: Telemetry, broker_port: int, device: str
    ) -> None:
        self.rig = rig
        self.artifact = artifact
        self.telemetry = telemetry
        self.device = device
        self.folder = f"{rig.folder}/{device}"
        self.config = f"{self.folder}/agent.toml"
        self.log_file = f"{self.folder}/agent.log"
        self.starts = 0
        port = rig.network.reach(broker_port)
        self._tables = default_tables(rig, device=device, folder=self.folder, broker_port=port)
        self._before: Sequence[str] = ()
        self._program: Program | None = None
        self._heard_before = 0
        self._boot_before = ""
        self._strategy = Strategy(rig, self)
        rig.files.write(f"{self.folder}/model.ewa", artifact.path.read_bytes())
        rig.files.write(f"{self.folder}/spool/.keep", b"")

    # --- told ---

    def run_behind(self, before: Sequence[str]) -> None:
        """Put something before the agent's command from the next start on, as `Disk.shrink` gives it."""
        self._before = before

    def configure(self, **tables: Mapping[str, object]) -> None:
        """Say what is different from the defaults, from the next start on.

        Args:
            tables: Tables of ``agent.toml``; their keys are added to those that there are, or replace them.
        """
        self._tables = merged(self._tables, tables)

    def start(self, **tables: Mapping[str, object]) -> None:
        """Bring the board to ``model_active``; see `Strategy.to` and `configure`."""
        self.configure(**tables)
        self.to("model_active")

    def to(self, state: State) -> None:
        """Bring the board to a state; see `Strategy.to`."""
        self._strategy.to(state)

    @property
    def state(self) -> State:
        """In which state the board is."""
        return self._strategy.state

    def stop(self) -> int:
        """Stop the agent in order; return its exit status.

        Raises:
            AgentError: It does not end.
        """
        self.to("booted")
        status = self._program.status() if self._program else 0
        return -signal.SIGKILL if status is None else status

    def cut_power(self) -> None:
        """Take the board's power, and give it back: the board is booted, and the agent gone."""
        self.to("off")
        self.to("booted")

    def kill(self) -> None:
        """Kill its process group with SIGKILL, as the kernel does when memory runs out; the board stays on."""
        self.close()

    def send(self, path: str, data: bytes) -> str:
        """Put a file into the agent's folder on the board; return its path there."""
        self.rig.files.write(f"{self.folder}/{path}", data)
        return f"{self.folder}/{path}"

    # --- heard ---

    @property
    def said(self) -> DeviceHistory:
        """What it said so far; see `Telemetry.of`."""
        return self.telemetry.of(self.device)

    @property
    def windows(self) -> list[InferenceWindow]:
        """Its windows of inference, of all starts, as they came."""
        return self.said.inference

    def events(self, name: str) -> list[Event]:
        """Return its events of one name."""
        return [event for event in self.said.events if event.name == name]

    def log(self, *, offset: int = 0) -> str:
        """Return what it wrote to its log, of all starts, from a byte on."""
        return self.rig.files.read(self.log_file, offset=offset).decode(errors="replace")

    def log_bytes(self) -> int:
        """Return how long its log is: asked on the board, for after a power cut it may be shorter than what was read before."""
        told = self.rig.shell.run(["stat", "-c", "%s", self.log_file]).stdout
        return int(told) if told.strip().isdigit() else 0

    def results(self, path: str = "results.jsonl") -> list[dict[str, Any]]:
        """Return the whole lines of its file of results."""
        text = self.rig.files.read(f"{self.folder}/{path}").decode(errors="replace")
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def listen_for(self, seconds: float) -> None:
        """Take in its telemetry for so long."""
        self.telemetry.listen_for(seconds)

    def wait_for(
        self, claim: Callable[[], Any], *, what: str, seconds: float = _START_SECONDS, ended: bool = False
    ) -> Any:
        """Take in its telemetry until ``claim`` is true; return its value.

        Args:
            claim: Asked again and again.
            what: Stands in the error.
            seconds: How long to wait.
            ended: The agent has ended or may end, and is heard by what is on its way.

        Raises:
            AgentError: Not in time (stretched by the board's slowness), or the agent ended.
        """
        return self.telemetry.wait_for(
            claim,
            what=what,
            seconds=seconds * self.rig.board.section.slowness,
            still=(lambda: "") if ended else self._ended,
        )

    def wait_for_event(self, name: str, *, seconds: float = _START_SECONDS) -> Event:
        """Wait for an event of a name since the last start; see `wait_for`."""

        def found() -> Event | None:
            of_now = [event for event in self.said.events[self._heard_before :] if event.name == name]
            return of_now[0] if of_now else None

        event: Event = self.wait_for(found, what=name, seconds=seconds)
        return event

    def status(self) -> dict[str, Any]:
        """Return what ``edgewright-agent status --json`` says.

        Raises:
            AgentError: It says nothing.
        """
        done = self.rig.shell.run(
            [
                "env",
                *self._environment(),
                *self.rig.agent_command,
                "status",
                "--config",
                self.config,
                "--json",
            ],
            timeout_seconds=_STATUS_SECONDS,
        )
        try:
            answer: dict[str, Any] = json.loads(done.stdout)
        except ValueError as error:
            raise AgentError(f"status: {done.stderr.decode(errors='replace').strip()}") from error
        return answer

    # --- as the strategy has it done (`strategy.Managed`) ---

    def begin(self) -> None:
        """See `Managed.begin`."""
        self.rig.files.write(self.config, encode(self._tables))
        self._heard_before = len(self.said.events)
        self._boot_before = self.said.birth.envelope.boot_id if self.said.birth else ""
        self._program = self.rig.shell.spawn(
            [*self._before, *self.rig.agent_command, "run", "--config", self.config],
            log=self.log_file,
            environment=self.rig.environment,
        )
        self.starts += 1

    def wait_until_active(self) -> None:
        """See `Managed.wait_until_active`."""
        if not self._tables["mqtt"].get("enabled", True):
            return

        def born() -> str:
            birth = self.said.birth
            return birth.envelope.boot_id if birth and birth.envelope.boot_id != self._boot_before else ""

        def infers() -> bool:
            last = self.windows[-1] if self.windows else None
            return last is not None and last.envelope.boot_id == born() and last.inferences_total > 0

        self.wait_for(born, what="the agent's birth message")
        self.wait_for(infers, what="the first result")

    def end(self) -> None:
        """See `Managed.end`."""
        if self._program is None:
            return
        self._program.signal(signal.SIGTERM)
        try:
            self.wait_for(
                self.has_ended, what="the agent's end after SIGTERM", seconds=_STOP_SECONDS, ended=True
            )
        except AgentError:
            self._program.kill()
            raise

    def has_ended(self) -> bool:
        """See `Managed.has_ended`."""
        return self._program is None or self._program.status() is not None

    def close(self) -> None:
        """Kill it, if it still runs."""
        if self._program is not None and self._program.status() is None:
            self._program.kill()

    def _environment(self) -> list[str]:
        return [f"{name}={value}" for name, value in self.rig.environment.items()]

    def _ended(self) -> str:
        if self._program is None or not self.has_ended():
            return ""
        lines = self.log().strip().splitlines() or ["it said nothing"]
        return f"the agent ended with status {self._program.status()}: {lines[-1][:300]}"
