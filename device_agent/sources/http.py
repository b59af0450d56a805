"""Frames that are posted over HTTP, and their results in the answers.

``POST /infer`` with the bytes of an ``.npy``, a picture or a WAV file, or with a text (``text/plain``). For programs on this machine: it
listens on the loopback address unless told otherwise, and knows neither users nor TLS; put a proxy in front of it to open it to others.

    200  the result, JSON        411  no Content-Length         503  more frames, bytes or connections than are taken
    400  not understood          413  larger than allowed       504  no result in time
    408  sent too slowly

Memory: what waits is at most ``queue_frames`` bodies, what is being read `_BODIES_READ` of the largest, however many connections there
are; a body takes what came of it, not what its head promised.
"""

from __future__ import annotations

import io
import queue
import socket
import threading
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from device_agent.contract.errors import DeviceError
from device_agent.sources.adapt import to_payload
from device_agent.sources.frame_queue import FrameQueue
from device_agent.sources.received import arrays_of, require_one_frame
from device_agent.sources.room import Room
from device_agent.sources.source import Frame, refusal_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from device_agent.contract.manifest import PayloadTensor
    from device_agent.sources.frame_queue import Overflow
    from device_agent.sources.prepare_frame import OpenPreparation
    from device_agent.sources.source import Describe

_MAX_CONNECTIONS: Final = 16
_READ_SECONDS: Final = 10.0
"""How long a client may be silent while it sends."""
_BODY_SECONDS: Final = 60.0
"""How long a body may take in all: a drop every nine seconds is not silence."""
_BODIES_READ: Final = 2
"""So many of the largest are read at the same time; of smaller ones more."""
_CHUNK_BYTES: Final = 1 << 16
_LINGER_SECONDS: Final = 2.0
"""How long what a refused client still sends is thrown away: else it would see a reset in place of the reason."""


@dataclass(frozen=True, slots=True)
class _Posted:
    """A frame that waits, what its sender calls it, and where its answer is awaited: status and body."""

    payload: bytes
    media_type: str
    answers: queue.SimpleQueue[tuple[int, bytes]] = field(default_factory=queue.SimpleQueue)

    def refuse(self, reason: str, status: int = 503) -> None:
        self.answers.put((status, refusal_bytes(reason)))


@dataclass(frozen=True, slots=True)
class _Response:
    """See `source.Answer`."""

    frame: str
    posted: _Posted
    describe: Describe

    def give(self, duration_ns: int, outputs: Sequence[NDArray[np.generic]]) -> None:
        self.posted.answers.put((200, self.describe(self.frame, duration_ns, outputs)))

    def refuse(self, reason: str) -> None:
        self.posted.refuse(reason, 500)


