"""A file in its bare engine: no layer of ours between, the same settings for all sides, so that files are compared and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.made import EngineKind

    Samples = NDArray[np.float32]


class Contestant(Protocol):
    """A loaded file.

    Attributes:
        doors: Types of input and output, e.g. ``float32 → float32``.
    """

    doors: str

    def feed(self, sample: Samples) -> None:
        """Make the file's own input out of one sample, shape (1, 3, height, width). Not timed."""
        ...

    def run(self) -> None:
        """Run one inference on what was fed: hand the input over, infer, take the output. This is what is timed."""
        ...

    def scores(self) -> NDArray[np.float64]:
        """Return the latest output in real units, flattened."""
        ...


def open_contestant(path: Path, engine: EngineKind, *, threads: int) -> Contestant:
    """Load a file.

    Args:
        path: Its main file.
        engine: What runs it.
        threads: Threads of one inference.
    """
    if engine == "onnx":
        return _Onnx(path, threads)
    return _OpenVino(path, threads) if engine == "openvino" else _Tflite(path, threads)


class _Onnx:
    """ONNX Runtime as it comes: all optimizations, threads that spin; products that do not saturate on processors without VNNI."""

    def __init__(self, path: Path, threads: int) -> None:
        from device_agent.engines.onnx import open_session  # noqa: PLC0415 - a benchmark of one engine needs one engine
        from device_agent.engines.onnxruntime_library import onnxruntime as ort  # noqa: PLC0415 - as above

        def options() -> ort.SessionOptions:
            made = ort.SessionOptions()
            made.intra_op_num_threads = threads
            made.inter_op_num_threads = 1
            made.log_severity_level = 3
            return made

        self._session = open_session(str(path), options)
        self._name = self._session.get_inputs()[0].name
        self.doors = " → ".join(
            {"tensor(float)": "float32"}.get(node.type, node.type)
            for node in (self._session.get_inputs()[0], self._session.get_outputs()[0])
        )
        self._feeds: dict[str, Samples] = {}
        self._output: Any = None

    def feed(self, sample: Samples) -> None:
        self._feeds = {self._name: sample}

    def run(self) -> None:
        self._output = self._session.run(None, self._feeds)[0]

    def scores(self) -> NDArray[np.float64]:
        return np.asarray(self._output, np.float64).reshape(-1)


class _OpenVino:
    """OpenVINO with the latency hint and one stream."""

    def __init__(self, path: Path, threads: int) -> None:
        from device_agent.engines.openvino_library import openvino as ov  # noqa: PLC0415 - as above

        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
        compiled = ov.Core().compile_model(str(path), "CPU", settings)
        self._request = compiled.create_infer_request()
        self.doors = " → ".join(
            port.get_element_type().to_dtype().name for port in (compiled.input(0), compiled.output(0))
        )
        self._feeds: dict[int, Samples] = {}
        self._output: Any = None

    def feed(self, sample: Samples) -> None:
        self._feeds = {0: sample}

    def run(self) -> None:
        self._output = self._request.infer(self._feeds, share_inputs=True)[0]

    def scores(self) -> NDArray[np.float64]:
        return np.asarray(self._output, np.float64).reshape(-1)


class _Tflite:
    """LiteRT with XNNPACK, which it takes by default."""

    def __init__(self, path: Path, threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415 - as above

        self._interpreter = Interpreter(str(path), num_threads=threads)
        self._interpreter.allocate_tensors()
        self._door = self._interpreter.get_input_details()[0]
        self._exit = self._interpreter.get_output_details()[0]
        self.doors = f"{np.dtype(self._door['dtype'])} → {np.dtype(self._exit['dtype'])}"
        self._input: Any = None
        self._output: Any = None

    def feed(self, sample: Samples) -> None:
        ordered = np.ascontiguousarray(sample.transpose(0, 2, 3, 1))
        scale, zero_point = self._door["quantization"]
        if scale:
            bounds = np.iinfo(self._door["dtype"])
            codes = np.rint(ordered / np.float32(scale)) + zero_point
            self._input = np.clip(codes, bounds.min, bounds.max).astype(self._door["dtype"])
        else:
            self._input = ordered

    def run(self) -> None:
        self._interpreter.set_tensor(self._door["index"], self._input)
        self._interpreter.invoke()
        self._output = self._interpreter.get_tensor(self._exit["index"])

    def scores(self) -> NDArray[np.float64]:
        values = np.asarray(self._output, np.float64).reshape(-1)
        scale, zero_point = self._exit["quantization"]
        return (values - zero_point) * scale if scale else values
