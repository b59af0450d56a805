"""The subscriber against a broker that says what it is told to, whole or in pieces."""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_agent.contract.errors import TransferError
from host_tools.review.broker_address import TlsFiles, parse_broker
from host_tools.review.ingest.subscriber import (
    BrokerRefusedError,
    Publication,
    SessionTakenError,
    Subscriber,
    SubscriberSettings,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

ACCEPTED = b"\x20\x03\x00\x00\x00"
PRESENT = b"\x20\x03\x01\x00\x00"
SUBSCRIBED = b"\x90\x04\x00\x01\x00\x01"
REFUSED_SUBSCRIPTION = b"\x90\x04\x00\x01\x00\x87"
BAD_PASSWORD = b"\x20\x03\x00\x86\x00"
BUSY = b"\x20\x03\x00\x89\x00"
TAKEN_OVER = b"\xe0\x02\x8e\x00"


class Broker:
    """One connection's other end."""

    def __init__(self, server: socket.socket, answer: bytes, piece: int, *, says_more: bool) -> None:
        self.heard = b""
        self._says_more = says_more
        self._thread = threading.Thread(target=self._serve, args=(server, answer, piece), daemon=True)
        self._thread.start()

    def _serve(self, server: socket.socket, answer: bytes, piece: int) -> None:
        connection, _ = server.accept()
        with connection:
            self.heard += connection.recv(1000)
            for place in range(0, len(answer), piece):
                connection.sendall(answer[place : place + piece])
                if piece < 10:
                    time.sleep(0.001)
            connection.settimeout(60.0)
            try:
                if not self._says_more:
                    connection.shutdown(socket.SHUT_WR)
                while data := connection.recv(1000):
                    self.heard += data
            except OSError:
                pass


@contextmanager
def connected(
    answer: bytes, *, piece: int = 1 << 20, says_more: bool = True
) -> Iterator[tuple[Subscriber, Broker]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        broker = Broker(server, answer, piece, says_more=says_more)
        settings = SubscriberSettings(
            address=parse_broker(f"mqtt://127.0.0.1:{server.getsockname()[1]}"),
            tls=TlsFiles(),
            client_id="me",
            filters=("a/+",),
            other_filters=("b/+",),
            receive_maximum=100,
        )
        subscriber = Subscriber(settings)
        subscriber.connect()
        try:
            yield subscriber, broker
        finally:
            subscriber.close()


def publish(
    topic: bytes, payload: bytes, *, number: int | None = 1, properties: bytes = b"", head: int = 0x32
) -> bytes:
    body = struct.pack("!H", len(topic)) + topic
    body += b"" if number is None else struct.pack("!H", number)
    body += bytes([len(properties)]) + properties + payload
    length, size = b"", len(body)
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return bytes([head if number is not None else head & ~6]) + length + bytes([size]) + body


def receive(subscriber: Subscriber, count: int) -> list[Publication]:
    found: list[Publication] = []
    end = time.monotonic() + 60
    while len(found) < count and time.monotonic() < end:
        descriptor = subscriber.descriptor
        assert descriptor is not None
        if select.select([descriptor], [], [], 0.2)[0]:
            found += subscriber.receive()
    return found


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_messages_are_cut_out_of_the_stream_wherever_it_is_broken(piece: int) -> None:
    large = b"x" * 3000 if piece > 1 else b"x" * 200
    stream = (
        ACCEPTED
        + SUBSCRIBED
        + publish(b"a/b", b"one")
        + b"\xd0\x00"
        + publish(b"a/c", large, number=258, head=0x3B)
        + publish(b"a/d", b"", number=None)
        + publish(b"a/e", b"p", number=3, properties=b"\x02\x00\x00\x00\x09")
    )
    with connected(stream, piece=piece) as (subscriber, broker):
        found = receive(subscriber, 4)
        assert found == [
            Publication(b"a/b", b"one", b"\x00\x01", False),
            Publication(b"a/c", large, b"\x01\x02", True, True),
            Publication(b"a/d", b"", None, False),
            Publication(b"a/e", b"p", b"\x00\x03", False),
        ]
        assert subscriber.accepted
        assert subscriber.subscribed
        subscriber.acknowledge([b"\x00\x01", b"\x01\x02"])
        end = time.monotonic() + 60
        while b"\x40\x02\x00\x01\x40\x02\x01\x02" not in broker.heard and time.monotonic() < end:
            time.sleep(0.01)
        assert broker.heard.endswith(b"\x40\x02\x00\x01\x40\x02\x01\x02")
        assert b"\x21\x00\x64" in broker.heard  # Receive Maximum 100


def over(subscriber: Subscriber) -> TransferError:
    with pytest.raises(TransferError) as caught:
        receive(subscriber, 1)
    assert subscriber.descriptor is None
    return caught.value


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (BAD_PASSWORD, BrokerRefusedError, "refuses the connection: Bad user name or password"),
        (ACCEPTED + REFUSED_SUBSCRIPTION, BrokerRefusedError, "refuses the subscription: Not authorized"),
        (ACCEPTED + SUBSCRIBED + TAKEN_OVER, SessionTakenError, "another client took the session 'me'"),
        (BUSY, TransferError, "refuses the connection: Server busy"),
        (ACCEPTED + b"\x32\x03\x00\x09a", TransferError, "malformed"),
        (ACCEPTED + b"\x32\xff\xff\xff\x7f", TransferError, "more than it was told to send"),
        (ACCEPTED + b"\x32\x80\x80\x80\x80\x01", TransferError, "more than it was told to send"),
        (ACCEPTED + b"\x34\x05\x00\x01a\x00\x01", TransferError, "malformed"),
        (ACCEPTED + b"\x90\x01\x00", TransferError, "malformed"),
        (ACCEPTED + b"\x90\x04\x00\x01\x00\x77", TransferError, "malformed"),
        (b"\x20\x00", TransferError, "malformed"),
        (b"HTTP/1.1 400 Bad Request\r\n" + b"x" * 99, TransferError, "no MQTT broker"),
        (b"220 mail.example ESMTP " + b"x" * 99, TransferError, "no MQTT broker"),
    ],
    ids=[
        "password",
        "rights",
        "taken",
        "busy",
        "short",
        "long",
        "length",
        "qos 2",
        "cut",
        "reason",
        "empty",
        "web",
        "mail",
    ],
)
def test_what_ends_a_connection_is_told(answer: bytes, kind: type[TransferError], says: str) -> None:
    with connected(answer) as (subscriber, _):
        error = over(subscriber)
    assert type(error) is kind
    assert says in str(error)
    assert str(error).startswith("mqtt://127.0.0.1:")


