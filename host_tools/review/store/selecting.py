"""`Selecting`: which rows a selection means, and what they are told apart by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from host_tools.review.store.engine import one_of
from host_tools.review.store.keys import texts_in_order

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from host_tools.review.store.cohorts import Cohorts
    from host_tools.review.store.keys import Keys
    from host_tools.review.store.windows import Level, Selection


@dataclass(frozen=True, slots=True)
class Selecting:
    """What selections are read with."""

    devices: Keys
    artifacts: Keys
    cohorts: Cohorts

    def where(self, selection: Selection, devices: NDArray[np.int64] | None) -> str:
        """Return what rows must meet beside the time: `` AND …``, or nothing."""
        condition = "" if devices is None else f" AND {one_of('device', devices)}"
        if selection.artifacts is not None:
            keys = [key for name in selection.artifacts if (key := self.artifacts.of(name)) is not None]
            condition += f" AND {one_of('artifact', keys)}"
        return condition

    def keys_of_devices(self, selection: Selection) -> NDArray[np.int64] | None:
        """Return the keys of the devices that are meant; None for all."""
        if selection.devices is None and not selection.labels:
            return None
        named = self.devices.ids() if selection.devices is None else selection.devices
        keys = {key for name in named if (key := self.devices.of(name)) is not None}
        if selection.labels:
            labels = self.cohorts.labels()
            keys = {key for key in keys if has_labels(labels.get(key, {}), selection.labels)}
        return np.array(sorted(keys), dtype=np.int64)

    def axis(self, axis: str, keys: Mapping[str, NDArray[np.int64]], level: Level) -> NDArray[np.int64]:
        """Return a number for each row by which its values on an axis are ordered, none last."""
        if axis == "time":
            return keys["time"] // level.seconds * level.seconds
        if axis.startswith("label:") and "cohort" in keys:
            told = [own.get(axis[6:]) for own in self.cohorts.told()]
            places = {text: place for place, text in enumerate(self.texts(axis)[0])}
            return np.array([places.get(text, places[None]) for text in told], dtype=np.int64)[keys["cohort"]]
        return self.texts(axis)[1][keys["artifact" if axis == "artifact" else "device"]]

    def texts(self, axis: str) -> tuple[list[str | None], NDArray[np.int64]]:
        """Return the texts of an axis in order, None last, and the place of each key of an artifact or device."""
        if axis.startswith("label:"):
            labels = self.cohorts.labels()
            return texts_in_order([labels.get(key, {}).get(axis[6:]) for key in range(len(self.devices))])
        return (self.artifacts if axis == "artifact" else self.devices).in_order()


def has_labels(labels: Mapping[str, str], wanted: Sequence[tuple[str, str]]) -> bool:
    """Return whether a device with these labels has all that are wanted."""
    return all(labels.get(key) == value for key, value in wanted)
