"""Frames from the pictures, recordings, ``.npy`` or ``.txt`` files of a folder, in order of name."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from device_agent.contract.document import printable
from device_agent.contract.errors import DeviceError
from device_agent.sources.adapt import FrameError, to_payload
from device_agent.sources.frame_file import read_frame_file
from device_agent.sources.prepare_frame import (
    PICTURE_SUFFIXES,
    SOUND_SUFFIXES,
    TEXT_SUFFIXES,
    gives_all_inputs,
    prepare_frame,
    suffixes_of,
)
from device_agent.sources.preprocess import PictureError
from device_agent.sources.received import array_of
from device_agent.sources.sound.wav import SoundError
from device_agent.sources.source import Frame, SourceEnded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from device_agent.contract.manifest import PayloadTensor
    from device_agent.sources.prepare_frame import OpenPreparation

_WATCH_SECONDS: Final = 0.5
_CACHE_FRAMES: Final = 64
"""Decoded frames kept when looping over few files: a benchmark should not time the decoder again and again."""


@dataclass(frozen=True, slots=True)
class _Version:
    """Tells whether a file is still the one that was decoded."""

    modified_ns: int
    size: int
    inode: int


class DirectorySource:
    """See `Source`. A file that cannot be read is counted as refused, reported to ``on_refused``, and left out.

    In a loop the folder is listed anew before every pass: new files are seen, those that are gone are not given any more,
    and those that were changed are decoded anew. A pass without a frame that can be read is the end.

    With ``watch`` it never ends: every file is given once, and again when it has changed, those that are there at the start
    included.

    Raises:
        DeviceError: The folder cannot be read or has no frame, or has pictures or recordings that the artifact does not say how to
            prepare; or the payload has several inputs and takes no texts.
    """

    def __init__(
        self,
        folder: Path,
        tensors: Sequence[PayloadTensor],
        preparation: OpenPreparation | None,
        *,
        loop: bool,
        watch: bool = False,
        on_refused: Callable[[str], None] | None = None,
    ) -> None:
        self.dropped = 0
        self._watch = watch
        self._given: dict[str, _Version] = {}
        self._seen: dict[str, _Version] = {}
        self.refused = 0
        self._tensors = tensors
        self._preparation = preparation
        self._loop = loop
        self._on_refused = on_refused
        if len(tensors) != 1 and not gives_all_inputs(preparation):
            names = ", ".join(tensor.source_name for tensor in tensors)
            raise DeviceError(
                f"{folder}: a file is one input, but the model has {names}.", hint="Use an .npz."
            )
        self._folder = folder
        self._suffixes = _suffixes_of_frames(tensors, preparation)
        self._files = _frames_of(folder, self._suffixes)
        if not self._files and not watch:
            raise DeviceError(f"{folder}: no {_in_words(self._suffixes)} in it.")
        if watch:
            self._files = []
        _require_prepared(folder, self._files, preparation)
        self._next = 0
        self._readable = 0
        self._cache: dict[str, tuple[_Version, Frame]] = {}
        self._pause = threading.Event()

    def next(self, timeout_seconds: float) -> Frame | None:
        """See `Source.next`; waits only while it watches and nothing is new."""
        if self._watch and self._next >= len(self._files) and not self._find_new(timeout_seconds):
            return None
        if self._next >= len(self._files):
            if not self._loop or not self._readable:
                raise SourceEnded
            self._begin_pass()
        path = self._files[self._next]
        self._next += 1
        try:
            frame = self._frame(path)
        except (PictureError, SoundError, FrameError) as error:
            self.refused += 1
            if self._on_refused is not None:
                self._on_refused(printable(str(error)))
            return None
        self._readable += 1
        return frame

    def close(self) -> None:
        """See `Source.close`."""
        self._pause.set()
        self._cache.clear()
        self._files = []
        self._readable = 0

    def _find_new(self, timeout_seconds: float) -> bool:
        """List what was not given yet; a file counts once it is the same in two looks, so that no half of one is read.

        Raises:
            DeviceError: The folder cannot be read any more.
        """
        looks: dict[str, _Version] = {}
        for path in _frames_of(self._folder, self._suffixes):
            try:
                looks[path.name] = _version_of(path)
            except FrameError:  # gone between the two calls
                continue
        new = [name for name, look in looks.items() if self._seen.get(name) == look != self._given.get(name)]
        self._seen = looks
        # Only what is still there is remembered, so that memory is bounded by the folder.
        self._given = {name: look for name, look in self._given.items() if name in looks}
        self._given |= {name: looks[name] for name in new}
        self._files, self._next = [self._folder / name for name in new], 0
        if not new:
            self._pause.wait(min(timeout_seconds, _WATCH_SECONDS))
        return bool(new)

    def _begin_pass(self) -> None:
        """List the folder anew.

        Raises:
            SourceEnded: No file is left.
            DeviceError: The folder cannot be read any more.
        """
        self._files = _frames_of(self._folder, self._suffixes)
        if not self._files:
            raise SourceEnded
        self._next = self._readable = 0
        names = {path.name for path in self._files}
        self._cache = {name: kept for name, kept in self._cache.items() if name in names}

    def _frame(self, path: Path) -> Frame:
        """Decode a file, or return what was decoded from it if it is still the same.

        Raises:
            FrameError: It cannot be read or does not fit; the message names it.
            PictureError: It is no picture that can be read.
            SoundError: It is no recording that the model takes.
        """
        version = _version_of(path)
        kept = self._cache.get(path.name)
        if kept is not None and kept[0] == version:
            return kept[1]
        arrays = self._arrays(path)
        try:
            frame = Frame(id=printable(path.name), inputs=to_payload(arrays, self._tensors))
        except FrameError as error:
            raise FrameError(f"{path.name}: {error}") from error
        if self._loop and (kept is not None or len(self._cache) < _CACHE_FRAMES):
            self._cache[path.name] = (version, frame)
        return frame

    def _arrays(self, path: Path) -> dict[str, NDArray[np.generic]]:
        if self._preparation is not None and path.suffix.lower() in suffixes_of(self._preparation):
            return prepare_frame(path, self._tensors, self._preparation)
        data = read_frame_file(path, what="an .npy")
        (tensor,) = self._tensors
        return {tensor.source_name: array_of(data, tensor, self._preparation, where=path.name)}


def _suffixes_of_frames(
    tensors: Sequence[PayloadTensor], preparation: OpenPreparation | None
) -> tuple[str, ...]:
    """Return the suffixes of files that may be frames; a ``.txt`` beside other data is a note."""
    if not gives_all_inputs(preparation):
        return (*PICTURE_SUFFIXES, *SOUND_SUFFIXES, ".npy")
    # Of a model of several inputs an .npy is one.
    return (*TEXT_SUFFIXES, ".npy") if len(tensors) == 1 else TEXT_SUFFIXES


def _in_words(suffixes: tuple[str, ...]) -> str:
    if PICTURE_SUFFIXES[0] in suffixes:
        return "picture, no .wav and no .npy file"
    return f"{' and no '.join(suffixes)} file"


def _require_prepared(folder: Path, files: Sequence[Path], preparation: OpenPreparation | None) -> None:
    """Refuse at once what would be refused file by file.

    Raises:
        DeviceError: There are pictures, or recordings, and the artifact does not say how to prepare them.
    """
    for what, suffixes in (("pictures", PICTURE_SUFFIXES), ("recordings", SOUND_SUFFIXES)):
        if suffixes != suffixes_of(preparation) and any(path.suffix.lower() in suffixes for path in files):
            raise DeviceError(f"{folder}: holds {what}, but the artifact does not say how to prepare them.")


def _version_of(path: Path) -> _Version:
    """Return what the file system says of a file; taken before the file is read, so that a change meanwhile is seen later.

    Raises:
        FrameError: There is no such file any more.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise FrameError(f"{path.name}: cannot be read: {error.strerror}.") from error
    return _Version(found.st_mtime_ns, found.st_size, found.st_ino)


def _frames_of(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    try:
        files = sorted(
            path for path in folder.iterdir() if path.suffix.lower() in suffixes and path.is_file()
        )
    except OSError as error:
        raise DeviceError(
            f"{folder}: cannot be read: {error.strerror}.", hint="Is source.path right?"
        ) from error
    return files
