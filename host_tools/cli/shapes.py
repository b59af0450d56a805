"""`--shape NAME=1,3,224,224` and `--constant NAME=16000`: what is said of a model's inputs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from host_tools.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST_ELEMENTS = 2**63 - 1  # an ONNX extent is an int64, and so is a count of elements


def parse_shapes(texts: list[str]) -> dict[str, tuple[int, ...]]:
    """Read ``NAME=1,3,224,224`` texts.

    Raises:
        InputError: One has another form, or more elements than an int64 counts; an input is named twice.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for text in texts:
        name, _, extents = text.rpartition("=")
        try:
            shape = tuple(int(extent) for extent in extents.split(","))
        except ValueError:
            shape = ()
        if not name or not shape or min(shape) < 1:
            raise InputError(f"--shape: expected NAME=1,3,224,224 with positive whole numbers, got {text!r}.")
        if math.prod(shape) > _MOST_ELEMENTS:
            raise InputError(
                f"--shape: expected at most {_MOST_ELEMENTS} elements (2⁶³ − 1), got {text[:200]!r}."
            )
        _require_new(name, shapes, "--shape")
        shapes[name] = shape
    return shapes


def parse_constants(texts: list[str]) -> dict[str, tuple[float, ...]]:
    """Read ``NAME=16000`` and ``NAME=1,0.5`` texts; whole numbers stay whole.

    Raises:
        InputError: One has another form, or a number that is not finite; an input is named twice.
    """
    constants: dict[str, tuple[float, ...]] = {}
    for text in texts:
        name, _, values = text.rpartition("=")
        try:
            numbers = tuple(_number(value) for value in values.split(","))
        except ValueError:
            numbers = ()
        if not name or not numbers or not all(math.isfinite(number) for number in numbers):
            raise InputError(
                f"--constant: expected NAME=16000 or NAME=1,0.5 with finite numbers, got {text!r}."
            )
        _require_new(name, constants, "--constant")
        constants[name] = numbers
    return constants


def _require_new(name: str, known: Mapping[str, object], option: str) -> None:
    if name in known:
        raise InputError(f"{option} names {name!r} twice.", hint="Leave one of the two out.")


def _number(text: str) -> float:
    number = float(text)
    return int(text) if number.is_integer() and text.strip("+-").isdecimal() else number
