"""`lower`: a plan becomes the file that its target reads. One lowering a format; none of them chooses a number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from device_agent.contract.errors import EdgewrightError
from host_tools.errors import LoweringError
from host_tools.lower import onnx_qdq, onnx_uncalibrated, openvino_ir
from host_tools.lower.tflite import lowering as tflite
from host_tools.plan.planned_values import with_planned_values
from targets.profile import CLUSTERED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from host_tools.lower.payload import Payload
    from host_tools.model.float_model import FloatModel
    from host_tools.plan.quantization_plan import QuantizationPlan
    from targets.profile import CapabilityProfile, Format


class Lowering(Protocol):
    """What every format's module offers. Pure: equal arguments give equal bytes."""

    def __call__(self, model: FloatModel, plan: QuantizationPlan, profile: CapabilityProfile) -> Payload:
        """Write the plan in the format.

        Raises:
            LoweringError: It cannot be written; the message names value or node.
        """
        ...


LOWERINGS: Final[Mapping[Format, Lowering]] = {
    "onnx_qdq": onnx_qdq.lower,
    "openvino_ir": openvino_ir.lower,
    "tflite": tflite.lower,
}

UNCALIBRATED: Final[Mapping[Format, Lowering]] = {
    "onnx_qdq": onnx_uncalibrated.lower,
    "openvino_ir": openvino_ir.lower,
    "tflite": tflite.lower,
}
"""Of plans of another precision than int8."""


def lower(model: FloatModel, plan: QuantizationPlan, profile: CapabilityProfile) -> Payload:
    """Write the plan in the format of the target.

    Args:
        model: The float model.
        plan: A plan for this model and this target.
        profile: The target.

    Returns:
        The payload; the same bytes for the same arguments.

    Raises:
        LoweringError: The plan is for another model or another version of the target, or cannot be written in the format or its dialect; the
            message names what and where.
    """
    if plan.model_digest != model.digest:
        raise LoweringError(
            f"Model {model.name!r} has digest {model.digest}, the plan is for {plan.model_digest}.",
            hint="Plan this model anew.",
        )
    if plan.profile_digest != profile.digest:
        raise LoweringError(
            f"Target {profile.id!r} has digest {profile.digest}, the plan is for {plan.target!r} with {plan.profile_digest}.",
            hint="Plan for this target anew.",
        )
    _require_dialect(profile)
    _require_look_up(plan, profile)
    try:
        if plan.precision != "int8":
            return UNCALIBRATED[profile.artifact.format](model, plan, profile)
        return LOWERINGS[profile.artifact.format](with_planned_values(model, plan), plan, profile)
    except EdgewrightError:
        raise
    except Exception as error:  # the libraries below raise whatever they like; what leaves our API is ours
        raise LoweringError(
            f"Model {model.name!r}: writing {profile.artifact.format} failed: {type(error).__name__}: {error}"
        ) from error


def _require_look_up(plan: QuantizationPlan, profile: CapabilityProfile) -> None:
    """Refuse codebooks in a format whose readers look nothing up when they load a file.

    Raises:
        LoweringError: The plan has one.
    """
    if plan.precision in CLUSTERED and profile.artifact.format == "tflite":
        raise LoweringError(
            f"Target {profile.id!r} asks for {plan.precision}, which tflite files do not have: GATHER takes no indices of 8 bits or fewer.",
            hint=f"Leave [{plan.precision}] out of the profile, or choose weights-float16.",
        )


def _require_dialect(profile: CapabilityProfile) -> None:
    """Refuse what only ONNX can say.

    Raises:
        LoweringError: Another format should leave out quantization behind operators, or bring sidecars.
    """
    artifact = profile.artifact
    if artifact.format == "onnx_qdq":
        return
    for key, is_asked in (
        ("quantize_outputs = false", not artifact.quantize_outputs),
        ("sidecars", bool(artifact.sidecars)),
    ):
        if is_asked:
            raise LoweringError(
                f"Target {profile.id!r} asks for artifact.{key}, which {artifact.format} files do not have.",
                hint="Leave it out of the profile, or set artifact.format to onnx_qdq.",
            )
