"""Finished operators on disk, so that an interrupted reconstruction goes on where it was."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.errors import OutputError
from host_tools.plan.plan_file import encode

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from host_tools.observe.calibration_set import CalibrationSet
    from host_tools.plan.quantization_plan import QuantizationPlan

    Float64 = NDArray[np.float64]

_WAY: Final = 2
"""Raised by one whenever the same plan and samples come to other numbers than before."""


def key_of(plan: QuantizationPlan, data: CalibrationSet) -> str:
    """Return what the result of a reconstruction depends on, as a key: the plan, which names model, target and samples, and how many are used.

    Args:
        plan: The plan that is reconstructed.
        data: The samples that are used; all, or all after the first few, of those that the plan was made from.
    """
    return hashlib.sha256(f"{_WAY} {len(data)}\n".encode() + encode(plan)).hexdigest()


class Checkpoint:
    """A folder with one file for each finished operator."""

    def __init__(self, folder: Path, key: str) -> None:
        """Name the folder.

        Args:
            folder: Where checkpoints live.
            key: What the reconstruction depends on (`key_of`); another key is another checkpoint.
        """
        self._folder = folder / f"{key[:40]}.reconstruction"

    def find(self, node: str) -> Mapping[str, Float64] | None:
        """Return what was kept of an operator; None when it is not finished. A damaged file counts as absent."""
        try:
            with self._file(node).open("rb") as stream, np.load(stream, allow_pickle=False) as saved:
                return {name: np.asarray(saved[name], np.float64) for name in saved.files}
        except Exception:  # noqa: BLE001 - of a damaged file zipfile and NumPy raise whatever they like
            return None

    def keep(self, node: str, *, codes: Float64, bias: Float64, scales: Float64) -> None:
        """Keep a finished operator, whole or not at all.

        Raises:
            OutputError: The folder cannot be written.
        """
        try:
            try:
                self._write(self._file(node), codes, bias, scales)
            except (
                FileNotFoundError
            ):  # the same conversion ended in another process, which took the folder away
                self._write(self._file(node), codes, bias, scales)
        except OSError as error:
            raise OutputError(
                f"{self._folder}: {error.strerror or error}.", hint="Choose another --cache DIR."
            ) from error

    def _write(self, file: Path, codes: Float64, bias: Float64, scales: Float64) -> None:
        partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as stream:
                np.savez(stream, codes=codes, bias=bias, scales=scales)
            partial.replace(file)
        except OSError:
            with suppress(OSError):
                partial.unlink()
            raise

    def remove(self) -> None:
        """Remove everything, if there is anything."""
        with suppress(OSError):
            for file in self._folder.iterdir():
                file.unlink()
            self._folder.rmdir()

    def _file(self, node: str) -> Path:
        return self._folder / f"{hashlib.sha256(node.encode()).hexdigest()[:40]}.npz"
