"""Lines of text as pictures: for readers of text, and on photos for finders of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.material import read_photos
from benchmarks.models.samples.sentences import sentences

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.models.samples.photos import Split

_SEEDS = {"calib": 1, "eval": 2}


def lines_of_text(
    split: Split, count: int, *, height: int, width: int, upside_down: bool = False
) -> NDArray[np.uint8]:
    """Return pictures of one line each, shape (count, height, width, 3): dark on light, sizes and greys drawn at random.

    Args:
        split: Whose random numbers.
        count: How many.
        height: In pixels.
        width: In pixels.
        upside_down: Whether every second one stands on its head.
    """
    rng, texts = np.random.default_rng(_SEEDS[split]), _words(split)
    pictures = np.empty((count, height, width, 3), np.uint8)
    for index in range(count):
        light, dark = int(rng.integers(170, 256)), int(rng.integers(0, 90))
        page = Image.new("RGB", (width, height), (light, light, light))
        font = ImageFont.load_default(size=float(rng.uniform(0.5, 0.75) * height))
        at = (float(rng.uniform(0.05, 0.3) * height), 0.1 * height)
        ImageDraw.Draw(page).text(at, texts[index % len(texts)], font=font, fill=(dark, dark, dark))
        noise = rng.normal(0.0, 6.0, (height, width, 3))
        picture = np.clip(np.asarray(page, np.float64) + noise, 0, 255).astype(np.uint8)
        pictures[index] = picture[::-1, ::-1] if upside_down and index % 2 else picture
    return pictures


def text_on_photos(folder: Path, split: Split, count: int, *, size: int) -> NDArray[np.uint8]:
    """Return photos with three lines of text on each, shape (count, size, size, 3).

    Raises:
        DataError: The folder is not what it should be.
    """
    rng, texts = np.random.default_rng(_SEEDS[split]), _words(split)
    chosen = read_photos(folder)[split][:count]
    pictures = np.empty((len(chosen), size, size, 3), np.uint8)
    for index, photo in enumerate(chosen):
        with Image.open(photo.path) as opened:
            page = opened.convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
        drawing = ImageDraw.Draw(page)
        for line in range(3):
            font = ImageFont.load_default(size=float(rng.uniform(0.05, 0.1) * size))
            at = (float(rng.uniform(0.02, 0.4) * size), float((0.1 + 0.3 * line) * size))
            text = texts[(3 * index + line) % len(texts)]
            drawing.text(at, text, font=font, fill="white", stroke_width=2, stroke_fill="black")
        pictures[index] = np.asarray(page)
    return pictures


def _words(split: Split) -> list[str]:
    """Return pieces of two or three words of the documentation; the splits share no sentence."""
    own = sentences()[0 if split == "calib" else 1 :: 2]
    pieces = [sentence.split()[:3] for sentence in own]
    return [" ".join(words)[:18] for words in pieces if len(words) > 1]
