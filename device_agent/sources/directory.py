"""Frames from the pictures, recordings, ``.npy`` or ``.txt`` files of a folder, in order of name."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from device_agent.contract.document import printable
from device_agent.contract.errors import DeviceError
from device_agent.contract.manifest import Preprocessing
from device_agent.contract.regular_file import read_regular_file
from device_agent.contract.sound import Sound
from device_agent.sources.adapt import FrameError, to_payload
from device_agent.sources.preprocess import PictureError, load_image
from device_agent.sources.received import array_of
from device_agent.sources.sound.prepare import load_sound
from device_agent.sources.sound.wav import SoundError
from device_agent.sources.source import Frame, SourceEnded
from device_agent.sources.text import MAX_TEXT_BYTES, TEXT_SUFFIX, TextReader, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from device_agent.contract.manifest import PayloadTensor
    from device_agent.contract.preparation import Preparation

PICTURE_SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
SOUND_SUFFIXES: Final = (".wav",)
_MAX_FILE_BYTES: Final = 256 << 20
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
        preparation: Preparation | TextReader | None,
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
        self._reader = preparation if isinstance(preparation, TextReader) else None
        if len(tensors) != 1 and self._reader is None:
            names = ", ".join(tensor.source_name for tensor in tensors)
            raise DeviceError(
                f"{folder}: a file is one input, but the model has {names}.", hint="Use an .npz."
            )
        self._folder = folder
        self._suffixes: tuple[str, ...] = (*PICTURE_SUFFIXES, *SOUND_SUFFIXES, ".npy")
        if self._reader is not None:  # an .npy would be one of several inputs
            self._suffixes = (TEXT_SUFFIX, ".npy") if len(tensors) == 1 else (TEXT_SUFFIX,)
        self._files = _frames_of(folder, self._suffixes)
        if not self._files and not watch:
            kinds = "picture, no .wav and no .npy file" if self._reader is None else f"{TEXT_SUFFIX} file"
            raise DeviceError(f"{folder}: no {kinds} in it.")
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
        first, suffix = self._tensors[0], path.suffix.lower()
        if suffix in PICTURE_SUFFIXES and isinstance(self._preparation, Preprocessing):
            return {first.source_name: load_image(path, self._preparation)}
        if suffix in SOUND_SUFFIXES and isinstance(self._preparation, Sound):
            return {first.source_name: load_sound(path, self._preparation)}
        if suffix == TEXT_SUFFIX and self._reader is not None:
            return self._reader.arrays(text_of(_read(path, MAX_TEXT_BYTES + 1), where=path.name))
        data = _read(path, _MAX_FILE_BYTES + 1)
        if len(data) > _MAX_FILE_BYTES:
            raise FrameError(f"{path.name}: expected at most {_MAX_FILE_BYTES} bytes.")
        return {first.source_name: array_of(data, first, self._preparation, where=path.name)}


def _require_prepared(
    folder: Path, files: Sequence[Path], preparation: Preparation | TextReader | None
) -> None:
    """Refuse at once what would be refused file by file.

    Raises:
        DeviceError: There are pictures, or recordings, and the artifact does not say how to prepare them.
    """
    for what, suffixes, kind in (
        ("pictures", PICTURE_SUFFIXES, Preprocessing),
        ("recordings", SOUND_SUFFIXES, Sound),
    ):
        if not isinstance(preparation, kind) and any(path.suffix.lower() in suffixes for path in files):
            raise DeviceError(f"{folder}: holds {what}, but the artifact does not say how to prepare them.")


def _read(path: Path, most_bytes: int) -> bytes:
    """Return the beginning of a file.

    Raises:
        FrameError: It cannot be read.
    """
    try:
        return read_regular_file(path, most_bytes=most_bytes)
    except OSError as error:
        raise FrameError(f"{path.name}: cannot be read: {error.strerror}.") from error


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
