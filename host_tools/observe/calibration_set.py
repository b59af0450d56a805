"""`CalibrationSet`: samples that fit the model's inputs, read one at a time, as often as asked for.

A `SampleSource` knows a kind of storage and gives what is there; this module holds every sample against the model's inputs, so that
whatever comes out of a `CalibrationSet` is complete, of the right shape and type, and finite.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

import numpy as np

from device_agent.contract.digest import digest_of
from host_tools.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from host_tools.model.float_model import TensorSpec


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """One sample, ready to feed.

    Attributes:
        id: File name or index, for messages and labels.
        arrays: One C-contiguous, finite array an input, of exactly the input's shape and type.
    """

    id: str
    arrays: Mapping[str, NDArray[np.generic]]

    def digest(self) -> bytes:
        """Return the SHA-256 of names, types, shapes and bytes, inputs in the order of their names; 32 bytes."""
        state = hashlib.sha256()
        for name in sorted(self.arrays):
            array = self.arrays[name]
            state.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
            state.update(np.ascontiguousarray(array).data)
        return state.digest()


class SampleSource(Protocol):
    """A kind of storage.

    Attributes:
        where: What to call it in messages: a path or ``module:function``.
    """

    where: str

    def __len__(self) -> int:
        """How many samples there are."""
        ...

    def samples(self) -> Iterator[tuple[str, Mapping[str, NDArray[np.generic]]]]:
        """Read from the start: (id, arrays by input name) one at a time; arrays may lack the batch axis.

        Raises:
            DataError: A sample cannot be read.
        """
        ...

    def ids(self) -> Iterator[str]:
        """The ids that `samples` gives, in order, without reading samples."""
        ...

    def fingerprint(self, count: int) -> str | None:
        """A digest that changes when the first ``count`` samples may have, or None when reading them is the only way to know.

        Raises:
            DataError: The storage cannot be read.
        """
        ...


class CalibrationSet:
    """Samples for one model. Iterating reads from the start each time; nothing is kept."""

    def __init__(
        self,
        source: SampleSource,
        inputs: tuple[TensorSpec, ...],
        *,
        limit: int | None = None,
        places: Sequence[int] | None = None,
    ) -> None:
        """Hold ``source`` against ``inputs``.

        Args:
            source: Where samples come from.
            inputs: The model's inputs.
            limit: Use only the first samples; all when None.
            places: Use only the samples at these places, ascending; not together with ``limit``.

        Raises:
            DataError: There is no sample, or ``limit`` is below 1.
        """
        if limit is not None and limit < 1:
            raise DataError(f"The number of samples must be at least 1, got {limit}.")
        self.total = len(source)
        if self.total == 0:
            raise DataError(
                f"{source.where}: no samples.", hint="Give at least one; a few hundred make good statistics."
            )
        self._source = source
        self._inputs = inputs
        self._places = (
            range(self.total if limit is None else min(limit, self.total)) if places is None else places
        )

    @property
    def where(self) -> str:
        """Where the samples come from, for messages."""
        return self._source.where

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[Sample]:
        """Read every sample.

        Raises:
            DataError: A sample cannot be read, does not fit the model, or is not finite; or fewer or more came than were announced.
        """
        end = self._places[-1] + 1
        left = iter(self._places)
        wanted = next(left)
        came = 0
        for name, arrays in self._source.samples():
            if came == end:
                raise DataError(f"{self.where}: {end} samples were announced, more came.")
            if came == wanted:
                yield Sample(id=name, arrays=MappingProxyType(self._fitted(name, arrays)))
                wanted = next(left, end)
            came += 1
            if came == end < self.total:
                break
        if came < end:
            raise DataError(f"{self.where}: {end} samples were announced, {came} came.")

    def spread(self, count: int) -> CalibrationSet:
        """Return ``count`` samples at equal distances (all when there are fewer): folders are often sorted by class.

        Raises:
            DataError: ``count`` is below 1.
        """
        if count < 1:
            raise DataError(f"The number of samples must be at least 1, got {count}.")
        return self._part(_spread(len(self), count))

    def without_spread(self, count: int) -> CalibrationSet:
        """Return the samples that are not among ``spread(count)``, which must leave at least one; all for a ``count`` of 0.

        Raises:
            DataError: None is left.
        """
        if count >= len(self):
            raise DataError(f"{self.where}: {len(self)} samples, none is left without {count}.")
        taken = frozenset(_spread(len(self), count))
        return self._part([place for place in range(len(self)) if place not in taken])

    def ids(self) -> Iterator[str]:
        """Return every sample's id, without reading samples."""
        left = iter(self._places)
        wanted = next(left)
        for place, name in enumerate(self._source.ids()):
            if place == wanted:
                yield name
                wanted = next(left, -1)

    def fingerprint(self) -> str | None:
        """Return a digest of what is read and how, without preparing samples; None when only reading them would tell.

        Raises:
            DataError: The storage cannot be read.
        """
        end = self._places[-1] + 1
        told = self._source.fingerprint(end)
        if told is None or len(self) == end:
            return told
        return digest_of(f"{told} at {' '.join(map(str, self._places))}".encode())

    def _part(self, places: Sequence[int]) -> CalibrationSet:
        return CalibrationSet(self._source, self._inputs, places=[self._places[place] for place in places])

    def _fitted(self, name: str, arrays: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        expected = [spec.name for spec in self._inputs]
        if set(arrays) != set(expected):
            raise DataError(
                f"{self.where}: sample {name}: expected the inputs {', '.join(expected)}, got {', '.join(arrays) or 'none'}."
            )
        return {spec.name: self._fitted_array(name, spec, arrays[spec.name]) for spec in self._inputs}

    def _fitted_array(self, name: str, spec: TensorSpec, array: NDArray[np.generic]) -> NDArray[np.generic]:
        where = f"{self.where}: sample {name}, input {spec.name!r}"
        expected = np.dtype(spec.dtype)
        if array.dtype != expected and array.dtype.newbyteorder("=") == expected:
            array = array.astype(expected)  # the same numbers, bytes the other way round
        if array.dtype != expected:
            raise DataError(
                f"{where}: expected {spec.dtype}, got {array.dtype}.",
                hint=f"Convert it: array.astype({spec.dtype!r}).",
            )
        if array.shape == spec.shape[1:] and spec.shape[:1] == (1,):
            array = array[np.newaxis]
        if array.shape != spec.shape:
            batchless = f" or {spec.shape[1:]}" if spec.shape[:1] == (1,) else ""
            raise DataError(f"{where}: expected shape {spec.shape}{batchless}, got {array.shape}.")
        if array.dtype.kind == "f":
            bad = int(array.size - np.count_nonzero(np.isfinite(array)))
            if bad:
                raise DataError(
                    f"{where}: {bad} of {array.size} values are NaN or infinite.",
                    hint="Leave the sample out or mend it.",
                )
        if spec.rows is not None:
            self._require_rows(where, array, spec.rows)
        return np.ascontiguousarray(array)

    @staticmethod
    def _require_rows(where: str, array: NDArray[np.generic], rows: int) -> None:
        numbers = array.astype(np.int64)
        beyond = numbers[(numbers < -rows) | (numbers >= rows)]
        if beyond.size:
            raise DataError(
                f"{where}: {beyond.flat[0]} names no row of the table that it is looked up in: expected {-rows} to {rows - 1}.",
                hint="Is it data of this model, and made by its own tokeniser?",
            )


def _spread(total: int, count: int) -> list[int]:
    """Return ``count`` places of ``total`` at equal distances, each in the middle of its part."""
    taken = min(count, total)
    return [(2 * part + 1) * total // (2 * taken) for part in range(taken)]
