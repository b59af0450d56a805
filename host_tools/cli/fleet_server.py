"""`FleetServer`: a fleet's server as the commands see it. Only the standard library: no command waits for a web client to load."""

from __future__ import annotations

import json
import os
import ssl
import sys
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener

from device_agent.contract.errors import TransferError
from host_tools.cli.arguments import is_token
from host_tools.cli.fleet_arguments import DEFAULT_PORT
from host_tools.errors import InputError, StoreError
from host_tools.no_redirect import NoRedirect
from host_tools.review.serve.exposure import LOOPBACK
from host_tools.review.wire_text import harmless

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

_SECONDS: Final = 60.0
_PAGE: Final = 500
_MOST_BYTES: Final = 1 << 28
_MOST_TOKEN_BYTES: Final = 4_096
_WHO_MAKES_ONE: Final = "An admin makes one: edgewright fleet token create."
_HINT: Final = "Is `edgewright fleet serve` running there?"


class FleetServer:
    """Asks a server.

    Args:
        options: ``server``, ``token_file`` and ``ca``; the environment has the rest.

    Raises:
        InputError: The address is none, or there is no token.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._root = _address(options.server) + "/api/v1"
        self._token = _token(options.token_file)
        context = _tls(options.ca)
        # A proxy of the environment would see the token; a fleet's server is asked directly.
        self._opener = build_opener(ProxyHandler({}), HTTPSHandler(context=context), NoRedirect())

    def ask(
        self, method: str, path: str, body: object = None, *, query: Mapping[str, Any] | None = None
    ) -> Any:
        """Return what the server answers.

        Raises:
            InputError: It refuses.
            StoreError: It, or its store, failed.
            TransferError: It cannot be reached, or the answer is none of a fleet's server.
        """
        data = None if body is None else json.dumps(body).encode()
        answer = self.send(method, path, data, content_type="application/json", query=query)
        try:
            return json.loads(answer) if answer else None
        except ValueError as error:
            raise TransferError(f"{self._root}: answered something else than JSON.", hint=_HINT) from error

    def send(
        self,
        method: str,
        path: str,
        data: bytes | None = None,
        *,
        content_type: str,
        query: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Send bytes and return bytes; raises as `ask` does."""
        given = {name: value for name, value in (query or {}).items() if value not in (None, "", [])}
        address = f"{self._root}{path}" + (f"?{urlencode(given, doseq=True)}" if given else "")
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": content_type}
        request = Request(address, data=data, method=method, headers=headers)  # noqa: S310  http(s), as `_address` has seen to
        try:
            with self._opener.open(request, timeout=_SECONDS) as answer:
                read: bytes = answer.read(_MOST_BYTES)
                return read
        except HTTPError as error:
            with error:
                raise _refusal(error) from error
        except HTTPException as error:
            raise TransferError(f"{self._root}: answered something else than HTTP.", hint=_HINT) from error
        except (URLError, OSError) as error:
            reason = getattr(error, "reason", None) or error
            raise TransferError(f"{self._root}: cannot be reached: {reason}.", hint=_HINT) from error

    def every(self, path: str, *, query: Mapping[str, Any], most: int) -> Iterator[dict[str, Any]]:
        """Give the items of a list, page by page; that there are more than ``most`` is told on standard error."""
        after: str | None = ""
        left = most
        while after is not None and left > 0:
            page = self.ask("GET", path, query={**query, "after": after, "limit": min(left, _PAGE)})
            if not isinstance(page, dict) or not isinstance(page.get("items"), list) or "next" not in page:
                raise TransferError(f"{self._root}{path}: answered something else than a list.", hint=_HINT)
            yield from page["items"]
            left -= len(page["items"])
            after = page["next"]
        if after is not None:
            print(f"edgewright: there are more than these {most}: give a larger --most.", file=sys.stderr)


def _refusal(error: HTTPError) -> InputError | StoreError | TransferError:
    try:
        problem = json.loads(error.read(1 << 16))
        detail, expected, hint = (
            harmless(str(problem.get(name, ""))) for name in ("detail", "expected", "hint")
        )
    except (ValueError, AttributeError, OSError):
        return TransferError(f"the server answered {error.code}, without a reason that can be read.")
    message = detail if not expected or expected in detail else f"{detail} Expected {expected}."
    if error.code == 429:
        return TransferError(
            message, hint=f"Try again in {error.headers.get('Retry-After', 'some')} seconds."
        )
    return (StoreError if error.code >= 500 else InputError)(message, hint=hint)


def _address(given: str | None) -> str:
    text = given or os.environ.get("EDGEWRIGHT_FLEET") or f"http://127.0.0.1:{DEFAULT_PORT}"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InputError(f"--server {text[:80]!a}: {error}.") from error
    if parts.scheme not in ("http", "https") or not host or parts.username or parts.path.strip("/"):
        raise InputError(f"--server: expected https://HOST[:PORT], got {text[:80]!a}.")
    if parts.scheme == "http" and host not in LOOPBACK:
        raise InputError(
            f"--server {text[:80]!a}: the token would go over the network in the clear.",
            hint="Write https:// instead.",
        )
    name = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{name}" + ("" if port is None else f":{port}")


def _token(file: str | None) -> str:
    if file is not None:
        return token_in(file, option="--token-file", hint=_WHO_MAKES_ONE)
    text = os.environ.get("EDGEWRIGHT_FLEET_TOKEN", "").strip()
    if not is_token(text):
        raise InputError(
            f"a token is needed: --token-file FILE, or EDGEWRIGHT_FLEET_TOKEN{', which has something else' if text else ''}.",
            hint=_WHO_MAKES_ONE,
        )
    return text


def token_in(file: str, *, option: str, hint: str = "") -> str:
    """Return the token that a file has; it may be a pipe.

    Raises:
        InputError: It cannot be read, or has something else.
    """
    try:
        with Path(file).open("rb") as stream:
            data = stream.read(_MOST_TOKEN_BYTES)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"{option} {file}: cannot be read: {why}.") from error
    text = data.decode("ascii", "replace").strip()
    if not is_token(text):
        raise InputError(
            f"{option} {file}: expected a token, one word, got {'something else' if text else 'nothing'}.",
            hint=hint,
        )
    return text


def _tls(file: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=file)
    except (OSError, ssl.SSLError) as error:
        raise InputError(f"--ca {file}: cannot be used: {error.strerror or error}.") from error