class HttpSource:
    """See `Source`.

    Args:
        tensors: The payload's inputs; a request carries the one there is, or a text.
        preparation: For pictures, recordings or texts; None refuses them.
        address: Where it listens.
        port: TCP port; 0: any that is free.
        queue_frames: Frames that wait; at least 1.
        max_frame_bytes: Largest body that is read.
        timeout_seconds: How long a client waits for its result.
        on_refused: Told why a frame was refused; on the thread that calls `next`.
        overflow: What to do with one frame more than may wait; `block` lets its client wait.
        describe: Writes a result.

    Raises:
        DeviceError: The port cannot be had, or the payload has several inputs and takes no texts.
    """

    def __init__(
        self,
        tensors: Sequence[PayloadTensor],
        preparation: OpenPreparation | None,
        *,
        address: str,
        port: int,
        queue_frames: int,
        max_frame_bytes: int,
        timeout_seconds: float,
        on_refused: Callable[[str], None],
        overflow: Overflow,
        describe: Describe,
    ) -> None:
        require_one_frame(tensors, preparation, over="HTTP")
        self.refused = 0
        self._tensors = tensors
        self._preparation = preparation
        self._on_refused = on_refused
        self._describe = describe
        self._number = 0
        self._queue: FrameQueue[_Posted] = FrameQueue(
            queue_frames,
            overflow,
            lambda posted: posted.refuse("dropped: more frames came than could be inferred"),
        )
        waits_seconds = None if overflow == "block" else timeout_seconds
        self._room = Room(_BODIES_READ * max_frame_bytes, waits_seconds)
        try:
            self._server = _Server((address, port), self._queue, self._room, max_frame_bytes, timeout_seconds)
        except OSError as error:
            raise DeviceError(
                f"source.http_address {address}, source.http_port {port}: cannot listen: {error.strerror or error}.",
                hint="Choose an IPv4 address of this machine, or its name, and a port that nobody has.",
            ) from error
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, name="http", daemon=True).start()

    @property
    def dropped(self) -> int:
        """See `Source`."""
        return self._queue.dropped + self._room.turned_away

    def next(self, timeout_seconds: float) -> Frame | None:
        """See `Source.next`. A frame that is not understood is counted, reported, answered, and None."""
        posted = self._queue.take(timeout_seconds)
        if posted is None:
            return None
        self._number += 1
        name = f"http-{self._number}"
        try:
            arrays = arrays_of(posted.payload, self._tensors, self._preparation, media_type=posted.media_type)
            inputs = to_payload(arrays, self._tensors)
        except DeviceError as error:
            self.refused += 1
            self._on_refused(str(error))
            posted.refuse(str(error), 400)
            return None
        return Frame(id=name, inputs=inputs, answer=_Response(name, posted, self._describe))

    def close(self) -> None:
        """See `Source.close`."""
        self._queue.close()
        self._room.close()
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(
        self,
        address: tuple[str, int],
        frames: FrameQueue[_Posted],
        room: Room,
        max_frame_bytes: int,
        timeout_seconds: float,
    ) -> None:
        self.frames = frames
        self.room = room
        self.max_frame_bytes = max_frame_bytes
        self.answer_seconds = timeout_seconds
        self._connections = threading.BoundedSemaphore(_MAX_CONNECTIONS)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._connections.acquire(blocking=False):
            super().process_request(request, client_address)
            return
        self._turn_away(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no fault of ours, and nothing to log."""

    def _turn_away(self, request: socket.socket) -> None:
        body = refusal_bytes(f"{_MAX_CONNECTIONS} connections are open already")
        head = f"HTTP/1.1 503 Service Unavailable\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        try:
            request.settimeout(1.0)
            request.sendall(head.encode() + body)
        except OSError:
            pass
        self.shutdown_request(request)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _READ_SECONDS
    protocol_version = "HTTP/1.1"
    server_version = "edgewright-agent"
    sys_version = ""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002  its name
        """Refuse what is no request of ours as every other refusal: in JSON."""
        if code == HTTPStatus.NOT_IMPLEMENTED:
            code, message = HTTPStatus.METHOD_NOT_ALLOWED, "POST /infer is all there is"
        self.request_version = self.protocol_version  # else garbage would be answered without a status
        self._say(code, refusal_bytes(message or HTTPStatus(code).phrase))
        self.close_connection = True

    def handle_expect_100(self) -> bool:
        """Refuse what the head alone condemns before anything of it is sent, as curl and others ask first."""
        return self._is_taken() and super().handle_expect_100()

    def do_POST(self) -> None:
        """Take a frame, wait for its result."""
        if not self._is_taken():
            return
        length = int(self.headers["Content-Length"])
        with self.server.room.taken(length) as has_room:
            if not has_room:
                self._say(503, refusal_bytes("too much is being sent at the same time"))
                return
            payload = self._body(length)
            if payload is None:
                return
            posted = _Posted(payload, self.headers.get("Content-Type", ""))
            self.server.frames.put(posted)
        try:
            status, body = posted.answers.get(timeout=self.server.answer_seconds)
        except queue.Empty:
            status, body = 504, refusal_bytes(f"no result within {self.server.answer_seconds:g} s")
        self._say(status, body)

    def _is_taken(self) -> bool:
        """Say whether the head is that of a frame; if not, it was refused."""
        length = self.headers.get("Content-Length", "")
        if self.path != "/infer":
            self._say(404, refusal_bytes("POST /infer is all there is"))
        elif not length.isascii() or not length.isdigit() or len(length) > 12:
            self._say(411, refusal_bytes("a Content-Length is needed"))
        elif int(length) > self.server.max_frame_bytes:
            most = self.server.max_frame_bytes
            self._say(
                413, refusal_bytes(f"{length} bytes; source.max_frame_bytes: at most {most} are accepted")
            )
        else:
            return True
        return False

    def _body(self, length: int) -> bytes | None:
        """Return the body; None when the client went away, or was refused because it is too slow."""
        body, deadline = io.BytesIO(), monotonic() + _BODY_SECONDS
        while body.tell() < length:
            chunk = self.rfile.read1(min(length - body.tell(), _CHUNK_BYTES))
            if not chunk:
                self.close_connection = True
                return None
            if monotonic() > deadline:
                self._say(
                    408, refusal_bytes(f"{body.tell()} of {length} bytes came within {_BODY_SECONDS:g} s")
                )
                return None
            body.write(chunk)
        return body.getvalue()

    def _say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        over = status not in (200, 400)
        if over:
            # What was not read of the request would be taken for the next one.
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(body)
        if over:
            self._linger()

    def _linger(self) -> None:
        """Throw away what the client still sends, for a moment."""
        deadline = monotonic() + _LINGER_SECONDS
        try:
            self.connection.shutdown(socket.SHUT_WR)
            while (left := deadline - monotonic()) > 0:
                self.connection.settimeout(left)
                if not self.connection.recv(_CHUNK_BYTES):
                    return
        except OSError:
            return

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the standard library's name
        """Log nothing: what was inferred is in the telemetry."""
