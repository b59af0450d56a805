"""Every kind of calibration data: what comes out, in which order and under which id; and what is refused, by name."""

from __future__ import annotations

import errno
import io
import itertools
import re
import sys
import textwrap
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from device_agent.contract.errors import ConfigError, EdgewrightError
from device_agent.contract.manifest import Preprocessing
from device_agent.sources.preprocess import load_image
from host_tools.errors import DataError
from host_tools.model.float_model import TensorSpec
from host_tools.observe import CalibrationSet, open_data
from host_tools.observe.preparation_file import find_preparation

PICTURE = (TensorSpec(name="images", shape=(1, 3, 4, 5), dtype="float32"),)
TWO = (
    TensorSpec(name="left", shape=(1, 2), dtype="float32"),
    TensorSpec(name="right", shape=(1, 3), dtype="int64"),
)
PREPROCESSING = Preprocessing(
    resize=(4, 5), resample="bilinear", color="RGB", layout="NCHW", mean=(127.0,) * 3, std=(128.0,) * 3
)


def many(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 3, 4, 5)).astype(np.float32)


def saved(path: Path, array: np.ndarray) -> Path:
    np.save(path, array)
    return path


def values(data: CalibrationSet) -> list[np.ndarray]:
    return [sample.arrays["images"] for sample in data]


def reason(spec: str | Path, inputs: tuple[TensorSpec, ...] = PICTURE, **options: object) -> str:
    """Open and read everything; return the refusal."""
    with pytest.raises(DataError) as caught:
        list(open_data(spec, inputs=inputs, **options))  # type: ignore[arg-type]  # what open_data takes
    return str(caught.value)


# One .npy


def test_npy_gives_a_sample_for_each_first_index(tmp_path: Path) -> None:
    arrays = many(5)
    data = open_data(saved(tmp_path / "a.npy", arrays), inputs=PICTURE)
    assert len(data) == 5
    assert [sample.id for sample in data] == list(data.ids()) == ["0", "1", "2", "3", "4"]
    np.testing.assert_array_equal(np.concatenate(values(data)), arrays)
    for _ in range(2):  # as often as asked for
        assert all(array.shape == (1, 3, 4, 5) and array.flags.c_contiguous for array in values(data))


def test_npy_of_one_sample_with_or_without_its_batch_axis(tmp_path: Path) -> None:
    array = many(1)
    for shape in ((1, 3, 4, 5), (3, 4, 5)):
        data = open_data(saved(tmp_path / "a.npy", array.reshape(shape)), inputs=PICTURE)
        assert len(data) == 1
        np.testing.assert_array_equal(values(data)[0], array)


def test_npy_of_samples_that_keep_their_batch_axis(tmp_path: Path) -> None:
    data = open_data(saved(tmp_path / "a.npy", many(6).reshape(6, 1, 3, 4, 5)), inputs=PICTURE)
    np.testing.assert_array_equal(np.concatenate(values(data)), many(6))


def test_a_model_with_a_fixed_batch_gets_whole_batches(tmp_path: Path) -> None:
    batch_of_two = (TensorSpec(name="images", shape=(2, 3, 4, 5), dtype="float32"),)
    data = open_data(saved(tmp_path / "a.npy", many(6).reshape(3, 2, 3, 4, 5)), inputs=batch_of_two)
    assert [array.shape for array in values(data)] == [(2, 3, 4, 5)] * 3
    assert "expected shape (2, 3, 4, 5), got (3, 4, 5)" in reason(
        saved(tmp_path / "b.npy", many(6)), batch_of_two
    )


def test_fortran_order_and_big_endian_are_the_same_numbers(tmp_path: Path) -> None:
    arrays = many(3)
    for name, stored in (("f.npy", np.asfortranarray(arrays)), ("b.npy", arrays.astype(">f4"))):
        read = values(open_data(saved(tmp_path / name, stored), inputs=PICTURE))
        np.testing.assert_array_equal(np.concatenate(read), arrays)
        assert all(array.dtype == np.float32 and array.dtype.isnative for array in read)


