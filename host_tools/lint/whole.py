"""Rules of a file as a whole: `FILE_RULES`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from host_tools.lint.finding import Breach
from host_tools.lint.operators import FLOAT, INTEGER, computed_in
from host_tools.plan.codebooks import clustered
from host_tools.plan.disjoint_sets import DisjointSets
from host_tools.plan.islands import MOVERS
from host_tools.plan.support import integer_precision
from targets.profile import CLUSTERED, Interface

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from host_tools.lint.facts import LintedFile, LintedOp, LintedTensor
    from targets.profile import CapabilityProfile

    FileRule = Callable[[LintedFile, Sequence[LintedOp], CapabilityProfile], Iterator[Breach]]


def file_format(file: LintedFile, ops: Sequence[LintedOp], profile: CapabilityProfile) -> Iterator[Breach]:
    """The target reads files of this format."""
    del ops
    if file.format != profile.artifact.format:
        yield Breach(where="file", got=file.format, allowed=profile.artifact.format, fact="artifact.format")


def schema(file: LintedFile, ops: Sequence[LintedOp], profile: CapabilityProfile) -> Iterator[Breach]:
    """The opset is not newer than the target's, or than 16 bits need; the schema version of a ``.tflite`` is the one that there is."""
    is_wide = any(op.computed_in == "int16" for op in ops)
    limit = (
        profile.artifact.opset_of(has_16_bits=is_wide)
        if file.format == "onnx_qdq"
        else profile.artifact.opset
    )
    if file.format != profile.artifact.format or file.format == "openvino_ir":
        return  # the version of an OpenVINO file is not the opset of the profile
    if file.schema > limit or (file.format == "tflite" and file.schema != limit):
        what = "opset" if file.format == "onnx_qdq" else "schema version"
        allowed = f"{what} {limit}{' or older' if what == 'opset' else ''}"
        yield Breach(where="file", got=f"{what} {file.schema}", allowed=allowed, fact="artifact.opset")


def artifact_target(
    file: LintedFile, ops: Sequence[LintedOp], profile: CapabilityProfile
) -> Iterator[Breach]:
    """An artifact is made for this target: an agent of another one refuses it."""
    del ops
    if file.made_for is not None and file.made_for != profile.id:
        yield Breach(
            where="file", got=f"an artifact for {file.made_for}", allowed=profile.id, fact="artifact.format"
        )


def plan_precision(file: LintedFile, ops: Sequence[LintedOp], profile: CapabilityProfile) -> Iterator[Breach]:
    """The target has the precision that the file was made in, and reads codes of the weights that are stored so."""
    rules = profile.uncalibrated.get(file.precision)
    if file.precision == "int8":
        return
    if rules is None:
        allowed = ", ".join(["int8", *profile.uncalibrated])
        yield Breach(where="file", got=file.precision, allowed=allowed, fact=f"{file.precision}.ops")
        return
    beside = profile.uncalibrated.get("weights-int8")
    known = rules.ops | (frozenset() if beside is None else beside.ops)
    for op in ops:
        is_stored = op.weight is not None and op.weight.is_integer and op.weight.is_constant
        if is_stored and op.stands_for and not known.intersection(op.stands_for):
            where, allowed = f"{op.kind} {op.name!r}", ", ".join(sorted(known))
            yield Breach(where=where, got="a weight of codes", allowed=allowed, fact=f"{file.precision}.ops")


def float16_weights(
    file: LintedFile, ops: Sequence[LintedOp], profile: CapabilityProfile
) -> Iterator[Breach]:
    """A weight that is stored in float16 is one that the target reads so."""
    del file
    rules = profile.uncalibrated.get("weights-float16")
    known = frozenset() if rules is None else rules.ops
    for op in ops:
        is_half = any(one.is_constant and one.dtype == "float16" for one in (*op.data, *_weights(op)))
        if is_half and op.stands_for and not known.intersection(op.stands_for):
            where, allowed = f"{op.kind} {op.name!r}", ", ".join(sorted(known)) or "float32"
            yield Breach(where=where, got="a weight in float16", allowed=allowed, fact="weights-float16.ops")


def codebook_weights(
    file: LintedFile, ops: Sequence[LintedOp], profile: CapabilityProfile
) -> Iterator[Breach]:
    """A weight that is looked up in a codebook is one that the target reads so."""
    for op in ops:
        entries = max((one.codebook for one in (*op.data, *_weights(op))), default=0)
        if not entries:
            continue
        precision = file.precision if file.precision in CLUSTERED else clustered(entries)
        rules = profile.uncalibrated.get(precision)
        known = frozenset() if rules is None else rules.ops
        if op.stands_for and not known.intersection(op.stands_for):
            where, allowed = f"{op.kind} {op.name!r}", ", ".join(sorted(known)) or "float32"
            got, fact = f"a weight by a codebook of {entries}", f"{precision}.ops"
            yield Breach(where=where, got=got, allowed=allowed, fact=fact)


def _weights(op: LintedOp) -> tuple[LintedTensor, ...]:
    return () if op.weight is None else (op.weight,)


def without_calibration(profile: CapabilityProfile) -> CapabilityProfile:
    """Return the target as a file that nothing was calibrated for meets it: its doors are floats."""
    return replace(profile, interface=Interface(input_type="float32", output_type="float32"))


