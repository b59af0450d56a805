"""`PlanReader`: a document of ``plan.json``, every value typed and checked."""

from __future__ import annotations

import base64
import itertools
import sys
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, NoReturn, TypeVar, get_args

import numpy as np

from device_agent.contract.errors import SchemaVersionError
from host_tools.errors import InputError
from host_tools.plan.plan_tables import edge_table, node_table, qparams_table, tensor_table
from host_tools.plan.quantization_plan import (
    SCHEMA_VERSION,
    ActivationScheme,
    FloatType,
    IntegerType,
    NodePlan,
    QParams,
    Requantize,
    Role,
    TensorPlan,
)
from targets.profile import Precision

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
_MAJOR = int(SCHEMA_VERSION.partition(".")[0])
_TYPES: tuple[IntegerType, ...] = get_args(IntegerType)
_ROLES: tuple[Role, ...] = get_args(Role)
_PRECISIONS: tuple[Precision, ...] = get_args(Precision)
_ACTIVATIONS: tuple[ActivationScheme, ...] = get_args(ActivationScheme)
_FLOAT_TYPES: tuple[FloatType, ...] = get_args(FloatType)
_LARGEST_CODEBOOK = 256
"""Indices have at most 8 bits."""
_LARGEST = sys.float_info.max
Table = Mapping[str, object]


class PlanFileError(InputError):
    """A plan file is damaged or does not say what a plan must; the message names file and key."""

    code = "plan_file"


def kept(section: str, fields: Table) -> dict[str, object]:
    """Return the unknown fields of a section, as `QuantizationPlan.extra` has them."""
    return {section: fields} if fields else {}