PACKETS = st.builds(
    lambda head, body: bytes([head, len(body)]) + body, st.integers(0, 255), st.binary(max_size=40)
)


@settings(deadline=None, max_examples=60)
@given(
    before=st.sampled_from([b"", ACCEPTED, ACCEPTED + SUBSCRIBED]),
    noise=st.lists(PACKETS, max_size=3).map(b"".join) | st.binary(max_size=60),
)
def test_whatever_a_server_says_is_a_message_or_a_told_end(before: bytes, noise: bytes) -> None:
    with (
        connected(before + noise, says_more=False) as (subscriber, _),
        pytest.raises(TransferError, match="mqtt://127"),
    ):
        read_on(subscriber, noise)


def read_on(subscriber: Subscriber, noise: bytes) -> NoReturn:
    while True:
        for publication in receive(subscriber, 1):
            assert len(publication.topic) + len(publication.payload) < len(noise)


def test_a_session_that_is_there_loses_the_filters_of_before() -> None:
    with connected(PRESENT + SUBSCRIBED) as (subscriber, broker):
        end = time.monotonic() + 60
        while b"b/+" not in broker.heard and time.monotonic() < end:
            descriptor = subscriber.descriptor
            assert descriptor is not None
            if select.select([descriptor], [], [], 0.05)[0]:
                subscriber.receive()
            subscriber.tick()
        assert subscriber.session_present
        assert broker.heard.rindex(b"b/+") > broker.heard.index(b"a/+")


def test_a_port_where_nobody_listens_is_told() -> None:
    settings = SubscriberSettings(
        address=parse_broker("mqtt://127.0.0.1:1"),
        tls=TlsFiles(),
        client_id="me",
        filters=(),
        other_filters=(),
        receive_maximum=1,
    )
    with pytest.raises(TransferError, match="cannot connect"):
        Subscriber(settings).connect()
