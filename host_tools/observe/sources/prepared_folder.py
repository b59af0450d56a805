"""A folder whose files are each a sample, prepared as the device will prepare them; what a kind of file is its subclass knows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from device_agent.contract.digest import digest_of
from host_tools.observe.sources.array_files import file_digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


class PreparedFolder(ABC):
    """Files in the order of their paths; the id of a sample is its path below the folder."""

    def __init__(self, folder: Path, files: list[Path]) -> None:
        self.where = str(folder)
        self._folder, self._files = folder, sorted(files)

    def __len__(self) -> int:
        return len(self._files)

    def samples(self) -> Iterator[tuple[str, Mapping[str, NDArray[np.generic]]]]:
        """See `SampleSource.samples`."""
        for path in self._files:
            yield self._id(path), self._prepared(path)

    def ids(self) -> Iterator[str]:
        """See `SampleSource.ids`."""
        return map(self._id, self._files)

    def fingerprint(self, count: int) -> str | None:
        """See `SampleSource.fingerprint`."""
        return digest_of("\n".join([*self._told(), *map(file_digest, self._files[:count])]).encode())

    def _id(self, path: Path) -> str:
        return path.relative_to(self._folder).as_posix()

    @abstractmethod
    def _prepared(self, path: Path) -> Mapping[str, NDArray[np.generic]]:
        """Return the model's inputs that a file gives.

        Raises:
            DataError: It cannot be read, or is not what it should be.
        """

    @abstractmethod
    def _told(self) -> tuple[str, ...]:
        """Return what decides, beside the files, which numbers come of them."""
