"""`BrokerConnection` against real brokers, real TLS, and servers that break the protocol."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

import pytest
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from device_agent.broker import begin_connection
from device_agent.contract.errors import ConfigError
from device_agent.telemetry.link import (
    BrokerReport,
    BrokerSettings,
    Connected,
    Delivered,
    Disconnected,
    Secret,
    Will,
)
from device_agent.telemetry.mqtt import BrokerConnection
from device_agent.telemetry.store import Kind, SpooledMessage
from device_agent.telemetry.subscription import Incoming, Subscription
from device_agent.tls import TlsFiles, client_context
from host_tools.free_port import free_port
from tests.integration.support import Mosquitto, Reader, publish, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
WILL = Will(topic="ew/v1/will", payload=b"{}")


def settings(port: int, **changes: object) -> BrokerSettings:
    values: dict[str, object] = {
        "host": "127.0.0.1",
        "port": port,
        "version": "3.1.1",
        "client_id": "tester",
        "username": None,
        "password": None,
        "tls": None,
        "keepalive_seconds": 5,
        "connect_timeout_seconds": 1.0,
        "will_delay_seconds": 0,
        "max_inflight_messages": 20,
    }
    return BrokerSettings(**(values | changes))  # type: ignore[arg-type]


class Open:
    """A connection and what it reported."""

    def __init__(self, wanted: BrokerSettings, *subscriptions: Subscription) -> None:
        self.reports: SimpleQueue[BrokerReport] = SimpleQueue()
        self.connection = BrokerConnection(
            number=7, settings=wanted, will=WILL, report=self.reports.put, subscriptions=subscriptions
        )

    def next(self) -> BrokerReport:
        return self.reports.get(timeout=60)

    def reason(self) -> str:
        report = self.next()
        assert isinstance(report, Disconnected), report
        assert self.connection.join(60)
        return report.reason


def message(number: int, payload: bytes = b"{}") -> SpooledMessage:
    return SpooledMessage(number, Kind.MEASUREMENT, "ew/v1/m", payload, retain=False)


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_messages_are_delivered_and_acknowledged_one_by_one(
    mosquitto: Mosquitto, listen: Callable[..., Reader], version: str
) -> None:
    reader = listen(mosquitto.start().port)
    opened = Open(settings(mosquitto.port, version=version))
    assert opened.next() == Connected(7)
    for first in range(0, 100, 20):
        for number in range(first, first + 20):
            opened.connection.send(message(number, b'{"n":%d}' % number))
        assert {opened.next() for _ in range(20)} == {Delivered(7, first + number) for number in range(20)}
    opened.connection.close()
    assert opened.reason() == "closed"
    wait_until(lambda: len(reader.about("/m")) >= 100, what="all messages")
    time.sleep(0.2)
    assert [line.body["n"] for line in reader.about("/m")] == list(range(100))
    assert reader.about("/will") == []


def test_an_aborted_connection_leaves_its_will(mosquitto: Mosquitto, listen: Callable[..., Reader]) -> None:
    reader = listen(mosquitto.start().port)
    opened = Open(settings(mosquitto.port))
    assert opened.next() == Connected(7)
    opened.connection.abort("the broker sleeps")
    assert opened.reason() == "the broker sleeps"
    reader.wait_for("/will")


def test_nobody_listens() -> None:
    assert "refused" in Open(settings(free_port())).reason()


def test_a_name_that_does_not_exist() -> None:
    assert "no-such-host.invalid" in Open(settings(1883, host="no-such-host.invalid")).reason()


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_wrong_credentials_are_a_reason_and_the_password_is_in_none(tmp_path: Path, version: str) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "agent", "right"], check=True)
    broker = Mosquitto(tmp_path / "b", "allow_anonymous false", f"password_file {passwords}").start()
    try:
        wrong = settings(broker.port, version=version, username="agent", password=Secret("wr0ng"))
        reason = Open(wrong).reason()
        assert "refused the connection" in reason
        assert "uthori" in reason
        assert "wr0ng" not in reason + repr(wrong)
        right = Open(settings(broker.port, version=version, username="agent", password=Secret("right")))
        assert right.next() == Connected(7)
        right.connection.close()
        assert right.reason() == "closed"
    finally:
        broker.stop()


@pytest.fixture
def tls_broker(tmp_path: Path, certificates: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(
        tmp_path / "tls",
        f"cafile {certificates}/authority.crt",
        f"certfile {certificates}/server.crt",
        f"keyfile {certificates}/server.key",
        "require_certificate true",
        "allow_anonymous true",
    )
    yield broker.start()
    broker.stop()


def test_mutual_tls(tls_broker: Mosquitto, certificates: Path) -> None:
    files = TlsFiles(
        ca=certificates / "authority.crt", cert=certificates / "device.crt", key=certificates / "device.key"
    )
    opened = Open(settings(tls_broker.port, tls=files))
    assert opened.next() == Connected(7)
    for number in range(20):
        opened.connection.send(message(number, b'"%s"' % (b"x" * 16_000)))
    assert {opened.next() for _ in range(20)} == {Delivered(7, number) for number in range(20)}
    opened.connection.close()
    assert opened.reason() == "closed"


def test_a_caller_that_does_not_keep_the_bound_loses_the_connection_and_no_message_unseen(
    mosquitto: Mosquitto,
) -> None:
    opened = Open(settings(mosquitto.start().port, max_inflight_messages=1))
    assert opened.next() == Connected(7)
    for number in range(2_000):
        opened.connection.send(message(number))
    reports = [opened.next()]
    while isinstance(reports[-1], Delivered):
        reports.append(opened.next())
    assert "MQTT_ERR_QUEUE_SIZE" in opened_reason(reports[-1])


def opened_reason(report: BrokerReport) -> str:
    assert isinstance(report, Disconnected)
    return report.reason


# paho does not close the socket of a handshake that failed, and leaves it to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_server_of_a_strange_authority_is_not_trusted(tls_broker: Mosquitto, certificates: Path) -> None:
    files = TlsFiles(ca=certificates / "stranger.crt", cert=None, key=None)
    assert "certificate verify failed" in Open(settings(tls_broker.port, tls=files)).reason()


@pytest.mark.parametrize("content", [None, b"not a certificate"])
def test_tls_files_that_cannot_be_used_are_a_wrong_configuration(
    tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "ca.crt").write_bytes(content)
    files = TlsFiles(ca=tmp_path / "ca.crt", cert=None, key=None)
    with pytest.raises(ConfigError, match=r"tls_ca .*ca\.crt"):
        Open(settings(1, tls=files))


class Server:
    """Accepts one connection, reads CONNECT, answers with the given bytes, and holds the line."""

    def __init__(self, *answers: bytes, hang_up: bool = False) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._answers, self._hang_up = answers, hang_up
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._socket.accept()
        with connection:
            connection.recv(4096)
            for answer in self._answers:
                connection.sendall(answer)
                time.sleep(0.05)
            if not self._hang_up:
                while connection.recv(4096):
                    pass

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._thread.join(60)


CONNACK = b"\x20\x02\x00\x00"
CONNACK_5 = b"\x20\x03\x00\x00\x00"


@pytest.mark.parametrize(
    ("version", "answers"),
    [
        ("3.1.1", [b"HTTP/1.1 400 Bad Request\r\n\r\n"]),
        ("3.1.1", [b"\x20\x00"]),
        ("3.1.1", [b"\x20\x01\x00"]),
        ("3.1.1", [b"\x20\xff\xff\xff\xff\x7f"]),
        ("3.1.1", [CONNACK, b"\x40\x00"]),
        ("3.1.1", [CONNACK, b"\x40\x01\x00"]),
        ("3.1.1", [CONNACK, b"\xf0\x00"]),
        ("3.1.1", [CONNACK, b"\x00\x00"]),
        ("3.1.1", [CONNACK, b"\x32\x02\x00\x09"]),
        ("5", [CONNACK]),
        ("5", [b"\x20\x04\x00\x00\x01\xff"]),
        ("5", [CONNACK_5, b"\x40\x04\x00\x01\x00\x05"]),
        ("5", [CONNACK_5, b"\xe0\x05\x00\x03\xff\xff\xff"]),
        ("5", [CONNACK_5, b"\x32\x05\x00\x01a\x00\x01"]),
    ],
)
def test_a_broker_that_breaks_the_protocol_ends_one_connection_and_nothing_else(
    version: str, answers: list[bytes]
) -> None:
    with Server(*answers) as server:
        opened = Open(settings(server.port, version=version, connect_timeout_seconds=0.5))
        report = opened.next()
        if isinstance(report, Connected):
            opened.connection.send(message(1))
            # Some nonsense cannot be told from silence: then it is the courier that gives up on the missing acknowledgement.
            opened.connection.abort("no acknowledgement")
            report = opened.next()
        assert isinstance(report, Disconnected)
        assert report.reason
        assert opened.connection.join(60)


def test_a_server_that_says_nothing_is_given_up() -> None:
    with Server() as server:
        assert (
            "no answer to CONNECT within 0.3 s"
            in Open(settings(server.port, connect_timeout_seconds=0.3)).reason()
        )


def test_a_server_that_hangs_up() -> None:
    with Server(CONNACK, hang_up=True) as server:
        opened = Open(settings(server.port))
        assert opened.next() == Connected(7)
        assert "connection lost" in opened.reason()


def test_an_mqtt_5_client_at_a_broker_that_refuses_it_hears_why() -> None:
    with Server(b"\x20\x03\x00\x84\x00") as server:
        assert "Unsupported protocol version" in Open(settings(server.port, version="5")).reason()


def test_a_message_that_an_mqtt_5_broker_throws_away_is_delivered_as_refused() -> None:
    with Server(CONNACK_5, b"\x40\x03\x00\x01\x97") as server:
        opened = Open(settings(server.port, version="5"))
        assert opened.next() == Connected(7)
        opened.connection.send(message(5))
        report = opened.next()
        assert isinstance(report, Delivered)
        assert (report.message_id, report.refused) == (5, "Quota exceeded")
        opened.connection.close()


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_frames_are_handed_over(mosquitto: Mosquitto, version: str) -> None:
    mosquitto.start()
    frames: SimpleQueue[bytes] = SimpleQueue()
    opened = Open(
        settings(mosquitto.port, version=version),
        Subscription(
            topic="camera/+", what="frames", take=lambda message: frames.put(message.payload), required=True
        ),
    )
    assert opened.next() == Connected(7)
    wait_until(
        lambda: (publish(mosquitto.port, "camera/1", b"\x00\xff"), not frames.empty())[1], what="a frame"
    )
    assert frames.get() == b"\x00\xff"
    opened.connection.close()
    assert opened.reason() == "closed"


def test_a_refused_subscription_ends_the_connection_with_the_reason() -> None:
    with Server(CONNACK, b"\x90\x03\x00\x01\x80") as server:
        opened = Open(
            settings(server.port),
            Subscription(topic="camera/+", what="frames", take=lambda _: None, required=True),
        )
        assert opened.next() == Connected(7)
        assert "refused the subscription" in opened.reason()


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_a_message_larger_than_what_is_held_goes_by_and_the_connection_stays(
    mosquitto: Mosquitto, version: str
) -> None:
    mosquitto.start()
    wanted = settings(mosquitto.port, version=version, max_incoming_bytes=100_000)
    frames: SimpleQueue[bytes] = SimpleQueue()
    listening = Subscription(
        topic="camera/+", what="frames", take=lambda message: frames.put(message.payload), required=True
    )
    publish(mosquitto.port, "camera/1", bytes(50 << 20), retain=True)
    tracemalloc.start()
    for number in (b"1", b"2"):  # who connects again gets what is retained again
        opened = Open(wanted, listening)
        assert opened.next() == Connected(7)
        heard: list[bytes] = []
        wait_until(
            lambda: (publish(mosquitto.port, "camera/2", number), not frames.empty())[1],  # noqa: B023  called here
            what="a frame",
        )
        while number not in heard:
            heard.append(frames.get(timeout=60))
        opened.connection.send(message(1))
        delivered = opened.next()
        assert isinstance(delivered, Delivered)
        assert delivered.refused == ""
        opened.connection.close()
        assert opened.reason() == "closed"
        large = [len(frame) for frame in heard if frame != number]
        assert large == [] if version == "5" else len(large) == 1 and 100_000 < large[0] < 300_000
        while not frames.empty():
            frames.get()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < (2 << 20)


def test_who_sends_frames_cannot_have_the_device_speak_on_its_own_topics(mosquitto: Mosquitto) -> None:
    mosquitto.start()
    own = "ew/v1/device/dev-1/"
    heard: SimpleQueue[Incoming] = SimpleQueue()
    opened = Open(
        settings(mosquitto.port, version="5", own_topics=own),
        Subscription(topic=f"{own}//i/frame", what="frames", take=heard.put, required=True),
    )
    assert opened.next() == Connected(7)
    wait_until(
        lambda: (publish(mosquitto.port, f"{own}//i/frame", b"0"), not heard.empty())[1], what="a frame"
    )
    sender = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
    sender.connect("127.0.0.1", mosquitto.port)
    sender.loop_start()
    refused = [
        f"{own}//cmd/pause/1",
        f"{own}//i/frame",
        f"{own}//twin/reported",
        f"{own}service/agent/status/health",
    ]
    taken = [f"{own}//o/answers", "ew/v1/device/dev-10///m/x", "answers/1"]
    for topic in [*refused, *taken]:
        properties = Properties(PacketTypes.PUBLISH)
        properties.ResponseTopic = topic
        sent = sender.publish(f"{own}//i/frame", topic, 1, properties=properties)
        sent.wait_for_publish(60.0)
    answered: dict[str, bool] = {}
    while taken[-1] not in answered:
        incoming = heard.get(timeout=60)
        answered[incoming.payload.decode()] = incoming.respond is not None
    sender.disconnect()
    sender.loop_stop()
    opened.connection.close()
    assert opened.reason() == "closed"
    del answered["0"]
    assert answered == {**dict.fromkeys(refused, False), **dict.fromkeys(taken, True)}


def test_a_message_as_large_as_what_is_held_comes_through(mosquitto: Mosquitto) -> None:
    mosquitto.start()
    frames: SimpleQueue[bytes] = SimpleQueue()
    opened = Open(
        settings(mosquitto.port, max_incoming_bytes=1 << 20),
        Subscription(
            topic="camera/+", what="frames", take=lambda message: frames.put(message.payload), required=True
        ),
    )
    assert opened.next() == Connected(7)
    wait_until(
        lambda: (publish(mosquitto.port, "camera/1", bytes(1 << 20)), not frames.empty())[1], what="a frame"
    )
    assert frames.get() == bytes(1 << 20)
    opened.connection.close()
    assert opened.reason() == "closed"


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked_for_it(
    tmp_path: Path, certificates: Path
) -> None:
    locked = tmp_path / "locked.key"
    command = ["openssl", "ec", "-in", str(certificates / "device.key"), "-aes256", "-passout", "pass:secret"]
    subprocess.run([*command, "-out", str(locked)], check=True, capture_output=True)
    files = TlsFiles(ca=certificates / "authority.crt", cert=certificates / "device.crt", key=locked)
    with pytest.raises(ConfigError, match="the key without a passphrase"):
        client_context(files)


def test_a_connection_that_cannot_be_begun_is_a_failed_attempt(tmp_path: Path) -> None:
    reports: SimpleQueue[BrokerReport] = SimpleQueue()
    files = TlsFiles(ca=tmp_path / "away.crt", cert=None, key=None)
    unmade = begin_connection(3, settings(1, tls=files), will=WILL, report=reports.put)
    report = reports.get(timeout=60)
    assert isinstance(report, Disconnected)
    assert report.number == 3
    assert "away.crt" in report.reason
    unmade.send(message(1))
    unmade.close()
    unmade.abort("")
    assert unmade.join(0.0)


def test_descriptors_that_have_run_out_are_a_failed_attempt() -> None:
    script = """
import resource
from queue import SimpleQueue
from device_agent.broker import begin_connection
from tests.integration.test_broker_connection import WILL, settings
import os
resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) - 1,) * 2)
reports = SimpleQueue()
begin_connection(1, settings(1), will=WILL, report=reports.put)
print(reports.get(timeout=60).reason)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
    )
    assert "Too many open files" in done.stdout, done.stderr
