"""Labels of evaluation samples: a CSV ``file,label``, one whole number a line, or an ``.npy``."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from host_tools.errors import DataError
from host_tools.observe.sources.array_files import open_npy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from host_tools.observe.calibration_set import CalibrationSet

_MAX_DIGITS = 18  # what fits into an int64


def read_labels(path: str | Path, data: CalibrationSet) -> tuple[int, ...]:
    """Return one label a sample, in the samples' order.

    Args:
        path: A CSV with the header ``file,label`` (rows of other files are left out), a text of one whole number a line, or an
            ``.npy`` of whole numbers.
        data: The samples.

    Raises:
        DataError: The file cannot be read, a line is wrong, a file has two labels, or a sample has none.
    """
    path = Path(path)
    if path.suffix.lower() == ".npy":
        array = open_npy(path)
        if array.dtype.kind not in "iu" or array.ndim != 1:
            raise DataError(
                f"{path}: expected whole numbers in one dimension, got {array.dtype} of shape {array.shape}."
            )
        labels = tuple(int(label) for label in array)
        if min(labels, default=0) < 0:
            raise DataError(f"{path}: expected whole numbers of at least 0, got {min(labels)}.")
        return _as_many(labels, data, path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text: {error}.", hint="Save it as UTF-8.") from error
    lines = text.splitlines()
    if lines and "," in lines[0]:
        return _by_file(lines, data, path)
    labels = tuple(_label(line, path, number) for number, line in enumerate(lines, start=1) if line.strip())
    return _as_many(labels, data, path)


def require_classes(labels: Sequence[int], count: int) -> None:
    """Refuse labels that a classifier of ``count`` classes cannot give: counted as misses they would pass for a bad model.

    Raises:
        DataError: A label is no class; the message names the first, and its sample.
    """
    for index, label in enumerate(labels):
        if label >= count:
            raise DataError(
                f"--labels: sample {index} has label {label}; the model's first output has the classes 0 to {count - 1}.",
                hint="Labels count from 0, in the order of the model's outputs; for another kind of label give --metric.",
            )


def _by_file(lines: list[str], data: CalibrationSet, path: Path) -> tuple[int, ...]:
    rows = csv.DictReader(lines)
    labels: dict[str, int] = {}
    try:
        if not {"file", "label"} <= set(rows.fieldnames or ()):
            raise DataError(
                f"{path}: expected the columns file and label, got {', '.join(rows.fieldnames or ())}."
            )
        for row in rows:
            label = _label(row["label"] or "", path, rows.line_num)
            if labels.setdefault(row["file"], label) != label:
                raise DataError(f"{path}:{rows.line_num}: {row['file']} has two different labels.")
    except csv.Error as error:
        raise DataError(f"{path}:{rows.line_num}: not readable as CSV: {error}.") from error
    ids = list(data.ids())
    bearers = Counter(Path(sample_id).name for sample_id in ids)
    found: list[int] = []
    for sample_id in ids:
        name = Path(sample_id).name
        known = labels.get(sample_id)
        if known is None and name in labels and bearers[name] > 1:
            raise DataError(
                f"{path}: {name} is the name of {bearers[name]} samples, {sample_id} among them.",
                hint="Write the path below the folder of samples.",
            )
        known = labels.get(name) if known is None else known
        if known is None:
            raise DataError(
                f"{path}: sample {sample_id} has no label.", hint="Every sample of --eval needs one."
            )
        found.append(known)
    return tuple(found)


def _label(text: str, path: Path, line: int) -> int:
    if not text.strip().isdecimal() or len(text) > _MAX_DIGITS:
        raise DataError(f"{path}:{line}: expected a whole number of at least 0, got {text.strip()[:80]!r}.")
    return int(text)


def _as_many(labels: tuple[int, ...], data: CalibrationSet, path: Path) -> tuple[int, ...]:
    if len(labels) != len(data):
        raise DataError(f"{path}: expected one label for each of {len(data)} samples, got {len(labels)}.")
    return labels