def input_type(file: LintedFile, ops: Sequence[LintedOp], profile: CapabilityProfile) -> Iterator[Breach]:
    """The application feeds the type that it expects to."""
    del ops
    yield from _interface(file.inputs, profile.interface.input_type, "interface.input_type")


def output_type(file: LintedFile, ops: Sequence[LintedOp], profile: CapabilityProfile) -> Iterator[Breach]:
    """The application gets the type that it expects; what a Concat joins in float may leave in float32."""
    joined = _joined_in_float(ops, profile)
    outputs = [one for one in file.outputs if not (one.dtype == "float32" and one.name in joined)]
    yield from _interface(outputs, profile.interface.output_type, "interface.output_type")


def static_shape(file: LintedFile, ops: Sequence[LintedOp], profile: CapabilityProfile) -> Iterator[Breach]:
    """Every shape is known before the model runs."""
    del profile
    ends = (*file.inputs, *file.outputs)
    is_open = [tensor for tensor in ends if tensor.shape is not None and min(tensor.shape, default=1) < 1]
    inner = [tensor for op in ops for tensor in op.outputs]
    for tensor in is_open or [
        one for one in inner if one.shape is not None and min(one.shape, default=1) < 0
    ]:
        shape = "x".join("?" if one < 1 else str(one) for one in tensor.shape or ())
        yield Breach(where=tensor.name, got=shape, allowed="every extent known", fact="artifact.format")


def known_shape(file: LintedFile, ops: Sequence[LintedOp], profile: CapabilityProfile) -> Iterator[Breach]:
    """The shapes that limits on rank and batch are held against are in the file, or follow from it."""
    del file
    limits = {
        kind: support.constraints
        for kind, support in profile.ops.items()
        if support.constraints.max_rank is not None or support.constraints.max_batch is not None
    }
    for op in ops:
        unknown = [tensor.name for tensor in (*op.data, *op.outputs) if tensor.shape is None]
        limited = [kind for kind in op.stands_for if kind in limits]
        if unknown and limited:
            key = "max_rank" if limits[limited[0]].max_rank is not None else "max_batch"
            where, fact = f"{op.kind} {op.name!r}", f"ops.{limited[0]}.{key}"
            yield Breach(
                where=where, got=f"{unknown[0]!r} of unknown shape", allowed="a known one", fact=fact
            )


def float_operator_count(
    file: LintedFile, ops: Sequence[LintedOp], profile: CapabilityProfile
) -> Iterator[Breach]:
    """Not more operators run in float for want of an integer kernel than the target accepts."""
    del file
    limit, wanted = profile.fallback.max_float_ops, integer_precision(profile)
    fallen = [
        op
        for op in ops
        if computed_in(op, profile) in FLOAT
        and not any(kind in profile.ops and wanted in profile.ops[kind].precisions for kind in op.stands_for)
    ]
    if limit is not None and len(fallen) > limit:
        got = f"{len(fallen)}: {', '.join(sorted({op.kind for op in fallen}))}"
        yield Breach(where="file", got=got, allowed=f"at most {limit}", fact="fallback.max_float_ops")


def partitions(file: LintedFile, ops: Sequence[LintedOp], profile: CapabilityProfile) -> Iterator[Breach]:
    """The operators that run in integers form not more regions than the target accepts."""
    del file
    limit = profile.fallback.max_partitions
    integer = [index for index, op in enumerate(ops) if computed_in(op, profile) in INTEGER]
    writers = {tensor.name: index for index in integer for tensor in ops[index].outputs}
    regions = DisjointSets([str(index) for index in integer])
    for index in integer:
        for tensor in ops[index].data:
            if tensor.name in writers:
                regions.join(str(index), str(writers[tensor.name]))
    count = len(regions.sets())
    if limit is not None and count > limit:
        yield Breach(where="file", got=str(count), allowed=f"at most {limit}", fact="fallback.max_partitions")


def _joined_in_float(ops: Sequence[LintedOp], profile: CapabilityProfile) -> frozenset[str]:
    """Return what float Concats write, and what only moves that on."""
    joined: set[str] = set()
    for op in ops:
        joins, moves = "Concat" in op.stands_for, not MOVERS.isdisjoint(op.stands_for)
        is_float = computed_in(op, profile) in FLOAT
        if is_float and (joins or (moves and any(tensor.name in joined for tensor in op.data))):
            joined.update(tensor.name for tensor in op.outputs)
    return frozenset(joined)


def _interface(tensors: Sequence[LintedTensor], wanted: str, fact: str) -> Iterator[Breach]:
    for tensor in tensors:
        if (tensor.is_float or tensor.is_integer) and tensor.dtype != wanted:
            yield Breach(where=tensor.name, got=tensor.dtype, allowed=wanted, fact=fact)


FILE_RULES: Final[Mapping[str, FileRule]] = {
    "format": file_format,
    "schema": schema,
    "artifact-target": artifact_target,
    "plan-precision": plan_precision,
    "float16-weights": float16_weights,
    "codebook-weights": codebook_weights,
    "input-type": input_type,
    "output-type": output_type,
    "static-shape": static_shape,
    "known-shape": known_shape,
    "float-operator-count": float_operator_count,
    "partitions": partitions,
}
