"""`Material`: the model, pictures and arrays of a run. Made once, before anything is measured; nobody's conversion is in it."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.options import CALIBRATION_IMAGES
from device_agent.sources.preprocess import load_image
from device_agent.sources.preprocess_file import load_preprocessing
from examples.efficientnet_lite import graph
from examples.efficientnet_lite.prepare import PREPROCESS_TOML
from host_tools.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.options import Options
    from host_tools.progress import Progress

_TABLE = "labels.csv"
_COLUMNS = {"file", "index", "split"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """A labelled photo: where it is, and its ImageNet class, 0 to 999."""

    path: Path
    label: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Where everything is; the files exist once `prepare` is done.

    Attributes:
        model: EfficientNet-Lite0, float ONNX as an exporter gives it.
        preprocess: How pictures become its input.
        calibration: Folder of the calibration pictures.
        everything: Folder of calibration and evaluation pictures together, to see memory grow.
        calibration_arrays: The calibration pictures as ``.npy``, float32 (images, 3, 224, 224).
        evaluation_arrays: The evaluation pictures likewise.
        labels: Their classes, int64 (images,).
        made: Folder of what is converted for several benchmarks.
    """

    model: Path
    preprocess: Path
    calibration: Path
    everything: Path
    calibration_arrays: Path
    evaluation_arrays: Path
    labels: Path
    made: Path

    @classmethod
    def of(cls, options: Options) -> Material:
        """Name the files of a run."""
        folder = options.work / "material"
        return cls(
            model=folder / "efficientnet_lite0.onnx",
            preprocess=folder / "preprocess.toml",
            calibration=folder / "calibration",
            everything=folder / "everything",
            calibration_arrays=folder / "calibration.npy",
            evaluation_arrays=folder / "evaluation.npy",
            labels=folder / "labels.npy",
            made=options.work / "made",
        )


def prepare(options: Options, progress: Progress) -> Material:
    """Write the material of a run.

    Raises:
        DataError: The data folder is not as expected; the message says what.
        MissingPackageError: The package with the weights is not installed.
        PictureError: A picture cannot be read.
    """
    material = Material.of(options)
    calibration, evaluation = _photos(options)
    progress.stage("Model", 1)
    material.model.parent.mkdir(parents=True, exist_ok=True)
    material.made.mkdir(parents=True, exist_ok=True)
    material.model.write_bytes(graph.build_model(graph.load_weights()).SerializeToString(deterministic=True))
    material.preprocess.write_text(PREPROCESS_TOML, encoding="utf-8")
    progress.step()
    _link(calibration, material.calibration)
    _link([*calibration, *evaluation], material.everything)
    _write_arrays(material, calibration, material.calibration_arrays, progress)
    _write_arrays(material, evaluation, material.evaluation_arrays, progress)
    np.save(material.labels, np.array([photo.label for photo in evaluation], np.int64))
    return material


def load_arrays(path: Path) -> NDArray[np.float32]:
    """Map arrays of a run into memory, shape (images, 3, 224, 224)."""
    arrays: NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
    return arrays


def _photos(options: Options) -> tuple[list[Photo], list[Photo]]:
    """Return the photos of both splits that a run uses, in the order of ``labels.csv``."""
    splits = read_photos(options.data)
    calibration = splits["calib"][: options.calibration_images]
    evaluation = splits["eval"][: options.evaluation_images]
    if options.images is None and len(calibration) < CALIBRATION_IMAGES:
        raise DataError(
            f"{options.data / _TABLE}: expected {CALIBRATION_IMAGES} photos in split calib, got {len(calibration)}."
        )
    return calibration, evaluation


def read_photos(folder: Path) -> dict[str, list[Photo]]:
    """Return the photos of a folder with ``labels.csv`` and ``images``, by split (``calib``, ``eval``), in the order of the table.

    Raises:
        DataError: The table cannot be read, lacks a column or a split, or has a row that is wrong; the message names the line.
    """
    table = folder / _TABLE
    try:
        with table.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            columns, rows = set(reader.fieldnames or ()), list(reader)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{table}: cannot be read: {error}.",
            hint="--data takes a folder with labels.csv (file,index,split) and a folder images.",
        ) from error
    if not columns >= _COLUMNS:
        raise DataError(
            f"{table}: expected the columns file, index and split, got {', '.join(sorted(columns))}."
        )
    splits: dict[str, list[Photo]] = {"calib": [], "eval": []}
    for number, row in enumerate(rows, start=2):
        if row["split"] not in splits or not row["index"].isdecimal():
            raise DataError(f"{table}:{number}: expected an index and the split calib or eval, got {row}.")
        path = folder / "images" / row["file"]
        splits[row["split"]].append(Photo(path=path.resolve(), label=int(row["index"])))
    if not all(splits.values()):
        raise DataError(f"{table}: expected photos in both splits, calib and eval.")
    return splits


def _link(photos: Sequence[Photo], folder: Path) -> None:
    folder.mkdir()
    for photo in photos:
        (folder / photo.path.name).symlink_to(photo.path)


def _write_arrays(material: Material, photos: Sequence[Photo], path: Path, progress: Progress) -> None:
    """Decode pictures into one array file, a picture at a time."""
    progress.stage(f"Decoding {path.stem} pictures", len(photos))
    preprocessing = load_preprocessing(material.preprocess)
    shape = (len(photos), 3, graph.IMAGE_SIZE, graph.IMAGE_SIZE)
    arrays = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    for index, photo in enumerate(photos):
        arrays[index] = load_image(photo.path, preprocessing)[0]
        progress.step()
    arrays.flush()
