"""`checkpoint`: files that PyTorch itself wrote are read, hostile and damaged ones are refused."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples.efficientnet_lite import restricted_pickle
from examples.efficientnet_lite.checkpoint import parse_checkpoint, read_checkpoint
from examples.efficientnet_lite.errors import CheckpointError

FOLDER = Path(__file__).parent / "checkpoints"
CONTAINERS = ("tensors_zip.pth", "tensors_legacy.pth")
MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
SYSTEM = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
ORDERED_DICT = b"ccollections\nOrderedDict\n)R"


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def integer(value: int) -> bytes:
    raw = value.to_bytes(16, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def integers(*values: int) -> bytes:
    return b"(" + b"".join(map(integer, values)) + b"t"


def tensor(
    name: str = "w",
    *,
    storage: str = "FloatStorage",
    key: str = "0",
    count: int = 6,
    offset: bytes = integer(0),
    shape: bytes = integers(2, 3),
    strides: bytes = integers(3, 1),
) -> bytes:
    """Opcodes that leave a name and a tensor on the stack."""
    reference = text("storage") + f"ctorch\n{storage}\n".encode() + text(key) + text("cpu") + integer(count)
    arguments = b"(" + reference + b"tQ" + offset + shape + strides + b"\x89" + ORDERED_DICT
    return text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"tR"


def program(*tensors: bytes) -> bytes:
    return b"\x80\x02" + ORDERED_DICT + b"(" + b"".join(tensors) + b"u."


def legacy(
    body: bytes,
    *,
    keys: object = ("0",),
    storages: bytes = struct.pack("<q6f", 6, *range(6)),
    protocol: object = 1001,
    system: object = SYSTEM,
) -> bytes:
    listed = list(keys) if isinstance(keys, tuple) else keys
    header = MAGIC + pickle.dumps(protocol, 2) + pickle.dumps(system, 2)
    return header + body + pickle.dumps(listed, 2) + storages


def zipped(
    body: bytes,
    *,
    storage: bytes = struct.pack("<6f", *range(6)),
    compression: int = zipfile.ZIP_STORED,
    order: bytes = b"little",
) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        archive.writestr("m/data.pkl", body)
        archive.writestr("m/byteorder", order)
        archive.writestr("m/data/0", storage)
    return stream.getvalue()


def refusal(data: bytes) -> str:
    with pytest.raises(CheckpointError) as caught:
        parse_checkpoint(data, source="x.pth")
    assert caught.value.code == "checkpoint"
    assert str(caught.value).startswith("x.pth: ")
    return str(caught.value)


@pytest.mark.parametrize("name", CONTAINERS)
def test_tensors_that_pytorch_wrote_come_back(name: str) -> None:
    tensors = read_checkpoint(FOLDER / name)
    base = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    expected = {
        "base": base,
        "transposed": base.transpose(2, 0, 1),
        "tail": base[1, 1:],
        "half": np.array([0.5, -2.0], np.float16),
        "step": np.array(7, np.int64),
        "flags": np.array([True, False]),
        "empty": np.zeros((0, 3), np.float32),
        "bytes": np.array([1, 255], np.uint8),
    }
    assert list(tensors) == list(expected)
    for key, array in expected.items():
        assert tensors[key].dtype == array.dtype
        np.testing.assert_array_equal(tensors[key], array, err_msg=key)
        assert not tensors[key].flags.writeable


@pytest.mark.parametrize("container", [legacy, zipped])
def test_the_assembled_checkpoint_is_valid_before_it_is_spoilt(container) -> None:
    np.testing.assert_array_equal(
        parse_checkpoint(container(program(tensor())), source="x.pth")["w"],
        np.arange(6, dtype=np.float32).reshape(2, 3),
    )


@pytest.mark.parametrize("name", CONTAINERS)
def test_every_truncation_is_refused(name: str) -> None:
    data = (FOLDER / name).read_bytes()
    for length in range(len(data)):
        with pytest.raises(CheckpointError):
            parse_checkpoint(data[:length], source=name)


@settings(max_examples=400, deadline=None)
@given(
    name=st.sampled_from(CONTAINERS),
    changes=st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_damage_is_refused_or_harmless(name: str, changes: list[tuple[int, int]]) -> None:
    data = bytearray((FOLDER / name).read_bytes())
    for position, value in changes:
        data[position % len(data)] = value
    try:
        tensors = parse_checkpoint(bytes(data), source=name)
    except CheckpointError:
        return
    assert all(isinstance(array, np.ndarray) for array in tensors.values())


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=64))
def test_any_pickle_program_is_refused_or_harmless(body: bytes) -> None:
    for container in (legacy, zipped):
        with pytest.raises(CheckpointError):
            parse_checkpoint(container(b"\x80\x02" + body), source="x.pth")


class Malice:
    """Pickles to a program that runs a shell command when it is loaded."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (self.command,)


