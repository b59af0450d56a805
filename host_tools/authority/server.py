"""`AuthorityServer`: HTTPS around `EnrolmentService`, on the standard library. For development and small fleets."""

from __future__ import annotations

import logging
import ssl
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final

from device_agent.contract import enrolment as wire
from device_agent.durable import write_durably
from host_tools.authority.folder import OWNER_ONLY
from host_tools.authority.service import refusal_answer
from host_tools.errors import OutputError

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Sequence
    from datetime import timedelta

    from host_tools.authority.folder import AuthorityFolder
    from host_tools.authority.service import Answer, EnrolmentService

_LOG = logging.getLogger("edgewright.authority")
_SILENT_SECONDS: Final = 10.0
"""A client that says nothing for so long is let go."""
_MOST_CONNECTIONS: Final = 64


class _Handler(BaseHTTPRequestHandler):
    timeout = _SILENT_SECONDS
    protocol_version = "HTTP/1.1"
    server_version = "edgewright"
    sys_version = ""

    def do_GET(self) -> None:
        self._send(self._service.answer("GET", self.path, b""))

    def do_POST(self) -> None:
        size = self.headers.get("Content-Length", "")
        if not size.isdecimal() or len(size) > 9:
            self._send(refusal_answer(wire.Refusal(code="malformed", message="a Content-Length is missing")))
        elif int(size) > wire.MAX_MESSAGE_BYTES:
            message = f"at most {wire.MAX_MESSAGE_BYTES} bytes are read"
            self._send(refusal_answer(wire.Refusal(code="too_large", message=message)))
        else:
            self._send(self._service.answer("POST", self.path, self.rfile.read(int(size))))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
        _LOG.debug(format, *args)

    @property
    def _service(self) -> EnrolmentService:
        server = self.server
        if not isinstance(server, AuthorityServer):
            raise TypeError("this handler belongs to an AuthorityServer")
        return server.service

    def _send(self, answer: Answer) -> None:
        self.close_connection = True
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(answer.body)


class AuthorityServer(ThreadingHTTPServer):
    """Listens; made by `listen`. A thread a connection, of which there are at most 64 at a time."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], service: EnrolmentService, context: ssl.SSLContext) -> None:
        self.service = service
        self._context = context
        self._places = threading.BoundedSemaphore(_MOST_CONNECTIONS)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin a thread for the connection once there is a place for it."""
        self._places.acquire()
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Shake hands in the connection's own thread: a client that does not would hold up all others."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Speak TLS, then HTTP."""
        plain: socket.socket = request
        plain.settimeout(_SILENT_SECONDS)
        with self._context.wrap_socket(plain, server_side=True) as secured:
            super().finish_request(secured, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away or does not speak TLS is no fault of the server."""
        del request
        _LOG.debug("connection of %s ended", client_address, exc_info=True)


@contextmanager
def listen(
    folder: AuthorityFolder,
    service: EnrolmentService,
    *,
    host: str,
    port: int,
    names: Sequence[str],
    lifetime: timedelta,
) -> Iterator[AuthorityServer]:
    """Make a certificate for the server itself and open its port; `serve_forever` of what is given answers.

    Args:
        folder: The authority.
        service: What answers.
        host: Address to listen at.
        port: TCP port; 0: any that is free.
        names: What devices call the server: host names and addresses.
        lifetime: How long its certificate is valid; it is made anew with every start.

    Raises:
        InputError: A name is none.
        OutputError: The port or the folder cannot be had.
    """
    key, certificate = folder.certify_server(names, lifetime=lifetime)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    chain = folder.path / "server.pem"
    try:
        write_durably(chain, key + certificate.encode(), mode=OWNER_ONLY)
        context.load_cert_chain(chain)
        server = AuthorityServer((host, port), service, context)
    except OSError as error:
        raise OutputError(f"{host}:{port}, {chain}: {error.strerror or error}.") from error
    try:
        yield server
    finally:
        server.server_close()
