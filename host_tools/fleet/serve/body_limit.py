"""No request is larger than it may be: one that says so is refused at once, one that does not when it has become so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fastapi import Request

from host_tools.fleet.serve.problems import Refusal, problem_response
from host_tools.fleet.serve.roles import ROOT

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from host_tools.fleet.serve.limits import Limits

_LISTS: Final = f"{ROOT}/devices.csv"


class BodyLimit:
    """Middleware around the application.

    Args:
        app: What answers.
        limits: How large a request, or a device list, may be.
    """

    def __init__(self, app: ASGIApp, *, limits: Limits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most = self._limits.import_bytes if scope["path"] == _LISTS else self._limits.body_bytes
        request = Request(scope)
        told = request.headers.get("content-length", "")
        if told.isdecimal() and (len(told) > 15 or int(told) > most):
            refused = problem_response(request, status=413, code="too_large", detail=_detail(most))
            await refused(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > most:
                raise Refusal(413, "too_large", _detail(most))
            return message

        await self._app(scope, counted, send)


def _detail(most: int) -> str:
    return f"The body is larger than {most} bytes, the most that is read here."
