"""What we quantize and write comes back from the file as the same plan; and no numbers in a file's tables end in anything but a model or an error of ours."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device_agent.contract.errors import EdgewrightError
from host_tools.errors import CapabilityError, LoweringError
from host_tools.lower.lowering import lower
from host_tools.model import FloatModel, load
from host_tools.plan.codes import codes_of
from host_tools.plan.imported import plan_imported
from host_tools.plan.planned_values import with_planned_values
from host_tools.plan.planner import plan
from host_tools.plan.quantization_plan import QuantizationPlan
from host_tools.recipe import Recipe
from targets import catalog
from tests.property.test_random_plans import CONSTANTS, SHAPE, UNARY
from tests.unit.host_tools.lint.peers import fully_connected
from tests.unit.host_tools.model.onnx_models import model_proto, saved
from tests.unit.host_tools.model.quantized_files import qdq
from tests.unit.host_tools.plan.plan_models import DATA_DIGEST, values

MENU = ("Relu", "Clip6", "LeakyRelu", "Sigmoid", "Tanh", "HardSwish", "MaxPool", "AveragePool", "Transpose", "AddConstant", "MulConstant")  # fmt: skip
TARGETS = ("cortex-m-tflm", "cortex-a-tflite", "x86_64-onnxruntime", "aarch64-onnxruntime", "nxp-neutron", "amd-vitis-dpu")  # fmt: skip


@st.composite
def float_models(draw: Any) -> onnx.ModelProto:
    """A chain of operators with weights, activations and skips, of one shape."""
    lines, constants, live = [], dict(CONSTANTS), ["x"]
    rng = np.random.default_rng(draw(st.integers(0, 1 << 16)))
    for number in range(draw(st.integers(1, 6))):
        a, b, out = draw(st.sampled_from(live[-2:])), draw(st.sampled_from(live)), f"v{number}"
        kind = draw(st.sampled_from(["unary", "conv", "conv", "depthwise", "add", "concat"]))
        if kind in ("conv", "depthwise"):
            inputs = 4 if kind == "conv" else 1
            spread = np.float32(draw(st.sampled_from([0.01, 1.0, 30.0])))
            constants[f"w{number}"] = (rng.standard_normal((4, inputs, 1, 1)) * spread).astype(np.float32)
            constants[f"b{number}"] = rng.standard_normal(4).astype(np.float32)
            lines.append(f"[n{number}] {out} = Conv<group={4 // inputs}, kernel_shape=[1,1]>({a}, w{number}, b{number})")  # fmt: skip
        elif kind == "add":
            lines.append(f"[n{number}] {out} = Add({a}, {b})")
        elif kind == "concat":
            lines.append(f"[j{number}] {out}c = Concat<axis=1>({a}, {b})")
            lines.append(f"[n{number}] {out} = Slice({out}c, from0, to4, axis1)")
        else:
            lines.append(f"[n{number}] {out} = {UNARY[draw(st.sampled_from(MENU))].format(a=a, b=b)}")
        live.append(out)
    text = "\n".join(lines)
    used = {name: array for name, array in constants.items() if f"{name})" in text or f"{name}," in text}
    return model_proto(f"g ({SHAPE} x) => ({SHAPE} {live[-1]}) {{\n{text}\n}}", **used)


def quantized(model: FloatModel, target: Any, draw: Any) -> QuantizationPlan:
    """Plan a float model on ranges that it may have."""
    from host_tools.observe.statistics import Statistics

    names = ["x", *(str(value.name) for node in model.graph.graph for value in node.outputs)]
    spans = [(-1.0, 1.0), (0.0, 6.0), (-3.0, 5.0), (-0.01, 40.0), (0.0, 1.0)]
    tensors = {name: values(*draw(st.sampled_from(spans))) for name in names}
    seen = Statistics(model_digest=model.digest, data_digest=DATA_DIGEST, sample_count=8, tensors=tensors)
    return plan(model, seen, target, Recipe(method="minmax", bias_correction=False))


def weights_of(model: FloatModel, made: QuantizationPlan) -> list[tuple[Any, ...]]:
    """Return the integers of every weight and bias with their scales as a file holds them, in an order of their own."""
    graph = with_planned_values(model, made).graph.graph
    found = []
    for name, tensor in made.tensors.items():
        if tensor.role not in ("weight", "bias") or tensor.qparams is None:
            continue
        real = np.asarray(graph.initializers[name].const_value.numpy(), np.float64)  # type: ignore[union-attr]
        if tensor.values is not None:
            real = np.asarray(tensor.values).reshape(real.shape)
        codes = codes_of(real, tensor.qparams)
        scale = np.float32(tensor.qparams.scale) if tensor.role == "weight" else ()
        found.append((tensor.role, codes.shape, codes.astype(np.int64).tobytes(), tuple(map(float, scale))))
    return sorted(found)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(proto=float_models(), name=st.sampled_from(TARGETS), data=st.data())
def test_our_own_file_comes_back_as_the_same_plan(proto: onnx.ModelProto, name: str, data: Any) -> None:
    target = catalog.load(name)
    with TemporaryDirectory() as folder:
        try:
            model = load(saved(Path(folder), proto))
            made = quantized(model, target, data.draw)
            payload = lower(model, made, target)
        except (CapabilityError, LoweringError):
            return
        if not any(node.precision == "int8" and node.op_type == "Conv" for node in made.nodes.values()):
            return  # what only moves codes may come to nothing at all
        (file, content), *_ = payload.files.items()
        Path(folder, file).write_bytes(content)
        back = load(Path(folder, file))
        again = plan_imported(back, target, Recipe())
    assert weights_of(back, again) == weights_of(model, made)
    assert sorted(
        node.op_type for node in again.nodes.values() if node.precision == "int8" and node.op_type == "Conv"
    ) == sorted(
        node.op_type for node in made.nodes.values() if node.precision == "int8" and node.op_type == "Conv"
    )
    ours, theirs = ({(np.float32(one.qparams.scale[0]), one.qparams.zero_point) for one in each.tensors.values() if one.qparams and one.role in ("input", "output")} for each in (made, again))  # fmt: skip
    assert theirs <= ours | {(np.float32(one.qparams.scale[0]), one.qparams.zero_point) for one in made.tensors.values() if one.qparams and one.qparams.axis is None}  # fmt: skip
    assert ours & theirs
    relowered = lower(back, again, target)
    assert len(relowered.files) == len(payload.files)


SCALES = st.one_of(st.floats(allow_nan=True, width=32), st.sampled_from([0.0, -0.0, -1.0, 1e-45, 3e38, 0.1]))
ZEROS = st.integers(-(1 << 7), (1 << 7) - 1)


def outcome(path: Path) -> None:
    """Load and plan: a model, or an error of ours with something to say."""
    try:
        model = load(path)
        if model.quantization is not None:
            plan_imported(model, catalog.load("cortex-a-tflite"), Recipe())
    except EdgewrightError as error:
        assert str(error).strip()


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    scales=st.lists(SCALES, max_size=4),
    zeros=st.lists(ZEROS, max_size=4),
    axis=st.integers(-4, 4),
    fed=SCALES,
    zero=ZEROS,
    out=SCALES,
)  # fmt: skip
def test_any_parameters_in_onnx(scales: list[float], zeros: list[int], axis: int, fed: float, zero: int, out: float) -> None:  # fmt: skip
    with np.errstate(all="ignore"):
        proto = qdq(weight_scale=scales, weight_zero=zeros, axis=axis, input_scale=fed, input_zero=zero, output_scale=out)  # fmt: skip
    with TemporaryDirectory() as folder:
        outcome(saved(Path(folder), proto))


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_changed_tables_of_tflite(data: Any) -> None:
    from tests.unit.host_tools.lint.mutations import mutated

    content = fully_connected(version=4, per_channel=data.draw(st.booleans()))
    with TemporaryDirectory() as folder:
        path = Path(folder, "file.tflite")
        path.write_bytes(data.draw(mutated(content)))
        outcome(path)
