"""`stand`: everything up, in its order: repository, broker, ingest with its page, fleet server, devices with what they were delivered with."""

from __future__ import annotations

import argparse
import json
import os
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from benchmarks.fleet.protocol.costs import Costs
from benchmarks.fleet.protocol.devices import DevicesSpec
from benchmarks.fleet.protocol.programs import Programs, allow_open_files
from benchmarks.fleet.protocol.releases import sign, write_artifact
from device_agent.contract.errors import TransferError
from host_tools.cli.fleet_server import FleetServer
from host_tools.errors import StoreError
from host_tools.fleet.field.releases import encode_for_server
from host_tools.fleet.sample.broker import mosquitto
from host_tools.fleet.sample.history import has_history
from host_tools.fleet.sample.processes import LOOPBACK, listens
from host_tools.fleet.serve.asked import TokenAsked
from host_tools.fleet.serve.tokens import make_token
from host_tools.fleet.store.opening import open_store
from host_tools.free_port import free_port
from host_tools.repository.keys import KeyRing
from host_tools.repository.repository import Repository

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from host_tools.fleet.records.releases import Release

GROUP: Final = "lab"
_START_SECONDS: Final = 200.0
_FILES_OF_A_DEVICE: Final = 8
"""Its socket, its lock, three of its spool, and while a step goes on a few more."""
_FILES_BESIDE: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class StandSettings:
    """How large, and how quick.

    Attributes:
        devices: How many.
        processes: That hold them.
        check_seconds: Between a device's looks for updates.
        window_seconds: Of telemetry.
        rate_hz: Simulated inferences a second.
        probation_seconds: How long a new release must show itself.
        artifact_bytes: Size of a release's payload.
        start_seconds: In so long all devices have begun.
        gates_seconds: Between two looks at the gates.
        look_seconds: Between two looks of the benchmark at what it waits for; the server pays for them too.
        database: Of the fleet server; empty: SQLite in the folder.
    """

    devices: int
    processes: int
    check_seconds: float
    window_seconds: float
    rate_hz: float
    probation_seconds: float
    artifact_bytes: int
    start_seconds: float
    gates_seconds: float
    look_seconds: float = 1.0
    database: str = ""


