"""`bring_up`: everything in its order, until somebody wants the end."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol

from device_agent.contract.errors import TransferError
from device_agent.durable import write_durably
from host_tools.authority.folder import OWNER_ONLY, AuthorityFolder, create_authority
from host_tools.errors import OutputError
from host_tools.fleet.field.releases import encode_for_server
from host_tools.fleet.sample.broker import mosquitto, start_broker
from host_tools.fleet.sample.devices import enrol_devices, start_authority, start_devices
from host_tools.fleet.sample.files import serving_files
from host_tools.fleet.sample.history import has_history
from host_tools.fleet.sample.plans import FIRST, GROUP, write_plans
from host_tools.fleet.sample.processes import LOOPBACK, Processes, listens, require_free
from host_tools.fleet.sample.releases import release_all
from host_tools.fleet.serve.asked import TokenAsked
from host_tools.fleet.serve.tokens import make_token
from host_tools.fleet.store.opening import open_store
from host_tools.free_port import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from host_tools.fleet.records.releases import Release
    from host_tools.fleet.sample.broker import Broker
    from host_tools.fleet.sample.ending import Ending
    from host_tools.fleet.sample.folder import SampleFolder
    from host_tools.progress import Progress

_TOKEN_DAYS: Final = 3_650.0
"""The folder is to work as long as somebody plays with it; the token is good on this machine only."""
_CA_LIFETIME: Final = timedelta(days=3_652)
_ROLL_UP_SECONDS: Final = "2"
_GATES_SECONDS: Final = "5"
_ENDED: Final = ("finished", "aborted", "rolled_back")


class Server(Protocol):
    """The fleet's server, as it is asked."""

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Return what it answers; raises `TransferError` where it cannot be reached, `InputError` where it refuses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where everything is.

    Attributes:
        fleet: The server's, without path.
        review: The page of telemetry.
        authority: Where devices enrol.
        repository: What devices read.
        broker: For programs of this machine.
    """

    fleet: str
    review: str
    authority: str
    repository: str
    broker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A sample that is up."""

    addresses: Addresses
    processes: Processes


@contextmanager
def bring_up(
    folder: SampleFolder,
    *,
    port: int,
    check_seconds: float,
    connect: Callable[[str, Path], Server],
    plan_of: Callable[[Path], object],
    ending: Ending,
    progress: Progress,
) -> Iterator[Sample]:
    """Bring everything up, or go on where an earlier command stopped; end all when the block does.

    Args:
        folder: Where.
        port: The server's; 0 for any that is free.
        check_seconds: How often devices look for updates.
        connect: Makes a `Server` from address and token file.
        plan_of: Reads a plan as the server takes it.
        ending: Whether somebody wants the end.
        progress: Told of what is done.

    Raises:
        EndAsked: Somebody wants the end before all is up.
        EdgewrightError: Something does not start, or the folder cannot be used.
    """
    program, port = mosquitto(), require_free(port)
    progress.stage("Authority, repository, releases", None)
    authority = _authority(folder)
    releases = release_all(folder)
    write_plans(folder)
    processes = Processes(folder.logs, ending)
    try:
        with serving_files(folder.repository) as repository:
            progress.stage("Broker", None)
            broker = start_broker(program, folder, authority, processes)
            page = _start_ingest(folder, broker, processes)
            url = start_authority(folder, processes)
            enrol_devices(folder, authority, url, processes, progress)
            progress.stage("Telemetry store and its page", None)
            processes.wait_until(lambda: listens(page), what="the page of telemetry answers")
            review = f"http://{LOOPBACK}:{page}"
            progress.stage("Fleet server", None)
            server, fleet = _start_server(folder, broker, url, review, port, processes, connect)
            _tell_releases(server, releases)
            progress.stage(f"{folder.devices} devices", folder.devices)
            start_devices(folder, broker, repository, processes, check_seconds=check_seconds)
            _wait_for_devices(folder, server, processes, progress)
            progress.stage("Their first release", None)
            _first_rollout(folder, server, processes, plan_of)
            progress.stage("A history of it, for the gates", None)
            processes.wait_until(
                lambda: has_history(review, _running(server)), what="the devices have said enough"
            )
            addresses = Addresses(
                fleet=fleet,
                review=review,
                authority=url,
                repository=repository,
                broker=f"mqtt://{LOOPBACK}:{broker.port}",
            )
            yield Sample(addresses=addresses, processes=processes)
    finally:
        processes.end()


