"""Which device asks: its token is looked at before a byte of the body is read, and opens that device's addresses only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from host_tools.errors import InputError
from host_tools.fleet.serve.limits import Buckets, Limits
from host_tools.fleet.serve.problems import Refusal, too_many

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from pathlib import Path

    from fastapi import Request, Response

    from host_tools.fleet.records.devices import Device
    from host_tools.fleet.store.ddi import DdiTokenKind
    from host_tools.fleet.store.fleet_store import FleetStore

_SCHEMES: Final[Mapping[str, DdiTokenKind]] = {"targettoken": "target", "gatewaytoken": "gateway"}


_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DdiSettings:
    """What devices are served with.

    Attributes:
        repository: Folder of the signed repository whose files are downloaded.
        tenant: First part of every address.
        poll_seconds: How long a device sleeps between two polls.
    """

    repository: Path
    tenant: str = "DEFAULT"
    poll_seconds: float = 300.0


def checked_tenant(text: str) -> str:
    """Return a tenant's id as a part of an address.

    Raises:
        InputError: It is none.
    """
    if _NAME.fullmatch(text) is None:
        raise InputError(f"--ddi-tenant: expected 1 to 64 letters, digits, _ and -, got {text[:80]!a}.")
    return text


class Door:
    """Lets in devices.

    Args:
        store: Has the tokens and the devices.
        limits: Of the server.
        tenant: The only one that there is.
    """

    def __init__(self, store: FleetStore, limits: Limits, tenant: str) -> None:
        self._store = store
        self._tenant = tenant
        self._requests = Buckets(limits.requests)
        self._refusals = Buckets(limits.refusals)

    def admit(self, request: Request) -> Device:
        """Return the device that asks, once it may.

        Raises:
            Refusal: The token is none, or of another device; the device takes no part; or it asks too often.
            StoreError: The tokens cannot be read.
        """
        name = request.path_params["controller"]
        device = self._known(request, name)
        if device is None:
            address = request.client.host if request.client is not None else "unknown"
            wait = self._refusals.take(address)
            if wait:
                raise too_many("Too many tokens that are none came from this address.", wait_seconds=wait)
            raise Refusal(
                401,
                "token_needed",
                "No token was shown that is good for this device.",
                expected="a header Authorization: TargetToken TOKEN, or GatewayToken TOKEN",
                hint="An operator makes one: edgewright fleet devices target-token.",
                headers={"WWW-Authenticate": 'TargetToken realm="edgewright"'},
            )
        wait = self._requests.take(name)
        if wait:
            raise too_many("This device asks more often than it may.", wait_seconds=wait)
        if device.state != "enrolled":
            raise Refusal(403, "no_part", f"The device is {device.state}.", expected="one that is enrolled")
        return device

    def _known(self, request: Request, name: str) -> Device | None:
        """Return the device; None for every reason not to, so that nobody learns which devices there are."""
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        kind = _SCHEMES.get(scheme.lower())
        if kind is None or not secret.strip() or request.path_params["tenant"] != self._tenant:
            return None
        if _NAME.fullmatch(name) is None:
            return None
        with self._store.reading() as book:
            token = book.ddi_tokens.of_secret(kind, secret.strip())
            device = None if token is None else book.devices.find(name)
            if token is None or device is None:
                return None
            return device if token.subject == (device.id if kind == "target" else device.group) else None


class DdiRoute(APIRoute):
    """An address behind `Door`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        answer = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            door: Door = request.app.state.ddi_door
            request.state.device = await run_in_threadpool(door.admit, request)
            return await answer(request)

        return guarded


def device_of(request: Request) -> Device:
    """Return the device that asks, once it was let in."""
    return cast("Device", request.state.device)
