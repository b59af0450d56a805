"""Pictures that come as pixels: the same numbers as from a picture's file, with Pillow and without, and from every source."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from device_agent.sources.directory import DirectorySource
from device_agent.sources.preprocess import PictureError, load_image, prepare_pixels, prepared
from device_agent.sources.received import arrays_of
from device_agent.sources.resample import Resample, resize, to_luminance
from tests.unit.device_agent.sources.payload_tensors import PICTURE, PREPROCESSING, tensor
from tests.unit.device_agent.sources.pixel_cases import cases

FILTERS: dict[Resample, Image.Resampling] = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
EXTENTS = st.integers(1, 70)


def noise(height: int, width: int, channels: int, seed: int) -> np.ndarray:
    """Half of the pixels are black or white: there the cubic filter overshoots."""
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 256, (height, width, channels), np.uint8)
    extremes = generator.integers(0, 2, pixels.shape, np.uint8) * 255
    return np.where(generator.random(pixels.shape) < 0.5, pixels, extremes).astype(np.uint8)


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(stream, "PNG")
    return stream.getvalue()


@given(
    size=st.tuples(EXTENTS, EXTENTS),
    wanted=st.tuples(EXTENTS, EXTENTS),
    channels=st.sampled_from([1, 3]),
    resample=st.sampled_from(sorted(FILTERS)),
    seed=st.integers(0, 1000),
)
@example(size=(1, 1), wanted=(70, 70), channels=3, resample="bicubic", seed=0)
@example(size=(70, 70), wanted=(1, 1), channels=1, resample="bicubic", seed=0)
@example(size=(39, 20), wanted=(26, 56), channels=3, resample="bilinear", seed=0)  # Pillow 13: columns first
def test_resizing_gives_the_bytes_of_pillow(
    size: tuple[int, int], wanted: tuple[int, int], channels: int, resample: Resample, seed: int
) -> None:
    pixels = noise(*size, channels, seed)
    picture = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)
    narrowed = picture.resize((wanted[1], size[0]), FILTERS[resample])
    expected = np.asarray(narrowed.resize((wanted[1], wanted[0]), FILTERS[resample]))
    np.testing.assert_array_equal(resize(pixels, wanted, resample), expected.reshape(*wanted, channels))


def test_luminance_is_that_of_pillow_for_every_colour_of_a_grid() -> None:
    axis = np.arange(0, 256, 5, np.uint8)
    pixels = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(len(axis), -1, 3)
    expected = np.asarray(Image.fromarray(pixels).convert("L"))
    np.testing.assert_array_equal(to_luminance(pixels)[:, :, 0], expected)


@given(
    size=st.tuples(EXTENTS, EXTENTS),
    channels=st.sampled_from([1, 3]),
    resample=st.sampled_from(sorted(FILTERS)),
    color=st.sampled_from(["RGB", "BGR", "L"]),
    layout=st.sampled_from(["NCHW", "NHWC"]),
    crop=st.none() | st.tuples(st.integers(1, 23), st.integers(1, 31)),
    seed=st.integers(0, 1000),
)
def test_pixels_are_prepared_as_the_file_of_the_same_picture(
    size: tuple[int, int], channels: int, seed: int, **asked: Any
) -> None:
    count = 1 if asked["color"] == "L" else 3
    wanted = dataclasses.replace(
        PREPROCESSING, resize=(23, 31), mean=(123.675, 116.28, 103.53)[:count], std=(58.4, 57.1, 57.4)[:count], **asked
    )  # fmt: skip
    pixels = noise(*size, channels, seed)
    from_file = load_image(png(pixels), wanted)
    np.testing.assert_array_equal(prepare_pixels(pixels, wanted), from_file)
    if channels == 1:
        np.testing.assert_array_equal(prepare_pixels(pixels[:, :, 0], wanted), from_file)


WITHOUT_PILLOW = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "PIL":
            raise ModuleNotFoundError("No module named 'PIL'", name=name)
sys.meta_path.insert(0, Absent())
import dataclasses, numpy as np
from device_agent.sources import preprocess
from tests.unit.device_agent.sources.pixel_cases import cases
assert preprocess.Image is None
np.savez(sys.argv[1], *[preprocess.prepare_pixels(pixels, wanted) for pixels, wanted in cases()])
"""


