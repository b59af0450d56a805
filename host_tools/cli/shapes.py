"""`--shape NAME=1,3,224,224`, as several commands take it."""

from __future__ import annotations

from host_tools.errors import InputError


def parse_shapes(texts: list[str]) -> dict[str, tuple[int, ...]]:
    """Read ``NAME=1,3,224,224`` texts.

    Raises:
        InputError: One has another form.
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
        shapes[name] = shape
    return shapes
