"""``PYTHON to_tflite_peers.py WHO DIR``: one conversion of ``benchmarks.models.to_tflite`` by somebody else, in an environment with TensorFlow.

It imports nothing of this package, which is not installed there, and prints seconds and bytes as its last line.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_SAMPLE = "calibration_image_sample_data_20x128x128x3_float32.npy"
"""Pictures that onnx2tf fetches from the network, to check itself with, unless a file of this name lies in the working folder."""


def processor_seconds() -> float:
    """Return user and system seconds of this process and of the children that it waited for."""
    return sum(os.times()[:4])


def onnx2tf_float(folder: Path) -> tuple[Path, float]:
    """Write a SavedModel and a float TFLite file, with all defaults; return the file, and when imports were done."""
    import numpy as np  # noqa: PLC0415 - imports are not counted, here and below
    import onnx2tf  # type: ignore[import-not-found]  # a peer, in an environment of its own  # noqa: PLC0415

    os.chdir(folder)
    np.save(_SAMPLE, np.zeros((20, 128, 128, 3), np.float32))
    began = processor_seconds()
    onnx2tf.convert(
        input_onnx_file_path=str(folder / "model.onnx"),
        output_folder_path=str(folder / "saved"),
        non_verbose=True,
    )
    return folder / "saved" / "model_float32.tflite", began


def tfliteconverter(folder: Path, *, is_int8: bool) -> tuple[Path, float]:
    """Convert the SavedModel that onnx2tf wrote; return the file, and when imports were done."""
    import numpy as np  # noqa: PLC0415
    import tensorflow as tf  # noqa: PLC0415 - as above

    began = processor_seconds()
    converter: Any = tf.lite.TFLiteConverter.from_saved_model(str(folder / "saved"))
    if is_int8:
        photos = np.load(folder / "photos.npy")

        def samples() -> Iterator[list[Any]]:
            for photo in photos:
                yield [photo[np.newaxis]]

        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = samples
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    path = folder / f"tfliteconverter-{'int8' if is_int8 else 'float'}.tflite"
    path.write_bytes(converter.convert())
    return path, began


if __name__ == "__main__":
    who, work = sys.argv[1], Path(sys.argv[2])
    is_int8 = who.endswith("int8")
    written, since = onnx2tf_float(work) if who == "onnx2tf-float" else tfliteconverter(work, is_int8=is_int8)
    print(json.dumps({"seconds": processor_seconds() - since, "bytes": written.stat().st_size}))
