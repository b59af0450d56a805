"""Windows and events as they are stored, for other programs of ours: the fleet server judges its gates on them.

Read only, as the page is; a question is posted because it may name thousands of devices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
from fastapi import FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool

from host_tools.errors import InputError
from host_tools.review.serve.span import LATEST
from host_tools.review.store.window_wire import (
    EVENTS_PATH,
    WINDOWS_PATH,
    AskedEvents,
    AskedWindows,
    write_events,
    write_windows,
)
from host_tools.review.store.windows import Level, check_axes

if TYPE_CHECKING:
    from host_tools.review.store.telemetry_store import TelemetryStore

MEDIA_TYPE: Final = "application/msgpack"
_MOST_BYTES: Final = 8 << 20
_MOST_EVENTS: Final = 1_000_000
_Asked = TypeVar("_Asked", AskedWindows, AskedEvents)


def add_raw_tables(app: FastAPI, store: TelemetryStore) -> None:
    """Add both addresses."""

    @app.post(WINDOWS_PATH, response_class=Response)
    async def windows(request: Request) -> Response:
        asked = await _asked(request, AskedWindows)
        try:
            level, axes = Level(asked.level), check_axes(asked.by)
        except ValueError as error:
            raise InputError(f"{WINDOWS_PATH}: {error}.") from error
        table = await run_in_threadpool(store.windows, asked.selection, level=level, by=axes)
        return Response(write_windows(table), media_type=MEDIA_TYPE)

    @app.post(EVENTS_PATH, response_class=Response)
    async def events(request: Request) -> Response:
        asked = await _asked(request, AskedEvents)
        if not 1 <= asked.limit <= _MOST_EVENTS:
            raise InputError(f"{EVENTS_PATH}: limit: expected 1 to {_MOST_EVENTS}, got {asked.limit}.")
        found = await run_in_threadpool(store.events, asked.selection, names=asked.names, limit=asked.limit)
        return Response(write_events(found), media_type=MEDIA_TYPE)


async def _asked(request: Request, kind: type[_Asked]) -> _Asked:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _MOST_BYTES:
            raise InputError(f"{request.url.path}: expected at most {_MOST_BYTES} bytes.")
    try:
        asked = msgspec.json.decode(bytes(body), type=kind)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InputError(f"{request.url.path}: {error}.") from error
    start, end = asked.selection.start, asked.selection.end
    if not 0.0 <= start <= end <= LATEST:
        raise InputError(
            f"{request.url.path}: selection: expected Unix seconds, start before end and before the year 9999, "
            f"got {start!r} to {end!r}."
        )
    return asked
