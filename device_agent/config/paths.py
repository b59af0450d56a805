"""What the agent writes, held against every other path of the configuration: a slip of the pen must cost no model and no key."""

from __future__ import annotations

import dataclasses
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from device_agent.contract.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from device_agent.config.file import AgentConfig

_SPOOL_ENDINGS: Final = ("-wal", "-shm", ".damaged")
_RESULTS_ENDINGS: Final = (".1",)
_HINT: Final = "Give each a path of its own."


def ledger_path(config: AgentConfig) -> Path:
    """Return where the agent writes down what becomes of commands."""
    return config.spool.path.with_name("commands.json")


def socket_path(config: AgentConfig) -> Path:
    """Return where the agent answers who asks for its status."""
    return config.status.socket or config.spool.path.with_name("agent.sock")


def check_paths(config: AgentConfig, origin: str) -> None:
    """Check that nothing else that the configuration names lies where the agent writes.

    Raises:
        ConfigError: Two settings lead to one path, or a file would have no name.
    """
    named = dict(_named(config))
    for key, path in named.items():
        if not path.name and _is_written(key):
            raise ConfigError(f"{origin}: {key}: expected a file or folder with a name, got {str(path)!r}.")
    read = [(os.path.realpath(path), key) for key, path in named.items() if not _is_written(key)]
    owners: dict[str, str] = {}
    for real, key in _written(config, named):
        if real in owners:
            raise ConfigError(f"{origin}: {key}: {real} is {owners[real]} too.", hint=_HINT)
        owners[real] = key
    for real, key in read:
        if real in owners:
            raise ConfigError(
                f"{origin}: {key}: {real} is {owners[real]} too, which the agent writes.", hint=_HINT
            )


def check_own_file(config: AgentConfig, file: Path) -> None:
    """Check that the agent does not write over its configuration.

    Args:
        config: What was read.
        file: Where it was read.

    Raises:
        ConfigError: It would.
    """
    written = dict(_written(config, dict(_named(config))))
    owner = written.get(os.path.realpath(file))
    if owner is not None:
        raise ConfigError(
            f"{file.name}: {owner}: is this very configuration, and the agent writes there.", hint=_HINT
        )


def _is_written(key: str) -> bool:
    return key in ("spool.path", "status.socket", "update.directory", "identity.folder") or key.endswith(
        "results.jsonl"
    )


def _written(config: AgentConfig, named: Mapping[str, Path]) -> list[tuple[str, str]]:
    """Return every real path that the agent writes, and whose it is; devices such as ``/dev/null`` take any number of writers."""
    written = {key: path for key, path in named.items() if _is_written(key) and not _is_device(path)}
    owners = [(path, key) for key, path in written.items()]
    owners.append((ledger_path(config), "commands.json beside spool.path"))
    if config.status.socket is None:
        owners.append((socket_path(config), "agent.sock beside spool.path"))
    for key, path in written.items():
        endings = _SPOOL_ENDINGS if key == "spool.path" else _RESULTS_ENDINGS if key.endswith("jsonl") else ()
        owners += [(path.with_name(path.name + ending), f"{key} with {ending}") for ending in endings]
    return [(os.path.realpath(path), owner) for path, owner in owners]


def _is_device(path: Path) -> bool:
    try:
        return stat.S_ISCHR(path.stat().st_mode)
    except OSError:  # not there, or not to be seen
        return False


def _named(config: AgentConfig) -> Iterator[tuple[str, Path]]:
    """Give every path of the configuration with its key; ``-`` is standard output and no path."""
    for field in dataclasses.fields(config):
        if field.name != "model":
            yield from _named_in(getattr(config, field.name), field.name)
    for model in config.model:
        for field in dataclasses.fields(model):
            yield from _named_in(getattr(model, field.name), f"model {model.name}: {field.name}")


def _named_in(table: object, where: str) -> Iterator[tuple[str, Path]]:
    if not dataclasses.is_dataclass(table):
        return
    for field in dataclasses.fields(table):
        value = getattr(table, field.name)
        if isinstance(value, Path) and str(value) != "-":
            yield f"{where}.{field.name}", value
