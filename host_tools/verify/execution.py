"""What an engine really executes, held against the plan."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from host_tools.verify.probes import PROBES
from host_tools.verify.verification_report import Execution

if TYPE_CHECKING:
    from host_tools.verify.candidate import Candidate
    from host_tools.verify.verification_report import ExecutedOp

_INTEGERS = frozenset({"int8", "int16"})
_FLOATS = frozenset({"float32", "float16"})
_SEPARATORS = re.compile(r"[,;]")


def executed(candidate: Candidate, *, threads: int) -> Execution:
    """Ask the engine, and name every float operator that the plan has in integers.

    Raises:
        VerificationError: The engine does not tell.
    """
    probe = PROBES[candidate.payload.format]
    ops = probe.executed_ops(candidate.payload, threads=threads)
    planned = _planned_integer_names(candidate)
    surprises = [op for op in ops if op.precision in _FLOATS and planned & set(_SEPARATORS.split(op.name))]
    return Execution(
        source=probe.source,
        stand_in=candidate.profile.proof != "engine",
        ops=ops,
        integer_ops=sum(op.precision in _INTEGERS for op in ops),
        float_ops=sum(op.precision.partition(" ")[0] in _FLOATS for op in ops),
        unplanned_float_ops=tuple(_described(op) for op in surprises),
    )


def _planned_integer_names(candidate: Candidate) -> set[str]:
    """Names under which an engine may report a node that the plan has in integers: the node's, or its tensor's in the payload."""
    integer_nodes = {node.name for node in candidate.plan.nodes.values() if node.precision in _INTEGERS}
    if candidate.plan.precision != "int8":
        return integer_nodes  # what has parameters there are weights of float operators
    integer_tensors = {
        tensor
        for value, tensor in candidate.payload.tensor_names.items()
        if (plan := candidate.plan.tensors.get(value)) is not None and plan.qparams is not None
    }
    return integer_nodes | integer_tensors if candidate.payload.format == "tflite" else integer_nodes


def _described(op: ExecutedOp) -> str:
    return f"{op.op_type} {op.name!r} ({op.precision})"
