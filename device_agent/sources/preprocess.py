"""A picture to the float model's input. Host calibration and device share this file, so that the model sees the same on both."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from device_agent.contract.errors import DeviceError
from device_agent.sources import resample

try:
    from PIL import Image, ImageOps, UnidentifiedImageError
except ImportError as error:
    Image = None  # type: ignore[assignment]  # its absence is reported when a picture is asked for
    _absence = str(error)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from device_agent.contract.manifest import Preprocessing

MAX_PIXELS: Final = 64_000_000
"""A picture of more pixels is refused before it is decoded."""
_FORMATS: Final = ("JPEG", "PNG", "BMP", "WEBP", "TIFF")
"""Of Pillow's many readers those of which a camera may make use; its EPS reader, for one, runs another program."""
_MODES: Final = ("1", "L", "P", "RGB", "RGBA", "LA", "PA", "CMYK", "YCbCr")


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
        PictureError: Pillow is absent, the picture cannot be read, is larger than `MAX_PIXELS`, also when resized, or has more than 8 bits
            a channel.
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
    """Resize and normalise a picture that is decoded already, as `load_image` does; without Pillow too, to the same numbers.

    Args:
        picture: Shape (height, width) or (height, width, 1) of grey, or (height, width, 3), red first.
        preprocessing: What to do.

    Returns:
        As `load_image`.

    Raises:
        PictureError: It has no pixel, or more than `MAX_PIXELS`, also when resized.
    """
    height, width = picture.shape[:2]
    if not height * width:
        raise PictureError(f"picture: {width} x {height} pixels; expected at least 1 x 1.")
    if Image is not None:
        grey_or_color = picture[:, :, 0] if picture.shape[2:] == (1,) else picture
        pixels = _pixels(Image.fromarray(np.ascontiguousarray(grey_or_color)), preprocessing, "picture")
        return _normalised(pixels, preprocessing)
    _require_few_pixels(width, height, "picture")
    rows, columns = _scaled(height, width, preprocessing, "picture")
    colored = _colored(picture.reshape(height, width, -1), preprocessing)
    resized = resample.resize(colored, (rows, columns), preprocessing.resample)
    return _normalised(_cut(resized, preprocessing), preprocessing)


def prepared(array: NDArray[np.generic], preprocessing: Preprocessing | None) -> NDArray[np.generic]:
    """Return an array as the model takes it: a picture is prepared, anything else is the model's input already.

    Args:
        array: A picture if it is uint8 of shape (height, width), (height, width, 1) or (height, width, 3): no input of a model that takes
            pictures looks so, for that has four axes.
        preprocessing: How pictures are prepared; None where the model takes none.

    Raises:
        PictureError: See `prepare_pixels`.
    """
    is_picture = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3))
    if preprocessing is None or not is_picture or array.dtype != np.uint8:
        return array
    return prepare_pixels(np.asarray(array, np.uint8), preprocessing)


def _normalised(pixels: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.float32]:
    mean, std = np.asarray(preprocessing.mean, np.float32), np.asarray(preprocessing.std, np.float32)
    with np.errstate(over="ignore"):  # a manifest may say 1e-40; what is infinite is refused where it is used
        values = (pixels.astype(np.float32) - mean) / std
    ordered = values if preprocessing.layout == "NHWC" else values.transpose(2, 0, 1)
    return np.ascontiguousarray(ordered[np.newaxis], dtype=np.float32)


def _pixels(picture: Image.Image, preprocessing: Preprocessing, where: str) -> NDArray[np.uint8]:
    """Return the pixels as the model takes them but for the scale, shape (height, width, channels)."""
    _require_few_pixels(picture.width, picture.height, where)
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
    rows, columns = _scaled(colored.height, colored.width, preprocessing, where)
    filters = {
        "nearest": Image.Resampling.NEAREST,
        "bilinear": Image.Resampling.BILINEAR,
        "bicubic": Image.Resampling.BICUBIC,
    }
    # In two steps, for Pillow 13 takes the columns first where that is quicker, and what comes out is not the same.
    narrowed = colored.resize((columns, colored.height), filters[preprocessing.resample])
    resized = narrowed.resize((columns, rows), filters[preprocessing.resample])
    return _cut(np.asarray(resized).reshape(rows, columns, -1), preprocessing)


def _scaled(height: int, width: int, preprocessing: Preprocessing, where: str) -> tuple[int, int]:
    """Return rows and columns after resizing: as given, or before a crop the least that cover what is given with the picture's aspect.

    Raises:
        PictureError: What resizing makes of the picture, or goes through on the way, has too many pixels.
    """
    rows, columns = preprocessing.resize
    if preprocessing.crop is not None:
        if rows * width >= columns * height:
            columns = width * rows // height
        else:
            rows = height * columns // width
    for down in (height, rows):  # a strip is small until it is as wide as the model wants it
        _require_few_pixels(columns, down, where, resized=" when resized")
    return rows, columns


def _require_few_pixels(width: int, height: int, where: str, *, resized: str = "") -> None:
    if width * height > MAX_PIXELS:
        raise PictureError(f"{where}: {width} x {height} pixels{resized}; at most {MAX_PIXELS} are accepted.")


def _cut(pixels: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Cut the centre out where that is wanted, and put the channels into their order."""
    if preprocessing.crop is not None:
        rows, columns = preprocessing.crop
        top, left = round((pixels.shape[0] - rows) / 2), round((pixels.shape[1] - columns) / 2)
        pixels = pixels[top : top + rows, left : left + columns]
    return pixels[:, :, ::-1] if preprocessing.color == "BGR" else pixels


def _colored(pixels: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Return as many channels as the model takes, red first."""
    if preprocessing.color == "L":
        return pixels if pixels.shape[2] == 1 else resample.to_luminance(pixels)
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