def test_npy_that_does_not_fit_is_told_with_sample_and_input(tmp_path: Path) -> None:
    message = reason(saved(tmp_path / "a.npy", many(2).astype(np.float64)))
    assert "a.npy: sample 0, input 'images': expected float32, got float64" in message
    assert "astype('float32')" in message
    message = reason(saved(tmp_path / "a.npy", many(2)[:, :, :, :4]))
    assert "sample 0, input 'images': expected shape (1, 3, 4, 5) or (3, 4, 5), got (3, 4, 4)" in message
    assert "got ()" in reason(saved(tmp_path / "a.npy", np.ones(3, np.float32)))
    assert "a single number" in reason(saved(tmp_path / "a.npy", np.float32(1)))
    assert "no samples" in reason(saved(tmp_path / "a.npy", many(2)[:0]))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_value_that_is_not_finite_is_told_with_its_sample(tmp_path: Path, value: float) -> None:
    arrays = many(4)
    arrays[2, 1, 0, :2] = value
    message = reason(saved(tmp_path / "a.npy", arrays))
    assert "sample 2, input 'images': 2 of 60 values are NaN or infinite" in message


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"\x93NUMPY\x01\x00\x10\x00garbage", b"plain text"])
def test_npy_that_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    assert "a.npy is not a readable .npy file" in reason(tmp_path / "a.npy")


def test_an_array_of_python_objects_is_refused_in_one_whole_sentence(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([object()], dtype=object), allow_pickle=True)
    assert reason(tmp_path / "a.npy").endswith("a.npy holds Python objects, not numbers.")


