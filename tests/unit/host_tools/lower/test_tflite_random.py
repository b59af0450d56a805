"""Random small networks under random plans: the float file is the float model, the int8 file is the plan, operator by operator."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lowering_cases import Case
from lowering_template import prepare
from test_tflite_template import one_by_one
from tflite_file import assert_float_matches, every_value, float_plan, interpreter

from host_tools.lower.lowering import lower
from targets import catalog

UNARY = {
    "relu": "Relu({a})",
    "clip": "Clip({a}, low, high)",
    "leaky": "LeakyRelu<alpha=0.3>({a})",
    "prelu": "PRelu({a}, slope)",
    "sigmoid": "Sigmoid({a})",
    "tanh": "Tanh({a})",
    "swish": "HardSwish({a})",
    "softmax": "Softmax<axis=1>({a})",
    "max": "MaxPool<kernel_shape=[3,2], pads=[1,1,1,0]>({a})",
    "mean": "AveragePool<kernel_shape=[3,3], pads=[1,1,1,1]>({a})",
    "columns": "Transpose<perm=[0,1,3,2]>({a})",
    "channels": "Transpose<perm=[0,2,3,1]>({a})",
    "reshape": "Reshape({a}, same)",
    "shift": "Add({a}, shift)",
    "factor": "Mul({a}, factor)",
    "conv": "Conv<pads=[1,1,0,0]>({a}, w, b)",
    "depthwise": "Conv<group=4, pads=[1,1,1,1]>({a}, d)",
    "grouped": "Conv<group=2>({a}, g)",
}
BINARY = {
    "add": "Add({a}, {b})",
    "sub": "Sub({a}, {b})",
    "mul": "Mul({a}, {b})",
    "min": "Min({a}, {b})",
    "matmul": "MatMul({a}, {b})",
}
PAIRS = {
    "halves": "{o}p, {o}q = Split<axis=1, num_outputs=2>({a}) {o} = Concat<axis=1>({o}q, {o}p)",
    "rows": "{o}p = Slice({a}, two, four, axis2) {o} = Concat<axis=2>({o}p, {o}p)",
    "flat": "{o}p = Flatten({a}) {o} = Reshape({o}p, same)",
    "mirror": '{o}p = Pad<mode="reflect">({a}, pads) {o} = Slice({o}p, two, six, axis3)',
}
RNG = np.random.default_rng(2)
CONSTANTS = {
    "low": np.float32(-0.4),
    "high": np.float32(0.7),
    "slope": np.linspace(0.1, 0.4, 4, dtype=np.float32).reshape(4, 1, 1),
    "same": np.asarray([1, 4, 4, 4], np.int64),
    "shift": np.asarray([0.5, -1, 0, 2], np.float32).reshape(1, 4, 1, 1),
    "factor": np.float32(-1.5),
    "two": np.asarray([2], np.int64),
    "four": np.asarray([4], np.int64),
    "six": np.asarray([6], np.int64),
    "axis2": np.asarray([2], np.int64),
    "axis3": np.asarray([3], np.int64),
    "pads": np.asarray([0, 0, 0, 2, 0, 0, 0, 2], np.int64),
    "w": RNG.normal(0, 0.4, (4, 4, 2, 2)).astype(np.float32),
    "b": RNG.normal(0, 0.4, 4).astype(np.float32),
    "d": RNG.normal(0, 0.4, (4, 1, 3, 3)).astype(np.float32),
    "g": RNG.normal(0, 0.4, (4, 2, 1, 1)).astype(np.float32),
}


@st.composite
def networks(draw) -> Case:
    lines, live = [], ["x"]
    for number in range(draw(st.integers(1, 7))):
        out, a, b = f"v{number}", draw(st.sampled_from(live[-2:])), draw(st.sampled_from(live))
        menu = draw(st.sampled_from([UNARY, UNARY, BINARY, PAIRS]))
        body = menu[draw(st.sampled_from(sorted(menu)))].format(a=a, b=b, o=out)
        lines.append(body if menu is PAIRS else f"{out} = {body}")
        live.append(out)
    lines.append(f"y = Conv ({live[-1]}, g2, b)")
    text = "net (float[1,4,4,4] x) => (float[1,4,4,4] y) {\n" + "\n".join(lines) + "\n}"
    constants = {**CONSTANTS, "g2": RNG.normal(0, 0.5, (4, 4, 1, 1)).astype(np.float32)}
    words = set(text.replace(",", " ").replace("(", " ").replace(")", " ").split())
    return Case("random", text, {name: array for name, array in constants.items() if name in words})


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=networks(), target=st.sampled_from(["cortex-a-tflite", "cortex-a-tflite-legacy", "nxp-neutron"]), floats=st.sets(st.integers(0, 8), max_size=3))  # fmt: skip
def test_random_networks(case: Case, target: str, floats: set[int]) -> None:
    profile = catalog.load(target)
    with tempfile.TemporaryDirectory() as folder:
        model = prepare(case, Path(folder), profile).model
        names = [node.name for node in model.graph.graph]
        prepared = prepare(
            case, Path(folder), profile, keep_float=[names[index] for index in floats if index < len(names)]
        )
    assert_float_matches(model, lower(model, float_plan(model, profile), profile), count=1)
    payload = prepared.lower()
    interpreter(payload)
    sample = prepared.samples()[0]
    found = every_value(payload, sample, payload.tensor_axes)
    for op_type, name, exact in one_by_one(prepared, sample, found):
        qparams = prepared.plan.tensors[name].qparams
        if qparams is None:
            np.testing.assert_allclose(found[name], exact, rtol=1e-3, atol=1e-3, err_msg=name)
            continue
        code = found[name] / qparams.scale[0] + qparams.zero_point[0]
        wanted = exact.astype(np.float64) / qparams.scale[0] + qparams.zero_point[0]
        assert np.abs(np.clip(wanted, qparams.quant_min, qparams.quant_max) - code).max() <= 1.01, (
            op_type,
            name,
        )
