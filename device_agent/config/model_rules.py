"""What the tables of one model say together, and what those of several do: no two may want the same port, camera or file."""

from __future__ import annotations

import os
import re
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

from device_agent.config.model import SplitSection
from device_agent.config.models import named_models
from device_agent.contract.digest import checked_digest
from device_agent.contract.errors import ConfigError, ContractError
from device_agent.contract.model_names import MAIN_MODEL
from device_agent.contract.topics import DeviceTopics

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from device_agent.config.file import AgentConfig

_WITH_PATH: Final = ("directory", "replay", "camera")
_TOPIC_FILTER: Final = re.compile(r"(?:(?:\+|[^+#/]*)/)*(?:\+|#|[^+#/]*)")
"""Source: MQTT 3.1.1, section 4.7.1: ``+`` and ``#`` fill a whole level, ``#`` only the last."""


_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
MQTT_MAX_TEXT_BYTES: Final = 65_535
NO_MQTT_TEXT: Final = (
    f"expected at most {MQTT_MAX_TEXT_BYTES} bytes without control characters; MQTT carries no other text."
)


def check_models(config: AgentConfig, origin: str) -> None:
    """Check every model by itself, then all of them together.

    Raises:
        ConfigError: Two settings contradict each other, or two models want the same thing.
    """
    models = named_models(config)
    for name, alone in models:
        _check_one(alone, origin if alone is config else f"{origin}: model {name}")
    for (name, one), (other_name, other) in combinations(models, 2):
        _check_two(one, other, f"{origin}: model {other_name}", name, other_name)


def frames_topic(config: AgentConfig, name: str) -> str:
    """Return the filter of the topics that a model with an ``mqtt`` source takes frames from.

    Args:
        config: Of the model, as if it were alone.
        name: Its name; the main one takes frames from ``…/i/frame``, another one from ``…/i/NAME``.
    """
    topics = DeviceTopics(config.device.id, config.mqtt.topic_root)
    return config.source.topic or (topics.frames() if name == MAIN_MODEL else topics.frames(name))


def fits_mqtt(text: str) -> bool:
    """Say whether MQTT can carry a text: its length has two bytes, and brokers refuse control characters. Source: MQTT 5, 1.5.4."""
    return len(text.encode()) <= MQTT_MAX_TEXT_BYTES and _CONTROL.search(text) is None


def refuse_broken(rules: Iterable[tuple[object, str]], where: str) -> None:
    """Refuse the first rule that is broken.

    Raises:
        ConfigError: One is.
    """
    for broken, message in rules:
        if broken:
            raise ConfigError(f"{where}: {message}")


def in_grammar(check: Any, where: str) -> None:
    """Call ``check``.

    Raises:
        ConfigError: It raised a `ContractError`.
    """
    try:
        check()
    except ContractError as error:
        raise ConfigError(f"{where}: {error}") from error


def _check_one(config: AgentConfig, where: str) -> None:
    source, mqtt, engine, split, heat = config.source, config.mqtt, config.engine, config.split, config.heat
    for key, digest in (("artifact", config.artifact.digest), ("split", split.digest)):
        if digest is not None:
            in_grammar(lambda text=digest, key=key: checked_digest(text, where=f"{key}.digest"), where)
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
         f"source.topic: {(source.topic or '')[:80]!r} is no MQTT topic filter."),
        (source.topic is not None and not fits_mqtt(source.topic), f"source.topic: {NO_MQTT_TEXT}"),
        (source.kind != "mqtt" and source.topic is not None,
         f"source.topic: source.kind {source.kind!r} takes none."),
        (engine.retry_min_seconds > engine.retry_max_seconds,
         "engine.retry_min_seconds: is above engine.retry_max_seconds."),
        (split.path is None and split != SplitSection(),
         "split.path: is missing; split.digest, split.ratio and split.seed go with it."),
        (split.path is not None and source.kind == "null",
         "split.path: every frame of source.kind 'null' has the same id, so that all would go to one side."),
        (split.path is not None and config.update.url is not None,
         "split.path: not with update.url; an update would replace one side of the comparison. Give the split to a [[model]]."),
        (split.path is not None and heat.variant_path is not None,
         "split.path: not with heat.variant_path; while it is hot nothing could be compared. Lower the rate, or pause."),
    )  # fmt: skip
    refuse_broken(rules, where)


def _check_two(one: AgentConfig, other: AgentConfig, where: str, name: str, other_name: str) -> None:
    kinds = {one.source.kind, other.source.kind}
    rules = (
        (kinds == {"http"} and _overlap_of_ports(one, other),
         f"source.http_port: {name} listens at {one.source.http_address}:{one.source.http_port} already."),
        (kinds == {"camera"} and _same(one.source.path, other.source.path),
         f"source.path: {name} has the camera {one.source.path} already; only one can."),
        (kinds == {"mqtt"} and _half_same(one, other, name, other_name),
         f"source.topic: its topics and those of {name} are partly the same, which some brokers deliver twice; "
         "give both the very same filter, or filters that have no topic in common."),
    )  # fmt: skip
    refuse_broken(rules, where)


def _overlap_of_ports(one: AgentConfig, other: AgentConfig) -> bool:
    ours, theirs = one.source, other.source
    everywhere = "0.0.0.0"  # noqa: S104  it is looked at, not listened to
    same_address = ours.http_address == theirs.http_address or everywhere in (
        ours.http_address,
        theirs.http_address,
    )
    return ours.http_port == theirs.http_port and same_address


def _same(one: Path | None, other: Path | None) -> bool:
    return one is not None and other is not None and os.path.realpath(one) == os.path.realpath(other)


def _half_same(one: AgentConfig, other: AgentConfig, name: str, other_name: str) -> bool:
    first, second = frames_topic(one, name), frames_topic(other, other_name)
    return first != second and _have_common_topic(first.split("/"), second.split("/"))


def _have_common_topic(one: list[str], other: list[str]) -> bool:
    """Say whether a topic could match both filters."""
    for ours, theirs in zip(one, other, strict=False):
        if "#" in (ours, theirs):
            return True
        if "+" not in (ours, theirs) and ours != theirs:
            return False
    longer = max(one, other, key=len)
    shorter = min(len(one), len(other))
    return len(one) == len(other) or longer[shorter:] == ["#"]
