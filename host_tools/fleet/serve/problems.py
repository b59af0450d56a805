"""Refusals as problem documents (RFC 9457): what is wrong, what was expected, and the next step. No value that was sent is told back."""

from __future__ import annotations

import logging
import math
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from device_agent.contract.errors import EdgewrightError, TransferError
from host_tools.errors import ConflictError, InputError, NotFoundError, QuotaError, StoreError
from host_tools.fleet.serve.patterns import expected_by

if TYPE_CHECKING:
    from collections.abc import Mapping

PROBLEM_TYPE: Final = "application/problem+json"
_LOG: Final = logging.getLogger("edgewright.fleet")
_RETRY_SECONDS: Final = 5.0
_STATUS: Final[tuple[tuple[type[EdgewrightError], int], ...]] = (
    (NotFoundError, 404),
    (ConflictError, 409),
    (QuotaError, 409),
    (StoreError, 503),
    (TransferError, 503),
    (InputError, 422),
)
_TOLD: Final = (400, 401, 403, 404, 405, 409, 413, 415, 422, 429, 503)


class Problem(BaseModel):
    """A problem document.

    Attributes:
        type: Which kind of problem, as a URN that ends with `code`.
        title: The kind in words.
        status: The HTTP status.
        detail: What is wrong here.
        code: Stable name of the kind.
        what: Which part of the request; empty: the whole.
        expected: What would have been right; empty: `detail` has it.
        hint: The next step; empty: there is none.
        instance: The address that was asked for.
    """

    model_config = ConfigDict(frozen=True)

    type: str
    title: str
    status: int
    detail: str
    code: str
    what: str = ""
    expected: str = ""
    hint: str = ""
    instance: str = ""


class Refusal(HTTPException):
    """A request is refused before anything looked into it."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        expected: str = "",
        hint: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.code = code
        self.expected = expected
        self.hint = hint


def too_many(detail: str, *, wait_seconds: float, hint: str = "") -> Refusal:
    """Return the refusal of somebody who asks too often."""
    return Refusal(
        429, "too_many", detail, hint=hint, headers={"Retry-After": str(max(1, math.ceil(wait_seconds)))}
    )


def documented() -> dict[int | str, dict[str, Any]]:
    """Return every refusal as OpenAPI describes it."""
    content = {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in _TOLD}


def add_problems(app: FastAPI) -> None:
    """Let an application tell of every error so."""
    app.exception_handler(EdgewrightError)(_of_ours)
    app.exception_handler(RequestValidationError)(_of_validation)
    app.exception_handler(HTTPException)(_of_http)
    app.exception_handler(Exception)(_of_defect)


def problem_response(
    request: Request,
    *,
    status: int,
    code: str,
    detail: str,
    what: str = "",
    expected: str = "",
    hint: str = "",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a problem as an HTTP answer."""
    problem = Problem(
        type=f"urn:edgewright:problem:{code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
        what=what,
        expected=expected,
        hint=hint,
        instance=request.url.path[:200].encode("ascii", "backslashreplace").decode(),
    )
    return Response(
        problem.model_dump_json(), status_code=status, media_type=PROBLEM_TYPE, headers=dict(headers or {})
    )


def _of_ours(request: Request, error: Exception) -> Response:
    if not isinstance(error, EdgewrightError):
        raise TypeError("this handler is for errors of ours")
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    if status >= 500:
        _LOG.warning("%s %s: %s", request.method, request.url.path, error)
    return problem_response(
        request,
        status=status,
        code=error.code,
        detail=str(error.args[0]),
        hint=error.hint,
        headers={"Retry-After": f"{_RETRY_SECONDS:.0f}"} if status == 503 else {},
    )


def _of_validation(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise TypeError("this handler is for validation")
    first = error.errors()[0]
    if first["loc"] == ("body",) and first["type"] != "missing" and not _is_json(request):
        return problem_response(
            request,
            status=415,
            code="media_type",
            detail="The body is not said to be JSON.",
            what="header.content-type",
            expected="Content-Type: application/json",
        )
    what = ".".join(str(part)[:64] for part in first["loc"]).encode("ascii", "backslashreplace").decode()
    is_json = first["type"] == "json_invalid"
    expected = expected_by(first)
    message = (expected or str(first["msg"])).encode("ascii", "backslashreplace").decode()
    return problem_response(
        request,
        status=400 if is_json else 422,
        code="malformed" if is_json else "invalid",
        detail="The body is not JSON." if is_json else f"{what}: {'expected ' if expected else ''}{message}.",
        what="body" if is_json else what,
        expected=message,
        hint="The description of every field is in /api/v1/openapi.json.",
    )


def _is_json(request: Request) -> bool:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    # Where nothing is said, the framework takes it for JSON.
    return kind in ("", "application/json") or (kind.startswith("application/") and kind.endswith("+json"))


def _of_http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise TypeError("this handler is for HTTP errors")
    if error.status_code == 400 and not isinstance(error, Refusal):
        # The framework's word for a body that it cannot parse.
        error = Refusal(
            400, "malformed", "The body cannot be read as JSON.", expected="JSON of a few levels, in UTF-8"
        )
    code = error.code if isinstance(error, Refusal) else HTTPStatus(error.status_code).name.lower()
    return problem_response(
        request,
        status=error.status_code,
        code=code,
        detail=str(error.detail),
        expected=error.expected if isinstance(error, Refusal) else "",
        hint=error.hint if isinstance(error, Refusal) else "",
        headers=error.headers,
    )


def _of_defect(request: Request, error: Exception) -> Response:
    _LOG.error("%s %s: failed", request.method, request.url.path, exc_info=error)
    return problem_response(
        request,
        status=500,
        code="failed",
        detail="The server itself failed; its log says why.",
        hint="Try again later, and report it.",
    )
