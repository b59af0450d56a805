"""A picture to the float model's input. Host calibration and device share this file, so that the model sees the same on both."""

from __future__ import annotations

import difflib
import io
import reprlib
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from device_agent.contract.errors import ConfigError, DeviceError
from device_agent.contract.manifest import Preprocessing

try:
    from PIL import Image, ImageOps, UnidentifiedImageError
except ImportError as error:
    Image = None  # type: ignore[assignment]  # its absence is reported when a picture is asked for
    _absence = str(error)

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

MAX_PIXELS: Final = 64_000_000
"""A picture of more pixels is refused before it is decoded."""
FILE_NAME: Final = "preprocess.toml"
_MAX_FILE_BYTES: Final = 64 << 10
_MAX_EXTENT: Final = 16_384
_FORMATS: Final = ("JPEG", "PNG", "BMP", "WEBP", "TIFF")
"""Of Pillow's many readers those of which a camera may make use; its EPS reader, for one, runs another program."""
_MEAN_LIMIT: Final = 1e6
_STD_RANGE: Final = (1e-6, 1e6)
_MODES: Final = ("1", "L", "P", "RGB", "RGBA", "LA", "PA", "CMYK", "YCbCr")
_CHOICES: Final = {
    "resample": ("nearest", "bilinear", "bicubic"),
    "color": ("RGB", "BGR", "L"),
    "layout": ("NCHW", "NHWC"),
}
_KEYS: Final = ("resize", "resample", "color", "layout", "mean", "std")


class PictureError(DeviceError):
    """A picture cannot be read, or is of a kind that is not accepted."""

    code = "picture"


def load_image(source: Path | bytes, preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Decode, orient, resize and normalise one picture.

    Args:
        source: A file, or its bytes.
        preprocessing: What to do.

    Returns:
        float32 of shape (1, channels, height, width) or (1, height, width, channels), C-contiguous.

    Raises:
        PictureError: Pillow is absent, the picture cannot be read, is larger than `MAX_PIXELS`, or has more than 8 bits a channel.
    """
    where = str(source) if isinstance(source, Path) else "picture"
    if Image is None:
        raise PictureError(
            f"{where}: Pillow cannot be imported ({_absence}).", hint="pip install 'edgewright[images]'"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            stream = io.BytesIO(source) if isinstance(source, bytes) else source
            with Image.open(stream, formats=_FORMATS) as picture:
                pixels = _pixels(picture, preprocessing, where)
    except PictureError:
        raise
    except UnidentifiedImageError as error:
        raise PictureError(f"{where}: not a picture in one of the formats {', '.join(_FORMATS)}.") from error
    except Exception as error:
        raise PictureError(f"{where}: cannot be read: {type(error).__name__}: {error}.") from error
    return _normalised(pixels, preprocessing)


def prepare_pixels(picture: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Resize and normalise a picture that is decoded already, as `load_image` does.

    Args:
        picture: Shape (height, width, 3), red first.
        preprocessing: What to do.

    Returns:
        As `load_image`.

    Raises:
        PictureError: Pillow is absent.
    """
    if Image is None:
        raise PictureError(
            f"picture: Pillow cannot be imported ({_absence}).", hint="pip install 'edgewright[images]'"
        )
    pixels = _pixels(Image.fromarray(np.ascontiguousarray(picture)), preprocessing, "picture")
    return _normalised(pixels, preprocessing)


def _normalised(pixels: NDArray[np.float32], preprocessing: Preprocessing) -> NDArray[np.float32]:
    mean, std = np.asarray(preprocessing.mean, np.float32), np.asarray(preprocessing.std, np.float32)
    with np.errstate(over="ignore"):  # a manifest may say 1e-40; what is infinite is refused where it is used
        values = (pixels - mean) / std
    ordered = values if preprocessing.layout == "NHWC" else values.transpose(2, 0, 1)
    return np.ascontiguousarray(ordered[np.newaxis], dtype=np.float32)


def _pixels(picture: Image.Image, preprocessing: Preprocessing, where: str) -> NDArray[np.float32]:
    """Return the pixels on 0..255, shape (height, width, channels)."""
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise PictureError(f"{where}: {width} x {height} pixels; at most {MAX_PIXELS} are accepted.")
    if picture.mode not in _MODES:
        raise PictureError(
            f"{where}: mode {picture.mode} is not accepted.", hint="Convert it to 8 bits a channel."
        )
    upright = ImageOps.exif_transpose(picture)
    if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
        # Transparent means white, as a browser would show it, and not whatever colour lies beneath.
        layered = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered)
    colored = upright.convert("L" if preprocessing.color == "L" else "RGB")
    rows, columns = preprocessing.resize
    filters = {
        "nearest": Image.Resampling.NEAREST,
        "bilinear": Image.Resampling.BILINEAR,
        "bicubic": Image.Resampling.BICUBIC,
    }
    resized = colored.resize((columns, rows), filters[preprocessing.resample])
    pixels = np.asarray(resized, dtype=np.float32).reshape(rows, columns, -1)
    return pixels[:, :, ::-1] if preprocessing.color == "BGR" else pixels


