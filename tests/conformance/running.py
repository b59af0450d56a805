"""`outcomes_of`: one node test through the float path of every format, on the real engines."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from device_agent.contract.errors import EdgewrightError, EngineError
from device_agent.engines import load_engine
from device_agent.sources.adapt import FrameError, to_payload, to_source
from host_tools.errors import InputError
from host_tools.lower.lowering import lower
from host_tools.model import load
from host_tools.model.admission import is_quantized
from host_tools.model.reference import FloatRunner
from host_tools.plan.quantization_plan import NodePlan, QuantizationPlan, TensorPlan
from targets import catalog

if TYPE_CHECKING:
    from pathlib import Path

    from host_tools.model.float_model import FloatModel
    from targets.profile import CapabilityProfile, Format
    from tests.conformance.node_tests import NodeTest

Kind = Literal["passed", "refused", "failed"]

TARGETS: Final[dict[Format, str]] = {
    "onnx_qdq": "x86_64-onnxruntime",
    "openvino_ir": "x86_64-openvino",
    "tflite": "cortex-a-tflite",
}
"""The profile whose engine is here, by format."""

_UNITS_IN_THE_LAST_PLACE: Final = 8
"""Of the largest output. What cancels to 0 in float64 keeps rounding errors of what it was made from in float32."""

_ROUNDED_TO: Final = {"bfloat16": 2.0**-8, "float16": 2.0**-10}
"""The importer turns these into float32 and says so, so outputs are compared as closely as the test's own type tells numbers apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a test in a format; a reason unless it passed."""

    kind: Kind
    reason: str = ""


PASSED: Final = Outcome(kind="passed")

DISPUTED: Final = frozenset(
    {
        "test_resize_downsample_scales_linear_align_corners",
        "test_resize_downsample_scales_cubic_align_corners",
    }
)
"""Tests whose outputs no engine gives: they align corners by the extent that input times scale would have, 2.4, and not by the one that comes out, 2.

What ONNX Runtime gives for the test's own model is held in their place.
"""


def float_target(format_: Format) -> CapabilityProfile:
    """Return a target of the format that has no integer kernel and takes and gives float32."""
    profile = catalog.load(TARGETS[format_])
    door = dataclasses.replace(profile.interface, input_type="float32", output_type="float32")
    return dataclasses.replace(profile, ops={}, fusions=(), interface=door)


def outcomes_of(test: NodeTest, folder: Path) -> dict[Format, Outcome]:
    """Run a test: import, then for each format lower in float, load on its engine, run, compare.

    Args:
        test: The test.
        folder: Where the model's file may lie.
    """
    coded = next((node.op_type for node in test.model.graph.node if is_quantized(node.op_type)), None)
    if coded is not None:  # it keeps its codes, and goes another way: tests of quantized inputs have that
        return dict.fromkeys(
            TARGETS, Outcome(kind="refused", reason=f"{coded}: the model is already quantized.")
        )
    path = folder / "model.onnx"
    path.write_bytes(test.model.SerializeToString())
    try:
        model = load(path)
        feeds = _feeds(test, model)
        # As `observe` does: what ONNX Runtime itself cannot run ends here.
        reference = FloatRunner(model, threads=1).run(feeds)
    except EdgewrightError as error:
        return dict.fromkeys(TARGETS, _refusal(error))
    except Exception as error:  # noqa: BLE001 - any foreign one is a fault of ours
        return dict.fromkeys(TARGETS, _fault(error))
    if test.name in DISPUTED:
        test = dataclasses.replace(test, outputs=[reference[spec.name] for spec in model.outputs])
    return {format_: _outcome(test, model, feeds, float_target(format_)) for format_ in TARGETS}


def _feeds(test: NodeTest, model: FloatModel) -> dict[str, np.ndarray]:
    feeds = {spec.name: np.array(test.inputs[spec.name]).astype(spec.dtype) for spec in model.inputs}
    for name, array in feeds.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError(f"the test feeds NaN or infinity into {name!r}, which devices refuse as frames.")
    return feeds


def _outcome(
    test: NodeTest, model: FloatModel, feeds: dict[str, np.ndarray], profile: CapabilityProfile
) -> Outcome:
    try:
        payload = lower(model, float_plan(model, profile), profile)
        engine = load_engine(profile.engine.name, payload.files, threads=1)
        try:
            got = engine.infer(to_payload(feeds, payload.inputs))
            found = to_source([np.array(output) for output in got], payload.outputs)
        finally:
            engine.close()
    except (EngineError, FrameError) as error:  # it took our file for good, or was promised other shapes
        return Outcome(kind="failed", reason=str(error))
    except EdgewrightError as error:
        return _refusal(error)
    except Exception as error:  # noqa: BLE001 - any foreign one is a fault of ours
        return _fault(error)
    return _comparison(test, model, found)


def _comparison(test: NodeTest, model: FloatModel, found: dict[str, np.ndarray]) -> Outcome:
    for value, wanted in zip(test.model.graph.output, test.outputs, strict=True):
        if wanted is None:
            return Outcome(kind="failed", reason=f"{value.name!r} is no tensor, yet it was converted")
        got = found[value.name]
        if got.shape != wanted.shape:
            return Outcome(kind="failed", reason=f"{value.name!r} has shape {got.shape}, not {wanted.shape}")
        expected = wanted.astype(np.float64)
        finite = np.abs(expected[np.isfinite(expected)])
        noise = _UNITS_IN_THE_LAST_PLACE * np.finfo(np.float32).eps * float(finite.max(initial=0.0))
        rtol = max(test.rtol, _ROUNDED_TO.get(wanted.dtype.name, 0.0))
        atol = test.atol if wanted.dtype.kind in "iub" else max(test.atol, noise)
        if not np.allclose(got, expected, rtol=rtol, atol=atol, equal_nan=True):
            return Outcome(kind="failed", reason=f"{value.name!r} has other numbers")
    return PASSED


def _refusal(error: EdgewrightError) -> Outcome:
    """Tell a refusal of ours from a foreign exception that was only wrapped."""
    is_wrapped = "is not a sound ONNX model" in str(error) or ": writing " in str(error)
    return Outcome(kind="failed" if is_wrapped else "refused", reason=str(error))


def _fault(error: Exception) -> Outcome:
    return Outcome(kind="failed", reason=f"{type(error).__name__}: {error}")


def float_plan(model: FloatModel, profile: CapabilityProfile) -> QuantizationPlan:
    """Return a plan that quantizes nothing and fuses nothing."""
    graph = model.graph.graph
    values = [*graph.inputs, *graph.initializers.values(), *(out for node in graph for out in node.outputs)]
    return QuantizationPlan(
        model_digest=model.digest,
        data_digest="sha256:" + "0" * 64,
        target=profile.id,
        profile_digest=profile.digest,
        method="minmax",
        tensors={
            value.name: TensorPlan(
                name=value.name,
                role="constant" if value.is_initializer() else "activation",
                qparams=None,
                reason="the float path",
            )
            for value in values
            if value.name
        },
        nodes={
            str(node.name): NodePlan(
                name=str(node.name),
                op_type=node.op_type,
                precision="float32",
                fused_into=None,
                reason="the float path",
            )
            for node in graph
        },
        requantize=(),
        warnings=(),
    )
