"""Write the float model, its preprocessing, calibration images and labelled photos into a folder.

These are the inputs that a conversion takes.

Run ``python -m examples.efficientnet_lite.prepare --out DIR [--json]`` at the root of the repository.
Progress goes to standard error; standard output has the result, one line or one JSON object. Exit status: 0
written or up to date, 1 an error that the message explains, 2 a wrong command line.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import onnx
import PIL

from device_agent.contract.digest import digest_of
from device_agent.contract.errors import EdgewrightError
from examples.efficientnet_lite import graph, output_folder, photos

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Report = Callable[[str], None]

MODEL_NAME: Final = "efficientnet_lite0.onnx"
RECIPE_VERSION: Final = 1
"""Raise it when this code writes other content from the same inputs: existing folders are then rewritten."""

PREPROCESS_TOML: Final = """\
[preprocess]
resize = [224, 224]            # height, width
resample = "bicubic"
color = "RGB"
layout = "NCHW"
mean = [127.0, 127.0, 127.0]   # subtracted, on the scale 0..255
std = [128.0, 128.0, 128.0]    # then divided by
"""
"""What the weights were trained with.

Source: TensorFlow ``tpu/models/official/efficientnet/lite/efficientnet_lite_builder.py``, MEAN_RGB and
STDDEV_RGB.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What a run left behind.

    Attributes:
        status: ``written`` or ``up_to_date``.
        folder: The output folder, absolute.
        key: Digest of everything that decided the content.
        model: Path of the ONNX model.
        calibration_images: Number of images in ``calibration/``.
        evaluation_images: Number of photos in ``evaluation/`` and of rows in ``labels.csv``.
    """

    status: str
    folder: str
    key: str
    model: str
    calibration_images: int
    evaluation_images: int


def prepare(folder: Path, report: Report) -> Prepared:
    """Make ``folder`` hold the example's files, writing nothing if it already does.

    Args:
        folder: Absent, empty, or written by an earlier run.
        report: Called with one line of progress before each step.

    Raises:
        MissingPackageError: A package is not installed or not as expected; the message has the ``pip``
            command.
        CheckpointError: The weights are not those of EfficientNet-Lite0.
        OutputError: The folder is someone else's, or cannot be written.
    """
    folder = folder.resolve()
    report(f"photos: {photos.PHOTOS_PACKAGE}")
    labelled = photos.load_photos()
    report(f"weights: {graph.WEIGHTS_PACKAGE}")
    weights = graph.load_weights()
    key = _key(labelled)
    status = "up_to_date"
    if not output_folder.is_up_to_date(folder, key):
        report("graph: EfficientNet-Lite0, opset 18")
        model = graph.build_model(weights).SerializeToString(deterministic=True)
        report(f"images: {len(photos.CROPS)} calibration crops of each photo")
        files = {MODEL_NAME: model, "preprocess.toml": PREPROCESS_TOML.encode(), **_image_files(labelled)}
        report(f"write: {len(files)} files to {folder}")
        output_folder.write(folder, key, files)
        status = "written"
    return Prepared(
        status=status,
        folder=str(folder),
        key=key,
        model=str(folder / MODEL_NAME),
        calibration_images=len(labelled) * len(photos.CROPS),
        evaluation_images=len(labelled),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.efficientnet_lite.prepare",
        description="Write EfficientNet-Lite0 (float ONNX) with calibration images and labelled photos.",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder to write; absent, empty or of an earlier run",
    )
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    options = parser.parse_args(arguments)
    try:
        prepared = prepare(options.out, lambda line: print(line, file=sys.stderr, flush=True))
    except EdgewrightError as error:
        if options.json:
            print(
                json.dumps(
                    {"status": "error", "code": error.code, "message": error.args[0], "hint": error.hint}
                )
            )
        print(f"error: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(asdict(prepared)))
    else:
        print(
            f"{prepared.status}: {prepared.folder} ({MODEL_NAME}, "
            f"{prepared.calibration_images} calibration images, {prepared.evaluation_images} labelled photos)"
        )
    return 0


def _key(labelled: Sequence[photos.Photo]) -> str:
    """Return the digest of all that decides the content: recipe, weights, photos, versions of the writers."""
    parts = {
        "recipe": RECIPE_VERSION,
        "weights": graph.WEIGHTS_DIGEST,
        "photos": {photo.name: digest_of(photo.data) for photo in labelled},
        "preprocess": PREPROCESS_TOML,
        "onnx": onnx.__version__,
        "pillow": PIL.__version__,
    }
    return digest_of(json.dumps(parts, sort_keys=True).encode())


def _image_files(labelled: Sequence[photos.Photo]) -> dict[str, bytes]:
    """Return calibration crops, whole photos (the package's bytes) and ``labels.csv``, by path."""
    files: dict[str, bytes] = {}
    for photo in labelled:
        files.update({f"calibration/{name}": data for name, data in photos.calibration_images(photo).items()})
        files[f"evaluation/{photo.name}"] = photo.data
    rows = "".join(f"{photo.name},{photo.label}\n" for photo in labelled)
    files["labels.csv"] = f"file,label\n{rows}".encode()
    return files


if __name__ == "__main__":
    sys.exit(main())