def load_preprocessing(path: Path) -> Preprocessing:
    """Read a ``preprocess.toml``.

    Raises:
        ConfigError: It cannot be read or is wrong; the message names file and key.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}.") from error
    if len(data) > _MAX_FILE_BYTES:
        raise ConfigError(f"{path}: expected at most {_MAX_FILE_BYTES} bytes; this is some other file.")
    return parse_preprocessing(data, origin=str(path))


def parse_preprocessing(data: bytes, *, origin: str) -> Preprocessing:
    """Read the text of a ``preprocess.toml``.

    Raises:
        ConfigError: It is wrong; the message names ``origin`` and key.
    """
    try:
        document = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:  # an integer of thousands of digits is a plain ValueError
        raise ConfigError(f"{origin}: not valid TOML: {error}.") from error
    _refuse_unknown(document, ("preprocess",), f"{origin}: ")
    table = document.get("preprocess")
    if not isinstance(table, dict):
        raise ConfigError(f"{origin}: expected a table [preprocess].")
    where = f"{origin}: preprocess."
    _refuse_unknown(table, _KEYS, where)
    missing = [key for key in _KEYS if key not in table]
    if missing:
        raise ConfigError(f"{where}{missing[0]} is missing.")
    color = _choice(table, "color", where)
    channels = 1 if color == "L" else 3
    return Preprocessing(
        resize=_resize(table["resize"], where),
        resample=_choice(table, "resample", where),  # type: ignore[arg-type]  # one of the literal's own values
        color=color,  # type: ignore[arg-type]  # as above
        layout=_choice(table, "layout", where),  # type: ignore[arg-type]  # as above
        mean=_numbers(table, "mean", channels, where, low=-_MEAN_LIMIT, high=_MEAN_LIMIT),
        std=_numbers(table, "std", channels, where, low=_STD_RANGE[0], high=_STD_RANGE[1]),
    )


def _refuse_unknown(table: Mapping[str, object], known: tuple[str, ...], where: str) -> None:
    for key in table:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            meant = f" Did you mean {close[0]!r}?" if close else ""
            raise ConfigError(f"{where}{key}: unknown key.{meant}")


def _choice(table: Mapping[str, object], key: str, where: str) -> str:
    choices = _CHOICES[key]
    value = table[key]
    if not isinstance(value, str) or value not in choices:
        raise ConfigError(f"{where}{key}: expected one of {', '.join(choices)}, got {reprlib.repr(value)}.")
    return value


def _resize(value: object, where: str) -> tuple[int, int]:
    if isinstance(value, list) and len(value) == 2:
        height, width = value
        if all(type(extent) is int and 1 <= extent <= _MAX_EXTENT for extent in (height, width)):
            return height, width
    raise ConfigError(
        f"{where}resize: expected [height, width] from 1 to {_MAX_EXTENT}, got {reprlib.repr(value)}."
    )


def _numbers(
    table: Mapping[str, object], key: str, count: int, where: str, *, low: float, high: float
) -> tuple[float, ...]:
    value = table[key]
    if isinstance(value, list) and len(value) == count and all(_is_within(item, low, high) for item in value):
        return tuple(float(item) for item in value)
    wanted = f"{count} numbers from {low:g} to {high:g}, one a channel"
    raise ConfigError(f"{where}{key}: expected {wanted}, got {reprlib.repr(value)}.")


def _is_within(value: object, low: float, high: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high