def _authority(folder: SampleFolder) -> AuthorityFolder:
    if (folder.authority / "ca.key").exists():
        return AuthorityFolder(folder.authority)
    return create_authority(folder.authority, name="Edgewright sample fleet", lifetime=_CA_LIFETIME)


def _start_ingest(folder: SampleFolder, broker: Broker, processes: Processes) -> int:
    port = free_port()
    processes.start_edgewright(
        "ingest", "ingest", "--broker", f"mqtt://{LOOPBACK}:{broker.port}", "--store", folder.telemetry,
        "--page", str(port), "--roll-up-every", _ROLL_UP_SECONDS, "--store-memory", "512",
    )  # fmt: skip
    return port


def _start_server(
    folder: SampleFolder,
    broker: Broker,
    authority: str,
    review: str,
    port: int,
    processes: Processes,
    connect: Callable[[str, Path], Server],
) -> tuple[Server, str]:
    _token(folder)
    processes.start_edgewright(
        "fleet", "fleet", "serve", "--database", folder.database, "--host", LOOPBACK, "--port", str(port),
        "--repository", folder.repository, "--keys", folder.keys,
        "--authority", folder.authority, "--authority-url", authority,
        "--broker", f"mqtt://{LOOPBACK}:{broker.port}",
        "--telemetry", review, "--gates-every", _GATES_SECONDS,
    )  # fmt: skip
    address = f"http://{LOOPBACK}:{port}"
    server = connect(address, folder.token)

    def answers() -> bool:
        try:
            server.ask("GET", "/health")
        except TransferError:
            return False
        return True

    processes.wait_until(answers, what="the fleet's server answers")
    return server, address


def _token(folder: SampleFolder) -> None:
    """Make the admin's token, unless there is one."""
    if folder.token.exists():
        return
    store = open_store(str(folder.database))
    try:
        asked = TokenAsked(name="sample", role="admin", lifetime_days=_TOKEN_DAYS)
        _, secret = make_token(store, asked, actor="fleet sample")
    finally:
        store.close()
    try:
        write_durably(folder.token, secret.encode() + b"\n", mode=OWNER_ONLY)
    except OSError as error:
        raise OutputError(f"{error.filename or folder.token}: {error.strerror}.") from error


def _tell_releases(server: Server, releases: dict[str, Release]) -> None:
    known = {one["id"] for one in server.ask("GET", "/releases")["items"]}
    for release in releases.values():
        if release.id not in known:
            server.ask("POST", "/releases", encode_for_server(release))


def _wait_for_devices(folder: SampleFolder, server: Server, processes: Processes, progress: Progress) -> None:
    seen: set[str] = set()

    def all_up() -> bool:
        found = {
            one["id"]
            for one in server.ask("GET", f"/devices?group={GROUP}&limit=100")["items"]
            if one["health"] == "up"
        }
        progress.step(len(found - seen))
        seen.update(found)
        return found.issuperset(folder.names)  # now: a store that was there tells of an earlier run first

    processes.wait_until(all_up, what="all devices are heard")


def _running(server: Server) -> dict[str, str]:
    """Return by device what it runs."""
    devices = server.ask("GET", f"/devices?group={GROUP}&limit=100")["items"]
    return {one["id"]: one["artifact"] or "" for one in devices}


def _first_rollout(
    folder: SampleFolder, server: Server, processes: Processes, plan_of: Callable[[Path], object]
) -> None:
    """Roll out what devices were delivered with, unless that was done."""
    known = {one["id"]: one["state"] for one in server.ask("GET", "/rollouts")["items"]}
    if FIRST not in known:
        server.ask("POST", "/rollouts", plan_of(folder.path / f"{FIRST}.toml"))
    if known.get(FIRST, "draft") == "draft":
        server.ask("POST", f"/rollouts/{FIRST}/submit", {})

    def has_ended() -> bool:
        return server.ask("GET", f"/rollouts/{FIRST}")["state"] in _ENDED

    if known.get(FIRST) not in _ENDED:
        processes.wait_until(has_ended, what="devices have their first release")
