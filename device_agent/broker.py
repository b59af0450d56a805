"""From the configuration to what the broker's connection and courier are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device_agent.config import mqtt_password
from device_agent.telemetry.courier import CourierLimits
from device_agent.telemetry.mqtt import BrokerSettings, Secret, TlsFiles

if TYPE_CHECKING:
    from device_agent.config import AgentConfig, MqttSection


def broker_settings(config: AgentConfig, *, client_id_suffix: str = "") -> BrokerSettings:
    """Return how to reach the broker.

    Args:
        config: The whole configuration.
        client_id_suffix: Tells a visitor from the agent: a broker ends the connection of whoever had the id before.

    Raises:
        ConfigError: The password cannot be had.
    """
    mqtt = config.mqtt
    password = mqtt_password(mqtt)
    tls = None
    if mqtt.tls_ca is not None:
        tls = TlsFiles(ca=mqtt.tls_ca, cert=mqtt.tls_cert, key=mqtt.tls_key)
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
        max_incoming_bytes=config.source.max_frame_bytes if config.source.kind == "mqtt" else 0,
    )


def courier_limits(mqtt: MqttSection) -> CourierLimits:
    """Return the courier's bounds and pauses."""
    return CourierLimits(
        max_inflight_messages=mqtt.max_inflight_messages,
        max_messages_per_second=mqtt.max_messages_per_second,
        reconnect_min_seconds=mqtt.reconnect_min_seconds,
        reconnect_max_seconds=mqtt.reconnect_max_seconds,
        ack_timeout_seconds=mqtt.ack_timeout_seconds,
    )
