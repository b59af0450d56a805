"""Samples from the user's own code: ``module:function`` returns something with a length that can be iterated again and again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sized
from typing import TYPE_CHECKING

import numpy as np

from host_tools.errors import DataError
from host_tools.user_code import load_function

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from host_tools.model.float_model import TensorSpec


class FunctionSource:
    """What a user's function returned: arrays (for a model of one input) or mappings from input name to array."""

    def __init__(self, spec: str, inputs: tuple[TensorSpec, ...]) -> None:
        """Import and call the function.

        Raises:
            DataError: It cannot be imported or called, or returns something without length or without a second reading.
        """
        self.where = spec
        self._inputs = inputs
        self._iterable, self._count = self._called(spec)

    def _called(self, spec: str) -> tuple[Iterable[object], int]:
        try:
            function = load_function(spec)
        except (Exception, SystemExit) as error:
            raise DataError(
                f"{spec} cannot be imported: {type(error).__name__}: {error}.",
                hint="Run from the folder that holds the module, or set PYTHONPATH.",
            ) from error
        if not callable(function):
            raise DataError(f"{spec}: expected a function, got {type(function).__name__}.")
        try:
            result = function()
            count = len(result) if isinstance(result, Sized) else None
        except (Exception, SystemExit) as error:
            raise self._failed(error) from error
        if count is None or not _can_be_read_again(result):
            raise DataError(
                f"{spec} returned {type(result).__name__}; expected something with a length that can be iterated again and again.",
                hint="Return a list, or an object with __len__ and __iter__ (or __getitem__).",
            )
        return result, count

    def __len__(self) -> int:
        return self._count

    def samples(self) -> Iterator[tuple[str, Mapping[str, NDArray[np.generic]]]]:
        """See `SampleSource.samples`."""
        iterator = self._guarded()
        for index, item in enumerate(iterator):
            yield str(index), self._arrays(index, item)

    def ids(self) -> Iterator[str]:
        """See `SampleSource.ids`."""
        return map(str, range(self._count))

    def fingerprint(self, count: int) -> str | None:
        """See `SampleSource.fingerprint`: code can return anything, so only reading tells."""
        del count
        return None

    def _guarded(self) -> Iterator[object]:
        """Iterate; what the user's code raises on the way is told as ours."""
        try:
            iterator = iter(self._iterable)
            while True:
                try:
                    item = next(iterator)
                except StopIteration:
                    return
                yield item
        except Exception as error:
            raise self._failed(error) from error

    def _arrays(self, index: int, item: object) -> Mapping[str, NDArray[np.generic]]:
        if isinstance(item, Mapping):
            return {str(name): self._array(index, value) for name, value in item.items()}
        if len(self._inputs) != 1:
            names = ", ".join(spec.name for spec in self._inputs)
            raise DataError(
                f"{self.where}: sample {index}: expected a mapping with {names}, got {type(item).__name__}."
            )
        return {self._inputs[0].name: self._array(index, item)}

    def _array(self, index: int, value: object) -> NDArray[np.generic]:
        try:
            return np.array(value)  # a copy: who yields it may fill the same memory with the next sample
        except Exception as error:
            raise DataError(f"{self.where}: sample {index} is no array: {error}.") from error

    def _failed(self, error: BaseException) -> DataError:
        return DataError(f"{self.where} raised {type(error).__name__}: {error}.", hint="Mend the function.")


def _can_be_read_again(result: object) -> bool:
    # A class with __getitem__ alone can be iterated too, and no abstract class knows of it.
    iterable = isinstance(result, Iterable) or hasattr(result, "__getitem__")
    return iterable and not isinstance(result, Iterator)
