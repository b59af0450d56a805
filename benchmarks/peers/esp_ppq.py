"""esp-ppq for the ESP32-S3, with its defaults (KL ranges), and its own simulation of what it made: no engine here runs an ``.espdl`` file."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from benchmarks.tasks import Stopwatch, Task


def do(task: Task, stopwatch: Stopwatch) -> None:
    """Write ``scores.npy``, float64 (pictures, classes), of the task's evaluation arrays."""
    import torch  # type: ignore[import-not-found]  # a peer, in an environment of its own  # noqa: PLC0415 - imports are a lap of their own, here and below
    from esp_ppq.api import espdl_quantize_onnx  # type: ignore[import-not-found]  # noqa: PLC0415
    from esp_ppq.executor import TorchExecutor  # type: ignore[import-not-found]  # noqa: PLC0415

    stopwatch.lap("imports")
    own = task.out / "model.onnx"
    shutil.copyfile(task.model, own)  # it writes over the model that it is given
    samples = [torch.from_numpy(sample) for sample in task.samples()]
    graph = espdl_quantize_onnx(
        onnx_import_file=str(own),
        espdl_export_file=str(task.out / "model.espdl"),
        calib_dataloader=samples,
        calib_steps=len(samples),
        input_shape=list(samples[0].shape),
        target="esp32s3",
        num_of_bits=8,
        device="cpu",
        error_report=False,
        skip_export=True,
    )
    stopwatch.lap("conversion")
    if task.evaluation is not None:
        executor = TorchExecutor(graph, device="cpu")
        arrays = np.load(task.evaluation, mmap_mode="r", allow_pickle=False)
        scores = [
            executor(torch.from_numpy(np.array(arrays[index : index + 1])))[0].detach().numpy().reshape(-1)
            for index in range(len(arrays))
        ]
        np.save(task.out / "scores.npy", np.stack(scores).astype(np.float64))
        stopwatch.lap("evaluation")
