"""Every operator of TFLite that is translated, in a file built by hand: ONNX Runtime on what it became equals LiteRT on the file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from host_tools.errors import UnsupportedOperatorError
from host_tools.model import load
from host_tools.model.from_tflite.translate import TRANSLATORS
from host_tools.model.reference import FloatRunner
from tests.unit.host_tools.lint.peers import TfliteModel

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

KINDS = {"float32": "FLOAT32", "int32": "INT32", "int64": "INT64", "bool": "BOOL", "float16": "FLOAT16"}
IMAGE = (1, 6, 5, 4)


@dataclass(frozen=True)
class Op:
    """One operator between a CONV_2D of its first input and its outputs.

    Attributes:
        kind: Builtin operator.
        inputs: A shape is fed, an array is a constant, None is absent.
        outs: Shape of each output.
        options: Options table with the fields that are not the default's.
        out: Type of the outputs.
        positive: Whether what is fed is above 0.
        label: To tell cases of one kind apart.
    """

    kind: str
    inputs: tuple[Any, ...]
    outs: tuple[tuple[int, ...], ...]
    options: Any = None
    out: str = "FLOAT32"
    positive: bool = False
    label: str = ""
    version: int = 1

    @property
    def name(self) -> str:
        return f"{self.kind}{'-' if self.label else ''}{self.label}"


def options(kind: str, **fields: Any) -> Any:
    table = getattr(schema, f"{kind}OptionsT")()
    for name, value in fields.items():
        assert hasattr(table, name), name
        setattr(table, name, value)
    return table


def ints(*values: Any) -> NDArray[np.int32]:
    return np.asarray(values, np.int32)


def reals(*shape: int) -> NDArray[np.float32]:
    """Return numbers that are the same for the same shape, whichever test asks first."""
    return np.random.default_rng(shape).normal(0, 0.5, shape).astype(np.float32)


def conv(padding: int, *, stride: int = 1, dilation: int = 1, activation: int = 0) -> Any:
    return options("Conv2D", padding=padding, strideH=stride, strideW=stride, dilationHFactor=dilation, dilationWFactor=dilation, fusedActivationFunction=activation)  # fmt: skip


def pool(padding: int, *, kernel: tuple[int, int], stride: int, activation: int = 0) -> Any:
    return options("Pool2D", padding=padding, strideH=stride, strideW=stride, filterHeight=kernel[0], filterWidth=kernel[1], fusedActivationFunction=activation)  # fmt: skip


def unary(kind: str, table: Any = None, *, positive: bool = False, out: str = "FLOAT32") -> Op:
    return Op(kind, (IMAGE,), (IMAGE,), table, positive=positive, out=out)


def binary(kind: str, table: Any = None, *, out: str = "FLOAT32", positive: bool = False) -> list[Op]:
    return [
        Op(kind, (IMAGE, reals(4) ** 2 + 0.1), (IMAGE,), table, out, positive, "constant"),
        Op(kind, (IMAGE, IMAGE), (IMAGE,), table, out, positive, "computed"),
        Op(kind, (IMAGE, (6, 5, 4)), (IMAGE,), table, out, positive, "ranks"),
    ]


AXES = {"images": ints(1, 2), "channels": ints(-1), "rows": ints(1), "all": ints(0, 1, 2, 3)}


def reduced(shape: tuple[int, ...], axes: NDArray[np.int32], *, keep: bool) -> tuple[int, ...]:
    gone = {int(axis) % len(shape) for axis in axes}
    return tuple(1 if axis in gone else extent for axis, extent in enumerate(shape) if keep or axis not in gone)  # fmt: skip


def reductions(kind: str) -> list[Op]:
    return [
        Op(kind, (IMAGE, axes), (reduced(IMAGE, axes, keep=keep),), options("Reducer", keepDims=keep), label=f"{name}{'-kept' if keep else ''}")
        for name, axes in AXES.items()
        for keep in (True, False)
    ]  # fmt: skip


OPS: tuple[Op, ...] = (
    *(unary(kind) for kind in ("CEIL", "FLOOR", "RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1", "ROUND", "ELU", "LOGISTIC", "TANH")),
    *(unary(kind, positive=True) for kind in ("LOG", "SQRT", "RSQRT", "SIN")),
    *(unary(kind, options(name)) for kind, name in (("ABS", "Abs"), ("COS", "Cos"), ("EXP", "Exp"), ("NEG", "Neg"), ("SIGN", "Sign"), ("SQUARE", "Square"), ("HARD_SWISH", "HardSwish"), ("LOG_SOFTMAX", "LogSoftmax"))),
    unary("LEAKY_RELU", options("LeakyRelu", alpha=0.3)),
    unary("GELU", options("Gelu", approximate=True)),
    Op("GELU", (IMAGE,), (IMAGE,), options("Gelu"), label="erf"),
    unary("SOFTMAX", options("Softmax", beta=1.0)),
    Op("SOFTMAX", (IMAGE,), (IMAGE,), options("Softmax", beta=0.5), label="beta"),
    unary("L2_NORMALIZATION", options("L2Norm")),
    *binary("ADD", options("Add", fusedActivationFunction=1)),
    *binary("SUB", options("Sub", fusedActivationFunction=2)),
    *binary("MUL", options("Mul", fusedActivationFunction=3)),
    *binary("DIV", options("Div"), positive=True),
    *binary("MAXIMUM", options("MaximumMinimum")),
    *binary("MINIMUM", options("MaximumMinimum")),
    *binary("POW", options("Pow"), positive=True),
    *binary("SQUARED_DIFFERENCE", options("SquaredDifference")),
    *binary("FLOOR_DIV", options("FloorDiv"), positive=True),
    *binary("FLOOR_MOD", options("FloorMod"), positive=True),
    *(op for kind, name in (("EQUAL", "Equal"), ("NOT_EQUAL", "NotEqual"), ("LESS", "Less"), ("LESS_EQUAL", "LessEqual"), ("GREATER", "Greater"), ("GREATER_EQUAL", "GreaterEqual")) for op in binary(kind, options(name), out="BOOL")),
    Op("ADD_N", (IMAGE, IMAGE, IMAGE), (IMAGE,), options("AddN")),
    Op("CAST", (IMAGE,), (IMAGE,), options("Cast"), out="INT32", label="int"),
    Op("CAST", (IMAGE,), (IMAGE,), options("Cast"), out="BOOL", label="bool"),
    Op("PRELU", (IMAGE, reals(1, 1, 4)), (IMAGE,)),
    Op("CONV_2D", (IMAGE, reals(3, 3, 2, 4), reals(3)), ((1, 6, 5, 3),), conv(0, activation=1), label="same"),
    Op("CONV_2D", (IMAGE, reals(3, 3, 3, 4), reals(3)), ((1, 3, 3, 3),), conv(0, stride=2, activation=3), label="same-stride"),
    Op("CONV_2D", (IMAGE, reals(3, 2, 2, 4), reals(3)), ((1, 5, 4, 3),), conv(1), label="valid"),
    Op("CONV_2D", (IMAGE, reals(3, 2, 2, 4), reals(3)), ((1, 4, 3, 3),), conv(1, dilation=2), label="dilated"),
    Op("CONV_2D", (IMAGE, reals(4, 3, 3, 2), reals(4)), ((1, 6, 5, 4),), conv(0), label="groups"),
    Op("DEPTHWISE_CONV_2D", (IMAGE, reals(1, 3, 3, 8), reals(8)), ((1, 3, 3, 8),), options("DepthwiseConv2D", padding=0, strideH=2, strideW=2, depthMultiplier=2, fusedActivationFunction=2)),
    Op("TRANSPOSE_CONV", (ints(1, 12, 10, 3), reals(3, 3, 3, 4), IMAGE), ((1, 12, 10, 3),), options("TransposeConv", padding=0, strideH=2, strideW=2), label="same"),
    Op("TRANSPOSE_CONV", (ints(1, 11, 9, 3), reals(3, 3, 3, 4), IMAGE, reals(3)), ((1, 11, 9, 3),), options("TransposeConv", padding=0, strideH=2, strideW=2, fusedActivationFunction=1), label="same-odd"),
    Op("TRANSPOSE_CONV", (ints(1, 13, 11, 3), reals(3, 3, 3, 4), IMAGE), ((1, 13, 11, 3),), options("TransposeConv", padding=1, strideH=2, strideW=2), label="valid"),
    Op("TRANSPOSE_CONV", (ints(1, 14, 12, 3), reals(3, 3, 3, 4), IMAGE), ((1, 14, 12, 3),), options("TransposeConv", padding=1, strideH=2, strideW=2), label="valid-beyond"),
    Op("FULLY_CONNECTED", ((2, 6), reals(3, 6), reals(3)), ((2, 3),), options("FullyConnected", fusedActivationFunction=1)),
    Op("FULLY_CONNECTED", (IMAGE, reals(3, 120), reals(3)), ((1, 3),), options("FullyConnected"), label="flattens"),
    Op("FULLY_CONNECTED", (IMAGE, reals(3, 4), None), ((1, 6, 5, 3),), options("FullyConnected", keepNumDims=True), label="keeps"),
    Op("BATCH_MATMUL", ((2, 3, 4), (2, 4, 5)), ((2, 3, 5),), options("BatchMatMul")),
    Op("BATCH_MATMUL", ((2, 4, 3), (2, 5, 4)), ((2, 3, 5),), options("BatchMatMul", adjX=True, adjY=True), label="adjoint"),
    Op("BATCH_MATMUL", ((2, 3, 4), reals(2, 5, 4)), ((2, 3, 5),), options("BatchMatMul", adjY=True), label="constant"),
    Op("MAX_POOL_2D", (IMAGE,), ((1, 3, 3, 4),), pool(0, kernel=(3, 2), stride=2, activation=1), label="same"),
    Op("MAX_POOL_2D", (IMAGE,), ((1, 2, 2, 4),), pool(1, kernel=(3, 2), stride=2), label="valid"),
    Op("AVERAGE_POOL_2D", (IMAGE,), ((1, 3, 3, 4),), pool(0, kernel=(3, 3), stride=2), label="same"),
    Op("AVERAGE_POOL_2D", (IMAGE,), ((1, 1, 1, 4),), pool(1, kernel=(6, 5), stride=1), label="whole"),
    Op("L2_POOL_2D", (IMAGE,), ((1, 3, 3, 4),), pool(0, kernel=(3, 3), stride=2)),
    *(op for kind in ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD") for op in reductions(kind)),
    Op("ARG_MAX", (IMAGE, ints(3)), ((1, 6, 5),), options("ArgMax", outputType=2), out="INT32", label="channels"),
    Op("ARG_MIN", (IMAGE, ints(1)), ((1, 5, 4),), options("ArgMin", outputType=4), out="INT64", label="rows"),
    Op("CUMSUM", (IMAGE, np.asarray(2, np.int32)), (IMAGE,), options("Cumsum", exclusive=True)),
    Op("CONCATENATION", (IMAGE, IMAGE, reals(*IMAGE)), ((1, 6, 5, 12),), options("Concatenation", axis=-1)),
    Op("SPLIT", (ints(3), IMAGE), ((1, 6, 5, 2), (1, 6, 5, 2)), options("Split", numSplits=2)),
    Op("SPLIT_V", (IMAGE, ints(1, 3, 2), ints(1)), ((1, 1, 5, 4), (1, 3, 5, 4), (1, 2, 5, 4)), options("SplitV", numSplits=3)),
    Op("SLICE", (IMAGE, ints(0, 1, 0, 2), ints(1, -1, 3, 2)), ((1, 5, 3, 2),), options("Slice")),
    Op("STRIDED_SLICE", (IMAGE, ints(0, 0, 1, 0), ints(0, -1, 5, 4), ints(1, 2, 1, 3)), ((1, 3, 4, 2),), options("StridedSlice", beginMask=2, endMask=1), label="masks"),
    Op("STRIDED_SLICE", (IMAGE, ints(0, 0, 4, -1), ints(1, 1, 0, 0), ints(1, 1, -1, 1)), ((6, 5),), options("StridedSlice", beginMask=6, endMask=6, shrinkAxisMask=9), label="shrinks"),
    Op("STRIDED_SLICE", (IMAGE, ints(0, 0, 1), ints(0, 0, 3), ints(1, 1, 1)), ((1, 6, 5, 1, 2),), options("StridedSlice", ellipsisMask=1, newAxisMask=2), label="ellipsis"),
    Op("REVERSE_V2", (IMAGE, ints(2)), (IMAGE,), options("ReverseV2")),
    Op("PAD", (IMAGE, ints([0, 0], [1, 2], [0, 1], [0, 0])), ((1, 9, 6, 4),), options("Pad")),
    Op("PADV2", (IMAGE, ints([0, 0], [1, 2], [0, 1], [0, 0]), np.asarray([-3.0], np.float32)), ((1, 9, 6, 4),), options("PadV2")),
    Op("MIRROR_PAD", (IMAGE, ints([0, 0], [2, 1], [1, 1], [0, 0])), ((1, 9, 7, 4),), options("MirrorPad", mode=0), label="reflect"),
    Op("MIRROR_PAD", (IMAGE, ints([0, 0], [1, 1], [1, 0], [0, 0])), ((1, 8, 6, 4),), options("MirrorPad", mode=1), label="symmetric"),
    Op("RESHAPE", (IMAGE, ints(1, -1)), ((1, 120),), options("Reshape")),
    Op("SQUEEZE", ((1, 6, 1, 4),), ((6, 4),), options("Squeeze"), label="all"),
    Op("SQUEEZE", ((1, 6, 1, 4),), ((1, 6, 4),), options("Squeeze", squeezeDims=[-2]), label="one"),
    Op("EXPAND_DIMS", (IMAGE, np.asarray(-1, np.int32)), ((*IMAGE, 1),), options("ExpandDims")),
    Op("TRANSPOSE", (IMAGE, ints(0, 3, 1, 2)), ((1, 4, 6, 5),), options("Transpose"), label="first"),
    Op("TRANSPOSE", (IMAGE, ints(0, 2, 3, 1)), ((1, 5, 4, 6),), options("Transpose"), label="last"),
    Op("PACK", ((6, 4), (6, 4)), ((6, 2, 4),), options("Pack", axis=1, valuesCount=2)),
    Op("UNPACK", (IMAGE,), ((1, 6, 4),) * 5, options("Unpack", axis=2, num=5)),
    Op("TILE", (IMAGE, ints(1, 2, 1, 3)), ((1, 12, 5, 12),), options("Tile")),
    Op("BROADCAST_TO", ((1, 1, 5, 4), ints(1, 6, 5, 4)), (IMAGE,), options("BroadcastTo"), version=2),
    Op("GATHER", (IMAGE, ints(3, 0, 1)), ((1, 6, 5, 3),), options("Gather", axis=-1), label="channels"),
    Op("GATHER", (IMAGE, ints([3, 0], [1, 1])), ((1, 2, 2, 5, 4),), options("Gather", axis=1), label="matrix"),
    Op("GATHER_ND", (IMAGE, ints([0, 2], [0, 5])), ((2, 5, 4),), options("GatherNd")),
    Op("DEPTH_TO_SPACE", (IMAGE,), ((1, 12, 10, 1),), options("DepthToSpace", blockSize=2)),
    Op("SPACE_TO_DEPTH", ((1, 6, 4, 3),), ((1, 3, 2, 12),), options("SpaceToDepth", blockSize=2)),
    *(Op(kind, (IMAGE, ints(9, 4)), ((1, 9, 4, 4),), options(name, **{rule: True} if rule else {}), label=rule or "plain") for kind, name in (("RESIZE_BILINEAR", "ResizeBilinear"), ("RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighbor")) for rule in ("", "alignCorners", "halfPixelCenters")),
)  # fmt: skip

COMPOSED = {
    "DEQUANTIZE", "EMBEDDING_LOOKUP", "FILL", "LOGICAL_AND", "LOGICAL_NOT", "LOGICAL_OR", "ONE_HOT", "QUANTIZE", "RANGE", "REDUCE_ALL", "REDUCE_ANY",
    "SELECT", "SELECT_V2", "TOPK_V2",
}  # fmt: skip
"""Operators of tests of their own, below, in `test_tflite_inputs`, of quantized files and of the round trip."""


def agrees(data: bytes, folder: Path, *, positive: bool = False, tolerance: float = 1e-5) -> None:
    """Hold ONNX Runtime on the imported model against LiteRT on the file."""
    path = folder / "model.tflite"
    path.write_bytes(data)
    model = load(path)
    engine = Interpreter(
        model_content=data,
        num_threads=1,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    engine.allocate_tensors()
    rng, feed = np.random.default_rng(4), {}
    for one in engine.get_input_details():
        values = rng.normal(0, 1.5, one["shape"]).astype(one["dtype"])
        feed[one["name"]] = np.abs(values) + 0.1 if positive else values
        engine.set_tensor(one["index"], feed[one["name"]])
    engine.invoke()
    found = FloatRunner(model, threads=1).run({spec.name: feed[spec.name] for spec in model.inputs})
    for one in engine.get_output_details():
        wanted = engine.get_tensor(one["index"])
        assert found[one["name"]].dtype == wanted.dtype
        np.testing.assert_allclose(
            found[one["name"]], wanted, rtol=tolerance, atol=tolerance, err_msg=one["name"]
        )


def add_inputs(model: TfliteModel, given: tuple[Any, ...]) -> tuple[list[int], list[int]]:
    """Return the tensors of an operator's inputs, and those of them that are fed."""
    tensors, fed = [], []
    for place, one in enumerate(given):
        if one is None:
            tensors.append(-1)
        elif isinstance(one, tuple):
            tensors.append(model.tensor(f"in{place}", one, "FLOAT32"))
            fed.append(tensors[-1])
        else:
            tensors.append(model.tensor(f"c{place}", one.shape, KINDS[one.dtype.name], data=one))
    return tensors, fed


