"""What `agent.toml` says of messages: the broker, what is measured, where messages wait, and the log."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path  # noqa: TC003  `section` evaluates the annotations
from typing import Literal

from device_agent.config.section import DAY_SECONDS, setting
from device_agent.contract.topics import DEFAULT_ROOT

MqttVersion = Literal["3.1.1", "5"]
LogFormat = Literal["text", "json", "journal"]
LogLevel = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttSection:
    """The broker.

    Attributes:
        enabled: False keeps everything in the spool: for a device that is read out by hand.
        host: Name or address.
        port: TCP port.
        version: ``3.1.1`` works everywhere; ``5`` adds the delay of the last will, and messages that are refused are told.
        topic_root: What every topic begins with.
        client_id: By default ``edgewright-`` and the device id.
        username: For brokers that ask for one.
        password_file: File whose first line is the password.
        password_env: Environment variable that holds it.
        tls_ca: File with the certificate authorities; switches TLS on. With ``identity.folder`` only for a broker that another
            authority has certified.
        tls_cert: The device's certificate; not with ``identity.folder``, which has one.
        tls_key: Its key; likewise.
        tls_server_name: What the broker's certificate must name, where that is not ``host``.
        keepalive_seconds: After one and a half times this the broker publishes the last will.
        connect_timeout_seconds: For one attempt.
        reconnect_min_seconds: First pause between attempts; doubled each time. Half of every pause is random, so
            that a fleet does not come back in one instant.
        reconnect_max_seconds: Longest pause.
        ack_timeout_seconds: A broker that leaves a message unacknowledged for so long is connected anew.
        resend_seconds: So long, 1,000 messages at most, an acknowledged message is kept, to be sent again when the
            connection ends: a broker that is killed forgets what it has not passed on. 0: not at all. See `docs/ingest.md`.
        will_delay_seconds: How long the broker waits with the last will; MQTT 5 only.
        max_inflight_messages: Messages sent and not yet acknowledged.
        max_messages_per_second: Rate of sending, so that a long backlog does not drown broker and link.
        payload_max_bytes: Largest message; a larger one is dropped, counted and said. Samples of many sensors leave out the last.
    """

    enabled: bool = True
    host: str = "localhost"
    port: int = setting(1_883, low=1, high=65_535)
    version: MqttVersion = "3.1.1"
    topic_root: str = DEFAULT_ROOT
    client_id: str | None = None
    username: str | None = None
    password_file: Path | None = None
    password_env: str | None = None
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_server_name: str | None = None
    keepalive_seconds: int = setting(30, low=5, high=65_535)
    connect_timeout_seconds: float = setting(5.0, low=0.1, high=300.0)
    reconnect_min_seconds: float = setting(0.5, low=0.05, high=3_600.0)
    reconnect_max_seconds: float = setting(60.0, low=0.05, high=DAY_SECONDS)
    ack_timeout_seconds: float = setting(30.0, low=1.0, high=3_600.0)
    resend_seconds: float = setting(0.0, low=0.0, high=DAY_SECONDS)
    will_delay_seconds: int = setting(0, low=0, high=86_400)
    max_inflight_messages: int = setting(20, low=1, high=1_000)
    max_messages_per_second: float = setting(200.0, low=0.1, high=100_000.0)
    payload_max_bytes: int = setting(16_384, low=4_096, high=1 << 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetrySection:
    """What is measured, and how often.

    Attributes:
        interval_seconds: Length of a window: one message a type at its end.
        pss_interval_seconds: How often the proportional memory is read.
        input_sample_frames: One frame in so many is looked at for statistics of the model's inputs, fewer where that would cost
            more than 2 µs a frame; 0: none.
    """

    interval_seconds: float = setting(10.0, low=0.1, high=DAY_SECONDS)
    pss_interval_seconds: float = setting(60.0, low=0.1, high=DAY_SECONDS)
    input_sample_frames: int = setting(64, low=0, high=1_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolSection:
    """Where messages wait for the broker.

    Attributes:
        path: Database file, in a folder that the agent may write.
        max_bytes: Bound on disk; the write-ahead file may add 1 MiB.
        max_messages: Bound in number.
        memory_max_bytes: Bound while the disk cannot be written.
        commit_interval_seconds: How long a message may wait for a common write; events are written at once.
        drain_timeout_seconds: How long the agent waits, at its end, for the broker to take what is left.
    """

    path: Path
    max_bytes: int = setting(64 << 20, low=1 << 20, high=1 << 40)
    max_messages: int = setting(200_000, low=100, high=1 << 31)
    memory_max_bytes: int = setting(4 << 20, low=1 << 16, high=1 << 30)
    commit_interval_seconds: float = setting(1.0, low=0.0, high=60.0)
    drain_timeout_seconds: float = setting(5.0, low=0.1, high=600.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSection:
    """What the agent writes to standard error.

    Attributes:
        format: ``text`` for people, ``json`` lines for collectors, ``journal`` for systemd's.
        level: The least that is written.
    """

    format: LogFormat = "text"
    level: LogLevel = "info"
