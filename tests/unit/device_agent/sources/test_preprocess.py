"""Pictures of every kind to the model's input, and ``preprocess.toml`` with everything that can be wrong in it."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from device_agent.contract.errors import ConfigError
from device_agent.sources.preprocess import MAX_PIXELS, PictureError, load_image
from device_agent.sources.preprocess_file import load_preprocessing, parse_preparation
from tests.unit.device_agent.sources.payload_tensors import PREPROCESSING

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
# Two rows of three: every pixel is another, so that any turn of the picture is seen.
PIXELS = np.arange(18, dtype=np.uint8).reshape(2, 3, 3) * 10


def saved(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def prepared(source: bytes | Path, **changes: Any) -> np.ndarray:
    return load_image(source, dataclasses.replace(PREPROCESSING, **changes))


def pixels(source: bytes, **changes: Any) -> np.ndarray:
    """The picture as the model sees it, shape (height, width, channels)."""
    return prepared(source, layout="NHWC", **changes)[0]


PNG = saved(Image.fromarray(PIXELS))


# --- what comes out ---


def test_type_shape_order_and_value() -> None:
    nchw = prepared(PNG)
    assert (nchw.dtype, nchw.shape, nchw.flags.c_contiguous) == (np.float32, (1, 3, 2, 3), True)
    np.testing.assert_array_equal(nchw[0], PIXELS.transpose(2, 0, 1))
    nhwc = prepared(PNG, layout="NHWC")
    assert (nhwc.dtype, nhwc.shape, nhwc.flags.c_contiguous) == (np.float32, (1, 2, 3, 3), True)
    np.testing.assert_array_equal(nhwc[0], PIXELS)


def test_bgr_is_the_other_way_round() -> None:
    np.testing.assert_array_equal(pixels(PNG, color="BGR"), PIXELS[:, :, ::-1])
    assert prepared(PNG, color="BGR").flags.c_contiguous


def test_mean_and_std_are_the_channels_in_the_order_of_the_color() -> None:
    found = pixels(PNG, color="BGR", mean=(1.0, 2.0, 3.0), std=(2.0, 4.0, 8.0))
    expected = (PIXELS[:, :, ::-1].astype(np.float32) - np.float32([1, 2, 3])) / np.float32([2, 4, 8])
    np.testing.assert_array_equal(found, expected)


def test_resize_is_height_then_width() -> None:
    tall = Image.new("RGB", (10, 40))
    assert prepared(saved(tall), resize=(8, 5)).shape == (1, 3, 8, 5)


@pytest.mark.parametrize(("resample", "filter_"), [("nearest", 0), ("bilinear", 2), ("bicubic", 3)])
def test_resample_is_pillows(resample: str, filter_: int) -> None:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (17, 23, 3), np.uint8))
    narrowed = noise.resize((6, 17), Image.Resampling(filter_))  # rows first, as every Pillow before 13 does
    expected = np.asarray(narrowed.resize((6, 5), Image.Resampling(filter_)))
    np.testing.assert_array_equal(pixels(saved(noise), resize=(5, 6), resample=resample), expected)


def test_a_file_and_its_bytes_are_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    np.testing.assert_array_equal(prepared(tmp_path / "a.png"), prepared(PNG))


def test_a_grey_model_sees_luminance_in_one_channel() -> None:
    grey = prepared(saved(Image.new("RGB", (3, 2), GREEN)), color="L", mean=(0.0,), std=(1.0,))
    assert grey.shape == (1, 1, 2, 3)
    assert set(grey.ravel()) == {150.0}  # ITU-R 601: 0.587 * 255


@pytest.mark.parametrize(
    ("size", "scaled", "box"),
    [
        ((40, 20), (16, 8), (5, 1, 11, 7)),  # wide: the height reaches 8, the sides are cut off
        ((20, 40), (8, 16), (1, 5, 7, 11)),
        ((33, 20), (13, 8), (4, 1, 10, 7)),  # 13.2 columns are 13; the centre lies at 3.5, which rounds to 4
        ((8, 8), (8, 8), (1, 1, 7, 7)),
        ((3, 3), (8, 8), (1, 1, 7, 7)),
    ],
)
def test_crop_covers_keeps_the_aspect_and_takes_the_centre(
    size: tuple[int, int], scaled: tuple[int, int], box: tuple[int, int, int, int]
) -> None:
    """As torchvision's Resize(8) and CenterCrop(6) count."""
    noise = Image.fromarray(np.random.default_rng(4).integers(0, 256, (size[1], size[0], 3), np.uint8))
    wide = noise.resize((scaled[0], size[1]), Image.Resampling.BILINEAR)
    expected = np.asarray(wide.resize(scaled, Image.Resampling.BILINEAR).crop(box))
    found = pixels(saved(noise), resize=(8, 8), crop=(6, 6), resample="bilinear")
    np.testing.assert_array_equal(found, expected)


