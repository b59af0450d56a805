"""Pictures and ways to prepare them, the same in every process; needs no Pillow."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.unit.device_agent.sources.payload_tensors import PREPROCESSING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from device_agent.contract.manifest import Preprocessing


def cases() -> Iterator[tuple[np.ndarray, Preprocessing]]:
    """Yield 108 of them: every filter, colour order and layout, with and without a crop."""
    generator = np.random.default_rng(8)
    for resample in ("nearest", "bilinear", "bicubic"):
        for color in ("RGB", "BGR", "L"):
            count = 1 if color == "L" else 3
            for layout in ("NCHW", "NHWC"):
                for crop in (None, (20, 9)):
                    for channels in (1, 3, None):
                        height, width = generator.integers(1, 90, 2)
                        shape = (height, width) if channels is None else (height, width, channels)
                        asked: dict[str, Any] = {
                            "resample": resample,
                            "color": color,
                            "layout": layout,
                            "crop": crop,
                        }
                        yield (
                            generator.integers(0, 256, shape, np.uint8),
                            dataclasses.replace(
                                PREPROCESSING,
                                resize=(24, 17),
                                mean=(127.5,) * count,
                                std=(58.4,) * count,
                                **asked,
                            ),
                        )
