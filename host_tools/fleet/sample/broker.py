"""The broker: mosquitto, to which devices show their certificates. The demo's embedded one does not speak the MQTT 5 that the server needs."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from device_agent.contract.topics import DEFAULT_ROOT
from device_agent.durable import write_durably
from host_tools.authority.folder import OWNER_ONLY
from host_tools.errors import InputError, OutputError
from host_tools.fleet.sample.processes import LOOPBACK, listens
from host_tools.free_port import free_port

if TYPE_CHECKING:
    from host_tools.authority.folder import AuthorityFolder
    from host_tools.fleet.sample.folder import SampleFolder
    from host_tools.fleet.sample.processes import Processes

_SERVER_DAYS: Final = 397
_RULES: Final = f"""\
pattern write {DEFAULT_ROOT}/device/%u/#
pattern read {DEFAULT_ROOT}/device/%u///i/#
pattern read {DEFAULT_ROOT}/device/%u///cmd/#
pattern read {DEFAULT_ROOT}/device/%u///twin/desired
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """A broker that runs.

    Attributes:
        port: For this machine's own programs, in the clear.
        device_port: For devices, over TLS with their own certificates.
    """

    port: int
    device_port: int


def mosquitto() -> str:
    """Return the program.

    Raises:
        InputError: There is none.
    """
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        raise InputError(
            "no MQTT 5 broker: expected the program mosquitto, it is not installed.",
            hint="sudo apt install mosquitto.",
        )
    return program


def start_broker(
    program: str, folder: SampleFolder, authority: AuthorityFolder, processes: Processes
) -> Broker:
    """Start it, and wait until it listens.

    Raises:
        EndAsked: Somebody wants the end.
        OutputError: It does not start, or its files cannot be written.
    """
    broker = Broker(port=free_port(), device_port=free_port())
    processes.start("broker", [program, "-c", _write_files(folder, authority, broker)])
    processes.wait_until(
        lambda: listens(broker.port) and listens(broker.device_port), what="the broker listens"
    )
    return broker


def _write_files(folder: SampleFolder, authority: AuthorityFolder, broker: Broker) -> str:
    place = folder.path / "broker"
    key, certificate = authority.certify_server([LOOPBACK], lifetime=timedelta(days=_SERVER_DAYS))
    lines = [
        "per_listener_settings true",
        *(["user root"] if os.getuid() == 0 else []),  # else it would give up root, and could not write here
        "persistence true",
        f"persistence_location {place}/",
        "max_queued_messages 100000",
        f"listener {broker.port} {LOOPBACK}",
        "allow_anonymous true",
        f"listener {broker.device_port} {LOOPBACK}",
        f"cafile {place}/ca.crt",
        f"certfile {place}/server.crt",
        f"keyfile {place}/server.key",
        "require_certificate true",
        "use_identity_as_username true",
        f"acl_file {place}/acl",
    ]
    files = {
        "server.key": key,
        "server.crt": certificate.encode(),
        "ca.crt": authority.signer.pem.encode(),
        "acl": _RULES.encode(),
        "mosquitto.conf": "\n".join([*lines, ""]).encode(),
    }
    try:
        place.mkdir(mode=0o700, exist_ok=True)
        for name, data in files.items():
            write_durably(place / name, data, mode=OWNER_ONLY)
    except OSError as error:
        raise OutputError(f"{error.filename or place}: {error.strerror}.") from error
    return str(place / "mosquitto.conf")
