"""``plan.json``: a `QuantizationPlan` as text and back, exactly."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import TYPE_CHECKING, Any, get_args

from host_tools.errors import InputError
from host_tools.plan.quantization_plan import (
    SCHEMA_VERSION,
    IntegerType,
    Method,
    NodePlan,
    QParams,
    QuantizationPlan,
    Requantize,
    Role,
    TensorPlan,
)
from targets.profile import Precision

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLAN_FIELDS = ("model_digest", "data_digest", "target", "profile_digest", "method")


class PlanFileError(InputError):
    """A plan file is not a plan of a version that this release reads."""

    code = "plan_file"


def encode(plan: QuantizationPlan) -> bytes:
    """Return UTF-8 JSON with a final newline; the same bytes for equal plans. Numbers are written so that they read back exactly."""
    document = {
        "schema_version": SCHEMA_VERSION,
        **{name: getattr(plan, name) for name in _PLAN_FIELDS},
        "warnings": list(plan.warnings),
        "nodes": [dataclasses.asdict(node) for node in plan.nodes.values()],
        "tensors": [dataclasses.asdict(tensor) for tensor in plan.tensors.values()],
        "requantize": [dataclasses.asdict(edge) for edge in plan.requantize],
    }
    return (json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def decode(data: bytes, *, where: str) -> QuantizationPlan:
    """Read a plan.

    Raises:
        PlanFileError: It is not one, or of a newer major version; the message names ``where`` and what is wrong.
    """
    try:
        document = json.loads(data)
        version = str(document["schema_version"])
        if version.split(".", maxsplit=1)[0] != SCHEMA_VERSION.split(".", maxsplit=1)[0]:
            raise PlanFileError(
                f"{where}: schema_version: expected {SCHEMA_VERSION}, got {version}.", hint="Plan anew."
            )
        return _plan(document)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PlanFileError(
            f"{where}: not a plan: {type(error).__name__}: {error}.", hint="Plan anew."
        ) from error


def _plan(document: Mapping[str, Any]) -> QuantizationPlan:
    tensors = [_tensor(fields) for fields in document["tensors"]]
    nodes = [_node(fields) for fields in document["nodes"]]
    return QuantizationPlan(
        model_digest=_text(document, "model_digest"),
        data_digest=_text(document, "data_digest"),
        target=_text(document, "target"),
        profile_digest=_text(document, "profile_digest"),
        method=_one_of(document, "method", get_args(Method)),
        tensors={tensor.name: tensor for tensor in tensors},
        nodes={node.name: node for node in nodes},
        requantize=tuple(_requantize(fields) for fields in document["requantize"]),
        warnings=tuple(str(warning) for warning in document["warnings"]),
    )


def _tensor(fields: Mapping[str, Any]) -> TensorPlan:
    return TensorPlan(
        name=_text(fields, "name"),
        role=_one_of(fields, "role", get_args(Role)),
        qparams=None if fields["qparams"] is None else _qparams(fields["qparams"]),
        reason=_text(fields, "reason"),
    )


def _node(fields: Mapping[str, Any]) -> NodePlan:
    return NodePlan(
        name=_text(fields, "name"),
        op_type=_text(fields, "op_type"),
        precision=_one_of(fields, "precision", get_args(Precision)),
        fused_into=None if fields["fused_into"] is None else _text(fields, "fused_into"),
        reason=_text(fields, "reason"),
    )


def _requantize(fields: Mapping[str, Any]) -> Requantize:
    return Requantize(
        node=_text(fields, "node"),
        input_index=_whole(fields["input_index"]),
        qparams=_qparams(fields["qparams"]),
        reason=_text(fields, "reason"),
    )


def _qparams(fields: Mapping[str, Any]) -> QParams:
    scale = tuple(float(value) for value in fields["scale"])
    if not scale or not all(math.isfinite(value) and value > 0.0 for value in scale):
        raise ValueError("scale: expected finite numbers above 0")
    zero_point = tuple(_whole(value) for value in fields["zero_point"])
    if len(zero_point) != len(scale):
        raise ValueError(f"zero_point: expected {len(scale)} numbers, got {len(zero_point)}")
    return QParams(
        scale=scale,
        zero_point=zero_point,
        dtype=_one_of(fields, "dtype", get_args(IntegerType)),
        quant_min=_whole(fields["quant_min"]),
        quant_max=_whole(fields["quant_max"]),
        axis=None if fields["axis"] is None else _whole(fields["axis"]),
    )


def _text(fields: Mapping[str, Any], key: str) -> str:
    value = fields[key]
    if not isinstance(value, str):
        raise TypeError(f"{key}: expected text, got {value!r}")
    return value


def _one_of(fields: Mapping[str, Any], key: str, choices: tuple[Any, ...]) -> Any:
    value = fields[key]
    if value not in choices:
        raise ValueError(f"{key}: expected one of {', '.join(choices)}, got {value!r}")
    return value


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"expected a whole number, got {value!r}")
    return value