def test_npy_cut_short(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.npy", many(4))
    path.write_bytes(path.read_bytes()[:-20])
    assert "a.npy is not a readable .npy file" in reason(path)


def test_pickled_arrays_are_refused_and_never_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "sprung",)  # type: ignore[return-value]  # any callable would do

    objects = np.array([Trap()], dtype=object)
    np.save(tmp_path / "a.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "a.npz", images=objects)
    assert "a.npy holds Python objects" in reason(tmp_path / "a.npy")
    assert "key 'images' holds Python objects" in reason(tmp_path / "a.npz")
    assert not (tmp_path / "sprung").exists()


def test_npz_under_the_name_npy(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=many(2))
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    assert "is not a .npy file but an archive" in reason(tmp_path / "a.npy")


# A folder of .npy


def test_folder_of_arrays_is_read_in_the_order_of_paths(tmp_path: Path) -> None:
    arrays = many(3)
    (tmp_path / "sub").mkdir()
    for name, array in zip(("b.npy", "a.npy", "sub/a.npy"), arrays, strict=True):
        np.save(tmp_path / name, array)
    (tmp_path / ".hidden.npy").write_bytes(b"not read")
    (tmp_path / "notes.txt").write_text("not read")
    data = open_data(tmp_path, inputs=PICTURE)
    assert [sample.id for sample in data] == list(data.ids()) == ["a.npy", "b.npy", "sub/a.npy"]
    np.testing.assert_array_equal(np.concatenate(values(data)), arrays[[1, 0, 2]])


def test_folder_names_the_array_that_is_wrong(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", many(1))
    np.save(tmp_path / "b.npy", many(2))
    assert "sample b.npy, input 'images': expected shape" in reason(tmp_path)
    (tmp_path / "b.npy").write_bytes(b"")
    assert "b.npy is not a readable .npy file" in reason(tmp_path)


# .npz


def test_npz_feeds_several_inputs(tmp_path: Path) -> None:
    left, right = np.arange(6, dtype=np.float32).reshape(3, 2), np.arange(9).reshape(3, 1, 3)
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", right=right, left=left)
        data = open_data(tmp_path / "a.npz", inputs=TWO)
        assert len(data) == 3
        samples = list(data)
        assert [sample.id for sample in samples] == list(data.ids()) == ["0", "1", "2"]
        assert [tuple(sample.arrays) for sample in samples] == [("left", "right")] * 3
        np.testing.assert_array_equal(np.concatenate([one.arrays["left"] for one in samples]), left)
        np.testing.assert_array_equal(np.concatenate([one.arrays["right"] for one in samples]), right[:, 0])


def test_npz_is_read_a_sample_at_a_time(tmp_path: Path) -> None:
    shape = (1, 64, 64, 64)  # 1 MiB a sample
    inputs = (TensorSpec(name="images", shape=shape, dtype="float32"),)
    np.savez_compressed(tmp_path / "a.npz", images=np.zeros((64, *shape[1:]), np.float32))
    data = open_data(tmp_path / "a.npz", inputs=inputs)
    tracemalloc.start()
    try:
        count = sum(1 for _ in data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 64
    assert peak < 5 * (1 << 20)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"left": np.zeros((2, 2), np.float32)}, "expected the inputs' names as keys, left, right; got left"),
        ({"left": np.zeros((2, 2), np.float32), "rihgt": np.zeros((2, 3), np.int64)}, "got left, rihgt"),
        (
            {"left": np.zeros((2, 2), np.float32), "right": np.zeros((3, 3), np.int64)},
            "different numbers of samples (left: 2, right: 3)",
        ),
        ({"left": np.zeros((2, 2), np.float32), "right": np.zeros((2, 3), np.int32)}, "input 'right': expected int64, got int32"),
        ({"left": np.zeros((2, 2), np.float32), "right": np.int64(1)}, "key 'right': expected samples along the first axis, got shape ()"),
        ({"left": np.zeros((2, 5), np.float32), "right": np.zeros((2, 3), np.int64)}, "key 'left': expected samples of shape (1, 2) or (2,)"),
        (
            {"left": np.asfortranarray(np.zeros((2, 2), np.float32)), "right": np.zeros((2, 3), np.int64)},
            "key 'left' is stored in Fortran order",
        ),
        ({"left": np.zeros((0, 2), np.float32), "right": np.zeros((0, 3), np.int64)}, "no samples"),
    ],
)  # fmt: skip
def test_npz_that_does_not_fit(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]  # numpy's own overload wants literals
    assert message in reason(tmp_path / "a.npz", TWO)


def test_npz_names_the_input_that_is_not_finite(tmp_path: Path) -> None:
    left = np.zeros((3, 2), np.float32)
    left[1, 1] = np.nan
    np.savez(tmp_path / "a.npz", left=left, right=np.zeros((3, 3), np.int64))
    assert "sample 1, input 'left': 1 of 2 values" in reason(tmp_path / "a.npz", TWO)


def test_npz_with_a_header_that_lies_about_its_size(tmp_path: Path) -> None:
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        content, {"descr": "<f4", "fortran_order": False, "shape": (4, 3, 4, 5)}
    )
    for shape in (b"(-1, 3, 4, 5)", b"(9, 3, 4, 5)"):
        lying = content.getvalue().replace(b"(4, 3, 4, 5)", shape) + many(2).tobytes()
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
            archive.writestr("images.npy", lying)
        assert "key 'images'" in reason(tmp_path / "a.npz")


def test_npz_that_changes_after_it_was_opened(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, images=many(2))
    data = open_data(path, inputs=PICTURE)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", b"no array any more")
    with pytest.raises(DataError, match=r"a\.npz: key 'images' is not a readable array: ."):
        list(data)


