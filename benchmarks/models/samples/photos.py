"""Photos of the benchmarks' data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from benchmarks.material import read_photos
from device_agent.sources.preprocess import load_image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from device_agent.contract.manifest import Preprocessing

Split = Literal["calib", "eval"]


def photos(folder: Path, split: Split, count: int, preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Return the first photos of a split as a model's input, float32 of shape (count, 1, *model's own).

    Args:
        folder: With ``labels.csv`` and ``images``.
        split: ``calib`` or ``eval``.
        count: How many; fewer where there are fewer.
        preprocessing: How a picture becomes the input.

    Raises:
        DataError: The folder is not what it should be.
    """
    chosen = read_photos(folder)[split][:count]
    return np.stack([load_image(photo.path, preprocessing) for photo in chosen])
