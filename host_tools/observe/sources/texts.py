"""Texts: a file with one a line, or a folder of ``.txt``; each becomes all of the model's inputs, as on the device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from device_agent.contract.digest import digest_of
from device_agent.contract.text_codec import MAX_TEXT_BYTES
from device_agent.sources.adapt import FrameError
from device_agent.sources.frame_file import read_frame_file
from device_agent.sources.text import text_of
from host_tools.errors import DataError
from host_tools.observe.sources.array_files import file_digest
from host_tools.observe.sources.prepared_folder import PreparedFolder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from host_tools.model.float_model import TensorSpec
    from host_tools.observe.text_input import TextInput

_LINE_END_BYTES: Final = 2


class TextLines:
    """A file of UTF-8 with a text a line; the id of a sample is the number of its line, from 0."""

    def __init__(self, path: Path, inputs: tuple[TensorSpec, ...], text: TextInput) -> None:
        """Count the lines.

        Raises:
            DataError: The file cannot be read.
        """
        self.where = str(path)
        self._path, self._inputs, self._text = path, inputs, text
        self._count = sum(1 for _ in self._lines())

    def __len__(self) -> int:
        return self._count

    def samples(self) -> Iterator[tuple[str, Mapping[str, NDArray[np.generic]]]]:
        """See `SampleSource.samples`."""
        for index, line in enumerate(self._lines()):
            where = f"{self.where}: line {index + 1}"
            text = _read(line, where, self._text.reader.max_bytes)
            yield str(index), self._text.arrays(text, self._inputs, where=where)

    def ids(self) -> Iterator[str]:
        """See `SampleSource.ids`."""
        return map(str, range(self._count))

    def fingerprint(self, count: int) -> str | None:
        """See `SampleSource.fingerprint`."""
        return digest_of(f"texts {count} {self._text!r} {file_digest(self._path)}".encode())

    def _lines(self) -> Iterator[bytes]:
        """Read line by line; of one that is too long no more than shows that it is."""
        try:
            with self._path.open("rb") as stream:
                while line := stream.readline(MAX_TEXT_BYTES + _LINE_END_BYTES):
                    yield line.removesuffix(b"\n").removesuffix(b"\r")
        except OSError as error:
            raise DataError(f"{self._path} cannot be read: {error.strerror or error}.") from error


class TextFolder(PreparedFolder):
    """Texts, one a file."""

    def __init__(
        self, folder: Path, files: list[Path], inputs: tuple[TensorSpec, ...], text: TextInput
    ) -> None:
        super().__init__(folder, files)
        self._inputs, self._text = inputs, text

    def _prepared(self, path: Path) -> Mapping[str, NDArray[np.generic]]:
        most_bytes = self._text.reader.max_bytes
        try:
            data = read_frame_file(path, what="a text", most_bytes=most_bytes)
        except FrameError as error:
            raise DataError(str(error), hint="Mend the file or take it out of the folder.") from error
        return self._text.arrays(_read(data, str(path), most_bytes), self._inputs, where=str(path))

    def _told(self) -> tuple[str, ...]:
        return "texts", repr(self._text)


def _read(data: bytes, where: str, most_bytes: int) -> str:
    try:
        return text_of(data, where=where, most_bytes=most_bytes)
    except FrameError as error:
        raise DataError(str(error), hint="Mend the text or take it out.") from error