class Stand:
    """Everything that runs.

    Args:
        folder: Has it all.
        settings: How large, and how quick.

    Attributes:
        settings: As given.
        repository: Signed; releases go here.
        programs: What runs.
        costs: What they take.
        names: Ids of the devices.
        patience_seconds: How long anything is waited for.
    """

    def __init__(self, folder: Path, settings: StandSettings) -> None:
        self._folder = folder
        self.settings = settings
        self.programs = Programs(folder / "logs")
        self.costs = Costs(
            lambda: {name: process.pid for name, process in list(self.programs.running.items())}
        )
        self.repository = Repository(folder / "repository", KeyRing(folder / "keys"))
        self.names = tuple(f"d{number:05d}" for number in range(settings.devices))
        self.patience_seconds = _START_SECONDS + settings.devices
        self._database = settings.database or str(folder / "fleet.db")
        self._broker_port, self._files_port, self._page_port, self._server_port = (
            free_port() for _ in range(4)
        )
        self._server: FleetServer | None = None

    # --- to be asked ---

    def ask(self, method: str, path: str, body: object = None, **query: Any) -> Any:
        """Return what the fleet server answers; while it is away it is asked again."""
        deadline = time.monotonic() + self.patience_seconds
        while True:
            try:
                return self._asked().ask(method, path, body, query=query)
            except (TransferError, StoreError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def every(self, path: str) -> list[dict[str, Any]]:
        """Return all items of a list of the fleet server."""
        return list(self._asked().every(path, query={}, most=1_000_000))

    def answers(self) -> bool:
        """Whether the fleet server answers."""
        try:
            self._asked().ask("GET", "/health")
        except (TransferError, StoreError):
            return False
        return True

    def events(self) -> list[dict[str, Any]]:
        """Return every event of an update that a device has said so far."""
        return [line for folder in self._device_folders() for line in _lines(folder / "events.jsonl")]

    def counts(self) -> dict[str, int]:
        """Return by category what devices have sent so far, with ``acknowledged`` and ``up``."""
        found: dict[str, int] = {"up": 0, "acknowledged": 0}
        for folder in self._device_folders():
            last = _lines(folder / "counts.jsonl")[-1:]
            for line in last:
                for name, count in (
                    ("up", line["up"]),
                    ("acknowledged", line["acknowledged"]),
                    *line["sent"].items(),
                ):
                    found[name] = found.get(name, 0) + count
        return found

    def signed_at(self) -> dict[int, float]:
        """Return by serial of the group's desired states when each was signed, in Unix seconds."""
        folder = self._folder / "repository" / "targets" / "desired" / "group"
        return {
            int(json.loads(path.read_bytes())["serial"]): path.stat().st_mtime
            for path in folder.glob(f"*.{GROUP}.json")
        }

    # --- what is done with it ---

    def release(self, version: str) -> Release:
        """Sign a version into the repository, and tell the server of it."""
        artifact = write_artifact(
            self._folder / f"{version}.ewa", version, size_bytes=self.settings.artifact_bytes
        )
        release = sign(self.repository, self._folder / "repository", artifact)
        self.ask("POST", "/releases", encode_for_server(release))
        return release

    def start(self, name: str) -> None:
        """Start ``server``, ``broker`` or ``ingest``, for the first time or again, and wait until it is there."""
        {"server": self._start_server, "broker": self._start_broker, "ingest": self._start_ingest}[name]()

    def _start_server(self) -> None:
        self.programs.start_python(
            "server", "host_tools", "fleet", "serve", "--database", self._database,
            "--host", LOOPBACK, "--port", str(self._server_port),
            "--repository", self._folder / "repository", "--keys", self._folder / "keys",
            "--broker", f"mqtt://{LOOPBACK}:{self._broker_port}",
            "--telemetry", f"http://{LOOPBACK}:{self._page_port}",
            "--gates-every", str(self.settings.gates_seconds),
        )  # fmt: skip
        self.wait_until(self.answers, "the fleet server answers")

    def wait_until(self, claim: Callable[[], bool], what: str) -> None:
        """Wait for something while all run."""
        self.programs.wait_until(
            claim, what=what, seconds=self.patience_seconds, look_seconds=self.settings.look_seconds
        )

    # --- bringing up ---

    def begin(self) -> None:
        """Bring everything up until all devices are heard."""
        count, processes = self.settings.devices, self.settings.processes
        allow_open_files(_FILES_OF_A_DEVICE * -(-count // processes) + 2 * count + _FILES_BESIDE)
        root = self.repository.init()
        self.start("broker")
        self.programs.start_python(
            "repository",
            "benchmarks.fleet.protocol.files",
            self._folder / "repository",
            str(self._files_port),
        )
        self.start("ingest")
        self._server = self._connect()
        delivered = write_artifact(
            self._folder / "delivered.ewa", "1.0", size_bytes=self.settings.artifact_bytes
        )
        self._start_devices(root, delivered)
        self.start("server")
        self.ask("POST", "/groups", {"name": GROUP})
        table = "\n".join(["id,group", *(f"{name},{GROUP}" for name in self.names), ""])
        self._asked().send("POST", "/devices.csv", table.encode(), content_type="text/csv")
        self.wait_until(lambda: listens(self._files_port), "the repository answers")
        self.wait_until(lambda: self.counts()["up"] == count, "all devices run and are connected")
        self.wait_until(
            lambda: self.ask("GET", "/overview")["by_health"].get("up") == count, "all devices are heard"
        )

    def wait_for_history(self) -> None:
        """Wait until the telemetry store has of every device what it runs, for the gates."""
        running = {one["id"]: one["artifact"] or "" for one in self.every("/devices")}
        self.wait_until(
            lambda: has_history(f"http://{LOOPBACK}:{self._page_port}", running),
            "devices have said enough of what they run",
        )

    def close(self) -> None:
        """End everything."""
        self.costs.close()
        self.programs.end()

    def _start_ingest(self) -> None:
        self.programs.start_python(
            "ingest", "host_tools", "ingest", "--broker", f"mqtt://{LOOPBACK}:{self._broker_port}",
            "--store", self._folder / "telemetry.duckdb", "--page", str(self._page_port), "--store-memory", "1024",
        )  # fmt: skip
        self.wait_until(lambda: listens(self._page_port), "the page of telemetry answers")

    def _start_broker(self) -> None:
        place = self._folder / "broker"
        place.mkdir(exist_ok=True)
        lines = [
            *(["user root"] if os.getuid() == 0 else []),
            f"listener {self._broker_port} {LOOPBACK}",
            "allow_anonymous true",
            "persistence true",
            f"persistence_location {place}/",
            "max_queued_messages 1000000",
            "set_tcp_nodelay true",
            "",
        ]
        (place / "mosquitto.conf").write_text("\n".join(lines))
        self.programs.start("broker", mosquitto(), "-c", place / "mosquitto.conf")
        self.wait_until(lambda: listens(self._broker_port), "the broker listens")

    def _connect(self) -> FleetServer:
        store = open_store(self._database)
        try:
            asked = TokenAsked(name="benchmark", role="admin", lifetime_days=1.0)
            _, secret = make_token(store, asked, actor="benchmark")
        finally:
            store.close()
        token = self._folder / "token"
        token.write_text(secret)
        address = f"http://{LOOPBACK}:{self._server_port}"
        return FleetServer(argparse.Namespace(server=address, token_file=str(token), ca=None))

    def _start_devices(self, root: Path, delivered: Path) -> None:
        settings = self.settings
        for number, folder in enumerate(self._device_folders()):
            folder.mkdir(parents=True)
            spec = DevicesSpec(
                folder=str(folder),
                names=self.names[number :: settings.processes],
                group=GROUP,
                broker_port=self._broker_port,
                repository=f"http://{LOOPBACK}:{self._files_port}",
                root=str(root),
                delivered=str(delivered),
                check_seconds=settings.check_seconds,
                window_seconds=settings.window_seconds,
                rate_hz=settings.rate_hz,
                probation_seconds=settings.probation_seconds,
                start_seconds=settings.start_seconds,
            )
            file = folder / "spec.json"
            file.write_text(json.dumps(asdict(spec)))
            self.programs.start_python(f"devices-{number}", "benchmarks.fleet.protocol.devices", file)

    def _device_folders(self) -> list[Path]:
        return [self._folder / "devices" / str(number) for number in range(self.settings.processes)]

    def _asked(self) -> FleetServer:
        if self._server is None:
            raise TransferError("the fleet server has not been started.")
        return self._server


@contextmanager
def stand(folder: Path, settings: StandSettings) -> Iterator[Stand]:
    """Bring everything up; end it when the block does."""
    made = Stand(folder, settings)
    try:
        made.begin()
        yield made
    finally:
        made.close()


def _lines(path: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a file that grows; none where there is no file yet."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