@pytest.mark.parametrize("op", OPS, ids=[op.name for op in OPS])
def test_alone(op: Op, tmp_path: Path) -> None:
    model = TfliteModel()
    tensors, fed = add_inputs(model, op.inputs)
    outs = [model.tensor(f"out{place}", shape, op.out) for place, shape in enumerate(op.outs)]
    model.operator(op.kind, tensors, outs, options=op.options, version=op.version)
    agrees(model.write(fed, outs), tmp_path, positive=op.positive)


@pytest.mark.parametrize("op", OPS, ids=[op.name for op in OPS])
def test_behind_and_before_a_convolution(op: Op, tmp_path: Path) -> None:
    """The same where images lie channels first: each fed input of four axes, and each float output of four, meets a CONV_2D."""
    model = TfliteModel()
    given, fed = add_inputs(model, op.inputs)
    for place, one in enumerate(op.inputs):
        if isinstance(one, tuple) and len(one) == 4:
            given[place] = pointwise(model, given[place], one, f"front{place}", offset=9.0 if op.positive else 0.0)  # fmt: skip
    outs = [model.tensor(f"out{place}", shape, op.out) for place, shape in enumerate(op.outs)]
    model.operator(op.kind, given, outs, options=op.options, version=op.version)
    if op.out == "FLOAT32":
        outs = [pointwise(model, out, shape, f"back{place}") if len(shape) == 4 else out for place, (out, shape) in enumerate(zip(outs, op.outs, strict=True))]  # fmt: skip
    agrees(model.write(fed, outs), tmp_path, positive=op.positive, tolerance=1e-3)


