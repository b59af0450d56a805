"""The page over HTTP: addresses, arguments, who may see it, and the headers that keep it harmless.

Nothing can be changed through it: every address is read only. Answers are JSON, `answers` has their types.
"""

from __future__ import annotations

import gzip
import hashlib
import hmac
import logging
import mimetypes
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import numpy as np
from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from device_agent.contract.errors import EdgewrightError
from host_tools.errors import InputError, StoreError
from host_tools.review.exports.prometheus import CONTENT_TYPE, fleet_metrics
from host_tools.review.exports.tables import TABLE_TYPES, ranking_table, table_bytes, timeline_table
from host_tools.review.serve import views
from host_tools.review.serve.analyses import Analyses
from host_tools.review.serve.directory import Directory
from host_tools.review.serve.looked import Looked
from host_tools.review.serve.ranking import MOST_EXPORTED, ranking
from host_tools.review.serve.raw_tables import add_raw_tables
from host_tools.review.serve.span import named_span, span_of
from host_tools.review.serve.timeline import timeline_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from host_tools.review.serve.directory import Roll
    from host_tools.review.store.telemetry_store import TelemetryStore

_LOG = logging.getLogger("edgewright.review")
_COOKIE = "edgewright_token"
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_MOST_LISTED = 8
"""Artifacts laid over each other, labels chosen by: more than this is a mistake or an attack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who may see the page.

    Attributes:
        token: What must be shown; None to ask for none.
        hosts: Names under which the page may be asked for, so that a web page elsewhere cannot lead a browser here
            by a name of its own; None for any.
    """

    token: str | None = None
    hosts: tuple[str, ...] | None = ("127.0.0.1", "localhost", "[::1]")


