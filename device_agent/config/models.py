"""The tables ``[[model]]``: which models run beside the one of ``[artifact]``, and how one of them looks as a configuration of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from device_agent.config.model import ModelSection
from device_agent.config.operation import UpdateSection
from device_agent.config.section import read_table
from device_agent.contract.errors import ConfigError
from device_agent.contract.model_names import MAIN_MODEL, MAX_MODELS, MODEL_NAME

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from device_agent.config.file import AgentConfig


def read_models(tables: object, *, origin: str, folder: Path) -> tuple[ModelSection, ...]:
    """Read the tables ``[[model]]``.

    Args:
        tables: As TOML gave them.
        origin: The file's name, for messages.
        folder: Where relative paths start.

    Raises:
        ConfigError: They are no such tables, one is wrong, or two have one name.
    """
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigError(
            f"{origin}: model: expected tables [[model]], one for each further model.",
            hint="Write [[model]] with two brackets, then [model.artifact], [model.source] and so on.",
        )
    if len(tables) >= MAX_MODELS:
        raise ConfigError(
            f"{origin}: model: {len(tables)} tables [[model]]; at most {MAX_MODELS - 1} models run beside the main one."
        )
    models = tuple(_read_model(table, number, origin, folder) for number, table in enumerate(tables, start=1))
    names = [model.name for model in models]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"{origin}: model: two are named {twice!r}.", hint="Give each a name of its own.")
    return models


def alone(config: AgentConfig, model: ModelSection) -> AgentConfig:
    """Return the configuration of an agent that has this one model only, which no update and no variant for heat is about."""
    heat = replace(config.heat, variant_celsius=None, variant_path=None, variant_digest=None)
    return replace(
        config,
        artifact=model.artifact,
        engine=model.engine,
        source=model.source,
        results=model.results,
        split=model.split,
        heat=heat,
        model=(),
        update=UpdateSection(),
    )


def named_models(config: AgentConfig) -> Sequence[tuple[str, AgentConfig]]:
    """Return every model, the main one first, with its configuration as if it were alone."""
    return [(MAIN_MODEL, config), *((model.name, alone(config, model)) for model in config.model)]


def _read_model(table: dict[str, Any], number: int, origin: str, folder: Path) -> ModelSection:
    name = table.get("name")
    where = (
        f"{origin}: model {name}"
        if isinstance(name, str) and MODEL_NAME.fullmatch(name)
        else f"{origin}: model {number}"
    )
    model: ModelSection = read_table(ModelSection, table, where, folder)
    if not MODEL_NAME.fullmatch(model.name):
        raise ConfigError(
            f"{where}.name: expected lower case letters, digits and _, a letter first, at most 64; got {model.name[:80]!r}."
        )
    if model.name == MAIN_MODEL:
        raise ConfigError(
            f"{where}.name: {MAIN_MODEL!r} is the model of [artifact].", hint="Give this one another name."
        )
    return model
