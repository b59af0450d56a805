"""The page: files that hold no data, so that anybody may have them, with headers that let a browser run and ask nothing else."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI
    from starlette.requests import Request

_HEADERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-cache",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    content: bytes
    packed: bytes
    media_type: str
    tag: str


def add_page(app: FastAPI) -> None:
    """Answer ``/`` with the page, and ``/static/NAME`` with its parts."""
    app.add_route("/", _index, methods=["GET"], include_in_schema=False)
    app.add_route("/static/{name}", _static, methods=["GET"], include_in_schema=False)


async def _index(request: Request) -> Response:
    return _answer(request, "index.html")


async def _static(request: Request) -> Response:
    return _answer(request, request.path_params["name"])


def _answer(request: Request, name: str) -> Response:
    found = _files().get(name)
    if found is None:
        return Response("Not found.", status_code=404, media_type="text/plain", headers=dict(_HEADERS))
    headers = {**_HEADERS, "ETag": found.tag, "Vary": "Accept-Encoding"}
    if request.headers.get("if-none-match") == found.tag:
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return Response(found.packed, media_type=found.media_type, headers=headers)
    return Response(found.content, media_type=found.media_type, headers=headers)


@lru_cache(maxsize=1)
def _files() -> Mapping[str, _File]:
    folder = files("host_tools.fleet.serve").joinpath("static")
    contents = {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.is_file()}
    return MappingProxyType(
        {
            name: _File(
                content=content,
                packed=gzip.compress(content, compresslevel=6, mtime=0),
                media_type=mimetypes.guess_type(name)[0] or "application/octet-stream",
                tag=f'"{hashlib.sha256(content).hexdigest()[:20]}"',
            )
            for name, content in contents.items()
        }
    )
