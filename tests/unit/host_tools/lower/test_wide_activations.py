"""Every operator on 16-bit activations, and beside operators on 8-bit ones: the file gives what the simulator says, on LiteRT and ONNX Runtime."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest
from lowering_cases import CASES, TWO_ENDS, Case
from tflite_file import ops_of
from wide_plans import onnx_profile, prepare_wide, profile_of

from device_agent.engines import load_engine
from device_agent.sources.adapt import to_payload, to_source
from host_tools.errors import LoweringError
from host_tools.lint.reading import read
from host_tools.lint.rules import check as lint
from host_tools.lint.rules import precisions
from host_tools.plan.check import check
from host_tools.plan.plan_file import decode, encode
from host_tools.simulate import simulate
from host_tools.verify.candidate import Candidate
from host_tools.verify.execution import executed

if TYPE_CHECKING:
    from pathlib import Path

    from lowering_template import Prepared

    from targets.profile import TensorType

CONV = next(case for case in CASES if case.name == "conv_relu")
TARGET = "cortex-a-tflite"
FAR = 16
"""Codes of 16 bits: each kernel may be one off, and a few operators multiply that."""
NARROW = 256
"""One code of 8 bits in codes of 16."""
NEAR = 6
"""Codes of 8 bits: the profile's own tolerance, for operators on 8-bit activations are between the others."""
LOOSER = {"average_pool": 12}
"""In 8 bits the mean of four codes is often half way between two, and LiteRT rounds it as it likes."""


def distances(prepared: Prepared) -> dict[str, float]:
    """Return how far the engine's outputs are from the simulator's, in output codes; of a float output, in 1/65535 of its range."""
    payload = prepared.lower()
    simulator = simulate(prepared.model, prepared.plan, prepared.profile)
    engine = load_engine(prepared.profile.engine.name, payload.files, threads=1)
    largest: dict[str, float] = {}
    try:
        for sample in prepared.samples():
            found = to_source(engine.infer(to_payload(sample, payload.inputs)), payload.outputs)
            for name, values in simulator.run(sample).items():
                qparams = prepared.plan.tensors[name].qparams
                unit = qparams.scale[0] if qparams is not None else float(np.ptp(values)) / 65535
                distance = float(np.abs(found[name] - values).max()) / unit
                largest[name] = max(largest.get(name, 0.0), distance)
    finally:
        engine.close()
    return largest


@pytest.mark.parametrize(
    ("every", "first", "interface"), [(1, 0, "float32"), (2, 0, "float32"), (2, 1, "int8")]
)
@pytest.mark.parametrize("case", [*CASES, TWO_ENDS], ids=lambda case: case.name)
def test_computes_the_plan(case: Case, every: int, first: int, interface: TensorType, tmp_path: Path) -> None:
    prepared = prepare_wide(case, tmp_path, profile_of(TARGET, interface), every=every, first=first)
    plan = prepared.plan
    check(plan, prepared.model, prepared.profile)
    assert decode(encode(plan), where="test") == plan
    wide = [name for name, node in plan.nodes.items() if node.precision == "int16"]
    assert wide or every == 2
    is_wide_throughout = all(node.precision == "int16" for node in plan.nodes.values())
    for name, distance in distances(prepared).items():
        qparams = plan.tensors[name].qparams
        code = NARROW if qparams is None or qparams.dtype == "int16" else 1
        limit = FAR if is_wide_throughout else LOOSER.get(case.name, NEAR) * code
        assert distance <= limit + 0.01, (name, distance)
    (tmp_path / "model.tflite").write_bytes(prepared.lower().files["model.tflite"])
    file = read(tmp_path / "model.tflite")
    errors = [one for one in lint(file, prepared.profile) if one.severity == "error"]
    assert not errors, errors
    assert ("int16" in precisions(file, prepared.profile)) == bool(wide)