@pytest.mark.parametrize("container", [legacy, zipped])
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_malicious_pickle_is_refused_and_not_run(container, protocol: int, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    hostile = pickle.dumps({"w": Malice(f"touch {marker}")}, protocol)
    message = refusal(container(hostile))
    # Protocol 4 frames its program; the frame is refused before any name is read.
    assert ("posix.system" if protocol == 2 else "FRAME") in message
    assert not marker.exists()
    pickle.loads(hostile)
    assert marker.exists(), "the pickle must be a working attack, or the test shows nothing"


@pytest.mark.parametrize(
    "name",
    ["os.system", "builtins.eval", "collections.Counter", "torch.nn.modules.linear.Linear", "torch.load"],
)
def test_a_global_outside_the_list_is_refused_by_name(name: str) -> None:
    module, _, member = name.rpartition(".")
    message = refusal(legacy(b"\x80\x02c" + f"{module}\n{member}\n".encode() + b"."))
    assert f"global {name} is refused" in message
    assert "collections.OrderedDict" in message


@pytest.mark.parametrize("name", [b"c\\x6fllections\nOrderedDict\n", b"collections\nOrdered\\Dict\n"])
def test_a_name_with_escapes_is_refused_though_it_reads_like_an_allowed_one(name: bytes) -> None:
    message = refusal(legacy(b"\x80\x02c" + name + b"."))
    assert "is refused" in message or "not a pickle" in message


@pytest.mark.parametrize(
    ("body", "opcode"),
    [
        (b"(ios\nsystem\n.", "INST"),
        (b"\x82\x01.", "EXT1"),
        (b"ccollections\nOrderedDict\n)\x81.", "NEWOBJ"),
        (text("os") + text("system") + b"\x93.", "STACK_GLOBAL"),
        (b"Pabc\n.", "PERSID"),
    ],
)
def test_opcodes_that_a_state_dictionary_does_not_need_are_refused(body: bytes, opcode: str) -> None:
    assert f"opcode {opcode} is refused" in refusal(legacy(b"\x80\x02" + body))


@pytest.mark.parametrize("state", [b"}" + text("x") + b"K\x01s", b"N}" + text("__call__") + b"K\x01s\x86"])
@pytest.mark.parametrize("stand_in", [b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nFloatStorage\n"])
def test_a_pickle_cannot_alter_the_stand_ins(stand_in: bytes, state: bytes) -> None:
    assert "malformed" in refusal(legacy(b"\x80\x02" + stand_in + state + b"b."))
    assert not hasattr(restricted_pickle.StorageType("<f4"), "x")


def test_a_memo_number_cannot_make_the_interpreter_allocate() -> None:
    assert "memo number 4294967295" in refusal(legacy(b"\x80\x02N" + b"r\xff\xff\xff\xff" + b"."))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"offset": integer(1)}, "reach element 6; its storage '0' has 6"),
        ({"offset": integer(1 << 60)}, "storage offset is (1152921504606846976,)"),
        ({"offset": integer(-1)}, "storage offset is (-1,)"),
        ({"offset": b"\x88"}, "storage offset is (True,)"),
        ({"shape": integers(3, 3)}, "reach element 8"),
        ({"shape": integers(2, -3)}, "shape is (2, -3)"),
        ({"shape": b"N"}, "shape is None"),
        ({"shape": integers(1 << 30, 1 << 30), "strides": integers(0, 0)}, "is too large"),
        ({"shape": integers(0, 1 << 39, 1 << 39), "strides": integers(1, 1, 1)}, "is too large"),
        ({"shape": integers(9, 3), "strides": integers(0, 1)}, "repeats elements"),
        ({"shape": integers(*[1] * 40), "strides": integers(*[1] * 40)}, "at most 32"),
        ({"strides": integers(4, 1)}, "reach element 6"),
        ({"strides": integers(-3, 1)}, "strides is (-3, 1)"),
        ({"strides": integers(1)}, "differ in length"),
    ],
)
@pytest.mark.parametrize("container", [legacy, zipped])
def test_a_tensor_outside_its_storage_is_refused(container, fields: dict[str, bytes], words: str) -> None:
    message = refusal(container(program(tensor(**fields))))  # type: ignore[arg-type] # keywords of one type
    assert "tensor 'w'" in message
    assert words in message


