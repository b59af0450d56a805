"""The rig `labgrid`: a board of a labgrid laboratory, reserved through its coordinator, and reached and switched as the laboratory says.

labgrid's own client is called (``pip install 'edgewright[labgrid]'``); nothing of it is imported, so it may be in an environment of its own.
The reservation waits its turn; while it stands nobody else gets the board.

Source: labgrid, User Guide, Reservations: every place has its name as the tag ``name`` beside its own.
"""

from __future__ import annotations

import ast
import contextlib
import re
import subprocess
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hil.drivers.openssh import last_line
from hil.errors import BoardError, RigError
from hil.rigs.ssh import SshHost, open_host
from hil.table import bounded, read_table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hil.board import Board
    from hil.rig import Rig

_SECONDS = 60.0
_SERVICE = re.compile(
    r"^Acquired resource '[^']*' \([^)]*/NetworkService/[^)]*\):\n((?:  .*\n?)+)", re.MULTILINE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabgridHost(SshHost):
    """Which board, and how it is logged into: the table ``[resource]``, which has the keys of `SshHost` too.

    Attributes:
        filter: Tags that the board's place must have: ``board=pi5``; ``name=desk-3`` is one certain place.
        coordinator: ``HOST:PORT``; by default labgrid's own: ``LG_COORDINATOR``, else this machine.
        client: labgrid's client.
        wait_seconds: How long to wait until the board is free.
        has_power: Whether the place has a power port; without one a power cut is SIGKILL to all that was started.
        host: Name or address; by default that of the place's ``NetworkService``, and so are ``port`` and ``user``.
    """

    filter: tuple[str, ...]
    coordinator: str = ""
    client: str = "labgrid-client"
    wait_seconds: float = bounded(600.0, low=1.0, high=86_400.0)
    has_power: bool = False
    host: str = ""


def open_rig(board: Board, folder: Path) -> Rig:
    """Make the rig; see `hil.rig.open_rig`.

    Raises:
        BoardError: ``[resource]`` is wrong.
        RigError: labgrid's client or coordinator is not there, no place has the tags or is free in time, or the board cannot be reached.
    """
    host = read_table(LabgridHost, board.resource, where=f"{board.origin}: resource", error=BoardError)
    if host.power_off or host.power_on:
        raise BoardError(f"{board.origin}: resource: power is labgrid's: say has_power, not power_off.")
    reservation = Reservation(host)
    try:
        rig = open_host(_completed(host, reservation), board, folder)
    except BaseException:
        reservation.close()
        raise
    rig.close_last(reservation.close)
    return rig


class Reservation:
    """One place, reserved and acquired until it is closed.

    Args:
        host: Says which.

    Raises:
        RigError: No place has the tags or is free in time, or the coordinator does not answer.
    """

    def __init__(self, host: LabgridHost) -> None:
        self._client = [host.client, *(["-x", host.coordinator] if host.coordinator else [])]
        told = self._ask("reserve", "--shell", *host.filter)
        found = re.search(r"LG_TOKEN=(\S+)", told)
        if found is None:
            raise RigError(f"labgrid: reserve: expected LG_TOKEN=…, got {told[:200]!r}.")
        self._token = found[1]
        try:
            self._ask("wait", self._token, seconds=host.wait_seconds)
            self._ask("-p", f"+{self._token}", "acquire")
        except RigError:
            self.close()
            raise

    def command(self, *arguments: str) -> tuple[str, ...]:
        """Return a command of labgrid's client for the place."""
        return (*self._client, "-p", f"+{self._token}", *arguments)

    def network_service(self) -> Mapping[str, Any]:
        """Return the parameters of the place's ``NetworkService``; empty: it has none.

        Raises:
            RigError: labgrid does not say.
        """
        shown = self._ask("-p", f"+{self._token}", "show")
        found = _SERVICE.search(shown)
        if found is None:
            return {}
        try:
            parameters: Mapping[str, Any] = ast.literal_eval(found[1].strip())["params"]
        except (ValueError, SyntaxError, KeyError, TypeError) as error:
            raise RigError(
                f"labgrid: show: expected a resource's parameters, got {found[1][:200]!r}."
            ) from error
        return parameters

    def close(self) -> None:
        """Give the place back. Calling twice is harmless."""
        for arguments in (("-p", f"+{self._token}", "release"), ("cancel-reservation", self._token)):
            with contextlib.suppress(RigError):  # it was not acquired, or is given back already
                self._ask(*arguments)

    def _ask(self, *arguments: str, seconds: float = _SECONDS) -> str:
        command = [*self._client, *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)
        except OSError as error:
            raise RigError(
                f"{command[0]}: cannot be started: {error.strerror or error}.",
                hint="pip install 'edgewright[labgrid]', or name another in resource.client.",
            ) from error
        except subprocess.TimeoutExpired as error:
            raise RigError(f"labgrid: {' '.join(arguments)}: not done after {seconds:g} s.") from error
        if done.returncode != 0:
            raise RigError(
                f"labgrid: {' '.join(arguments)}: {last_line((done.stderr or done.stdout).encode())}."
            )
        return done.stdout


def _completed(host: LabgridHost, reservation: Reservation) -> LabgridHost:
    """Fill in what labgrid knows of the place."""
    service = {} if host.host else reservation.network_service()
    address = host.host or str(service.get("address", ""))
    if not address:
        raise RigError(
            f"labgrid: the place of {' '.join(host.filter)} has no NetworkService.",
            hint="Export one, or name the board in resource.host.",
        )
    if host.has_power:
        off, on = reservation.command("power", "off"), reservation.command("power", "on")
        host = replace(host, power_off=off, power_on=on)
    return replace(
        host,
        host=address,
        port=host.port or int(service.get("port", 0)),
        user=host.user or str(service.get("username", "")),
    )
