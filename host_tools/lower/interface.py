"""A payload's inputs and outputs: their integer parameters, and their description where the layout is the float model's."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from device_agent.contract.manifest import PayloadTensor
from host_tools.errors import LoweringError
from host_tools.lower.integers import rebased

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from device_agent.contract.manifest import WireType
    from host_tools.model.float_model import TensorSpec
    from host_tools.plan.quantization_plan import IntegerType, QParams


def integer_interface(name: str, qparams: QParams | None, interface: IntegerType) -> QParams:
    """Return the parameters of an input or output as an application with an integer interface sees it.

    Args:
        name: The value, for messages.
        qparams: What the plan has for it; None for a float value.
        interface: int8 or uint8. When the plan has the other of the two, codes move by 128, which is exact.

    Raises:
        LoweringError: The plan keeps the value in float, or in codes of another width.
    """
    if qparams is None:
        raise LoweringError(
            f"Value {name!r}: the target's interface is {interface}, but the plan keeps the value in float.",
            hint="Choose a target with a float32 interface, or one that can quantize the operator beside it.",
        )
    return rebased(qparams, interface)


def payload_tensors(
    specs: Sequence[TensorSpec], integers: Mapping[str, QParams]
) -> tuple[PayloadTensor, ...]:
    """Return the payload's side of the model's inputs or outputs.

    Args:
        specs: The float model's inputs or outputs.
        integers: Parameters, per tensor, of those that are integers in the payload.
    """
    return tuple(_payload_tensor(spec, integers.get(spec.name)) for spec in specs)


def with_rows(tensors: Sequence[PayloadTensor], inputs: Sequence[TensorSpec]) -> tuple[PayloadTensor, ...]:
    """Return a payload's inputs with the rows of the table that their numbers are looked up in, where the model's say so."""
    rows = {spec.name: spec.rows for spec in inputs}
    return tuple(replace(tensor, rows=rows.get(tensor.source_name)) for tensor in tensors)


def wire_type(name: str, qparams: QParams) -> WireType:
    """Return the type of the codes that an application feeds or gets.

    Raises:
        LoweringError: They are of 4 bits, which no application is given.
    """
    if qparams.dtype == "int4" or qparams.dtype == "uint4":  # noqa: PLR1714 - a set would not tell the type checker
        raise LoweringError(
            f"Value {name!r}: an input or output is not given in {qparams.dtype}.",
            hint="Plan this model anew.",
        )
    return qparams.dtype


def _payload_tensor(spec: TensorSpec, qparams: QParams | None) -> PayloadTensor:
    return PayloadTensor(
        name=spec.name,
        shape=spec.shape,
        dtype=spec.dtype if qparams is None else wire_type(spec.name, qparams),
        # The file holds float32: the application must divide by that number, not by the plan's.
        scale=None if qparams is None else float(np.float32(qparams.scale[0])),
        zero_point=None if qparams is None else qparams.zero_point[0],
        source_name=spec.name,
        source_axes=tuple(range(len(spec.shape))),
    )
