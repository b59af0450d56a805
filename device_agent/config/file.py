"""`AgentConfig`: the whole of `agent.toml`, and how it is read."""

from __future__ import annotations

import dataclasses
import os
import sys
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from device_agent.config.device import DeviceSection, HeatSection, IdentitySection, SensorsSection
from device_agent.config.messages import LogSection, MqttSection, SpoolSection, TelemetrySection
from device_agent.config.model import (
    ArtifactSection,
    EngineSection,
    ModelSection,
    ResultsSection,
    SourceSection,
    SplitSection,
)
from device_agent.config.model_rules import MQTT_MAX_TEXT_BYTES
from device_agent.config.models import read_models
from device_agent.config.operation import CommandsSection, StatusSection, UpdateSection
from device_agent.config.paths import check_own_file, check_paths
from device_agent.config.rules import check_together
from device_agent.config.section import read_section
from device_agent.contract.errors import ConfigError
from device_agent.contract.regular_file import read_regular_file

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_FILE_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """A whole configuration; each attribute is the TOML table of its name, ``model`` the tables ``[[model]]``."""

    device: DeviceSection
    artifact: ArtifactSection
    engine: EngineSection = field(default_factory=EngineSection)
    source: SourceSection = field(default_factory=SourceSection)
    results: ResultsSection = field(default_factory=ResultsSection)
    split: SplitSection = field(default_factory=SplitSection)
    model: tuple[ModelSection, ...] = ()
    mqtt: MqttSection = field(default_factory=MqttSection)
    identity: IdentitySection = field(default_factory=IdentitySection)
    telemetry: TelemetrySection = field(default_factory=TelemetrySection)
    spool: SpoolSection
    sensors: SensorsSection = field(default_factory=SensorsSection)
    heat: HeatSection = field(default_factory=HeatSection)
    commands: CommandsSection = field(default_factory=CommandsSection)
    status: StatusSection = field(default_factory=StatusSection)
    update: UpdateSection = field(default_factory=UpdateSection)
    log: LogSection = field(default_factory=LogSection)


SECTIONS: Final[Mapping[str, type[Any]]] = {
    **typing.get_type_hints(AgentConfig),
    "model": ModelSection,
}
"""Table name to the dataclass that it becomes, in the order of docs/agent.md; of ``model`` there may be several."""
_REQUIRED: Final = tuple(
    one.name
    for one in dataclasses.fields(AgentConfig)
    if one.default is one.default_factory is dataclasses.MISSING
)


def load_config(path: Path | str) -> AgentConfig:
    """Read a configuration file.

    Raises:
        ConfigError: It cannot be read or is wrong; the message names file and key.
    """
    path = Path(path)
    try:
        data = read_regular_file(path, most_bytes=_MAX_FILE_BYTES + 1)
    except OSError as error:
        hint = (
            "Run it as root, or as the agent's own user."
            if isinstance(error, PermissionError)
            else "Is the path right?"
        )
        raise ConfigError(f"{path}: cannot be read: {error.strerror}.", hint=hint) from error
    if len(data) > _MAX_FILE_BYTES:
        raise ConfigError(f"{path}: expected at most {_MAX_FILE_BYTES} bytes; this is some other file.")
    config = parse_config(data, origin=path.name, folder=path.resolve().parent)
    check_own_file(config, path)
    return config


def parse_config(data: bytes, *, origin: str, folder: Path) -> AgentConfig:
    """Read a configuration from TOML.

    Args:
        data: The file's bytes.
        origin: Its name, for messages.
        folder: Where relative paths start.

    Raises:
        ConfigError: It is wrong; the message names ``origin`` and key.
    """
    try:
        document = tomllib.loads(data.decode("utf-8-sig"))  # some editors put a byte-order mark in front
    except (
        ValueError,
        RecursionError,
    ) as error:  # of text, of TOML, and of integers with thousands of digits
        raise ConfigError(f"{origin}: not valid TOML: {error}.") from error
    single = {name: table for name, table in document.items() if name != "model"}
    sections = read_section(single, SECTIONS, where=origin, folder=folder)
    missing = [name for name in _REQUIRED if name not in document]
    if missing:
        raise ConfigError(
            f"{origin}: table [{missing[0]}] is missing.", hint="docs/agent.md has an example, and every key."
        )
    models = read_models(document.get("model", []), origin=origin, folder=folder)
    config = AgentConfig(**sections, model=models)
    check_together(config, origin)
    check_paths(config, origin)
    return config


def mqtt_password(config: MqttSection, *, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the broker's password, or None when the configuration names none. Never log it.

    Raises:
        ConfigError: The file cannot be read or is empty, the variable is not set, or the password is longer than MQTT can carry.
    """
    password = _password(config, environment)
    size = 0 if password is None else len(password.encode(errors="surrogateescape"))
    if size > MQTT_MAX_TEXT_BYTES:
        raise ConfigError(f"mqtt: the password has {size} bytes; MQTT carries {MQTT_MAX_TEXT_BYTES}.")
    return password


def _password(config: MqttSection, environment: Mapping[str, str]) -> str | None:
    if config.password_env is not None:
        password = environment.get(config.password_env, "")
        if not password:
            raise ConfigError(
                f"mqtt.password_env: the environment variable {config.password_env} is not set."
            )
        return password
    if config.password_file is None:
        return None
    try:
        data = read_regular_file(config.password_file, most_bytes=_MAX_FILE_BYTES)
        password = data.decode("utf-8-sig").partition("\n")[0].removesuffix("\r")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"mqtt.password_file: {config.password_file} cannot be read: {reason}.") from error
    if not password:
        raise ConfigError(f"mqtt.password_file: {config.password_file} is empty.")
    return password


def described(config: AgentConfig) -> dict[str, object]:
    """Return every setting as plain JSON values, for ``check --json``. Holds no secret: the configuration has none."""
    return {name: _plain(value) for name, value in dataclasses.asdict(config).items()}


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
