"""Frames from an ``.npz``: keys are the float model's input names, the first axis is the sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.lib.npyio import NpzFile

from device_agent.contract.document import printable
from device_agent.contract.errors import DeviceError
from device_agent.contract.regular_file import open_regular_file
from device_agent.sources.adapt import FrameError, source_shape, to_payload
from device_agent.sources.source import Frame, SourceEnded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from device_agent.contract.manifest import PayloadTensor


class ReplaySource:
    """See `Source`. All samples are in memory; one with values that have no code is counted as refused and left out.

    Raises:
        DeviceError: The file cannot be read, keys are missing, or shapes do not fit.
    """

    def __init__(
        self,
        path: Path,
        tensors: Sequence[PayloadTensor],
        *,
        loop: bool,
        on_refused: Callable[[str], None] | None = None,
    ) -> None:
        self.dropped = 0
        self.refused = 0
        self._tensors = tensors
        self._loop = loop
        self._on_refused = on_refused
        self._readable = 0
        self._name = path.name
        self._arrays = _read(path, tensors)
        self._count = len(next(iter(self._arrays.values())))
        self._next = 0

    def next(self, timeout_seconds: float) -> Frame | None:
        """See `Source.next`; never waits."""
        del timeout_seconds
        if self._next >= self._count:
            if not self._loop or not self._readable:
                raise SourceEnded
            self._next = 0
        index = self._next
        self._next += 1
        sample = {
            tensor.source_name: self._arrays[tensor.source_name][index].reshape(source_shape(tensor))
            for tensor in self._tensors
        }
        try:
            frame = Frame(id=str(index), inputs=to_payload(sample, self._tensors))
        except FrameError as error:
            self.refused += 1
            if self._on_refused is not None:
                self._on_refused(printable(f"{self._name}: sample {index}: {error}"))
            return None
        self._readable += 1
        return frame

    def close(self) -> None:
        """See `Source.close`."""
        self._arrays = {}
        self._count = self._readable = 0


def _npz(stream: BinaryIO, path: Path) -> NpzFile:
    archive = np.load(stream, allow_pickle=False)
    if not isinstance(archive, NpzFile):
        raise DeviceError(f"{path}: one array, not an .npz.", hint="numpy.savez writes one.")
    return archive


def _read(path: Path, tensors: Sequence[PayloadTensor]) -> dict[str, NDArray[np.generic]]:
    names = [tensor.source_name for tensor in tensors]
    try:
        # Opened here: `numpy.load` leaves open what it cannot read.
        with open_regular_file(path) as stream, _npz(stream, path) as archive:
            missing = [name for name in names if name not in archive]
            if missing:
                raise DeviceError(
                    f"{path}: no array {missing[0]!r}; there are {', '.join(archive) or 'none'}."
                )
            arrays: dict[str, NDArray[np.generic]] = {name: archive[name] for name in names}
    except DeviceError:
        raise
    except OSError as error:
        raise DeviceError(f"{path}: cannot be read: {error.strerror or error}.") from error
    except Exception as error:  # zip, header and compression each fail with types of their own
        raise DeviceError(
            f"{path}: not an .npz that can be read: {type(error).__name__}: {error}."
        ) from error
    counts = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if len(set(counts.values())) != 1 or not min(counts.values()):
        raise DeviceError(
            f"{path}: expected the same number of samples, at least 1, of each input, got {counts}."
        )
    for tensor in tensors:
        found, wanted = arrays[tensor.source_name].shape[1:], source_shape(tensor)
        if found not in (wanted, wanted[1:]):
            raise DeviceError(
                f"{path}: {tensor.source_name!r}: expected samples of shape {wanted}, got {found}."
            )
    return arrays