def test_npz_with_a_byte_turned_names_key_and_sample(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, images=many(60))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    assert re.search(r"a\.npz: key 'images', sample \d+: Bad CRC-32", reason(path))


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    whole=st.sampled_from(["a.npy", "stored.npz", "packed.npz"]), place=st.floats(0, 1, exclude_max=True),
    some=st.binary(max_size=6), cut=st.integers(0, 9),
)  # fmt: skip
def test_damaged_files_are_read_or_refused(
    tmp_path: Path, whole: str, place: float, some: bytes, cut: int
) -> None:
    path = tmp_path / whole
    if whole == "a.npy":
        np.save(path, many(2))
    else:
        (np.savez if whole.startswith("stored") else np.savez_compressed)(path, images=many(2))
    content = bytearray(path.read_bytes())
    at = int(place * len(content))
    content[at : at + cut] = some
    path.write_bytes(bytes(content))
    try:
        list(open_data(path, inputs=PICTURE))
    except EdgewrightError as error:
        assert whole in str(error)


# Pictures


def picture(path: Path, seed: int = 0, size: tuple[int, int] = (9, 7)) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_pictures_are_prepared_as_the_device_prepares_them(tmp_path: Path) -> None:
    (tmp_path / "cats").mkdir()
    paths = [picture(tmp_path / name, seed) for seed, name in enumerate(("z.png", "b.JPG", "cats/a.jpeg"))]
    data = open_data(tmp_path, inputs=PICTURE, preparation=PREPROCESSING)
    assert [sample.id for sample in data] == list(data.ids()) == ["b.JPG", "cats/a.jpeg", "z.png"]
    expected = [load_image(path, PREPROCESSING) for path in (paths[1], paths[2], paths[0])]
    np.testing.assert_array_equal(np.concatenate(values(data)), np.concatenate(expected))


def test_arrays_of_pixels_are_prepared_as_pictures_and_inputs_are_left_alone(tmp_path: Path) -> None:
    from_file = load_image(picture(tmp_path / "a.png"), PREPROCESSING)
    pixels = np.asarray(Image.open(tmp_path / "a.png"))
    folder = tmp_path / "arrays"
    folder.mkdir()
    ready = many(1)[0]
    for name, array in (("a.npy", pixels), ("b.npy", ready), ("c.npy", pixels[:, :, 0])):
        saved(folder / name, array)
    data = open_data(folder, inputs=PICTURE, preparation=PREPROCESSING)
    found = values(data)
    np.testing.assert_array_equal(found[0], from_file)
    np.testing.assert_array_equal(found[1], ready[np.newaxis])
    assert found[2].shape == (1, 3, 4, 5)
    assert "a.npy, input 'images': expected float32, got uint8" in reason(folder)
    other = open_data(folder, inputs=PICTURE, preparation=replace(PREPROCESSING, mean=(0.0,) * 3))
    assert data.fingerprint() != other.fingerprint(), (
        "what was prepared otherwise is not taken from the cache"
    )


def test_an_array_of_no_pixels_is_named(tmp_path: Path) -> None:
    saved(tmp_path / "a.npy", np.zeros((0, 4, 3), np.uint8))
    message = reason(tmp_path, preparation=PREPROCESSING)
    assert "a.npy: picture: 4 x 0 pixels; expected at least 1 x 1" in message


def test_only_pictures_will_do_where_the_model_takes_their_pixels(tmp_path: Path) -> None:
    saved(tmp_path / "a.npy", many(2))
    for spec in (tmp_path, tmp_path / "a.npy"):
        message = reason(spec, preparation=PREPROCESSING, only_pictures=True)
        assert "expected a folder of pictures for --fold-preprocessing" in message
    (tmp_path / "a.npy").unlink()
    picture(tmp_path / "a.png")
    data = open_data(tmp_path, inputs=PICTURE, preparation=PREPROCESSING, only_pictures=True)
    assert len(values(data)) == 1


def test_ids_of_pictures_are_known_without_reading_them(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"unreadable")
    data = open_data(tmp_path, inputs=PICTURE, preparation=PREPROCESSING)
    assert list(data.ids()) == ["a.png", "b.png"]


