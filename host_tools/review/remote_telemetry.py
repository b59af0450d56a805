"""`RemoteTelemetry`: windows and events from the program that holds the store: `edgewright ingest --page` or `review serve`.

A DuckDB file is one process's while it is written, so others ask that process.
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec

from host_tools.errors import InputError, StoreError
from host_tools.no_redirect import NoRedirect
from host_tools.review.store.window_wire import (
    EVENTS_PATH,
    WINDOWS_PATH,
    AskedEvents,
    AskedWindows,
    read_events,
    read_windows,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from host_tools.review.store.windows import Level, Selection, StoredEvent, WindowTable

_SECONDS: Final = 60.0
_MOST_BYTES: Final = 512 << 20


class RemoteTelemetry:
    """The part of a `TelemetryStore` that others may ask over HTTP.

    Args:
        url: Where the page is: ``http://HOST[:PORT]`` or ``https://…``.
        token: What the page asks for; None: nothing.

    Raises:
        InputError: It is no such address.
    """

    def __init__(self, url: str, *, token: str | None = None) -> None:
        try:
            parts = urlsplit(url)
            is_one = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            is_one = False
        if not is_one or parts.query or parts.fragment or parts.username:
            raise InputError(f"telemetry: expected http://HOST[:PORT] or https://…, got {url[:80]!r}.")
        self._url = url.rstrip("/")
        self._token = token

    def windows(self, selection: Selection, *, level: Level, by: Sequence[str]) -> WindowTable:
        """As `TelemetryStore.windows`.

        Raises:
            StoreError: It does not answer, or something else.
        """
        asked = AskedWindows(selection=selection, level=level.seconds, by=tuple(by))
        return read_windows(self._answer(WINDOWS_PATH, msgspec.json.encode(asked)), where=self._url)

    def events(
        self, selection: Selection, *, names: Sequence[str] | None = None, limit: int = 1000
    ) -> tuple[StoredEvent, ...]:
        """As `TelemetryStore.events`.

        Raises:
            StoreError: It does not answer, or something else.
        """
        asked = AskedEvents(selection=selection, names=None if names is None else tuple(names), limit=limit)
        return read_events(self._answer(EVENTS_PATH, msgspec.json.encode(asked)), where=self._url)

    def close(self) -> None:
        """Nothing is kept open."""

    def _answer(self, path: str, body: bytes) -> bytes:
        headers = {"Content-Type": "application/json"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        request = urllib.request.Request(f"{self._url}{path}", data=body, headers=headers, method="POST")  # noqa: S310 - the scheme was looked at
        try:
            with urllib.request.build_opener(NoRedirect()).open(request, timeout=_SECONDS) as answer:
                data: bytes = answer.read(_MOST_BYTES + 1)
        except urllib.error.HTTPError as error:
            with error:
                told = error.read(500).decode(errors="replace")
            hint = "Give the page's token." if error.code == http.HTTPStatus.UNAUTHORIZED else ""
            raise StoreError(f"{self._url}: answered {error.code}: {told!a}.", hint=hint) from error
        except (OSError, http.client.HTTPException) as error:
            raise StoreError(
                f"{self._url}: does not answer: {error}.",
                hint="Is `edgewright ingest --page` or `edgewright review serve` running there?",
            ) from error
        if len(data) > _MOST_BYTES:
            raise StoreError(f"{self._url}: expected at most {_MOST_BYTES} bytes, got more.")
        return data
