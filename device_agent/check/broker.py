"""The broker and the identity that is shown to it."""

from __future__ import annotations

from queue import Empty, SimpleQueue
from time import time
from typing import TYPE_CHECKING, Final

from device_agent.broker import begin_connection, broker_settings
from device_agent.contract.errors import EdgewrightError
from device_agent.contract.topics import DeviceTopics
from device_agent.enrolment.identity import IdentityFolder, utc_text
from device_agent.enrolment.renewal import due_seconds
from device_agent.telemetry.link import BrokerReport, BrokerSettings, Connected, Disconnected, Will

if TYPE_CHECKING:
    from collections.abc import Mapping

    from device_agent.config import AgentConfig

_SLACK_SECONDS: Final = 1.0


def look_at_broker(config: AgentConfig) -> tuple[Mapping[str, object], EdgewrightError | None]:
    """Log in to the broker, under another client id, so that a running agent keeps its connection; nothing is published."""
    where = f"{config.mqtt.host}:{config.mqtt.port}"
    try:
        settings = broker_settings(config, client_id_suffix="-check")
    except EdgewrightError as error:
        return {where: f"cannot be used: {error}"}, error
    if not config.mqtt.enabled:
        return {"enabled": False}, None
    return {where: _answer(config, settings)}, None


def _answer(config: AgentConfig, settings: BrokerSettings) -> str:
    topic = DeviceTopics(config.device.id, config.mqtt.topic_root).birth() + "-check"
    reports: SimpleQueue[BrokerReport] = SimpleQueue()
    connection = begin_connection(0, settings, will=Will(topic=topic, payload=b""), report=reports.put)
    try:
        report = reports.get(timeout=2 * config.mqtt.connect_timeout_seconds + _SLACK_SECONDS)
    except Empty:
        return "no answer; messages would wait in the spool"
    finally:
        connection.close()
        connection.join(_SLACK_SECONDS)
    match report:
        case Connected():
            return f"accepts us, MQTT {config.mqtt.version}"
        case Disconnected(reason=reason):
            return f"not reached: {reason}; messages would wait in the spool"
        case _:
            return "answers out of turn"


def look_at_identity(config: AgentConfig) -> Mapping[str, object]:
    """Say whose certificate it is and until when; whether it can be used at all, `look_at_broker` has found out."""
    folder, now = config.identity.folder, time()
    if folder is None:
        return {}
    try:
        identity = IdentityFolder(folder).required(config.device.id)
        key_mode = (folder / "current" / "device.key").stat().st_mode
    except (EdgewrightError, OSError) as error:
        return {str(folder): f"cannot be used: {error}"}
    due = due_seconds(identity, share_left=config.identity.renew_share)
    over = "; it has ended: enrol with a new token" if identity.not_after_seconds <= now else ""
    return {
        "device": identity.device,
        "certificate": identity.serial,
        "authority": identity.url,
        "valid until": f"{utc_text(identity.not_after_seconds)}{over}",
        "renewal": f"from {utc_text(due)}",
        "key": "readable by the agent alone" if not key_mode & 0o077 else "others can read it: chmod 600",
    }
