"""Input checks that every engine shares: cheap enough for each inference, exact about what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device_agent.contract.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray


class InputCheck:
    """Holds what a payload's inputs must be."""

    __slots__ = ("_expected", "_names")

    def __init__(
        self, names: Sequence[str], dtypes: Sequence[np.dtype[np.generic]], shapes: Sequence[tuple[int, ...]]
    ) -> None:
        self._names = tuple(names)
        self._expected = tuple(zip(dtypes, shapes, strict=True))

    def __call__(self, inputs: Sequence[NDArray[np.generic]]) -> None:
        """Check one inference's inputs.

        Raises:
            EngineError: The number of inputs, a type or a shape is wrong.
        """
        if len(inputs) != len(self._expected):
            raise EngineError(
                f"expected {len(self._expected)} inputs ({', '.join(self._names)}), got {len(inputs)}."
            )
        for index, (dtype, shape) in enumerate(self._expected):
            array = inputs[index]
            try:
                fits = array.dtype == dtype and array.shape == shape
            except AttributeError:
                fits = False
            if not fits:
                raise EngineError(
                    f"input {self._names[index]!r}: expected an array of {dtype}, shape {shape}; got {_described(array)}."
                )


def _described(array: object) -> str:
    dtype, shape = getattr(array, "dtype", None), getattr(array, "shape", None)
    if dtype is None or shape is None:
        return f"a {type(array).__name__}"
    return f"{dtype}, shape {shape}"