def test_without_pillow_the_numbers_are_the_same(tmp_path: Path) -> None:
    """In a process that cannot import Pillow, as on a device without the extra `images`."""
    path = tmp_path / "found.npz"
    root = Path(__file__).parents[4]
    subprocess.run([sys.executable, "-c", WITHOUT_PILLOW, str(path)], check=True, cwd=root)
    found = np.load(path)
    for index, (pixels, wanted) in enumerate(cases()):
        np.testing.assert_array_equal(found[f"arr_{index}"], prepare_pixels(pixels, wanted))


def test_what_is_a_picture_and_what_is_the_models_input() -> None:
    picture = noise(5, 4, 3, 0)
    for array in (picture, picture[:, :, 0], picture[:, :, :1]):
        assert prepared(array, PREPROCESSING).shape == (1, 3, 2, 3)
        assert prepared(array, None) is array
    for array in (
        picture[np.newaxis],  # the model's input, with its batch
        picture.astype(np.float32),
        picture.astype(np.int16),
        picture[:, :, :2],
        picture.transpose(2, 0, 1),
    ):
        assert prepared(array, PREPROCESSING) is array


@given(
    dtype=st.sampled_from(["u1", "i1", "<u2", ">f4", "?", "c8"]),
    shape=st.lists(st.integers(0, 5), max_size=4),
    is_fortran=st.booleans(),
)
def test_any_array_is_the_models_input_a_picture_or_refused(
    dtype: str, shape: list[int], *, is_fortran: bool
) -> None:
    array = np.zeros(shape, dtype, order="F" if is_fortran else "C")
    with contextlib.suppress(PictureError):
        found = arrays_of(npy(array), [tensor((1, 3, 2, 3))], PREPROCESSING)["x"]
        assert found.shape in ((1, 3, 2, 3), array.shape, (1, *array.shape))


def test_blocks_of_a_large_picture_join_without_a_seam() -> None:
    pixels = noise(700, 900, 3, 2)
    narrowed = Image.fromarray(pixels).resize((640, 700), Image.Resampling.BICUBIC)
    expected = np.asarray(narrowed.resize((640, 480), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(resize(pixels, (480, 640), "bicubic"), expected)


@pytest.mark.parametrize("shape", [(0, 4), (4, 0, 3), (0, 0, 1)])
def test_a_picture_of_no_pixels_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(PictureError, match="expected at least 1 x 1"):
        prepare_pixels(np.zeros(shape, np.uint8), PREPROCESSING)


def test_a_picture_that_grows_beyond_all_bounds_is_refused() -> None:
    wanted = dataclasses.replace(PREPROCESSING, resize=(224, 224), crop=(224, 224))
    with pytest.raises(PictureError, match="224000000 x 1 pixels when resized; at most 64000000"):
        prepare_pixels(np.zeros((1, 1_000_000), np.uint8), wanted)


def test_a_received_and_a_stored_frame_of_pixels_are_prepared(tmp_path: Path) -> None:
    pixels = noise(9, 7, 3, 1)
    expected = prepare_pixels(pixels, PREPROCESSING)
    received = arrays_of(npy(pixels), [tensor((1, 3, 2, 3))], PREPROCESSING)
    np.testing.assert_array_equal(received["x"], expected)
    (tmp_path / "frame.npy").write_bytes(npy(pixels))
    source = DirectorySource(tmp_path, [PICTURE], PREPROCESSING, loop=False)
    frame = source.next(0.0)
    assert frame is not None
    np.testing.assert_array_equal(frame.inputs[0], expected)


def test_a_frame_that_is_the_input_itself_passes_as_before() -> None:
    ready = np.arange(18, dtype=np.float32).reshape(3, 2, 3)
    found = arrays_of(npy(ready), [tensor((1, 3, 2, 3))], PREPROCESSING)
    np.testing.assert_array_equal(found["x"], ready[np.newaxis])