@pytest.mark.parametrize("storage", ["BFloat16Storage", "ComplexFloatStorage", "QInt8Storage"])
def test_an_element_type_that_numpy_lacks_is_refused_by_name(storage: str) -> None:
    message = refusal(legacy(program(tensor(storage=storage))))
    assert f"element type torch.{storage} is not read here" in message
    assert "FloatStorage" in message


def test_the_same_storage_with_another_type_is_refused() -> None:
    assert "described twice" in refusal(legacy(program(tensor("a"), tensor("b", storage="IntStorage"))))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("bfloat16_zip.pth", "torch.BFloat16Storage"),
        ("module_zip.pth", "torch.nn.modules.linear.Linear is refused"),
        ("nested_zip.pth", "key 'epoch' holds a int"),
    ],
)
def test_what_is_not_a_state_dictionary_is_refused(name: str, words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        read_checkpoint(FOLDER / name)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "begins with nothing"),
        (b"GIF89a..", "begins with 47 49 46"),
        (legacy(program(tensor()), protocol=1002), "legacy protocol 1002"),
        (legacy(program(tensor()), system={"little_endian": False}), "little-endian"),
        (legacy(program(tensor()), keys=("1",)), "list of storage keys"),
        (legacy(program(tensor()), keys=("0", "0")), "list of storage keys"),
        (legacy(program(tensor()), keys=({},)), "list of storage keys"),
        (legacy(program(tensor()), keys=7), "list of storage keys"),
        (legacy(program(tensor()), storages=struct.pack("<q", 7)), "has 7 elements; expected 6"),
        (legacy(program(tensor())) + b"!", "1 bytes follow"),
        (legacy(program(tensor(count=-6)), storages=struct.pack("<q", -6)), "expected -24"),
        (legacy(b"\x80\x02]."), "list of storage keys"),
        (legacy(b"\x80\x02].", keys=(), storages=b""), "holds a list"),
        (legacy(b"\x80\x02U"), "not a pickle"),
        (legacy(b"\x80\x02NQ."), "persistent id None"),
        (zipped(program(tensor()), storage=b"\0" * 23), "has 23 bytes; expected 24"),
        (zipped(program(tensor(key="../0"))), "has no member m/data/../0"),
        (zipped(program(tensor()) + b"."), "1 bytes follow"),
        (zipped(program(tensor()), order=b"big"), "byte order b'big'"),
        (zipped(program(tensor()), compression=zipfile.ZIP_DEFLATED), "is compressed"),
    ],
)
def test_a_wrong_container_is_refused(data: bytes, words: str) -> None:
    assert words in refusal(data)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        (8, struct.pack("<H", 1), "the zip archive is damaged"),  # flags: encrypted
        (10, struct.pack("<H", 99), "is compressed"),  # method
        (24, struct.pack("<I", 1 << 31), "members claim"),  # size
        (42, struct.pack("<I", 1 << 31), "the zip archive is damaged"),  # offset of the member
    ],
)
def test_a_false_entry_of_the_zip_directory_is_refused(field: int, value: bytes, words: str) -> None:
    data = bytearray(zipped(program(tensor())))
    entry = data.index(b"PK\x01\x02") + field
    data[entry : entry + len(value)] = value
    assert words in refusal(bytes(data))


def test_a_zip_archive_with_a_member_beyond_any_file_is_refused() -> None:
    data = zipped(program(tensor()))
    entry = data.index(b"PK\x01\x02")
    extra = struct.pack("<HHQ", 1, 8, (1 << 64) - 1)  # ZIP64: the member's offset, in 64 bits
    name_end = entry + 46 + len("m/data.pkl")
    spoilt = bytearray(data[:name_end] + extra + data[name_end:])
    spoilt[entry + 30 : entry + 32] = struct.pack("<H", len(extra))
    spoilt[entry + 42 : entry + 46] = b"\xff" * 4
    end = spoilt.index(b"PK\x05\x06")
    (size,) = struct.unpack_from("<I", spoilt, end + 12)
    spoilt[end + 12 : end + 16] = struct.pack("<I", size + len(extra))
    assert "the zip archive is damaged" in refusal(bytes(spoilt))


def test_a_zip_archive_without_a_pickle_is_refused() -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("m/version", "3")
    assert "has 0 members named */data.pkl" in refusal(stream.getvalue())


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"absent\.pth: cannot be read"):
        read_checkpoint(tmp_path / "absent.pth")
