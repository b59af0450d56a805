"""A folder of pictures, prepared as the device will prepare them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device_agent.contract.digest import digest_of
from device_agent.sources.preprocess import PictureError, load_image
from host_tools.errors import DataError
from host_tools.observe.sources.array_files import file_digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from device_agent.contract.manifest import Preprocessing
    from host_tools.model.float_model import TensorSpec


class ImageFolder:
    """Pictures in the order of their paths; the id of a sample is its path below the folder."""

    def __init__(
        self, folder: Path, files: list[Path], spec: TensorSpec, preprocessing: Preprocessing
    ) -> None:
        self.where = str(folder)
        self._folder, self._files, self._name, self._preprocessing = (
            folder,
            sorted(files),
            spec.name,
            preprocessing,
        )

    def __len__(self) -> int:
        return len(self._files)

    def samples(self) -> Iterator[tuple[str, Mapping[str, NDArray[np.generic]]]]:
        """See `SampleSource.samples`."""
        for path in self._files:
            try:
                array = load_image(path, self._preprocessing)
            except PictureError as error:
                raise DataError(
                    str(error.args[0]), hint=error.hint or "Mend the file or take it out of the folder."
                ) from error
            yield self._id(path), {self._name: array}

    def ids(self) -> Iterator[str]:
        """See `SampleSource.ids`."""
        return map(self._id, self._files)

    def _id(self, path: Path) -> str:
        return path.relative_to(self._folder).as_posix()

    def fingerprint(self, count: int) -> str | None:
        """See `SampleSource.fingerprint`."""
        told = ["pictures", repr(self._preprocessing), *(file_digest(path) for path in self._files[:count])]
        return digest_of("\n".join(told).encode())
