"""What one key of `agent.toml` alone cannot tell: names in their grammar, and settings that need or exclude each other."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from device_agent.config.model_rules import NO_MQTT_TEXT, check_models, fits_mqtt, in_grammar, refuse_broken
from device_agent.contract.commands import OPERATIONS
from device_agent.contract.digest import checked_digest
from device_agent.contract.errors import ConfigError
from device_agent.contract.topics import checked_device_id, checked_root
from device_agent.web_address import split_web_address

if TYPE_CHECKING:
    from device_agent.config.file import AgentConfig

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


def check_together(config: AgentConfig, origin: str) -> None:
    """Check what one key alone cannot tell.

    Raises:
        ConfigError: Two settings contradict each other, or a name is not in its grammar.
    """
    in_grammar(lambda: checked_device_id(config.device.id), f"{origin}: device.id")
    in_grammar(lambda: checked_root(config.mqtt.topic_root), f"{origin}: mqtt.topic_root")
    unknown = [name for name in config.commands.allowed if name not in OPERATIONS]
    if unknown:
        raise ConfigError(
            f"{origin}: commands.allowed: expected names of {', '.join(OPERATIONS)}, got {unknown[0][:80]!r}."
        )
    if config.heat.variant_digest is not None:
        variant = config.heat.variant_digest
        in_grammar(lambda: checked_digest(variant, where="heat.variant_digest"), origin)
    check_models(config, origin)
    mqtt, spool, heat, update = config.mqtt, config.spool, config.heat, config.update
    rules = (
        (not _is_host(mqtt.host), f"mqtt.host: expected a host name or an IP address, got {mqtt.host[:80]!r}."),
        (mqtt.client_id is not None and not fits_mqtt(mqtt.client_id), f"mqtt.client_id: {NO_MQTT_TEXT}"),
        (mqtt.username is not None and not fits_mqtt(mqtt.username), f"mqtt.username: {NO_MQTT_TEXT}"),
        (mqtt.password_file is not None and mqtt.password_env is not None,
         "mqtt.password_file: give it or mqtt.password_env, not both."),
        (mqtt.username is None and (mqtt.password_file or mqtt.password_env) is not None,
         "mqtt.username: is missing; a password goes with a user name."),
        ((mqtt.tls_cert is None) != (mqtt.tls_key is None),
         "mqtt.tls_cert: certificate and mqtt.tls_key go together."),
        (mqtt.tls_cert is not None and config.identity.folder is not None,
         "mqtt.tls_cert: identity.folder has the device's certificate; give one of the two."),
        (mqtt.tls_cert is not None and mqtt.tls_ca is None, "mqtt.tls_ca: is missing; it switches TLS on."),
        (mqtt.tls_server_name is not None and mqtt.tls_ca is None and config.identity.folder is None,
         "mqtt.tls_ca: is missing; mqtt.tls_server_name is for TLS."),
        (mqtt.reconnect_min_seconds > mqtt.reconnect_max_seconds,
         "mqtt.reconnect_min_seconds: is above mqtt.reconnect_max_seconds."),
        (mqtt.will_delay_seconds > 0 and mqtt.version != "5",
         "mqtt.will_delay_seconds: needs mqtt.version = \"5\"."),
        (spool.max_bytes < 2 * mqtt.max_inflight_messages * mqtt.payload_max_bytes,
         "spool.max_bytes: must be at least twice mqtt.max_inflight_messages times mqtt.payload_max_bytes."),
        ((heat.variant_celsius is None) != (heat.variant_path is None),
         "heat.variant_path: it and heat.variant_celsius go together."),
        (heat.variant_digest is not None and heat.variant_path is None,
         "heat.variant_digest: heat.variant_path is missing."),
        (heat.slow_celsius is not None and 0.0 < config.source.rate_hz <= heat.slow_rate_hz,
         "heat.slow_rate_hz: must be below source.rate_hz."),
        (update.url is not None and (update.root is None or update.directory is None),
         "update.url: needs update.root and update.directory."),
        (update.url is not None and not _is_web_address(update.url),
         f"update.url: expected http:// or https:// and a host, without a user; got {_without_user(update.url)!r}."),
        (update.group is not None and not _NAME.fullmatch(update.group),
         "update.group: expected 1 to 64 letters, digits, _ and -."),
        ((update.tls_cert is None) != (update.tls_key is None),
         "update.tls_cert: certificate and update.tls_key go together."),
        (update.tls_cert is not None and update.tls_ca is None,
         "update.tls_ca: is missing; it goes with update.tls_cert."),
        (update.probation_seconds > update.probation_max_seconds,
         "update.probation_seconds: is above update.probation_max_seconds."),
    )  # fmt: skip
    refuse_broken(rules, origin)


def _is_host(name: str) -> bool:
    try:
        name.encode("idna")
    except UnicodeError:  # a label that is empty or longer than 63 bytes
        return False
    return not any(
        character.isspace() or not character.isprintable() or character in "/[]" for character in name
    )


def _without_user(url: str | None) -> str:
    """Return what may be shown of an address, which may hold a password."""
    return (url or "").rpartition("@")[2][:80]


def _is_web_address(url: str) -> bool:
    try:
        split_web_address(url)
    except ValueError:
        return False
    return True
