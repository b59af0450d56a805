"""What comes in as TFLite: weights in little space, shapes that are worked out, open shapes, and what is refused and how."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from device_agent.contract.errors import EdgewrightError
from host_tools.errors import ModelError, UnsupportedOperatorError
from host_tools.model import FloatModel, load
from host_tools.model.from_tflite.translate import TRANSLATORS
from host_tools.model.reference import FloatRunner
from tests.unit.host_tools.lint.peers import TfliteModel
from tests.unit.host_tools.model.test_tflite_operators_in import agrees, conv, ints, options, reals

ROOT = Path(__file__).parents[4]


def loaded(data: bytes, folder: Path, **shapes: tuple[int, ...]) -> FloatModel:
    path = folder / "model.tflite"
    path.write_bytes(data)
    return load(path, shapes=shapes)


def dense(model: TfliteModel, x: int, w: int, outputs: int, name: str = "y", *, rows: int = 1) -> int:
    bias = model.tensor(f"{name}_b", (outputs,), "FLOAT32", data=np.linspace(-1, 1, outputs, dtype=np.float32))  # fmt: skip
    y = model.tensor(name, (rows, outputs), "FLOAT32")
    model.operator("FULLY_CONNECTED", [x, w, bias], [y], options=options("FullyConnected"))
    return y


# --- Weights in little space ---


def test_half_floats_become_floats(tmp_path: Path) -> None:
    model = TfliteModel()
    x = model.tensor("x", (1, 6), "FLOAT32")
    halves = model.tensor("halves", (3, 6), "FLOAT16", data=reals(3, 6).astype(np.float16))
    w = model.tensor("w", (3, 6), "FLOAT32")
    model.operator("DEQUANTIZE", [halves], [w], options=options("Dequantize"))
    data = model.write([x], [dense(model, x, w, 3)])
    agrees(data, tmp_path)
    found = loaded(data, tmp_path)
    assert [node.op_type for node in found.graph.graph] == ["Gemm"]
    assert "18 weights are stored as float16" in found.notes[0]


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("written_out", [False, True], ids=["hybrid", "dequantize"])
def test_weights_of_eight_bits_become_floats(written_out: bool, per_channel: bool, tmp_path: Path) -> None:
    codes = np.random.default_rng(1).integers(-127, 128, (3, 6)).astype(np.int8)
    scale = [0.01, 0.02, 0.005] if per_channel else [0.01]
    model = TfliteModel()
    x = model.tensor("x", (1, 6), "FLOAT32")
    w = model.tensor("codes", (3, 6), "INT8", scale=scale, zero_point=[0], data=codes)
    if written_out:
        stored, w = w, model.tensor("w", (3, 6), "FLOAT32")
        model.operator("DEQUANTIZE", [stored], [w], options=options("Dequantize"), version=2)
    data = model.write([x], [dense(model, x, w, 3)])
    found = loaded(data, tmp_path)
    feed = np.random.default_rng(2).normal(size=(1, 6)).astype(np.float32)
    real = codes.astype(np.float32) * np.reshape(scale, (-1, 1))
    wanted = feed @ real.T + np.linspace(-1, 1, 3)
    np.testing.assert_allclose(FloatRunner(found, threads=1).run({"x": feed})["y"], wanted, atol=1e-5)
    assert "18 weights are stored as int8" in found.notes[0]
    if written_out:
        agrees(data, tmp_path)


def test_weights_of_four_bits_become_floats(tmp_path: Path) -> None:
    codes = np.asarray([[-8, 7, 0, 3], [1, -2, 5, -1]], np.int8)
    packed = (codes.reshape(-1)[::2] & 0xF) | ((codes.reshape(-1)[1::2] & 0xF) << 4)
    model = TfliteModel()
    x = model.tensor("x", (1, 4), "FLOAT32")
    w = model.tensor("codes", (2, 4), "INT4", scale=[0.1], zero_point=[0], data=packed.astype(np.uint8))
    found = loaded(model.write([x], [dense(model, x, w, 2)]), tmp_path)
    said = FloatRunner(found, threads=1).run({"x": np.ones((1, 4), np.float32)})["y"]
    np.testing.assert_allclose(said, [codes.sum(axis=1) * 0.1 + [-1, 1]], atol=1e-6)


# --- Shapes that are worked out, and open ones ---


def flattened_by_its_own_shape(signature: tuple[int, ...] | None = None) -> bytes:
    """SHAPE, STRIDED_SLICE, PACK, RESHAPE, as converters write a Flatten of an open batch; an embedding of constants beside it."""
    model = TfliteModel()
    x = model.tensor("x", (1, 3, 2, 2), "FLOAT32", signature=signature)
    shape, batch = model.tensor("shape", (4,), "INT32"), model.tensor("batch", (), "INT32")
    lists = [model.tensor(f"l{place}", (1,), "INT32", data=ints(value)) for place, value in enumerate((0, 1, 1))]  # fmt: skip
    rest, wanted = model.tensor("rest", (), "INT32", data=np.asarray(12, np.int32)), model.tensor("wanted", (2,), "INT32")  # fmt: skip
    flat = model.tensor("flat", (1, 12), "FLOAT32")
    model.operator("SHAPE", [x], [shape], options=options("Shape", outType=2))
    model.operator("STRIDED_SLICE", [shape, *lists], [batch], options=options("StridedSlice", shrinkAxisMask=1))  # fmt: skip
    model.operator("PACK", [batch, rest], [wanted], options=options("Pack", axis=0, valuesCount=2))
    model.operator("RESHAPE", [x, wanted], [flat], options=options("Reshape"))
    words = model.tensor("words", (5, 4), "FLOAT32", data=reals(5, 4))
    which, row = model.tensor("which", (1,), "INT32", data=ints(3)), model.tensor("row", (1, 4), "FLOAT32")
    model.operator("EMBEDDING_LOOKUP", [which, words], [row])
    joined = model.tensor("joined", (1, 16), "FLOAT32")
    if signature is None:
        model.operator("CONCATENATION", [flat, row], [joined], options=options("Concatenation", axis=1))
    else:
        model.operator("FULLY_CONNECTED", [flat, model.tensor("w", (16, 12), "FLOAT32", data=reals(16, 12)), -1], [joined], options=options("FullyConnected"))  # fmt: skip
    return model.write([x], [joined])


def test_a_shape_that_is_worked_out_is_constant(tmp_path: Path) -> None:
    data = flattened_by_its_own_shape()
    agrees(data, tmp_path)
    assert [node.op_type for node in loaded(data, tmp_path).graph.graph] == ["Reshape", "Concat"]


def test_parts_of_nothing_and_whole_quotients_are_arithmetic_of_shapes(tmp_path: Path) -> None:
    """As tf.signal.frame writes it: SPLIT_V of a shape with a part of nothing, which a CONCATENATION takes up again."""
    model = TfliteModel()
    x, shape = model.tensor("x", (1, 12), "FLOAT32"), model.tensor("shape", (2,), "INT32")
    sizes, axis = model.tensor("sizes", (3,), "INT32", data=ints(1, 1, 0)), model.tensor("axis", (), "INT32", data=np.asarray(0, np.int32))  # fmt: skip
    batch, length, nothing = (model.tensor(name, (count,), "INT32") for name, count in (("batch", 1), ("length", 1), ("nothing", 0)))  # fmt: skip
    five, six = (model.tensor(f"c{value}", (1,), "INT32", data=ints(value)) for value in (5, 6))
    rows, wanted = model.tensor("rows", (1,), "INT32"), model.tensor("wanted", (3,), "INT32")
    y = model.tensor("y", (1, 2, 6), "FLOAT32")
    model.operator("SHAPE", [x], [shape], options=options("Shape", outType=2))
    model.operator("SPLIT_V", [shape, sizes, axis], [batch, length, nothing], options=options("SplitV", numSplits=3))  # fmt: skip
    model.operator("FLOOR_DIV", [length, five], [rows], options=options("FloorDiv"))
    model.operator("CONCATENATION", [batch, rows, nothing, six], [wanted], options=options("Concatenation", axis=0))  # fmt: skip
    model.operator("RESHAPE", [x, wanted], [y], options=options("Reshape"))
    data = model.write([x], [y])
    agrees(data, tmp_path)
    assert [node.op_type for node in loaded(data, tmp_path).graph.graph] == ["Reshape"]


def test_an_open_batch_is_the_file_s_or_the_user_s(tmp_path: Path) -> None:
    data = flattened_by_its_own_shape((-1, 3, 2, 2))
    found = loaded(data, tmp_path)
    assert (found.inputs[0].shape, found.outputs[0].shape) == ((1, 3, 2, 2), (1, 16))
    assert "--shape x=1,3,2,2" in found.notes[0]
    two = loaded(data, tmp_path, x=(2, 3, 2, 2))
    assert (two.inputs[0].shape, two.outputs[0].shape) == ((2, 3, 2, 2), (2, 16))
    assert not any("--shape" in note for note in two.notes)
    with pytest.raises(ModelError, match="x"):
        loaded(data, tmp_path, x=(2, 4, 2, 2))


def test_counters_and_fills_are_computed_at_once(tmp_path: Path) -> None:
    model = TfliteModel()
    x = model.tensor("x", (2, 4), "FLOAT32")
    ends = [model.tensor(f"e{at}", (), "FLOAT32", data=np.asarray(value, np.float32)) for at, value in enumerate((0, 4, 1))]  # fmt: skip
    count, filled, sum_, out = (model.tensor(name, (2, 4)[at:], "FLOAT32") for at, name in ((1, "count"), (0, "filled"), (0, "sum"), (0, "out")))  # fmt: skip
    model.operator("RANGE", ends, [count], options=options("Range"))
    dims = model.tensor("dims", (2,), "INT32", data=ints(2, 4))
    model.operator("FILL", [dims, ends[1]], [filled], options=options("Fill"))
    model.operator("ADD", [filled, count], [sum_], options=options("Add"))
    model.operator("MUL", [x, sum_], [out], options=options("Mul"))
    data = model.write([x], [out])
    agrees(data, tmp_path)
    assert [node.op_type for node in loaded(data, tmp_path).graph.graph] == ["Mul"]


def test_a_file_that_is_channels_first_needs_no_transpose(tmp_path: Path) -> None:
    """Exported from PyTorch: TRANSPOSE in front of and behind what TFLite wants channels last."""
    model = TfliteModel()
    x, inner = model.tensor("x", (1, 4, 6, 5), "FLOAT32"), model.tensor("inner", (1, 6, 5, 4), "FLOAT32")
    last, first = model.tensor("last", (4,), "INT32", data=ints(0, 2, 3, 1)), model.tensor("first", (4,), "INT32", data=ints(0, 3, 1, 2))  # fmt: skip
    w, b = model.tensor("w", (2, 3, 3, 4), "FLOAT32", data=reals(2, 3, 3, 4)), model.tensor("b", (2,), "FLOAT32", data=reals(2))  # fmt: skip
    image, out = model.tensor("image", (1, 6, 5, 2), "FLOAT32"), model.tensor("out", (1, 2, 6, 5), "FLOAT32")
    model.operator("TRANSPOSE", [x, last], [inner], options=options("Transpose"))
    model.operator("CONV_2D", [inner, w, b], [image], options=conv(0))
    model.operator("TRANSPOSE", [image, first], [out], options=options("Transpose"))
    data = model.write([x], [out])
    agrees(data, tmp_path)
    assert [node.op_type for node in loaded(data, tmp_path).graph.graph] == ["Conv"]


# --- Refused ---


def refused(data: bytes, folder: Path) -> EdgewrightError:
    with pytest.raises(ModelError) as caught:
        loaded(data, folder)
    assert caught.value.hint
    return caught.value


def one(kind: str, given: list[Any], *, out: tuple[int, ...] = (1, 4), table: Any = None, custom: str | None = None) -> bytes:  # fmt: skip
    """Return a file of one operator; a shape is fed, an array is constant."""
    model = TfliteModel()
    tensors = [
        model.tensor(f"t{place}", value, "FLOAT32")
        if isinstance(value, tuple)
        else model.tensor(f"t{place}", value.shape, "INT32" if value.dtype == np.int32 else "FLOAT32", data=value)
        for place, value in enumerate(given)
    ]  # fmt: skip
    y = model.tensor("y", out, "FLOAT32")
    model.operator(kind, tensors, [y], options=table, custom=custom)
    return model.write([tensor for tensor, value in zip(tensors, given, strict=True) if isinstance(value, tuple)], [y])  # fmt: skip


IMAGE = (1, 4, 4, 2)
UNSUPPORTED = {
    "custom": (one("CUSTOM", [(1, 4)], custom="Mine"), "custom 'Mine' 'y' is an operator of somebody's own"),
    "control flow": (one("WHILE", [(1, 4)]), "WHILE 'y' is control flow"),
    "not translated": (one("UNIDIRECTIONAL_SEQUENCE_LSTM", [(1, 4)]), "is not translated from TFLite"),
    "computed weights": (one("CONV_2D", [IMAGE, (2, 1, 1, 2)], table=conv(0)), "its input 1 depends on the data"),
    "computed axes": (one("MEAN", [(1, 4), (1,)], table=options("Reducer")), "its input 1 depends on the data"),
    "mirror": (one("MIRROR_PAD", [(1, 4), ints([0, 0], [2, 0])], table=options("MirrorPad", mode=1)), "mirrors up to 2 elements"),
    "tanh": (one("ADD", [(1, 4), (1, 4)], table=options("Add", fusedActivationFunction=4)), "fused activation is TANH"),
    "batched gather": (one("GATHER", [(1, 4), ints([0])], table=options("Gather", batchDims=1)), "batch by batch"),
    "shuffled weights": (one("FULLY_CONNECTED", [(1, 4), reals(4, 4)], table=options("FullyConnected", weightsFormat=1)), "another order"),
    "two rules": (one("RESIZE_BILINEAR", [IMAGE, ints(2, 2)], table=options("ResizeBilinear", alignCorners=True, halfPixelCenters=True)), "at once"),
    "too far": (one("TRANSPOSE_CONV", [ints(1, 20, 20, 2), reals(2, 1, 1, 2), IMAGE], table=options("TransposeConv", strideH=1, strideW=1, padding=1)), "reaches beyond"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_is_not_translated_is_named(name: str, tmp_path: Path) -> None:
    data, said = UNSUPPORTED[name]
    path = tmp_path / "model.tflite"
    path.write_bytes(data)
    with pytest.raises(UnsupportedOperatorError) as caught:
        load(path)
    assert said in str(caught.value)


def wired(**changes: Any) -> bytes:
    """Return two TANH in a row with their wires changed."""
    model = TfliteModel()
    names = changes.get("names", ("x", "m", "y"))
    x, m, y = (model.tensor(name, (1, 4), changes.get("kind", "FLOAT32")) for name in names)
    model.operator("TANH", [changes.get("first", x)], [m])
    model.operator("TANH", [changes.get("second", m)], [changes.get("into", y)])
    return model.write(changes.get("inputs", [x]), changes.get("outputs", [y]))


UNSOUND = {
    "a cycle": (wired(first=2), "it reads 'y', which nothing writes before"),
    "read before it is written": (wired(first=1), "it reads 'm', which nothing writes before"),
    "written twice": (wired(into=1, outputs=[1]), "it writes 'm', which has a value already"),
    "writes an input": (wired(into=0), "it writes 'x', which has a value already"),
    "an output that nothing writes": (wired(into=1), "which"),
    "an input that is an output": (wired(outputs=[0]), "'x' is an input and an output"),
    "an input without a number": (wired(kind="STRING"), "Input 'x' is string"),
    "two inputs of one name": (wired(names=("x", "x", "y"), inputs=[0, 1]), "Two inputs of the file are called 'x'"),
    "strides of 0": (one("MAX_POOL_2D", [IMAGE], table=options("Pool2D", strideH=0, strideW=1, filterHeight=1, filterWidth=1)), "StrideH is 0"),
    "channels that do not fit": (one("CONV_2D", [IMAGE, reals(2, 1, 1, 3), reals(2)], table=conv(0)), "read 2 channels"),
    "a bias that does not fit": (one("CONV_2D", [IMAGE, reals(2, 1, 1, 2), reals(3)], table=conv(0)), "3 biases of 2 channels"),
    "a depth that does not fit": (one("DEPTHWISE_CONV_2D", [IMAGE, reals(1, 1, 1, 3)], table=options("DepthwiseConv2D", strideH=1, strideW=1)), "read 2 channels"),
    "inputs that do not fit": (one("FULLY_CONNECTED", [(1, 4), reals(2, 3)], table=options("FullyConnected")), "read [1, 4]"),
    "operands that do not fit": (one("ADD", [(1, 4), (1, 3)], table=options("Add")), "as Add of ONNX"),
    "types that do not fit": (one("ADD", [(1, 4), ints(1)], table=options("Add")), "as Add of ONNX: its input 1 is a tensor(int32)"),
    "an axis that is none": (one("CONCATENATION", [(1, 4), (1, 4)], table=options("Concatenation", axis=7)), "axis 7 of 2"),
    "a shape that does not fit": (one("RESHAPE", [(1, 4), ints(3, -1)], table=options("Reshape")), "cannot be reshaped"),
    "a shape of more than memory": (one("BROADCAST_TO", [(1, 1), ints(1 << 30, 1 << 30)]), "would be"),
    "nothing of a slice": (one("STRIDED_SLICE", [(1, 4), ints(0, 3), ints(1, 1), ints(1, 1)], table=options("StridedSlice")), "it takes range(3, 1) of 4"),
    "slopes that do not fit": (one("PRELU", [(1, 4), reals(2, 4)]), "slopes of shape [2, 4]"),
    "elements beyond": (one("GATHER", [(1, 4), ints(4)], table=options("Gather", axis=1)), "it picks [4, 4] of 4 elements"),
    "a mirror beyond": (one("MIRROR_PAD", [(1, 4), ints([0, 0], [4, 0])], table=options("MirrorPad")), "it mirrors [0, 4, 0, 0]"),
    "pads below 0": (one("PAD", [(1, 4), ints([0, 0], [-1, 0])], table=options("Pad")), "paddings"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNSOUND)
def test_what_is_not_sound_is_told_with_its_place(name: str, tmp_path: Path) -> None:
    data, said = UNSOUND[name]
    assert said in str(refused(data, tmp_path))


def test_files_that_are_none(tmp_path: Path) -> None:
    sound = wired()
    for data, said in ((sound[:60], "not a sound .tflite file"), (b"ABCDxxxx" * 4, "expected the mark 'TFL3'"), (b"", "is empty")):  # fmt: skip
        assert said in str(refused(data, tmp_path))


def test_an_output_of_constants_is_refused(tmp_path: Path) -> None:
    data = one("TANH", [(1, 4)])
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    model.subgraphs[0].tensors[1].buffer = len(model.buffers)
    assert refused(_written_with(model, np.zeros(4, np.float32)), tmp_path)


def _written_with(model: Any, values: np.ndarray) -> bytes:
    import flatbuffers

    model.buffers.append(schema.BufferT(data=list(values.tobytes())))
    builder = flatbuffers.Builder(1 << 12)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_a_buffer_that_a_thousand_tensors_name_does_not_fill_the_memory(tmp_path: Path) -> None:
    """A file of 1.1 MB whose 200 convolutions read the same million codes as weights of their own: 0.8 GB as float32."""
    model = TfliteModel()
    codes = np.zeros((1024, 1024), np.int8)
    x = last = model.tensor("x", (1, 1024), "FLOAT32")
    w = model.tensor("w", codes.shape, "INT8", scale=[0.1], data=codes)
    for number in range(200):
        shared = model.tensor(f"w{number}", codes.shape, "INT8", scale=[0.1])
        model.tensors[shared].buffer = model.tensors[w].buffer
        after = model.tensor(f"y{number}", (1, 1024), "FLOAT32")
        model.operator("FULLY_CONNECTED", [last, shared, -1], [after], options=options("FullyConnected"))
        last = after
    data = model.write([x], [last])
    assert len(data) < 1_200_000
    assert "grow far beyond the file" in str(refused(data, tmp_path))


def test_the_docs_name_every_operator_that_is_translated() -> None:
    section = (ROOT / "docs" / "inputs.md").read_text(encoding="utf-8").partition("\n## TFLite\n")[2]
    listed = section.partition("\nTranslated:\n")[2].partition("\n\n")[0]
    assert re.findall(r"`(\w+)`", listed) == sorted({*TRANSLATORS, "RANK", "SHAPE"})