def test_crop_of_what_is_no_square() -> None:
    assert prepared(PNG, resize=(30, 20), crop=(30, 20)).shape == (1, 3, 30, 20)
    assert prepared(PNG, resize=(20, 30), crop=(7, 30), layout="NHWC").shape == (1, 7, 30, 3)


def test_a_strip_that_resizing_would_blow_up_is_refused() -> None:
    """A picture one pixel wide is small until its columns become 224, or its width is kept in proportion."""
    strip = saved(Image.new("L", (1, 1_000_000)))
    with pytest.raises(PictureError, match="224 x 1000000 pixels when resized; at most 64000000"):
        prepared(strip, resize=(224, 224))
    line = saved(Image.new("L", (1_000_000, 1)))
    with pytest.raises(PictureError, match="224000000 x 1 pixels when resized"):
        prepared(line, resize=(224, 224), crop=(224, 224))


# --- kinds of pictures ---


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_pictures_stand_upright_as_their_exif_says(orientation: int, kind: str) -> None:
    """A picture that a camera stored turned: the model sees what the photographer saw."""
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    upright = Image.new("RGB", (64, 48), (0, 0, 0))
    upright.paste(RED, (0, 0, 32, 24))
    upright.paste(GREEN, (32, 0, 64, 24))
    upright.paste(BLUE, (0, 24, 32, 48))
    stored = upright.transpose(turns[orientation]) if orientation in turns else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {} if kind == "TIFF" else {"exif": exif}
    options |= {"tiffinfo": exif} if kind == "TIFF" else {}
    options |= {"quality": 100} if kind in ("JPEG", "WEBP") else {}
    found = pixels(saved(stored, kind, **options), resize=(48, 64))
    for (row, column), colour in {
        (12, 16): RED,
        (12, 48): GREEN,
        (36, 16): BLUE,
        (36, 48): (0, 0, 0),
    }.items():
        np.testing.assert_allclose(found[row, column], colour, atol=6)


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (Image.new("L", (3, 2), 77), (77, 77, 77)),
        (Image.new("1", (3, 2), 1), (255, 255, 255)),
        (Image.new("LA", (3, 2), (77, 255)), (77, 77, 77)),
        (Image.new("LA", (3, 2), (77, 0)), (255, 255, 255)),
        (Image.new("RGBA", (3, 2), (*BLUE, 255)), BLUE),
        (Image.new("RGBA", (3, 2), (*BLUE, 0)), (255, 255, 255)),
        (Image.new("RGBA", (3, 2), (0, 0, 0, 51)), (204, 204, 204)),
        (Image.new("RGB", (3, 2), RED).convert("P"), RED),
    ],
    ids=["grey", "bits", "grey opaque", "grey transparent", "opaque", "transparent", "half", "palette"],
)
def test_other_kinds_become_colours(picture: Image.Image, expected: tuple[int, int, int]) -> None:
    """Transparent is white, whatever colour lies beneath, for the model must not see what nobody sees."""
    np.testing.assert_array_equal(pixels(saved(picture))[1, 2], expected)


def test_a_palette_with_a_transparent_colour() -> None:
    picture = Image.new("P", (3, 2), 0)
    picture.putpalette([*RED, *BLUE])
    picture.putpixel((0, 0), 1)
    found = pixels(saved(picture, transparency=0))
    np.testing.assert_array_equal(found[0, 0], BLUE)
    np.testing.assert_array_equal(found[1, 1], (255, 255, 255))


def test_cmyk_jpeg_and_tiff() -> None:
    picture = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    for kind in ("JPEG", "TIFF"):
        np.testing.assert_allclose(pixels(saved(picture, kind))[1, 1], RED, atol=3)


@pytest.mark.parametrize(
    ("picture", "kind"),
    [
        (Image.fromarray(np.full((2, 3), 40_000, np.uint16)), "PNG"),
        (Image.fromarray(np.full((2, 3), 40_000, np.uint16)), "TIFF"),
        (Image.fromarray(np.full((2, 3), 0.5, np.float32)), "TIFF"),
        (Image.fromarray(np.full((2, 3), 70_000, np.int32)), "TIFF"),
        (Image.new("LAB", (3, 2)), "TIFF"),
    ],
    ids=["16 bit png", "16 bit tiff", "float tiff", "32 bit tiff", "lab"],
)
def test_more_than_8_bits_a_channel_are_refused(picture: Image.Image, kind: str) -> None:
    """Pillow would clip them to 255, and the model would see white."""
    with pytest.raises(PictureError, match=r"mode \S+ is not accepted\. Convert it to 8 bits a channel"):
        prepared(saved(picture, kind))


