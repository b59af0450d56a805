"""JOBS.toml: models and targets of a batch, with defaults, as data. What is on the disk is looked at in `expansion`."""

from __future__ import annotations

import dataclasses
import difflib
import sys
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from device_agent.contract.errors import ContractError
from device_agent.contract.fields import Fields
from host_tools.errors import InputError
from host_tools.pack.artifact import checked_name, checked_version
from host_tools.recipe import METHODS
from host_tools.verify.verification_report import Budget

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from host_tools.plan.quantization_plan import Method

SCHEMA_VERSION = "1.0"
MAX_BYTES = 1 << 20
MOST_MODELS = 10_000
"""Entries of one file, and models of one batch."""
_MOST_MINUTES = 60 * 24 * 30
_SHORTEST = 1e-6  # of a minute: above 0, as on the command line
_MOST = 1024
_LARGEST = sys.float_info.max
_COUNT_MAX = (1 << 31) - 1


class JobsFileError(InputError):
    """JOBS.toml is wrong, or names what is not there; the message names file and key."""

    code = "jobs_file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What may stand under ``[defaults]`` and under ``[[model]]``; None, or an empty mapping, where nothing is said.

    Attributes:
        targets: Profile ids or paths of profile files.
        version: Version of the model.
        data: Calibration data: a path or ``module:function``.
        preprocess: Path of a preprocessing file.
        method: How ranges are chosen.
        recipe: Path of a recipe.
        limit: Use only the first samples of ``data``.
        eval: Evaluation data: a path or ``module:function``.
        labels: Path of their labels.
        metric: ``module:function``.
        heat: Path of what devices do when they get hot.
        budget_minutes: How long methods beyond the plan may take for all targets of a model together.
        latency: Whether to measure latency.
        diagnose: Whether to find out which layers cost most.
        shapes: Shapes by input name.
        budget: Limits by name, as `Budget` has them.
    """

    targets: tuple[str, ...] | None = None
    version: str | None = None
    data: str | None = None
    preprocess: str | None = None
    method: Method | None = None
    recipe: str | None = None
    limit: int | None = None
    eval: str | None = None
    labels: str | None = None
    metric: str | None = None
    heat: str | None = None
    budget_minutes: float | None = None
    latency: bool | None = None
    diagnose: bool | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    budget: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the mappings read-only."""
        object.__setattr__(self, "shapes", MappingProxyType(dict(self.shapes)))
        object.__setattr__(self, "budget", MappingProxyType(dict(self.budget)))

    def over(self, defaults: Settings) -> Settings:
        """Return these settings with ``defaults`` where nothing is said; ``shapes`` and ``budget`` are joined key by key.

        A method of its own replaces a default recipe, and the other way round: the two exclude each other.
        """
        if self.method is not None or self.recipe is not None:
            defaults = dataclasses.replace(defaults, method=None, recipe=None)
        own = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        said = {name: value for name, value in own.items() if value is not None}
        said["shapes"] = {**defaults.shapes, **self.shapes}
        said["budget"] = {**defaults.budget, **self.budget}
        return dataclasses.replace(defaults, **said)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """One ``[[model]]``.

    Attributes:
        key: Where it stands, for messages: ``model[2]``.
        path: Path or pattern of model files.
        name: Name of the model; None: the file's stem.
        settings: Its settings over the defaults.
    """

    key: str
    path: str
    name: str | None
    settings: Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsFile:
    """A whole file; ``where`` is its name for messages."""

    where: str
    models: tuple[ModelEntry, ...]


_SETTINGS = tuple(one.name for one in dataclasses.fields(Settings))
_LIMITS = tuple(one.name for one in dataclasses.fields(Budget))


