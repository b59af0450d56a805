"""A folder of recordings, prepared as the device will prepare them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device_agent.sources.adapt import FrameError
from device_agent.sources.sound.prepare import ARITHMETIC, load_sound
from device_agent.sources.sound.wav import SoundError
from host_tools.errors import DataError
from host_tools.observe.sources.prepared_folder import PreparedFolder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from device_agent.contract.sound import Sound
    from host_tools.model.float_model import TensorSpec


class SoundFolder(PreparedFolder):
    """Recordings."""

    def __init__(self, folder: Path, files: list[Path], spec: TensorSpec, sound: Sound) -> None:
        super().__init__(folder, files)
        self._name, self._sound = spec.name, sound

    def _prepared(self, path: Path) -> Mapping[str, NDArray[np.generic]]:
        try:
            return {self._name: load_sound(path, self._sound)}
        except (FrameError, SoundError) as error:
            raise DataError(
                str(error.args[0]), hint=error.hint or "Mend the file or take it out of the folder."
            ) from error

    def _told(self) -> tuple[str, ...]:
        return f"sound {ARITHMETIC}", repr(self._sound)
