"""``plan.json``: a `QuantizationPlan` as bytes and back, exactly: the same plan gives the same bytes, every float survives.

One node, tensor or edge a line, so that two plans can be compared line by line. Fields of a newer minor version are kept where they
stood and written back; a newer major version is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, NoReturn, get_args

from host_tools.plan.plan_reader import PlanFileError, PlanReader, Table, kept
from host_tools.plan.plan_tables import edge_table, node_table, tensor_table
from host_tools.plan.quantization_plan import (
    CODEBOOK_SCHEMA_VERSION,
    FLOAT16_SCHEMA_VERSION,
    SCHEMA_VERSION,
    UNCALIBRATED_SCHEMA_VERSION,
    Method,
    QuantizationPlan,
)
from targets.profile import PLAN_PRECISIONS

if TYPE_CHECKING:
    from collections.abc import Iterable

_TEXTS = ("model_digest", "data_digest", "target", "profile_digest", "method_reason")
_METHODS: tuple[Method, ...] = get_args(Method)


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
        "nodes": [_with(node_table(node), more, "nodes", name) for name, node in plan.nodes.items()],
        "tensors": [
            _with(tensor_table(tensor), more, "tensors", name) for name, tensor in plan.tensors.items()
        ],
        "requantize": [
            _with(edge_table(edge), more, "requantize", str(at)) for at, edge in enumerate(plan.requantize)
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
    reader = PlanReader(where)
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
        | kept("nodes", {name: more for name, (_, more) in nodes.items() if more})
        | kept("tensors", {name: more for name, (_, more) in tensors.items() if more})
        | kept("requantize", {str(at): more for at, (_, more) in enumerate(edges) if more}),
    )


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number of JSON")
