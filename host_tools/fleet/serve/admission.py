"""Who is at the door: token, role and rate are looked at before a byte of the body is read."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, get_args, get_origin

from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from host_tools.fleet.serve.limits import Buckets, Limits
from host_tools.fleet.serve.problems import Refusal, too_many
from host_tools.fleet.serve.roles import NEEDED, OPEN, STOPPING, may

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from fastapi import Request, Response

    from host_tools.fleet.records.access import ApiToken, Role
    from host_tools.fleet.store.fleet_store import FleetStore

_HOUR: Final = 3_600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks."""

    token: str
    name: str
    role: Role

    @property
    def actor(self) -> str:
        """As in the audit."""
        return f"user {self.name}"


class Admission:
    """Lets in who may come in.

    Args:
        store: Has the tokens and the audit.
        limits: Of the server.
    """

    def __init__(self, store: FleetStore, limits: Limits) -> None:
        self.limits = limits
        self._store = store
        self._requests = Buckets(limits.requests)
        self._refusals = Buckets(limits.refusals)
        self._streams: Counter[str] = Counter()
        self._lock = threading.Lock()

    def admit(self, request: Request, needed: Role, *, counts: bool) -> Caller:
        """Return who asks.

        Args:
            request: Of whom.
            needed: Role of the endpoint.
            counts: Whether the quota of changes holds for it.

        Raises:
            Refusal: Nobody who is known, somebody who may not, or somebody who asks too often.
            StoreError: The tokens cannot be read.
        """
        address = request.client.host if request.client is not None else "unknown"
        caller = self._known(request)
        if caller is None:
            # A good token passes whatever others at its address try: many share one, behind a proxy or on this machine.
            wait = self._refusals.take(address)
            if wait:
                raise too_many("Too many tokens that are none came from this address.", wait_seconds=wait)
            raise Refusal(
                401,
                "token_needed",
                "No token was shown that is good here.",
                expected="a header Authorization: Bearer TOKEN",
                hint="An admin makes one: edgewright fleet token create.",
                headers={"WWW-Authenticate": 'Bearer realm="edgewright"'},
            )
        wait = self._requests.take(caller.token)
        if wait:
            raise too_many("This token asks more often than it may.", wait_seconds=wait)
        if not may(caller.role, needed):
            raise Refusal(
                403,
                "role_needed",
                f"This token has the role {caller.role}.",
                expected=f"the role {needed}",
                hint="Ask an admin of the fleet.",
            )
        if counts:
            self._require_quota(caller)
        return caller

    def still_good(self, caller: Caller) -> bool:
        """Return whether a token that was let in is good still."""
        with self._store.reading() as book:
            token = book.tokens.get(caller.token)
            return _is_good(token, book.now_seconds)

    def begin_stream(self, caller: Caller) -> None:
        """Take a place for a stream of this token.

        Raises:
            Refusal: It has as many as it may have.
        """
        with self._lock:
            if self._streams[caller.token] >= self.limits.streams:
                raise too_many(f"This token has {self.limits.streams} streams open.", wait_seconds=10.0)
            self._streams[caller.token] += 1

    def end_stream(self, caller: Caller) -> None:
        """Give the place back."""
        with self._lock:
            self._streams[caller.token] -= 1

    def _known(self, request: Request) -> Caller | None:
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not secret:
            return None
        with self._store.reading() as book:
            token = book.tokens.of_secret(secret.strip())
            if token is None or not _is_good(token, book.now_seconds):
                return None
        return Caller(token=token.id, name=token.name, role=token.role)

    def _require_quota(self, caller: Caller) -> None:
        with self._store.reading() as book:
            done = book.audit.done_since(caller.actor, book.now_seconds - _HOUR)
        if done >= self.limits.changes_per_hour:
            raise too_many(
                f"{caller.name} has made {done} changes within an hour, as many as one may.",
                wait_seconds=_HOUR / 60,
                hint="Many devices at once come as a list: POST /api/v1/devices.csv.",
            )


class GuardedRoute(APIRoute):
    """An endpoint behind `Admission`. One that the table of roles does not know cannot be made."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        answer = super().get_route_handler()
        endpoint = endpoint_of(self)
        if endpoint in OPEN:
            return answer
        needed = NEEDED[endpoint]
        counts = not endpoint.startswith("GET ") and endpoint not in STOPPING
        known = frozenset(parameter.alias for parameter in self.dependant.query_params)
        several = frozenset(
            parameter.alias
            for parameter in self.dependant.query_params
            if _takes_several(parameter.field_info.annotation)
        )

        async def guarded(request: Request) -> Response:
            admission: Admission = request.app.state.admission
            request.state.caller = await run_in_threadpool(admission.admit, request, needed, counts=counts)
            _require_known(request, known)
            _require_once(request, several)
            return await answer(request)

        return guarded


def endpoint_of(route: APIRoute) -> str:
    """Return an endpoint's name in the table of roles."""
    (method,) = sorted(route.methods or {"GET"})
    return f"{method} {route.path}"


def _require_known(request: Request, known: frozenset[str]) -> None:
    """Refuse a parameter that means nothing here: a filter that is misspelt would otherwise give everything."""
    if not known.issuperset(request.query_params):
        raise Refusal(
            422,
            "unknown_parameter",
            "A parameter of the address means nothing here.",
            expected=", ".join(sorted(known)) or "none",
        )


def _require_once(request: Request, several: frozenset[str]) -> None:
    """Refuse a parameter that is given twice where one is meant: which of the two would be anybody's guess."""
    given = [name for name, _ in request.query_params.multi_items() if name not in several]
    if len(set(given)) < len(given):
        raise Refusal(
            422,
            "repeated_parameter",
            "A parameter of the address is given more than once.",
            expected="each once" + "".join(f", but {name} as often as you like" for name in sorted(several)),
        )


def _takes_several(annotation: object) -> bool:
    return any(get_origin(one) is list for one in (annotation, *get_args(annotation)))


def caller_of(request: Request) -> Caller:
    """Return who asks, once it was let in."""
    caller: Caller = request.state.caller
    return caller


def _is_good(token: ApiToken, now_seconds: float) -> bool:
    return token.revoked_seconds is None and token.expires_seconds > now_seconds