def test_pictures_without_preprocessing(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    message = reason(tmp_path)
    assert "nothing says how they become the model's input" in message
    assert "preprocess.toml" in message


def test_a_picture_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(picture(tmp_path / "c.png").read_bytes()[:60])
    message = reason(tmp_path, preparation=PREPROCESSING)
    assert "b.png" in message
    assert "take it out of the folder" in message
    data = open_data(tmp_path, inputs=PICTURE, preparation=PREPROCESSING, limit=1)
    assert len(list(data)) == 1, "what comes after the limit is not read"


def test_preprocessing_that_does_not_fit_the_model(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    other = Preprocessing(
        resize=(6, 6), resample="nearest", color="RGB", layout="NHWC", mean=(0.0,) * 3, std=(1.0,) * 3
    )
    assert (
        "sample a.png, input 'images': expected shape (1, 3, 4, 5) or (3, 4, 5), got (1, 6, 6, 3)"
        in reason(tmp_path, preparation=other)
    )


def test_pictures_for_a_model_of_two_inputs(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    message = reason(tmp_path, TWO, preparation=PREPROCESSING)
    assert "the model has 2 inputs (left, right)" in message


def test_folders_of_nothing_and_of_both(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("nothing")
    assert "no picture, no .wav, no .txt and no .npy file among its 1 files" in reason(tmp_path)
    picture(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", many(1))
    assert "holds both pictures (1) and .npy files (1)" in reason(tmp_path, preparation=PREPROCESSING)


_TOML = '[preprocess]\nresize = [4, 5]\nresample = "bilinear"\ncolor = "RGB"\nlayout = "NCHW"\nmean = [127.0, 127.0, 127.0]\nstd = [128.0, 128.0, 128.0]\n'


def test_preprocessing_is_found_in_the_folder_then_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    assert find_preparation(None, folder) is None
    (tmp_path / "preprocess.toml").write_text(_TOML)
    assert find_preparation(None, folder) == PREPROCESSING
    (folder / "preprocess.toml").write_text(_TOML.replace("RGB", "BGR"))
    found = find_preparation(None, folder)
    assert found is not None
    assert found.color == "BGR"
    assert find_preparation(tmp_path / "preprocess.toml", folder) == PREPROCESSING
    assert find_preparation(None, "module:function") is None


def test_preprocessing_that_is_wrong_names_file_and_key(tmp_path: Path) -> None:
    (tmp_path / "preprocess.toml").write_text(_TOML.replace("[4, 5]", "[0, 5]"))
    with pytest.raises(ConfigError, match=r"preprocess\.toml: preprocess\.resize"):
        find_preparation(None, tmp_path)
    with pytest.raises(ConfigError, match="cannot be read"):
        find_preparation(tmp_path / "absent.toml", tmp_path)


# module:function

_numbers = itertools.count()


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.syspath_prepend(tmp_path)

    def write(code: str) -> str:
        name = f"edgewright_test_module_{next(_numbers)}"
        (tmp_path / f"{name}.py").write_text("import numpy as np\n" + textwrap.dedent(code))
        return f"{name}:samples"

    yield write
    for name in [name for name in sys.modules if name.startswith("edgewright_test_module_")]:
        del sys.modules[name]


def test_function_that_returns_a_list_of_arrays(module) -> None:  # type: ignore[no-untyped-def]  # a fixture
    data = open_data(
        module("def samples(): return [np.full((3, 4, 5), i, np.float32) for i in range(3)]"), inputs=PICTURE
    )
    assert [float(array.mean()) for array in values(data)] == [0, 1, 2]
    assert [float(array.mean()) for array in values(data)] == [0, 1, 2], "and again"
    assert list(data.ids()) == ["0", "1", "2"]
    assert data.fingerprint() is None


def test_function_that_returns_mappings_for_two_inputs(module) -> None:  # type: ignore[no-untyped-def]
    spec = module('def samples(): return [{"right": np.arange(3), "left": [np.float32(1), np.float32(2)]}]')
    (sample,) = open_data(spec, inputs=TWO)
    assert sample.arrays["right"].tolist() == [[0, 1, 2]]
    assert sample.arrays["left"].dtype == np.float32


def test_function_that_fills_the_same_memory_again_and_again(module) -> None:  # type: ignore[no-untyped-def]
    spec = module("""
        class Samples:
            buffer = np.zeros((3, 4, 5), np.float32)
            def __len__(self): return 4
            def __iter__(self):
                for i in range(4):
                    self.buffer[:] = i
                    yield self.buffer
        def samples(): return Samples()
    """)
    assert [float(array.mean()) for array in values(open_data(spec, inputs=PICTURE))] == [0, 1, 2, 3]


def test_function_that_returns_something_with_getitem(module) -> None:  # type: ignore[no-untyped-def]
    spec = module("""
        class Samples:
            def __len__(self): return 2
            def __getitem__(self, index):
                if index >= 2: raise IndexError
                return np.full((1, 3, 4, 5), index, np.float32)
        def samples(): return Samples()
    """)
    assert [float(array.mean()) for array in values(open_data(spec, inputs=PICTURE))] == [0, 1]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def other(): return []", "cannot be imported: AttributeError"),
        ("raise RuntimeError('no disk')", "cannot be imported: RuntimeError: no disk"),
        ("raise SystemExit(3)", "cannot be imported: SystemExit: 3"),
        ("def samples(): raise KeyError('x')", "raised KeyError: 'x'"),
        ("def samples(needed): return []", "raised TypeError"),
        ("samples = 3", "expected a function, got int"),
        ("def samples(): return 3", "returned int; expected something with a length"),
        ("def samples(): return None", "returned NoneType; expected something with a length"),
        ("def samples(): yield np.zeros((3, 4, 5), np.float32)", "returned generator; expected something with a length"),
        ("def samples(): return []", "no samples"),
        ("def samples(): return [np.zeros((3, 4, 5))]", "sample 0, input 'images': expected float32, got float64"),
        ("def samples(): return ['text']", "input 'images': expected float32, got <U4"),
        ("def samples(): return [[[1.0], [1.0, 2.0]]]", "sample 0 is no array"),
        ("def samples(): return [{'image': np.zeros((3, 4, 5), np.float32)}]", "sample 0: expected the inputs images, got image"),
        ("def samples(): return [np.zeros((3, 4, 5), np.float32), {}]", "sample 1: expected the inputs images, got none"),
    ],
)  # fmt: skip
def test_function_that_does_not_serve(module, code: str, message: str) -> None:  # type: ignore[no-untyped-def]
    assert message in reason(module(code))


@pytest.mark.parametrize(
    ("announced", "came", "message"),
    [(5, 3, "5 samples were announced, 3 came"), (3, 5, "3 samples were announced, more came")],
)
def test_function_that_gives_fewer_or_more_than_it_says(
    module, announced: int, came: int, message: str
) -> None:  # type: ignore[no-untyped-def]
    code = f"""
        class Samples:
            def __len__(self): return {announced}
            def __iter__(self): return iter([np.zeros((3, 4, 5), np.float32)] * {came})
        def samples(): return Samples()
    """
    assert message in reason(module(code))
    assert len(list(open_data(module(code), inputs=PICTURE, limit=2))) == 2


def test_function_that_raises_half_way(module) -> None:  # type: ignore[no-untyped-def]
    spec = module("""
        class Samples:
            def __len__(self): return 3
            def __iter__(self):
                yield np.zeros((3, 4, 5), np.float32)
                raise OSError("disk gone")
        def samples(): return Samples()
    """)
    assert f"{spec} raised OSError: disk gone" in reason(spec)


def test_function_for_two_inputs_must_return_mappings(module) -> None:  # type: ignore[no-untyped-def]
    spec = module("def samples(): return [np.zeros(2, np.float32)]")
    assert "sample 0: expected a mapping with left, right, got ndarray" in reason(spec, TWO)


# Limits, fingerprints, digests, and what is no data at all


def test_limit_and_spread(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.npy", many(5))
    data = open_data(path, inputs=PICTURE, limit=3)
    assert (len(data), data.total, len(list(data)), list(data.ids())) == (3, 5, 3, ["0", "1", "2"])
    assert len(open_data(path, inputs=PICTURE, limit=99)) == 5
    assert len(list(data.spread(2))) == 2
    assert len(data.spread(99)) == 3
    for wrong in (0, -1):
        assert "at least 1" in reason(path, limit=wrong)


def test_fingerprint_changes_with_content_count_and_preprocessing(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed in range(3):
        picture(folder / f"{seed}.png", seed)

    def told(limit: int | None = None, preprocessing: Preprocessing = PREPROCESSING) -> str | None:
        return open_data(folder, inputs=PICTURE, preparation=preprocessing, limit=limit).fingerprint()

    first = told()
    assert first == told()
    assert first != told(limit=2)
    changed = Preprocessing(
        resize=(4, 5), resample="nearest", color="RGB", layout="NCHW", mean=(127.0,) * 3, std=(128.0,) * 3
    )
    assert first != told(preprocessing=changed)
    two = told(limit=2)
    picture(folder / "2.png", 99)
    assert told() != first
    assert told(limit=2) == two, "what is not read does not count"


@pytest.mark.parametrize("kind", ["a.npy", "a.npz", "folder"])
def test_fingerprint_of_arrays_changes_with_their_content(tmp_path: Path, kind: str) -> None:
    def write(seed: int) -> str | None:
        if kind == "a.npy":
            np.save(tmp_path / kind, many(3, seed))
        elif kind == "a.npz":
            np.savez(tmp_path / kind, images=many(3, seed))
        else:
            (tmp_path / kind).mkdir(exist_ok=True)
            np.save(tmp_path / kind / "0.npy", many(1, seed))
        return open_data(tmp_path / kind, inputs=PICTURE).fingerprint()

    first, again, other = write(1), write(1), write(2)
    assert first == again
    assert first != other
    assert first is not None


def test_digest_of_a_sample_tells_names_types_shapes_and_bytes_apart(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", left=np.zeros((2, 2), np.float32), right=np.zeros((2, 3), np.int64))
    first, second = open_data(tmp_path / "a.npz", inputs=TWO)
    assert first.digest() == second.digest()
    assert len(first.digest()) == 32
    changed = np.zeros((2, 3), np.int64)
    changed[1, 2] = 1
    np.savez(tmp_path / "a.npz", left=np.zeros((2, 2), np.float32), right=changed)
    first, second = open_data(tmp_path / "a.npz", inputs=TWO)
    assert first.digest() != second.digest()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("absent", "no such file or folder"),
        ("absent.npy", "no such file or folder"),
        ("no/module:function", "no such file or folder"),
        ("x" * 5000, "cannot be read"),
        ("absent_module_of_edgewright:f", "cannot be imported: ModuleNotFoundError"),
    ],
)
def test_data_that_are_not_there(spec: str, message: str) -> None:
    assert message in reason(spec)


@pytest.mark.parametrize("kind", ["a.npy", "a.npz", "folder/a.npy"])
def test_data_that_go_away_before_their_fingerprint_is_taken(tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".npz":
        np.savez(path, images=many(2))
    else:
        np.save(path, many(1))
    data = open_data(path if path.parent == tmp_path else path.parent, inputs=PICTURE)
    path.unlink()
    with pytest.raises(DataError, match=r"a\.np[yz] cannot be read: No such file"):
        data.fingerprint()


def test_folder_on_a_failing_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "rglob", fail)
    assert reason(tmp_path) == f"{tmp_path} cannot be read: Input/output error."


def test_file_of_an_unknown_kind(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("1,2")
    message = reason(tmp_path / "data.csv")
    assert "data of the kind '.csv' is not known" in message
    assert ".npz" in message


def test_arrays_for_a_model_of_two_inputs(tmp_path: Path) -> None:
    message = reason(saved(tmp_path / "a.npy", many(1)), TWO)
    assert "the model has 2 inputs (left, right)" in message
