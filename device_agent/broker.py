"""From the configuration to what the broker's connection and courier are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device_agent.config import mqtt_password, named_models
from device_agent.contract.errors import EdgewrightError
from device_agent.enrolment.identity import IdentityFolder
from device_agent.telemetry.courier import CourierLimits
from device_agent.telemetry.link import BrokerSettings, Disconnected, Secret
from device_agent.telemetry.mqtt import BrokerConnection
from device_agent.tls import TlsFiles, client_context

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from device_agent.config import AgentConfig, MqttSection
    from device_agent.telemetry.courier import Connection
    from device_agent.telemetry.link import BrokerReport, Will
    from device_agent.telemetry.store import SpooledMessage
    from device_agent.telemetry.subscription import Subscription


def broker_settings(config: AgentConfig, *, client_id_suffix: str = "") -> BrokerSettings:
    """Return how to reach the broker.

    Args:
        config: The whole configuration.
        client_id_suffix: Tells a visitor from the agent: a broker ends the connection of whoever had the id before.

    Raises:
        ConfigError: The password cannot be had, a TLS file cannot be used, or the device is not enrolled.
        TrustError: The identity is another device's, or damaged.
    """
    mqtt = config.mqtt
    password = mqtt_password(mqtt)
    tls = _tls_files(config) if mqtt.enabled else None
    if tls is not None:
        client_context(tls)  # made anew for every connection; here it is only asked whether it can be
    return BrokerSettings(
        host=mqtt.host,
        port=mqtt.port,
        version=mqtt.version,
        client_id=(mqtt.client_id or f"edgewright-{config.device.id}") + client_id_suffix,
        username=mqtt.username,
        password=None if password is None else Secret(password),
        tls=tls,
        keepalive_seconds=mqtt.keepalive_seconds,
        connect_timeout_seconds=mqtt.connect_timeout_seconds,
        will_delay_seconds=mqtt.will_delay_seconds,
        max_inflight_messages=mqtt.max_inflight_messages,
        max_incoming_bytes=max(
            one.source.max_frame_bytes if one.source.kind == "mqtt" else 0 for _, one in named_models(config)
        ),
        own_topics=f"{mqtt.topic_root}/device/{config.device.id}/",
    )


def _tls_files(config: AgentConfig) -> TlsFiles | None:
    mqtt, folder = config.mqtt, config.identity.folder
    if folder is not None:
        identity = IdentityFolder(folder)
        identity.required(config.device.id)
        return identity.tls_files(ca=mqtt.tls_ca, server_name=mqtt.tls_server_name)
    if mqtt.tls_ca is None:
        return None
    return TlsFiles(ca=mqtt.tls_ca, cert=mqtt.tls_cert, key=mqtt.tls_key, server_name=mqtt.tls_server_name)


class UnmadeConnection:
    """Stands for a connection that could not even be begun; its end has been reported already."""

    def send(self, message: SpooledMessage) -> None:
        """Do nothing: nobody sends over a connection that was not accepted."""

    def close(self) -> None:
        """Do nothing."""

    def abort(self, reason: str) -> None:
        """Do nothing."""

    def join(self, timeout_seconds: float) -> bool:
        """Return True: it has ended."""
        del timeout_seconds
        return True


def begin_connection(
    number: int,
    settings: BrokerSettings,
    *,
    will: Will,
    report: Callable[[BrokerReport], None],
    subscriptions: Sequence[Subscription] = (),
) -> Connection:
    """Begin a connection. If that fails, it is a failed attempt like every other and no reason to end.

    Certificates are away for a moment while they are renewed, and descriptors or memory run out and come back.
    """
    try:
        return BrokerConnection(
            number=number, settings=settings, will=will, report=report, subscriptions=subscriptions
        )
    except (EdgewrightError, OSError, RuntimeError) as error:  # RuntimeError: no thread can be started
        report(Disconnected(number, str(error)))
        return UnmadeConnection()


def courier_limits(mqtt: MqttSection) -> CourierLimits:
    """Return the courier's bounds and pauses."""
    return CourierLimits(
        max_inflight_messages=mqtt.max_inflight_messages,
        max_messages_per_second=mqtt.max_messages_per_second,
        reconnect_min_seconds=mqtt.reconnect_min_seconds,
        reconnect_max_seconds=mqtt.reconnect_max_seconds,
        ack_timeout_seconds=mqtt.ack_timeout_seconds,
        resend_seconds=mqtt.resend_seconds,
    )
