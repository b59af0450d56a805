"""`Recipe`: what the user asks of the plan, as data. Read from TOML or JSON; an empty recipe leaves every choice to the plan.

Not here: what the target can do (its profile) and what was seen of the tensors (the statistics).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NoReturn, get_args

from host_tools.errors import InputError
from host_tools.plan.quantization_plan import FloatType, Method
from targets.profile import GROUPED, LARGEST_GROUP, PLAN_PRECISIONS, PlanPrecision

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
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
_LARGEST = sys.float_info.max


class RecipeError(InputError):
    """A recipe is wrong or names a node, operator or tensor that the model lacks; the message names file and key."""

    code = "recipe"


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
    table = _table(document, where, "recipe")
    version = table.get("schema_version", _SCHEMA_VERSION)
    if (
        _minor_version(version, where) <= SCHEMA_MINOR
    ):  # a newer minor version may have keys that are not known here
        _require_keys(table, _KEYS, where, "")
    keep = _table(table.get("keep_float", {}), where, "keep_float")
    _require_keys(keep, ("ops", "nodes"), where, "keep_float")
    widen = _table(table.get("widen", {}), where, "widen")
    _require_keys(widen, ("ops", "nodes"), where, "widen")
    tensors = _table(table.get("tensors", {}), where, "tensors")
    recipe = Recipe(
        precision=_precision(table.get("precision", "int8"), where),
        group=_group(table.get("group"), where),
        rounding=_rounding(table.get("rounding", "nearest"), where),
        scaling=_scaling(table.get("scaling", "none"), where),
        float_weights=_float_type(table.get("float_weights", "float32"), where, "float_weights"),
        method=_method(table.get("method"), where, "method"),
        percentile=_percentile(table.get("percentile", _DEFAULT_PERCENTILE), where),
        bias_correction=_boolean(table.get("bias_correction", True), where, "bias_correction"),
        equalization=_choice(table.get("equalization"), where, "equalization"),
        channel_splitting=_share(table.get("channel_splitting"), where, "channel_splitting"),
        reconstruction=_choice(table.get("reconstruction"), where, "reconstruction"),
        mixed_precision=_choice(table.get("mixed_precision"), where, "mixed_precision"),
        spared=_spared(table.get("spared", "latency"), where),
        keep_float=KeepFloat(
            ops=_names(keep.get("ops", []), where, "keep_float.ops"),
            nodes=_names(keep.get("nodes", []), where, "keep_float.nodes"),
        ),
        widen=Widen(
            ops=_names(widen.get("ops", []), where, "widen.ops"),
            nodes=_names(widen.get("nodes", []), where, "widen.nodes"),
        ),
        tensors={name: _override(entry, where, f"tensors.{name}") for name, entry in tensors.items()},
        extra={key: value for key, value in table.items() if key not in _KEYS},
        schema_version=str(version),
    )
    require_agreement(recipe, where=where)
    return recipe


def require_agreement(recipe: Recipe, *, where: str) -> None:
    """Check that a recipe asks for nothing that its precision cannot have.

    Raises:
        RecipeError: It does; the message names the keys.
    """
    if recipe.rounding != "nearest" and recipe.precision not in GROUPED:
        raise RecipeError(
            f"{where}: rounding: {recipe.rounding} is for {' and '.join(GROUPED)}, got precision {recipe.precision}.",
            hint="Leave rounding out: precision int8 reconstructs its weights by itself.",
        )
    if recipe.scaling != "none" and recipe.precision not in GROUPED:
        raise RecipeError(
            f"{where}: scaling: {recipe.scaling} is for {' and '.join(GROUPED)}, got precision {recipe.precision}.",
            hint="Leave scaling out: precision int8 has equalization.",
        )
    if recipe.precision == "int8":
        if recipe.group is not None:
            raise RecipeError(
                f"{where}: group: precision int8 has no groups, got {recipe.group}.",
                hint="Leave group out, or ask for weights-int4.",
            )
        return
    asked = {
        "method": recipe.method,
        "equalization": recipe.equalization,
        "channel_splitting": recipe.channel_splitting,
        "reconstruction": recipe.reconstruction,
        "mixed_precision": recipe.mixed_precision,
        "widen": recipe.widen.ops | recipe.widen.nodes or None,
        "tensors": recipe.tensors or None,
    }
    vain = [key for key, value in asked.items() if value not in (None, False)]
    if vain:
        raise RecipeError(
            f"{where}: {', '.join(vain)}: for precision int8 only; precision {recipe.precision} plans no activation.",
            hint="Leave them out, or leave precision out.",
        )
    if recipe.group is not None and recipe.precision not in GROUPED:
        why = "has one scale an output channel" if recipe.precision == "int8-dynamic" else "has no scales"
        raise RecipeError(
            f"{where}: group: precision {recipe.precision} {why}, got {recipe.group}.",
            hint=f"Leave group out, or ask for {' or '.join(GROUPED)}.",
        )


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


def _refuse(where: str, key: str, expected: str, got: object) -> NoReturn:
    raise RecipeError(f"{where}: {key}: expected {expected}, got {got!r}.")


def _table(value: object, where: str, key: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        _refuse(where, key, "a table", value)
    return value


def _require_keys(table: Mapping[str, object], known: tuple[str, ...], where: str, key: str) -> None:
    for name in table:
        if name not in known:
            _refuse(where, f"{key}.{name}" if key else name, f"one of the keys {', '.join(known)}", name)


def _minor_version(value: object, where: str) -> int:
    """Return the minor part of a version whose major part is known here."""
    major, dot, minor = value.partition(".") if isinstance(value, str) else ("", "", "")
    if not (major.isdecimal() and minor.isdecimal() and dot) or len(major + minor) > _MAX_DIGITS:
        _refuse(where, "schema_version", 'a version such as "1.0"', value)
    if int(major) != SCHEMA_MAJOR:
        raise RecipeError(
            f"{where}: schema_version: this reader knows recipes of version {SCHEMA_MAJOR}, got {value}.",
            hint="Use the version of edgewright that the recipe was written for.",
        )
    return int(minor)


def _boolean(value: object, where: str, key: str) -> bool:
    if not isinstance(value, bool):
        _refuse(where, key, "true or false", value)
    return value


def _precision(value: object, where: str) -> PlanPrecision:
    for precision in PLAN_PRECISIONS:
        if precision == value:
            return precision
    _refuse(where, "precision", f"one of {', '.join(PLAN_PRECISIONS)}", value)


def _group(value: object, where: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST_GROUP:
        _refuse(where, "group", f"a whole number from 0 to {LARGEST_GROUP}", value)
    return value


def _rounding(value: object, where: str) -> RoundingMethod:
    for rounding in ROUNDING_METHODS:
        if rounding == value:
            return rounding
    _refuse(where, "rounding", f"one of {', '.join(ROUNDING_METHODS)}", value)


def _scaling(value: object, where: str) -> ScalingMethod:
    for scaling in SCALING_METHODS:
        if scaling == value:
            return scaling
    _refuse(where, "scaling", f"one of {', '.join(SCALING_METHODS)}", value)


def _float_type(value: object, where: str, key: str) -> FloatType:
    for kind in FLOAT_TYPES:
        if kind == value:
            return kind
    _refuse(where, key, f"one of {', '.join(FLOAT_TYPES)}", value)


def _spared(value: object, where: str) -> Spared:
    for spared in SPARED:
        if spared == value:
            return spared
    _refuse(where, "spared", f"one of {', '.join(SPARED)}", value)


def _choice(value: object, where: str, key: str) -> bool | None:
    return None if value is None else _boolean(value, where, key)


def _number(value: object, where: str, key: str) -> float:
    # The comparison also refuses NaN, and whole numbers beyond any float.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -_LARGEST <= value <= _LARGEST:
        _refuse(where, key, "a finite number", value)
    return float(value)


def _share(value: object, where: str, key: str) -> float | None:
    if value is None:
        return None
    number = _number(value, where, key)
    if not 0.0 < number <= 1.0:
        _refuse(where, key, "above 0 and at most 1", value)
    return number


def _percentile(value: object, where: str) -> float:
    number = _number(value, where, "percentile")
    if not 50.0 < number <= 100.0:
        _refuse(where, "percentile", "above 50 and at most 100", value)
    return number


def _method(value: object, where: str, key: str) -> Method | None:
    if value is None:
        return None
    for method in METHODS:
        if method == value:
            return method
    _refuse(where, key, f"one of {', '.join(METHODS)}", value)


def _names(value: object, where: str, key: str) -> frozenset[str]:
    if not isinstance(value, (list, tuple)):
        _refuse(where, key, "a list of names", value)
    names = [name for name in value if isinstance(name, str) and name]
    if len(names) != len(value):
        _refuse(where, key, "a list of names", value)
    return frozenset(names)


def _override(value: object, where: str, key: str) -> TensorOverride:
    table = _table(value, where, key)
    _require_keys(table, ("range", "method"), where, key)
    return TensorOverride(
        range=_range(table["range"], where, f"{key}.range") if "range" in table else None,
        method=_method(table.get("method"), where, f"{key}.method"),
    )


def _range(value: object, where: str, key: str) -> tuple[float, float]:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        _refuse(where, key, "[low, high]", value)
    low, high = (_number(number, where, key) for number in value)
    if not low < high:
        _refuse(where, key, "low < high", value)
    return low, high
