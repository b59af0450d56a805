"""What becomes of a file that is quantized already: how its values are coded, and which targets can have its codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from host_tools.errors import CapabilityError, LoweringError, ModelError
from host_tools.inspection.support import NodeSupport, TargetSupport
from host_tools.lower.lowering import lower
from host_tools.model import load
from host_tools.plan.imported import plan_imported
from host_tools.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from host_tools.model.float_model import FloatModel
    from host_tools.model.quantized import Coding
    from targets.profile import CapabilityProfile


@dataclass(frozen=True, slots=True, kw_only=True)
class Relowering:
    """How a file codes its values, and what each target does with that.

    Attributes:
        form: How the file says it: ``ONNX QDQ``, ``ONNX operators on codes``, ``TFLite``; empty where it cannot be converted.
        schemes: What is coded (``activations``, ``constants``), in which scheme, and how many there are of it.
        activations: Coding of each activation, by name.
        constants: Coding of each weight, bias and constant operand, by name.
        targets: What each target does, in the order asked for.
        refusal: Why no target can have it, in the words of the conversion; empty where it can be read.
        hint: What to do about that.
    """

    form: str
    schemes: tuple[tuple[str, str, int], ...]
    activations: Mapping[str, Coding]
    constants: Mapping[str, Coding]
    targets: tuple[TargetSupport, ...]
    refusal: str = ""
    hint: str = ""


def relowering_of(
    path: Path,
    *,
    shapes: Mapping[str, tuple[int, ...]],
    profiles: Sequence[CapabilityProfile],
    rehearse: bool,
) -> Relowering | None:
    """Return what becomes of a file; None where its activations are not codes.

    Args:
        path: An ``.onnx`` or ``.tflite`` file.
        shapes: Shapes that fix dynamic inputs, by name.
        profiles: The targets to ask.
        rehearse: Whether to lower for them, too, and throw the files away.
    """
    try:
        model = load(path, shapes=shapes)
    except ModelError as error:
        return Relowering(
            form="",
            schemes=(),
            activations={},
            constants={},
            targets=(),
            refusal=str(error.args[0]),
            hint=error.hint,
        )
    found = model.quantization
    if found is None:
        return None
    return Relowering(
        form=found.form,
        schemes=found.schemes,
        activations=dict(found.activations),
        constants=dict(found.constants),
        targets=tuple(_support(model, profile, rehearse=rehearse) for profile in profiles),
    )


def _support(model: FloatModel, profile: CapabilityProfile, *, rehearse: bool) -> TargetSupport:
    try:
        plan = plan_imported(model, profile, Recipe())
        if rehearse:
            lower(model, plan, profile)
    except (CapabilityError, LoweringError) as error:
        return TargetSupport(
            target=profile.id,
            status="refused",
            refusal=str(error.args[0]),
            hint=error.hint,
            rehearsed=rehearse,
        )
    nodes = tuple(
        NodeSupport(
            name=name,
            kind=node.op_type,
            precision=node.precision,
            fused_into=node.fused_into,
            reason=node.reason,
        )
        for name, node in plan.nodes.items()
    )
    is_integer = all(node.precision in ("int8", "int16") for node in nodes)
    return TargetSupport(
        target=profile.id,
        status="integer" if is_integer else "partly_float",
        nodes=nodes,
        rehearsed=rehearse,
    )
