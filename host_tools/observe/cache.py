"""Statistics by what they were made from, so that another target or method never runs the model again."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from host_tools.cache_folder import cache_folder, write_whole
from host_tools.errors import StatisticsError
from host_tools.model.shapes import skeleton
from host_tools.observe.far_samples import with_far_samples
from host_tools.observe.observer import digest_of_samples, observe
from host_tools.observe.statistics import GATHERING, SCHEMA_VERSION
from host_tools.observe.statistics_file import decode, encode

if TYPE_CHECKING:
    from pathlib import Path

    from host_tools.model.float_model import FloatModel
    from host_tools.observe.calibration_set import CalibrationSet
    from host_tools.observe.statistics import Statistics
    from host_tools.progress import Progress


_TRIED_BYTES = 1 << 20  # what the statistics of a network of some hundred tensors take


class StatisticsCache:
    """A folder of statistics; by default ``edgewright`` below ``$XDG_CACHE_HOME`` or ``~/.cache``.

    Raises:
        OutputError: No folder is given and there is no home directory.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = cache_folder(folder)

    def path(self, key: str, *, histograms: bool) -> Path:
        """Return where statistics with this key are kept."""
        return self.folder / f"{key}-{'full' if histograms else 'ranges'}.json"

    def find(self, model: FloatModel, key: str, *, histograms: bool) -> Statistics | None:
        """Return cached statistics of this model; full ones serve where ranges are enough. A damaged file counts as absent."""
        for full in (True,) if histograms else (True, False):
            path = self.path(key, histograms=full)
            try:
                statistics = decode(path.read_bytes(), where=str(path))
            except (OSError, StatisticsError):
                continue
            if statistics.model_digest == model.digest:
                return statistics
        return None

    def keep(self, statistics: Statistics, key: str, *, histograms: bool) -> None:
        """Write statistics under their key, whole or not at all.

        Raises:
            OutputError: The folder cannot be written.
        """
        write_whole(self.path(key, histograms=histograms), encode(statistics))

    def require_writable(self) -> None:
        """Find out before a long pass that its result can be kept.

        Raises:
            OutputError: The folder cannot be made or written.
        """
        write_whole(self.folder / f".{os.getpid()}.tried", b"x" * _TRIED_BYTES)
        (self.folder / f".{os.getpid()}.tried").unlink(missing_ok=True)


def statistics_of(
    model: FloatModel,
    data: CalibrationSet,
    *,
    histograms: bool,
    threads: int,
    cache: StatisticsCache,
    progress: Progress,
) -> Statistics:
    """Return the statistics of a model over data: from the cache if they are there, else observed and kept.

    Args:
        model: The canonical float model.
        data: The calibration set.
        histograms: Whether ranges are not enough.
        threads: Threads of one inference.
        cache: Where to look and keep; an interrupted pass leaves its checkpoint there too.
        progress: Told what happens.

    Raises:
        DataError: See `observe`.
        ModelError: See `observe`.
        OutputError: The cache cannot be written.
    """
    key = _key(model, data)
    found = cache.find(model, key, histograms=histograms)
    if found is not None:
        progress.stage("Statistics from the cache", 1)
        progress.step()
        return with_far_samples(found, data, model.inputs)
    cache.require_writable()
    checkpoint = cache.folder / f"{key}-{'full' if histograms else 'ranges'}.checkpoint"
    statistics = observe(
        model, data, histograms=histograms, threads=threads, progress=progress, checkpoint=checkpoint
    )
    cache.keep(statistics, key, histograms=histograms)
    return with_far_samples(statistics, data, model.inputs)


def _key(model: FloatModel, data: CalibrationSet) -> str:
    """Name the pair of model and data; data that cannot tell what it is without being read is read.

    The canonical graph is named besides the file that it came from, as another version of ours may make another one of the same file.
    """
    form = hashlib.sha256(skeleton(model.graph).SerializeToString(deterministic=True)).hexdigest()
    told = data.fingerprint() or digest_of_samples([sample.digest() for sample in data])
    state = hashlib.sha256(
        "\n".join((SCHEMA_VERSION, str(GATHERING), model.digest, form, told, str(len(data)))).encode()
    )
    return state.hexdigest()[:40]
