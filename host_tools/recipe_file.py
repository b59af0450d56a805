"""Recipes as TOML and JSON: what a file may say, and the same bytes for the same recipe."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from host_tools.recipe import (
    DEFAULT_PERCENTILE,
    FLOAT_TYPES,
    METHODS,
    ROUNDING_METHODS,
    SCALING_METHODS,
    SCHEMA_MAJOR,
    SCHEMA_MINOR,
    SPARED,
    KeepFloat,
    Recipe,
    TensorOverride,
    Widen,
)
from host_tools.recipe_agreement import require_agreement
from host_tools.recipe_values import (
    RecipeError,
    as_boolean,
    as_names,
    as_number,
    as_range,
    as_share,
    as_table,
    one_of,
    refuse,
    require_keys,
)
from targets.profile import LARGEST_GROUP, PLAN_PRECISIONS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from pathlib import Path

    from host_tools.plan.quantization_plan import Method

_KEYS = (
    "schema_version",
    "precision",
    "group",
    "rounding",
    "scaling",
    "float_weights",
    "method",
    "percentile",
    "bias_correction",
    "equalization",
    "channel_splitting",
    "reconstruction",
    "mixed_precision",
    "spared",
    "keep_float",
    "widen",
    "tensors",
)
_MAX_BYTES = 1 << 20
_MAX_DIGITS = 18


def read_recipe(path: Path) -> Recipe:
    """Read a ``.toml`` or ``.json`` recipe.

    Raises:
        RecipeError: The file cannot be read, is too large or does not say what a recipe must.
    """
    where = str(path)
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise RecipeError(f"{where}: cannot be read: {error.strerror or error}.") from error
    if len(data) > _MAX_BYTES:
        raise RecipeError(f"{where}: larger than {_MAX_BYTES} bytes; expected a recipe.")
    return parse_recipe(data, where=where, is_json=path.suffix.lower() == ".json")


def parse_recipe(data: bytes, *, where: str, is_json: bool = False) -> Recipe:
    """Read a recipe from a file's bytes.

    Args:
        data: UTF-8 text, TOML unless ``is_json``.
        where: The file's name, for messages.
        is_json: Whether the text is JSON.

    Raises:
        RecipeError: The text is not a recipe; the message names file and key.
    """
    try:
        text = data.decode("utf-8")
        document: object = json.loads(text) if is_json else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"{where}: not {'JSON' if is_json else 'TOML'}: {error}.") from error
    return recipe_from(document, where=where)


def recipe_from(document: object, *, where: str) -> Recipe:
    """Read a recipe from parsed TOML or JSON, which is left as it was.

    Args:
        document: A mapping with any of ``schema_version``, ``precision``, ``group``, ``rounding``, ``scaling``, ``float_weights``, ``method``,
            ``percentile``, ``bias_correction``, ``equalization``, ``channel_splitting``, ``reconstruction``, ``mixed_precision``, ``spared``,
            ``keep_float``, ``widen`` and ``tensors``.
        where: Its origin, for messages.

    Raises:
        RecipeError: A value is of the wrong type or out of its range, a key is unknown, or the major version is newer.
    """
    table = as_table(document, where, "recipe")
    version = table.get("schema_version", Recipe().schema_version)
    if (
        _minor_version(version, where) <= SCHEMA_MINOR
    ):  # a newer minor version may have keys that are not known here
        require_keys(table, _KEYS, where, "")
    keep = as_table(table.get("keep_float", {}), where, "keep_float")
    require_keys(keep, ("ops", "nodes"), where, "keep_float")
    widen = as_table(table.get("widen", {}), where, "widen")
    require_keys(widen, ("ops", "nodes"), where, "widen")
    tensors = as_table(table.get("tensors", {}), where, "tensors")
    recipe = Recipe(
        precision=one_of(table.get("precision", "int8"), PLAN_PRECISIONS, where, "precision"),
        group=_group(table.get("group"), where),
        rounding=one_of(table.get("rounding", "nearest"), ROUNDING_METHODS, where, "rounding"),
        scaling=one_of(table.get("scaling", "none"), SCALING_METHODS, where, "scaling"),
        float_weights=one_of(table.get("float_weights", "float32"), FLOAT_TYPES, where, "float_weights"),
        method=_method(table.get("method"), where, "method"),
        percentile=_percentile(table.get("percentile", DEFAULT_PERCENTILE), where),
        bias_correction=as_boolean(table.get("bias_correction", True), where, "bias_correction"),
        equalization=_choice(table.get("equalization"), where, "equalization"),
        channel_splitting=as_share(table.get("channel_splitting"), where, "channel_splitting"),
        reconstruction=_choice(table.get("reconstruction"), where, "reconstruction"),
        mixed_precision=_choice(table.get("mixed_precision"), where, "mixed_precision"),
        spared=one_of(table.get("spared", "latency"), SPARED, where, "spared"),
        keep_float=KeepFloat(
            ops=as_names(keep.get("ops", []), where, "keep_float.ops"),
            nodes=as_names(keep.get("nodes", []), where, "keep_float.nodes"),
        ),
        widen=Widen(
            ops=as_names(widen.get("ops", []), where, "widen.ops"),
            nodes=as_names(widen.get("nodes", []), where, "widen.nodes"),
        ),
        tensors={name: _override(entry, where, f"tensors.{name}") for name, entry in tensors.items()},
        extra={key: value for key, value in table.items() if key not in _KEYS},
        schema_version=str(version),
    )
    require_agreement(recipe, where=where)
    return recipe


def encode(recipe: Recipe) -> bytes:
    """Return the recipe as UTF-8 JSON with a final newline, the same bytes for the same recipe; `parse_recipe` reads it back."""
    return (json.dumps(_document(recipe), indent=1, ensure_ascii=False) + "\n").encode()


def _document(recipe: Recipe) -> dict[str, object]:
    tensors = {
        name: {
            **({} if override.range is None else {"range": list(override.range)}),
            **({} if override.method is None else {"method": override.method}),
        }
        for name, override in sorted(recipe.tensors.items())
    }
    return {
        "schema_version": recipe.schema_version,
        **({} if recipe.precision == "int8" else {"precision": recipe.precision}),
        **({} if recipe.group is None else {"group": recipe.group}),
        **({} if recipe.rounding == "nearest" else {"rounding": recipe.rounding}),
        **({} if recipe.scaling == "none" else {"scaling": recipe.scaling}),
        **({} if recipe.float_weights == "float32" else {"float_weights": recipe.float_weights}),
        **({} if recipe.method is None else {"method": recipe.method}),
        "percentile": recipe.percentile,
        "bias_correction": recipe.bias_correction,
        **({} if recipe.equalization is None else {"equalization": recipe.equalization}),
        **({} if recipe.channel_splitting is None else {"channel_splitting": recipe.channel_splitting}),
        **({} if recipe.reconstruction is None else {"reconstruction": recipe.reconstruction}),
        **({} if recipe.mixed_precision is None else {"mixed_precision": recipe.mixed_precision}),
        "spared": recipe.spared,
        "keep_float": {"ops": sorted(recipe.keep_float.ops), "nodes": sorted(recipe.keep_float.nodes)},
        "widen": {"ops": sorted(recipe.widen.ops), "nodes": sorted(recipe.widen.nodes)},
        "tensors": tensors,
        **recipe.extra,
    }


def _minor_version(value: object, where: str) -> int:
    """Return the minor part of a version whose major part is known here."""
    major, dot, minor = value.partition(".") if isinstance(value, str) else ("", "", "")
    if not (major.isdecimal() and minor.isdecimal() and dot) or len(major + minor) > _MAX_DIGITS:
        refuse(where, "schema_version", 'a version such as "1.0"', value)
    if int(major) != SCHEMA_MAJOR:
        raise RecipeError(
            f"{where}: schema_version: this reader knows recipes of version {SCHEMA_MAJOR}, got {value}.",
            hint="Use the version of edgewright that the recipe was written for.",
        )
    return int(minor)


def _group(value: object, where: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST_GROUP:
        refuse(where, "group", f"a whole number from 0 to {LARGEST_GROUP}", value)
    return value


def _percentile(value: object, where: str) -> float:
    number = as_number(value, where, "percentile")
    if not 50.0 < number <= 100.0:
        refuse(where, "percentile", "above 50 and at most 100", value)
    return number


def _method(value: object, where: str, key: str) -> Method | None:
    return None if value is None else one_of(value, METHODS, where, key)


def _override(value: object, where: str, key: str) -> TensorOverride:
    table = as_table(value, where, key)
    require_keys(table, ("range", "method"), where, key)
    return TensorOverride(
        range=as_range(table["range"], where, f"{key}.range") if "range" in table else None,
        method=_method(table.get("method"), where, f"{key}.method"),
    )


def _choice(value: object, where: str, key: str) -> bool | None:
    return None if value is None else as_boolean(value, where, key)
