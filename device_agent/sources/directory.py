"""Frames from the pictures or ``.npy`` files of a folder, in order of name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from device_agent.contract.errors import DeviceError
from device_agent.sources.adapt import FrameError, to_payload
from device_agent.sources.npy import batched, read_npy
from device_agent.sources.preprocess import PictureError, load_image
from device_agent.sources.source import Frame, SourceEnded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from device_agent.contract.manifest import PayloadTensor, Preprocessing

PICTURE_SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
_MAX_FILE_BYTES: Final = 256 << 20
_CACHE_FRAMES: Final = 64
"""Decoded frames kept when looping over few files: a benchmark should not time the decoder again and again."""


class DirectorySource:
    """See `Source`. A file that cannot be read is counted as refused, reported to ``on_refused``, and left out.

    Raises:
        DeviceError: The folder cannot be read or has no frame, pictures have no preprocessing, or the payload has several inputs.
    """

    def __init__(
        self,
        folder: Path,
        tensors: Sequence[PayloadTensor],
        preprocessing: Preprocessing | None,
        *,
        loop: bool,
        on_refused: Callable[[str], None] | None = None,
    ) -> None:
        self.dropped = 0
        self.refused = 0
        self._tensors = tensors
        self._preprocessing = preprocessing
        self._loop = loop
        self._on_refused = on_refused
        if len(tensors) != 1:
            names = ", ".join(tensor.source_name for tensor in tensors)
            raise DeviceError(
                f"{folder}: a file is one input, but the model has {names}.", hint="Use an .npz."
            )
        self._files = _frames_of(folder)
        if preprocessing is None and any(path.suffix.lower() in PICTURE_SUFFIXES for path in self._files):
            raise DeviceError(f"{folder}: holds pictures, but the artifact does not say how to prepare them.")
        self._next = 0
        self._readable = 0
        self._cache: dict[str, Frame] = {}

    def next(self, timeout_seconds: float) -> Frame | None:
        """See `Source.next`; never waits."""
        del timeout_seconds
        if self._next >= len(self._files):
            if not self._loop or not self._readable:
                raise SourceEnded
            self._next = 0
        path = self._files[self._next]
        self._next += 1
        cached = self._cache.get(path.name)
        if cached is not None:
            return cached
        try:
            frame = Frame(id=path.name, inputs=to_payload(self._arrays(path), self._tensors))
        except (PictureError, FrameError) as error:
            self.refused += 1
            if self._on_refused is not None:
                self._on_refused(str(error))
            return None
        self._readable += 1
        if self._loop and len(self._cache) < _CACHE_FRAMES:
            self._cache[path.name] = frame
        return frame

    def close(self) -> None:
        """See `Source.close`."""
        self._cache.clear()
        self._files = []
        self._readable = 0

    def _arrays(self, path: Path) -> dict[str, NDArray[np.generic]]:
        first = self._tensors[0]
        if path.suffix.lower() in PICTURE_SUFFIXES and self._preprocessing is not None:
            return {first.source_name: load_image(path, self._preprocessing)}
        try:
            with path.open("rb") as stream:
                data = stream.read(_MAX_FILE_BYTES + 1)
        except OSError as error:
            raise FrameError(f"{path}: cannot be read: {error.strerror}.") from error
        if len(data) > _MAX_FILE_BYTES:
            raise FrameError(f"{path}: expected at most {_MAX_FILE_BYTES} bytes.")
        return {first.source_name: batched(read_npy(data, where=str(path)), first)}


def _frames_of(folder: Path) -> list[Path]:
    try:
        files = sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in (*PICTURE_SUFFIXES, ".npy") and path.is_file()
        )
    except OSError as error:
        raise DeviceError(
            f"{folder}: cannot be read: {error.strerror}.", hint="Is source.path right?"
        ) from error
    if not files:
        raise DeviceError(f"{folder}: no picture and no .npy file in it.")
    return files
