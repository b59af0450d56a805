"""``plan.json``: a `QuantizationPlan` as bytes and back, exactly: the same plan gives the same bytes, every float survives.

One node, tensor or edge a line, so that two plans can be compared line by line. Fields of a newer minor version are kept where they
stood and written back; a newer major version is refused.
"""

from __future__ import annotations

import base64
import itertools
import json
import sys
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, NoReturn, TypeVar, get_args

import numpy as np

from device_agent.contract.errors import SchemaVersionError
from host_tools.errors import InputError
from host_tools.plan.quantization_plan import (
    CODEBOOK_SCHEMA_VERSION,
    FLOAT16_SCHEMA_VERSION,
    SCHEMA_VERSION,
    UNCALIBRATED_SCHEMA_VERSION,
    ActivationScheme,
    FloatType,
    IntegerType,
    Method,
    NodePlan,
    QParams,
    QuantizationPlan,
    Requantize,
    Role,
    TensorPlan,
)
from targets.profile import PLAN_PRECISIONS, Precision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")

_MAJOR = int(SCHEMA_VERSION.partition(".")[0])
_TEXTS = ("model_digest", "data_digest", "target", "profile_digest", "method_reason")
_TYPES: tuple[IntegerType, ...] = get_args(IntegerType)
_METHODS: tuple[Method, ...] = get_args(Method)
_ROLES: tuple[Role, ...] = get_args(Role)
_PRECISIONS: tuple[Precision, ...] = get_args(Precision)
_ACTIVATIONS: tuple[ActivationScheme, ...] = get_args(ActivationScheme)
_FLOAT_TYPES: tuple[FloatType, ...] = get_args(FloatType)
_PACKED = ("<f4", "u1")
_LARGEST_CODEBOOK = 256
"""Indices have at most 8 bits."""

_LARGEST = sys.float_info.max

Table = Mapping[str, object]


class PlanFileError(InputError):
    """A plan file is damaged or does not say what a plan must; the message names file and key."""

    code = "plan_file"


def encode(plan: QuantizationPlan) -> bytes:
    """Return the plan as UTF-8 JSON; the same plan always gives the same bytes."""
    more = plan.extra
    head: dict[str, object] = {
        "schema_version": _schema_version(plan),
        "model_digest": plan.model_digest,
        "data_digest": plan.data_digest,
        "target": plan.target,
        "profile_digest": plan.profile_digest,
        **({} if plan.precision == "int8" else {"precision": plan.precision}),
        "method": plan.method,
        "method_reason": plan.method_reason,
    }
    lists: dict[str, list[object]] = {
        "warnings": list(plan.warnings),
        "nodes": [_with(_node_table(node), more, "nodes", name) for name, node in plan.nodes.items()],
        "tensors": [
            _with(_tensor_table(tensor), more, "tensors", name) for name, tensor in plan.tensors.items()
        ],
        "requantize": [
            _with(_edge_table(edge), more, "requantize", str(at)) for at, edge in enumerate(plan.requantize)
        ],
    }
    tail = {key: value for key, value in more.items() if key not in lists}
    lines = [f"{_json(key)}: {_json(value)}" for key, value in head.items()]
    lines += [f"{_json(key)}: [{_rows(rows)}]" for key, rows in lists.items()]
    lines += [f"{_json(key)}: {_json(value)}" for key, value in tail.items()]
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def _schema_version(plan: QuantizationPlan) -> str:
    if any(tensor.codebook is not None for tensor in plan.tensors.values()):
        return CODEBOOK_SCHEMA_VERSION
    if any(tensor.float_type != "float32" for tensor in plan.tensors.values()):
        return FLOAT16_SCHEMA_VERSION
    return SCHEMA_VERSION if plan.precision == "int8" else UNCALIBRATED_SCHEMA_VERSION


def _json(value: object) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(", ", ": "))


def _rows(rows: Iterable[object]) -> str:
    text = ",\n".join(f" {_json(row)}" for row in rows)
    return f"\n{text}\n" if text else ""


def _with(table: dict[str, object], extra: Table, section: str, key: str) -> dict[str, object]:
    """Put back the unknown fields of one entry."""
    return _overlaid(table, _inner(_inner(extra, section), key))


def _inner(table: Table, key: str) -> Table:
    value = table.get(key)
    return value if isinstance(value, Mapping) else {}


