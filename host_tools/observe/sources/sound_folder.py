"""A folder of recordings, prepared as the device will prepare them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device_agent.contract.digest import digest_of
from device_agent.sources.sound.prepare import ARITHMETIC, load_sound
from device_agent.sources.sound.wav import SoundError
from host_tools.errors import DataError
from host_tools.observe.sources.array_files import file_digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from device_agent.contract.sound import Sound
    from host_tools.model.float_model import TensorSpec


class SoundFolder:
    """Recordings in the order of their paths; the id of a sample is its path below the folder."""

    def __init__(self, folder: Path, files: list[Path], spec: TensorSpec, sound: Sound) -> None:
        self.where = str(folder)
        self._folder, self._files, self._name, self._sound = folder, sorted(files), spec.name, sound

    def __len__(self) -> int:
        return len(self._files)

    def samples(self) -> Iterator[tuple[str, Mapping[str, NDArray[np.generic]]]]:
        """See `SampleSource.samples`."""
        for path in self._files:
            try:
                array = load_sound(path, self._sound)
            except SoundError as error:
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
        told = [f"sound {ARITHMETIC}", repr(self._sound), *map(file_digest, self._files[:count])]
        return digest_of("\n".join(told).encode())
