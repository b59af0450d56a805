"""`Recipe`: what the user asks of the plan, as data. Read from TOML or JSON; an empty recipe leaves every choice to the plan.

Not here: what the target can do (its profile) and what was seen of the tensors (the statistics).
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, get_args

from host_tools.plan.quantization_plan import FloatType, Method
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
from targets.profile import LARGEST_GROUP, PLAN_PRECISIONS, PlanPrecision

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SCHEMA_MAJOR = 1
SCHEMA_MINOR = 6
_SCHEMA_VERSION = f"{SCHEMA_MAJOR}.2"
"""Of a recipe that asks for no other precision than int8: what 1.3 added it does not use."""
_PRECISION_VERSION = f"{SCHEMA_MAJOR}.3"
_ROUNDING_VERSION = f"{SCHEMA_MAJOR}.4"
_FLOAT16_VERSION = f"{SCHEMA_MAJOR}.5"
_SCALING_VERSION = f"{SCHEMA_MAJOR}.6"
_VERSIONS = (_SCHEMA_VERSION, _PRECISION_VERSION, _ROUNDING_VERSION, _FLOAT16_VERSION, _SCALING_VERSION)
"""Each the first that has what a recipe may ask for."""
METHODS: tuple[Method, ...] = get_args(Method)
Spared = Literal["latency", "size"]
SPARED: tuple[Spared, ...] = get_args(Spared)
RoundingMethod = Literal["nearest", "gptq"]
ROUNDING_METHODS: tuple[RoundingMethod, ...] = get_args(RoundingMethod)
ScalingMethod = Literal["none", "awq"]
SCALING_METHODS: tuple[ScalingMethod, ...] = get_args(ScalingMethod)
FLOAT_TYPES: tuple[FloatType, ...] = get_args(FloatType)
_DEFAULT_PERCENTILE = 99.99
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


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepFloat:
    """What must not be quantized.

    Attributes:
        ops: Operator types, e.g. ``Softmax``.
        nodes: Node names of the canonical graph.
    """

    ops: frozenset[str] = frozenset()
    nodes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Widen:
    """What gets 16-bit activations, on a target of 8-bit ones that has such kernels besides.

    Attributes:
        ops: Operator types.
        nodes: Node names of the canonical graph.
    """

    ops: frozenset[str] = frozenset()
    nodes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorOverride:
    """What the user wants for one tensor.

    Attributes:
        range: Real range (low, high) instead of the observed one, in the tensor's unit; finite, low < high.
        method: How the range is chosen instead of the recipe's method.
    """

    range: tuple[float, float] | None = None
    method: Method | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What the user asks.

    Attributes:
        precision: What of the model becomes integers. All but ``int8`` need no calibration, and know nothing of what else is here but
            `keep_float`.
        group: Weights that share a scale, along the axis that is summed over, where the precision has groups; None: what the target has best.
        rounding: How weights of the precisions of weights alone are rounded: to the nearest code, or by what their matrices give on
            calibration data.
        scaling: Whether, in the precisions of weights alone, input channels of matrices are scaled by how large activations are on calibration
            data before their weights are rounded.
        float_weights: How weights that get no codes are stored.
        method: How observed ranges become parameters; None lets the plan choose, and say so.
        percentile: Share of values that ``percentile`` keeps inside the range, in percent, above 50 and at most 100.
        bias_correction: Whether biases take back the shift that rounding the weights gives to each output channel's mean.
        equalization: Whether channels are scaled against one another; None: where it pays, unless a method is given.
        channel_splitting: Share of the channels of each value that become two, above 0 and at most 1; None: none, for it costs operations.
        reconstruction: Whether weights are rounded by what each operator gives; None: where it pays, unless a method is given.
        mixed_precision: Whether the operators that cost most run in wider precisions; None: where the user names a goal that nothing else
            reaches.
        spared: What mixed precision spends as little of as it can: time, or bytes of the file.
        keep_float: Nodes that stay in float.
        widen: Nodes with 16-bit activations; `keep_float` goes first.
        tensors: Overrides by value name.
        extra: Fields of a newer minor version, kept as they came.
        schema_version: ``MAJOR.MINOR`` of the document that it was read from.
    """

    precision: PlanPrecision = "int8"
    group: int | None = None
    rounding: RoundingMethod = "nearest"
    scaling: ScalingMethod = "none"
    float_weights: FloatType = "float32"
    method: Method | None = None
    percentile: float = _DEFAULT_PERCENTILE
    bias_correction: bool = True
    equalization: bool | None = None
    channel_splitting: float | None = None
    reconstruction: bool | None = None
    mixed_precision: bool | None = None
    spared: Spared = "latency"
    keep_float: KeepFloat = field(default_factory=KeepFloat)
    widen: Widen = field(default_factory=Widen)
    tensors: Mapping[str, TensorOverride] = field(default_factory=dict)
    extra: Mapping[str, object] = field(default_factory=dict)
    schema_version: str = _SCHEMA_VERSION

    def __post_init__(self) -> None:
        """Make the mappings read-only."""
        object.__setattr__(self, "tensors", MappingProxyType(dict(self.tensors)))
        object.__setattr__(self, "extra", MappingProxyType(dict(self.extra)))
        lowest = self._lowest_version()
        if self.schema_version in _VERSIONS[: _VERSIONS.index(lowest)]:
            object.__setattr__(self, "schema_version", lowest)

    def _lowest_version(self) -> str:
        """Return the first version that has what is asked for."""
        if self.scaling != "none":
            return _SCALING_VERSION
        if self.float_weights != "float32" or self.precision == "weights-float16":
            return _FLOAT16_VERSION
        if self.rounding != "nearest":
            return _ROUNDING_VERSION
        return _SCHEMA_VERSION if self.precision == "int8" else _PRECISION_VERSION

    @property
    def fits_weights(self) -> bool:
        """Whether weights are scaled or rounded by calibration data, in a precision that needs none otherwise."""
        return (self.rounding, self.scaling) != ("nearest", "none")

    @classmethod
    def read(cls, path: Path) -> Recipe:
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
    version = table.get("schema_version", _SCHEMA_VERSION)
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
        percentile=_percentile(table.get("percentile", _DEFAULT_PERCENTILE), where),
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
