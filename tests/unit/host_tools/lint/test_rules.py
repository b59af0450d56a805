"""For every rule a file that breaks it and one that does not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from host_tools.lint.arithmetic import ARITHMETIC_RULES
from host_tools.lint.limits import LIMIT_RULES
from host_tools.lint.operators import OPERATOR_RULES
from host_tools.lint.rules import SEVERITIES, check
from host_tools.lint.weights import WEIGHT_RULES
from host_tools.lint.whole import FILE_RULES
from targets import catalog
from tests.unit.host_tools.lint.linted import (
    BIAS,
    WEIGHT,
    changed,
    constant,
    conv,
    file,
    limited,
    op,
    qdq,
    real,
    tensor,
)

if TYPE_CHECKING:
    from host_tools.lint.facts import LintedFile
    from targets.profile import CapabilityProfile

TFLITE = catalog.load("cortex-a-tflite")
REFUSES = changed(TFLITE, "fallback", to="refuse")
X86 = changed(catalog.load("x86_64-onnxruntime"), "activations", signed=True)
VITIS = catalog.load("amd-vitis-dpu")
FORBIDS = replace(TFLITE, ops={**TFLITE.ops, "Conv": replace(TFLITE.ops["Conv"], precisions=())})
UNKNOWN = op("CUMSUM")
FLOAT_CONV = conv(
    data=(real("x"),), outputs=(real("y"),), weight=constant("w", np.ones((4, 1, 1, 4)), "float32")
)
HALVES = constant("w", np.ones((4, 1, 1, 4)), "float16", scale=(), zero_point=())
LOOKED_UP = replace(HALVES, dtype="float32", codebook=16)
WIDE = qdq(conv(data=(tensor("x", dtype="int16"),), outputs=(tensor("y", dtype="int16"),)))
JOINED = op("CONCATENATION", "Concat", data=(real("boxes"), real("scores")), outputs=(real("joined"),))
TURNED = op("TRANSPOSE", "Transpose", data=JOINED.outputs, outputs=(real("turned"),))
FLOAT_DIV = op("DIV", "Div", data=(real("x"), real("z")), outputs=(real("y"),))


@dataclass(frozen=True)
class Case:
    """What breaks a rule, what does not, and what must be said of the first."""

    rule: str
    bad: LintedFile
    good: LintedFile
    profile: CapabilityProfile = TFLITE
    got: str = ""
    name: str = ""


def both(
    rule: str,
    bad: object,
    good: object = None,
    profile: CapabilityProfile = TFLITE,
    got: str = "",
    name: str = "",
) -> Case:
    as_file = [one if hasattr(one, "ops") else file(one) for one in (bad, conv() if good is None else good)]
    return Case(rule, *as_file, profile, got, name)


CASES = (
    both("format", file(conv(), format="onnx_qdq"), got="onnx_qdq"),
    both("schema", qdq(conv()), replace(qdq(conv()), schema=20), X86, got="opset 21"),
    both("schema", replace(WIDE, schema=22), WIDE, X86, got="opset 22", name="of 16 bits"),
    both("schema", file(conv(), schema=4), got="schema version 4", name="tflite"),
    both(
        "artifact-target",
        file(conv(), made_for="nxp-neutron"),
        file(conv(), made_for="cortex-a-tflite"),
        got="nxp-neutron",
    ),
    both(
        "plan-precision",
        file(conv(), precision="weights-int4"),
        profile=replace(TFLITE, uncalibrated={}),
        got="weights-int4",
    ),
    both(
        "float16-weights",
        file(op("CONV_2D", "Conv", weight=HALVES)),
        file(op("CONV_2D", "Conv", weight=replace(HALVES, dtype="float32"))),
        profile=replace(TFLITE, uncalibrated={}),
        got="a weight in float16",
    ),
    both(
        "codebook-weights",
        file(op("CONV_2D", "Conv", weight=LOOKED_UP)),
        file(op("CONV_2D", "Conv", weight=replace(LOOKED_UP, codebook=0))),
        profile=replace(TFLITE, uncalibrated={}),
        got="a weight by a codebook of 16",
    ),
    both("input-type", file(conv(), inputs=(real("x"),)), got="float32"),
    both(
        "input-type",
        file(conv(), inputs=(tensor("x", dtype="uint8"),)),
        file(conv(), inputs=(tensor("i", dtype="int64"),)),
        name="indices are no data",
    ),
    both("output-type", file(conv(), outputs=(real("y"),)), got="float32"),
    both(
        "output-type",
        file(JOINED, op("TANH", "Tanh", data=JOINED.outputs, outputs=(real("t"),)), outputs=(real("t"),)),
        file(JOINED, TURNED, outputs=(real("turned"), tensor("z", dtype="int8"))),
        got="float32",
        name="joined in float",
    ),
    both("static-shape", file(conv(), inputs=(tensor("x", shape=(-1, 8, 8, 4)),)), got="?x8x8x4"),
    both("static-shape", conv(outputs=(tensor("y", shape=(1, -1)),)), got="1x?", name="inside"),
    both(
        "known-shape",
        qdq(conv(data=(tensor("x", shape=None),))),
        qdq(conv()),
        limited(X86, "Conv", max_batch=1),
        got="'x' of unknown shape",
    ),
    both(
        "float-operator-count",
        file(FLOAT_DIV, FLOAT_DIV),
        FLOAT_DIV,
        changed(TFLITE, "fallback", max_float_ops=1),
        got="2: DIV",
    ),
    both(
        "partitions",
        file(conv(), conv(name="z", data=(tensor("other"),), outputs=(tensor("z"),))),
        file(conv(), conv(name="z", data=(tensor("y"),), outputs=(tensor("z"),))),
        changed(TFLITE, "fallback", max_partitions=1),
        got="2",
    ),
    both("operator", UNKNOWN, got="CUMSUM in int8"),
    both("operator", op("PACK"), op("TANH", "Tanh", outputs=(tensor("y", 1 / 128, 0),)), name="another"),
    both("operator", conv(), profile=FORBIDS, good=op("ADD", "Add"), got="CONV_2D", name="forbidden"),
    both("operator-version", conv(version=9), conv(version=8), got="version 9"),
    both("precision", op("DIV", "Div"), FLOAT_DIV, got="int8"),
    both("float-operator", FLOAT_CONV, profile=REFUSES, got="float32"),
    both("falls-back", FLOAT_DIV, got="int8"),
    both(
        "falls-back",
        qdq(op("Sigmoid", "Sigmoid")),
        qdq(op("Relu", "Relu")),
        VITIS,
        got="int8",
        name="between Q and DQ",
    ),
    both("could-be-integer", FLOAT_CONV, FLOAT_DIV, got="float32"),
    both(
        "could-be-integer",
        qdq(conv(outputs=(real("y"),))),
        qdq(conv(outputs=(tensor("y"),))),
        X86,
        got="float32",
        name="real numbers behind it",
    ),
    both(
        "could-be-integer",
        qdq(FLOAT_CONV),
        qdq(conv(outputs=(real("y"),), data=(tensor("x", zero_point=0),), bias=None)),
        catalog.load("nvidia-tensorrt"),
        got="float32",
        name="where codes at the inputs are enough",
    ),
    both("fused-activation", conv(activation="Tanh"), conv(activation="Relu"), got="Tanh fused into Conv"),
    both(
        "form", qdq(op("Pad", "Pad")), qdq(op("Pad", "Pad", works_on_codes=True)), X86, got="between Q and DQ"
    ),
    both(
        "max-rank",
        conv(),
        conv(data=(tensor("x", shape=(8, 8)),), outputs=(tensor("y", shape=(8, 8)),)),
        limited(TFLITE, "Conv", max_rank=3),
        got="rank 4",
    ),
    both(
        "max-batch",
        conv(data=(tensor("x", shape=(2, 8, 8, 4)),)),
        profile=limited(TFLITE, "Conv", max_batch=1),
        got="batch 2",
    ),
    both("max-stride", conv(strides=(1, 4)), profile=limited(TFLITE, "Conv", max_stride=3), got="1x4"),
    both("max-kernel", conv(kernel=(7, 1)), profile=limited(TFLITE, "Conv", max_kernel=5), got="7x1"),
    both("max-dilation", conv(dilations=(2, 2)), profile=limited(TFLITE, "Conv", max_dilation=1), got="2x2"),
    both(
        "axes",
        op("SOFTMAX", "Softmax", axes=(2,)),
        op("SOFTMAX", "Softmax", axes=(1,)),
        limited(TFLITE, "Softmax", axes=(1,)),
        got="2",
    ),
    both(
        "mode",
        op("RESIZE_BILINEAR", "Resize", mode="linear"),
        op("RESIZE_NEAREST_NEIGHBOR", "Resize", mode="nearest"),
        limited(TFLITE, "Resize", modes=("nearest",)),
        got="linear",
    ),
    both(
        "constant-operand",
        op("BATCH_MATMUL", "MatMul", data=(tensor("x"), tensor("z"))),
        op("BATCH_MATMUL", "MatMul", data=(tensor("x"), constant("w", [1]))),
        limited(TFLITE, "MatMul", constant_operand=True),
        got="'z' is computed",
    ),
    both(
        "parameters", conv(data=(replace(tensor("x"), scale=(), zero_point=()),)), got="int8 without a scale"
    ),
    both("activation-type", conv(data=(tensor("x", dtype="uint8"),)), got="uint8"),
    both(
        "activation-type",
        conv(data=(tensor("x", dtype="int16"),), outputs=(tensor("y", dtype="int16"),)),
        conv(),
        replace(TFLITE, wide=None),
        name="width",
    ),
    both(
        "activation-granularity",
        conv(data=(replace(tensor("x"), scale=(0.1, 0.2), zero_point=(0, 0), axis=3),)),
        got="2 scales",
    ),
    both("zero-point", conv(data=(tensor("x", zero_point=200),)), got="200"),
    both(
        "zero-point",
        conv(),
        conv(data=(tensor("x", zero_point=0),), outputs=(tensor("y", zero_point=0),)),
        changed(TFLITE, "activations", zero_point="symmetric"),
        got="3",
        name="symmetric",
    ),
    both(
        "zero-point",
        conv(),
        conv(data=(tensor("x", zero_point=-128),), outputs=(tensor("y", zero_point=0),)),
        changed(TFLITE, "activations", zero_point="midpoint"),
        got="3",
        name="midpoint",
    ),
    both("scale", conv(data=(tensor("x", scale=1e-40),)), got="1e-40"),
    both("scale", conv(outputs=(tensor("y", scale=float("inf")),)), got="inf", name="infinite"),
    both("scale", conv(weight=replace(WEIGHT, scale=(-0.5,))), got="-0.5", name="of a weight"),
    both(
        "scale",
        conv(),
        profile=changed(TFLITE, "scale", minimum=0.06),
        good=conv(data=(tensor("x", 0.07),), weight=replace(WEIGHT, scale=(0.5,))),
        got="0.05",
        name="the target's minimum",
    ),
    both(
        "power-of-two",
        conv(),
        conv(data=(tensor("x", 2**-4),), weight=replace(WEIGHT, scale=(2**-6,)), outputs=(tensor("y", 0.5),)),
        changed(TFLITE, "scale", kind="power_of_two"),
        got="0.05",
    ),
    both(
        "range-width",
        conv(data=(tensor("x", 1e-7),)),
        profile=changed(TFLITE, "scale", minimum_range=1e-4),
        got="2.55e-05",
    ),
    both(
        "fixed-output",
        op("LOGISTIC", "Sigmoid"),
        op("LOGISTIC", "Sigmoid", outputs=(tensor("y", 1 / 256, -128),)),
        got="scale 0.05, zero point 3",
    ),
    both(
        "fixed-output",
        op(
            "Sigmoid",
            "Sigmoid",
            data=(tensor("x", dtype="uint8"),),
            outputs=(tensor("y", 1 / 256, 5, dtype="uint8"),),
        ),
        op(
            "Sigmoid",
            "Sigmoid",
            data=(tensor("x", dtype="uint8"),),
            outputs=(tensor("y", 1 / 256, 0, dtype="uint8"),),
        ),
        name="in unsigned codes",
    ),
    both(
        "same-scale",
        op("MAX_POOL_2D", "MaxPool", outputs=(tensor("y", 0.06),)),
        op("MAX_POOL_2D", "MaxPool"),
        got="scale 0.06, zero point 3",
    ),
    both("requantization-ratio", conv(outputs=(tensor("y", 1e-7),)), got="5000"),
    both(
        "requantization-ratio",
        op("MUL", "Mul", data=(tensor("x", 1e-6), tensor("z", 1e-6))),
        op("MUL", "Mul", data=(tensor("x"), tensor("z"))),
        name="of a product",
    ),
    both(
        "requantization-ratio",
        op("ADD", "Add", data=(tensor("x"), tensor("z", 1e-9))),
        op("ADD", "Add", data=(tensor("x"), tensor("z"))),
        name="of a sum",
    ),
    both("constant-weight", conv(weight=tensor("w")), got="computed"),
    both("readable-constant", conv(weight=replace(WEIGHT, codes=None)), got="int8 values"),
    both("weight-type", conv(weight=constant("w", np.full((4, 4), 1), "uint8")), got="uint8"),
    both(
        "weight-type",
        conv(),
        conv(weight=constant("w", np.full((4, 4), 60))),
        changed(TFLITE, "weights", bits=7),
        got="codes 100 to 100",
        name="width",
    ),
    both("narrow-range", conv(weight=constant("w", np.full((4, 4), -128))), got="code -128"),
    both(
        "narrow-range",
        conv(weight=constant("w", np.full((4, 4), -128))),
        conv(weight=constant("w", np.full((4, 4), -127))),
        name="its edge",
    ),
    both("weight-zero-point", conv(weight=replace(WEIGHT, zero_point=(7,))), got="zero point 7"),
    both(
        "weight-granularity",
        conv(weight=replace(WEIGHT, scale=(0.1,) * 4, zero_point=(0,) * 4, axis=0)),
        conv(),
        changed(TFLITE, "weights", per_channel_ops=frozenset()),
        got="4 scales",
    ),
    both(
        "weight-granularity",
        conv(weight=replace(WEIGHT, scale=(0.1,) * 4, zero_point=(0,) * 4, axis=3)),
        conv(weight=replace(WEIGHT, scale=(0.1,) * 4, zero_point=(0,) * 4, axis=0)),
        got="another axis",
        name="axis",
    ),
    both(
        "weight-sum",
        conv(),
        conv(weight=constant("w", np.full((4, 4), 10))),
        changed(TFLITE, "accumulator", max_weight_sum=399),
        got="400",
    ),
    both("bias-type", conv(bias=constant("b", [0, 0, 0, 0], "float32")), got="float32"),
    both("bias-type", conv(bias=constant("b", [0, 0, 0, 0], "int16")), got="int16", name="width"),
    both(
        "bias-type",
        conv(),
        conv(bias=constant("b", [0, 0, 0, 0], "float32")),
        changed(TFLITE, "bias", quantized=False),
        got="int32",
        name="float wanted",
    ),
    both(
        "bias-width",
        conv(bias=constant("b", [1 << 20, 0, 0, 0], "int32")),
        conv(bias=constant("b", [(1 << 19) - 1, 0, 0, 0], "int32")),
        changed(TFLITE, "bias", bits=20),
        got="codes 0 to 1048576",
    ),
    both("bias-scale", conv(bias=replace(BIAS, scale=(0.0006,))), got="0.0006"),
    both("bias-scale", conv(bias=replace(BIAS, scale=())), got="no scale", name="none"),
    both("bias-scale", conv(bias=replace(BIAS, zero_point=(1,))), got="a zero point", name="zero point"),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rule} {case.name}".strip())
def test_the_rule_fires_where_it_must(case: Case) -> None:
    found = [one for one in check(case.bad, case.profile) if one.rule == case.rule]
    assert found
    assert found[0].severity == SEVERITIES[case.rule]
    assert case.got in found[0].got
    assert found[0].where
    assert found[0].allowed
    assert found[0].fact
    assert found[0].source


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rule} {case.name}".strip())
def test_the_rule_is_silent_where_it_is_kept(case: Case) -> None:
    assert case.rule not in {one.rule for one in check(case.good, case.profile)}


def test_every_rule_has_a_case() -> None:
    assert {case.rule for case in CASES} == set(SEVERITIES)


def test_the_file_that_all_cases_start_from_is_clean() -> None:
    assert check(file(conv()), TFLITE) == ()


def test_the_document_has_every_rule_in_the_codes_words() -> None:
    text = (Path(__file__).parents[4] / "docs" / "checking.md").read_text(encoding="utf-8")
    tables = (FILE_RULES, OPERATOR_RULES, LIMIT_RULES, ARITHMETIC_RULES, WEIGHT_RULES)
    for rule, judge in (entry for table in tables for entry in table.items()):
        assert f"| `{rule}` | {SEVERITIES[rule]} | {' '.join((judge.__doc__ or '').split())} |" in text