def pointwise(
    model: TfliteModel, data: int, shape: tuple[int, ...], name: str, *, offset: float = 0.0
) -> int:
    channels = shape[3]
    weights = np.eye(channels, dtype=np.float32).reshape(channels, 1, 1, channels) + 0.125
    w = model.tensor(f"{name}_w", weights.shape, "FLOAT32", data=weights)
    b = model.tensor(f"{name}_b", (channels,), "FLOAT32", data=np.full(channels, offset, np.float32))
    out = model.tensor(name, shape, "FLOAT32")
    model.operator("CONV_2D", [data, w, b], [out], options=conv(1))
    return out


def test_every_translator_is_here() -> None:
    assert {op.kind for op in OPS} | COMPOSED == set(TRANSLATORS)


def test_logic_and_choices(tmp_path: Path) -> None:
    model = TfliteModel()
    x, y = (model.tensor(name, IMAGE, "FLOAT32") for name in "xy")
    a, b, both, either, no = (model.tensor(name, IMAGE, "BOOL") for name in ("a", "b", "both", "either", "no"))  # fmt: skip
    zero = model.tensor("zero", (), "FLOAT32", data=np.zeros((), np.float32))
    model.operator("GREATER", [x, zero], [a], options=options("Greater"))
    model.operator("LESS", [y, zero], [b], options=options("Less"))
    model.operator("LOGICAL_AND", [a, b], [both], options=options("LogicalAnd"))
    model.operator("LOGICAL_OR", [a, b], [either], options=options("LogicalOr"))
    model.operator("LOGICAL_NOT", [both], [no], options=options("LogicalNot"))
    axes = model.tensor("axes", (2,), "INT32", data=ints(1, 2))
    every, some = (model.tensor(name, (1, 4), "BOOL") for name in ("every", "some"))
    model.operator("REDUCE_ALL", [no, axes], [every], options=options("Reducer"))
    model.operator("REDUCE_ANY", [both, axes], [some], options=options("Reducer"))
    picked, older = (model.tensor(name, IMAGE, "FLOAT32") for name in ("picked", "older"))
    model.operator("SELECT_V2", [either, x, zero], [picked], options=options("SelectV2"))
    model.operator("SELECT", [no, x, y], [older], options=options("Select"))
    outs = [no, every, some, picked, older]
    agrees(model.write([x, y], outs), tmp_path)


