"""`lower`: a float model and its plan become a TFLite file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device_agent.contract.manifest import PayloadTensor
from host_tools.errors import LoweringError
from host_tools.layouts import natural, permuted
from host_tools.lower.coverage import require_coverage, require_precisions
from host_tools.lower.integers import rebased
from host_tools.lower.payload import Payload
from host_tools.lower.tflite.emit import EMITTERS
from host_tools.lower.tflite.flatbuffer import serialize
from host_tools.lower.tflite.graph import TYPE_OF_DTYPE, Options
from host_tools.lower.tflite.plan_view import as_quantization, where
from host_tools.lower.tflite.session import Session

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from host_tools.layouts import Layout
    from host_tools.lower.tflite.graph import Quantization
    from host_tools.model.float_model import FloatModel, TensorSpec
    from host_tools.plan.quantization_plan import QuantizationPlan
    from targets.profile import CapabilityProfile, TensorType

FILE_NAME = "model.tflite"


def lower(model: FloatModel, plan: QuantizationPlan, profile: CapabilityProfile) -> Payload:
    """Write the model as the plan says, channels last, in the lowest operator versions. Pure: the same arguments give the same bytes.

    Args:
        model: In canonical form.
        plan: Made for this model and this profile.
        profile: A target whose artifact format is ``tflite``.

    Returns:
        A payload with one file, ``model.tflite``. Rank-4 inputs and outputs are NHWC unless the model wants them otherwise;
        ``source_axes`` says so.

    Raises:
        LoweringError: The plan is of another model or target, the target is not a TFLite one, or an operator, a precision or an
            operator version cannot be written; the message names node and cure.
    """
    _check(model, plan, profile)
    session = Session(model, plan, profile)
    inputs = [_add_input(session, spec) for spec in model.inputs]
    for node in session.source:
        if not session.is_fused(node):
            EMITTERS[node.op_type](session, node)
    outputs: list[int] = []
    for spec in model.outputs:
        outputs.append(_add_output(session, spec, {*inputs, *outputs}))  # each needs those before it
    data = serialize(
        session.graph, inputs=inputs, outputs=outputs, description=f"{model.name} for {profile.id}"
    )
    names = _tensor_names(session)
    return Payload(
        format="tflite",
        files={FILE_NAME: data},
        inputs=_tensors(session, model.inputs, inputs),
        outputs=_tensors(session, model.outputs, outputs),
        tensor_names=names,
        tensor_axes=_tensor_axes(session, names),
        notes=tuple(session.notes),
    )


def _check(model: FloatModel, plan: QuantizationPlan, profile: CapabilityProfile) -> None:
    if profile.artifact.format != "tflite":
        raise LoweringError(
            f"Target {profile.id!r} takes {profile.artifact.format}, not TFLite.",
            hint="Call `host_tools.lower.lowering.lower`, which chooses by format.",
        )
    if plan.model_digest != model.digest:
        raise LoweringError(
            f"The plan is for model {plan.model_digest}, not for {model.digest}.",
            hint="Plan again for this model.",
        )
    if plan.target != profile.id:
        raise LoweringError(
            f"The plan is for target {plan.target!r}, not for {profile.id!r}.", hint="Plan again."
        )
    require_coverage(model, plan)
    for node in model.graph.graph:
        if node.op_type not in EMITTERS or node.domain not in ("", "ai.onnx"):
            raise LoweringError(
                f"{where(node)}: the TFLite lowering does not know this operator.",
                hint=f"It knows {', '.join(sorted(EMITTERS))}.",
            )
    require_precisions(plan, profile, ("int8", "int16", "float32"))
    for tensor in plan.tensors.values():
        if (
            tensor.role in {"input", "activation", "output"}
            and tensor.qparams is not None
            and tensor.qparams.dtype not in ("int8", "int16")
        ):
            raise LoweringError(
                f"Tensor {tensor.name!r} is planned as {tensor.qparams.dtype}; TFLite files carry int8 and int16 activations.",
                hint="Set activations.signed = true in the profile.",
            )


def _add_input(session: Session, spec: TensorSpec) -> int:
    """Add the payload's input and, behind it, what the graph reads. Returns the payload's tensor."""
    layout = session.layouts.of[spec.name]
    shape = permuted(spec.shape, layout)
    qparams = session.qparams(spec.name) if spec.dtype == "float32" else None
    if qparams is None:
        tensor = session.graph.tensor(spec.name, shape, TYPE_OF_DTYPE[spec.dtype])
        session.values[spec.name] = tensor
        return tensor
    quantization = as_quantization(qparams)
    wire = session.profile.interface.input_type
    if wire == "int8":
        tensor = inner = session.graph.tensor(spec.name, shape, "INT8", quantization)
    else:
        outer = None if wire == "float32" else as_quantization(rebased(qparams, "uint8"))
        tensor = session.graph.tensor(spec.name, shape, TYPE_OF_DTYPE[wire], outer)
        inner = session.graph.tensor(
            f"{spec.name}/{quantization.dtype}", shape, quantization.type, quantization
        )
        _convert(session, "QUANTIZE", tensor, inner)
    session.values[spec.name] = inner
    return tensor


def _add_output(session: Session, spec: TensorSpec, taken: Collection[int]) -> int:
    """Add the payload's output behind what the graph wrote. Returns the payload's tensor."""
    inner = session.values[spec.name]
    before = session.graph.tensors[inner]
    qparams = session.qparams(spec.name) if spec.dtype == "float32" else None
    wire: TensorType = session.profile.interface.output_type if qparams is not None else "float32"
    if qparams is None or wire == "int8":
        if inner in taken:
            return _copy(session, inner, spec.name)
        session.graph.rename(inner, spec.name)
        return inner
    if before.name == spec.name and inner not in taken:
        session.graph.rename(inner, f"{spec.name}/{qparams.dtype}")
    outer: Quantization | None = None if wire == "float32" else as_quantization(rebased(qparams, "uint8"))
    tensor = session.graph.tensor(spec.name, before.shape, TYPE_OF_DTYPE[wire], outer)
    _convert(session, "DEQUANTIZE" if wire == "float32" else "QUANTIZE", inner, tensor)
    return tensor


def _convert(session: Session, operator: str, before: int, after: int) -> None:
    options = Options(kind=f"{operator.capitalize()}Options")
    session.graph.operator(operator, [before], [after], options, where=f"{operator} at the model's interface")


def _copy(session: Session, tensor: int, name: str) -> int:
    """Give an output that is also an input, or another output, a tensor of its own."""
    before = session.graph.tensors[tensor]
    after = session.like(tensor, name, before.shape)
    session.graph.operator(
        "RESHAPE",
        [tensor],
        [after],
        Options(kind="ReshapeOptions", fields={"newShape": list(before.shape)}),
        where=name,
    )
    return after


def _tensors(
    session: Session, specs: Sequence[TensorSpec], tensors: Sequence[int]
) -> tuple[PayloadTensor, ...]:
    return tuple(
        _payload_tensor(session, spec.name, tensor, session.layouts.of[spec.name])
        for spec, tensor in zip(specs, tensors, strict=True)
    )


def _payload_tensor(session: Session, source: str, index: int, layout: Layout) -> PayloadTensor:
    tensor = session.graph.tensors[index]
    quantization = tensor.quantization
    dtype = next(name for name, code in TYPE_OF_DTYPE.items() if code == tensor.type)
    return PayloadTensor(
        name=tensor.name,
        shape=tensor.shape,
        dtype=dtype,
        scale=None if quantization is None else quantization.scale[0],
        zero_point=None if quantization is None else quantization.zero_point[0],
        source_name=source,
        source_axes=layout,
    )


def _tensor_names(session: Session) -> dict[str, str]:
    """Return the file's name for each value that lies there in its layout; columns in another order are left out."""
    return {
        name: session.graph.tensors[tensor].name
        for name, tensor in session.values.items()
        if name not in session.layouts.columns
    }


def _tensor_axes(session: Session, names: Iterable[str]) -> dict[str, Layout]:
    """Return the layout of each named value that does not lie in the canonical order."""
    layouts = {name: session.layouts.of[name] for name in names}
    return {name: layout for name, layout in layouts.items() if layout != natural(len(layout))}
