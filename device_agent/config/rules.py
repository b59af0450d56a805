"""What one key of `agent.toml` alone cannot tell: names in their grammar, and settings that need or exclude each other."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from device_agent.contract.commands import OPERATIONS
from device_agent.contract.digest import checked_digest
from device_agent.contract.errors import ConfigError, ContractError
from device_agent.contract.topics import checked_device_id, checked_root
from device_agent.web_address import split_web_address

if TYPE_CHECKING:
    from device_agent.config.file import AgentConfig

_WITH_PATH: Final = ("directory", "replay", "camera")
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TOPIC_FILTER: Final = re.compile(r"(?:(?:\+|[^+#/]*)/)*(?:\+|#|[^+#/]*)")
"""Source: MQTT 3.1.1, section 4.7.1: ``+`` and ``#`` fill a whole level, ``#`` only the last."""


def check_together(config: AgentConfig, origin: str) -> None:
    """Check what one key alone cannot tell.

    Raises:
        ConfigError: Two settings contradict each other, or a name is not in its grammar.
    """
    _in_grammar(lambda: checked_device_id(config.device.id), f"{origin}: device.id")
    _in_grammar(lambda: checked_root(config.mqtt.topic_root), f"{origin}: mqtt.topic_root")
    if config.artifact.digest is not None:
        digest = config.artifact.digest
        _in_grammar(lambda: checked_digest(digest, where="digest"), f"{origin}: artifact.digest")
    unknown = [name for name in config.commands.allowed if name not in OPERATIONS]
    if unknown:
        raise ConfigError(
            f"{origin}: commands.allowed: expected names of {', '.join(OPERATIONS)}, got {unknown[0][:80]!r}."
        )
    if config.heat.variant_digest is not None:
        variant = config.heat.variant_digest
        _in_grammar(lambda: checked_digest(variant, where="digest"), f"{origin}: heat.variant_digest")
    source, mqtt, spool, heat = config.source, config.mqtt, config.spool, config.heat
    update = config.update
    rules = (
        (source.kind in _WITH_PATH and source.path is None,
         f"source.path: is missing; source.kind {source.kind!r} needs it."),
        (source.kind not in _WITH_PATH and source.path is not None,
         f"source.path: source.kind {source.kind!r} takes none."),
        (source.watch and source.kind != "directory",
         f"source.watch: source.kind {source.kind!r} watches nothing."),
        (source.watch and source.loop, "source.watch: gives every file once; give it or source.loop, not both."),
        (source.overflow == "block" and source.kind == "mqtt",
         "source.overflow: 'block' would hold up the broker's connection; choose drop_oldest or drop_newest."),
        (source.kind == "mqtt" and not mqtt.enabled, "source.kind: 'mqtt' needs mqtt.enabled = true."),
        (source.topic is not None and not _TOPIC_FILTER.fullmatch(source.topic),
         f"source.topic: {source.topic!r} is no MQTT topic filter."),
        (source.kind != "mqtt" and source.topic is not None,
         f"source.topic: source.kind {source.kind!r} takes none."),
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
        (heat.slow_celsius is not None and 0.0 < source.rate_hz <= heat.slow_rate_hz,
         "heat.slow_rate_hz: must be below source.rate_hz."),
        (update.url is not None and (update.root is None or update.directory is None),
         "update.url: needs update.root and update.directory."),
        (update.url is not None and not _is_web_address(update.url),
         f"update.url: expected http:// or https:// and a host, got {update.url!r}."),
        (update.group is not None and not _NAME.fullmatch(update.group),
         "update.group: expected 1 to 64 letters, digits, _ and -."),
        ((update.tls_cert is None) != (update.tls_key is None),
         "update.tls_cert: certificate and update.tls_key go together."),
        (update.tls_cert is not None and update.tls_ca is None,
         "update.tls_ca: is missing; it goes with update.tls_cert."),
        (update.probation_seconds > update.probation_max_seconds,
         "update.probation_seconds: is above update.probation_max_seconds."),
    )  # fmt: skip
    for broken, message in rules:
        if broken:
            raise ConfigError(f"{origin}: {message}")


def _is_web_address(url: str) -> bool:
    try:
        split_web_address(url)
    except ValueError:
        return False
    return True


def _in_grammar(check: Any, where: str) -> None:
    try:
        check()
    except ContractError as error:
        raise ConfigError(f"{where}: {error}") from error