def application(store: TelemetryStore, *, access: Access) -> FastAPI:
    """Return the page of a store.

    Args:
        store: Read from several threads at a time, never written.
        access: Who may see it.
    """
    app = FastAPI(
        title="Edgewright review",
        docs_url=None,
        redoc_url=None,
        description="Read only. Times are Unix seconds.",
    )
    directory = Directory(store)
    app.add_middleware(GZipMiddleware, minimum_size=2048, compresslevel=5)
    if access.hosts is not None:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(access.hosts))
    app.middleware("http")(_guard(access))
    app.exception_handler(EdgewrightError)(_told)
    app.exception_handler(RequestValidationError)(_malformed)
    _add_page(app)
    _add_answers(app, store, directory)
    _add_exports(app, store, directory)
    add_raw_tables(app, store)
    return app


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The arguments that every view has."""

    range: str
    start: float | None
    end: float | None
    level: str | None
    artifact: Sequence[str]
    label: Sequence[str]
    device: str | None

    def looked(self, roll: Roll) -> Looked:
        """Return what is looked at.

        Raises:
            InputError: An argument is wrong.
        """
        if (self.start is None) != (self.end is None):
            raise InputError("time: start and end belong together, got one of them.")
        span = (
            named_span(self.range, newest=roll.newest, level=self.level, kept=roll.kept)
            if self.start is None or self.end is None
            else span_of(self.start, self.end, newest=roll.newest, level=self.level, kept=roll.kept)
        )
        for name, given in (("artifact", self.artifact), ("label", self.label)):
            if len(given) > _MOST_LISTED:
                raise InputError(f"{name}: at most {_MOST_LISTED} at once, got {len(given)}.")
        pairs = [text.partition("=") for text in self.label]
        if not all(key and equals for key, equals, _ in pairs):
            raise InputError(f"label: expected key=value, got {', '.join(self.label)[:80]!r}.")
        return Looked(
            span=span,
            artifacts=tuple(dict.fromkeys(self.artifact)),
            devices=None if self.device is None else (self.device,),
            labels=tuple((key, value) for key, _, value in pairs),
        )


def _asked(
    range: str = "24h",  # noqa: A002 - the name in the address
    start: float | None = None,
    end: float | None = None,
    level: str | None = None,
    artifact: Annotated[list[str] | None, Query()] = None,
    label: Annotated[list[str] | None, Query()] = None,
    device: str | None = None,
) -> Asked:
    return Asked(
        range=range,
        start=start,
        end=end,
        level=level,
        artifact=artifact or (),
        label=label or (),
        device=device,
    )


_Asked = Annotated[Asked, Depends(_asked)]


def _add_answers(app: FastAPI, store: TelemetryStore, directory: Directory) -> None:
    @app.get("/api/fleet", response_class=Response)
    def fleet(asked: _Asked) -> Response:
        roll = directory.roll()
        return _json(views.fleet(store, roll, asked.looked(roll)))

    @app.get("/api/groups", response_class=Response)
    def groups(asked: _Asked, by: str = "target", inner: str | None = None) -> Response:
        roll = directory.roll()
        return _json(views.groups(store, roll, asked.looked(roll), by=by, inner=inner))

    @app.get("/api/timeline", response_class=Response)
    def timeline(asked: _Asked) -> Response:
        roll = directory.roll()
        return _json(timeline_of(store, roll, asked.looked(roll)))

    @app.get("/api/devices", response_class=Response)
    def devices(
        asked: _Asked,
        sort: str = "latency_p95",
        order: str = "descending",
        page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
        search: Annotated[str, Query(max_length=100)] = "",
        status: Annotated[str, Query(max_length=40)] = "",
    ) -> Response:
        roll = directory.roll()
        return _json(
            ranking(
                store,
                roll,
                asked.looked(roll),
                sort=sort,
                is_descending=_is_descending(order),
                page=page,
                search=search,
                status=status,
            )
        )

    @app.get("/api/device", response_class=Response)
    def device(asked: _Asked) -> Response:
        roll = directory.roll()
        if asked.device is None:
            raise InputError("device: which one? Its id is missing.")
        return _json(views.device(store, roll, asked.looked(roll), asked.device))

    found = Analyses(store)

    @app.get("/api/findings", response_class=Response)
    def findings(asked: _Asked) -> Response:
        return _json(found.report(asked.looked(directory.roll())))


def _add_exports(app: FastAPI, store: TelemetryStore, directory: Directory) -> None:
    @app.get("/metrics", response_class=Response)
    def metrics() -> Response:
        return Response(fleet_metrics(store, directory.roll()), media_type=CONTENT_TYPE)

    @app.get("/export/timeline.{kind}", response_class=Response)
    def export_timeline(asked: _Asked, kind: str) -> Response:
        roll = directory.roll()
        return _file(timeline_table(timeline_of(store, roll, asked.looked(roll))), "timeline", kind)

    @app.get("/export/devices.{kind}", response_class=Response)
    def export_devices(
        asked: _Asked,
        kind: str,
        search: str = "",
        status: str = "",
        sort: str = "latency_p95",
        order: str = "descending",
    ) -> Response:
        roll = directory.roll()
        answer = ranking(
            store,
            roll,
            asked.looked(roll),
            sort=sort,
            is_descending=_is_descending(order),
            search=search,
            status=status,
            page_size=MOST_EXPORTED,
        )
        return _file(ranking_table(answer), "devices", kind)


def _is_descending(order: str) -> bool:
    if order not in ("ascending", "descending"):
        raise InputError(f"order: expected ascending or descending, got {order[:20]!r}.")
    return order == "descending"


def _file(table: Any, name: str, kind: str) -> Response:
    return Response(
        table_bytes(table, kind),
        media_type=TABLE_TYPES[kind],
        headers={"Content-Disposition": f'attachment; filename="{name}.{kind}"'},
    )


# --- the page's own files ---


def _add_page(app: FastAPI) -> None:
    @app.get("/", response_class=Response)
    def index(request: Request) -> Response:
        return _static(request, "index.html")

    @app.get("/static/{name}", response_class=Response)
    def static(request: Request, name: str) -> Response:
        return _static(request, name)


def _static(request: Request, name: str) -> Response:
    found = _files().get(name)
    if found is None:
        return Response("Not found.", status_code=404, media_type="text/plain")
    headers = {"Cache-Control": "no-cache", "ETag": found.tag}
    if request.headers.get("if-none-match") == found.tag:
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(
            found.packed, media_type=found.media_type, headers={**headers, "Content-Encoding": "gzip"}
        )
    return Response(gzip.decompress(found.packed), media_type=found.media_type, headers=headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class _StaticFile:
    packed: bytes
    media_type: str
    tag: str


@lru_cache(maxsize=1)
def _files() -> dict[str, _StaticFile]:
    """Return the page's files, Plotly's script among them, which lies in its package: nothing is loaded from afar."""
    found = {
        Path(entry.name).name: entry.read_bytes()
        for entry in files("host_tools.review.serve").joinpath("static").iterdir()
    }
    plotly = find_spec("plotly")
    if plotly is None or plotly.origin is None:
        raise ModuleNotFoundError("No module named 'plotly'", name="plotly")
    found["plotly.min.js"] = (Path(plotly.origin).parent / "package_data" / "plotly.min.js").read_bytes()
    return {
        name: _StaticFile(
            packed=gzip.compress(content, compresslevel=6, mtime=0),
            media_type=mimetypes.guess_type(name)[0] or "application/octet-stream",
            tag=f'"{hashlib.sha256(content).hexdigest()[:20]}"',
        )
        for name, content in found.items()
    }


# --- answers and refusals ---


def _json(answer: object, *, status: int = 200) -> Response:
    return Response(
        msgspec.json.encode(answer, enc_hook=_listed), status_code=status, media_type="application/json"
    )


def _listed(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON")


def _told(request: Request, error: Exception) -> Response:
    status = 503 if isinstance(error, StoreError) else 400 if isinstance(error, InputError) else 500
    if status != 400:
        _LOG.warning("%s: %s", request.url.path, error)
    code, hint = (error.code, error.hint) if isinstance(error, EdgewrightError) else ("internal", "")
    return _json({"error": {"code": code, "message": str(error), "hint": hint}}, status=status)


def _malformed(request: Request, error: Exception) -> Response:
    told = (
        error.errors()[0] if isinstance(error, RequestValidationError) else {"loc": ("?",), "msg": str(error)}
    )
    message = f"{request.url.path}: {told['loc'][-1]}: {told['msg']}."
    return _json({"error": {"code": "input", "message": message, "hint": ""}}, status=400)


def _guard(
    access: Access,
) -> Callable[[Request, Callable[[Request], Awaitable[Response]]], Awaitable[Response]]:
    async def guard(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        shown = _shown_token(request)
        if access.token is not None and not hmac.compare_digest(shown.encode(), access.token.encode()):
            response = Response(
                "A token is needed: open the address that `edgewright review serve` printed.",
                status_code=401,
                media_type="text/plain",
                headers={"WWW-Authenticate": "Bearer"},
            )
        else:
            response = await go_on(request)
            if access.token is not None and request.query_params.get("token"):
                response.set_cookie(_COOKIE, access.token, httponly=True, samesite="strict")
        for name, value in _HEADERS.items():
            response.headers[name] = value
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    return guard


def _shown_token(request: Request) -> str:
    bearer = request.headers.get("authorization", "")
    if bearer.startswith("Bearer "):
        return bearer.removeprefix("Bearer ")
    return request.query_params.get("token") or request.cookies.get(_COOKIE, "")