@pytest.mark.parametrize(("axis", "shape"), [(-1, (3, 4, 3)), (1, (3, 3, 4))])
@pytest.mark.parametrize("kind", ["FLOAT32", "INT32", "BOOL"])
def test_rows_of_one_hot_with_indices_of_which_some_are_negative(
    kind: str, axis: int, shape: tuple[int, ...], tmp_path: Path
) -> None:
    model = TfliteModel()
    x = model.tensor("x", (3, 4), "FLOAT32")
    indices, out = model.tensor("indices", (3, 4), "INT32"), model.tensor("out", shape, kind)
    model.operator("CAST", [x], [indices], options=options("Cast"))
    numpy_type = {"FLOAT32": np.float32, "INT32": np.int32, "BOOL": np.bool_}[kind]
    given = (np.asarray(3, np.int32), np.asarray(1, numpy_type), np.asarray(0, numpy_type))
    settings = [
        model.tensor(f"c{place}", (), KINDS[one.dtype.name], data=one) for place, one in enumerate(given)
    ]
    model.operator("ONE_HOT", [indices, *settings], [out], options=options("OneHot", axis=axis))
    agrees(model.write([x], [out]), tmp_path)


def test_a_computed_depth_is_refused(tmp_path: Path) -> None:
    model = TfliteModel()
    x, depth = model.tensor("x", (2,), "INT32"), model.tensor("depth", (), "INT32")
    on, off = (
        model.tensor(name, (), "FLOAT32", data=np.asarray(value, np.float32))
        for name, value in (("on", 1), ("off", 0))
    )
    out = model.tensor("out", (2, 3), "FLOAT32")
    model.operator("ONE_HOT", [x, depth, on, off], [out], options=options("OneHot", axis=-1))
    path = tmp_path / "model.tflite"
    path.write_bytes(model.write([x, depth], [out]))
    with pytest.raises(UnsupportedOperatorError, match="ONE_HOT 'out': its depth is computed"):
        load(path)


def test_a_vector_of_conditions_chooses_rows(tmp_path: Path) -> None:
    model = TfliteModel()
    x, y = (model.tensor(name, (3, 4), "FLOAT32") for name in "xy")
    condition = model.tensor("rows", (3,), "BOOL", data=np.asarray([True, False, True]))
    out = model.tensor("out", (3, 4), "FLOAT32")
    model.operator("SELECT", [condition, x, y], [out], options=options("Select"))
    agrees(model.write([x, y], [out]), tmp_path)
