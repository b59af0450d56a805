"""The broker: mosquitto, to which devices show their certificates, or the embedded one, which knows none."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from device_agent.contract.topics import DEFAULT_ROOT
from device_agent.durable import write_durably
from host_tools.authority.folder import OWNER_ONLY
from host_tools.errors import InputError, OutputError
from host_tools.fleet.sample.processes import LOOPBACK, free_port, listens

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
        device_port: For devices.
        asks_certificates: Whether devices must show theirs there.
    """

    port: int
    device_port: int
    asks_certificates: bool


def mosquitto() -> str | None:
    """Return the program, or None where there is none.

    Raises:
        InputError: The embedded broker is not there either.
    """
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if program is None and find_spec("iotcore") is None:
        raise InputError(
            "no MQTT broker: expected the program mosquitto or the package iotcore, neither is installed.",
            hint="sudo apt install mosquitto, or pip install iotcore.",
        )
    return program


def start_broker(
    program: str | None, folder: SampleFolder, authority: AuthorityFolder, processes: Processes
) -> Broker:
    """Start it, and wait until it listens.

    Raises:
        EndAsked: Somebody wants the end.
        OutputError: It does not start, or its files cannot be written.
    """
    if program is None:
        port = free_port()
        processes.start("broker", [sys.executable, "-m", "hil.embedded_broker", str(port)])
        broker = Broker(port=port, device_port=port, asks_certificates=False)
    else:
        broker = Broker(port=free_port(), device_port=free_port(), asks_certificates=True)
        config = _write_files(folder, authority, broker)
        processes.start("broker", [program, "-c", config])
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
