"""Whatever is done to a file's bytes, it is read or refused as one `FileError`; what was read can be checked and shown."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host_tools.lint import report
from host_tools.lint.reading import FileError, read
from host_tools.lint.rules import check, precisions
from host_tools.lint.xnnpack import left_to_built_in
from targets import catalog
from tests.unit.host_tools.lint.mutations import mutated
from tests.unit.host_tools.lint.peers import (
    TfliteModel,
    fully_connected,
    onnx_conv,
    openvino_fake_quantized,
)
from tests.unit.host_tools.lower.uncalibrated_networks import made, network

PROFILES = [catalog.load(name) for name in ("amd-vitis-dpu", "cortex-a-tflite", "x86_64-openvino")]


def _openvino() -> tuple[bytes, bytes]:
    with TemporaryDirectory() as folder:
        path = openvino_fake_quantized(Path(folder))
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()


def _looked_up(target: str) -> tuple[bytes, ...]:
    """Return the files of a product with a codebook, whose indices lie in pairs."""
    weights = {"w": np.random.default_rng(0).standard_normal((65, 97)).astype(np.float32)}
    with TemporaryDirectory() as folder:
        text = "net (float[1,65] x) => (float[1,97] y) { y = MatMul (x, w) }"
        model = network(Path(folder), text, weights)
        return tuple(made(model, target, "weights-kmeans4")[2].files.values())


XML, BIN = _openvino()
(LOOKED_UP,) = _looked_up("x86_64-onnxruntime")
LOOKED_UP_XML, LOOKED_UP_BIN = _looked_up("x86_64-openvino")
FILES = {
    ".tflite": fully_connected(version=12, per_channel=True),
    ".onnx": onnx_conv(activation="Relu"),
    ".xml": XML,
}


def outcome(ending: str, data: bytes, weights: bytes = BIN) -> bool:
    """Read, check and show; tell whether the file was sound."""
    with TemporaryDirectory() as folder:
        path = Path(folder, f"file{ending}")
        path.write_bytes(data)
        path.with_suffix(".bin").write_bytes(weights)
        try:
            file = read(path)
        except FileError as error:
            assert str(path) in str(error)
            return False
        for profile in PROFILES:
            findings, counted = check(file, profile), precisions(file, profile)
            shown = report.render(findings, counted, path="file", target=profile.id)
            assert all(letter.isprintable() or letter == "\n" for letter in shown)
            assert report.data(findings, counted, path="file", target=profile.id)
        if file.format == "tflite":
            assert len(left_to_built_in(file)) == len(file.ops)
        return True


@pytest.mark.parametrize("ending", FILES)
def test_the_files_themselves_are_sound(ending: str) -> None:
    assert outcome(ending, FILES[ending])


@settings(max_examples=150, deadline=None)
@given(data=mutated(FILES[".tflite"]))
def test_tflite(data: bytes) -> None:
    outcome(".tflite", data)


@settings(max_examples=150, deadline=None)
@given(data=mutated(FILES[".onnx"]))
def test_onnx(data: bytes) -> None:
    outcome(".onnx", data)


@settings(max_examples=150, deadline=None)
@given(data=mutated(XML), weights=st.one_of(st.just(BIN), mutated(BIN)))
def test_openvino(data: bytes, weights: bytes) -> None:
    outcome(".xml", data, weights)


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=300), ending=st.sampled_from(list(FILES)), has_mark=st.booleans())
def test_noise(data: bytes, ending: str, has_mark: bool) -> None:
    outcome(ending, data[:4] + b"TFL3" + data[4:] if has_mark else data)


@settings(max_examples=100, deadline=None)
@given(
    values=st.dictionaries(
        st.sampled_from(
            ["levels", "offset", "size", "strides", "kernel", "axis", "version", "id", "element_type"]
        ),
        st.sampled_from(["", "-1", "0", "1", "99999999999999999999", "1e9", "nan", "u8", "1,2", "x"]),
        min_size=1,
    ),
    skip=st.integers(0, 6),
)
def test_attributes_that_say_something_else(values: dict[str, str], skip: int) -> None:
    text = XML.decode()
    for name, value in values.items():
        pieces = text.split(f' {name}="')
        if len(pieces) > skip + 1:
            head, tail = f' {name}="'.join(pieces[: skip + 1]), f' {name}="'.join(pieces[skip + 1 :])
            text = f'{head} {name}="{value}"{tail[tail.index(chr(34)) + 1 :]}'
    outcome(".xml", text.encode())


def test_every_bit_of_an_onnx_file() -> None:
    """Protobuf hands out text that is not UTF-8 as bytes: found by flipping the first bit of a letter."""
    data = FILES[".onnx"]
    sound = sum(
        outcome(".onnx", data[:at] + bytes([data[at] ^ 0x80]) + data[at + 1 :]) for at in range(len(data))
    )
    assert 0 < sound < len(data)


def test_entities_that_grow_without_end_are_refused() -> None:
    bomb = '<?xml version="1.0"?><!DOCTYPE net [<!ENTITY a "aaaaaaaaaa">'
    bomb += "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9))
    bomb += ']><net version="11"><layers><layer id="&j;"/></layers></net>'
    for data in (bomb.encode(), bomb.encode("utf-16")):
        assert not outcome(".xml", data)


def test_depth_without_end_is_refused() -> None:
    assert not outcome(".xml", b'<net version="11">' + b"<a>" * 100_000)


def test_one_long_vector_that_many_tables_name_does_not_fill_the_memory(tmp_path: Path) -> None:
    """A file of 1.3 MB whose 20,000 tensors share 100,000 scales: 2,000,000,000 numbers if each had its own."""
    model = TfliteModel()
    scales = [0.5] * 100_000
    model.tensor("x", (1,), scale=scales)
    shared = model.tensors[0]
    model.tensors = [shared] * 20_000
    model.operator("TANH", [0], [1])
    path = tmp_path / "shared.tflite"
    path.write_bytes(_with_shared_tensor(model))
    assert path.stat().st_size < 2_000_000
    with pytest.raises(FileError, match="more than 16777216 numbers"):
        read(path)


def _with_shared_tensor(model: TfliteModel) -> bytes:
    """Write the model with one table for all its equal tensors, as no honest writer does."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    builder = flatbuffers.Builder(1 << 20)
    tensor = model.tensors[0].Pack(builder)
    builder.StartVector(4, len(model.tensors), 4)
    for _ in model.tensors:
        builder.PrependUOffsetTRelative(tensor)
    tensors = builder.EndVector()
    operators = [one.Pack(builder) for one in model.operators]
    builder.StartVector(4, len(operators), 4)
    for one in reversed(operators):
        builder.PrependUOffsetTRelative(one)
    ops = builder.EndVector()
    schema.SubGraphStart(builder)
    schema.SubGraphAddTensors(builder, tensors)
    schema.SubGraphAddOperators(builder, ops)
    graph = schema.SubGraphEnd(builder)
    pieces = []
    for items in (
        [graph],
        [one.Pack(builder) for one in model.codes],
        [one.Pack(builder) for one in model.buffers],
    ):
        builder.StartVector(4, len(items), 4)
        for one in reversed(items):
            builder.PrependUOffsetTRelative(one)
        pieces.append(builder.EndVector())
    schema.ModelStart(builder)
    schema.ModelAddVersion(builder, 3)
    schema.ModelAddSubgraphs(builder, pieces[0])
    schema.ModelAddOperatorCodes(builder, pieces[1])
    schema.ModelAddBuffers(builder, pieces[2])
    builder.Finish(schema.ModelEnd(builder), b"TFL3")
    return bytes(builder.Output())


@settings(max_examples=150, deadline=None)
@given(data=mutated(LOOKED_UP))
def test_onnx_that_looks_numbers_up(data: bytes) -> None:
    outcome(".onnx", data)


@settings(max_examples=150, deadline=None)
@given(data=mutated(LOOKED_UP_XML))
def test_openvino_that_looks_numbers_up(data: bytes) -> None:
    outcome(".xml", data, LOOKED_UP_BIN)


def test_files_that_look_numbers_up_are_sound() -> None:
    assert outcome(".onnx", LOOKED_UP)
    assert outcome(".xml", LOOKED_UP_XML, LOOKED_UP_BIN)
