"""`Sender`: publishes as agents do, QoS 1, over a raw socket, at a cost of a few microseconds a message.

Like an agent's spool it keeps what the broker has not acknowledged, and sends it again over the next connection. With
``resend_seconds`` it keeps for so long what was acknowledged, too: a broker that is killed forgets what it has acknowledged.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.review.fleet_messages import Said

_CHUNK = 100
_PAUSE_SECONDS = 0.1
_MOST_UNACKNOWLEDGED = 2000
_CONNACK = 0x20
_PUBACK = 0x40
_PINGRESP = 0xD0
_NO_SUBSCRIBER = 0x10


class Sender:
    """Sends messages 0 to ``total`` of ``said`` in order, from a thread of its own.

    Args:
        port: Of the broker, on loopback.
        client_id: MQTT client id.
        said: Returns a message by its number.
        total: How many there are.
        may_send: Returns up to which number it may send now; asked again and again.
        resend_seconds: See above.
    """

    def __init__(
        self,
        port: int,
        *,
        client_id: str,
        said: Callable[[int], Said],
        total: int,
        may_send: Callable[[], int],
        resend_seconds: float = 0.0,
    ) -> None:
        self._port = port
        self._client_id = client_id.encode()
        self._said = said
        self._total = total
        self._may_send = may_send
        self._resend_seconds = resend_seconds
        self._next = 0
        self._unacknowledged: deque[int] = deque()
        self._kept: deque[tuple[float, int]] = deque()
        self._again: deque[int] = deque()
        self._closing = threading.Event()
        self.first_sent = 0
        """Messages that were sent once at least."""
        self.sent_again = 0
        self.acknowledged = 0
        """Acknowledgements, of one message as often as it was sent again."""
        self.unheard = 0
        """Acknowledged with the word that nobody is subscribed."""
        self.connections = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def is_done(self) -> bool:
        """Whether everything was sent and acknowledged."""
        return self._next >= self._total and not self._unacknowledged and not self._again

    @property
    def waiting(self) -> int:
        """Messages that were sent, and have to be sent again or acknowledged."""
        return len(self._unacknowledged) + len(self._again)

    def finish(self) -> None:
        """Send nothing that was not sent once."""
        self._total = self._next

    def close(self) -> None:
        """End the thread."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                with socket.create_connection(("127.0.0.1", self._port), 2.0) as connection:
                    self._serve(connection)
            except OSError:
                pass
            # What may be lost goes first, in the old order.
            lost = [number for _, number in self._kept] + list(self._unacknowledged)
            self._again = deque(sorted({*lost, *self._again}))
            self._kept.clear()
            self._unacknowledged.clear()
            self._closing.wait(_PAUSE_SECONDS)

    def _serve(self, connection: socket.socket) -> None:
        variable = b"\x00\x04MQTT\x05\x02\x00\x1e\x00"
        body = variable + struct.pack("!H", len(self._client_id)) + self._client_id
        connection.sendall(b"\x10" + bytes([len(body)]) + body)
        answers = _Answers(connection)
        answers.wait_for_acceptance()
        self.connections += 1
        last_word = time.monotonic()
        while not self._closing.is_set():
            now = time.monotonic()
            while self._kept and now - self._kept[0][0] > self._resend_seconds:
                self._kept.popleft()
            chunk = self._chunk()
            if chunk:
                self._send(connection, answers, b"".join(chunk))
                last_word = now
            elif now - last_word > 10.0:
                connection.sendall(b"\xc0\x00")
                last_word = now
            for heard in answers.take(0.0 if chunk else 0.01):
                self._acknowledged(no_subscriber=heard)

    def _chunk(self) -> list[bytes]:
        packets: list[bytes] = []
        room = _MOST_UNACKNOWLEDGED - len(self._unacknowledged)
        until = min(self._total, self._may_send())
        while len(packets) < min(_CHUNK, room):
            if self._again:
                number = self._again.popleft()
                self.sent_again += 1
            elif self._next < until:
                number = self._next
                self._next += 1
                self.first_sent = self._next
            else:
                break
            self._unacknowledged.append(number)
            packets.append(_packet(self._said(number), number % 65535 + 1))
        return packets

    def _send(self, connection: socket.socket, answers: _Answers, data: bytes) -> None:
        """Send, and take acknowledgements while there is no room: two that only write wait for each other for ever."""
        connection.setblocking(False)  # noqa: FBT003  socket's own signature
        view = memoryview(data)
        while view and not self._closing.is_set():
            try:
                view = view[connection.send(view) :]
            except BlockingIOError:
                select.select([connection], [connection], [], 1.0)
                for heard in answers.take(0.0):
                    self._acknowledged(no_subscriber=heard)

    def _acknowledged(self, *, no_subscriber: bool) -> None:
        number = self._unacknowledged.popleft()
        if no_subscriber:
            self.unheard += 1
            self._unacknowledged.appendleft(number)
            raise ConnectionError("nobody is subscribed")
        self.acknowledged += 1
        if self._resend_seconds:
            self._kept.append((time.monotonic(), number))


class _Answers:
    """What the broker says: acknowledgements, in the order of the messages."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._rest = b""

    def wait_for_acceptance(self) -> None:
        """Wait for CONNACK.

        Raises:
            OSError: It does not come, or says no.
        """
        self._connection.settimeout(5.0)
        head = self._connection.recv(2, socket.MSG_WAITALL)
        if len(head) < 2 or head[0] != _CONNACK:
            raise ConnectionError("no answer to CONNECT")
        body = self._connection.recv(head[1], socket.MSG_WAITALL)
        if len(body) < 2 or body[1] != 0:
            raise ConnectionError("refused")

    def take(self, seconds: float) -> list[bool]:
        """Return the acknowledgements that have come, each with whether nobody is subscribed.

        Raises:
            OSError: The connection is over.
        """
        if not select.select([self._connection], [], [], seconds)[0]:
            return []
        data = b""
        with contextlib.suppress(BlockingIOError):
            data = self._connection.recv(1 << 16)
            if not data:
                raise ConnectionError("the broker is gone")
        data = self._rest + data
        place, heard = 0, []
        while len(data) - place >= 2 and len(data) - place >= 2 + data[place + 1]:
            if data[place] == _PUBACK:
                heard.append(data[place + 1] >= 3 and data[place + 4] == _NO_SUBSCRIBER)
            elif data[place] != _PINGRESP:
                raise ConnectionError("the broker said goodbye")
            place += 2 + data[place + 1]
        self._rest = data[place:]
        return heard


def _packet(said: Said, packet_id: int) -> bytes:
    """Return a PUBLISH packet of QoS 1, MQTT 5 without properties."""
    length = 2 + len(said.topic) + 2 + 1 + len(said.payload)
    head = bytearray(b"\x32")
    while length > 127:
        head.append(length & 127 | 128)
        length >>= 7
    head.append(length)
    return b"".join(
        (head, struct.pack("!H", len(said.topic)), said.topic, struct.pack("!HB", packet_id, 0), said.payload)
    )