class PlanReader:
    """Typed, checked access to a document; each entry comes with its unknown fields.

    Args:
        where: The file's name, for messages.

    Raises:
        PlanFileError: From all that read: a value is not what it must be; the message names file and key.
    """

    def __init__(self, where: str) -> None:
        self._where = where

    def _refuse(self, key: str, expected: str, got: object) -> NoReturn:
        shown = repr(got)
        raise PlanFileError(
            f"{self._where}: {key}: expected {expected}, got {shown if len(shown) <= 80 else shown[:77] + '...'}.",
            hint="Plan the model anew.",
        )

    def require_version(self, top: Table) -> None:
        """Refuse a document of a newer major version.

        Raises:
            SchemaVersionError: It is of one.
        """
        version = self.text(top, "schema_version", "plan")
        major, _, minor = version.partition(".")
        if not (major.isdecimal() and minor.isdecimal()):
            self._refuse("schema_version", f'a version such as "{SCHEMA_VERSION}"', version)
        if int(major) > _MAJOR:
            raise SchemaVersionError(
                f"{self._where}: schema_version: this reader knows plans up to version {_MAJOR}, got {version}.",
                hint="Update edgewright.",
            )

    def table(self, value: object, key: str) -> Table:
        """Return a value that must be an object."""
        if not isinstance(value, dict):
            self._refuse(key, "an object", value)
        return value

    def items(self, table: Table, key: str, at: str) -> list[object]:
        """Return a list that an object has."""
        value = table.get(key)
        if not isinstance(value, list):
            self._refuse(f"{at}.{key}", "a list", value)
        return value

    def as_text(self, value: object, key: str) -> str:
        """Return a value that must be a text."""
        if not isinstance(value, str):
            self._refuse(key, "a text", value)
        return value

    def text(self, table: Table, key: str, at: str) -> str:
        """Return a text that an object has."""
        return self.as_text(table.get(key), f"{at}.{key}")

    def choice(self, table: Table, key: str, at: str, options: tuple[T, ...]) -> T:
        """Return which of the options an object has."""
        value = table.get(key)
        chosen = next((option for option in options if isinstance(value, str) and option == value), None)
        if chosen is None:
            self._refuse(f"{at}.{key}", f"one of {', '.join(map(str, options))}", value)
        return chosen

    def _numbers(self, table: Table, key: str, at: str) -> tuple[float, ...]:
        values = self.items(table, key, at)
        for value in values:
            if (
                isinstance(value, bool)
                or not isinstance(value, (int, float))
                or not -_LARGEST <= value <= _LARGEST
            ):
                self._refuse(f"{at}.{key}", "finite numbers", value)
        return tuple(float(value) for value in values if isinstance(value, (int, float)))

    def _codebook(self, table: Table, at: str) -> tuple[float, ...]:
        numbers = self._numbers(table, "codebook", at)
        with np.errstate(over="ignore"):
            exact = np.asarray(numbers, np.float64).astype(np.float32).astype(np.float64)
        is_ascending = all(low < high for low, high in itertools.pairwise(numbers))
        if not 1 <= len(numbers) <= _LARGEST_CODEBOOK or not is_ascending or exact.tolist() != list(numbers):
            expected = f"1 to {_LARGEST_CODEBOOK} ascending float32 numbers"
            self._refuse(f"{at}.codebook", expected, table["codebook"])
        return numbers

    def _stored(self, table: Table, key: str, at: str) -> bytes:
        text = self.text(table, key, at)
        try:
            return base64.b64decode(text, validate=True)
        except ValueError:
            self._refuse(f"{at}.{key}", "base64", text)

    def _whole(self, value: object, key: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            self._refuse(key, "a whole number", value)
        return value

    def entries(
        self, top: Table, key: str, name_key: str, read: Callable[[object, str], tuple[T, Table]]
    ) -> dict[str, tuple[T, Table]]:
        """Return the entries of a list by their names, each once, with its unknown fields."""
        found: dict[str, tuple[T, Table]] = {}
        for at, entry in enumerate(self.items(top, key, "plan")):
            name = self.text(self.table(entry, f"{key}[{at}]"), name_key, f"{key}[{at}]")
            if name in found:
                self._refuse(f"{key}[{at}].{name_key}", "every name once", name)
            found[name] = read(entry, f"{key}[{name!r}]")
        return found

    def node(self, value: object, at: str) -> tuple[NodePlan, Table]:
        """Read a node."""
        table = self.table(value, at)
        fused = table.get("fused_into")
        node = NodePlan(
            name=self.text(table, "name", at),
            op_type=self.text(table, "op_type", at),
            precision=self.choice(table, "precision", at, _PRECISIONS),
            fused_into=None if fused is None else self.as_text(fused, f"{at}.fused_into"),
            reason=self.text(table, "reason", at),
            activations=self.choice(table, "activations", at, _ACTIVATIONS)
            if "activations" in table
            else "planned",
        )
        return node, _unknown(table, {**node_table(node), "activations": None})

    def tensor(self, value: object, at: str) -> tuple[TensorPlan, Table]:
        """Read a tensor."""
        table = self.table(value, at)
        qparams, more = (
            (None, {}) if table.get("qparams") is None else self._qparams(table["qparams"], f"{at}.qparams")
        )
        tensor = TensorPlan(
            name=self.text(table, "name", at),
            role=self.choice(table, "role", at, _ROLES),
            qparams=qparams,
            reason=self.text(table, "reason", at),
            values=self._numbers(table, "values", at) if "values" in table else None,
            codes=self._stored(table, "codes", at) if "codes" in table else None,
            float_type=self.choice(table, "float_type", at, _FLOAT_TYPES)
            if "float_type" in table
            else "float32",
            codebook=self._codebook(table, at) if "codebook" in table else None,
        )
        known = {**tensor_table(tensor), "float_type": None}
        return tensor, {**_unknown(table, known), **kept("qparams", more)}

    def edge(self, value: object, at: str) -> tuple[Requantize, Table]:
        """Read an edge on which values are requantized."""
        table = self.table(value, at)
        qparams, more = self._qparams(table.get("qparams"), f"{at}.qparams")
        edge = Requantize(
            node=self.text(table, "node", at),
            input_index=self._whole(table.get("input_index"), f"{at}.input_index"),
            qparams=qparams,
            reason=self.text(table, "reason", at),
        )
        return edge, {**_unknown(table, edge_table(edge)), **kept("qparams", more)}

    def _qparams(self, value: object, at: str) -> tuple[QParams, Table]:
        table = self.table(value, at)
        if table.get("group_axis") is not None:
            return self._grouped(table, at)
        axis = table.get("axis")
        qparams = QParams(
            scale=tuple(self._scale(scale, f"{at}.scale") for scale in self.items(table, "scale", at)),
            zero_point=tuple(
                self._whole(zero, f"{at}.zero_point") for zero in self.items(table, "zero_point", at)
            ),
            dtype=self.choice(table, "dtype", at, _TYPES),
            quant_min=self._whole(table.get("quant_min"), f"{at}.quant_min"),
            quant_max=self._whole(table.get("quant_max"), f"{at}.quant_max"),
            axis=None if axis is None else self._whole(axis, f"{at}.axis"),
        )
        if not qparams.scale or len(qparams.zero_point) != len(qparams.scale):
            self._refuse(f"{at}.zero_point", "as many as scales, at least one", list(qparams.zero_point))
        if qparams.axis is None and len(qparams.scale) != 1:
            self._refuse(f"{at}.axis", f"the axis of {len(qparams.scale)} scales", None)
        return qparams, _unknown(table, qparams_table(qparams))

    def _grouped(self, table: Table, at: str) -> tuple[QParams, Table]:
        scales = np.frombuffer(self._whole_items(self._stored(table, "scale", at), 4, f"{at}.scale"), "<f4")
        most = scales.size + 1
        try:
            unpacking = zlib.decompressobj()
            points = unpacking.decompress(self._stored(table, "zero_point", at), most)
        except zlib.error:
            self._refuse(f"{at}.zero_point", "packed numbers", table.get("zero_point"))
        if not scales.size or len(points) != scales.size:
            self._refuse(f"{at}.zero_point", "as many as scales, at least one", len(points))
        if not (np.isfinite(scales).all() and (scales > 0.0).all()):
            self._refuse(f"{at}.scale", "finite numbers above 0", "others")
        axis, size = (self._whole(table.get(key), f"{at}.{key}") for key in ("group_axis", "group_size"))
        if axis < 0 or size < 1:
            self._refuse(f"{at}.group_size", "an axis of at least 0 and a size of at least 1", [axis, size])
        qparams = QParams(
            scale=tuple(scales.astype(float).tolist()),
            zero_point=tuple(points),
            dtype=self.choice(table, "dtype", at, _TYPES),
            quant_min=self._whole(table.get("quant_min"), f"{at}.quant_min"),
            quant_max=self._whole(table.get("quant_max"), f"{at}.quant_max"),
            axis=None,
            group_axis=axis,
            group_size=size,
        )
        return qparams, _unknown(table, qparams_table(qparams))

    def _whole_items(self, data: bytes, size: int, key: str) -> bytes:
        if len(data) % size:
            self._refuse(key, f"a multiple of {size} bytes", len(data))
        return data

    def _scale(self, value: object, key: str) -> float:
        # The comparison also refuses NaN, and whole numbers beyond any float.
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= _LARGEST:
            self._refuse(key, "a finite number above 0", value)
        return float(value)


def _unknown(table: Table, known: Table) -> dict[str, object]:
    return {key: value for key, value in table.items() if key not in known}
