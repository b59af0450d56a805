"""What changes, as server-sent events (WHATWG HTML, 9.2). Whoever comes back names the last event that it heard and misses none.

Event types: ``audit``, ``rollout``, ``jobs``, ``devices``; and ``reset`` when so much was missed that everything is to be read anew.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from time import monotonic
from typing import Annotated, Any, Final

from fastapi import FastAPI, Header, Query, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from device_agent.contract.errors import EdgewrightError
from device_agent.contract.telemetry.message import Scalar
from host_tools.fleet.serve import patterns
from host_tools.fleet.serve.admission import Admission, Caller, caller_of
from host_tools.fleet.serve.context import Fleet
from host_tools.fleet.serve.roles import ROOT

_STREAM: Final = "text/event-stream"
_EVENT: Final = {
    "type": "object",
    "description": "One event; `data` is JSON.",
    "required": ["id", "event", "data"],
    "properties": {
        "id": {"type": "string", "pattern": patterns.EVENT_ID},
        "event": {"enum": ["audit", "rollout", "jobs", "devices", "reset"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
}
_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"description": "Events, until the stream ends", "content": {_STREAM: {"schema": _EVENT}}}
}
_POLL_SECONDS: Final = 0.5
_SILENT_SECONDS: Final = 15.0
"""Proxies end what says nothing for long; a comment is said instead."""
_CHECK_SECONDS: Final = 5.0
_AT_ONCE: Final = 500

_Longest = Annotated[
    float,
    Query(
        ge=0.0, le=86_400.0, allow_inf_nan=False, description="When the stream ends; 0: after what is there."
    ),
]
_LastId = Annotated[str, Header(alias="Last-Event-ID", pattern=patterns.EVENT_ID)]


def add_event_endpoints(app: FastAPI, fleet: Fleet) -> None:
    """Add the endpoint."""

    @app.get(f"{ROOT}/events", response_class=StreamingResponse, responses=_ANSWER)
    async def events(
        request: Request, last: _LastId = "", longest_seconds: _Longest = 3_600.0
    ) -> StreamingResponse:
        caller = caller_of(request)
        admission: Admission = request.app.state.admission
        after = int(last) if last else await run_in_threadpool(_newest, fleet)
        admission.begin_stream(caller)
        stream = _stream(fleet, admission, caller, after=after, longest_seconds=longest_seconds)
        return _CountedStream(stream, admission=admission, caller=caller)


class _CountedStream(StreamingResponse):
    """Gives the stream's place back when it ends, even before its first byte."""

    def __init__(self, stream: AsyncIterator[bytes], *, admission: Admission, caller: Caller) -> None:
        super().__init__(
            stream, media_type=_STREAM, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        )
        self._admission = admission
        self._caller = caller

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._admission.end_stream(self._caller)


async def _stream(
    fleet: Fleet, admission: Admission, caller: Caller, *, after: int, longest_seconds: float
) -> AsyncIterator[bytes]:
    began = checked = said = monotonic()
    yield b"retry: 2000\n\n"
    while True:
        try:
            after, text = await run_in_threadpool(_next, fleet, after)
            if monotonic() - checked > _CHECK_SECONDS:
                checked = monotonic()
                if not await run_in_threadpool(admission.still_good, caller):
                    return
        except EdgewrightError:
            return  # the store is away: the reader comes back, and hears what it missed
        if text:
            said = monotonic()
            yield text
            continue
        if monotonic() - began >= longest_seconds:
            return
        if monotonic() - said > _SILENT_SECONDS:
            said = monotonic()
            yield b": still here\n\n"
        await asyncio.sleep(_POLL_SECONDS)


def _next(fleet: Fleet, after: int) -> tuple[int, bytes]:
    """Return the next events as text, and the number that the ones after them come after."""
    with fleet.store.reading() as book:
        newest, oldest = book.changes.newest(), book.changes.oldest()
        if after > newest or (after and after < oldest - 1):
            return newest, _event(newest, "reset", {"newest": newest})
        changes = book.changes.after(after, limit=_AT_ONCE)
    text = b"".join(
        _event(one.number, one.kind, {"seconds": one.seconds, "subject": one.subject, **dict(one.document)})
        for one in changes
    )
    return (changes[-1].number if changes else after), text


def _event(number: int, kind: str, document: Mapping[str, Scalar]) -> bytes:
    return f"id: {number}\nevent: {kind}\ndata: {json.dumps(dict(document), ensure_ascii=True)}\n\n".encode()


def _newest(fleet: Fleet) -> int:
    with fleet.store.reading() as book:
        return book.changes.newest()