# --- pictures that are none ---


@pytest.mark.parametrize(
    "data", [b"", b"x" * 100, b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a" + b"\0" * 9, PNG[8:]]
)
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(PictureError, match="picture: "):
        prepared(data)


@pytest.mark.parametrize("kind", ["GIF", "PPM", "ICO", "TGA", "EPS", "PDF"])
def test_formats_that_no_camera_writes_are_refused(kind: str) -> None:
    """Above all EPS: to read it Pillow starts Ghostscript on what a stranger sent."""
    with pytest.raises(PictureError, match="not a picture in one of the formats JPEG, PNG"):
        prepared(saved(Image.new("RGB", (16, 16)), kind))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "WEBP", "TIFF"])
def test_cut_pictures_are_refused(kind: str) -> None:
    noise = Image.fromarray(np.random.default_rng(2).integers(0, 256, (64, 64, 3), np.uint8))
    data = saved(noise, kind)
    for share in (0.1, 0.5, 0.9):
        with pytest.raises(PictureError):
            prepared(data[: int(len(data) * share)])


def test_no_such_file_a_folder_and_a_closed_one(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"absent\.png: cannot be read: FileNotFoundError"):
        prepared(tmp_path / "absent.png")
    with pytest.raises(PictureError, match="cannot be read: IsADirectoryError"):
        prepared(tmp_path)


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header promises ``width`` x ``height`` pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("width", "height"), [(8001, 8000), (10_000, 10_000), (60_000, 60_000), (1, MAX_PIXELS + 1)]
)
def test_a_decompression_bomb_is_refused_before_it_is_decoded(width: int, height: int) -> None:
    start = time.thread_time()
    with pytest.raises(PictureError, match=r"pixels; at most 64000000 are accepted|DecompressionBomb"):
        prepared(bomb(width, height))
    assert time.thread_time() - start < 1.0, "of the processor, whatever else runs on it"


def test_text_that_unpacks_without_end_is_refused() -> None:
    """A compressed comment of a PNG."""
    body = b"Comment\0\0" + zlib.compress(bytes(200 << 20), 9)
    text = struct.pack(">I", len(body)) + b"zTXt" + body + struct.pack(">I", zlib.crc32(b"zTXt" + body))
    with contextlib.suppress(PictureError):
        assert prepared(PNG[:33] + text + PNG[33:]).shape == (1, 3, 2, 3)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_changed_bytes_are_a_picture_or_refused(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["PNG", "JPEG", "BMP", "WEBP", "TIFF"]))
    changed = bytearray(saved(Image.fromarray(PIXELS), kind))
    for _ in range(data.draw(st.integers(1, 5))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(PictureError):
        found = prepared(bytes(changed), color=data.draw(st.sampled_from(["RGB", "BGR"])))
        assert (found.shape, found.dtype) == ((1, 3, 2, 3), np.float32)
        assert 0 <= found.min() <= found.max() <= 255


def test_absent_pillow_says_what_to_install() -> None:
    program = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "PIL":
            raise ModuleNotFoundError("No module named 'PIL'", name=name)
sys.meta_path.insert(0, Absent())
from device_agent.sources.preprocess import PictureError, load_image
try:
    load_image(b"", None)
except PictureError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[4],
    )
    assert (
        done.stdout
        == "picture: Pillow cannot be imported (No module named 'PIL'). pip install 'edgewright[images]'\n"
    )


def test_extreme_scales_of_a_manifest_give_no_warning() -> None:
    """A manifest may say so; what becomes infinite is refused where it would become a code."""
    assert np.isinf(prepared(PNG, std=(1e-45, 1e-45, 1e-45)).max())
    assert np.isfinite(prepared(PNG, mean=(3e38, 3e38, 3e38))).all()


# --- preprocess.toml ---

GOOD: dict[str, str] = {
    "resize": "[224, 192]",
    "resample": '"bicubic"',
    "color": '"RGB"',
    "layout": '"NHWC"',
    "mean": "[127, 127.5, 0]",
    "std": "[128, 1.5, 1e-6]",
}


def toml(**changes: str | None) -> bytes:
    lines = {**GOOD, **changes}
    return "\n".join(
        ["[preprocess]", *(f"{key} = {value}" for key, value in lines.items() if value)]
    ).encode()


