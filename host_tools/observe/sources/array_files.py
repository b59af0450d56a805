"""Samples in NumPy files: one ``.npy``, a folder of ``.npy``, or a ``.npz``. Each is read a sample at a time.

A ``.npz`` is not loaded whole, as `numpy.load` would: its members are unpacked as a stream.
"""

from __future__ import annotations

import zipfile
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.lib import format as npy_format

from device_agent.contract.digest import digest_of, digest_of_file
from device_agent.sources.preprocess import PictureError, prepared
from host_tools.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from device_agent.contract.manifest import Preprocessing
    from host_tools.model.float_model import TensorSpec

_ZIP = b"PK"
_CUT_SHORT = "If it was cut short on the way, copy or save it again."


def file_digest(path: Path) -> str:
    """Return the digest of a data file.

    Raises:
        DataError: It cannot be read.
    """
    try:
        return digest_of_file(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error


def open_npy(path: Path) -> NDArray[np.generic]:
    """Map an array file into memory without reading it.

    Raises:
        DataError: It is no array file, or holds Python objects.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(len(npy_format.MAGIC_PREFIX))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    if start.startswith(_ZIP):
        raise DataError(f"{path} is not a .npy file but an archive.", hint="Name it .npz.")
    if start != npy_format.MAGIC_PREFIX:  # numpy.load would go on to think of it as a pickle
        raise DataError(f"{path} is not a readable .npy file: it does not begin as one.")
    try:
        with path.open("rb") as stream:
            *_, dtype = _read_header(stream)
        array: NDArray[np.generic] | None = (
            None if dtype.hasobject else np.load(path, mmap_mode="r", allow_pickle=False)
        )
    except Exception as error:  # NumPy reads the header with Python's own parser, and lets its errors through
        raise DataError(
            f"{path} is not a readable .npy file: {str(error).rstrip('.')}.", hint=_CUT_SHORT
        ) from error
    if array is None:
        raise DataError(f"{path} holds Python objects, not numbers.")
    return array


class NpyFile:
    """One array: samples along its first axis, or a single sample of exactly the input's shape."""

    def __init__(self, path: Path, spec: TensorSpec) -> None:
        self.where = str(path)
        self._path, self._name = path, spec.name
        array = open_npy(path)
        self._single = array.shape in (spec.shape, spec.shape[1:]) and array.shape != ()
        if array.ndim == 0:
            raise DataError(f"{path}: expected samples along the first axis, got a single number.")
        self._count = 1 if self._single else array.shape[0]

    def __len__(self) -> int:
        return self._count

    def samples(self) -> Iterator[tuple[str, Mapping[str, NDArray[np.generic]]]]:
        """See `SampleSource.samples`."""
        array = open_npy(self._path)
        for index in range(self._count):
            yield str(index), {self._name: np.array(array if self._single else array[index])}

    def ids(self) -> Iterator[str]:
        """See `SampleSource.ids`."""
        return map(str, range(self._count))

    def fingerprint(self, count: int) -> str | None:
        """See `SampleSource.fingerprint`."""
        return digest_of(f"npy {count} {file_digest(self._path)}".encode())


class NpyFolder:
    """A folder of arrays, one sample a file, in the order of their paths; the id of a sample is its path below the folder.

    A file of a picture's pixels is prepared as the device will prepare it.
    """

    def __init__(
        self, folder: Path, files: list[Path], spec: TensorSpec, preprocessing: Preprocessing | None = None
    ) -> None:
        self.where = str(folder)
        self._folder, self._files, self._name = folder, sorted(files), spec.name
        self._preprocessing = preprocessing

    def __len__(self) -> int:
        return len(self._files)

    def samples(self) -> Iterator[tuple[str, Mapping[str, NDArray[np.generic]]]]:
        """See `SampleSource.samples`."""
        for path in self._files:
            try:
                array = prepared(np.array(open_npy(path)), self._preprocessing)
            except PictureError as error:
                raise DataError(f"{path}: {error.args[0]}") from error
            yield self._id(path), {self._name: array}

    def ids(self) -> Iterator[str]:
        """See `SampleSource.ids`."""
        return map(self._id, self._files)

    def _id(self, path: Path) -> str:
        return path.relative_to(self._folder).as_posix()

    def fingerprint(self, count: int) -> str | None:
        """See `SampleSource.fingerprint`."""
        told = [
            "npy folder",
            repr(self._preprocessing),
            *(file_digest(path) for path in self._files[:count]),
        ]
        return digest_of("\n".join(told).encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    """An array inside a ``.npz``, as its header describes it."""

    key: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]


class NpzFile:
    """Several arrays, one an input, with samples along the first axis of each."""

    def __init__(self, path: Path, inputs: tuple[TensorSpec, ...]) -> None:
        self.where = str(path)
        self._path = path
        expected = [spec.name for spec in inputs]
        with self._opened() as archive:
            keys = [name.removesuffix(".npy") for name in archive.namelist()]
            if set(keys) != set(expected):
                raise DataError(
                    f"{path}: expected the inputs' names as keys, {', '.join(expected)}; got {', '.join(keys) or 'none'}."
                )
            self._members = tuple(self._described(archive, spec) for spec in inputs)
        counts = {member.key: member.shape[0] for member in self._members}
        if len(set(counts.values())) != 1:
            listed = ", ".join(f"{key}: {count}" for key, count in counts.items())
            raise DataError(f"{path}: the keys hold different numbers of samples ({listed}).")
        self._count = self._members[0].shape[0]

    def __len__(self) -> int:
        return self._count

    def samples(self) -> Iterator[tuple[str, Mapping[str, NDArray[np.generic]]]]:
        """See `SampleSource.samples`."""
        with ExitStack() as stack:
            archive = stack.enter_context(self._opened())
            streams = {member: self._positioned(stack, archive, member) for member in self._members}
            for index in range(self._count):
                yield (
                    str(index),
                    {member.key: self._next(stream, member, index) for member, stream in streams.items()},
                )

    def ids(self) -> Iterator[str]:
        """See `SampleSource.ids`."""
        return map(str, range(self._count))

    def fingerprint(self, count: int) -> str | None:
        """See `SampleSource.fingerprint`."""
        return digest_of(f"npz {count} {file_digest(self._path)}".encode())

    def _opened(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self._path)
        except Exception as error:
            raise DataError(f"{self._path} is not a readable .npz file: {error}.", hint=_CUT_SHORT) from error

    def _positioned(self, stack: ExitStack, archive: zipfile.ZipFile, member: _Member) -> IO[bytes]:
        try:
            stream = stack.enter_context(archive.open(f"{member.key}.npy"))
            _read_header(stream)
        except Exception as error:
            raise DataError(f"{self._path}: key {member.key!r} is not a readable array: {error}.") from error
        return stream

    def _described(self, archive: zipfile.ZipFile, spec: TensorSpec) -> _Member:
        key = spec.name
        try:
            with archive.open(f"{key}.npy") as stream:
                shape, fortran_order, dtype = _read_header(stream)
        except Exception as error:
            raise DataError(f"{self._path}: key {key!r} is not a readable array: {error}.") from error
        if dtype.hasobject:
            raise DataError(f"{self._path}: key {key!r} holds Python objects, not numbers.")
        if not shape or shape[0] < 0:
            raise DataError(
                f"{self._path}: key {key!r}: expected samples along the first axis, got shape {shape}."
            )
        if shape[1:] not in (spec.shape, spec.shape[1:]):  # before anything of that size is read
            raise DataError(
                f"{self._path}: key {key!r}: expected samples of shape {spec.shape} or {spec.shape[1:]} along the first axis, "
                f"got shape {shape}."
            )
        if fortran_order and len(shape) > 1:
            raise DataError(
                f"{self._path}: key {key!r} is stored in Fortran order and cannot be read a sample at a time.",
                hint="Save it with numpy.ascontiguousarray.",
            )
        return _Member(key=key, shape=shape, dtype=dtype)

    def _next(self, stream: IO[bytes], member: _Member, index: int) -> NDArray[np.generic]:
        size = int(np.prod(member.shape[1:], dtype=np.int64)) * member.dtype.itemsize
        try:
            content = stream.read(size)
        except Exception as error:
            raise DataError(f"{self._path}: key {member.key!r}, sample {index}: {error}.") from error
        if len(content) != size:
            raise DataError(f"{self._path}: key {member.key!r} was cut short in sample {index}.")
        return np.frombuffer(content, dtype=member.dtype).reshape(member.shape[1:])


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    version = npy_format.read_magic(stream)
    read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
    shape, fortran_order, dtype = read(stream)
    return tuple(shape), bool(fortran_order), dtype