@pytest.mark.parametrize(
    ("name", "operator", "version"),
    [
        ("conv", "CONV_2D", 4),
        ("conv_depthwise", "DEPTHWISE_CONV_2D", 5),
        ("conv_transpose", "TRANSPOSE_CONV", 3),
        ("gemm", "FULLY_CONNECTED", 7),
        ("matmul_of_activations", "BATCH_MATMUL", 3),
        ("add", "ADD", 3),
        ("sub", "SUB", 5),
        ("mul", "MUL", 4),
        ("softmax", "SOFTMAX", 3),
        ("average_pool", "AVERAGE_POOL_2D", 3),
        ("global_average_pool", "MEAN", 3),
        ("transpose", "TRANSPOSE", 5),
        ("max", "MAXIMUM", 4),
    ],
)
def test_operators_ask_for_the_version_that_brought_their_kernel(
    name: str, operator: str, version: int, tmp_path: Path
) -> None:
    """Literature: tflite/converter/tools/versioning/op_version.cc, GetBuiltinOperatorVersion."""
    case = next(case for case in CASES if case.name == name)
    ops = ops_of(prepare_wide(case, tmp_path, profile_of(TARGET), every=1).lower())
    assert {op.version for op in ops if op.name == operator} == {version}
    assert {(op.name, op.version) for op in ops if op.name in ("QUANTIZE", "DEQUANTIZE")} == {
        ("QUANTIZE", 2),
        ("DEQUANTIZE", 3),
    }


@pytest.mark.parametrize("case", [*CASES[::4], TWO_ENDS], ids=lambda case: case.name)
def test_onnx_says_the_same_between_quantize_and_dequantize(case: Case, tmp_path: Path) -> None:
    """ONNX Runtime reads 16-bit codes, and computes in float between them."""
    prepared = prepare_wide(case, tmp_path, onnx_profile(), every=2)
    check(prepared.plan, prepared.model, prepared.profile)
    for name, distance in distances(prepared).items():
        qparams = prepared.plan.tensors[name].qparams
        is_narrow = qparams is not None and qparams.dtype == "uint8"
        assert distance <= 2 * (1 if is_narrow else NARROW), (name, distance)


def test_what_is_planned_in_16_bits_runs_in_integers(tmp_path: Path) -> None:
    prepared = prepare_wide(CONV, tmp_path, profile_of(TARGET, "int8"), every=1)
    candidate = Candidate(
        profile=prepared.profile, model=prepared.model, plan=prepared.plan, payload=prepared.lower()
    )
    ran = executed(candidate, threads=1)
    assert not ran.unplanned_float_ops
    assert ran.integer_ops >= 3


def test_a_target_without_them_is_told_which_file_has_them(tmp_path: Path) -> None:
    prepared = prepare_wide(CONV, tmp_path, profile_of(TARGET, "int8"), every=1)
    (tmp_path / "model.tflite").write_bytes(prepared.lower().files["model.tflite"])
    bare = dataclasses.replace(prepared.profile, wide=None)
    found = [one for one in lint(read(tmp_path / "model.tflite"), bare) if one.severity == "error"]
    assert {"activations.bits", "bias.bits", "ops.Conv.precisions"} <= {one.fact for one in found}


def test_the_linter_names_the_facts_of_16_bits(tmp_path: Path) -> None:
    prepared = prepare_wide(CONV, tmp_path, profile_of(TARGET, "int8"), every=1)
    (tmp_path / "model.tflite").write_bytes(prepared.lower().files["model.tflite"])
    wide = prepared.profile.wide
    assert wide is not None
    file = read(tmp_path / "model.tflite")
    without = dataclasses.replace(wide, ops={name: op for name, op in wide.ops.items() if name != "Conv"})
    narrow_bias = dataclasses.replace(wide, bias=dataclasses.replace(wide.bias, bits=32))
    for changed, fact in ((without, "wide.ops"), (narrow_bias, "wide.bias_bits")):
        found = lint(file, dataclasses.replace(prepared.profile, wide=changed))
        assert fact in {one.fact for one in found if one.severity == "error"}, found


def test_a_bias_of_the_wrong_width_is_refused(tmp_path: Path) -> None:
    prepared = prepare_wide(CONV, tmp_path, profile_of(TARGET, "int8"), every=1)
    tensors = dict(prepared.plan.tensors)
    name, bias = next(
        (name, one) for name, one in tensors.items() if one.role == "bias" and "int64" in one.reason
    )
    assert bias.qparams is not None
    narrow = dataclasses.replace(bias.qparams, dtype="int32", quant_min=-(2**31), quant_max=2**31 - 1)
    tensors[name] = dataclasses.replace(bias, qparams=narrow)
    broken = dataclasses.replace(prepared, plan=dataclasses.replace(prepared.plan, tensors=tensors))
    with pytest.raises(LoweringError, match=rf"bias '{name}' is planned as int32; .* take int64"):
        broken.lower()
