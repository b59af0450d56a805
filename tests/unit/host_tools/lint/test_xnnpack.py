"""The edges of XNNPACK's rules, one operator each: what is said ahead against what LiteRT's delegate does with the very file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from host_tools.cli.main import main
from host_tools.errors import VerificationError
from host_tools.lint.rules import check
from host_tools.lint.tflite import read_tflite
from host_tools.lint.xnnpack import left_to_built_in
from host_tools.lower.payload import Payload
from host_tools.verify.probes import PROBES
from targets import catalog
from tests.unit.host_tools.lint.peers import fully_connected, ints, onnx_conv, single

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class Case:
    """A file of one operator, and why XNNPACK leaves it; nothing where it takes it."""

    name: str
    data: Callable[[], bytes]
    reason: str = ""


def add(first: float, second: float = 1.0, out: float = 1.0, activation: int = 0) -> Callable[[], bytes]:
    options = schema.AddOptionsT(fusedActivationFunction=activation)
    return single("ADD", [{"scale": (first,)}, {"scale": (second,)}], [{"scale": (out,)}], options)


def mul(first: float, second: float, out: float) -> Callable[[], bytes]:
    options = schema.MulOptionsT()
    return single("MUL", [{"scale": (first,)}, {"scale": (second,)}], [{"scale": (out,)}], options, 3)


def leaky(slope: float, scale: float, out: float) -> Callable[[], bytes]:
    return single(
        "LEAKY_RELU", [{"scale": (scale,)}], [{"scale": (out,)}], schema.LeakyReluOptionsT(alpha=slope)
    )


def requantize(scale: float, out: float) -> Callable[[], bytes]:
    return single("QUANTIZE", [{"scale": (scale,)}], [{"scale": (out,)}], schema.QuantizeOptionsT())


def matmul(zero_point: int) -> Callable[[], bytes]:
    right = {"zero_point": (zero_point,)}
    return single("BATCH_MATMUL", [{}, right], [{}], schema.BatchMatMulOptionsT())


def conv(*, weight_scales: int = 1, activation: int = 0, out: float = 0.1) -> Callable[[], bytes]:
    scales = tuple(0.01 * (1 + index) for index in range(weight_scales))
    weight = {"data": np.ones((4, 1, 1, 4), np.int8), "scale": scales}
    last = {"data": np.ones(4, np.int32), "kind": "INT32", "scale": tuple(0.1 * one for one in scales)}
    options = schema.Conv2DOptionsT(
        strideW=1, strideH=1, dilationWFactor=1, dilationHFactor=1, fusedActivationFunction=activation
    )
    return single("CONV_2D", [{}, weight, last], [{"scale": (out,)}], options, 3)


def pool(kind: str, window: int, stride: int) -> Callable[[], bytes]:
    out = (4 - window) // stride + 1
    options = schema.Pool2DOptionsT(
        padding=1, strideW=stride, strideH=stride, filterWidth=window, filterHeight=window
    )
    return single(kind, [{}], [{"shape": (1, out, out, 4)}], options)


def concatenation(count: int) -> Callable[[], bytes]:
    options = schema.ConcatenationOptionsT(axis=3)
    return single("CONCATENATION", [{}] * count, [{"shape": (1, 4, 4, 4 * count)}], options)


def split(count: int) -> Callable[[], bytes]:
    whole = {"shape": (1, 4, 4, 2 * count)}
    part = {"shape": (1, 4, 4, 2)}
    return single("SPLIT", [ints(3), whole], [part] * count, schema.SplitOptionsT(numSplits=count))


def slice_(size: int) -> Callable[[], bytes]:
    return single("SLICE", [{}, ints(0, 0, 0, 0), ints(1, 4, 4, size)], [{}], schema.SliceOptionsT())


def strided(step: int, shrink: int = 0) -> Callable[[], bytes]:
    vectors = [ints(0, 0, 0, 0), ints(1, 4, 4, 4), ints(1, 1, 1, step)]
    out = {"shape": (4, 4, 4) if shrink else (1, 4, 4, 4 // step)}
    return single("STRIDED_SLICE", [{}, *vectors], [out], schema.StridedSliceOptionsT(shrinkAxisMask=shrink))


def ranks(rank: int) -> Callable[[], bytes]:
    shape = (1,) * (rank - 1) + (4,)
    return single("RESHAPE", [{"shape": (4,)}, ints(*shape)], [{"shape": shape}], schema.ReshapeOptionsT(), 1)


CASES = (
    Case("add", add(0.5)),
    Case("add, at its lower edge", add(2.0**-10)),
    Case("add, below", add(2.0**-10 * 0.999), "rescale factor"),
    Case("add, second operand below", add(1.0, 2.0**-11), "rescale factor"),
    Case("add, at its upper edge", add(256.0), "rescale factor"),
    Case("add, under it", add(255.9)),
    Case("add with Relu6", add(0.5, activation=3)),
    Case("mul", mul(0.5, 0.5, 0.5)),
    Case("mul, at its lower edge", mul(2.0**-8, 2.0**-8, 1.0)),
    Case("mul, below", mul(2.0**-8, 2.0**-8, 1.001), "rescale factor"),
    Case("mul, at its upper edge", mul(16.0, 16.0, 1.0), "rescale factor"),
    Case("leaky_relu", leaky(0.1, 1.0, 1.0)),
    Case("leaky_relu, at its upper edge", leaky(0.1, 128.0, 1.0)),
    Case("leaky_relu, above", leaky(0.1, 128.1, 1.0), "rescale factor is 128.1"),
    Case("leaky_relu, hardly a slope", leaky(0.001, 1.0, 1.0), "what is negative"),
    Case("quantize", requantize(1.0, 2.0)),
    Case("quantize, at its edges", requantize(1.0, 256.0)),
    Case("quantize, below", requantize(1.0, 257.0), "rescale factor"),
    Case("quantize, at its upper edge", requantize(128.0, 1.0)),
    Case("quantize, above", requantize(128.1, 1.0), "rescale factor"),
    Case("quantize to uint8", single("QUANTIZE", [{}], [{"kind": "UINT8"}], schema.QuantizeOptionsT()), "from int8 to uint8"),
    Case("batch_matmul", matmul(0)),
    Case("batch_matmul, a zero point on the right", matmul(3), "zero point 3"),
    Case("conv", conv()),
    Case("conv per channel", conv(weight_scales=4)),
    Case("fully_connected without bias", single("FULLY_CONNECTED", [{"shape": (1, 4)}, {"data": np.ones((5, 4), np.int8)}], [{"shape": (1, 5)}], schema.FullyConnectedOptionsT(), 4)),
    Case("fully_connected, asymmetric weights", single("FULLY_CONNECTED", [{"shape": (1, 4)}, {"data": np.ones((5, 4), np.int8), "zero_point": (2,)}], [{"shape": (1, 5)}], schema.FullyConnectedOptionsT(), 4), "zero point 2"),
    Case("fully_connected", lambda: fully_connected(version=4, per_channel=False)),
    Case("max_pool", pool("MAX_POOL_2D", 2, 2)),
    Case("max_pool that leaves gaps", pool("MAX_POOL_2D", 1, 2), "beyond its window"),
    Case("average_pool", pool("AVERAGE_POOL_2D", 2, 2), "in float only"),
    Case("concatenation of 5", concatenation(5)),
    Case("concatenation of 6", concatenation(6), "6 inputs"),
    Case("split in 4", split(4)),
    Case("split in 5", split(5), "5 outputs"),
    Case("slice", slice_(4)),
    Case("slice to the end", slice_(-1), "left open"),
    Case("strided_slice", strided(1)),
    Case("strided_slice by 2", strided(2), "a step is not 1"),
    Case("strided_slice that loses an axis", strided(1, shrink=1), "goes away"),
    Case("6 axes", ranks(6)),
    Case("7 axes", ranks(7), "0 to 6 axes"),
    Case("logistic", single("LOGISTIC", [{}], [{"scale": (1 / 256,), "zero_point": (-128,)}])),
    Case("softmax", single("SOFTMAX", [{}], [{"scale": (1 / 256,), "zero_point": (-128,)}], schema.SoftmaxOptionsT(beta=1.0)), "in float only"),
    Case("softmax in float", single("SOFTMAX", [{"kind": "FLOAT32"}], [{"kind": "FLOAT32"}], schema.SoftmaxOptionsT(beta=1.0), 1)),
    Case("softmax, sharper", single("SOFTMAX", [{"kind": "FLOAT32"}], [{"kind": "FLOAT32"}], schema.SoftmaxOptionsT(beta=2.0), 1), "beta"),
    Case("maximum", single("MAXIMUM", [{}, {}], [{}], schema.MaximumMinimumOptionsT()), "in float only"),
    Case("mean", single("MEAN", [{}, ints(1, 2)], [{"shape": (1, 4)}], schema.ReducerOptionsT())),
    Case("pad", single("PAD", [{}, ints([0, 0], [1, 1], [1, 1], [0, 0])], [{"shape": (1, 6, 6, 4)}], schema.PadOptionsT())),
    Case("pad by int64", single("PAD", [{}, ints([0, 0], [1, 1], [1, 1], [0, 0], kind="INT64")], [{"shape": (1, 6, 6, 4)}], schema.PadOptionsT()), "no constant of int32"),
    Case("cumulative sum", single("CUMSUM", [{"kind": "FLOAT32"}, ints(1)], [{"kind": "FLOAT32"}], schema.CumsumOptionsT(), 1), "has no CUMSUM"),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_said_ahead_is_what_the_engine_does(case: Case) -> None:
    data = case.data()
    (reason,) = left_to_built_in(read_tflite(data))
    assert (case.reason in reason) if case.reason else (reason == "")
    (ran,) = PROBES["tflite"].executed_ops(payload_of(data), threads=1)
    assert ran.kernel == ("built-in" if case.reason else "XNNPACK")


def payload_of(data: bytes) -> Payload:
    files = {"model.tflite": data}
    return Payload(format="tflite", files=files, inputs=(), outputs=(), tensor_names={}, notes=())


def test_a_convolution_beyond_its_rescale_factor_is_taken_and_then_fails() -> None:
    """The one limit that the delegate does not look at before; the linter says it, by the profile's fact."""
    data = conv(out=0.1 * 0.01 / 257)()
    assert left_to_built_in(read_tflite(data)) == ("",)
    with pytest.raises(VerificationError, match="XNNPACK"):
        PROBES["tflite"].executed_ops(payload_of(data), threads=1)
    found = check(read_tflite(data), catalog.load("cortex-a-tflite"))
    assert [(one.rule, one.got) for one in found] == [("requantization-ratio", "257")]


def test_the_command_says_what_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "left.tflite"
    path.write_bytes(add(2.0**-11)())
    arguments = ["targets", "check", str(path), "--target", "cortex-a-tflite", "--xnnpack"]
    assert main(arguments) == 1
    said = capsys.readouterr().out
    assert "XNNPACK takes 0 of 1 operators." in said
    assert "ADD 'y0': the rescale factor is 0.000488281" in said
    assert main([*arguments, "--json"]) == 1
    assert '"left_by_xnnpack"' in capsys.readouterr().out


def test_the_command_says_it_of_tflite_files_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "peer.onnx"
    path.write_bytes(onnx_conv())
    assert main(["targets", "check", str(path), "--target", "x86_64-onnxruntime", "--xnnpack"]) == 2
    assert "TFLite" in capsys.readouterr().err