def _overlaid(table: dict[str, object], extra: Table) -> dict[str, object]:
    result = dict(table)
    for key, value in extra.items():
        known = result.get(key)
        result[key] = (
            _overlaid(known, value) if isinstance(known, dict) and isinstance(value, Mapping) else value
        )
    return result


def _node_table(node: NodePlan) -> dict[str, object]:
    scheme = {} if node.activations == "planned" else {"activations": node.activations}
    return {
        **scheme,
        "name": node.name,
        "op_type": node.op_type,
        "precision": node.precision,
        "fused_into": node.fused_into,
        "reason": node.reason,
    }


def _tensor_table(tensor: TensorPlan) -> dict[str, object]:
    qparams = None if tensor.qparams is None else _qparams_table(tensor.qparams)
    table: dict[str, object] = {
        "name": tensor.name,
        "role": tensor.role,
        "qparams": qparams,
        "reason": tensor.reason,
    }
    if tensor.values is not None:
        table["values"] = list(tensor.values)
    if tensor.codes is not None:
        table["codes"] = base64.b64encode(tensor.codes).decode()
    if tensor.float_type != "float32":
        table["float_type"] = tensor.float_type
    if tensor.codebook is not None:
        table["codebook"] = list(tensor.codebook)
    return table


def _edge_table(edge: Requantize) -> dict[str, object]:
    return {
        "node": edge.node,
        "input_index": edge.input_index,
        "qparams": _qparams_table(edge.qparams),
        "reason": edge.reason,
    }


def _qparams_table(qparams: QParams) -> dict[str, object]:
    if qparams.group_axis is not None:
        return _grouped_table(qparams)
    return {
        "scale": list(qparams.scale),
        "zero_point": list(qparams.zero_point),
        "dtype": qparams.dtype,
        "quant_min": qparams.quant_min,
        "quant_max": qparams.quant_max,
        "axis": qparams.axis,
    }


def _grouped_table(qparams: QParams) -> dict[str, object]:
    """Return parameters of groups: there are hundreds of thousands, and their scales are float32 numbers, so they are written packed."""
    scales, points = (
        np.asarray(numbers).astype(kind).tobytes()
        for numbers, kind in zip((qparams.scale, qparams.zero_point), _PACKED, strict=True)
    )
    return {
        "scale": base64.b64encode(scales).decode(),
        "zero_point": base64.b64encode(zlib.compress(points, 9)).decode(),
        "dtype": qparams.dtype,
        "quant_min": qparams.quant_min,
        "quant_max": qparams.quant_max,
        "axis": None,
        "group_axis": qparams.group_axis,
        "group_size": qparams.group_size,
    }