def read_jobs_file(path: Path) -> JobsFile:
    """Read a file.

    Raises:
        JobsFileError: It cannot be read, is too large, or see `parse_jobs`.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise JobsFileError(
            f"{path}: cannot be read: {error.strerror or error}.", hint="`edgewright batch --help` shows one."
        ) from error
    return parse_jobs(data, where=str(path))


def parse_jobs(data: bytes, *, where: str) -> JobsFile:
    """Read the bytes of a file.

    Raises:
        JobsFileError: Larger than 1 MiB, not TOML, or a key is unknown, missing, of the wrong type or out of range.
    """
    if len(data) > MAX_BYTES:
        raise JobsFileError(f"{where}: larger than {MAX_BYTES} bytes; expected a list of jobs.")
    try:
        document: Mapping[str, object] = tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise JobsFileError(f"{where}: not TOML: {error}.") from error
    try:
        return _jobs(Fields(document, where=where), where)
    except (ContractError, InputError) as error:
        if isinstance(error, JobsFileError):
            raise
        raise JobsFileError(str(error.args[0]), hint=error.hint) from error


def _jobs(fields: Fields, where: str) -> JobsFile:
    if fields.has("schema_version"):
        fields.schema_version(SCHEMA_VERSION)
    _require_known(fields, ("schema_version", "defaults", "model"), where)
    defaults = (
        _settings(fields.child("defaults"), f"{where}: defaults") if fields.has("defaults") else Settings()
    )
    if not fields.has("model"):
        raise JobsFileError(f"{where}: model: is missing.", hint='Add [[model]] with path = "model.onnx".')
    entries = enumerate(fields.children("model", least=1, most=MOST_MODELS))
    return JobsFile(
        where=where, models=tuple(_entry(one, f"model[{index}]", where, defaults) for index, one in entries)
    )


def _entry(fields: Fields, key: str, where: str, defaults: Settings) -> ModelEntry:
    own = _settings(fields, f"{where}: {key}", also=("path", "name"))
    settings = own.over(defaults)
    for name in ("data", "targets"):
        if getattr(settings, name) is None:
            raise JobsFileError(
                f"{where}: {key}.{name}: is missing.", hint=f"Give it here or under [defaults].{name}."
            )
    if settings.labels is not None and settings.eval is None:
        raise JobsFileError(f"{where}: {key}.labels: needs eval: labels belong to evaluation data.")
    if settings.metric is not None and settings.labels is None:
        raise JobsFileError(f"{where}: {key}.metric: needs labels: it rates outputs against them.")
    return ModelEntry(
        key=key,
        path=_path(fields, f"{where}: {key}"),
        name=_checked(fields, "name", checked_name, f"{where}: {key}") if fields.has("name") else None,
        settings=settings,
    )


def _settings(fields: Fields, at: str, *, also: tuple[str, ...] = ()) -> Settings:
    _require_known(fields, (*also, *_SETTINGS), at)
    if fields.has("method") and fields.has("recipe"):
        raise JobsFileError(
            f"{at}: method and recipe exclude each other.", hint="Write the method into the recipe."
        )
    return Settings(
        targets=fields.texts("targets", least=1, most=_MOST) if fields.has("targets") else None,
        version=_checked(fields, "version", checked_version, at) if fields.has("version") else None,
        data=_text(fields, "data"),
        preprocess=_text(fields, "preprocess"),
        method=fields.choice("method", METHODS) if fields.has("method") else None,
        recipe=_text(fields, "recipe"),
        limit=fields.integer("limit", low=1, high=_COUNT_MAX) if fields.has("limit") else None,
        eval=_text(fields, "eval"),
        labels=_text(fields, "labels"),
        metric=_text(fields, "metric"),
        heat=_text(fields, "heat"),
        budget_minutes=_minutes(fields, "budget_minutes"),
        latency=_boolean(fields, "latency"),
        diagnose=_boolean(fields, "diagnose"),
        shapes=_shapes(fields.child("shapes")) if fields.has("shapes") else {},
        budget=_budget(fields.child("budget"), at) if fields.has("budget") else {},
    )


def _path(fields: Fields, at: str) -> str:
    path = _text(fields, "path")
    if path is None:
        raise JobsFileError(
            f"{at}.path: is missing.", hint="Name a model file, or a pattern such as models/*.onnx."
        )
    return path


def _require_known(fields: Fields, known: tuple[str, ...], at: str) -> None:
    for key in fields.names:
        if key not in known:
            close = difflib.get_close_matches(key[:64], known, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(known)}."
            raise JobsFileError(f"{at}: {key[:64]}: unknown.", hint=hint)


def _checked(fields: Fields, key: str, check: Callable[[str], str], at: str) -> str:
    text = fields.text(key)
    try:
        return check(text)
    except InputError as error:
        _, _, expected = str(error.args[0]).partition(": ")
        raise JobsFileError(f"{at}.{key}: {expected}", hint=error.hint) from error


def _text(fields: Fields, key: str) -> str | None:
    if not fields.has(key):
        return None
    text = fields.text(key)
    if "\0" in text:
        fields.refuse(key, "a text without a zero byte", text)
    return text


def _boolean(fields: Fields, key: str) -> bool | None:
    return fields.boolean(key) if fields.has(key) else None


def _minutes(fields: Fields, key: str) -> float | None:
    return fields.number(key, low=_SHORTEST, high=_MOST_MINUTES) if fields.has(key) else None


def _shapes(fields: Fields) -> dict[str, tuple[int, ...]]:
    return {name: fields.integers(name, least=1, most=_MOST, low=1, high=_COUNT_MAX) for name in fields.names}


def _budget(fields: Fields, at: str) -> dict[str, float]:
    _require_known(fields, _LIMITS, f"{at}.budget")
    limits = {name: fields.number(name, low=-_LARGEST, high=_LARGEST) for name in fields.names}
    try:
        Budget(**limits)
    except InputError as error:
        raise JobsFileError(f"{at}.{error.args[0]}") from error
    return limits