def test_a_good_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "preprocess.toml"
    path.write_bytes(toml())
    found = load_preprocessing(path)
    assert (found.resize, found.resample, found.color, found.layout) == ((224, 192), "bicubic", "RGB", "NHWC")
    assert (found.mean, found.std) == ((127.0, 127.5, 0.0), (128.0, 1.5, 1e-6))
    grey = parse_preparation(toml(color='"L"', mean="[0]", std="[255]"), origin="p")
    assert (grey.mean, grey.std) == ((0.0,), (255.0,))
    assert (found.crop, grey.crop) == (None, None)
    assert parse_preparation(toml(crop="[224, 1]"), origin="p").crop == (224, 1)


@pytest.mark.parametrize("key", GOOD)
def test_a_missing_key_is_named(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"p\.toml: preprocess\.{key} is missing"):
        parse_preparation(toml(**{key: None}), origin="p.toml")


WRONG = {
    "resize": [
        "224",
        '"224x224"',
        "[224]",
        "[224, 224, 3]",
        "[0, 224]",
        "[-1, 1]",
        "[1.0, 2]",
        "[true, 1]",
        "[16385, 1]",
    ],
    "crop": ["224", "[224]", "[0, 1]", "[225, 192]", "[224, 193]", "[1.0, 2]", "[true, 1]"],
    "resample": ['"lanczos"', '"Bilinear"', "2", "[]", '["nearest"]', "{}"],
    "color": ['"rgb"', '"RGBA"', "3", "[]", '""'],
    "layout": ['"CHW"', '"nchw"', "1", "false"],
    "mean": [
        "127",
        "[]",
        "[1, 2]",
        "[1, 2, 3, 4]",
        "[nan, 0, 0]",
        "[inf, 0, 0]",
        '["1", 0, 0]',
        "[true, 0, 0]",
        "[1e7, 0, 0]",
    ],
    "std": [
        "1",
        "[0, 1, 1]",
        "[-1, 1, 1]",
        "[1, 1]",
        "[nan, 1, 1]",
        "[inf, 1, 1]",
        "[1e-7, 1, 1]",
        "[1e7, 1, 1]",
        "[1" + "0" * 400 + ", 1, 1]",
    ],
}


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in WRONG.items() for value in values]
)
def test_a_wrong_value_is_named_with_file_and_key(key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=rf"^p\.toml: preprocess\.{key}: expected .*, got ") as caught:
        parse_preparation(toml(**{key: value}), origin="p.toml")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (toml(colour='"RGB"'), r"preprocess\.colour: unknown key\. Did you mean 'color'\?"),
        (
            toml(zzz="1"),
            r"preprocess\.zzz: unknown key\. It knows resize, resample, color, layout, mean, std, crop\.$",
        ),
        (b"[preprocess]\nresise = [1, 2]", r"preprocess\.resise: unknown key\. Did you mean 'resize'\?"),
        (b'[preprocess]\n"a\\u001Bb" = 1', r"preprocess\.'a\\x1bb': unknown key"),
        (b"[preproces]\n", r"p: preproces: unknown key\. Did you mean 'preprocess'\?"),
        (b"", r"expected one table, \[preprocess\] for pictures"),
        (b"preprocess = 3", r"expected a table \[preprocess\]"),
        (b"[preprocess", "not valid TOML"),
        (b"\xff\xfe", "not valid TOML"),
        (b"[preprocess]\nresize = " + b"1" * 5000, "not valid TOML"),
        (b"[preprocess]\nresize = " + b"[" * 5000, "not valid TOML"),
        (toml() + b"\n" + toml(), "not valid TOML"),
    ],
)
def test_a_file_that_is_wrong_as_a_whole(data: bytes, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_preparation(data, origin="p")


def test_files_that_cannot_be_read_or_are_something_else(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml: cannot be read: No such file"):
        load_preprocessing(tmp_path / "absent.toml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_preprocessing(tmp_path)
    (tmp_path / "large").write_bytes(b"#" * (65 << 10))
    with pytest.raises(ConfigError, match="expected at most 65536 bytes"):
        load_preprocessing(tmp_path / "large")


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_text_is_a_preprocessing_or_refused(data: st.DataObject) -> None:
    value = st.recursive(
        st.integers() | st.floats() | st.booleans() | st.sampled_from(["RGB", "L", "NCHW", "nearest", ""]),
        lambda inner: st.lists(inner, max_size=4),
        max_leaves=6,
    )
    changes = data.draw(st.dictionaries(st.sampled_from([*GOOD, "extra"]), value.map(toml_text), max_size=3))
    text = bytearray(toml(**changes))
    for _ in range(data.draw(st.integers(0, 2))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ConfigError):
        found = parse_preparation(bytes(text), origin="p")
        assert load_image(PNG, dataclasses.replace(found, resize=(2, 3))).dtype == np.float32


def toml_text(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(toml_text, value)) + "]"
    return str(value).lower() if isinstance(value, (bool, float)) else repr(value).replace("'", '"')