def decode(data: bytes, *, where: str) -> QuantizationPlan:
    """Read a plan from the bytes of a ``plan.json``.

    Args:
        data: The file's bytes.
        where: The file's name, for messages.

    Raises:
        PlanFileError: The bytes are not a plan; the message names file and key.
        SchemaVersionError: The plan is of a newer major version.
    """
    try:
        document: object = json.loads(data.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise PlanFileError(f"{where}: not a JSON document: {error}.", hint="Plan the model anew.") from error
    reader = _Reader(where)
    top = reader.table(document, "plan")
    reader.require_version(top)
    nodes = reader.entries(top, "nodes", "name", reader.node)
    tensors = reader.entries(top, "tensors", "name", reader.tensor)
    edges = [
        reader.edge(entry, f"requantize[{at}]")
        for at, entry in enumerate(reader.items(top, "requantize", "plan"))
    ]
    known = ("schema_version", *_TEXTS, "precision", "method", "warnings", "nodes", "tensors", "requantize")
    extra: dict[str, object] = {key: value for key, value in top.items() if key not in known}
    texts = {key: reader.text(top, key, "plan") for key in _TEXTS if key != "method_reason" or key in top}
    return QuantizationPlan(
        **texts,
        method=reader.choice(top, "method", "plan", _METHODS),
        nodes={name: node for name, (node, _) in nodes.items()},
        tensors={name: tensor for name, (tensor, _) in tensors.items()},
        requantize=tuple(edge for edge, _ in edges),
        precision=reader.choice(top, "precision", "plan", PLAN_PRECISIONS) if "precision" in top else "int8",
        warnings=tuple(reader.as_text(text, "warnings") for text in reader.items(top, "warnings", "plan")),
        extra=extra
        | _kept("nodes", {name: more for name, (_, more) in nodes.items() if more})
        | _kept("tensors", {name: more for name, (_, more) in tensors.items() if more})
        | _kept("requantize", {str(at): more for at, (_, more) in enumerate(edges) if more}),
    )


def _kept(section: str, fields: Table) -> dict[str, object]:
    return {section: fields} if fields else {}


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number of JSON")


class _Reader:
    """Typed, checked access to a document; each entry comes with its unknown fields."""

    def __init__(self, where: str) -> None:
        self._where = where

    def refuse(self, key: str, expected: str, got: object) -> NoReturn:
        shown = repr(got)
        raise PlanFileError(
            f"{self._where}: {key}: expected {expected}, got {shown if len(shown) <= 80 else shown[:77] + '...'}.",
            hint="Plan the model anew.",
        )

    def require_version(self, top: Table) -> None:
        version = self.text(top, "schema_version", "plan")
        major, _, minor = version.partition(".")
        if not (major.isdecimal() and minor.isdecimal()):
            self.refuse("schema_version", f'a version such as "{SCHEMA_VERSION}"', version)
        if int(major) > _MAJOR:
            raise SchemaVersionError(
                f"{self._where}: schema_version: this reader knows plans up to version {_MAJOR}, got {version}.",
                hint="Update edgewright.",
            )

    def table(self, value: object, key: str) -> Table:
        if not isinstance(value, dict):
            self.refuse(key, "an object", value)
        return value

    def items(self, table: Table, key: str, at: str) -> list[object]:
        value = table.get(key)
        if not isinstance(value, list):
            self.refuse(f"{at}.{key}", "a list", value)
        return value

    def as_text(self, value: object, key: str) -> str:
        if not isinstance(value, str):
            self.refuse(key, "a text", value)
        return value

    def text(self, table: Table, key: str, at: str) -> str:
        return self.as_text(table.get(key), f"{at}.{key}")

    def choice(self, table: Table, key: str, at: str, options: tuple[T, ...]) -> T:
        value = table.get(key)
        chosen = next((option for option in options if isinstance(value, str) and option == value), None)
        if chosen is None:
            self.refuse(f"{at}.{key}", f"one of {', '.join(map(str, options))}", value)
        return chosen

    def numbers(self, table: Table, key: str, at: str) -> tuple[float, ...]:
        values = self.items(table, key, at)
        for value in values:
            if (
                isinstance(value, bool)
                or not isinstance(value, (int, float))
                or not -_LARGEST <= value <= _LARGEST
            ):
                self.refuse(f"{at}.{key}", "finite numbers", value)
        return tuple(float(value) for value in values if isinstance(value, (int, float)))

    def codebook(self, table: Table, at: str) -> tuple[float, ...]:
        numbers = self.numbers(table, "codebook", at)
        with np.errstate(over="ignore"):
            exact = np.asarray(numbers, np.float64).astype(np.float32).astype(np.float64)
        is_ascending = all(low < high for low, high in itertools.pairwise(numbers))
        if not 1 <= len(numbers) <= _LARGEST_CODEBOOK or not is_ascending or exact.tolist() != list(numbers):
            expected = f"1 to {_LARGEST_CODEBOOK} ascending float32 numbers"
            self.refuse(f"{at}.codebook", expected, table["codebook"])
        return numbers

    def stored(self, table: Table, key: str, at: str) -> bytes:
        text = self.text(table, key, at)
        try:
            return base64.b64decode(text, validate=True)
        except ValueError:
            self.refuse(f"{at}.{key}", "base64", text)

    def whole(self, value: object, key: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            self.refuse(key, "a whole number", value)
        return value

    def entries(
        self, top: Table, key: str, name_key: str, read: Callable[[object, str], tuple[T, Table]]
    ) -> dict[str, tuple[T, Table]]:
        found: dict[str, tuple[T, Table]] = {}
        for at, entry in enumerate(self.items(top, key, "plan")):
            name = self.text(self.table(entry, f"{key}[{at}]"), name_key, f"{key}[{at}]")
            if name in found:
                self.refuse(f"{key}[{at}].{name_key}", "every name once", name)
            found[name] = read(entry, f"{key}[{name!r}]")
        return found

    def node(self, value: object, at: str) -> tuple[NodePlan, Table]:
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
        return node, _unknown(table, {**_node_table(node), "activations": None})

    def tensor(self, value: object, at: str) -> tuple[TensorPlan, Table]:
        table = self.table(value, at)
        qparams, more = (
            (None, {}) if table.get("qparams") is None else self.qparams(table["qparams"], f"{at}.qparams")
        )
        tensor = TensorPlan(
            name=self.text(table, "name", at),
            role=self.choice(table, "role", at, _ROLES),
            qparams=qparams,
            reason=self.text(table, "reason", at),
            values=self.numbers(table, "values", at) if "values" in table else None,
            codes=self.stored(table, "codes", at) if "codes" in table else None,
            float_type=self.choice(table, "float_type", at, _FLOAT_TYPES)
            if "float_type" in table
            else "float32",
            codebook=self.codebook(table, at) if "codebook" in table else None,
        )
        known = {**_tensor_table(tensor), "float_type": None}
        return tensor, {**_unknown(table, known), **_kept("qparams", more)}

    def edge(self, value: object, at: str) -> tuple[Requantize, Table]:
        table = self.table(value, at)
        qparams, more = self.qparams(table.get("qparams"), f"{at}.qparams")
        edge = Requantize(
            node=self.text(table, "node", at),
            input_index=self.whole(table.get("input_index"), f"{at}.input_index"),
            qparams=qparams,
            reason=self.text(table, "reason", at),
        )
        return edge, {**_unknown(table, _edge_table(edge)), **_kept("qparams", more)}

    def qparams(self, value: object, at: str) -> tuple[QParams, Table]:
        table = self.table(value, at)
        if table.get("group_axis") is not None:
            return self.grouped(table, at)
        axis = table.get("axis")
        qparams = QParams(
            scale=tuple(self._scale(scale, f"{at}.scale") for scale in self.items(table, "scale", at)),
            zero_point=tuple(
                self.whole(zero, f"{at}.zero_point") for zero in self.items(table, "zero_point", at)
            ),
            dtype=self.choice(table, "dtype", at, _TYPES),
            quant_min=self.whole(table.get("quant_min"), f"{at}.quant_min"),
            quant_max=self.whole(table.get("quant_max"), f"{at}.quant_max"),
            axis=None if axis is None else self.whole(axis, f"{at}.axis"),
        )
        if not qparams.scale or len(qparams.zero_point) != len(qparams.scale):
            self.refuse(f"{at}.zero_point", "as many as scales, at least one", list(qparams.zero_point))
        if qparams.axis is None and len(qparams.scale) != 1:
            self.refuse(f"{at}.axis", f"the axis of {len(qparams.scale)} scales", None)
        return qparams, _unknown(table, _qparams_table(qparams))

    def grouped(self, table: Table, at: str) -> tuple[QParams, Table]:
        scales = np.frombuffer(self.whole_items(self.stored(table, "scale", at), 4, f"{at}.scale"), "<f4")
        most = scales.size + 1
        try:
            unpacking = zlib.decompressobj()
            points = unpacking.decompress(self.stored(table, "zero_point", at), most)
        except zlib.error:
            self.refuse(f"{at}.zero_point", "packed numbers", table.get("zero_point"))
        if not scales.size or len(points) != scales.size:
            self.refuse(f"{at}.zero_point", "as many as scales, at least one", len(points))
        if not (np.isfinite(scales).all() and (scales > 0.0).all()):
            self.refuse(f"{at}.scale", "finite numbers above 0", "others")
        axis, size = (self.whole(table.get(key), f"{at}.{key}") for key in ("group_axis", "group_size"))
        if axis < 0 or size < 1:
            self.refuse(f"{at}.group_size", "an axis of at least 0 and a size of at least 1", [axis, size])
        qparams = QParams(
            scale=tuple(scales.astype(float).tolist()),
            zero_point=tuple(points),
            dtype=self.choice(table, "dtype", at, _TYPES),
            quant_min=self.whole(table.get("quant_min"), f"{at}.quant_min"),
            quant_max=self.whole(table.get("quant_max"), f"{at}.quant_max"),
            axis=None,
            group_axis=axis,
            group_size=size,
        )
        return qparams, _unknown(table, _qparams_table(qparams))

    def whole_items(self, data: bytes, size: int, key: str) -> bytes:
        if len(data) % size:
            self.refuse(key, f"a multiple of {size} bytes", len(data))
        return data

    def _scale(self, value: object, key: str) -> float:
        # The comparison also refuses NaN, and whole numbers beyond any float.
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= _LARGEST:
            self.refuse(key, "a finite number above 0", value)
        return float(value)


def _unknown(table: Table, known: Table) -> dict[str, object]:
    return {key: value for key, value in table.items() if key not in known}
